#include "pulseengine/queue.h"

#include "capi/guard.h"
#include "capi/handle.h"

using namespace pulseengine;

extern "C" {

pulse_status pulse_queue_new(pulse_queue** queue, pulse_error* error) noexcept {
  return guard(error, [&]() -> Error {
    if (queue == nullptr) return null_argument("queue");
    *queue = new pulse_queue(make_ref<Queue>());
    return {};
  });
}

int64_t pulse_queue_poll(pulse_queue* queue, pulse_event* events, size_t event_size, size_t max,
                         int64_t timeout_ms) noexcept {
  // The first fields, up to the token, are what a caller needs at the least.
  if (queue == nullptr || events == nullptr || max == 0 ||
      event_size < offsetof(pulse_event, operation)) {
    return PULSE_ERR_INVALID;
  }
  if (queue->core->forked()) return PULSE_ERR_FORKED;
  // A callback or another thread may drop the last handle meanwhile.
  Ref<Queue> core = queue->core;
  return core->poll(events, event_size, max, timeout_ms);
}

int64_t pulse_queue_dispatch(pulse_queue* queue, size_t max, int64_t timeout_ms) noexcept {
  if (queue == nullptr) return PULSE_ERR_INVALID;
  if (queue->core->forked()) return PULSE_ERR_FORKED;
  Ref<Queue> core = queue->core;
  return core->dispatch(max, timeout_ms);
}

int32_t pulse_queue_fd(pulse_queue* queue) noexcept {
  return queue == nullptr || queue->core->forked() ? -1 : queue->core->fd();
}

pulse_status pulse_queue_set_wakeup(pulse_queue* queue, void (*wakeup)(void*), void* user_data,
                                    pulse_destroy_fn destroy) noexcept {
  if (queue == nullptr || queue->core->forked()) {
    if (destroy != nullptr) destroy(user_data);
    return queue == nullptr ? PULSE_ERR_INVALID : PULSE_ERR_FORKED;
  }
  queue->core->set_wakeup(wakeup, user_data, destroy);
  return PULSE_OK;
}

size_t pulse_queue_size(pulse_queue* queue) noexcept {
  return queue == nullptr || queue->core->forked() ? 0 : queue->core->size();
}

pulse_status pulse_queue_close(pulse_queue* queue) noexcept {
  if (queue == nullptr) return PULSE_ERR_INVALID;
  if (queue->core->forked()) return PULSE_ERR_FORKED;
  queue->core->close();
  return PULSE_OK;
}

pulse_queue* pulse_queue_ref(pulse_queue* queue) noexcept { return ref_handle(queue); }
void pulse_queue_unref(pulse_queue* queue) noexcept { unref_handle(queue); }

}  // extern "C"
