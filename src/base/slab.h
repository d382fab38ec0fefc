// Counted memory that replies are copied into once and views point to.
#ifndef PULSE_BASE_SLAB_H
#define PULSE_BASE_SLAB_H

#include <cstring>
#include <string_view>

#include "base/ref.h"

namespace pulseengine {

// Append-only chunks: what was added never moves.  Written by one thread, then
// read by any.
class Slab : public RefCounted {
 public:
  Slab() = default;
  ~Slab() override;

  // A copy of the bytes that lives as long as the slab.  Throws bad_alloc.
  std::string_view add(std::string_view bytes) {
    if (bytes.empty()) return "";
    if (bytes.size() > static_cast<size_t>(end_ - next_)) grow(bytes.size());
    char* at = next_;
    std::memcpy(at, bytes.data(), bytes.size());
    next_ += bytes.size();
    used_ += bytes.size();
    return {at, bytes.size()};
  }
  // Forgets the content and keeps one chunk; for a sole owner.
  void clear() noexcept;

  size_t used() const noexcept { return used_; }

 private:
  struct Chunk {
    Chunk* next;
    size_t capacity;
    char* data() { return reinterpret_cast<char*>(this + 1); }
  };
  void grow(size_t bytes);

  Chunk* chunks_ = nullptr;  // newest first
  char* next_ = nullptr;
  char* end_ = nullptr;
  size_t used_ = 0;
};

}  // namespace pulseengine

#endif
