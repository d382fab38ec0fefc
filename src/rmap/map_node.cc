#include "rmap/map_node.h"

#include <cstring>

namespace pulseengine {
namespace map_node {
namespace {

__attribute__((always_inline)) inline const MapEntry* walk(const MapNode* node,
                                                           std::string_view key,
                                                           uint64_t hash) noexcept {
  if (node == nullptr) return nullptr;
  uint64_t rest = hash;
  for (uint32_t level = 0; level < kLevels; level++, rest <<= kBits) {
    uint64_t bit = uint64_t{1} << position(rest);
    if ((node->bits & bit) == 0) return nullptr;
    MapSlot slot = node->slots()[count_bits(node->bits & (bit - 1))];
    if (slot.is_entry()) {
      const MapEntry* entry = slot.entry();
      return entry->hash() == hash && entry->key() == key ? entry : nullptr;
    }
    node = slot.node();
  }
  for (uint64_t i = 0; i < node->bits; i++) {
    const MapEntry* entry = node->slots()[i].entry();
    if (entry->hash() == hash && entry->key() == key) return entry;
  }
  return nullptr;
}

// Every x86-64 of the last fifteen years counts bits in one instruction, but not the architecture
// that compilers assume; without it, counting is most of what a walk costs.
#if defined(__x86_64__) && !defined(__POPCNT__)
#define PULSE_CHOOSE_POPCNT 1
__attribute__((target("popcnt"))) const MapEntry* walk_popcnt(const MapNode* node,
                                                              std::string_view key,
                                                              uint64_t hash) noexcept {
  return walk(node, key, hash);
}
const bool has_popcnt = [] {
  __builtin_cpu_init();
  return __builtin_cpu_supports("popcnt") != 0;
}();
#endif

}  // namespace

const MapEntry* find(const MapNode* root, std::string_view key, uint64_t hash) noexcept {
#ifdef PULSE_CHOOSE_POPCNT
  if (has_popcnt) return walk_popcnt(root, key, hash);
#endif
  return walk(root, key, hash);
}

MapNode* make(uint32_t capacity) {
  auto* node = static_cast<MapNode*>(allocate(sizeof(MapNode) + capacity * sizeof(MapSlot)));
  new (node) MapNode{{1}, capacity, 0};
  return node;
}

void free_memory(MapNode* node) noexcept { release(node); }

void unref(MapNode* node, uint32_t level) noexcept {
  DeadNodes dead;
  dead.drop(node, level);
  dead.free_all();
}

// What the members of a dead node mean: `count` its level, `capacity` the slots that still refer to
// something, `bits` the next one of the list.
namespace {

MapNode* next_dead(const MapNode* node) {
  MapNode* next;
  std::memcpy(&next, &node->bits, sizeof next);
  return next;
}
void set_next_dead(MapNode* node, MapNode* next) {
  static_assert(sizeof(MapNode*) <= sizeof node->bits);
  std::memcpy(&node->bits, &next, sizeof next);
}

}  // namespace

void DeadNodes::drop(MapNode* node, uint32_t level) noexcept {
  // The only one to hold it needs no atomic decrement: that is most of them when a map goes.
  if (node->count.load(std::memory_order_acquire) != 1 &&
      node->count.fetch_sub(1, std::memory_order_acq_rel) != 1) {
    return;
  }
  node->capacity = size(node, level);
  node->count.store(level, std::memory_order_relaxed);
  set_next_dead(node, first_);
  first_ = node;
}

// Depth first: the list does not become longer than a trie is deep.
bool DeadNodes::free_some(int64_t slots, int64_t cost_of_free) noexcept {
  while (first_ != nullptr && slots > 0) {
    MapNode* node = first_;
    if (node->capacity == 0) {
      first_ = next_dead(node);
      free_memory(node);
      slots -= cost_of_free;
      continue;
    }
    const MapSlot slot = node->slots()[--node->capacity];
    slots--;
    if (slot.is_node()) {
      drop(slot.node(), node->count.load(std::memory_order_relaxed) + 1);
      continue;
    }
    if (slot.entry()->sole()) slots -= cost_of_free;
    slot.entry()->unref();
  }
  return first_ != nullptr;
}

void DeadNodes::free_all() noexcept {
  while (free_some(INT64_MAX, 0)) {
  }
}

void DeadNodes::take(DeadNodes& other) noexcept {
  if (other.first_ == nullptr) return;
  MapNode* last = other.first_;
  while (next_dead(last) != nullptr) last = next_dead(last);
  set_next_dead(last, first_);
  first_ = std::exchange(other.first_, nullptr);
}

}  // namespace map_node
}  // namespace pulseengine
