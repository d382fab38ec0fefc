#include "base/slab.h"

namespace pulseengine {
namespace {
constexpr size_t kFirstChunk = 4096;
constexpr size_t kMaxChunk = size_t{256} * 1024;
}  // namespace

Slab::~Slab() {
  while (chunks_ != nullptr) {
    Chunk* next = chunks_->next;
    pulseengine::release(chunks_);
    chunks_ = next;
  }
}

void Slab::grow(size_t bytes) {
  size_t wanted = chunks_ == nullptr ? kFirstChunk : std::min(chunks_->capacity * 2, kMaxChunk);
  size_t capacity = std::max(wanted, bytes);
  auto* chunk = static_cast<Chunk*>(allocate(sizeof(Chunk) + capacity));
  chunk->next = chunks_;
  chunk->capacity = capacity;
  chunks_ = chunk;
  next_ = chunk->data();
  end_ = next_ + capacity;
}

void Slab::clear() noexcept {
  used_ = 0;
  if (chunks_ == nullptr) return;
  while (chunks_->next != nullptr || chunks_->capacity > kMaxChunk) {
    Chunk* next = chunks_->next;
    pulseengine::release(chunks_);
    chunks_ = next;
    if (chunks_ == nullptr) {
      next_ = end_ = nullptr;
      return;
    }
  }
  next_ = chunks_->data();
  end_ = next_ + chunks_->capacity;
}

}  // namespace pulseengine
