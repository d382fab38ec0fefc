#include "rmap/map_message.h"

#include <charconv>

namespace pulseengine {
namespace {

// A part: its length in 4 bytes, little endian, then its bytes.
bool take_part(std::string_view* text, std::string_view* part) {
  if (text->size() < 4) return false;
  uint32_t size = 0;
  for (unsigned i = 0; i < 4; i++) {
    size |= static_cast<uint32_t>(static_cast<unsigned char>((*text)[i])) << (8 * i);
  }
  text->remove_prefix(4);
  if (text->size() < size) return false;
  *part = text->substr(0, size);
  text->remove_prefix(size);
  return true;
}

bool starts_with(std::string_view* text, std::string_view prefix) {
  if (text->substr(0, prefix.size()) != prefix) return false;
  text->remove_prefix(prefix.size());
  return true;
}

}  // namespace

bool parse_revision(std::string_view text, uint64_t* revision) {
  if (text.empty() || text.front() < '0' || text.front() > '9') return false;
  int64_t number = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return false;
  *revision = static_cast<uint64_t>(number);
  return true;
}

bool parse_map_message(std::string_view text, MapMessage* out) {
  std::string_view revision;
  if (starts_with(&text, "set:")) {
    out->what = MapMutation::set;
    if (!take_part(&text, &out->key) || !take_part(&text, &out->value)) return false;
  } else if (starts_with(&text, "del:")) {
    out->what = MapMutation::erase;
    if (!take_part(&text, &out->key)) return false;
  } else if (starts_with(&text, "reset:")) {
    out->what = MapMutation::reset;
    return parse_revision(text, &out->revision);
  } else if (starts_with(&text, "destroy:")) {
    out->what = MapMutation::destroy;
    return parse_revision(text, &out->revision);
  } else {
    return false;
  }
  return take_part(&text, &revision) && text.empty() && parse_revision(revision, &out->revision);
}

}  // namespace pulseengine
