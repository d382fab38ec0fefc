// pulseengine map NAME get|keys|dump|state: what the replica has.

#include <algorithm>
#include <array>
#include <string>
#include <utility>
#include <vector>

#include "failure.h"
#include "map.h"
#include "session.h"
#include "text.h"

namespace cli {
namespace {

MapHandle join_synced(Session* session, const MapArguments& arguments, const std::string& what) {
  MapHandle map = session->join_map(arguments.map, map_options(arguments));
  pulse_error error = PULSE_ERROR_INIT;
  check(pulse_map_wait_synced(map.get(), session->timeout_ms(), &error), error, what);
  return map;
}

// Joins, and waits for what comes of it: in step, or the reason why not.
MapHandle join_settled(Session* session, const MapArguments& arguments) {
  const pulse_target target = session->target();
  MapHandle map = session->join_map(arguments.map, map_options(arguments), &target);
  session->wait(-1, session->timeout_ms());
  return map;
}

pulse_map_info info_of(pulse_map* map) {
  pulse_map_info info = {};
  info.size = sizeof info;
  check(pulse_map_get_info(map, &info), PULSE_ERROR_INIT, "map");
  return info;
}

SnapshotHandle take_snapshot(pulse_map* map) {
  pulse_error error = PULSE_ERROR_INIT;
  pulse_map_snapshot* snapshot = nullptr;
  check(pulse_map_take_snapshot(map, &snapshot, &error), error, "map");
  return SnapshotHandle(snapshot);
}

using Entry = std::pair<std::string_view, std::string_view>;

// By key.  Views into the snapshot.
std::vector<Entry> entries_of(const pulse_map_snapshot* snapshot) {
  std::vector<Entry> entries;
  entries.reserve(pulse_map_snapshot_size(snapshot));
  std::array<pulse_map_entry, 256> some;
  pulse_map_cursor cursor = {};
  for (;;) {
    const int64_t n =
        pulse_map_snapshot_next(snapshot, &cursor, some.data(), sizeof some[0], some.size());
    if (n <= 0) break;
    for (int64_t i = 0; i < n; ++i) {
      const pulse_map_entry& entry = some[static_cast<size_t>(i)];
      entries.push_back({{entry.key, entry.key_len}, {entry.value, entry.value_len}});
    }
  }
  std::sort(entries.begin(), entries.end());
  return entries;
}

void print(const Json& json) {
  Output out;
  out.line(json);
  out.flush();
}

}  // namespace

int map_get(const GlobalOptions& global, const MapArguments& arguments) {
  Session session(global);
  const MapHandle map = join_synced(&session, arguments, "map get");
  const SnapshotHandle snapshot = take_snapshot(map.get());
  pulse_bytes* bytes = nullptr;
  const pulse_status status =
      pulse_map_snapshot_get(snapshot.get(), arguments.key.data(), arguments.key.size(), &bytes);
  if (status != PULSE_ERR_NOT_FOUND) check(status, PULSE_ERROR_INIT, "map get");
  const BytesHandle value(bytes);
  const std::string_view text(static_cast<const char*>(pulse_bytes_data(bytes)),
                              pulse_bytes_size(bytes));
  Json json;
  if (!bytes) {
    json[arguments.list ? "values" : "value"] = nullptr;
  } else if (arguments.list) {
    pulse_error error = PULSE_ERROR_INIT;
    pulse_list* list = nullptr;
    check(pulse_list_parse(text.data(), text.size(), &list, &error), error, "map get");
    put_list(&json, ListHandle(list).get());
  } else {
    put_bytes(&json, "value", text);
  }
  json["existed"] = bytes != nullptr;
  json["rev"] = pulse_map_snapshot_revision(snapshot.get());
  print(json);
  session.close();
  return kExitOk;
}

int map_keys(const GlobalOptions& global, const MapArguments& arguments) {
  Session session(global);
  const MapHandle map = join_synced(&session, arguments, "map keys");
  const SnapshotHandle snapshot = take_snapshot(map.get());
  Json json;
  json["rev"] = pulse_map_snapshot_revision(snapshot.get());
  json["keys"] = Json::array();
  for (const Entry& entry : entries_of(snapshot.get())) {
    if (is_utf8(entry.first)) {
      json["keys"].push_back(entry.first);
    } else {
      json["keys_base64"].push_back(to_base64(entry.first));
    }
  }
  print(json);
  session.close();
  return kExitOk;
}

int map_dump(const GlobalOptions& global, const MapArguments& arguments) {
  Session session(global);
  const MapHandle map = arguments.wait_synced ? join_synced(&session, arguments, "map dump")
                                              : join_settled(&session, arguments);
  const pulse_map_info info = info_of(map.get());
  const SnapshotHandle snapshot = take_snapshot(map.get());
  Json json;
  json["state"] = map_state_name(info.state);
  json["rev"] = pulse_map_snapshot_revision(snapshot.get());
  if (info.reason != PULSE_MAP_REASON_NONE) json["reason"] = map_reason_json(info.reason);
  Json texts = Json::object();
  Json binary = Json::object();
  Json rest = Json::array();
  for (const Entry& entry : entries_of(snapshot.get())) {
    if (!is_utf8(entry.first)) {
      rest.push_back({to_base64(entry.first), to_base64(entry.second)});
    } else if (is_utf8(entry.second)) {
      texts.push_back({std::string(entry.first), entry.second});
    } else {
      binary.push_back({std::string(entry.first), to_base64(entry.second)});
    }
  }
  json["map"] = std::move(texts);
  if (!binary.empty()) json["map_base64"] = std::move(binary);
  if (!rest.empty()) json["entries_base64"] = std::move(rest);
  print(json);
  session.close();
  return kExitOk;
}

int map_state(const GlobalOptions& global, const MapArguments& arguments) {
  Session session(global);
  const MapHandle map = join_settled(&session, arguments);
  const pulse_map_info info = info_of(map.get());
  Json json;
  json["state"] = map_state_name(info.state);
  json["rev"] = info.revision;
  json["reason"] = map_reason_json(info.reason);
  json["keys"] = info.keys;
  json["bytes"] = info.bytes;
  json["ttl_ms"] = info.ttl_ms >= 0 ? Json(info.ttl_ms) : Json(nullptr);
  print(json);
  session.close();
  return kExitOk;
}

}  // namespace cli
