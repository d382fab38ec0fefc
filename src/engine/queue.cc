#include "engine/queue.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>

#include "base/clock.h"

namespace pulseengine {

Queue::~Queue() {
  close();
  if (wakeup_destroy_ != nullptr) wakeup_destroy_(wakeup_user_data_);
  if (fd_ >= 0) ::close(fd_);
}

void Queue::push(Ref<Delivery> delivery) {
  bool wake = false;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!closed_) {
      bool was_empty = polled_.empty() && dispatched_.empty();
      DeliveryList& list = delivery->target().callback() != nullptr ? dispatched_ : polled_;
      list.push(std::move(delivery));
      if (was_empty) {
        update_fd();
        wake = true;
      }
      if (polling_ || dispatching_) changed_.notify_all();
    }
  }
  // A delivery that was refused is dropped here, outside of the lock: its end may call back.
  if (wake && has_wakeup_.load(std::memory_order_acquire)) {
    std::lock_guard<std::mutex> lock(wakeup_mutex_);
    if (wakeup_ != nullptr) wakeup_(wakeup_user_data_);
  }
}

bool Queue::wait_for(std::unique_lock<std::mutex>& lock, const DeliveryList& list,
                     int64_t timeout_ms) {
  auto ready = [&] { return !list.empty() || closed_; };
  if (timeout_ms < 0) {
    changed_.wait(lock, ready);
  } else if (timeout_ms > 0) {
    std::chrono::steady_clock::time_point until{
        std::chrono::milliseconds(deadline_after(timeout_ms))};
    changed_.wait_until(lock, until, ready);
  }
  return !list.empty();
}

int64_t Queue::poll(pulse_event* events, size_t event_size, size_t max, int64_t timeout_ms) {
  std::unique_lock<std::mutex> lock(mutex_);
  if (polling_) return PULSE_ERR_BUSY;
  polling_ = true;
  DeliveryList ended;
  ended.swap(taken_);
  lock.unlock();
  ended.clear();  // the views of the batch before end here
  lock.lock();
  size_t n = 0;
  char* at = reinterpret_cast<char*>(events);
  // A delivery may turn out to be empty, when its sink was closed meanwhile: then wait on.
  int64_t deadline = deadline_after(timeout_ms);
  while (n == 0) {
    int64_t left = timeout_ms <= 0      ? timeout_ms
                   : deadline == kNever ? -1
                                        : std::max<int64_t>(deadline - monotonic_ms(), 0);
    if (!wait_for(lock, polled_, left)) break;
    while (n < max && !polled_.empty()) {
      const size_t got = polled_.front()->next_events(at, event_size, max - n);
      at += got * event_size;
      n += got;
      if (polled_.front()->remaining() == 0) taken_.push(polled_.pop());
    }
  }
  update_fd();
  polling_ = false;
  return n > 0 ? static_cast<int64_t>(n) : closed_ ? PULSE_ERR_CLOSED : 0;
}

int64_t Queue::dispatch(size_t max, int64_t timeout_ms) {
  std::unique_lock<std::mutex> lock(mutex_);
  if (dispatching_) return PULSE_ERR_BUSY;
  dispatching_ = true;
  size_t n = 0;
  size_t limit = max;
  if (wait_for(lock, dispatched_, timeout_ms)) {
    DeliveryList mine;
    // Without a limit: what waits now, not what its callbacks bring.
    if (max == 0) {
      mine.swap(dispatched_);
      limit = SIZE_MAX;
    }
    DeliveryList& list = max == 0 ? mine : dispatched_;
    while (n < limit && !list.empty()) {
      Ref<Delivery> delivery = Ref<Delivery>::share(list.front());
      pulse_event event{};
      event.size = sizeof event;
      event.token = delivery->target().token();
      bool got = delivery->next_event(&event);
      Ref<Delivery> done;
      if (delivery->remaining() == 0) done = list.pop();
      lock.unlock();
      if (got) {
        delivery->target().callback()(&event, delivery->target().user_data());
        n++;
      }
      done = nullptr;
      delivery = nullptr;
      lock.lock();
    }
  }
  update_fd();
  dispatching_ = false;
  return n > 0 ? static_cast<int64_t>(n) : closed_ ? PULSE_ERR_CLOSED : 0;
}

int Queue::fd() {
  std::lock_guard<std::mutex> lock(mutex_);
  if (fd_ < 0) {
    fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    fd_readable_ = false;
    update_fd();
  }
  return fd_;
}

// Level-triggered: readable exactly while something waits.
void Queue::update_fd() {
  if (fd_ < 0) return;
  bool readable = !polled_.empty() || !dispatched_.empty() || closed_;
  if (readable == fd_readable_) return;
  uint64_t value = 1;
  ssize_t rc = readable ? write(fd_, &value, sizeof value) : read(fd_, &value, sizeof value);
  (void)rc;  // an eventfd of our own: neither can fail
  fd_readable_ = readable;
}

void Queue::set_wakeup(void (*wakeup)(void*), void* user_data, pulse_destroy_fn destroy) {
  pulse_destroy_fn old_destroy = nullptr;
  void* old_user_data = nullptr;
  {
    std::lock_guard<std::mutex> lock(wakeup_mutex_);
    old_destroy = wakeup_destroy_;
    old_user_data = wakeup_user_data_;
    wakeup_ = wakeup;
    wakeup_user_data_ = user_data;
    wakeup_destroy_ = destroy;
    has_wakeup_.store(wakeup != nullptr, std::memory_order_release);
  }
  if (old_destroy != nullptr) old_destroy(old_user_data);
}

size_t Queue::size() {
  std::lock_guard<std::mutex> lock(mutex_);
  return polled_.events() + dispatched_.events();
}

void Queue::close() {
  std::lock_guard<std::mutex> lock(mutex_);
  closed_ = true;
  update_fd();
  changed_.notify_all();
}

void Queue::abandon() {
  if (forked()) {
    ref();
    return;
  }
  close();
  DeliveryList polled, dispatched, taken;  // end outside of the lock: they hold this queue
  std::lock_guard<std::mutex> lock(mutex_);
  polled.swap(polled_);
  dispatched.swap(dispatched_);
  if (!polling_) taken.swap(taken_);
}

}  // namespace pulseengine
