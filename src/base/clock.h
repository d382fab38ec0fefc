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

// The same, up to 10 ms later where that is less than a hundredth, for a fraction of the price.
inline int64_t rough_deadline_after(int64_t timeout_ms) noexcept {
  constexpr int64_t kTickMs = 10;  // that clock lags behind by at most so much
  if (timeout_ms < 100 * kTickMs) return deadline_after(timeout_ms);
  timespec t;
  clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
  const int64_t now = static_cast<int64_t>(t.tv_sec) * 1000 + t.tv_nsec / 1000000 + kTickMs;
  return timeout_ms > kNever - now ? kNever : now + timeout_ms;
}

}  // namespace pulseengine

#endif
