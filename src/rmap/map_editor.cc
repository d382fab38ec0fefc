#include <cstring>

#include "rmap/map_version.h"

namespace pulseengine {

using map_node::kLevels;
using map_node::position;

namespace {

// Odd, because of the size of the header: allocators give multiples of 16 bytes.
uint32_t capacity_for(uint32_t slots) { return slots | 1; }

MapNode* copy(const MapNode* node, uint32_t size, uint32_t more) {
  MapNode* twin = map_node::make(capacity_for(size + more));
  twin->bits = node->bits;
  for (uint32_t i = 0; i < size; i++) {
    MapSlot slot = twin->slots()[i] = node->slots()[i];
    if (slot.is_entry()) {
      slot.entry()->ref();
    } else {
      slot.node()->count.fetch_add(1, std::memory_order_relaxed);
    }
  }
  return twin;
}

// Takes over a node of which there is one reference.
MapNode* grow(MapNode* node, uint32_t size, uint32_t more) {
  // By an eighth: loading does not copy all the time, and little is wasted.
  MapNode* larger = map_node::make(capacity_for(size + more + size / 8));
  larger->bits = node->bits;
  std::memcpy(static_cast<void*>(larger->slots()), node->slots(), size * sizeof(MapSlot));
  map_node::free_memory(node);
  return larger;
}

void remove(MapNode* node, uint32_t level, uint32_t index, uint64_t hash) {
  MapSlot* slots = node->slots();
  uint32_t after = map_node::size(node, level) - index - 1;
  std::memmove(static_cast<void*>(slots + index), slots + index + 1, after * sizeof(MapSlot));
  if (level < kLevels) {
    node->bits &= ~(uint64_t{1} << position(hash, level));
  } else {
    node->bits--;
  }
}

// A subtree for two entries with different keys, whose references it takes over when it is done.
MapNode* make_pair(MapEntry* a, MapEntry* b, uint32_t level) {
  uint32_t fork = level;
  while (fork < kLevels && position(a->hash(), fork) == position(b->hash(), fork)) fork++;
  bool swapped =
      fork < kLevels ? position(b->hash(), fork) < position(a->hash(), fork) : b->key() < a->key();
  MapNode* top = map_node::make(capacity_for(2));
  top->bits = fork < kLevels ? uint64_t{1} << position(a->hash(), fork) |
                                   uint64_t{1} << position(b->hash(), fork)
                             : 2;
  top->slots()[0] = MapSlot(swapped ? b : a);
  top->slots()[1] = MapSlot(swapped ? a : b);
  try {
    for (uint32_t at = fork; at > level; at--) {
      MapNode* above = map_node::make(capacity_for(1));
      above->bits = uint64_t{1} << position(a->hash(), at - 1);
      above->slots()[0] = MapSlot(top);
      top = above;
    }
  } catch (const std::bad_alloc&) {
    while (top->slots()[0].is_node()) {
      MapNode* below = top->slots()[0].node();
      map_node::free_memory(top);
      top = below;
    }
    map_node::free_memory(top);
    throw;
  }
  return top;
}

}  // namespace

MapEditor::MapEditor(Ref<MapVersion> base) noexcept
    : root_(base->root_), size_(base->size()), bytes_(base->bytes()), reaper_(base->reaper_) {
  if (root_ != nullptr) root_->count.fetch_add(1, std::memory_order_relaxed);
}

MapEditor::~MapEditor() { clear(); }

// A node with one reference, below nodes with one reference, is seen by nobody else.
MapNode* MapEditor::own(MapNode* node, uint32_t level, uint32_t more, MapSlot* where) {
  uint32_t size = map_node::size(node, level);
  MapNode* ours = node;
  if (node->count.load(std::memory_order_acquire) != 1) {
    ours = copy(node, size, more);
    map_node::unref(node, level);
  } else if (size + more > node->capacity) {
    ours = grow(node, size, more);
  } else {
    return node;
  }
  if (where == nullptr) {
    root_ = ours;
  } else {
    *where = MapSlot(ours);
  }
  return ours;
}

void MapEditor::insert(MapNode* node, uint32_t level, uint32_t index,
                       Ref<MapEntry> entry) noexcept {
  MapSlot* slots = node->slots();
  uint32_t after = map_node::size(node, level) - index;
  std::memmove(static_cast<void*>(slots + index + 1), slots + index, after * sizeof(MapSlot));
  if (level < kLevels) {
    node->bits |= uint64_t{1} << position(entry->hash(), level);
  } else {
    node->bits++;
  }
  size_++;
  bytes_ += entry->payload();
  slots[index] = MapSlot(entry.release());
}

Ref<MapEntry> MapEditor::replace(MapSlot* slot, Ref<MapEntry> entry) noexcept {
  Ref<MapEntry> old = Ref<MapEntry>::adopt(slot->entry());
  bytes_ += entry->payload() - old->payload();
  *slot = MapSlot(entry.release());
  return old;
}

// Nodes become ours on the way down.  That changes nothing but who shares them, so that it may end
// at any point.
Ref<MapEntry> MapEditor::put(Ref<MapEntry> entry) {
  uint64_t hash = entry->hash();
  if (root_ == nullptr) root_ = map_node::make(capacity_for(1));
  MapNode* node = root_;
  MapSlot* where = nullptr;
  for (uint32_t level = 0; level < kLevels; level++) {
    uint64_t bit = uint64_t{1} << position(hash, level);
    bool present = (node->bits & bit) != 0;
    node = own(node, level, present ? 0 : 1, where);
    uint32_t index = map_node::count_bits(node->bits & (bit - 1));
    if (!present) {
      insert(node, level, index, std::move(entry));
      return nullptr;
    }
    where = &node->slots()[index];
    if (where->is_entry()) {
      MapEntry* old = where->entry();
      if (old->hash() == hash && old->key() == entry->key()) {
        return replace(where, std::move(entry));
      }
      *where = MapSlot(make_pair(old, entry.get(), level + 1));
      size_++;
      bytes_ += entry->payload();
      (void)entry.release();
      return nullptr;
    }
    node = where->node();
  }
  uint32_t index = 0;
  int order = -1;
  while (index < node->bits &&
         (order = node->slots()[index].entry()->key().compare(entry->key())) < 0) {
    index++;
  }
  bool present = index < node->bits && order == 0;
  node = own(node, kLevels, present ? 0 : 1, where);
  if (present) return replace(&node->slots()[index], std::move(entry));
  insert(node, kLevels, index, std::move(entry));
  return nullptr;
}

Ref<MapEntry> MapEditor::erase(std::string_view key, uint64_t hash) {
  const MapEntry* wanted = find(key, hash);
  if (wanted == nullptr) return nullptr;
  struct Step {
    MapNode* node;
    MapSlot* slot;  // the one of its slots that leads to the entry
  };
  Step path[kLevels + 1];
  uint32_t level = 0;
  MapSlot* where = nullptr;
  for (MapNode* node = root_;; level++) {
    node = own(node, level, 0, where);
    uint32_t index = 0;
    if (level < kLevels) {
      uint64_t bit = uint64_t{1} << position(hash, level);
      index = map_node::count_bits(node->bits & (bit - 1));
    } else {
      while (node->slots()[index].entry() != wanted) index++;
    }
    where = &node->slots()[index];
    path[level] = {node, where};
    if (where->is_entry()) break;
    node = where->node();
  }
  // Nothing throws from here on.
  Ref<MapEntry> erased = Ref<MapEntry>::adopt(where->entry());
  MapNode* node = path[level].node;
  remove(node, level, static_cast<uint32_t>(where - node->slots()), hash);
  // A single entry that is left moves up as far as it is alone.
  while (level > 0 && map_node::size(node, level) == 1 && node->slots()[0].is_entry()) {
    level--;
    *path[level].slot = node->slots()[0];
    map_node::free_memory(node);
    node = path[level].node;
  }
  size_--;
  bytes_ -= erased->payload();
  if (size_ == 0) clear();
  return erased;
}

void MapEditor::clear() noexcept {
  MapReaper::drop(reaper_.get(), root_);
  root_ = nullptr;
  size_ = 0;
  bytes_ = 0;
}

Ref<MapVersion> MapEditor::finish(uint64_t revision) {
  Ref<MapVersion> version =
      Ref<MapVersion>::adopt(new MapVersion(root_, revision, size_, bytes_, reaper_));
  if (root_ != nullptr) root_->count.fetch_add(1, std::memory_order_relaxed);
  return version;
}

}  // namespace pulseengine
