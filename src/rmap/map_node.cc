#include "rmap/map_node.h"

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
  // The only one to hold it needs no atomic decrement: that is most of them when a map goes.
  if (node->count.load(std::memory_order_acquire) != 1 &&
      node->count.fetch_sub(1, std::memory_order_acq_rel) != 1) {
    return;
  }
  for (uint32_t i = 0, n = size(node, level); i < n; i++) {
    MapSlot slot = node->slots()[i];
    if (slot.is_entry()) {
      slot.entry()->unref();
    } else {
      unref(slot.node(), level + 1);
    }
  }
  free_memory(node);
}

}  // namespace map_node
}  // namespace pulseengine
