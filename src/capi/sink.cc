#include "pulseengine/sink.h"

#include "capi/call.h"
#include "capi/receive.h"
#include "streaming/sink.h"

using namespace pulseengine;

struct pulse_sink : ObjectHandle<pulse_sink, pulse_engine, Sink> {
  using ObjectHandle::ObjectHandle;
  static constexpr std::string_view kName = "sink";
};

namespace {

constexpr size_t kMaxHandles = 65536;
constexpr int64_t kMaxPolled = 65536;
constexpr int64_t kLeastGrace = 100;

Error take_sink_options(const pulse_sink_options* given, SinkConfig* c, Filter* filter) {
  pulse_sink_options o;
  Error e = take_options(given, &o, "pulse_sink_options");
  if (e.ok()) e = take_start(o.start, &o.start_id, &c->start);
  if (e.ok()) e = take_switch("no_ack", o.no_ack, &c->no_ack);
  if (e.ok()) e = take_block_ms(o.block_ms, &c->block_ms);
  if (e.ok())
    e = take_number("max_polled", o.max_polled, 1000, 1, kMaxPolled, false, &c->max_polled);
  if (e.ok()) e = take_number("buffer", o.buffer, 1000, 1, INT64_MAX, true, &c->buffer);
  if (e.ok()) {
    e = take_number("buffer_bytes", o.buffer_bytes, 16 << 20, 1, INT64_MAX, true, &c->buffer_bytes);
  }
  if (e.ok())
    e = take_number("max_pending", o.max_pending, 10000, 1, INT64_MAX, true, &c->max_pending);
  if (e.ok()) {
    e = take_number("ack_grace_ms", o.ack_grace_ms, 20000, kLeastGrace, kMaxMs, false,
                    &c->grace_ms);
  }
  if (e.ok()) {
    e = take_number("max_handling_ms", o.max_handling_ms, -1, 1, kMaxMs, true, &c->max_handling_ms);
  }
  if (e.ok()) e = take_switch("leave_filtered", o.leave_filtered, &c->leave_filtered);
  bool no_coalescing = false;
  if (e.ok()) e = take_switch("no_ack_coalescing", o.no_ack_coalescing, &no_coalescing);
  c->coalesce = !no_coalescing;
  if (!e.ok()) return e;
  return take_filter(o.topic, o.topic_len, o.topic_pattern, o.topic_pattern_len, filter);
}

Error check_handles(const pulse_ack_handle* handles, size_t count) {
  if (handles == nullptr) return null_argument("handles");
  if (count == 0 || count > kMaxHandles) {
    return Error::make(PULSE_ERR_INVALID, 0, "1 to {} handles, not {}", kMaxHandles, count);
  }
  return {};
}

Error add_stream(Sink& core, pulse_stream* stream, pulse_start start,
                 const pulse_event_id* start_id, int64_t timeout_ms, Target target,
                 Ref<Signal> signal, Ref<Operation>* out) {
  ReadStart at;
  Error error = check_stream(core.engine(), stream);
  if (error.ok()) error = take_start(start, start_id, &at);
  if (!error.ok()) return error;
  return core.add_stream(stream->core, at, timeout_ms, std::move(target), std::move(signal), out);
}

Error remove_stream(Sink& core, pulse_stream* stream, int64_t timeout_ms, Target target,
                    Ref<Signal> signal, Ref<Operation>* out) {
  Error error = check_stream(core.engine(), stream);
  if (!error.ok()) return error;
  return core.remove_stream(stream->core, timeout_ms, std::move(target), std::move(signal), out);
}

}  // namespace

extern "C" {

void pulse_sink_options_init(pulse_sink_options* options) noexcept {
  if (options != nullptr) *options = PULSE_SINK_OPTIONS_INIT;
}

pulse_status pulse_sink_open(pulse_stream* stream, const char* name, size_t name_len,
                             const pulse_sink_options* options, const pulse_target* target,
                             pulse_sink** sink, pulse_error* error) noexcept {
  return guard(error, [&]() -> Error {
    Target to;
    Error problem = take_required_target(target, &to);
    if (!problem.ok()) return problem;
    if (stream == nullptr) return null_argument("stream");
    if (sink == nullptr) return null_argument("sink");
    problem = check_engine(stream->core->engine());
    std::string_view text;
    if (problem.ok()) problem = take_text("a sink's name", name, name_len, &text);
    if (problem.ok()) problem = check_name("a sink's name", text);
    SinkConfig config;
    auto filter = make_owned<Filter>();
    if (problem.ok()) problem = take_sink_options(options, &config, filter.get());
    if (!problem.ok()) return problem;
    Ref<Sink> core;
    problem = Sink::open(stream->core, text, config, std::move(filter), std::move(to), &core);
    if (!problem.ok()) return problem;
    try {
      *sink = new pulse_sink(stream->engine, core);
    } catch (const std::bad_alloc&) {
      core->close();
      throw;
    }
    return {};
  });
}

pulse_status pulse_sink_ready_wait(pulse_sink* sink, int64_t timeout_ms,
                                   pulse_error* error) noexcept {
  return guard(error, [&]() -> Error {
    Error problem = check_handle(sink);
    if (problem.ok()) problem = check_may_wait(sink->core->engine());
    return problem.ok() ? sink->core->ready_wait(timeout_ms) : problem;
  });
}

size_t pulse_sink_get_consumer(pulse_sink* sink, char* text, size_t capacity) noexcept {
  return sink == nullptr ? 0 : sink->core->consumer_text(text, capacity);
}

pulse_status pulse_sink_add_stream(pulse_sink* sink, pulse_stream* stream, pulse_start start,
                                   const pulse_event_id* start_id, const pulse_target* target,
                                   uint64_t* operation, pulse_error* error) noexcept {
  return start_on(sink, target, operation, error, [&](Sink& core, Target to, Ref<Operation>* op) {
    return add_stream(core, stream, start, start_id, 0, std::move(to), nullptr, op);
  });
}

pulse_status pulse_sink_add_stream_wait(pulse_sink* sink, pulse_stream* stream, pulse_start start,
                                        const pulse_event_id* start_id, int64_t timeout_ms,
                                        pulse_error* error) noexcept {
  return wait_on(sink, timeout_ms, error,
                 [&](Sink& core, int64_t left, Ref<Signal> signal, Ref<Operation>* op) {
                   return add_stream(core, stream, start, start_id, left, Target(),
                                     std::move(signal), op);
                 });
}

pulse_status pulse_sink_remove_stream(pulse_sink* sink, pulse_stream* stream,
                                      const pulse_target* target, uint64_t* operation,
                                      pulse_error* error) noexcept {
  return start_on(sink, target, operation, error, [&](Sink& core, Target to, Ref<Operation>* op) {
    return remove_stream(core, stream, 0, std::move(to), nullptr, op);
  });
}

pulse_status pulse_sink_remove_stream_wait(pulse_sink* sink, pulse_stream* stream,
                                           int64_t timeout_ms, pulse_error* error) noexcept {
  return wait_on(sink, timeout_ms, error,
                 [&](Sink& core, int64_t left, Ref<Signal> signal, Ref<Operation>* op) {
                   return remove_stream(core, stream, left, Target(), std::move(signal), op);
                 });
}

pulse_status pulse_sink_ack(pulse_sink* sink, const pulse_ack_handle* handles, size_t count,
                            const pulse_target* target, uint64_t* operation,
                            pulse_error* error) noexcept {
  return start_on(sink, target, operation, error, [&](Sink& core, Target to, Ref<Operation>* op) {
    Error problem = check_handles(handles, count);
    return problem.ok() ? core.ack(handles, count, 0, std::move(to), nullptr, op) : problem;
  });
}

pulse_status pulse_sink_ack_wait(pulse_sink* sink, const pulse_ack_handle* handles, size_t count,
                                 pulse_result* results, int64_t timeout_ms,
                                 pulse_error* error) noexcept {
  return wait_on(
      sink, timeout_ms, error,
      [&](Sink& core, int64_t left, Ref<Signal> signal, Ref<Operation>* op) {
        Error problem = check_handles(handles, count);
        return problem.ok() ? core.ack(handles, count, left, Target(), std::move(signal), op)
                            : problem;
      },
      [&](Operation& op) {
        give_results(op, count, results, [&](size_t i) { return handles[i].id; });
      });
}

pulse_status pulse_sink_release(pulse_sink* sink, const pulse_ack_handle* handles, size_t count,
                                const pulse_target* target, uint64_t* operation,
                                pulse_error* error) noexcept {
  return start_on(sink, target, operation, error, [&](Sink& core, Target to, Ref<Operation>* op) {
    Error problem = check_handles(handles, count);
    return problem.ok() ? core.release(handles, count, 0, std::move(to), nullptr, op) : problem;
  });
}

pulse_status pulse_sink_release_wait(pulse_sink* sink, const pulse_ack_handle* handles,
                                     size_t count, int64_t timeout_ms,
                                     pulse_error* error) noexcept {
  return wait_on(sink, timeout_ms, error,
                 [&](Sink& core, int64_t left, Ref<Signal> signal, Ref<Operation>* op) {
                   Error problem = check_handles(handles, count);
                   return problem.ok()
                              ? core.release(handles, count, left, Target(), std::move(signal), op)
                              : problem;
                 });
}

pulse_status pulse_sink_pause(pulse_sink* sink) noexcept {
  return guard(nullptr, [&]() -> Error {
    Error problem = check_handle(sink);
    return problem.ok() ? sink->core->pause(true) : problem;
  });
}

pulse_status pulse_sink_resume(pulse_sink* sink) noexcept {
  return guard(nullptr, [&]() -> Error {
    Error problem = check_handle(sink);
    return problem.ok() ? sink->core->pause(false) : problem;
  });
}

pulse_status pulse_sink_get_metrics(pulse_sink* sink, pulse_sink_metrics* metrics) noexcept {
  return guard(nullptr, [&]() -> Error {
    if (sink == nullptr) return null_argument("sink");
    pulse_sink_metrics m{};
    sink->core->metrics(&m);
    return give_struct(m, metrics, "pulse_sink_metrics");
  });
}

pulse_status pulse_sink_close(pulse_sink* sink) noexcept { return close_handle(sink); }

pulse_status pulse_sink_close_wait(pulse_sink* sink, int64_t timeout_ms,
                                   pulse_error* error) noexcept {
  return close_handle_wait(sink, timeout_ms, error);
}

pulse_sink* pulse_sink_ref(pulse_sink* sink) noexcept { return ref_handle(sink); }
void pulse_sink_unref(pulse_sink* sink) noexcept { unref_handle(sink); }

}  // extern "C"
