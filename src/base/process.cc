#include "base/process.h"

#include <pthread.h>

namespace pulseengine {

std::atomic<uint32_t> process_internal::fork_generation{1};

namespace {
// Registered at load time: no engine is made before.
[[maybe_unused]] const int registered = pthread_atfork(
    nullptr, nullptr, [] { process_internal::fork_generation.fetch_add(1); });
}  // namespace

uint64_t this_thread_id() noexcept {
  static_assert(sizeof(pthread_t) <= sizeof(uint64_t), "pthread_t is an address on Linux");
  return static_cast<uint64_t>(pthread_self());
}

}  // namespace pulseengine
