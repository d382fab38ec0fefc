#include "engine/operation.h"

#include <cstring>

#include "engine/engine.h"

namespace pulseengine {

Operation::~Operation() {
  release(message_);
  if (engine_ == nullptr) return;
  // Nobody took the completion: a waiting caller read it, or its queue was closed.
  if (!taken_) engine_->operation_taken();
  if (keeps_engine_) engine_->unref();
}

// Until then whoever holds it is a part of the engine, or inside of a call on one of its handles.
void Operation::leaves_engine() {
  if (engine_ == nullptr || keeps_engine_) return;
  keeps_engine_ = true;
  engine_->ref();
}

bool Operation::complete(const Error& error) {
  if (completed()) return false;
  completed_.store(true, std::memory_order_release);
  set_outcome(error);
  engine_->operation_completed(*this, *this, error);
  return true;
}

bool Operation::complete_early(const Error& error) {
  if (signal_ || target_.empty()) return complete(error);
  Ref<Operation> stand_in;
  try {
    stand_in = make_ref<Operation>(kind_, Target());
  } catch (const std::bad_alloc&) {
    return complete(error);
  }
  if (completed()) return false;
  completed_.store(true, std::memory_order_release);
  stand_in->completed_.store(true, std::memory_order_release);
  stand_in->set_outcome(error);
  stand_in->id_ = id_;
  stand_in->engine_ = engine_;
  stand_in->target_ = std::move(target_);
  taken_ = true;  // the other one counts now
  engine_->operation_completed(*this, *stand_in, error);
  return true;
}

void Operation::set_outcome(const Error& error) {
  status_ = error.code();
  flags_ = error.flags();
  if (!error.ok() && !error.message().empty()) {
    // Without memory for it, the status still tells.
    message_ = static_cast<char*>(try_allocate(error.message().size()));
    if (message_ != nullptr) {
      message_len_ = error.message().size();
      std::memcpy(message_, error.message().data(), message_len_);
    }
  }
}

Error Operation::error() const {
  return Error(status_, {message_ == nullptr ? "" : message_, message_len_}, flags_);
}

void Operation::take() {
  if (taken_) return;
  taken_ = true;
  engine_->operation_taken();
}

bool Operation::next_event(pulse_event* event) {
  if (taken_) return false;
  taken_ = true;
  event->kind = kind_;
  event->status = status_;
  event->flags = flags_;
  event->operation = id_;
  event->count = count;
  event->id = event_id;
  event->results = results.empty() ? nullptr : results.data();
  event->result_count = results.size();
  event->stream_info = stream_info && status_ == PULSE_OK ? &stream_info->value : nullptr;
  event->message = message_;
  event->message_len = message_len_;
  if (engine_ != nullptr) engine_->operation_taken();
  return true;
}

}  // namespace pulseengine
