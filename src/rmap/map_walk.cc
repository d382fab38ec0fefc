// Walks over two tries at once.  An entry high up stands for the whole subtree that the other side
// may have in its place.
#include "rmap/map_version.h"

namespace pulseengine {

using map_node::kLevels;
using map_node::position;

namespace {

uint64_t positions(MapSlot slot, uint32_t level) {
  if (slot.empty()) return 0;
  if (slot.is_node()) return slot.node()->bits;
  return uint64_t{1} << position(slot.entry()->hash(), level);
}

// What the subtree `slot` has at a position.
MapSlot child(MapSlot slot, uint64_t bit, uint32_t level) {
  if ((positions(slot, level) & bit) == 0) return {};
  if (slot.is_entry()) return slot;
  return slot.node()->slots()[map_node::count_bits(slot.node()->bits & (bit - 1))];
}

// The entries of one hash.
uint32_t count_at_bottom(MapSlot slot) {
  if (slot.empty()) return 0;
  return slot.is_entry() ? 1 : static_cast<uint32_t>(slot.node()->bits);
}

const MapEntry* entry_at_bottom(MapSlot slot, uint32_t index) {
  if (index >= count_at_bottom(slot)) return nullptr;
  return slot.is_entry() ? slot.entry() : slot.node()->slots()[index].entry();
}

const MapEntry* entry_or_null(MapSlot slot) { return slot.empty() ? nullptr : slot.entry(); }

}  // namespace

MapWalk::MapWalk(const MapVersion* from, const MapVersion* to, const MapCursor& cursor) noexcept
    : start_(cursor) {
  MapSlot before(from == nullptr ? nullptr : from->root_);
  MapSlot now(to->root_);
  if (!cursor.end && !(before == now)) push(before, now, true);
}

void MapWalk::push(MapSlot before, MapSlot now, bool on_path) noexcept {
  uint32_t level = depth_++;
  Frame& frame = frames_[level];
  frame = {before, now, 0, 0, 0, 0, on_path};
  if (level == kLevels) return;
  frame.left = positions(before, level) | positions(now, level);
  if (on_path) frame.left &= UINT64_MAX << position(start_.hash, level);
}

bool MapWalk::next() noexcept {
  if (waiting_before_ != nullptr || waiting_now_ != nullptr) {
    const MapEntry* before = std::exchange(waiting_before_, nullptr);
    const MapEntry* now = std::exchange(waiting_now_, nullptr);
    if (offer(before, now, waiting_index_)) return true;
  }
  while (depth_ > 0) {
    uint32_t level = depth_ - 1;
    Frame& frame = frames_[level];
    if (level == kLevels) {
      if (next_at_bottom(frame)) return true;
      depth_--;
      continue;
    }
    if (frame.left == 0) {
      depth_--;
      continue;
    }
    uint64_t bit = frame.left & (~frame.left + 1);
    frame.left -= bit;
    MapSlot before = child(frame.before, bit, level);
    MapSlot now = child(frame.now, bit, level);
    if (before == now) continue;
    if (before.is_node() || now.is_node()) {
      push(before, now, frame.on_path && bit == uint64_t{1} << position(start_.hash, level));
    } else if (offer_pair(entry_or_null(before), entry_or_null(now))) {
      return true;
    }
  }
  return false;
}

// The merged list of both sides' keys; the places in it do not depend on what differs.
bool MapWalk::next_at_bottom(Frame& frame) noexcept {
  while (true) {
    const MapEntry* before = entry_at_bottom(frame.before, frame.before_index);
    const MapEntry* now = entry_at_bottom(frame.now, frame.now_index);
    if (before == nullptr && now == nullptr) return false;
    if (before != nullptr && now != nullptr) {
      int order = before->key().compare(now->key());
      if (order < 0) now = nullptr;
      if (order > 0) before = nullptr;
    }
    uint32_t index = frame.index++;
    if (before != nullptr) frame.before_index++;
    if (now != nullptr) frame.now_index++;
    if (offer(before, now, index)) return true;
  }
}

// Two entries at one position, or one and nothing.
bool MapWalk::offer_pair(const MapEntry* before, const MapEntry* now) noexcept {
  if (before == nullptr || now == nullptr) return offer(before, now, 0);
  int order = before->hash() < now->hash()   ? -1
              : before->hash() > now->hash() ? 1
                                             : before->key().compare(now->key());
  if (order == 0) return offer(before, now, 0);
  uint32_t second = before->hash() == now->hash() ? 1 : 0;
  if (!(order < 0 ? offer(before, nullptr, 0) : offer(nullptr, now, 0))) {
    return order < 0 ? offer(nullptr, now, second) : offer(before, nullptr, second);
  }
  (order < 0 ? waiting_now_ : waiting_before_) = order < 0 ? now : before;
  waiting_index_ = second;
  return true;
}

// One key; not if the cursor is behind it, or if it has not changed.
bool MapWalk::offer(const MapEntry* before, const MapEntry* now, uint32_t index) noexcept {
  if (before != nullptr && now != nullptr && (before == now || before->view() == now->view())) {
    return false;
  }
  uint64_t hash = before != nullptr ? before->hash() : now->hash();
  if (hash < start_.hash || (hash == start_.hash && index < start_.index)) return false;
  before_ = before;
  now_ = now;
  hash_ = hash;
  index_ = index;
  return true;
}

}  // namespace pulseengine
