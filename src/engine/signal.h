// Something that happens once and that threads wait for.
#ifndef PULSE_ENGINE_SIGNAL_H
#define PULSE_ENGINE_SIGNAL_H

#include <atomic>
#include <condition_variable>
#include <mutex>

#include "base/error.h"
#include "base/ref.h"

namespace pulseengine {

class Signal : public RefCounted {
 public:
  // The first one counts.  Any thread that has a reference.
  void set(const Error& error);
  bool is_set() const { return set_.load(std::memory_order_acquire); }
  // Only after is_set().
  const Error& error() const { return error_; }
  // False when `deadline_ms` (monotonic) has passed before.
  bool wait_until(int64_t deadline_ms);

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::atomic<bool> set_{false};
  Error error_;
};

}  // namespace pulseengine

#endif
