// What a node or a worker tells the host of itself, with a name.
#ifndef PULSE_POOL_POOL_NOTICE_H
#define PULSE_POOL_POOL_NOTICE_H

#include "engine/delivery.h"

namespace pulseengine {

class PoolNotice final : public Delivery {
 public:
  PoolNotice(Ref<SharedTarget> target, pulse_event_kind kind, int32_t state, std::string_view name)
      : target_(std::move(target)), kind_(kind), state_(state), name_(name) {}

  const Target& target() const override { return target_->target(); }
  size_t remaining() const override { return taken_ ? 0 : 1; }
  bool next_event(pulse_event* event) override {
    if (taken_) return false;
    taken_ = true;
    event->kind = kind_;
    event->state = state_;
    event->name = name_.data();
    event->name_len = name_.size();
    return true;
  }

 private:
  const Ref<SharedTarget> target_;
  const pulse_event_kind kind_;
  const int32_t state_;
  const String name_;
  bool taken_ = false;
};

}  // namespace pulseengine

#endif
