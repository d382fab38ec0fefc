// The nodes of the trie behind MapVersion.
//
// A node has a bit for each of its 64 positions and a slot for each bit that is set, in order.  The
// position at a level is the next six bits of the hash, highest first, so that a walk over the
// slots is in the order of hashes.  Where a hash is used up, the bottom, a node lists the entries
// with that very hash, ordered by key.
//
// The form is canonical: below every node but the root are two entries or more.
#ifndef PULSE_RMAP_MAP_NODE_H
#define PULSE_RMAP_MAP_NODE_H

#include <atomic>
#include <cstdint>

#include "rmap/map_entry.h"

namespace pulseengine {

struct MapNode;

// A counted reference to an entry or a node, or nothing; whoever holds a slot counts by hand.
class MapSlot {
 public:
  MapSlot() = default;
  explicit MapSlot(const MapEntry* entry) noexcept
      : at_(entry == nullptr ? nullptr : reinterpret_cast<const char*>(entry) + kEntry) {}
  explicit MapSlot(const MapNode* node) noexcept : at_(reinterpret_cast<const char*>(node)) {}

  bool empty() const noexcept { return at_ == nullptr; }
  bool is_entry() const noexcept { return (reinterpret_cast<uintptr_t>(at_) & kEntry) != 0; }
  bool is_node() const noexcept { return !empty() && !is_entry(); }
  MapEntry* entry() const noexcept {
    return reinterpret_cast<MapEntry*>(const_cast<char*>(at_ - kEntry));
  }
  MapNode* node() const noexcept { return reinterpret_cast<MapNode*>(const_cast<char*>(at_)); }
  bool operator==(MapSlot other) const noexcept { return at_ == other.at_; }

 private:
  static constexpr uintptr_t kEntry = 1;  // allocations are aligned, so that the bit is free
  const char* at_ = nullptr;
};

struct MapNode {
  std::atomic<uint32_t> count;  // references
  uint32_t capacity;            // slots allocated
  uint64_t bits;                // positions in use; at the bottom the number of entries

  MapSlot* slots() noexcept { return reinterpret_cast<MapSlot*>(this + 1); }
  const MapSlot* slots() const noexcept { return reinterpret_cast<const MapSlot*>(this + 1); }
};

namespace map_node {

constexpr uint32_t kBits = 6;
constexpr uint32_t kLevels = 11;  // above the bottom: 64 bits by six

// The position at a level, of a hash whose bits of the levels above are shifted out.
inline uint32_t position(uint64_t rest) noexcept { return static_cast<uint32_t>(rest >> 58); }
inline uint32_t position(uint64_t hash, uint32_t level) noexcept {
  return position(hash << (kBits * level));
}
// Of slots before a position, of slots in all.
inline uint32_t count_bits(uint64_t bits) noexcept {
  return static_cast<uint32_t>(__builtin_popcountll(bits));
}
inline uint32_t size(const MapNode* node, uint32_t level) noexcept {
  return level < kLevels ? count_bits(node->bits) : static_cast<uint32_t>(node->bits);
}

// A root of null is an empty map.
const MapEntry* find(const MapNode* root, std::string_view key, uint64_t hash) noexcept;

// Without slots, with one reference.
MapNode* make(uint32_t capacity);
// The memory alone, not what the slots refer to.
void free_memory(MapNode* node) noexcept;
void unref(MapNode* node, uint32_t level) noexcept;

// Nodes that nobody refers to any more, and below them what goes with them.  The list runs through
// the nodes themselves, so that it needs no memory.  Whatever is left when it goes leaks.
class DeadNodes {
 public:
  // Takes over a reference; no effect but that if it was not the last one.
  void drop(MapNode* node, uint32_t level) noexcept;
  // Frees until so many slots were looked at, where an allocation that is given back counts for
  // `cost_of_free` more.  False when nothing is left.
  bool free_some(int64_t slots, int64_t cost_of_free) noexcept;
  void free_all() noexcept;
  // All that the other one has.
  void take(DeadNodes& other) noexcept;
  bool empty() const noexcept { return first_ == nullptr; }

 private:
  MapNode* first_ = nullptr;
};

}  // namespace map_node
}  // namespace pulseengine

#endif
