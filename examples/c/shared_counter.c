/* A rate limit that two servers share: each request increments a counter in a replicated map.
 * The server's answer decides; once the limit is reached the local copy is enough to refuse.
 *
 *   shared_counter [URL] */
#include "example.h"

enum { LIMIT = 100, REQUESTS = 60, SERVERS = 2 };

static const char kClient[] = "client:7";

/* The window of the limit: the map expires a minute after its first write. */
static pulse_map *join(pulse_engine *engine) {
  pulse_map_options options = PULSE_MAP_OPTIONS_INIT;
  options.ttl_ms = 60000;
  pulse_error error = PULSE_ERROR_INIT;
  pulse_map *map = NULL;
  check(pulse_map_join_wait(engine, "example:requests", 16, &options, NULL, 10000, &map, &error),
        &error, "join");
  return map;
}

/* The count as the local copy has it. */
static long counted(pulse_map *map) {
  char text[24];
  size_t size = 0;
  if (pulse_map_get_copy(map, kClient, strlen(kClient), text, sizeof text - 1, &size)) return 0;
  text[size] = '\0';
  return atol(text);
}

int main(int argc, char **argv) {
  pulse_error error = PULSE_ERROR_INIT;
  pulse_engine *engines[SERVERS]; /* as if in two processes */
  pulse_map *maps[SERVERS];
  for (int i = 0; i < SERVERS; ++i) {
    engines[i] = open_engine(argc, argv, PULSE_DRIVER_THREAD);
    maps[i] = join(engines[i]);
  }
  check(pulse_map_reset_wait(maps[0], NULL, 10000, &error), &error, "reset");

  /* All requests at once; those of one server that wait together go in one round trip. */
  pulse_queue *queue = NULL;
  check(pulse_queue_new(&queue, &error), &error, "queue");
  pulse_target target = PULSE_TARGET_INIT;
  target.queue = queue;
  for (int i = 0; i < SERVERS * REQUESTS; ++i) {
    check(
        pulse_map_increment(maps[i % SERVERS], kClient, strlen(kClient), 1, &target, NULL, &error),
        &error, "increment");
  }
  int allowed = 0, refused = 0;
  uint64_t revision = 0;
  while (allowed + refused < SERVERS * REQUESTS) {
    pulse_event event;
    if (pulse_queue_poll(queue, &event, sizeof event, 1, 10000) != 1) return 1;
    if (event.status != PULSE_OK) return 1;
    const pulse_map_result *result = event.map_results;
    if (result->number <= LIMIT) {
      ++allowed;
    } else {
      ++refused;
    }
    if (result->revision > revision) revision = result->revision;
  }
  printf("allowed %d, refused %d\n", allowed, refused);

  /* From here on no server needs to ask. */
  int at_once = 0;
  for (int i = 0; i < SERVERS; ++i) {
    check(pulse_map_wait_revision(maps[i], revision, 10000, &error), &error, "wait");
    for (int k = 0; k < REQUESTS; ++k) at_once += counted(maps[i]) >= LIMIT;
  }
  printf("refused %d more without asking\n", at_once);

  check(pulse_map_destroy_wait(maps[0], NULL, 10000, &error), &error, "destroy");
  for (int i = 0; i < SERVERS; ++i) {
    pulse_map_unref(maps[i]);
    close_engine(engines[i]);
  }
  pulse_queue_unref(queue);
  return 0;
}
