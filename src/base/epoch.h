// Objects that readers use without counting, and when they may go.
//
// A reader holds a ReadGuard while it looks at what it found through an atomic pointer.  Whoever
// has replaced such a pointer retires the old object: it is dropped once no guard is left that was
// open then.  Readers wait for nobody, and nobody waits for readers.
#ifndef PULSE_BASE_EPOCH_H
#define PULSE_BASE_EPOCH_H

#include <atomic>
#include <cstdint>

#include "base/ref.h"

namespace pulseengine {

namespace epoch {

// What a thread shows to reclaimers, in a cache line of its own.
struct alignas(64) Slot {
  std::atomic<uint64_t> entered{0};  // the epoch in which the outermost guard opened; 0: none open
  std::atomic<bool> taken{false};
  bool lent = false;   // taken for one guard only
  uint32_t depth = 0;  // open guards; the owner's business
};

// What every guard reads and hardly anybody writes.
struct alignas(64) Shared {
  std::atomic<uint64_t> now{1};
  // Reclaimers make all threads' stores visible, so that guards need no fence of their own.
  std::atomic<bool> barrier_free{false};
  std::atomic<bool> orphans{false};  // somebody must look after objects whose reclaimer is gone
};

struct Retired;

extern Shared shared;
// The slot of this thread.  __thread: no check for a constructor at each use.
extern __thread Slot* own_slot;

// A slot for a thread that has none; null when there is no memory: the guard counts as a stray.
Slot* take_slot() noexcept;
void return_slot(Slot* slot) noexcept;
void enter_stray() noexcept;
void leave_stray() noexcept;
void drop_orphans() noexcept;

}  // namespace epoch

// Any thread, nested as deep as you like; must be closed by the thread that opened it.  Keeps
// memory from being given back: not for long.
class ReadGuard {
 public:
  ReadGuard() noexcept : slot_(epoch::own_slot) {
    if (__builtin_expect(slot_ == nullptr, 0)) {
      slot_ = epoch::take_slot();
      if (slot_ == nullptr) {
        epoch::enter_stray();
        return;
      }
    }
    if (slot_->depth++ > 0) return;
    // Acquire: whoever sees an epoch sees what was replaced before it began.
    uint64_t now = epoch::shared.now.load(std::memory_order_acquire);
    if (epoch::shared.barrier_free.load(std::memory_order_relaxed)) {
      slot_->entered.store(now, std::memory_order_release);
      std::atomic_signal_fence(std::memory_order_seq_cst);
    } else {
      slot_->entered.exchange(now, std::memory_order_seq_cst);
    }
  }
  ~ReadGuard() {
    if (__builtin_expect(slot_ == nullptr, 0)) {
      epoch::leave_stray();
      return;
    }
    if (--slot_->depth > 0) return;
    slot_->entered.store(0, std::memory_order_release);
    if (__builtin_expect(slot_->lent, 0)) epoch::return_slot(slot_);
    std::atomic_signal_fence(std::memory_order_seq_cst);
    if (__builtin_expect(epoch::shared.orphans.load(std::memory_order_relaxed), 0)) {
      epoch::drop_orphans();
    }
  }
  ReadGuard(const ReadGuard&) = delete;
  ReadGuard& operator=(const ReadGuard&) = delete;

 private:
  epoch::Slot* slot_;
};

// Keeps retired objects until no reader can see them.  One thread at a time; there may be many.
class EpochReclaimer {
 public:
  EpochReclaimer();
  // What readers still see goes with the last of their guards.
  ~EpochReclaimer();
  EpochReclaimer(const EpochReclaimer&) = delete;
  EpochReclaimer& operator=(const EpochReclaimer&) = delete;

  // Makes room, so that the next `n` calls of retire do not throw.
  void reserve(size_t n);
  // Takes what new readers cannot reach any more: the pointer to it was replaced, and is read, with
  // memory_order_seq_cst.  Reserve before that: here it would be too late for bad_alloc.
  void retire(Ref<RefCounted> object);
  // Drops what no reader can see any more.  Cheap when nothing waits; once per turn of the loop.
  // The objects' destructors must not retire anything here.
  void reclaim() noexcept;
  // Objects that are kept.
  size_t waiting() const noexcept;

 private:
  Owned<epoch::Retired> retired_;
};

}  // namespace pulseengine

#endif
