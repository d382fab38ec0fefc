// Counts the bytes that the library's allocations take, with what malloc adds to each.
#ifndef PULSE_TESTS_SOAK_COUNTED_MEMORY_H
#define PULSE_TESTS_SOAK_COUNTED_MEMORY_H

#include <malloc.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>

inline std::atomic<int64_t> bytes_alive{0};

inline int64_t size_of(void* memory) {
  return static_cast<int64_t>(malloc_usable_size(memory) + sizeof(size_t));
}

// For pulse_library_set_allocator.
inline void* count_allocate(void*, size_t bytes) {
  void* memory = malloc(bytes);
  if (memory != nullptr) bytes_alive += size_of(memory);
  return memory;
}
inline void* count_reallocate(void*, void* memory, size_t bytes) {
  const int64_t before = memory == nullptr ? 0 : size_of(memory);
  void* now = realloc(memory, bytes);
  if (now != nullptr) bytes_alive += size_of(now) - before;
  return now;
}
inline void count_release(void*, void* memory) {
  if (memory == nullptr) return;
  bytes_alive -= size_of(memory);
  free(memory);
}

#endif
