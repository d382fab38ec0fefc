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

namespace pulseengine {

inline Error check_not_forked(const Engine& engine) {
  if (!engine.forked()) return {};
  return Error(PULSE_ERR_FORKED, "the engine belongs to the parent process");
}
// What every call on an open object checks first.
inline Error check_engine(const Engine& engine) {
  Error error = check_not_forked(engine);
  if (error.ok() && engine.closing()) {
    return Error(PULSE_ERR_CLOSED, "the engine is closed", PULSE_ERROR_NEVER_SENT);
  }
  return error;
}

}  // namespace pulseengine

struct pulse_engine : pulseengine::RefCounted {
  static constexpr std::string_view kName = "engine";
  explicit pulse_engine(pulseengine::Ref<pulseengine::Engine> e) : core(std::move(e)) {}
  ~pulse_engine() override { core->abandon(); }
  pulseengine::Error check() const { return pulseengine::check_engine(*core); }
  const pulseengine::Ref<pulseengine::Engine> core;
};

struct pulse_queue : pulseengine::RefCounted {
  explicit pulse_queue(pulseengine::Ref<pulseengine::Queue> q) : core(std::move(q)) {}
  ~pulse_queue() override { core->abandon(); }
  const pulseengine::Ref<pulseengine::Queue> core;
};

struct pulse_stream : pulseengine::RefCounted {
  static constexpr std::string_view kName = "stream";
  pulse_stream(pulseengine::Ref<pulse_engine> e, pulseengine::Ref<pulseengine::Stream> s)
      : engine(std::move(e)), core(std::move(s)) {}
  pulseengine::Error check() const { return pulseengine::check_engine(core->engine()); }
  const pulseengine::Ref<pulse_engine> engine;
  const pulseengine::Ref<pulseengine::Stream> core;
};

namespace pulseengine {

// A handle of an object with a life of its own, which ends with the host's last reference.  Self
// has kName.  The parent's handle is kept open.
template <class Self, class Parent, class Core>
struct ObjectHandle : RefCounted {
  ObjectHandle(Ref<Parent> p, Ref<Core> c) : parent(std::move(p)), core(std::move(c)) {}
  ~ObjectHandle() override { core->close(); }
  Error check() const {
    Error error = check_engine(core->engine());
    if (!error.ok() || !core->closed()) return error;
    return Error::make(PULSE_ERR_CLOSED, PULSE_ERROR_NEVER_SENT, "the {} is closed", Self::kName);
  }
  const Ref<Parent> parent;
  const Ref<Core> core;
};

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

// Begins a blocking call: REENTRANT inside an inline callback.
Error check_may_wait(const Engine& engine);

}  // namespace pulseengine

#endif
