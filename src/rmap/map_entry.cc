#include "rmap/map_entry.h"

#include <cstring>

namespace pulseengine {

Ref<MapEntry> MapEntry::make(std::string_view key, std::string_view value, uint64_t hash) {
  if (key.size() > UINT32_MAX || value.size() > SIZE_MAX - sizeof(MapEntry) - key.size()) {
    throw std::bad_alloc();
  }
  void* memory = allocate(sizeof(MapEntry) + key.size() + value.size());
  char* key_copy = static_cast<char*>(memory) + sizeof(MapEntry);
  char* value_copy = key_copy + key.size();
  if (!key.empty()) std::memcpy(key_copy, key.data(), key.size());
  if (!value.empty()) std::memcpy(value_copy, value.data(), value.size());
  return Ref<MapEntry>::adopt(
      new (memory) MapEntry({value_copy, value.size()}, static_cast<uint32_t>(key.size()), hash));
}

}  // namespace pulseengine
