#include "engine/delivery.h"

#include <algorithm>
#include <cstring>

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

pulse_event Delivery::blank_event(size_t stride) const {
  pulse_event event{};
  event.size = std::min(stride, sizeof event);
  event.token = target().token();
  return event;
}

size_t Delivery::next_events(char* array, size_t stride, size_t max) {
  const pulse_event blank = blank_event(stride);
  size_t n = 0;
  for (; n < max; n++) {
    pulse_event event = blank;
    if (!next_event(&event)) break;
    std::memcpy(array + n * stride, &event, event.size);
  }
  return n;
}

size_t DeliveryList::events() const {
  size_t n = 0;
  for (Delivery* d = first_; d != nullptr; d = d->next_delivery_) n += d->remaining();
  return n;
}

}  // namespace pulseengine
