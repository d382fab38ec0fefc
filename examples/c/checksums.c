/* Asynchronous tasks by key: the checksums of files, each worked out by one worker of a pool and
 * left in a replicated map, where everybody finds them.  With more processes than this one, each of
 * them would have a share of the files.
 *
 *   checksums [URL [FILE...]] */
#include "example.h"

enum { WORKERS = 4 };

/* The CRC of POSIX's cksum. */
static uint32_t crc_byte(uint32_t crc, unsigned byte) {
  crc ^= (uint32_t)byte << 24;
  for (int bit = 0; bit < 8; ++bit) crc = (crc & 0x80000000u) ? (crc << 1) ^ 0x04c11db7u : crc << 1;
  return crc;
}

static int checksum(const char *path, uint32_t *sum) {
  FILE *file = fopen(path, "rb");
  if (file == NULL) return 0;
  uint32_t crc = 0;
  uint64_t size = 0;
  for (int byte; (byte = getc(file)) != EOF; ++size) crc = crc_byte(crc, (unsigned)byte);
  int good = !ferror(file);
  fclose(file);
  for (; size != 0; size >>= 8) crc = crc_byte(crc, size & 0xff);
  *sum = ~crc;
  return good;
}

/* What a worker does with a job.  Here, on the thread that polls; a start may also be answered, and
 * a job be finished, later and from any other thread. */
static void work(pulse_map *results, pulse_job *job) {
  pulse_error error = PULSE_ERROR_INIT;
  size_t size;
  const char *key = pulse_job_key(job, &size);
  char path[4096], text[16];
  uint32_t sum;
  snprintf(path, sizeof path, "%.*s", (int)size, key);
  if (!checksum(path, &sum)) {
    pulse_job_started(job, PULSE_ERR_NOT_FOUND, "cannot be read", 14);
    return;
  }
  pulse_job_started(job, PULSE_OK, NULL, 0);
  int length = snprintf(text, sizeof text, "%lu", (unsigned long)sum);
  /* The result first: if this process dies in between, the job runs again and comes to the same. */
  check(pulse_map_set_wait(results, key, size, text, (size_t)length, NULL, 10000, &error), &error,
        "set");
  pulse_job_finish(job, PULSE_OK, NULL, 0);
}

int main(int argc, char **argv) {
  static char *some[] = {"/etc/passwd", "/etc/os-release", "/etc/nonexistent"};
  char **files = argc > 2 ? argv + 2 : some;
  int count = argc > 2 ? argc - 2 : 3;
  pulse_engine *engine = open_engine(argc, argv, PULSE_DRIVER_THREAD);
  pulse_error error = PULSE_ERROR_INIT;
  /* What was written can be read at once, here. */
  pulse_map_options options = PULSE_MAP_OPTIONS_INIT;
  options.read_your_writes = 1;
  pulse_map *results = NULL;
  check(
      pulse_map_join_wait(engine, "example:checksums", 17, &options, NULL, 10000, &results, &error),
      &error, "map");
  pulse_queue *queue = NULL;
  check(pulse_queue_new(&queue, &error), &error, "queue");
  pulse_target target = PULSE_TARGET_INIT;
  target.queue = queue;
  pulse_node *node = NULL;
  check(pulse_node_join_wait(engine, "example:checksums", 17, NULL, NULL, 10000, &node, &error),
        &error, "join");
  pulse_worker *workers[WORKERS];
  for (int i = 0; i < WORKERS; ++i) {
    check(pulse_node_add_worker(node, NULL, &target, &workers[i], &error), &error, "worker");
    check(pulse_worker_ready_wait(workers[i], 10000, &error), &error, "worker");
  }

  /* Usually other processes do this. */
  for (int i = 0; i < count; ++i) {
    target.token = (uint64_t)i;
    check(pulse_node_dispatch(node, files[i], strlen(files[i]), "", 0, &target, NULL, &error),
          &error, files[i]);
  }
  for (int answers = 0; answers < count;) {
    pulse_event event;
    if (pulse_queue_poll(queue, &event, sizeof event, 1, 60000) != 1) return 1;
    if (event.kind == PULSE_EVENT_JOB_START) work(results, event.job);
    if (event.kind == PULSE_EVENT_JOB_STOP) pulse_job_stopped(event.job, PULSE_OK, NULL, 0);
    if (event.kind != PULSE_EVENT_JOB_DISPATCHED) continue;
    ++answers;
    if (event.status != PULSE_OK) {
      printf("%s: %.*s\n", files[event.token], (int)event.message_len, event.message);
    }
  }
  for (int i = 0; i < count; ++i) {
    char text[16];
    size_t size = 0;
    if (pulse_map_get_copy(results, files[i], strlen(files[i]), text, sizeof text, &size)) continue;
    printf("%.*s %s\n", (int)size, text, files[i]);
  }

  check(pulse_node_shutdown_wait(node, 60000, &error), &error, "shutdown");
  check(pulse_map_destroy_wait(results, NULL, 10000, &error), &error, "destroy");
  for (int i = 0; i < WORKERS; ++i) pulse_worker_unref(workers[i]);
  pulse_node_unref(node);
  pulse_map_unref(results);
  close_engine(engine);
  pulse_queue_unref(queue);
  return 0;
}
