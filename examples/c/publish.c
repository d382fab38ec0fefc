/* Publishes events: one that is waited for, and many that are under way at a time.
 *
 *   publish [URL] */
#include "example.h"

enum { COUNT = 1000 };

int main(int argc, char **argv) {
  pulse_engine *engine = open_engine(argc, argv, PULSE_DRIVER_THREAD);
  pulse_stream *stream = open_stream(engine, "example:publish");
  pulse_error error = PULSE_ERROR_INIT;

  /* One, with topic and header; returns when the server has it. */
  pulse_header header = {"source", 6, "example", 7};
  pulse_add_options options = PULSE_ADD_OPTIONS_INIT;
  options.topic = "eu";
  options.topic_len = 2;
  options.headers = &header;
  options.header_count = 1;
  pulse_event_id id;
  check(
      pulse_stream_add_wait(stream, "placed", 6, "{\"order\":1}", 11, &options, &id, 10000, &error),
      &error, "add");
  char text[PULSE_EVENT_ID_TEXT_BYTES];
  pulse_event_id_format(&id, text, sizeof text);
  printf("added %s\n", text);

  /* Many: each call returns at once, its completion comes to the queue. */
  pulse_queue *queue = NULL;
  check(pulse_queue_new(&queue, &error), &error, "queue");
  pulse_target target = PULSE_TARGET_INIT;
  target.queue = queue;
  int started = 0, completed = 0, failed = 0;
  while (completed < COUNT) {
    /* PULSE_ERR_AGAIN says that a limit is reached: first take completions. */
    pulse_status status = PULSE_OK;
    while (started < COUNT && status == PULSE_OK) {
      char payload[32];
      int size = snprintf(payload, sizeof payload, "{\"order\":%d}", started + 2);
      target.token = (uint64_t)started;
      status =
          pulse_stream_add(stream, "placed", 6, payload, (size_t)size, NULL, &target, NULL, &error);
      if (status == PULSE_OK) ++started;
    }
    if (status != PULSE_ERR_AGAIN) check(status, &error, "add");
    pulse_event events[64];
    int64_t n = pulse_queue_poll(queue, events, sizeof events[0], 64, 10000);
    if (n <= 0) return 1;
    for (int64_t i = 0; i < n; ++i) {
      ++completed;
      if (events[i].status != PULSE_OK) ++failed;
    }
  }
  printf("added %d more, %d failed\n", completed - failed, failed);

  pulse_stream_info info = {0};
  info.size = sizeof info;
  check(pulse_stream_info_wait(stream, &info, 10000, &error), &error, "info");
  printf("the stream holds about the newest 1000: %s\n", info.length >= 1000 ? "yes" : "no");

  pulse_stream_unref(stream);
  pulse_queue_unref(queue);
  close_engine(engine);
  return failed > 0;
}
