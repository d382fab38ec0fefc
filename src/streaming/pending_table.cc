#include "streaming/pending_table.h"

#include <algorithm>
#include <functional>

namespace pulseengine {

size_t PendingTable::position_of(const pulse_event_id& id) {
  if (recent_.empty() || id_less(recent_.back().id, id)) return recent_.size();
  auto at = std::lower_bound(
      recent_.begin() + static_cast<ptrdiff_t>(head_), recent_.end(), id,
      [](const PendingEntry& e, const pulse_event_id& wanted) { return id_less(e.id, wanted); });
  return looked_ = static_cast<size_t>(at - recent_.begin());
}

PendingEntry* PendingTable::search(const pulse_event_id& id) {
  size_t at = position_of(id);
  if (at < recent_.size() && id_equal(recent_[at].id, id)) {
    // The same id may have left the array and come back to the tree.
    if (recent_[at].state != PendingEntry::State::gone) return &recent_[at];
  }
  if (older_.empty()) return nullptr;
  auto found = older_.find(id);
  return found == older_.end() ? nullptr : &found->second;
}

PendingEntry& PendingTable::insert(const pulse_event_id& id) {
  PendingEntry* entry;
  if (recent_.empty() || id_less(recent_.back().id, id)) {
    recent_.emplace_back();
    entry = &recent_.back();
    live_++;
  } else {
    entry = &older_[id];
  }
  entry->id = id;
  return *entry;
}

void PendingTable::erase(const pulse_event_id& id) noexcept {
  PendingEntry* entry = find(id);
  if (entry != nullptr) erase(*entry);
}

void PendingTable::erase(PendingEntry& entry) noexcept {
  const std::less<const PendingEntry*> before;
  if (before(&entry, recent_.data()) || !before(&entry, recent_.data() + recent_.size())) {
    older_.erase(pulse_event_id(entry.id));  // not by what goes with it
    return;
  }
  entry.state = PendingEntry::State::gone;
  live_--;
  tidy();
}

void PendingTable::clear() noexcept {
  recent_.clear();
  older_.clear();
  head_ = live_ = 0;
}

// Drops holes at the front at once, and the others when they are the greater part.
void PendingTable::tidy() noexcept {
  if (live_ == 0) {
    recent_.clear();
    head_ = 0;
    return;
  }
  while (recent_[head_].state == PendingEntry::State::gone) head_++;
  constexpr size_t kWorthIt = 64;
  if (recent_.size() - live_ < kWorthIt || live_ > recent_.size() / 2) return;
  if (head_ == recent_.size() - live_) {
    recent_.erase(recent_.begin(), recent_.begin() + static_cast<ptrdiff_t>(head_));
    head_ = 0;
    return;
  }
  auto kept = std::remove_if(recent_.begin(), recent_.end(), [](const PendingEntry& e) {
    return e.state == PendingEntry::State::gone;
  });
  recent_.erase(kept, recent_.end());
  head_ = 0;
}

PendingEntry* PendingTable::first_from(const pulse_event_id& id) {
  size_t at = position_of(id);
  while (at < recent_.size() && recent_[at].state == PendingEntry::State::gone) at++;
  PendingEntry* recent = at < recent_.size() ? &recent_[at] : nullptr;
  auto older = older_.lower_bound(id);
  if (older == older_.end()) return recent;
  if (recent == nullptr || id_less(older->first, recent->id)) return &older->second;
  return recent;
}

}  // namespace pulseengine
