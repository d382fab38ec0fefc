// What reaches the host: deliveries, and the targets that say where to.
#ifndef PULSE_ENGINE_DELIVERY_H
#define PULSE_ENGINE_DELIVERY_H

#include "base/ref.h"
#include "pulseengine/event.h"

namespace pulseengine {

class Queue;

// A host's pulse_target, taken over: the queue is referenced, and destroy runs
// when the Target goes, once.
class Target {
 public:
  Target() = default;
  Target(Ref<Queue> queue, pulse_event_fn callback, void* user_data, pulse_destroy_fn destroy,
         uint64_t token);
  // One of the engine's own objects, see Engine::deliver; `keep` lives as long as the target.
  Target(pulse_event_fn callback, void* user_data, Ref<RefCounted> keep)
      : callback_(callback), user_data_(user_data), internal_(true), keep_(std::move(keep)) {}
  Target(Target&& other) noexcept
      : queue_(std::exchange(other.queue_, nullptr)),
        callback_(std::exchange(other.callback_, nullptr)),
        user_data_(other.user_data_),
        destroy_(std::exchange(other.destroy_, nullptr)),
        token_(other.token_),
        internal_(other.internal_),
        keep_(std::move(other.keep_)) {}
  Target& operator=(Target&& other) noexcept {
    std::swap(queue_, other.queue_);
    std::swap(callback_, other.callback_);
    std::swap(user_data_, other.user_data_);
    std::swap(destroy_, other.destroy_);
    std::swap(token_, other.token_);
    std::swap(internal_, other.internal_);
    std::swap(keep_, other.keep_);
    return *this;
  }
  ~Target() {
    if (destroy_ != nullptr) destroy_(user_data_);
  }

  // Makes an empty one a host's callback.
  void set_callback(pulse_event_fn callback, void* user_data, pulse_destroy_fn destroy,
                    uint64_t token) {
    callback_ = callback;
    user_data_ = user_data;
    destroy_ = destroy;
    token_ = token;
  }
  bool empty() const { return queue_ == nullptr && callback_ == nullptr; }  // nobody is told
  bool internal() const { return internal_; }
  Queue* queue() const { return queue_; }
  pulse_event_fn callback() const { return callback_; }
  void* user_data() const { return user_data_; }
  uint64_t token() const { return token_; }

 private:
  Queue* queue_ = nullptr;
  pulse_event_fn callback_ = nullptr;
  void* user_data_ = nullptr;
  pulse_destroy_fn destroy_ = nullptr;
  uint64_t token_ = 0;
  bool internal_ = false;
  Ref<RefCounted> keep_;  // the queue, or what the engine's own object needs
};

// The target of an object that delivers many events.
class SharedTarget : public RefCounted {
 public:
  explicit SharedTarget(Target target) : target_(std::move(target)) {}
  const Target& target() const { return target_; }

 private:
  Target target_;
};

// One or more events on their way to one target.  The holder (queue or engine) calls
// next_event until it answers false, keeps the delivery while views are in
// use, and drops its reference.  One thread at a time.
class Delivery : public virtual RefCounted {
 public:
  virtual const Target& target() const = 0;
  // Fills a zeroed event (all but size and token).  False: no more.
  virtual bool next_event(pulse_event* event) = 0;
  // Up to `max` of them at once, into the host's array: elements `stride` bytes apart, each filled
  // whole with its first bytes of that.  Returns how many.
  virtual size_t next_events(char* array, size_t stride, size_t max);
  // How many next_event would still give.
  virtual size_t remaining() const = 0;
  // It goes into a queue of the host, which may live longer than the engine.
  virtual void leaves_engine() {}

 protected:
  // An event of this delivery for an array as above, but for what next_event fills.
  pulse_event blank_event(size_t stride) const;

 private:
  friend class DeliveryList;
  Delivery* next_delivery_ = nullptr;
};

// First in, first out; owns a reference to each.  Not synchronised.  Never allocates.
class DeliveryList {
 public:
  DeliveryList() = default;
  ~DeliveryList() { clear(); }
  DeliveryList(const DeliveryList&) = delete;
  DeliveryList& operator=(const DeliveryList&) = delete;

  bool empty() const { return first_ == nullptr; }
  Delivery* front() const { return first_; }
  size_t events() const;  // that wait in all of them
  void push(Ref<Delivery> delivery) {
    Delivery* d = delivery.release();
    d->next_delivery_ = nullptr;
    if (last_ != nullptr) {
      last_->next_delivery_ = d;
    } else {
      first_ = d;
    }
    last_ = d;
  }
  Ref<Delivery> pop() {
    Delivery* d = first_;
    first_ = d->next_delivery_;
    if (first_ == nullptr) last_ = nullptr;
    d->next_delivery_ = nullptr;
    return Ref<Delivery>::adopt(d);
  }
  void clear() {
    while (!empty()) pop();
  }
  void swap(DeliveryList& other) {
    std::swap(first_, other.first_);
    std::swap(last_, other.last_);
  }

 private:
  Delivery* first_ = nullptr;
  Delivery* last_ = nullptr;
};

}  // namespace pulseengine

#endif
