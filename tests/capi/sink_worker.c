#include "sink_worker.h"

pulse_sink_options blocking(int64_t block_ms) {
  pulse_sink_options options = PULSE_SINK_OPTIONS_INIT;
  options.block_ms = block_ms;
  return options;
}

worker start_worker(fixture *fx, pulse_engine *engine, size_t number,
                    const pulse_sink_options *options) {
  worker w;
  snprintf(w.name, sizeof w.name, "s%zu", number);
  w.stream = fx_stream_on(fx, engine, w.name, NULL);
  w.c = fx_collector(fx);
  w.sink = fx_sink(fx, w.stream, "g", options, w.c);
  return w;
}

void one_more(fixture *fx, worker *w, size_t nth) {
  char payload[40];
  snprintf(payload, sizeof payload, "%s %zu", w->name, nth);
  fx_add(w->stream, "n", payload);
  const ev *e = col_wait(w->c, PULSE_EVENT_MESSAGE, nth);
  assert_string_equal(e->payload, payload);
  fx_ack(w->sink, e);
  assert_int_equal(fx_pending(fx, w->name, "g"), 0);
}
