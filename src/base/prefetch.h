// Hints for the processor.
#ifndef PULSE_BASE_PREFETCH_H
#define PULSE_BASE_PREFETCH_H

#include <cstddef>

namespace pulseengine {

// What will be written soon, and may be in the cache of another processor.
inline void prefetch_for_writing(const void* memory, size_t bytes) noexcept {
  constexpr size_t kLine = 64;
  const auto* at = static_cast<const char*>(memory);
  for (size_t i = 0; i < bytes; i += kLine) __builtin_prefetch(at + i, 1);
}

}  // namespace pulseengine

#endif
