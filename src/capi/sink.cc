#include "pulseengine/sink.h"

#include "capi/guard.h"
#include "capi/handle.h"
#include "streaming/sink.h"

using namespace pulseengine;

struct pulse_sink : RefCounted {
  pulse_sink(Ref<pulse_engine> e, Ref<Sink> s) : engine(std::move(e)), core(std::move(s)) {}
  ~pulse_sink() override { core->close(); }
  const Ref<pulse_engine> engine;
  const Ref<Sink> core;
};

namespace {

constexpr size_t kMaxHandles = 65536;
constexpr int64_t kMaxPolled = 65536;
constexpr int64_t kLeastGrace = 100;
constexpr int64_t kLongest = int64_t{1} << 40;  // of the times, in ms

Error take_start(pulse_start start) {
  if (start < PULSE_START_NEWEST || start > PULSE_START_TIME) {
    return Error::make(PULSE_ERR_INVALID, 0, "start: {} is no start position", start);
  }
  return {};
}

Error take_filter(const pulse_sink_options& o, Filter* filter) {
  if (o.topic != nullptr && o.topic_pattern != nullptr) {
    return Error(PULSE_ERR_INVALID, "topic and topic_pattern exclude each other");
  }
  std::string_view text;
  if (o.topic_pattern != nullptr) {
    Error error = take_text("topic_pattern", o.topic_pattern, o.topic_pattern_len, &text);
    return error.ok() ? filter->set_pattern(text) : error;
  }
  Error error = take_text("topic", o.topic, o.topic_len, &text);
  if (error.ok() && o.topic != nullptr) filter->set_topic(text);
  return error;
}

Error take_sink_options(const pulse_sink_options* given, SinkConfig* c, Filter* filter) {
  pulse_sink_options o;
  Error e = take_options(given, &o, "pulse_sink_options");
  if (e.ok()) e = take_start(o.start);
  if (e.ok()) e = take_switch("no_ack", o.no_ack, &c->no_ack);
  if (e.ok()) e = take_number("block_ms", o.block_ms, 5000, 1, kLongest, false, &c->block_ms);
  if (e.ok())
    e = take_number("max_polled", o.max_polled, 1000, 1, kMaxPolled, false, &c->max_polled);
  if (e.ok()) e = take_number("buffer", o.buffer, 1000, 1, INT64_MAX, true, &c->buffer);
  if (e.ok()) {
    e = take_number("buffer_bytes", o.buffer_bytes, 16 << 20, 1, INT64_MAX, true, &c->buffer_bytes);
  }
  if (e.ok())
    e = take_number("max_pending", o.max_pending, 10000, 1, INT64_MAX, true, &c->max_pending);
  if (e.ok()) {
    e = take_number("ack_grace_ms", o.ack_grace_ms, 20000, kLeastGrace, kLongest, false,
                    &c->grace_ms);
  }
  if (e.ok()) {
    e = take_number("max_handling_ms", o.max_handling_ms, -1, 1, kLongest, true,
                    &c->max_handling_ms);
  }
  if (e.ok()) e = take_switch("leave_filtered", o.leave_filtered, &c->leave_filtered);
  bool no_coalescing = false;
  if (e.ok()) e = take_switch("no_ack_coalescing", o.no_ack_coalescing, &no_coalescing);
  c->coalesce = !no_coalescing;
  c->start = o.start;
  c->start_id = o.start_id;
  return e.ok() ? take_filter(o, filter) : e;
}

Error check_handles(const pulse_ack_handle* handles, size_t count) {
  if (handles == nullptr) return null_argument("handles");
  if (count == 0 || count > kMaxHandles) {
    return Error::make(PULSE_ERR_INVALID, 0, "1 to {} handles, not {}", kMaxHandles, count);
  }
  return {};
}

// A stream that may be added to the sink, and where reading it begins.
Error check_stream(const pulse_sink& sink, const pulse_stream* stream, pulse_start start,
                   const pulse_event_id* id) {
  if (stream == nullptr) return null_argument("stream");
  if (&stream->core->engine() != &sink.core->engine()) {
    return Error(PULSE_ERR_INVALID, "the stream belongs to another engine than the sink");
  }
  Error error = take_start(start);
  if (!error.ok()) return error;
  bool needs_id = start == PULSE_START_AFTER || start == PULSE_START_TIME;
  if (needs_id && id == nullptr) return null_argument("start_id");
  return {};
}

Error check_sink(const pulse_sink* sink) {
  if (sink == nullptr) return null_argument("sink");
  if (sink->core->engine().forked()) {
    return Error(PULSE_ERR_FORKED, "the engine belongs to the parent process");
  }
  if (sink->core->withdrawn())
    return Error(PULSE_ERR_CLOSED, "the sink is closed", PULSE_ERROR_NEVER_SENT);
  return check_engine(sink->core->engine());
}

// The frame of an asynchronous call.
template <class Start>
pulse_status start_on(pulse_sink* sink, const pulse_target* target, uint64_t* operation,
                      pulse_error* error, Start start) noexcept {
  return guard(error, [&]() -> Error {
    Target to;
    Error problem = take_target(target, &to);
    if (problem.ok()) problem = check_sink(sink);
    if (!problem.ok()) return problem;
    Ref<Operation> op;
    problem = start(*sink->core, std::move(to), &op);
    if (problem.ok() && operation != nullptr) *operation = op->id();
    return problem;
  });
}

// The frame of a blocking twin.
template <class Start>
pulse_status wait_on(pulse_sink* sink, int64_t timeout_ms, pulse_error* error, Ref<Operation>* op,
                     Start start) noexcept {
  return guard(error, [&]() -> Error {
    Error problem = check_sink(sink);
    if (!problem.ok()) return problem;
    Sink& core = *sink->core;
    return call_and_wait(core.engine(), timeout_ms, op,
                         [&](int64_t left, Ref<Signal> signal, Ref<Operation>* out) {
                           return start(core, left, std::move(signal), out);
                         });
  });
}

constexpr pulse_event_id kNoId{0, 0};

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
    Error problem = check_sink(sink);
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
    Error problem = check_stream(*sink, stream, start, start_id);
    if (!problem.ok()) return problem;
    return core.add_stream(stream->core, start, start_id != nullptr ? *start_id : kNoId, 0,
                           std::move(to), nullptr, op);
  });
}

pulse_status pulse_sink_add_stream_wait(pulse_sink* sink, pulse_stream* stream, pulse_start start,
                                        const pulse_event_id* start_id, int64_t timeout_ms,
                                        pulse_error* error) noexcept {
  Ref<Operation> op;
  return wait_on(sink, timeout_ms, error, &op,
                 [&](Sink& core, int64_t left, Ref<Signal> signal, Ref<Operation>* out) {
                   Error problem = check_stream(*sink, stream, start, start_id);
                   if (!problem.ok()) return problem;
                   return core.add_stream(stream->core, start,
                                          start_id != nullptr ? *start_id : kNoId, left, Target(),
                                          std::move(signal), out);
                 });
}

pulse_status pulse_sink_remove_stream(pulse_sink* sink, pulse_stream* stream,
                                      const pulse_target* target, uint64_t* operation,
                                      pulse_error* error) noexcept {
  return start_on(sink, target, operation, error, [&](Sink& core, Target to, Ref<Operation>* op) {
    if (stream == nullptr) return null_argument("stream");
    return core.remove_stream(stream->core, 0, std::move(to), nullptr, op);
  });
}

pulse_status pulse_sink_remove_stream_wait(pulse_sink* sink, pulse_stream* stream,
                                           int64_t timeout_ms, pulse_error* error) noexcept {
  Ref<Operation> op;
  return wait_on(sink, timeout_ms, error, &op,
                 [&](Sink& core, int64_t left, Ref<Signal> signal, Ref<Operation>* out) {
                   if (stream == nullptr) return null_argument("stream");
                   return core.remove_stream(stream->core, left, Target(), std::move(signal), out);
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
  Ref<Operation> op;
  pulse_status status = wait_on(
      sink, timeout_ms, error, &op,
      [&](Sink& core, int64_t left, Ref<Signal> signal, Ref<Operation>* out) {
        Error problem = check_handles(handles, count);
        return problem.ok() ? core.ack(handles, count, left, Target(), std::move(signal), out)
                            : problem;
      });
  if (results == nullptr || handles == nullptr || !op || !op->completed()) return status;
  for (size_t i = 0; i < count; i++) {
    // Cut short as a whole: every item ended as the operation did.
    results[i] = i < op->results.size()
                     ? op->results[i]
                     : pulse_result{op->status(), op->error().flags(), handles[i].id};
  }
  return status;
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
  Ref<Operation> op;
  return wait_on(sink, timeout_ms, error, &op,
                 [&](Sink& core, int64_t left, Ref<Signal> signal, Ref<Operation>* out) {
                   Error problem = check_handles(handles, count);
                   return problem.ok()
                              ? core.release(handles, count, left, Target(), std::move(signal), out)
                              : problem;
                 });
}

pulse_status pulse_sink_pause(pulse_sink* sink) noexcept {
  return guard(nullptr, [&]() -> Error {
    Error problem = check_sink(sink);
    return problem.ok() ? sink->core->pause(true) : problem;
  });
}

pulse_status pulse_sink_resume(pulse_sink* sink) noexcept {
  return guard(nullptr, [&]() -> Error {
    Error problem = check_sink(sink);
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

pulse_status pulse_sink_close(pulse_sink* sink) noexcept {
  return guard(nullptr, [&]() -> Error {
    if (sink == nullptr) return null_argument("sink");
    if (sink->core->engine().forked()) {
      return Error(PULSE_ERR_FORKED, "the engine belongs to the parent process");
    }
    sink->core->close();
    return {};
  });
}

pulse_status pulse_sink_close_wait(pulse_sink* sink, int64_t timeout_ms,
                                   pulse_error* error) noexcept {
  return guard(error, [&]() -> Error {
    if (sink == nullptr) return null_argument("sink");
    if (sink->core->engine().forked()) {
      return Error(PULSE_ERR_FORKED, "the engine belongs to the parent process");
    }
    return sink->core->close_wait(timeout_ms);
  });
}

pulse_sink* pulse_sink_ref(pulse_sink* sink) noexcept { return ref_handle(sink); }
void pulse_sink_unref(pulse_sink* sink) noexcept { unref_handle(sink); }

}  // extern "C"
