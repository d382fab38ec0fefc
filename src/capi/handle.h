// The handles behind the opaque types of the C API.
//
// A handle counts the references of the host.  When the last one goes, the object behind it
// closes, if it has a life of its own.  Objects hold their engine's handle, so
// that it stays open as long as any of them.
#ifndef PULSE_CAPI_HANDLE_H
#define PULSE_CAPI_HANDLE_H

#include "engine/engine.h"
#include "engine/queue.h"
#include "streaming/stream.h"

struct pulse_engine : pulseengine::RefCounted {
  explicit pulse_engine(pulseengine::Ref<pulseengine::Engine> e) : core(std::move(e)) {}
  ~pulse_engine() override { core->abandon(); }
  const pulseengine::Ref<pulseengine::Engine> core;
};

struct pulse_queue : pulseengine::RefCounted {
  explicit pulse_queue(pulseengine::Ref<pulseengine::Queue> q) : core(std::move(q)) {}
  ~pulse_queue() override { core->abandon(); }
  const pulseengine::Ref<pulseengine::Queue> core;
};

struct pulse_stream : pulseengine::RefCounted {
  pulse_stream(pulseengine::Ref<pulse_engine> e, pulseengine::Ref<pulseengine::Stream> s)
      : engine(std::move(e)), core(std::move(s)) {}
  const pulseengine::Ref<pulse_engine> engine;
  const pulseengine::Ref<pulseengine::Stream> core;
};

namespace pulseengine {

// The bodies of ..._ref and ..._unref.
template <class Handle>
Handle* ref_handle(Handle* handle) noexcept {
  if (handle != nullptr) handle->ref();
  return handle;
}
template <class Handle>
void unref_handle(Handle* handle) noexcept {
  if (handle != nullptr) handle->unref();
}

// What every call on an open object checks first.
inline Error check_engine(const Engine& engine) {
  if (engine.forked()) return Error(PULSE_ERR_FORKED, "the engine belongs to the parent process");
  if (engine.closing())
    return Error(PULSE_ERR_CLOSED, "the engine is closed", PULSE_ERROR_NEVER_SENT);
  return {};
}

// Waits for the operation of a blocking twin: its error, or TIMEOUT after a
// request to cancel it.
Error wait_for(Engine& engine, Operation& operation, Signal& signal, int64_t timeout_ms);

// Begins a blocking call: REENTRANT inside an inline callback.
Error check_may_wait(const Engine& engine);

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

}  // namespace pulseengine

#endif
