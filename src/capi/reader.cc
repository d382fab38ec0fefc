#include "pulseengine/reader.h"

#include "capi/call.h"
#include "capi/receive.h"
#include "streaming/reader.h"

using namespace pulseengine;

struct pulse_reader : ObjectHandle<pulse_reader, pulse_engine, Reader> {
  using ObjectHandle::ObjectHandle;
  static constexpr std::string_view kName = "reader";
};

namespace {

Error take_reader_options(const pulse_reader_options* given, ReaderOptions* out, ReadStart* start,
                          Filter* filter) {
  pulse_reader_options o;
  Error error = take_options(given, &o, "pulse_reader_options");
  if (!error.ok()) return error;
  if (o.reserved != 0) {
    return Error(PULSE_ERR_UNKNOWN_OPTION, "pulse_reader_options: reserved must be 0");
  }
  error = take_start(o.start, &o.start_id, start);
  if (error.ok()) error = take_block_ms(o.block_ms, &out->block_ms);
  if (error.ok()) {
    error = take_number("max_polled", o.max_polled, 1000, 1, 65536, false, &out->max_polled);
  }
  if (error.ok())
    error = take_number("buffer", o.buffer, 1000, 1, INT64_MAX / 2, true, &out->buffer);
  if (error.ok()) {
    error = take_number("buffer_bytes", o.buffer_bytes, 16 << 20, 1, INT64_MAX / 2, true,
                        &out->buffer_bytes);
  }
  if (error.ok()) {
    error = take_filter(o.topic, o.topic_len, o.topic_pattern, o.topic_pattern_len, filter);
  }
  return error;
}

// Takes up the operation and hands it over: begin(operation) answers false when
// the engine is closed.
template <class Begin>
Error start_operation(Engine& engine, pulse_event_kind kind, int64_t timeout_ms, Target target,
                      Ref<Signal> signal, Ref<Operation>* out, Begin begin) {
  auto operation = make_ref<Operation>(kind, std::move(target));
  operation->set_signal(std::move(signal));
  Error error = engine.accept(*operation, timeout_ms);
  if (!error.ok()) return error;
  bool begun = false;
  try {
    begun = begin(operation);
  } catch (const std::bad_alloc&) {
    engine.reject(*operation);
    throw;
  }
  if (!begun && !operation->completed()) {
    engine.reject(*operation);
    return Error(PULSE_ERR_CLOSED, "the engine is closed", PULSE_ERROR_NEVER_SENT);
  }
  *out = std::move(operation);
  return {};
}

Error add_stream(Reader& core, pulse_stream* stream, pulse_start start,
                 const pulse_event_id* start_id, int64_t timeout_ms, Target target,
                 Ref<Signal> signal, Ref<Operation>* out) {
  ReadStart at;
  Error error = check_stream(core.engine(), stream);
  if (error.ok()) error = take_start(start, start_id, &at);
  if (!error.ok()) return error;
  return start_operation(
      core.engine(), PULSE_EVENT_STREAM_ADDED, timeout_ms, std::move(target), std::move(signal),
      out, [&](const Ref<Operation>& op) { return core.add_stream(stream->core, at, op); });
}

Error remove_stream(Reader& core, pulse_stream* stream, int64_t timeout_ms, Target target,
                    Ref<Signal> signal, Ref<Operation>* out) {
  Error error = check_stream(core.engine(), stream);
  if (!error.ok()) return error;
  return start_operation(
      core.engine(), PULSE_EVENT_STREAM_REMOVED, timeout_ms, std::move(target), std::move(signal),
      out, [&](const Ref<Operation>& op) { return core.remove_stream(stream->core, op); });
}

}  // namespace

extern "C" {

void pulse_reader_options_init(pulse_reader_options* options) noexcept {
  if (options != nullptr) *options = PULSE_READER_OPTIONS_INIT;
}

pulse_status pulse_reader_open(pulse_stream* stream, const pulse_reader_options* options,
                               const pulse_target* target, pulse_reader** reader,
                               pulse_error* error) noexcept {
  return guard(error, [&]() -> Error {
    Target to;
    Error problem = take_required_target(target, &to);
    if (!problem.ok()) return problem;
    if (stream == nullptr) return null_argument("stream");
    if (reader == nullptr) return null_argument("reader");
    problem = check_engine(stream->core->engine());
    ReaderOptions settings;
    ReadStart start;
    auto filter = make_owned<Filter>();
    if (problem.ok()) problem = take_reader_options(options, &settings, &start, filter.get());
    if (!problem.ok()) return problem;
    Ref<Reader> core;
    problem = Reader::open(stream->core, settings, start, std::move(filter), std::move(to), &core);
    if (!problem.ok()) return problem;
    try {
      *reader = new pulse_reader(stream->engine, core);
    } catch (const std::bad_alloc&) {
      core->close();
      throw;
    }
    return {};
  });
}

pulse_status pulse_reader_ready_wait(pulse_reader* reader, int64_t timeout_ms,
                                     pulse_error* error) noexcept {
  return guard(error, [&]() -> Error {
    Error problem = check_handle(reader);
    if (!problem.ok()) return problem;
    Engine& engine = reader->core->engine();
    problem = check_may_wait(engine);
    if (!problem.ok()) return problem;
    return reader->core->ready_wait(timeout_ms);
  });
}

pulse_status pulse_reader_add_stream(pulse_reader* reader, pulse_stream* stream, pulse_start start,
                                     const pulse_event_id* start_id, const pulse_target* target,
                                     uint64_t* operation, pulse_error* error) noexcept {
  return start_on(reader, target, operation, error,
                  [&](Reader& core, Target to, Ref<Operation>* op) {
                    return add_stream(core, stream, start, start_id, 0, std::move(to), nullptr, op);
                  });
}

pulse_status pulse_reader_add_stream_wait(pulse_reader* reader, pulse_stream* stream,
                                          pulse_start start, const pulse_event_id* start_id,
                                          int64_t timeout_ms, pulse_error* error) noexcept {
  return wait_on(reader, timeout_ms, error,
                 [&](Reader& core, int64_t left, Ref<Signal> signal, Ref<Operation>* op) {
                   return add_stream(core, stream, start, start_id, left, Target(),
                                     std::move(signal), op);
                 });
}

pulse_status pulse_reader_remove_stream(pulse_reader* reader, pulse_stream* stream,
                                        const pulse_target* target, uint64_t* operation,
                                        pulse_error* error) noexcept {
  return start_on(reader, target, operation, error,
                  [&](Reader& core, Target to, Ref<Operation>* op) {
                    return remove_stream(core, stream, 0, std::move(to), nullptr, op);
                  });
}

pulse_status pulse_reader_remove_stream_wait(pulse_reader* reader, pulse_stream* stream,
                                             int64_t timeout_ms, pulse_error* error) noexcept {
  return wait_on(reader, timeout_ms, error,
                 [&](Reader& core, int64_t left, Ref<Signal> signal, Ref<Operation>* op) {
                   return remove_stream(core, stream, left, Target(), std::move(signal), op);
                 });
}

pulse_status pulse_reader_pause(pulse_reader* reader) noexcept {
  return guard(nullptr, [&]() -> Error {
    Error problem = check_handle(reader);
    if (problem.ok()) reader->core->pause(true);
    return problem;
  });
}

pulse_status pulse_reader_resume(pulse_reader* reader) noexcept {
  return guard(nullptr, [&]() -> Error {
    Error problem = check_handle(reader);
    if (problem.ok()) reader->core->pause(false);
    return problem;
  });
}

pulse_status pulse_reader_get_metrics(pulse_reader* reader,
                                      pulse_reader_metrics* metrics) noexcept {
  return guard(nullptr, [&]() -> Error {
    if (reader == nullptr) return null_argument("reader");
    pulse_reader_metrics now{};
    now.size = sizeof now;
    reader->core->metrics(&now);
    return give_struct(now, metrics, "pulse_reader_metrics");
  });
}

pulse_status pulse_reader_close(pulse_reader* reader) noexcept { return close_handle(reader); }

pulse_status pulse_reader_close_wait(pulse_reader* reader, int64_t timeout_ms,
                                     pulse_error* error) noexcept {
  return close_handle_wait(reader, timeout_ms, error);
}

pulse_reader* pulse_reader_ref(pulse_reader* reader) noexcept { return ref_handle(reader); }
void pulse_reader_unref(pulse_reader* reader) noexcept { unref_handle(reader); }

}  // extern "C"
