#include "pulseengine/map.h"

#include "base/hash.h"
#include "capi/call.h"
#include "rmap/map_list.h"
#include "rmap/map_watch.h"
#include "rmap/map_write.h"

using namespace pulseengine;

struct pulse_map : ObjectHandle<pulse_map, pulse_engine, ReplicatedMap> {
  using ObjectHandle::ObjectHandle;
  static constexpr std::string_view kName = "map";
};

struct pulse_map_watch : ObjectHandle<pulse_map_watch, pulse_engine, MapWatch> {
  using ObjectHandle::ObjectHandle;
  static constexpr std::string_view kName = "watch";
};

namespace {

constexpr int64_t kLeastUnnoticed = 100;
constexpr int64_t kMaxValue = 64 << 20;
constexpr int64_t kMaxHistory = 1 << 20;

Error take_map_options(const pulse_map_options* given, MapConfig* c) {
  pulse_map_options o;
  Error e = take_options(given, &o, "pulse_map_options");
  int64_t ttl = 0, sliding = 0;
  if (e.ok()) e = take_number("ttl_ms", o.ttl_ms, 0, 1, kMaxMs, false, &ttl);
  if (e.ok()) e = take_number("sliding_ttl_ms", o.sliding_ttl_ms, 0, 1, kMaxMs, false, &sliding);
  if (e.ok() && ttl > 0 && sliding > 0) {
    e = Error(PULSE_ERR_INVALID, "ttl_ms and sliding_ttl_ms exclude each other");
  }
  c->ttl_ms = ttl + sliding;
  c->sliding = sliding > 0;
  if (e.ok()) {
    e = take_number("max_unnoticed_ms", o.max_unnoticed_ms, 5000, kLeastUnnoticed, kMaxMs, false,
                    &c->max_unnoticed_ms);
  }
  if (e.ok()) e = take_number("max_keys", o.max_keys, -1, 1, INT64_MAX, true, &c->max_keys);
  if (e.ok()) e = take_number("max_bytes", o.max_bytes, -1, 1, INT64_MAX, true, &c->max_bytes);
  if (e.ok()) {
    e = take_number("max_value_bytes", o.max_value_bytes, 1 << 20, 1, kMaxValue, false,
                    &c->max_value_bytes);
  }
  if (e.ok() && o.watch_history == PULSE_MS_NONE) {
    c->watch_history = 0;
  } else if (e.ok()) {
    e = take_number("watch_history", o.watch_history, 1024, 1, kMaxHistory, false,
                    &c->watch_history);
  }
  if (e.ok()) e = take_switch("read_your_writes", o.read_your_writes, &c->read_your_writes);
  bool no_coalescing = false;
  if (e.ok()) e = take_switch("no_coalescing", o.no_coalescing, &no_coalescing);
  c->coalesce = !no_coalescing;
  return e;
}

Error take_key(const char* key, size_t key_len, std::string_view* out) {
  Error error = take_text("key", key, key_len, out);
  if (!error.ok()) return error;
  if (out->empty()) return Error(PULSE_ERR_INVALID, "a key must not be empty");
  if (out->size() > PULSE_MAP_MAX_KEY_BYTES) {
    return Error::make(PULSE_ERR_TOO_LARGE, 0, "a key of {} bytes is larger than {}", out->size(),
                       int{PULSE_MAP_MAX_KEY_BYTES});
  }
  if (!is_map_key(*out)) return Error(PULSE_ERR_INVALID, "a key must not contain '='");
  return {};
}

// A mutation of one key with up to two byte arguments.
struct Mutation {
  std::string_view what;
  const char* key;
  size_t key_len;
  size_t arguments = 0;
  const void* data[2] = {nullptr, nullptr};
  size_t size[2] = {0, 0};
};

bool visible(const ReplicatedMap& map) { return map.config().read_your_writes; }

Error start_mutation(ReplicatedMap& map, const Mutation& m, bool show, int64_t timeout_ms,
                     Target target, Ref<Signal> signal, Ref<Operation>* out) {
  std::string_view key;
  Error error = take_key(m.key, m.key_len, &key);
  std::string_view values[2];
  for (size_t i = 0; error.ok() && i < m.arguments; i++) {
    error = take_text("value", m.data[i], m.size[i], &values[i]);
    if (error.ok()) error = map.check_value(values[i].size());
  }
  if (!error.ok()) return error;
  auto write = make_ref<MapWrite>(std::move(target), false, show || visible(map));
  write->begin(m.what, 1 + m.arguments);
  write->add(key);
  for (size_t i = 0; i < m.arguments; i++) write->add(values[i]);
  // The last one is what it sets, if it sets anything.
  write->publishes(key.size() + (m.arguments == 0 ? 0 : values[m.arguments - 1].size()));
  return map.write(std::move(write), timeout_ms, std::move(signal), out);
}

// What one mutation gave to the host that waited for it.
void give_result(Operation& op, pulse_map_result* result) {
  if (result == nullptr || result->size < sizeof(size_t)) return;
  pulse_map_result r = static_cast<MapWrite&>(op).release_result(0);
  // The value is the host's only if its struct reaches that far.
  if (result->size < offsetof(pulse_map_result, value) + sizeof r.value) {
    pulse_bytes_unref(r.value);
  }
  (void)give_struct(r, result, "pulse_map_result");
}

Error check_result(const pulse_map_result* result) {
  if (result == nullptr || result->size >= sizeof(size_t)) return {};
  return Error::make(PULSE_ERR_STRUCT_SIZE, 0,
                     "pulse_map_result: size {} is no size of this struct", result->size);
}

pulse_status mutate(pulse_map* map, const Mutation& m, bool show, const pulse_target* target,
                    uint64_t* operation, pulse_error* error) noexcept {
  return start_on(map, target, operation, error,
                  [&](ReplicatedMap& core, Target to, Ref<Operation>* op) {
                    return start_mutation(core, m, show, 0, std::move(to), nullptr, op);
                  });
}

// `start(core, timeout, target, signal, &operation)` and the wait for its one result.
template <class Start>
pulse_status wait_result(pulse_map* map, pulse_map_result* result, int64_t timeout_ms,
                         pulse_error* error, Start start) noexcept {
  return wait_on(
      map, timeout_ms, error,
      [&](ReplicatedMap& core, int64_t left, Ref<Signal> signal, Ref<Operation>* op) {
        Error problem = check_result(result);
        return problem.ok() ? start(core, left, std::move(signal), op) : problem;
      },
      [&](Operation& op) { give_result(op, result); });
}

pulse_status mutate_wait(pulse_map* map, const Mutation& m, bool show, pulse_map_result* result,
                         int64_t timeout_ms, pulse_error* error) noexcept {
  return wait_result(
      map, result, timeout_ms, error,
      [&](ReplicatedMap& core, int64_t left, Ref<Signal> signal, Ref<Operation>* op) {
        return start_mutation(core, m, show, left, Target(), std::move(signal), op);
      });
}

Mutation with_value(std::string_view what, const char* key, size_t key_len, const void* value,
                    size_t value_len) {
  return {what, key, key_len, 1, {value, nullptr}, {value_len, 0}};
}

Error start_increment(ReplicatedMap& map, const char* key, size_t key_len, int64_t delta,
                      int64_t timeout_ms, Target target, Ref<Signal> signal, Ref<Operation>* out) {
  std::string_view name;
  Error error = take_key(key, key_len, &name);
  if (!error.ok()) return error;
  auto write = make_ref<MapWrite>(std::move(target), false, visible(map));
  write->begin("inc", 2);
  write->add(name);
  write->add(delta);
  write->publishes(name.size());
  return map.write(std::move(write), timeout_ms, std::move(signal), out);
}

struct Items {
  std::string_view what;
  const char* key;
  size_t key_len;
  const pulse_map_item* items;
  size_t count;
};

Error start_list(ReplicatedMap& map, const Items& given, int64_t timeout_ms, Target target,
                 Ref<Signal> signal, Ref<Operation>* out) {
  std::string_view key;
  Error error = take_key(given.key, given.key_len, &key);
  if (!error.ok()) return error;
  if (given.items == nullptr && given.count > 0) return null_argument("items");
  if (given.count > PULSE_MAP_MAX_ITEMS) {
    return Error::make(PULSE_ERR_INVALID, 0, "{} items are more than {}", given.count,
                       int{PULSE_MAP_MAX_ITEMS});
  }
  auto write = make_ref<MapWrite>(std::move(target), false, visible(map));
  write->begin(given.what, 1 + given.count);
  write->add(key);
  size_t total = 0;
  for (size_t i = 0; i < given.count; i++) {
    std::string_view item;
    error = take_text("item", given.items[i].data, given.items[i].len, &item);
    if (error.ok()) error = map.check_value(total += item.size());
    if (!error.ok()) return error;
    write->add(item);
  }
  write->publishes(key.size() + total);
  return map.write(std::move(write), timeout_ms, std::move(signal), out);
}

pulse_status change_list(pulse_map* map, const Items& items, const pulse_target* target,
                         uint64_t* operation, pulse_error* error) noexcept {
  return start_on(map, target, operation, error,
                  [&](ReplicatedMap& core, Target to, Ref<Operation>* op) {
                    return start_list(core, items, 0, std::move(to), nullptr, op);
                  });
}

pulse_status change_list_wait(pulse_map* map, const Items& items, pulse_map_result* result,
                              int64_t timeout_ms, pulse_error* error) noexcept {
  return wait_result(
      map, result, timeout_ms, error,
      [&](ReplicatedMap& core, int64_t left, Ref<Signal> signal, Ref<Operation>* op) {
        return start_list(core, items, left, Target(), std::move(signal), op);
      });
}

Error start_tests(ReplicatedMap& map, const pulse_map_entry* tests, size_t count,
                  int64_t timeout_ms, Target target, Ref<Signal> signal, Ref<Operation>* out) {
  if (tests == nullptr) return null_argument("tests");
  if (count == 0 || count > PULSE_MAP_MAX_ITEMS) {
    return Error::make(PULSE_ERR_INVALID, 0, "1 to {} tests, not {}", int{PULSE_MAP_MAX_ITEMS},
                       count);
  }
  auto write = make_ref<MapWrite>(std::move(target), false, visible(map));
  write->begin("tar", 2 * count);
  for (size_t i = 0; i < count; i++) {
    std::string_view key;
    Error error = take_key(tests[i].key, tests[i].key_len, &key);
    if (!error.ok()) return error;
    write->add(key);
  }
  for (size_t i = 0; i < count; i++) {
    std::string_view value;
    Error error = take_text("value", tests[i].value, tests[i].value_len, &value);
    if (error.ok()) error = map.check_value(value.size());
    if (!error.ok()) return error;
    write->add(value);
  }
  return map.write(std::move(write), timeout_ms, std::move(signal), out);
}

// For the two that are allowed after close.
struct OpenEngine {
  static constexpr std::string_view kName = pulse_map::kName;
  Error check() const { return check_engine(core->engine()); }
  Ref<ReplicatedMap> core;
};

pulse_status empty(pulse_map* map, std::string_view what, const pulse_target* target,
                   uint64_t* operation, pulse_error* error) noexcept {
  OpenEngine open{map == nullptr ? nullptr : map->core};
  return start_on(map == nullptr ? nullptr : &open, target, operation, error,
                  [&](ReplicatedMap& core, Target to, Ref<Operation>* op) {
                    auto write = make_ref<MapWrite>(std::move(to), false, visible(core));
                    write->begin(what, 0);
                    return core.write(std::move(write), 0, nullptr, op);
                  });
}

pulse_status empty_wait(pulse_map* map, std::string_view what, pulse_map_result* result,
                        int64_t timeout_ms, pulse_error* error) noexcept {
  OpenEngine open{map == nullptr ? nullptr : map->core};
  return wait_on(
      map == nullptr ? nullptr : &open, timeout_ms, error,
      [&](ReplicatedMap& core, int64_t left, Ref<Signal> signal, Ref<Operation>* op) {
        Error problem = check_result(result);
        if (!problem.ok()) return problem;
        auto write = make_ref<MapWrite>(Target(), false, visible(core));
        write->begin(what, 0);
        return core.write(std::move(write), left, std::move(signal), op);
      },
      [&](Operation& op) { give_result(op, result); });
}

Error add_batch_item(ReplicatedMap& map, const pulse_map_batch_item& item, MapWrite* write) {
  std::string_view key, value;
  Error error = take_key(item.key, item.key_len, &key);
  if (!error.ok()) return error;
  write->publishes(key.size() + (item.op == PULSE_MAP_OP_SET ? item.value_len : 0));
  switch (item.op) {
    case PULSE_MAP_OP_SET:
      error = take_text("value", item.value, item.value_len, &value);
      if (error.ok()) error = map.check_value(value.size());
      if (!error.ok()) return error;
      write->begin("set", 2);
      write->add(key);
      write->add(value);
      return {};
    case PULSE_MAP_OP_DELETE:
      write->begin("del", 1);
      write->add(key);
      return {};
    case PULSE_MAP_OP_INCREMENT:
      write->begin("inc", 2);
      write->add(key);
      write->add(item.delta);
      return {};
    default:
      return Error::make(PULSE_ERR_INVALID, 0, "op {} is not for batches", item.op);
  }
}

Error start_batch(ReplicatedMap& map, const pulse_map_batch_item* items, size_t item_size,
                  size_t count, int64_t timeout_ms, Target target, Ref<Signal> signal,
                  Ref<Operation>* out) {
  if (items == nullptr) return null_argument("items");
  if (count == 0 || count > PULSE_MAP_MAX_ITEMS) {
    return Error::make(PULSE_ERR_INVALID, 0, "a batch has 1 to {} items, not {}",
                       int{PULSE_MAP_MAX_ITEMS}, count);
  }
  if (item_size < sizeof(pulse_map_batch_item)) {
    return Error::make(PULSE_ERR_STRUCT_SIZE, 0, "item_size {} is no size of pulse_map_batch_item",
                       item_size);
  }
  auto write = make_ref<MapWrite>(std::move(target), true, visible(map));
  for (size_t i = 0; i < count; i++) {
    const char* at = reinterpret_cast<const char*>(items) + i * item_size;
    for (size_t b = sizeof *items; b < item_size; b++) {
      if (at[b] != 0) {
        return Error::make(PULSE_ERR_UNKNOWN_OPTION, 0, "item {}: byte {} is set", i, b);
      }
    }
    Error error =
        add_batch_item(map, *reinterpret_cast<const pulse_map_batch_item*>(at), write.get());
    if (!error.ok()) {
      return Error::make(error.code(), error.flags(), "item {}: {}", i, error.message());
    }
  }
  Error error = map.check_published(write->published(), 0);
  if (!error.ok()) return error;
  return map.write(std::move(write), timeout_ms, std::move(signal), out);
}

// A read of one key: f(entry) under the guard.  Without errors, whose texts nobody would get and
// which cost more than all the rest.
template <class F>
pulse_status read_key(const pulse_map* map, const char* key, size_t key_len, F f) noexcept {
  if (map == nullptr || (key == nullptr && key_len > 0)) return PULSE_ERR_INVALID;
  const ReplicatedMap& core = *map->core;
  if (core.closed() || core.engine().closing() || core.engine().forked()) {
    return map->check().code();
  }
  const std::string_view name(key, key_len);
  const uint64_t hash = hash_bytes(name);
  ReadGuard reading;
  const MapEntry* entry = core.version()->find(name, hash);
  return entry != nullptr ? f(*entry) : PULSE_ERR_NOT_FOUND;
}

pulse_bytes* counted_value(const MapEntry& entry) {
  return reinterpret_cast<pulse_bytes*>(static_cast<Bytes*>(entry.hold().release()));
}

const MapVersion* version_of(const pulse_map_snapshot* snapshot) {
  return reinterpret_cast<const MapVersion*>(snapshot);
}
const StringList* list_of(const pulse_list* list) {
  return reinterpret_cast<const StringList*>(list);
}
pulse_list* handle_of(Ref<StringList> list) {
  return reinterpret_cast<pulse_list*>(list.release());
}

Error join(pulse_engine* engine, const char* name, size_t name_len,
           const pulse_map_options* options, Target target, Ref<pulse_map>* out) {
  if (engine == nullptr) return null_argument("engine");
  Error problem = check_engine(*engine->core);
  std::string_view text;
  if (problem.ok()) problem = take_text("a map's name", name, name_len, &text);
  if (problem.ok()) problem = check_name("a map's name", text);
  MapConfig config;
  if (problem.ok()) problem = take_map_options(options, &config);
  if (!problem.ok()) return problem;
  Ref<ReplicatedMap> core;
  problem = ReplicatedMap::join(engine->core, text, config, std::move(target), &core);
  if (!problem.ok()) return problem;
  try {
    *out = make_ref<pulse_map>(Ref<pulse_engine>::share(engine), core);
  } catch (const std::bad_alloc&) {
    core->close();
    throw;
  }
  return {};
}

}  // namespace

extern "C" {

void pulse_map_options_init(pulse_map_options* options) noexcept {
  if (options != nullptr) *options = PULSE_MAP_OPTIONS_INIT;
}

void pulse_map_watch_options_init(pulse_map_watch_options* options) noexcept {
  if (options != nullptr) *options = PULSE_MAP_WATCH_OPTIONS_INIT;
}

pulse_status pulse_map_join(pulse_engine* engine, const char* name, size_t name_len,
                            const pulse_map_options* options, const pulse_target* target,
                            pulse_map** map, pulse_error* error) noexcept {
  return guard(error, [&]() -> Error {
    Target to;
    Error problem = take_target(target, &to);
    if (problem.ok() && map == nullptr) problem = null_argument("map");
    if (!problem.ok()) return problem;
    Ref<pulse_map> joined;
    problem = join(engine, name, name_len, options, std::move(to), &joined);
    if (problem.ok()) *map = joined.release();
    return problem;
  });
}

pulse_status pulse_map_join_wait(pulse_engine* engine, const char* name, size_t name_len,
                                 const pulse_map_options* options, const pulse_target* target,
                                 int64_t timeout_ms, pulse_map** map, pulse_error* error) noexcept {
  return guard(error, [&]() -> Error {
    Target to;
    Error problem = take_target(target, &to);
    if (problem.ok() && map == nullptr) problem = null_argument("map");
    if (problem.ok() && engine != nullptr) problem = check_may_wait(*engine->core);
    if (!problem.ok()) return problem;
    Ref<pulse_map> joined;
    problem = join(engine, name, name_len, options, std::move(to), &joined);
    if (problem.ok()) problem = joined->core->wait_synced(timeout_ms);
    if (problem.ok()) *map = joined.release();
    return problem;
  });
}

// --- reads ------------------------------------------------------------------

pulse_status pulse_map_get(pulse_map* map, const char* key, size_t key_len,
                           pulse_bytes** value) noexcept {
  if (value == nullptr) return PULSE_ERR_INVALID;
  return read_key(map, key, key_len, [&](const MapEntry& entry) {
    *value = counted_value(entry);
    return PULSE_OK;
  });
}

pulse_status pulse_map_get_copy(pulse_map* map, const char* key, size_t key_len, void* buffer,
                                size_t capacity, size_t* size) noexcept {
  if (size == nullptr || (buffer == nullptr && capacity > 0)) return PULSE_ERR_INVALID;
  return read_key(map, key, key_len, [&](const MapEntry& entry) {
    const std::string_view value = entry.view();
    *size = value.size();
    if (value.size() > capacity) return PULSE_ERR_TOO_LARGE;
    if (!value.empty()) std::memcpy(buffer, value.data(), value.size());
    return PULSE_OK;
  });
}

pulse_status pulse_map_read(pulse_map* map, const char* key, size_t key_len,
                            pulse_map_visit_fn visit, void* user_data) noexcept {
  if (visit == nullptr) return PULSE_ERR_INVALID;
  return read_key(map, key, key_len, [&](const MapEntry& entry) {
    visit(entry.view().data(), entry.view().size(), user_data);
    return PULSE_OK;
  });
}

size_t pulse_map_size(pulse_map* map) noexcept {
  if (map == nullptr || map->core->closed()) return 0;
  ReadGuard reading;
  return map->core->version()->size();
}

pulse_status pulse_map_keys(pulse_map* map, pulse_list** keys, pulse_error* error) noexcept {
  return guard(error, [&]() -> Error {
    Error problem = check_handle(map);
    if (problem.ok() && keys == nullptr) problem = null_argument("keys");
    if (!problem.ok()) return problem;
    Ref<MapVersion> version = map->core->take_version();
    auto list = make_ref<StringList>();
    MapCursor cursor;
    visit(*version, &cursor, [&](const MapEntry& entry) {
      list->add(entry.key());
      return true;
    });
    *keys = handle_of(std::move(list));
    return {};
  });
}

pulse_status pulse_map_get_list(pulse_map* map, const char* key, size_t key_len, pulse_list** items,
                                pulse_error* error) noexcept {
  return guard(error, [&]() -> Error {
    if (items == nullptr) return null_argument("items");
    Error problem = check_handle(map);
    std::string_view text;
    if (problem.ok()) problem = take_text("key", key, key_len, &text);
    if (!problem.ok()) return problem;
    pulse_bytes* value = nullptr;
    const pulse_status status = pulse_map_get(map, key, key_len, &value);
    if (status != PULSE_OK) return Error(status, "no such key");
    Ref<Bytes> keep = Ref<Bytes>::adopt(reinterpret_cast<Bytes*>(value));
    *items = handle_of(StringList::parse(keep->view()));
    return {};
  });
}

pulse_status pulse_map_get_info(pulse_map* map, pulse_map_info* info) noexcept {
  return guard(nullptr, [&]() -> Error {
    if (map == nullptr) return null_argument("map");
    pulse_map_info now{};
    now.size = sizeof now;
    map->core->info(&now);
    return give_struct(now, info, "pulse_map_info");
  });
}

pulse_status pulse_map_wait_synced(pulse_map* map, int64_t timeout_ms,
                                   pulse_error* error) noexcept {
  return guard(error, [&]() -> Error {
    Error problem = check_handle(map);
    if (problem.ok()) problem = check_may_wait(map->core->engine());
    return problem.ok() ? map->core->wait_synced(timeout_ms) : problem;
  });
}

pulse_status pulse_map_wait_revision(pulse_map* map, uint64_t revision, int64_t timeout_ms,
                                     pulse_error* error) noexcept {
  return guard(error, [&]() -> Error {
    Error problem = check_handle(map);
    if (problem.ok()) problem = check_may_wait(map->core->engine());
    return problem.ok() ? map->core->wait_revision(revision, timeout_ms) : problem;
  });
}

// --- snapshots ----------------------------------------------------------------

pulse_status pulse_map_take_snapshot(pulse_map* map, pulse_map_snapshot** snapshot,
                                     pulse_error* error) noexcept {
  return guard(error, [&]() -> Error {
    Error problem = check_handle(map);
    if (problem.ok() && snapshot == nullptr) problem = null_argument("snapshot");
    if (!problem.ok()) return problem;
    *snapshot = reinterpret_cast<pulse_map_snapshot*>(map->core->take_version().release());
    return {};
  });
}

uint64_t pulse_map_snapshot_revision(const pulse_map_snapshot* snapshot) noexcept {
  return snapshot == nullptr ? 0 : version_of(snapshot)->revision();
}

size_t pulse_map_snapshot_size(const pulse_map_snapshot* snapshot) noexcept {
  return snapshot == nullptr ? 0 : version_of(snapshot)->size();
}

pulse_status pulse_map_snapshot_get(const pulse_map_snapshot* snapshot, const char* key,
                                    size_t key_len, pulse_bytes** value) noexcept {
  if (snapshot == nullptr || value == nullptr || (key == nullptr && key_len > 0)) {
    return PULSE_ERR_INVALID;
  }
  const std::string_view name(key == nullptr ? "" : key, key_len);
  const MapEntry* entry = version_of(snapshot)->find(name, hash_bytes(name));
  if (entry == nullptr) return PULSE_ERR_NOT_FOUND;
  *value = counted_value(*entry);
  return PULSE_OK;
}

int64_t pulse_map_snapshot_next(const pulse_map_snapshot* snapshot, pulse_map_cursor* cursor,
                                pulse_map_entry* entries, size_t entry_size, size_t max) noexcept {
  if (snapshot == nullptr || cursor == nullptr || (entries == nullptr && max > 0) ||
      entry_size < sizeof(pulse_map_entry)) {
    return PULSE_ERR_INVALID;
  }
  if (max == 0) return 0;
  MapCursor at{cursor->position, cursor->index, cursor->end != 0};
  int64_t count = 0;
  visit(*version_of(snapshot), &at, [&](const MapEntry& entry) {
    const std::string_view key = entry.key(), value = entry.view();
    pulse_map_entry filled{key.data(), key.size(), value.data(), value.size()};
    char* to = reinterpret_cast<char*>(entries) + static_cast<size_t>(count) * entry_size;
    std::memcpy(to, &filled, sizeof filled);
    return static_cast<size_t>(++count) < max;
  });
  *cursor = {at.hash, at.index, at.end ? 1 : 0};
  return count;
}

pulse_map_snapshot* pulse_map_snapshot_ref(pulse_map_snapshot* snapshot) noexcept {
  if (snapshot != nullptr) const_cast<MapVersion*>(version_of(snapshot))->ref();
  return snapshot;
}
void pulse_map_snapshot_unref(pulse_map_snapshot* snapshot) noexcept {
  if (snapshot != nullptr) const_cast<MapVersion*>(version_of(snapshot))->unref();
}

// --- lists ----------------------------------------------------------------------

pulse_status pulse_list_parse(const void* value, size_t size, pulse_list** list,
                              pulse_error* error) noexcept {
  return guard(error, [&]() -> Error {
    if (list == nullptr) return null_argument("list");
    std::string_view text;
    Error problem = take_text("value", value, size, &text);
    if (!problem.ok()) return problem;
    *list = handle_of(StringList::parse(text));
    return {};
  });
}

size_t pulse_list_size(const pulse_list* list) noexcept {
  return list == nullptr ? 0 : list_of(list)->size();
}

const char* pulse_list_at(const pulse_list* list, size_t index, size_t* size) noexcept {
  const bool there = list != nullptr && index < list_of(list)->size();
  const std::string_view item = there ? list_of(list)->at(index) : std::string_view();
  if (size != nullptr) *size = item.size();
  return there ? item.data() : nullptr;
}

pulse_list* pulse_list_ref(pulse_list* list) noexcept {
  if (list != nullptr) const_cast<StringList*>(list_of(list))->ref();
  return list;
}
void pulse_list_unref(pulse_list* list) noexcept {
  if (list != nullptr) const_cast<StringList*>(list_of(list))->unref();
}

// --- writes ------------------------------------------------------------------------

pulse_status pulse_map_set(pulse_map* map, const char* key, size_t key_len, const void* value,
                           size_t value_len, const pulse_target* target, uint64_t* operation,
                           pulse_error* error) noexcept {
  return mutate(map, with_value("set", key, key_len, value, value_len), false, target, operation,
                error);
}
pulse_status pulse_map_set_wait(pulse_map* map, const char* key, size_t key_len, const void* value,
                                size_t value_len, pulse_map_result* result, int64_t timeout_ms,
                                pulse_error* error) noexcept {
  return mutate_wait(map, with_value("set", key, key_len, value, value_len), false, result,
                     timeout_ms, error);
}

pulse_status pulse_map_set_and_wait(pulse_map* map, const char* key, size_t key_len,
                                    const void* value, size_t value_len, const pulse_target* target,
                                    uint64_t* operation, pulse_error* error) noexcept {
  return mutate(map, with_value("set", key, key_len, value, value_len), true, target, operation,
                error);
}
pulse_status pulse_map_set_and_wait_wait(pulse_map* map, const char* key, size_t key_len,
                                         const void* value, size_t value_len,
                                         pulse_map_result* result, int64_t timeout_ms,
                                         pulse_error* error) noexcept {
  return mutate_wait(map, with_value("set", key, key_len, value, value_len), true, result,
                     timeout_ms, error);
}

pulse_status pulse_map_set_if_absent(pulse_map* map, const char* key, size_t key_len,
                                     const void* value, size_t value_len,
                                     const pulse_target* target, uint64_t* operation,
                                     pulse_error* error) noexcept {
  return mutate(map, with_value("setnx", key, key_len, value, value_len), false, target, operation,
                error);
}
pulse_status pulse_map_set_if_absent_wait(pulse_map* map, const char* key, size_t key_len,
                                          const void* value, size_t value_len,
                                          pulse_map_result* result, int64_t timeout_ms,
                                          pulse_error* error) noexcept {
  return mutate_wait(map, with_value("setnx", key, key_len, value, value_len), false, result,
                     timeout_ms, error);
}

pulse_status pulse_map_test_and_set(pulse_map* map, const char* key, size_t key_len,
                                    const void* test, size_t test_len, const void* value,
                                    size_t value_len, const pulse_target* target,
                                    uint64_t* operation, pulse_error* error) noexcept {
  return mutate(map, {"tas", key, key_len, 2, {test, value}, {test_len, value_len}}, false, target,
                operation, error);
}
pulse_status pulse_map_test_and_set_wait(pulse_map* map, const char* key, size_t key_len,
                                         const void* test, size_t test_len, const void* value,
                                         size_t value_len, pulse_map_result* result,
                                         int64_t timeout_ms, pulse_error* error) noexcept {
  return mutate_wait(map, {"tas", key, key_len, 2, {test, value}, {test_len, value_len}}, false,
                     result, timeout_ms, error);
}

pulse_status pulse_map_increment(pulse_map* map, const char* key, size_t key_len, int64_t delta,
                                 const pulse_target* target, uint64_t* operation,
                                 pulse_error* error) noexcept {
  return start_on(
      map, target, operation, error, [&](ReplicatedMap& core, Target to, Ref<Operation>* op) {
        return start_increment(core, key, key_len, delta, 0, std::move(to), nullptr, op);
      });
}
pulse_status pulse_map_increment_wait(pulse_map* map, const char* key, size_t key_len,
                                      int64_t delta, pulse_map_result* result, int64_t timeout_ms,
                                      pulse_error* error) noexcept {
  return wait_result(
      map, result, timeout_ms, error,
      [&](ReplicatedMap& core, int64_t left, Ref<Signal> signal, Ref<Operation>* op) {
        return start_increment(core, key, key_len, delta, left, Target(), std::move(signal), op);
      });
}

pulse_status pulse_map_append(pulse_map* map, const char* key, size_t key_len,
                              const pulse_map_item* items, size_t count, const pulse_target* target,
                              uint64_t* operation, pulse_error* error) noexcept {
  return change_list(map, {"append", key, key_len, items, count}, target, operation, error);
}
pulse_status pulse_map_append_wait(pulse_map* map, const char* key, size_t key_len,
                                   const pulse_map_item* items, size_t count,
                                   pulse_map_result* result, int64_t timeout_ms,
                                   pulse_error* error) noexcept {
  return change_list_wait(map, {"append", key, key_len, items, count}, result, timeout_ms, error);
}

pulse_status pulse_map_append_unique(pulse_map* map, const char* key, size_t key_len,
                                     const pulse_map_item* items, size_t count,
                                     const pulse_target* target, uint64_t* operation,
                                     pulse_error* error) noexcept {
  return change_list(map, {"unique", key, key_len, items, count}, target, operation, error);
}
pulse_status pulse_map_append_unique_wait(pulse_map* map, const char* key, size_t key_len,
                                          const pulse_map_item* items, size_t count,
                                          pulse_map_result* result, int64_t timeout_ms,
                                          pulse_error* error) noexcept {
  return change_list_wait(map, {"unique", key, key_len, items, count}, result, timeout_ms, error);
}

pulse_status pulse_map_remove_values(pulse_map* map, const char* key, size_t key_len,
                                     const pulse_map_item* items, size_t count,
                                     const pulse_target* target, uint64_t* operation,
                                     pulse_error* error) noexcept {
  return change_list(map, {"remove", key, key_len, items, count}, target, operation, error);
}
pulse_status pulse_map_remove_values_wait(pulse_map* map, const char* key, size_t key_len,
                                          const pulse_map_item* items, size_t count,
                                          pulse_map_result* result, int64_t timeout_ms,
                                          pulse_error* error) noexcept {
  return change_list_wait(map, {"remove", key, key_len, items, count}, result, timeout_ms, error);
}

pulse_status pulse_map_delete(pulse_map* map, const char* key, size_t key_len,
                              const pulse_target* target, uint64_t* operation,
                              pulse_error* error) noexcept {
  return mutate(map, {"del", key, key_len}, false, target, operation, error);
}
pulse_status pulse_map_delete_wait(pulse_map* map, const char* key, size_t key_len,
                                   pulse_map_result* result, int64_t timeout_ms,
                                   pulse_error* error) noexcept {
  return mutate_wait(map, {"del", key, key_len}, false, result, timeout_ms, error);
}

pulse_status pulse_map_test_and_delete(pulse_map* map, const char* key, size_t key_len,
                                       const void* test, size_t test_len,
                                       const pulse_target* target, uint64_t* operation,
                                       pulse_error* error) noexcept {
  return mutate(map, with_value("tad", key, key_len, test, test_len), false, target, operation,
                error);
}
pulse_status pulse_map_test_and_delete_wait(pulse_map* map, const char* key, size_t key_len,
                                            const void* test, size_t test_len,
                                            pulse_map_result* result, int64_t timeout_ms,
                                            pulse_error* error) noexcept {
  return mutate_wait(map, with_value("tad", key, key_len, test, test_len), false, result,
                     timeout_ms, error);
}

pulse_status pulse_map_test_and_reset(pulse_map* map, const pulse_map_entry* tests, size_t count,
                                      const pulse_target* target, uint64_t* operation,
                                      pulse_error* error) noexcept {
  return start_on(map, target, operation, error,
                  [&](ReplicatedMap& core, Target to, Ref<Operation>* op) {
                    return start_tests(core, tests, count, 0, std::move(to), nullptr, op);
                  });
}
pulse_status pulse_map_test_and_reset_wait(pulse_map* map, const pulse_map_entry* tests,
                                           size_t count, pulse_map_result* result,
                                           int64_t timeout_ms, pulse_error* error) noexcept {
  return wait_result(
      map, result, timeout_ms, error,
      [&](ReplicatedMap& core, int64_t left, Ref<Signal> signal, Ref<Operation>* op) {
        return start_tests(core, tests, count, left, Target(), std::move(signal), op);
      });
}

pulse_status pulse_map_reset(pulse_map* map, const pulse_target* target, uint64_t* operation,
                             pulse_error* error) noexcept {
  return empty(map, "reset", target, operation, error);
}
pulse_status pulse_map_reset_wait(pulse_map* map, pulse_map_result* result, int64_t timeout_ms,
                                  pulse_error* error) noexcept {
  return empty_wait(map, "reset", result, timeout_ms, error);
}

pulse_status pulse_map_destroy(pulse_map* map, const pulse_target* target, uint64_t* operation,
                               pulse_error* error) noexcept {
  return empty(map, "destroy", target, operation, error);
}
pulse_status pulse_map_destroy_wait(pulse_map* map, pulse_map_result* result, int64_t timeout_ms,
                                    pulse_error* error) noexcept {
  return empty_wait(map, "destroy", result, timeout_ms, error);
}

pulse_status pulse_map_batch(pulse_map* map, const pulse_map_batch_item* items, size_t item_size,
                             size_t count, const pulse_target* target, uint64_t* operation,
                             pulse_error* error) noexcept {
  return start_on(
      map, target, operation, error, [&](ReplicatedMap& core, Target to, Ref<Operation>* op) {
        return start_batch(core, items, item_size, count, 0, std::move(to), nullptr, op);
      });
}
pulse_status pulse_map_batch_wait(pulse_map* map, const pulse_map_batch_item* items,
                                  size_t item_size, size_t count, pulse_map_result* results,
                                  int64_t timeout_ms, pulse_error* error) noexcept {
  return wait_on(
      map, timeout_ms, error,
      [&](ReplicatedMap& core, int64_t left, Ref<Signal> signal, Ref<Operation>* op) {
        if (results != nullptr && results->size != sizeof *results) {
          return Error(PULSE_ERR_STRUCT_SIZE, "results: each must have the size of this struct");
        }
        return start_batch(core, items, item_size, count, left, Target(), std::move(signal), op);
      },
      [&](Operation& op) {
        for (size_t i = 0; results != nullptr && i < count; i++) {
          results[i] = static_cast<MapWrite&>(op).release_result(i);
        }
      });
}

// --- watches ---------------------------------------------------------------------------

pulse_status pulse_map_watch_open(pulse_map* map, const pulse_map_watch_options* options,
                                  const pulse_target* target, pulse_map_watch** watch,
                                  pulse_error* error) noexcept {
  return guard(error, [&]() -> Error {
    Target to;
    Error e = take_required_target(target, &to);
    if (e.ok()) e = check_handle(map);
    if (e.ok() && watch == nullptr) e = null_argument("watch");
    pulse_map_watch_options o;
    if (e.ok()) e = take_options(options, &o, "pulse_map_watch_options");
    if (!e.ok()) return e;
    WatchConfig config;
    ChangeFilter filter;
    if (o.mode != PULSE_WATCH_KINDS && o.mode != PULSE_WATCH_DELTAS) {
      return Error::make(PULSE_ERR_INVALID, 0, "mode: {} is none", o.mode);
    }
    if (o.key != nullptr && o.prefix != nullptr) {
      return Error(PULSE_ERR_INVALID, "key and prefix exclude each other");
    }
    config.mode = o.mode;
    config.revision = o.revision;
    e = take_switch("old_values", o.old_values, &config.old_values);
    if (e.ok()) e = take_number("buffer", o.buffer, 1000, 1, INT64_MAX / 2, true, &config.buffer);
    if (e.ok()) {
      e = take_number("buffer_bytes", o.buffer_bytes, 16 << 20, 1, INT64_MAX / 2, true,
                      &config.buffer_bytes);
    }
    std::string_view text;
    if (e.ok() && o.key != nullptr) {
      e = take_key(o.key, o.key_len, &text);
      if (e.ok()) filter.set_key(text);
    } else if (e.ok()) {
      e = take_text("prefix", o.prefix, o.prefix_len, &text);
      if (e.ok() && o.prefix != nullptr) filter.set_prefix(text);
    }
    if (!e.ok()) return e;
    auto core = make_ref<MapWatch>(map->core, config, std::move(filter), std::move(to));
    auto handle = make_ref<pulse_map_watch>(map->parent, core);
    map->core->watch(std::move(core));
    *watch = handle.release();
    return {};
  });
}

pulse_status pulse_map_watch_close(pulse_map_watch* watch) noexcept { return close_handle(watch); }

pulse_status pulse_map_watch_close_wait(pulse_map_watch* watch, int64_t timeout_ms,
                                        pulse_error* error) noexcept {
  return close_handle_wait(watch, timeout_ms, error);
}

pulse_map_watch* pulse_map_watch_ref(pulse_map_watch* watch) noexcept { return ref_handle(watch); }
void pulse_map_watch_unref(pulse_map_watch* watch) noexcept { unref_handle(watch); }

// --- the end -----------------------------------------------------------------------------

pulse_status pulse_map_close(pulse_map* map) noexcept { return close_handle(map); }

pulse_status pulse_map_close_wait(pulse_map* map, int64_t timeout_ms, pulse_error* error) noexcept {
  return close_handle_wait(map, timeout_ms, error);
}

pulse_map* pulse_map_ref(pulse_map* map) noexcept { return ref_handle(map); }
void pulse_map_unref(pulse_map* map) noexcept { unref_handle(map); }

}  // extern "C"
