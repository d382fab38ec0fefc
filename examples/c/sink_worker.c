/* A worker that shares the events of a stream with others of its kind: what it does not ack
 * comes again, here or elsewhere.  Every third event "fails" the first time, and is given back.
 *
 *   sink_worker [URL] */
#include "example.h"

enum { COUNT = 30 };

/* The work: false when it is to be done again later. */
static int handle(const pulse_event *event) {
  int number = atoi(event->payload);
  return event->deliveries > 1 || number % 3 != 0;
}

int main(int argc, char **argv) {
  pulse_engine *engine = open_engine(argc, argv, PULSE_DRIVER_THREAD);
  pulse_stream *stream = open_stream(engine, "example:sink");
  pulse_error error = PULSE_ERROR_INIT;

  for (int i = 0; i < COUNT; ++i) {
    char payload[32];
    int size = snprintf(payload, sizeof payload, "%d", i);
    check(pulse_stream_add_wait(stream, "job", 3, payload, (size_t)size + 1, NULL, NULL, 10000,
                                &error),
          &error, "add");
  }

  pulse_queue *queue = NULL;
  check(pulse_queue_new(&queue, &error), &error, "queue");
  pulse_target target = PULSE_TARGET_INIT;
  target.queue = queue;
  pulse_sink_options options = PULSE_SINK_OPTIONS_INIT;
  options.start = PULSE_START_OLDEST;
  pulse_sink *sink = NULL;
  check(pulse_sink_open(stream, "workers", 7, &options, &target, &sink, &error), &error, "sink");

  int handled = 0, failed = 0, again = 0;
  while (handled < COUNT) {
    pulse_event events[16];
    int64_t n = pulse_queue_poll(queue, events, sizeof events[0], 16, 10000);
    if (n <= 0) return 1;
    for (int64_t i = 0; i < n; ++i) {
      if (events[i].kind != PULSE_EVENT_MESSAGE) continue;
      if (events[i].deliveries > 1) ++again;
      /* Both calls return at once; with a target their completion would be told. */
      if (handle(&events[i])) {
        check(pulse_sink_ack(sink, &events[i].ack, 1, NULL, NULL, &error), &error, "ack");
        ++handled;
      } else {
        check(pulse_sink_release(sink, &events[i].ack, 1, NULL, NULL, &error), &error, "release");
        ++failed;
      }
    }
  }
  printf("handled %d, given back %d, came again %d\n", handled, failed, again);

  /* Acks under way complete first. */
  check(pulse_sink_close_wait(sink, 10000, &error), &error, "close");
  check(pulse_stream_destroy_wait(stream, 10000, &error), &error, "destroy");
  pulse_sink_unref(sink);
  pulse_stream_unref(stream);
  pulse_queue_unref(queue);
  close_engine(engine);
  return 0;
}
