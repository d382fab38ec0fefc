// The operations under way, found by id, with their deadlines and their limit.
#ifndef PULSE_ENGINE_OPERATION_TABLE_H
#define PULSE_ENGINE_OPERATION_TABLE_H

#include <atomic>
#include <mutex>

#include "base/adaptive_mutex.h"
#include "engine/operation.h"

namespace pulseengine {

// Any thread.
class OperationTable {
 public:
  explicit OperationTable(int64_t limit) : limit_(limit) {}

  // Counts the operation and gives it its id; AGAIN at the limit.  No other thread knows the
  // operation yet.
  Error add(Operation& operation, int64_t deadline_ms) {
    std::lock_guard<AdaptiveMutex> lock(mutex_);
    return add_locked(operation, deadline_ms);
  }
  // The same for those who hold mutex().
  Error add_locked(Operation& operation, int64_t deadline_ms);
  // Whoever adds an operation often hands over its command as well: one lock does for both.
  AdaptiveMutex& mutex() { return mutex_; }
  // It completed: no longer found, but counted until taken().
  void remove(Operation& operation);
  // For those who hold mutex(); the table's reference is the caller's afterwards.
  void remove_locked(const Operation& operation);
  // The same for many in one step.  The table's references are the caller's afterwards.
  void remove_all(Operation* const* operations, size_t count);
  void taken() { taken_.fetch_add(1, std::memory_order_release); }

  // Null when it has completed.
  Ref<Operation> find(uint64_t id);
  // Those whose deadline has passed; *next gets the earliest deadline left.
  void expired(int64_t now_ms, Vector<Ref<Operation>>* out, int64_t* next);
  // The first one from *index on, which is moved behind it; null at the end.  For walking over all
  // without an allocation.
  Ref<Operation> next(size_t* index);

  uint64_t accepted() const { return accepted_.load(std::memory_order_relaxed); }
  uint64_t inflight() const {
    // In this order: what was taken had been accepted before.
    const uint64_t taken = taken_.load(std::memory_order_acquire);
    return accepted() - taken;
  }
  size_t active();

 private:
  struct Entry {
    Operation* operation = nullptr;
    uint32_t generation = 0;
    uint32_t next_free = 0;
  };
  static constexpr uint32_t kNone = UINT32_MAX;

  const int64_t limit_;
  AdaptiveMutex mutex_;
  std::atomic<uint64_t> accepted_{0};  // changed under mutex_
  uint64_t taken_seen_ = 0;            // guarded by mutex_, as all up to apart_
  Vector<Entry> entries_;
  uint32_t free_ = kNone;
  size_t active_ = 0;
  [[maybe_unused]] char apart_[64];  // what is below is written by those who take completions
  std::atomic<uint64_t> taken_{0};
};

}  // namespace pulseengine

#endif
