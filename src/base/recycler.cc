#include "base/recycler.h"

#include "base/prefetch.h"

namespace pulseengine {

Recycler::~Recycler() {
  release_all(free_);
  release_all(returned_.load(std::memory_order_acquire));
}

void Recycler::release_all(Block* first) noexcept {
  while (first != nullptr) {
    Block* next = first->next;
    release(first);
    first = next;
  }
}

void* Recycler::take() {
  if (free_ == nullptr) {
    returned_count_.store(0, std::memory_order_relaxed);
    free_ = returned_.exchange(nullptr, std::memory_order_acquire);
  }
  Block* block = free_;
  if (block != nullptr) {
    free_ = block->next;
    // Where somebody else has used it, it is far away.
    if (free_ != nullptr) prefetch_for_writing(free_, sizeof(Block) + block_bytes_);
  } else {
    block = new (allocate(sizeof(Block) + block_bytes_)) Block{this, nullptr, false};
  }
  return block + 1;
}

void Recycler::give_back(void* memory) noexcept {
  Block* block = block_of(memory);
  Recycler& owner = *block->owner;
  const bool keeps_owner = block->keeps_owner;
  const uint32_t count = owner.returned_count_.load(std::memory_order_relaxed);
  if (count >= owner.most_) {
    release(block);
  } else {
    owner.returned_count_.store(count + 1, std::memory_order_relaxed);
    block->keeps_owner = false;
    block->next = owner.returned_.load(std::memory_order_relaxed);
    // Only pushed one by one and taken all at once: the same top means the same list.
    while (!owner.returned_.compare_exchange_weak(
        block->next, block, std::memory_order_release, std::memory_order_relaxed)) {
    }
  }
  if (keeps_owner) owner.unref();
}

void Recycler::keep_owner(void* memory) noexcept {
  Block* block = block_of(memory);
  if (block->keeps_owner) return;
  block->keeps_owner = true;
  block->owner->ref();
}

}  // namespace pulseengine
