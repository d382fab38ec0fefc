#include "engine/delivery.h"

#include "engine/queue.h"

namespace pulseengine {

Target::Target(Ref<Queue> queue, pulse_event_fn callback, void* user_data, pulse_destroy_fn destroy,
               uint64_t token)
    : queue_(queue.get()),
      callback_(callback),
      user_data_(user_data),
      destroy_(destroy),
      token_(token),
      keep_(std::move(queue)) {}

size_t DeliveryList::events() const {
  size_t n = 0;
  for (Delivery* d = first_; d != nullptr; d = d->next_delivery_) n += d->remaining();
  return n;
}

}  // namespace pulseengine
