#include "engine.h"

#include "failure.h"

namespace bench {

Handle<pulse_engine> open_engine(const char* url, int connections, int64_t wait_spin_us) {
  pulse_engine_options options = PULSE_ENGINE_OPTIONS_INIT;
  options.url = url;
  options.command_connections = connections;
  options.wait_spin_us = wait_spin_us;
  pulse_error error = PULSE_ERROR_INIT;
  pulse_engine* engine = nullptr;
  require_ok(pulse_engine_open(&options, &engine, &error), error, "pulse_engine_open");
  Handle<pulse_engine> owned(engine);
  require_ok(pulse_engine_ready_wait(engine, kWaitMs, &error), error, "pulse_engine_ready_wait");
  return owned;
}

Handle<pulse_stream> open_stream(pulse_engine* engine, const std::string& name, int64_t max_len) {
  pulse_stream_options options = PULSE_STREAM_OPTIONS_INIT;
  options.max_len = max_len;
  pulse_error error = PULSE_ERROR_INIT;
  pulse_stream* stream = nullptr;
  require_ok(pulse_stream_open(engine, name.data(), name.size(), &options, &stream, &error), error,
             "pulse_stream_open");
  return Handle<pulse_stream>(stream);
}

pulse_event_id add_and_wait(pulse_stream* stream, const std::string& name,
                            const std::string& payload) {
  pulse_error error = PULSE_ERROR_INIT;
  pulse_event_id id{};
  require_ok(pulse_stream_add_wait(stream, name.data(), name.size(), payload.data(), payload.size(),
                                   nullptr, &id, kWaitMs, &error),
             error, "pulse_stream_add_wait");
  return id;
}

}  // namespace bench
