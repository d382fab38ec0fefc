// A key and its value: what a replica's tables point to and hosts hold.
#ifndef PULSE_RMAP_MAP_ENTRY_H
#define PULSE_RMAP_MAP_ENTRY_H

#include "base/bytes.h"

namespace pulseengine {

// Immutable, in one allocation.  As Bytes it is the value, so that a host may keep it without a
// copy; the last reference may go on any thread and after the engine.
class MapEntry final : public Bytes {
 public:
  // `hash` is hash_bytes(key), but for tests.  Throws bad_alloc, for keys beyond 4 GiB too.
  static Ref<MapEntry> make(std::string_view key, std::string_view value, uint64_t hash);

  // Behind the object, the value behind it.
  std::string_view key() const noexcept {
    return {reinterpret_cast<const char*>(this + 1), key_size()};
  }
  // view() is the value.
  uint64_t hash() const noexcept { return hash_; }
  // The bytes of the allocation.
  size_t footprint() const noexcept { return sizeof *this + key_size() + view().size(); }
  // The bytes that count against a map's limits.
  int64_t payload() const noexcept { return static_cast<int64_t>(key_size() + view().size()); }

  // A counted reference to an entry that somebody else keeps alive at the moment.
  Ref<MapEntry> hold() const noexcept { return Ref<MapEntry>::share(const_cast<MapEntry*>(this)); }

 private:
  MapEntry(std::string_view value, uint32_t key_size, uint64_t hash) noexcept
      : Bytes(value, key_size), hash_(hash) {}

  size_t key_size() const noexcept { return extra_; }

  const uint64_t hash_;
};

}  // namespace pulseengine

#endif
