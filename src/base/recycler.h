// Memory of one size for objects that come and go all the time.
#ifndef PULSE_BASE_RECYCLER_H
#define PULSE_BASE_RECYCLER_H

#include <atomic>

#include "base/ref.h"

namespace pulseengine {

// Blocks that one thread makes and another one drops, over and over, cost an allocator a lock each
// time; here they go round.  Some `most` that came back are kept.
class Recycler : public RefCounted {
 public:
  Recycler(size_t block_bytes, uint32_t most) : block_bytes_(block_bytes), most_(most) {}
  ~Recycler() override;

  // One caller at a time.  Throws bad_alloc.
  void* take();
  // Any thread.  The recycler still exists, unless keep_owner() was called.
  static void give_back(void* memory) noexcept;
  // The block may come back when nobody else has a reference to its recycler.
  static void keep_owner(void* memory) noexcept;

 private:
  struct alignas(std::max_align_t) Block {
    Recycler* owner;
    Block* next;
    bool keeps_owner;
  };
  static Block* block_of(void* memory) { return static_cast<Block*>(memory) - 1; }
  static void release_all(Block* first) noexcept;

  const size_t block_bytes_;
  const uint32_t most_;
  Block* free_ = nullptr;            // of the one who takes
  [[maybe_unused]] char apart_[64];  // those who give back write what is below
  std::atomic<Block*> returned_{nullptr};
  std::atomic<uint32_t> returned_count_{0};  // about: several may count at once
};

}  // namespace pulseengine

#endif
