// The frames of calls on handles: what is checked, how an operation begins, how its blocking twin
// waits for it.
//
// A handle type has `core` with engine(), a `kName` for error texts, and check(): why no call can
// be made on it (closed, forked).
#ifndef PULSE_CAPI_CALL_H
#define PULSE_CAPI_CALL_H

#include "capi/guard.h"
#include "capi/handle.h"

namespace pulseengine {

// Waits for the operation of a blocking twin: its error, or TIMEOUT after a
// request to cancel it.
Error wait_for(Engine& engine, Operation& operation, Signal& signal, int64_t timeout_ms);

template <class Handle>
Error check_handle(const Handle* handle) {
  return handle == nullptr ? null_argument(Handle::kName) : handle->check();
}

// Runs `start(timeout_left_ms, signal, &operation)`, again and again while it answers AGAIN, and
// waits for the operation.  On success *out is the completed operation.
template <class Start>
Error call_and_wait(Engine& engine, int64_t timeout_ms, Ref<Operation>* out, Start start) {
  Error error = check_engine(engine);
  if (error.ok()) error = check_may_wait(engine);
  if (!error.ok()) return error;
  int64_t deadline = deadline_after(timeout_ms);
  for (;;) {
    int64_t left = deadline == kNever ? -1 : std::max<int64_t>(deadline - monotonic_ms(), 0);
    auto signal = make_ref<Signal>();
    // 0 would mean the default deadline; the wait below ends it at once.
    error = start(left == 0 ? 1 : left, signal, out);
    if (error.ok()) return wait_for(engine, **out, *signal, left);
    if (error.code() != PULSE_ERR_AGAIN) return error;
    if (left == 0) return Error(PULSE_ERR_TIMEOUT, error.message(), error.flags());
    // At a limit: room comes with the next completion; a short wait also drives a manual engine.
    engine.wait(*make_ref<Signal>(), 1);
  }
}

// An asynchronous call: start(core, target, &id of the operation).
template <class Handle, class Start>
pulse_status start_with_id(Handle* handle, const pulse_target* target, uint64_t* operation,
                           pulse_error* error, Start start) noexcept {
  return guard(error, [&]() -> Error {
    Target to;
    Error problem = take_target(target, &to);
    if (!problem.ok()) return problem;
    if (handle == nullptr) return null_argument(Handle::kName);
    problem = handle->check();
    if (!problem.ok()) return problem;
    return start(*handle->core, std::move(to), operation);
  });
}
// The same with start(core, target, &operation).
template <class Handle, class Start>
pulse_status start_on(Handle* handle, const pulse_target* target, uint64_t* operation,
                      pulse_error* error, Start start) noexcept {
  return start_with_id(handle, target, operation, error,
                       [&](auto& core, Target&& to, uint64_t* id) -> Error {
                         Ref<Operation> op;
                         Error problem = start(core, std::move(to), &op);
                         if (problem.ok() && id != nullptr) *id = op->id();
                         return problem;
                       });
}

// Its blocking twin: start(core, timeout_left_ms, signal, &operation), then finish(operation) if it
// completed in time, well or not.
template <class Handle, class Start, class Finish>
pulse_status wait_on(Handle* handle, int64_t timeout_ms, pulse_error* error, Start start,
                     Finish finish) noexcept {
  return guard(error, [&]() -> Error {
    if (handle == nullptr) return null_argument(Handle::kName);
    Error problem = handle->check();
    if (!problem.ok()) return problem;
    auto& core = *handle->core;
    Ref<Operation> op;
    problem = call_and_wait(core.engine(), timeout_ms, &op,
                            [&](int64_t left, Ref<Signal> signal, Ref<Operation>* out) {
                              return start(core, left, std::move(signal), out);
                            });
    if (op && op->completed()) finish(*op);
    return problem;
  });
}
template <class Handle, class Start>
pulse_status wait_on(Handle* handle, int64_t timeout_ms, pulse_error* error, Start start) noexcept {
  return wait_on(handle, timeout_ms, error, start, [](Operation&) {});
}

// The results of a call on many items, where the host wants them.  Cut short as a whole, every item
// ended as the operation did, with the id that id_of(i) gives.
template <class IdOf>
void give_results(const Operation& op, size_t count, pulse_result* results, IdOf id_of) {
  if (results == nullptr) return;
  for (size_t i = 0; i < count; i++) {
    results[i] = i < op.results.size() ? op.results[i]
                                       : pulse_result{op.status(), op.error().flags(), id_of(i)};
  }
}

// The bodies of ..._close for objects with a life of their own.
template <class Handle>
pulse_status close_handle(Handle* handle) noexcept {
  return guard(nullptr, [&]() -> Error {
    if (handle == nullptr) return null_argument(Handle::kName);
    Error problem = check_not_forked(handle->core->engine());
    if (problem.ok()) handle->core->close();
    return problem;
  });
}
template <class Handle>
pulse_status close_handle_wait(Handle* handle, int64_t timeout_ms, pulse_error* error) noexcept {
  return guard(error, [&]() -> Error {
    if (handle == nullptr) return null_argument(Handle::kName);
    Engine& engine = handle->core->engine();
    Error problem = check_not_forked(engine);
    if (problem.ok()) problem = check_may_wait(engine);
    if (!problem.ok()) return problem;
    handle->core->close();
    return engine.wait_for(handle->core->closed_signal(), timeout_ms, "not closed yet");
  });
}

}  // namespace pulseengine

#endif
