/* Many streams, one reader, one queue: a thread of the program takes the events of all of them in
 * batches.  The engine shares its few connections between the streams.
 *
 *   many_streams_one_queue [URL] */
#include "example.h"

enum { STREAMS = 50, EVENTS = 20 };

int main(int argc, char **argv) {
  pulse_engine *engine = open_engine(argc, argv, PULSE_DRIVER_THREAD);
  pulse_error error = PULSE_ERROR_INIT;
  pulse_queue *queue = NULL;
  check(pulse_queue_new(&queue, &error), &error, "queue");
  pulse_target target = PULSE_TARGET_INIT;
  target.queue = queue;

  pulse_stream *streams[STREAMS];
  for (int s = 0; s < STREAMS; ++s) {
    char name[32];
    snprintf(name, sizeof name, "example:many:%d", s);
    streams[s] = open_stream(engine, name);
  }
  pulse_reader_options options = PULSE_READER_OPTIONS_INIT;
  options.start = PULSE_START_OLDEST;
  pulse_reader *reader = NULL;
  check(pulse_reader_open(streams[0], &options, &target, &reader, &error), &error, "reader");
  for (int s = 1; s < STREAMS; ++s) {
    check(pulse_reader_add_stream_wait(reader, streams[s], PULSE_START_OLDEST, NULL, 10000, &error),
          &error, "add_stream");
  }

  /* Without a target nobody is told of the completion: what counts here is what the reader sees. */
  for (int e = 0; e < EVENTS; ++e) {
    for (int s = 0; s < STREAMS; ++s) {
      check(pulse_stream_add(streams[s], "tick", 4, &e, sizeof e, NULL, NULL, NULL, &error), &error,
            "add");
    }
  }

  int seen[STREAMS] = {0};
  int total = 0, in_order = 1;
  while (total < STREAMS * EVENTS) {
    pulse_event events[64];
    int64_t n = pulse_queue_poll(queue, events, sizeof events[0], 64, 10000);
    if (n <= 0) break;
    for (int64_t i = 0; i < n; ++i) {
      if (events[i].kind != PULSE_EVENT_MESSAGE) continue;
      /* The names end in the number of the stream; they are not NUL-terminated. */
      char number[8] = "";
      size_t prefix = strlen("example:many:");
      memcpy(number, events[i].stream + prefix, events[i].stream_len - prefix);
      int s = atoi(number), e = -1;
      memcpy(&e, events[i].payload, sizeof e);
      if (e != seen[s]++) in_order = 0;
      ++total;
    }
  }
  pulse_engine_metrics metrics = {0};
  metrics.size = sizeof metrics;
  check(pulse_engine_get_metrics(engine, &metrics), &error, "metrics");
  printf("%d events of %d streams, each stream in order: %s, %d connections\n", total, STREAMS,
         in_order ? "yes" : "no", (int)metrics.connections);

  check(pulse_reader_close_wait(reader, 10000, &error), &error, "close");
  pulse_reader_unref(reader);
  for (int s = 0; s < STREAMS; ++s) {
    check(pulse_stream_destroy_wait(streams[s], 10000, &error), &error, "destroy");
    pulse_stream_unref(streams[s]);
  }
  pulse_queue_unref(queue);
  close_engine(engine);
  return total == STREAMS * EVENTS && in_order ? 0 : 1;
}
