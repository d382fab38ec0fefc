/* The end of the signup flow: a node of the pool "email-pool" with some workers, each of which
 * "sends" one mail after the other at its pace: it appends a line to a file and waits until that is
 * on the disk.  Two feature flags, which may change at any time: "greeting" is what a mail says,
 * "hold" names a mailer that is to keep its mails for now.
 *
 *   mailer URL NAME FILE [WORKERS [PACE_MS]] */
#include <fcntl.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "../c/example.h"

enum { MAX_WORKERS = 16 };

/* A job that was started and whose mail is not sent yet. */
typedef struct mail {
  pulse_job *job;
  struct mail *next;
} mail;

typedef struct {
  pulse_worker *worker;
  mail *first, **last;
  int64_t next_ms; /* when it may send */
} outbox;

static outbox g_outboxes[MAX_WORKERS];
static int g_workers = 2;
static int64_t g_pace_ms = 20;
static const char *g_name;
static int g_file;
static pulse_map *g_flags;
static int g_holds;
static volatile sig_atomic_t g_end;

static void on_signal(int number) {
  (void)number;
  g_end = 1;
}

static int64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void start(int number, pulse_job *job) {
  outbox *box = &g_outboxes[number];
  mail *added = malloc(sizeof *added);
  if (added == NULL) {
    pulse_job_started(job, PULSE_ERR_NO_MEMORY, NULL, 0);
    return;
  }
  added->job = pulse_job_ref(job);
  added->next = NULL;
  *box->last = added;
  box->last = &added->next;
  size_t size;
  const char *key = pulse_job_key(job, &size);
  printf("started\t%.*s\t%s/%d\t%s\n", (int)size, key, g_name, number + 1,
         pulse_job_requeued(job) ? "moved" : "new");
  fflush(stdout);
  pulse_job_started(job, PULSE_OK, NULL, 0);
}

/* The mail is no longer ours to send. */
static void stop(int number, pulse_job *job) {
  outbox *box = &g_outboxes[number];
  for (mail **at = &box->first; *at != NULL; at = &(*at)->next) {
    mail *found = *at;
    if (found->job != job) continue;
    *at = found->next;
    if (box->last == &found->next) box->last = at;
    pulse_job_unref(found->job);
    free(found);
    break;
  }
  pulse_job_stopped(job, PULSE_OK, NULL, 0);
}

/* The value of a flag, from the copy that this process has. */
static void flag(const char *name, const char *otherwise, char value[64]) {
  size_t size = 0;
  if (pulse_map_get_copy(g_flags, name, strlen(name), value, 63, &size) != PULSE_OK) {
    size = strlen(otherwise);
    memcpy(value, otherwise, size);
  }
  value[size] = '\0';
}

static void send_first(int number) {
  outbox *box = &g_outboxes[number];
  mail *sent = box->first;
  char greeting[64];
  flag("greeting", "Hello", greeting);
  size_t key_size, payload_size;
  const char *key = pulse_job_key(sent->job, &key_size);
  const char *user = pulse_job_payload(sent->job, &payload_size);
  const char *tab = memchr(user, '\t', payload_size);
  int user_size = tab ? (int)(tab - user) : 0;
  char line[2048];
  int written = snprintf(line, sizeof line, "%.*s\t%s/%d\t%s, %.*s!\n", (int)key_size, key, g_name,
                         number + 1, greeting, user_size, user);
  if (written < 0 || (size_t)written >= sizeof line) exit(1);
  /* In this order: a crash between the two sends a mail twice, and never loses one. */
  if (write(g_file, line, (size_t)written) != written || fsync(g_file) != 0) {
    perror("the mail could not be sent");
    exit(1);
  }
  pulse_job_finish(sent->job, PULSE_OK, NULL, 0);
  box->first = sent->next;
  if (box->first == NULL) box->last = &box->first;
  pulse_job_unref(sent->job);
  free(sent);
  box->next_ms = now_ms() + g_pace_ms;
}

/* Sends what is due; how long until the next one is. */
static int64_t send_due(void) {
  int64_t wait = 100;
  char held[64];
  flag("hold", "", held);
  if (strcmp(held, g_name) == 0) {
    if (!g_holds) printf("holding\n"), fflush(stdout);
    g_holds = 1;
    return wait;
  }
  g_holds = 0;
  for (int i = 0; i < g_workers; ++i) {
    outbox *box = &g_outboxes[i];
    if (box->first != NULL && box->next_ms <= now_ms()) send_first(i);
    if (box->first == NULL) continue;
    int64_t left = box->next_ms - now_ms();
    if (left < wait) wait = left > 0 ? left : 0;
  }
  return wait;
}

int main(int argc, char **argv) {
  if (argc < 4) {
    fprintf(stderr, "usage: mailer URL NAME FILE [WORKERS [PACE_MS]]\n");
    return 2;
  }
  g_name = argv[2];
  if (argc > 4) g_workers = atoi(argv[4]);
  if (argc > 5) g_pace_ms = atoi(argv[5]);
  if (g_workers < 1 || g_workers > MAX_WORKERS) {
    fprintf(stderr, "mailer: 1 to %d workers\n", MAX_WORKERS);
    return 2;
  }
  g_file = open(argv[3], O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  if (g_file < 0) {
    perror(argv[3]);
    return 1;
  }
  struct sigaction action = {0};
  action.sa_handler = on_signal;
  sigaction(SIGTERM, &action, NULL);
  sigaction(SIGINT, &action, NULL);

  pulse_engine *engine = open_engine(argc, argv, PULSE_DRIVER_THREAD);
  pulse_error error = PULSE_ERROR_INIT;
  check(pulse_map_join_wait(engine, "flags", 5, NULL, NULL, 10000, &g_flags, &error), &error,
        "flags");
  pulse_queue *queue = NULL;
  check(pulse_queue_new(&queue, &error), &error, "queue");
  pulse_target target = PULSE_TARGET_INIT;
  target.queue = queue;
  pulse_node_options options = PULSE_NODE_OPTIONS_INIT;
  options.worker_ttl_ms = 1000; /* a mailer that is silent so long is dead, */
  options.ack_grace_ms = 2000;  /* and what it routed goes to others after that */
  pulse_node *node = NULL;
  check(pulse_node_join_wait(engine, "email-pool", 10, &options, &target, 10000, &node, &error),
        &error, "join");
  for (int i = 0; i < g_workers; ++i) {
    g_outboxes[i].last = &g_outboxes[i].first;
    target.token = (uint64_t)i + 1;
    check(pulse_node_add_worker(node, NULL, &target, &g_outboxes[i].worker, &error), &error,
          "worker");
    check(pulse_worker_ready_wait(g_outboxes[i].worker, 10000, &error), &error, "worker");
  }
  printf("ready\n"), fflush(stdout);

  int left = 0; /* the pool, by itself or as it was shut down */
  while (!left) {
    pulse_event events[32];
    int64_t n = pulse_queue_poll(queue, events, sizeof events[0], 32, send_due());
    for (int64_t i = 0; i < n; ++i) {
      int number = (int)events[i].token - 1;
      if (events[i].kind == PULSE_EVENT_JOB_START) start(number, events[i].job);
      if (events[i].kind == PULSE_EVENT_JOB_STOP) stop(number, events[i].job);
      if (events[i].kind == PULSE_EVENT_JOB_NOTIFY) {
        pulse_job_notified(events[i].job, PULSE_OK, NULL, 0);
      }
      if (events[i].kind == PULSE_EVENT_CLOSED && number < 0) left = 1;
    }
    if (g_end) pulse_node_close(node); /* hands over what is not sent yet */
  }
  for (int i = 0; i < g_workers; ++i) pulse_worker_unref(g_outboxes[i].worker);
  pulse_node_unref(node);
  pulse_map_unref(g_flags);
  close_engine(engine);
  pulse_queue_unref(queue);
  close(g_file);
  return 0;
}
