#include "pulseengine/stream.h"

#include "capi/call.h"
#include "streaming/stream_ops.h"

using namespace pulseengine;

namespace {

constexpr size_t kMaxItems = 65536;

struct AddSettings {
  bool only_if_exists = false;
  int64_t timeout_ms = 0;
};

Error take_add_options(const pulse_add_options* given, bool batch, AddItem* item,
                       AddSettings* out) {
  if (given == nullptr) return {};  // all as it is
  pulse_add_options o;
  Error error = take_options(given, &o, "pulse_add_options");
  if (error.ok() && o.reserved != 0) {
    error = Error(PULSE_ERR_UNKNOWN_OPTION, "pulse_add_options: reserved must be 0");
  }
  if (error.ok()) error = take_switch("only_if_exists", o.only_if_exists, &out->only_if_exists);
  if (error.ok()) {
    error = take_number("timeout_ms", o.timeout_ms, 0, 1, INT64_MAX / 2, true, &out->timeout_ms);
  }
  if (!error.ok()) return error;
  if (batch && (o.topic != nullptr || o.header_count > 0)) {
    return Error(PULSE_ERR_INVALID, "topic and headers of a batch belong to its items");
  }
  if (batch) return {};
  if (o.headers == nullptr && o.header_count > 0) return null_argument("headers");
  item->headers = o.headers;
  item->header_count = o.header_count;
  item->has_topic = o.topic != nullptr;
  return take_text("topic", o.topic, o.topic_len, &item->topic);
}

// All of one event; checked.
Error take_item(const Engine& engine, const char* name, size_t name_len, const void* payload,
                size_t payload_len, AddItem* item) {
  Error error = take_text("name", name, name_len, &item->name);
  if (error.ok()) error = take_text("payload", payload, payload_len, &item->payload);
  return error.ok() ? check_item(engine, *item) : error;
}

Error take_items(const Engine& engine, const pulse_add_item* items, size_t item_size, size_t count,
                 Vector<AddItem>* out) {
  if (items == nullptr) return null_argument("items");
  if (count == 0 || count > kMaxItems) {
    return Error::make(PULSE_ERR_INVALID, 0, "a batch has 1 to {} items, not {}", kMaxItems, count);
  }
  if (item_size < offsetof(pulse_add_item, topic)) {
    return Error::make(PULSE_ERR_STRUCT_SIZE, 0, "item_size {} is no size of pulse_add_item",
                       item_size);
  }
  out->reserve(count);
  for (size_t i = 0; i < count; i++) {
    pulse_add_item given{};
    const char* at = reinterpret_cast<const char*>(items) + i * item_size;
    for (size_t b = sizeof given; b < item_size; b++) {
      if (at[b] != 0)
        return Error::make(PULSE_ERR_UNKNOWN_OPTION, 0, "item {}: byte {} is set", i, b);
    }
    std::memcpy(&given, at, std::min(item_size, sizeof given));
    AddItem item;
    if (given.headers == nullptr && given.header_count > 0) return null_argument("headers");
    item.headers = given.headers;
    item.header_count = given.header_count;
    item.has_topic = given.topic != nullptr;
    Error error = take_text("topic", given.topic, given.topic_len, &item.topic);
    if (error.ok()) {
      error =
          take_item(engine, given.name, given.name_len, given.payload, given.payload_len, &item);
    }
    if (!error.ok()) {
      return Error::make(error.code(), error.flags(), "item {}: {}", i, error.message());
    }
    out->push_back(item);
  }
  return {};
}

Error take_ids(const pulse_event_id* ids, size_t count) {
  if (ids == nullptr) return null_argument("ids");
  if (count == 0 || count > kMaxItems) {
    return Error::make(PULSE_ERR_INVALID, 0, "1 to {} ids, not {}", kMaxItems, count);
  }
  return {};
}

}  // namespace

extern "C" {

void pulse_stream_options_init(pulse_stream_options* options) noexcept {
  if (options != nullptr) *options = PULSE_STREAM_OPTIONS_INIT;
}

void pulse_add_options_init(pulse_add_options* options) noexcept {
  if (options != nullptr) *options = PULSE_ADD_OPTIONS_INIT;
}

pulse_status pulse_stream_open(pulse_engine* engine, const char* name, size_t name_len,
                               const pulse_stream_options* options, pulse_stream** stream,
                               pulse_error* error) noexcept {
  return guard(error, [&]() -> Error {
    if (engine == nullptr) return null_argument("engine");
    if (stream == nullptr) return null_argument("stream");
    Error problem = check_engine(*engine->core);
    if (!problem.ok()) return problem;
    std::string_view text;
    problem = take_text("a stream's name", name, name_len, &text);
    if (problem.ok()) problem = check_name("a stream's name", text);
    pulse_stream_options o;
    if (problem.ok()) problem = take_options(options, &o, "pulse_stream_options");
    StreamOptions s;
    if (problem.ok())
      problem = take_number("max_len", o.max_len, 1000, 1, INT64_MAX, true, &s.max_len);
    if (problem.ok()) problem = take_number("ttl_ms", o.ttl_ms, 0, 1, kMaxMs, false, &s.ttl_ms);
    if (problem.ok()) {
      problem =
          take_number("sliding_ttl_ms", o.sliding_ttl_ms, 0, 1, kMaxMs, false, &s.sliding_ttl_ms);
    }
    if (!problem.ok()) return problem;
    if (s.ttl_ms > 0 && s.sliding_ttl_ms > 0) {
      return Error(PULSE_ERR_INVALID, "ttl_ms and sliding_ttl_ms exclude each other");
    }
    auto core = make_ref<Stream>(engine->core, text, s);
    *stream = new pulse_stream(Ref<pulse_engine>::share(engine), std::move(core));
    return {};
  });
}

pulse_status pulse_stream_add(pulse_stream* stream, const char* name, size_t name_len,
                              const void* payload, size_t payload_len,
                              const pulse_add_options* options, const pulse_target* target,
                              uint64_t* operation, pulse_error* error) noexcept {
  return start_with_id(
      stream, target, operation, error, [&](Stream& core, Target&& to, uint64_t* id) {
        AddItem item;
        AddSettings settings;
        Error problem = take_add_options(options, false, &item, &settings);
        if (problem.ok())
          problem = take_item(core.engine(), name, name_len, payload, payload_len, &item);
        if (!problem.ok()) return problem;
        return add_event(core, item, settings.only_if_exists, settings.timeout_ms, std::move(to),
                         nullptr, nullptr, id);
      });
}

pulse_status pulse_stream_add_bytes(pulse_stream* stream, const char* name, size_t name_len,
                                    pulse_bytes* payload, const pulse_add_options* options,
                                    const pulse_target* target, uint64_t* operation,
                                    pulse_error* error) noexcept {
  return start_with_id(
      stream, target, operation, error, [&](Stream& core, Target&& to, uint64_t* id) {
        if (payload == nullptr) return null_argument("payload");
        AddItem item;
        AddSettings settings;
        Error problem = take_add_options(options, false, &item, &settings);
        Ref<Bytes> bytes = Ref<Bytes>::share(reinterpret_cast<Bytes*>(payload));
        item.payload_bytes = &bytes;
        if (problem.ok()) problem = take_item(core.engine(), name, name_len, nullptr, 0, &item);
        if (!problem.ok()) return problem;
        return add_event(core, item, settings.only_if_exists, settings.timeout_ms, std::move(to),
                         nullptr, nullptr, id);
      });
}

pulse_status pulse_stream_add_wait(pulse_stream* stream, const char* name, size_t name_len,
                                   const void* payload, size_t payload_len,
                                   const pulse_add_options* options, pulse_event_id* id,
                                   int64_t timeout_ms, pulse_error* error) noexcept {
  AddItem item;
  AddSettings settings;
  return wait_on(
      stream, timeout_ms, error,
      [&](Stream& core, int64_t left, Ref<Signal> signal, Ref<Operation>* op) {
        Error problem = take_add_options(options, false, &item, &settings);
        if (problem.ok())
          problem = take_item(core.engine(), name, name_len, payload, payload_len, &item);
        if (!problem.ok()) return problem;
        if (settings.timeout_ms > 0 && (left < 0 || settings.timeout_ms < left))
          left = settings.timeout_ms;
        return add_event(core, item, settings.only_if_exists, left, Target(), std::move(signal),
                         op, nullptr);
      },
      [&](Operation& op) {
        if (id != nullptr) *id = op.event_id;
      });
}

pulse_status pulse_stream_add_batch(pulse_stream* stream, const pulse_add_item* items,
                                    size_t item_size, size_t count,
                                    const pulse_add_options* options, const pulse_target* target,
                                    uint64_t* operation, pulse_error* error) noexcept {
  return start_on(stream, target, operation, error,
                  [&](Stream& core, Target to, Ref<Operation>* op) {
                    AddSettings settings;
                    Vector<AddItem> list;
                    Error problem = take_add_options(options, true, nullptr, &settings);
                    if (problem.ok())
                      problem = take_items(core.engine(), items, item_size, count, &list);
                    if (!problem.ok()) return problem;
                    return add_batch(core, list.data(), count, settings.only_if_exists,
                                     settings.timeout_ms, std::move(to), nullptr, op);
                  });
}

pulse_status pulse_stream_add_batch_wait(pulse_stream* stream, const pulse_add_item* items,
                                         size_t item_size, size_t count,
                                         const pulse_add_options* options, pulse_result* results,
                                         int64_t timeout_ms, pulse_error* error) noexcept {
  return wait_on(
      stream, timeout_ms, error,
      [&](Stream& core, int64_t left, Ref<Signal> signal, Ref<Operation>* op) {
        AddSettings settings;
        Vector<AddItem> list;
        Error problem = take_add_options(options, true, nullptr, &settings);
        if (problem.ok()) problem = take_items(core.engine(), items, item_size, count, &list);
        if (!problem.ok()) return problem;
        return add_batch(core, list.data(), count, settings.only_if_exists, left, Target(),
                         std::move(signal), op);
      },
      [&](Operation& op) {
        give_results(op, count, results, [](size_t) { return pulse_event_id{0, 0}; });
      });
}

pulse_status pulse_stream_remove(pulse_stream* stream, const pulse_event_id* ids, size_t count,
                                 const pulse_target* target, uint64_t* operation,
                                 pulse_error* error) noexcept {
  return start_on(stream, target, operation, error,
                  [&](Stream& core, Target to, Ref<Operation>* op) {
                    Error problem = take_ids(ids, count);
                    if (!problem.ok()) return problem;
                    return remove_events(core, ids, count, 0, std::move(to), nullptr, op);
                  });
}

pulse_status pulse_stream_remove_wait(pulse_stream* stream, const pulse_event_id* ids, size_t count,
                                      uint64_t* removed, int64_t timeout_ms,
                                      pulse_error* error) noexcept {
  return wait_on(
      stream, timeout_ms, error,
      [&](Stream& core, int64_t left, Ref<Signal> signal, Ref<Operation>* op) {
        Error problem = take_ids(ids, count);
        if (!problem.ok()) return problem;
        return remove_events(core, ids, count, left, Target(), std::move(signal), op);
      },
      [&](Operation& op) {
        if (removed != nullptr) *removed = op.count;
      });
}

pulse_status pulse_stream_destroy(pulse_stream* stream, const pulse_target* target,
                                  uint64_t* operation, pulse_error* error) noexcept {
  return start_on(stream, target, operation, error,
                  [&](Stream& core, Target to, Ref<Operation>* op) {
                    return destroy_stream(core, 0, std::move(to), nullptr, op);
                  });
}

pulse_status pulse_stream_destroy_wait(pulse_stream* stream, int64_t timeout_ms,
                                       pulse_error* error) noexcept {
  return wait_on(stream, timeout_ms, error,
                 [&](Stream& core, int64_t left, Ref<Signal> signal, Ref<Operation>* op) {
                   return destroy_stream(core, left, Target(), std::move(signal), op);
                 });
}

pulse_status pulse_stream_info_get(pulse_stream* stream, const pulse_target* target,
                                   uint64_t* operation, pulse_error* error) noexcept {
  return start_on(stream, target, operation, error,
                  [&](Stream& core, Target to, Ref<Operation>* op) {
                    return stream_info(core, 0, std::move(to), nullptr, op);
                  });
}

pulse_status pulse_stream_info_wait(pulse_stream* stream, pulse_stream_info* info,
                                    int64_t timeout_ms, pulse_error* error) noexcept {
  Error given;
  pulse_status status = wait_on(
      stream, timeout_ms, error,
      [&](Stream& core, int64_t left, Ref<Signal> signal, Ref<Operation>* op) {
        if (info == nullptr) return null_argument("info");
        return stream_info(core, left, Target(), std::move(signal), op);
      },
      [&](Operation& op) {
        if (op.status() == PULSE_OK)
          given = give_struct(op.stream_info->value, info, "pulse_stream_info");
      });
  return status == PULSE_OK && !given.ok() ? given.report(error) : status;
}

pulse_stream* pulse_stream_ref(pulse_stream* stream) noexcept { return ref_handle(stream); }
void pulse_stream_unref(pulse_stream* stream) noexcept { unref_handle(stream); }

}  // extern "C"
