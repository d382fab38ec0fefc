#include "engine/signal.h"

#include <chrono>

#include "base/clock.h"

namespace pulseengine {

void Signal::set(const Error& error) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (set_.load(std::memory_order_relaxed)) return;
    error_ = error;
    set_.store(true, std::memory_order_release);
  }
  changed_.notify_all();  // who wakes up needs the lock
}

bool Signal::wait_until(int64_t deadline_ms) {
  std::unique_lock<std::mutex> lock(mutex_);
  auto done = [this] { return set_.load(std::memory_order_relaxed); };
  if (deadline_ms == kNever) {
    changed_.wait(lock, done);
    return true;
  }
  // steady_clock is CLOCK_MONOTONIC, the clock of all deadlines here.
  std::chrono::steady_clock::time_point until{std::chrono::milliseconds(deadline_ms)};
  return changed_.wait_until(lock, until, done);
}

}  // namespace pulseengine
