#include "maps.h"

#include <algorithm>

#include "failure.h"

namespace bench {

Handle<pulse_map> join_map(pulse_engine* engine, const std::string& name, bool coalescing) {
  pulse_map_options options = PULSE_MAP_OPTIONS_INIT;
  options.no_coalescing = coalescing ? 0 : 1;
  pulse_error error = PULSE_ERROR_INIT;
  pulse_map* map = nullptr;
  require_ok(pulse_map_join_wait(engine, name.data(), name.size(), &options, nullptr, kWaitMs, &map,
                                 &error),
             error, "pulse_map_join_wait");
  return Handle<pulse_map>(map);
}

uint64_t set_and_wait(pulse_map* map, const std::string& key, const std::string& value) {
  pulse_error error = PULSE_ERROR_INIT;
  pulse_map_result result = PULSE_MAP_RESULT_INIT;
  require_ok(pulse_map_set_wait(map, key.data(), key.size(), value.data(), value.size(), &result,
                                kWaitMs, &error),
             error, "pulse_map_set_wait");
  pulse_bytes_unref(result.value);
  return result.revision;
}

Words set_command(Place& place, const std::string& name, const Pairs& pairs) {
  const Handle<pulse_engine> engine = open_engine(place.url());
  const Handle<pulse_map> map = join_map(engine.get(), name, false);
  std::vector<pulse_map_batch_item> items;
  for (const auto& [key, value] : pairs) {
    items.push_back({PULSE_MAP_OP_SET, 0, key.data(), key.size(), value.data(), value.size(), 0});
  }
  pulse_error error = PULSE_ERROR_INIT;
  const Words words = place.capture("EVALSHA", [&] {
    if (pairs.size() == 1) {
      set_and_wait(map.get(), pairs[0].first, pairs[0].second);
    } else {
      require_ok(pulse_map_batch_wait(map.get(), items.data(), sizeof items[0], items.size(),
                                      nullptr, kWaitMs, &error),
                 error, "pulse_map_batch_wait");
    }
  });
  for (const auto& [key, value] : pairs) {
    require(std::find(words.begin(), words.end(), key) != words.end() &&
                std::find(words.begin(), words.end(), value) != words.end(),
            "the script that was seen is not that of a set");
  }
  return words;
}

}  // namespace bench
