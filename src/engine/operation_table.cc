#include "engine/operation_table.h"

#include <algorithm>

#include "base/prefetch.h"
#include "engine/engine.h"

namespace pulseengine {

// An id is the generation of its entry, above the entry's index + 1: never 0.
static constexpr int kIndexBits = 32;

Error OperationTable::add_locked(Operation& operation, int64_t deadline_ms) {
  const uint64_t accepted = accepted_.load(std::memory_order_relaxed);
  if (limit_ >= 0 && accepted - taken_seen_ >= static_cast<uint64_t>(limit_)) {
    taken_seen_ = taken_.load(std::memory_order_relaxed);
    if (accepted - taken_seen_ >= static_cast<uint64_t>(limit_)) {
      return Error::make(PULSE_ERR_AGAIN, PULSE_ERROR_RETRIABLE | PULSE_ERROR_NEVER_SENT,
                         "max_inflight ({}) operations are under way", limit_);
    }
  }
  uint32_t index = free_;
  if (index == kNone) {
    index = static_cast<uint32_t>(entries_.size());
    entries_.emplace_back();
  } else {
    free_ = entries_[index].next_free;
    if (free_ != kNone) prefetch_for_writing(&entries_[free_], sizeof(Entry));
  }
  Entry& entry = entries_[index];
  entry.operation = &operation;
  entry.generation++;
  operation.id_ = (static_cast<uint64_t>(entry.generation) << kIndexBits) | (index + 1U);
  operation.deadline_ms_ = deadline_ms;
  operation.ref_unshared();
  active_++;
  accepted_.store(accepted + 1, std::memory_order_relaxed);
  return {};
}

void OperationTable::remove_locked(const Operation& operation) {
  auto index = static_cast<uint32_t>(operation.id_) - 1;
  entries_[index].operation = nullptr;
  entries_[index].next_free = free_;
  free_ = index;
  active_--;
}

void OperationTable::remove(Operation& operation) {
  {
    std::lock_guard<AdaptiveMutex> lock(mutex_);
    remove_locked(operation);
  }
  operation.unref();
}

void OperationTable::remove_all(Operation* const* operations, size_t count) {
  std::lock_guard<AdaptiveMutex> lock(mutex_);
  for (size_t i = 0; i < count; i++) remove_locked(*operations[i]);
}

Ref<Operation> OperationTable::find(uint64_t id) {
  std::lock_guard<AdaptiveMutex> lock(mutex_);
  uint64_t index = (id & UINT32_MAX) - 1;
  if (index >= entries_.size() || entries_[index].generation != id >> kIndexBits) return nullptr;
  Operation* operation = entries_[index].operation;
  if (operation == nullptr || operation->completed()) return nullptr;
  return Ref<Operation>::share(operation);
}

void OperationTable::expired(int64_t now_ms, Vector<Ref<Operation>>* out, int64_t* next) {
  std::lock_guard<AdaptiveMutex> lock(mutex_);
  *next = kNever;
  for (const Entry& entry : entries_) {
    if (entry.operation == nullptr || entry.operation->completed()) continue;
    if (entry.operation->deadline_ms_ <= now_ms) {
      out->push_back(Ref<Operation>::share(entry.operation));
    } else {
      *next = std::min(*next, entry.operation->deadline_ms_);
    }
  }
}

Ref<Operation> OperationTable::next(size_t* index) {
  std::lock_guard<AdaptiveMutex> lock(mutex_);
  while (*index < entries_.size()) {
    Operation* operation = entries_[(*index)++].operation;
    if (operation != nullptr) return Ref<Operation>::share(operation);
  }
  return nullptr;
}

size_t OperationTable::active() {
  std::lock_guard<AdaptiveMutex> lock(mutex_);
  return active_;
}

}  // namespace pulseengine
