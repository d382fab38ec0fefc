#include "base/process.h"

#include <pthread.h>

#include <atomic>

namespace pulseengine {
namespace {

std::atomic<uint32_t> generation{1};

// Registered at load time: no engine is made before.
const int registered = pthread_atfork(nullptr, nullptr, [] { generation.fetch_add(1); });

}  // namespace

uint32_t fork_generation() noexcept {
  (void)registered;
  return generation.load(std::memory_order_relaxed);
}

uint64_t this_thread_id() noexcept {
  static_assert(sizeof(pthread_t) <= sizeof(uint64_t), "pthread_t is an address on Linux");
  return static_cast<uint64_t>(pthread_self());
}

}  // namespace pulseengine
