// Which process and which thread this is.
#ifndef PULSE_BASE_PROCESS_H
#define PULSE_BASE_PROCESS_H

#include <cstdint>

namespace pulseengine {

// Changes in a forked child; objects remember the one they were made in.
uint32_t fork_generation() noexcept;

// Never 0; different for threads that live at the same time.
uint64_t this_thread_id() noexcept;

}  // namespace pulseengine

#endif
