// What writers of a map publish, and the texts around it.
#ifndef PULSE_RMAP_MAP_MESSAGE_H
#define PULSE_RMAP_MAP_MESSAGE_H

#include <cstdint>
#include <string_view>

namespace pulseengine {

enum class MapMutation : uint8_t { set, erase, reset, destroy };

struct MapMessage {
  MapMutation what = MapMutation::set;
  std::string_view key, value;  // in the message
  uint64_t revision = 0;
};

// False if the text is no whole message, or its revision none.
bool parse_map_message(std::string_view text, MapMessage* out);

// A revision as text: decimal, without sign, up to 2^63 - 1.
bool parse_revision(std::string_view text, uint64_t* revision);

// Fields that hold no user's key: those with '=', and the empty one.
inline bool is_map_key(std::string_view field) {
  return !field.empty() && field.find('=') == std::string_view::npos;
}

}  // namespace pulseengine

#endif
