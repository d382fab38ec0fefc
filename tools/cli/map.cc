#include "map.h"

#include "failure.h"
#include "session.h"
#include "text.h"

namespace cli {

pulse_map_options map_options(const MapArguments& arguments) {
  pulse_map_options options = PULSE_MAP_OPTIONS_INIT;
  // What the library takes at most: the tool has no opinion on it.
  options.max_value_bytes = int64_t{64} << 20;
  if (!arguments.ttl.empty()) options.ttl_ms = duration_option_ms("--ttl", arguments.ttl);
  if (!arguments.sliding_ttl.empty()) {
    options.sliding_ttl_ms = duration_option_ms("--sliding-ttl", arguments.sliding_ttl);
  }
  if (!arguments.max_unnoticed.empty()) {
    options.max_unnoticed_ms = duration_option_ms("--max-unnoticed", arguments.max_unnoticed);
  }
  return options;
}

const char* map_state_name(pulse_map_state state) {
  switch (state) {
    case PULSE_MAP_SYNCING:
      return "syncing";
    case PULSE_MAP_SYNCED:
      return "synced";
    case PULSE_MAP_STALE:
      return "stale";
    default:
      return "closed";
  }
}

Json map_reason_json(pulse_map_reason reason) {
  switch (reason) {
    case PULSE_MAP_REASON_NONE:
      return nullptr;
    case PULSE_MAP_REASON_DISCONNECTED:
      return "disconnected";
    case PULSE_MAP_REASON_SILENT:
      return "silent";
    case PULSE_MAP_REASON_MISSED:
      return "missed";
    case PULSE_MAP_REASON_DISAGREES:
      return "disagrees";
    case PULSE_MAP_REASON_MALFORMED:
      return "malformed";
    case PULSE_MAP_REASON_LIMIT:
      return "limit";
    case PULSE_MAP_REASON_WRONG_TYPE:
      return "wrong_type";
    case PULSE_MAP_REASON_REFUSED:
      return "refused";
    case PULSE_MAP_REASON_NO_MEMORY:
      return "no_memory";
    default:
      return reason;
  }
}

void put_list(Json* json, const pulse_list* list) {
  std::vector<std::string> items;
  bool texts = true;
  for (size_t i = 0; i < pulse_list_size(list); ++i) {
    size_t size = 0;
    const char* item = pulse_list_at(list, i, &size);
    items.emplace_back(item, size);
    texts = texts && is_utf8(items.back());
  }
  Json values = Json::array();
  for (const std::string& item : items) values.push_back(texts ? item : to_base64(item));
  (*json)[texts ? "values" : "values_base64"] = values;
}

}  // namespace cli
