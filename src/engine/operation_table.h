// The operations under way, found by id, with their deadlines and their limit.
#ifndef PULSE_ENGINE_OPERATION_TABLE_H
#define PULSE_ENGINE_OPERATION_TABLE_H

#include <atomic>
#include <mutex>

#include "engine/operation.h"

namespace pulseengine {

// Any thread.
class OperationTable {
 public:
  explicit OperationTable(int64_t limit) : limit_(limit) {}

  // Counts the operation and gives it its id; AGAIN at the limit.
  Error add(Operation& operation, int64_t deadline_ms);
  // It completed: no longer found, but counted until taken().
  void remove(Operation& operation);
  // The same for many in one step.  The table's references are the caller's afterwards.
  void remove_all(Operation* const* operations, size_t count);
  void taken() { inflight_.fetch_sub(1, std::memory_order_relaxed); }

  // How many operations exist: as long as there are any the engine is kept on their behalf, which
  // costs less than a reference for each.  True: the first one, or the last one.
  bool created() { return existing_.fetch_add(1, std::memory_order_relaxed) == 0; }
  bool destroyed() { return existing_.fetch_sub(1, std::memory_order_acq_rel) == 1; }

  // Null when it has completed.
  Ref<Operation> find(uint64_t id);
  // Those whose deadline has passed; *next gets the earliest deadline left.
  void expired(int64_t now_ms, Vector<Ref<Operation>>* out, int64_t* next);
  // The first one from *index on, which is moved behind it; null at the end.  For walking over all
  // without an allocation.
  Ref<Operation> next(size_t* index);

  uint64_t accepted() const { return accepted_.load(std::memory_order_relaxed); }
  uint64_t inflight() const { return inflight_.load(std::memory_order_relaxed); }
  size_t active();

 private:
  struct Entry {
    Operation* operation = nullptr;
    uint32_t generation = 0;
    uint32_t next_free = 0;
  };
  static constexpr uint32_t kNone = UINT32_MAX;

  void forget(const Operation& operation);

  const int64_t limit_;
  std::atomic<uint64_t> inflight_{0}, existing_{0};
  std::atomic<uint64_t> accepted_{0};  // changed under mutex_
  std::mutex mutex_;
  Vector<Entry> entries_;  // guarded by mutex_, as all below
  uint32_t free_ = kNone;
  size_t active_ = 0;
};

}  // namespace pulseengine

#endif
