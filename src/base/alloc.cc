#include "base/alloc.h"

#include <atomic>
#include <cstdlib>

namespace pulseengine {
namespace {

void* malloc_hook(void*, size_t bytes) { return std::malloc(bytes); }
void* realloc_hook(void*, void* memory, size_t bytes) { return std::realloc(memory, bytes); }
void free_hook(void*, void* memory) { std::free(memory); }

constexpr AllocatorHooks kMalloc{malloc_hook, realloc_hook, free_hook, nullptr};
AllocatorHooks hooks = kMalloc;
// With malloc underneath nothing needs counting: it frees whatever malloc gave.
// Only memory of custom hooks pins them.
bool custom = false;
std::atomic<int64_t> alive{0};
std::atomic<int64_t> objects{0};

}  // namespace

LiveObject::LiveObject() noexcept { objects.fetch_add(1, std::memory_order_relaxed); }
LiveObject::~LiveObject() { objects.fetch_sub(1, std::memory_order_relaxed); }

bool set_allocator_hooks(const AllocatorHooks& wanted) noexcept {
  if (objects.load() != 0 || (custom && alive.load() != 0)) return false;
  custom = wanted.allocate != nullptr;
  hooks = custom ? wanted : kMalloc;
  return true;
}

void* try_allocate(size_t bytes) noexcept {
  void* memory = hooks.allocate(hooks.context, bytes == 0 ? 1 : bytes);
  if (custom && memory != nullptr) alive.fetch_add(1, std::memory_order_relaxed);
  return memory;
}

void* allocate(size_t bytes) {
  void* memory = try_allocate(bytes);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

void* reallocate(void* memory, size_t bytes) {
  if (memory == nullptr) return allocate(bytes);
  void* moved = hooks.reallocate(hooks.context, memory, bytes == 0 ? 1 : bytes);
  if (moved == nullptr) throw std::bad_alloc();
  return moved;
}

void release(void* memory) noexcept {
  if (memory == nullptr) return;
  if (custom) alive.fetch_sub(1, std::memory_order_relaxed);
  hooks.release(hooks.context, memory);
}

}  // namespace pulseengine
