// The queue behind pulse_queue.
#ifndef PULSE_ENGINE_QUEUE_H
#define PULSE_ENGINE_QUEUE_H

#include <atomic>
#include <condition_variable>
#include <mutex>

#include "base/process.h"
#include "engine/delivery.h"
#include "pulseengine/queue.h"

namespace pulseengine {

// Deliveries wait in two lists, for poll and for dispatch.  Any thread; one
// thread at a time polls, and one dispatches.
//
// In a forked child nothing may be called but forked() and abandon(): a thread that is not there
// may hold the lock, and what is done to the descriptor is done to the parent's.
class Queue final : public RefCounted {
 public:
  Queue() : fork_generation_(fork_generation()) {}

  // Dropped when closed.  Never allocates.
  void push(Ref<Delivery> delivery);

  int64_t poll(pulse_event* events, size_t event_size, size_t max, int64_t timeout_ms);
  int64_t dispatch(size_t max, int64_t timeout_ms);
  int fd();
  void set_wakeup(void (*wakeup)(void*), void* user_data, pulse_destroy_fn destroy);
  size_t size();
  void close();
  // The host has let go of it: nobody can take what waits.  In a forked child it just stays.
  void abandon();
  bool forked() const { return fork_generation() != fork_generation_; }

 private:
  ~Queue() override;

  // Waits until `list` has something.  False: closed and empty, or time is up.
  bool wait_for(std::unique_lock<std::mutex>& lock, const DeliveryList& list, int64_t timeout_ms);
  void update_fd();

  LiveObject live_;
  const uint32_t fork_generation_;
  std::mutex mutex_;
  std::condition_variable changed_;
  DeliveryList polled_;  // guarded by mutex_, as all below
  DeliveryList dispatched_;
  bool closed_ = false;
  bool polling_ = false;
  bool dispatching_ = false;
  int fd_ = -1;
  bool fd_readable_ = false;

  DeliveryList taken_;  // of the last poll, whose views are in use; the polling thread's

  std::mutex wakeup_mutex_;  // held while the wake-up runs; taken before mutex_ never
  void (*wakeup_)(void*) = nullptr;
  void* wakeup_user_data_ = nullptr;
  pulse_destroy_fn wakeup_destroy_ = nullptr;
  std::atomic<bool> has_wakeup_{false};
};

}  // namespace pulseengine

#endif
