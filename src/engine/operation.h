// One accepted asynchronous call, from accept to the moment the host took its completion.
#ifndef PULSE_ENGINE_OPERATION_H
#define PULSE_ENGINE_OPERATION_H

#include <atomic>

#include "base/clock.h"
#include "engine/delivery.h"
#include "engine/signal.h"
#include "pulseengine/stream.h"

namespace pulseengine {

class Engine;

// Made by Engine::accept.  Completes exactly once: the first complete() wins,
// be it the result, a cancel, the deadline or the end of the engine; later ones do
// nothing.  complete() is called on the loop thread only.
//
// Classes derived from it may be Commands at the same time.
class Operation : public Delivery {
 public:
  Operation(pulse_event_kind kind, Target&& target) : kind_(kind), target_(std::move(target)) {}
  ~Operation() override;

  uint64_t id() const { return id_; }
  bool completed() const { return completed_.load(std::memory_order_acquire); }

  // The result; set before complete().  Loop thread, then whoever takes the event.
  pulse_event_id event_id{0, 0};
  uint64_t count = 0;
  Vector<pulse_result> results;
  struct StreamInfo : Allocated {
    pulse_stream_info value{};
  };
  Owned<StreamInfo> stream_info;  // of PULSE_EVENT_INFO, made before it is accepted
  // Whether any command of it was given to the socket: tells NEVER_SENT from
  // OUTCOME_UNKNOWN when it is cut short.
  std::atomic<bool> sent_any{false};

  // True if this call completed it.
  bool complete(const Error& error);
  bool complete() { return complete(Error()); }
  // The same while a command of it may still be queued or unanswered, which keeps this object: the
  // host gets another one, so that its target does not have to wait for that.
  bool complete_early(const Error& error);

  // A blocking twin waits on this instead of a target.
  void set_signal(Ref<Signal> signal) { signal_ = std::move(signal); }
  // The blocking twin has seen its end: it does not count any more.
  void take();

  pulse_status status() const { return status_; }
  // The error for a blocking twin; valid once completed.
  Error error() const;

  const Target& target() const override { return target_; }
  bool next_event(pulse_event* event) override;
  size_t remaining() const override { return taken_ ? 0 : 1; }
  void leaves_engine() override;

 private:
  friend class Engine;
  friend class OperationTable;

  void set_outcome(const Error& error);

  const pulse_event_kind kind_;
  pulse_status status_ = PULSE_OK;
  uint32_t flags_ = 0;
  bool taken_ = false;
  std::atomic<bool> completed_{false};
  uint64_t id_ = 0;
  int64_t deadline_ms_ = kNever;
  Target target_;
  Ref<Signal> signal_;
  Engine* engine_ = nullptr;  // since it was accepted
  bool keeps_engine_ = false;
  char* message_ = nullptr;   // of a failure; null when there was no memory for it
  size_t message_len_ = 0;
};

}  // namespace pulseengine

#endif
