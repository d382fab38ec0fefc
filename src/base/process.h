// Which process and which thread this is.
#ifndef PULSE_BASE_PROCESS_H
#define PULSE_BASE_PROCESS_H

#include <atomic>
#include <cstdint>

namespace pulseengine {

namespace process_internal {
extern std::atomic<uint32_t> fork_generation;
}

// Changes in a forked child; objects remember the one they were made in.
inline uint32_t fork_generation() noexcept {
  return process_internal::fork_generation.load(std::memory_order_relaxed);
}

// Never 0; different for threads that live at the same time.
uint64_t this_thread_id() noexcept;

}  // namespace pulseengine

#endif
