#include "engine/delivery.h"

#include "engine/queue.h"

namespace pulseengine {

Target::Target(Ref<Queue> queue, pulse_event_fn callback, void* user_data, pulse_destroy_fn destroy,
               uint64_t token)
    : queue_(std::move(queue)),
      callback_(callback),
      user_data_(user_data),
      destroy_(destroy),
      token_(token) {}

Target::Target(pulse_event_fn callback, void* user_data, Ref<RefCounted> keep)
    : callback_(callback), user_data_(user_data), internal_(true), keep_(std::move(keep)) {}

Target::Target(Target&& other) noexcept
    : queue_(std::move(other.queue_)),
      callback_(std::exchange(other.callback_, nullptr)),
      user_data_(other.user_data_),
      destroy_(std::exchange(other.destroy_, nullptr)),
      token_(other.token_),
      internal_(other.internal_),
      keep_(std::move(other.keep_)) {}

Target& Target::operator=(Target&& other) noexcept {
  std::swap(queue_, other.queue_);
  std::swap(callback_, other.callback_);
  std::swap(user_data_, other.user_data_);
  std::swap(destroy_, other.destroy_);
  std::swap(token_, other.token_);
  std::swap(internal_, other.internal_);
  std::swap(keep_, other.keep_);
  return *this;
}

Target::Target() = default;

Target::~Target() {
  if (destroy_ != nullptr) destroy_(user_data_);
}

bool Target::empty() const { return !queue_ && callback_ == nullptr; }

size_t DeliveryList::events() const {
  size_t n = 0;
  for (Delivery* d = first_; d != nullptr; d = d->next_delivery_) n += d->remaining();
  return n;
}

}  // namespace pulseengine
