// What objects tell the host of themselves, and how they learn what the host took.
#ifndef PULSE_ENGINE_NOTICE_H
#define PULSE_ENGINE_NOTICE_H

#include "base/error.h"
#include "engine/delivery.h"

namespace pulseengine {

// Who delivers and wants to know what the host took: a reader, a sink, a watch.
class Deliverer : public virtual RefCounted {
 public:
  // The host took so many events, of `bytes` together.  Any thread.
  virtual void events_taken(size_t count, uint64_t bytes) = 0;
  // Nothing more is to be delivered: close was called.  Any thread.
  virtual bool withdrawn() const = 0;
  virtual uint64_t handle_id() const = 0;  // for ack handles; 0: none
};

// A notice or a state of an object: one event.  The text fields are kept in the object.
// With an owner it is not delivered any more once that is withdrawn (all but CLOSED).
class Notice : public Delivery {
 public:
  Notice(Ref<SharedTarget> target, pulse_event_kind kind, std::string_view source = {});

  Error error;  // status, flags, message
  pulse_event_id id{0, 0}, id_end{0, 0};
  uint64_t count = 0;
  uint64_t revision = 0;
  int32_t state = 0;
  Ref<Deliverer> owner;

  const Target& target() const override { return target_->target(); }
  bool next_event(pulse_event* event) override;
  size_t remaining() const override { return taken_ || (owner && owner->withdrawn()) ? 0 : 1; }

 private:
  Ref<SharedTarget> target_;
  const pulse_event_kind kind_;
  const String source_;
  bool taken_ = false;
};

}  // namespace pulseengine

#endif
