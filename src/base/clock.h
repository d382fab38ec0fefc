// The monotonic clock.
#ifndef PULSE_BASE_CLOCK_H
#define PULSE_BASE_CLOCK_H

#include <cstdint>
#include <ctime>

namespace pulseengine {

constexpr int64_t kNever = INT64_MAX;  // a deadline that does not come

inline int64_t monotonic_us() noexcept {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<int64_t>(t.tv_sec) * 1000000 + t.tv_nsec / 1000;
}

inline int64_t monotonic_ms() noexcept { return monotonic_us() / 1000; }

// The point `timeout_ms` from now; negative means for ever.
inline int64_t deadline_after(int64_t timeout_ms) noexcept {
  if (timeout_ms < 0) return kNever;
  int64_t now = monotonic_ms();
  return timeout_ms > kNever - now ? kNever : now + timeout_ms;
}

}  // namespace pulseengine

#endif
