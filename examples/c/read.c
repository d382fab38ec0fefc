/* Reads a stream from its oldest event, and ends after ten.
 *
 *   read [URL] */
#include "example.h"

enum { COUNT = 10 };

int main(int argc, char **argv) {
  pulse_engine *engine = open_engine(argc, argv, PULSE_DRIVER_THREAD);
  pulse_stream *stream = open_stream(engine, "example:read");
  pulse_error error = PULSE_ERROR_INIT;

  for (int i = 0; i < COUNT; ++i) {
    char payload[32];
    int size = snprintf(payload, sizeof payload, "number %d", i);
    check(pulse_stream_add_wait(stream, "counted", 7, payload, (size_t)size, NULL, NULL, 10000,
                                &error),
          &error, "add");
  }

  pulse_queue *queue = NULL;
  check(pulse_queue_new(&queue, &error), &error, "queue");
  pulse_target target = PULSE_TARGET_INIT;
  target.queue = queue;
  pulse_reader_options options = PULSE_READER_OPTIONS_INIT;
  options.start = PULSE_START_OLDEST;
  pulse_reader *reader = NULL;
  check(pulse_reader_open(stream, &options, &target, &reader, &error), &error, "reader");

  int seen = 0;
  while (seen < COUNT) {
    pulse_event events[16];
    int64_t n = pulse_queue_poll(queue, events, sizeof events[0], 16, 10000);
    if (n <= 0) return 1;
    for (int64_t i = 0; i < n && seen < COUNT; ++i) {
      const pulse_event *event = &events[i];
      if (event->kind == PULSE_EVENT_READY) printf("receiving\n");
      if (event->kind != PULSE_EVENT_MESSAGE) continue;
      char id[PULSE_EVENT_ID_TEXT_BYTES];
      pulse_event_id_format(&event->id, id, sizeof id);
      printf("%s %.*s: %.*s\n", id, (int)event->name_len, event->name, (int)event->payload_len,
             event->payload);
      ++seen;
    }
  }

  check(pulse_reader_close_wait(reader, 10000, &error), &error, "close");
  check(pulse_stream_destroy_wait(stream, 10000, &error), &error, "destroy");
  pulse_reader_unref(reader);
  pulse_stream_unref(stream);
  pulse_queue_unref(queue);
  close_engine(engine);
  return 0;
}
