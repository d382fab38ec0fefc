/* The middle of the signup flow: makes a job of the pool "email-pool" of each event "user.created".
 * Any number of these processes may run: they share a sink.  An event is acked when a worker has
 * its job; if this process dies before, another one gets the event.
 *
 *   signup [URL] */
#include <signal.h>

#include "../c/example.h"

static volatile sig_atomic_t g_end;

static void on_signal(int number) {
  (void)number;
  g_end = 1;
}

enum { MAX_DISPATCHES = 100 }; /* under way at a time */

typedef struct {
  pulse_queue *queue;
  pulse_sink *sink;
  pulse_node *node;
  /* Handles of the events whose dispatches are under way; the target's token says which: 1 + index.
   */
  pulse_ack_handle handles[MAX_DISPATCHES];
  uint64_t unused[MAX_DISPATCHES];
  int unused_count;
} flow;

static void ack(flow *f, const pulse_ack_handle *handle) {
  pulse_error error = PULSE_ERROR_INIT;
  check(pulse_sink_ack(f->sink, handle, 1, NULL, NULL, &error), &error, "ack");
}

/* The event comes again, here or elsewhere. */
static void give_back(flow *f, const pulse_ack_handle *handle) {
  pulse_error error = PULSE_ERROR_INIT;
  check(pulse_sink_release(f->sink, handle, 1, NULL, NULL, &error), &error, "release");
}

/* The job's key is the address, its payload the line. */
static void dispatch(flow *f, const pulse_event *event) {
  const char *line = event->payload, *end = line + event->payload_len;
  const char *tab = memchr(line, '\t', event->payload_len);
  const char *address = tab ? tab + 1 : line;
  uint64_t slot = f->unused[f->unused_count - 1]; /* the sink holds no more than there are */
  f->handles[slot] = event->ack;
  pulse_target target = PULSE_TARGET_INIT;
  target.queue = f->queue;
  target.token = 1 + slot;
  pulse_error error = PULSE_ERROR_INIT;
  pulse_status status = pulse_node_dispatch(f->node, address, (size_t)(end - address), line,
                                            event->payload_len, &target, NULL, &error);
  if (status == PULSE_OK) {
    --f->unused_count;
  } else if (status == PULSE_ERR_INVALID || status == PULSE_ERR_TOO_LARGE) {
    /* Such an address cannot be a key, now or later. */
    fprintf(stderr, "%.*s: %s\n", (int)(end - address), address, error.message);
    ack(f, &event->ack);
  } else {
    give_back(f, &event->ack);
  }
}

static void dispatched(flow *f, const pulse_event *event) {
  uint64_t slot = event->token - 1;
  if (event->status == PULSE_OK || event->status == PULSE_ERR_EXISTS) {
    ack(f, &f->handles[slot]);
  } else {
    fprintf(stderr, "not dispatched: %.*s\n", (int)event->message_len, event->message);
    give_back(f, &f->handles[slot]);
  }
  f->unused[f->unused_count++] = slot;
}

int main(int argc, char **argv) {
  struct sigaction action = {0};
  action.sa_handler = on_signal;
  sigaction(SIGTERM, &action, NULL);
  sigaction(SIGINT, &action, NULL);

  pulse_engine *engine = open_engine(argc, argv, PULSE_DRIVER_THREAD);
  pulse_error error = PULSE_ERROR_INIT;
  static flow f;
  for (uint64_t i = 0; i < MAX_DISPATCHES; ++i) f.unused[f.unused_count++] = i;
  pulse_node_options node_options = PULSE_NODE_OPTIONS_INIT;
  node_options.client_only = 1;
  node_options.worker_ttl_ms = 1000; /* both as the mailers */
  node_options.ack_grace_ms = 2000;
  check(pulse_node_join_wait(engine, "email-pool", 10, &node_options, NULL, 10000, &f.node, &error),
        &error, "join");
  check(pulse_queue_new(&f.queue, &error), &error, "queue");
  pulse_target target = PULSE_TARGET_INIT;
  target.queue = f.queue;
  pulse_stream *stream = open_stream(engine, "users");
  pulse_sink_options options = PULSE_SINK_OPTIONS_INIT;
  options.start = PULSE_START_OLDEST;
  options.max_pending = MAX_DISPATCHES;
  check(pulse_sink_open(stream, "signup", 6, &options, &target, &f.sink, &error), &error, "sink");

  while (!g_end) {
    pulse_event events[32];
    int64_t n = pulse_queue_poll(f.queue, events, sizeof events[0], 32, 100);
    for (int64_t i = 0; i < n; ++i) {
      if (events[i].kind == PULSE_EVENT_MESSAGE) dispatch(&f, &events[i]);
      if (events[i].kind == PULSE_EVENT_JOB_DISPATCHED) dispatched(&f, &events[i]);
      if (events[i].kind == PULSE_EVENT_READY) printf("ready\n"), fflush(stdout);
    }
  }
  /* What has no answer yet stays unacked: it comes to another process, or after the next start. */
  check(pulse_sink_close_wait(f.sink, 10000, &error), &error, "close");
  check(pulse_node_close_wait(f.node, 10000, &error), &error, "leave");
  pulse_sink_unref(f.sink);
  pulse_node_unref(f.node);
  pulse_stream_unref(stream);
  close_engine(engine);
  pulse_queue_unref(f.queue);
  return 0;
}
