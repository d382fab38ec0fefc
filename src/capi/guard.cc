#include "capi/guard.h"

#include "capi/call.h"

namespace pulseengine {

Error take_any_target(const pulse_target* given, Target* out) {
  pulse_target target;
  Error error = take_options(given, &target, "pulse_target");
  if (!error.ok()) {
    // Too small or too new a struct: its destroy is where it always was, if it reaches that far.
    if (error.code() == PULSE_ERR_UNKNOWN_OPTION && given->destroy != nullptr) {
      given->destroy(given->user_data);
    }
    return error;
  }
  Ref<Queue> queue = target.queue != nullptr ? target.queue->core : nullptr;
  const bool forked = queue && queue->forked();
  *out = Target(std::move(queue), target.callback, target.user_data, target.destroy, target.token);
  return forked ? Error(PULSE_ERR_FORKED, "the queue belongs to the parent process") : Error();
}

Error take_required_target(const pulse_target* given, Target* out) {
  Error error = take_target(given, out);
  if (error.ok() && out->empty()) {
    return Error(PULSE_ERR_INVALID, "the target must name a queue or a callback");
  }
  return error;
}

Error take_number(std::string_view what, int64_t given, int64_t standard, int64_t least,
                  int64_t most, bool forever, int64_t* out) {
  if (given == 0) {
    *out = standard;
  } else if (given == -1 && forever) {
    *out = -1;
  } else if (given < least || given > most) {
    return Error::make(PULSE_ERR_INVALID, 0, "{} is {}, but must be {} to {}{}", what, given, least,
                       most, forever ? ", or -1" : "");
  } else {
    *out = given;
  }
  return {};
}

Error take_switch(std::string_view what, int32_t given, bool* out) {
  if (given != 0 && given != 1) {
    return Error::make(PULSE_ERR_INVALID, 0, "{} is {}, but must be 0 or 1", what, given);
  }
  *out = given == 1;
  return {};
}

Error no_text(std::string_view what, size_t length) {
  return Error::make(PULSE_ERR_INVALID, 0, "{} is NULL, with a length of {}", what, length);
}

Error check_may_wait(const Engine& engine) {
  if (engine.may_wait()) return {};
  return Error(PULSE_ERR_REENTRANT, "a blocking call inside an inline callback");
}

namespace {
// For a loop that is held up by a callback: the caller gets its answer all the same.
constexpr int64_t kCancelGraceMs = 100;
}  // namespace

Error wait_for(Engine& engine, Operation& operation, Signal& signal, int64_t timeout_ms) {
  pulse_status status = engine.wait(signal, timeout_ms);
  if (status == PULSE_OK) {
    operation.take();
    return operation.error();
  }
  engine.cancel(operation.id());
  if (status != PULSE_ERR_TIMEOUT) {
    return Error(status,
                 status == PULSE_ERR_BUSY ? "another thread runs the engine" : "cannot wait here");
  }
  // Only the loop knows whether it was sent; it also may have completed at the last moment.
  uint32_t outcome = PULSE_ERROR_OUTCOME_UNKNOWN;
  if (engine.wait(signal, kCancelGraceMs) == PULSE_OK) {
    operation.take();
    if (operation.status() != PULSE_ERR_CANCELLED) return operation.error();
    outcome = operation.error().flags();
  }
  return engine.deadline_passed(outcome);
}

}  // namespace pulseengine
