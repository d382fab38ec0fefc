// pulseengine map NAME set|setnx|cas|incr|append|append-unique|remove|del|cad|reset|destroy

#include <charconv>
#include <functional>
#include <string>
#include <vector>

#include "failure.h"
#include "input.h"
#include "map.h"
#include "session.h"

namespace cli {
namespace {

// Makes the call, and leaves its result.
using Call =
    std::function<pulse_status(pulse_map*, pulse_map_result*, int64_t timeout_ms, pulse_error*)>;

// Puts what this operation returns, besides `updated` and `rev`.
using Print = void (*)(const pulse_map_result&, Json*);

std::string_view value_of(const pulse_map_result& result) {
  return {static_cast<const char*>(pulse_bytes_data(result.value)), pulse_bytes_size(result.value)};
}

void put_previous(const pulse_map_result& result, Json* json) {
  if (result.value) {
    put_bytes(json, "previous", value_of(result));
  } else {
    (*json)["previous"] = nullptr;
  }
  (*json)["existed"] = result.existed != 0;
}

void put_number(const pulse_map_result& result, Json* json) { (*json)["value"] = result.number; }

void put_values(const pulse_map_result& result, Json* json) {
  pulse_list* list = nullptr;
  pulse_error error = PULSE_ERROR_INIT;
  const std::string_view value = value_of(result);
  check(pulse_list_parse(value.data(), value.size(), &list, &error), error, "map");
  put_list(json, ListHandle(list).get());
}

void put_nothing(const pulse_map_result&, Json*) {}

int write(const GlobalOptions& global, const MapArguments& arguments, const char* what,
          const Call& call, Print print) {
  const pulse_map_options options = map_options(arguments);
  Session session(global);
  const MapHandle map = session.join_map(arguments.map, options);
  pulse_map_result result = PULSE_MAP_RESULT_INIT;
  pulse_error error = PULSE_ERROR_INIT;
  check(call(map.get(), &result, session.timeout_ms(), &error), error, what);
  const BytesHandle value(result.value);
  Json json = Json::object();
  print(result, &json);
  json["updated"] = result.updated != 0;
  json["rev"] = result.revision > 0 ? Json(result.revision) : Json(nullptr);
  Output out;
  out.line(json);
  out.flush();
  session.close();
  return kExitOk;
}

using SetCall = pulse_status (*)(pulse_map*, const char*, size_t, const void*, size_t,
                                 pulse_map_result*, int64_t, pulse_error*);

int write_value(const GlobalOptions& global, const MapArguments& arguments, const char* what,
                SetCall set) {
  // Before anything is opened: what cannot be read is not worth a connection.
  const std::string value = payload_of(arguments.value);
  const auto call = [&](pulse_map* map, pulse_map_result* result, int64_t timeout_ms,
                        pulse_error* error) {
    return set(map, arguments.key.data(), arguments.key.size(), value.data(), value.size(), result,
               timeout_ms, error);
  };
  return write(global, arguments, what, call, put_previous);
}

using ListCall = pulse_status (*)(pulse_map*, const char*, size_t, const pulse_map_item*, size_t,
                                  pulse_map_result*, int64_t, pulse_error*);

int write_items(const GlobalOptions& global, const MapArguments& arguments, const char* what,
                ListCall change) {
  std::vector<pulse_map_item> items;
  for (const std::string& item : arguments.items) items.push_back({item.data(), item.size()});
  const auto call = [&](pulse_map* map, pulse_map_result* result, int64_t timeout_ms,
                        pulse_error* error) {
    return change(map, arguments.key.data(), arguments.key.size(), items.data(), items.size(),
                  result, timeout_ms, error);
  };
  return write(global, arguments, what, call, put_values);
}

// By hand: the parser of options would take what is too large as the largest number.
int64_t parse_delta(const std::string& text) {
  int64_t delta = 0;
  const char* end = text.data() + text.size();
  const char* start = text.data() + (text.substr(0, 1) == "+" ? 1 : 0);
  const auto done = std::from_chars(start, end, delta);
  if (start == end || done.ec != std::errc() || done.ptr != end) {
    throw Failure(kExitUsage, "'" + text + "' is no integer of 64 bits");
  }
  return delta;
}

// KEY=VALUE; keys have no '='.
std::vector<pulse_map_entry> parse_conditions(const std::vector<std::string>& texts) {
  std::vector<pulse_map_entry> entries;
  for (const std::string& text : texts) {
    const size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0) {
      throw Failure(kExitUsage, "--if: '" + text + "' is not KEY=VALUE");
    }
    const char* value = text.data() + equals + 1;
    entries.push_back({text.data(), equals, value, text.size() - equals - 1});
  }
  return entries;
}

}  // namespace

int map_set(const GlobalOptions& global, const MapArguments& arguments) {
  return write_value(global, arguments, "map set", pulse_map_set_wait);
}

int map_set_if_absent(const GlobalOptions& global, const MapArguments& arguments) {
  return write_value(global, arguments, "map setnx", pulse_map_set_if_absent_wait);
}

int map_compare_and_set(const GlobalOptions& global, const MapArguments& arguments) {
  const std::string value = payload_of(arguments.value);
  const auto call = [&](pulse_map* map, pulse_map_result* result, int64_t timeout_ms,
                        pulse_error* error) {
    return pulse_map_test_and_set_wait(map, arguments.key.data(), arguments.key.size(),
                                       arguments.test.data(), arguments.test.size(), value.data(),
                                       value.size(), result, timeout_ms, error);
  };
  return write(global, arguments, "map cas", call, put_previous);
}

int map_increment(const GlobalOptions& global, const MapArguments& arguments) {
  const int64_t delta = parse_delta(arguments.delta);
  const auto call = [&](pulse_map* map, pulse_map_result* result, int64_t timeout_ms,
                        pulse_error* error) {
    return pulse_map_increment_wait(map, arguments.key.data(), arguments.key.size(), delta, result,
                                    timeout_ms, error);
  };
  return write(global, arguments, "map incr", call, put_number);
}

int map_append(const GlobalOptions& global, const MapArguments& arguments) {
  return write_items(global, arguments, "map append", pulse_map_append_wait);
}

int map_append_unique(const GlobalOptions& global, const MapArguments& arguments) {
  return write_items(global, arguments, "map append-unique", pulse_map_append_unique_wait);
}

int map_remove(const GlobalOptions& global, const MapArguments& arguments) {
  return write_items(global, arguments, "map remove", pulse_map_remove_values_wait);
}

int map_delete(const GlobalOptions& global, const MapArguments& arguments) {
  const auto call = [&](pulse_map* map, pulse_map_result* result, int64_t timeout_ms,
                        pulse_error* error) {
    return pulse_map_delete_wait(map, arguments.key.data(), arguments.key.size(), result,
                                 timeout_ms, error);
  };
  return write(global, arguments, "map del", call, put_previous);
}

int map_compare_and_delete(const GlobalOptions& global, const MapArguments& arguments) {
  const auto call = [&](pulse_map* map, pulse_map_result* result, int64_t timeout_ms,
                        pulse_error* error) {
    return pulse_map_test_and_delete_wait(map, arguments.key.data(), arguments.key.size(),
                                          arguments.test.data(), arguments.test.size(), result,
                                          timeout_ms, error);
  };
  return write(global, arguments, "map cad", call, put_previous);
}

int map_reset(const GlobalOptions& global, const MapArguments& arguments) {
  const std::vector<pulse_map_entry> conditions = parse_conditions(arguments.conditions);
  const auto call = [&](pulse_map* map, pulse_map_result* result, int64_t timeout_ms,
                        pulse_error* error) {
    if (conditions.empty()) return pulse_map_reset_wait(map, result, timeout_ms, error);
    return pulse_map_test_and_reset_wait(map, conditions.data(), conditions.size(), result,
                                         timeout_ms, error);
  };
  return write(global, arguments, "map reset", call, put_nothing);
}

int map_destroy(const GlobalOptions& global, const MapArguments& arguments) {
  return write(global, arguments, "map destroy", pulse_map_destroy_wait, put_nothing);
}

}  // namespace cli
