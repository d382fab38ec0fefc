// What calls on nodes, and on what belongs to them, have in common.
#ifndef PULSE_CAPI_POOL_CALL_H
#define PULSE_CAPI_POOL_CALL_H

#include "capi/call.h"
#include "pool/node.h"

struct pulse_node : pulseengine::ObjectHandle<pulse_node, pulse_engine, pulseengine::PoolNode> {
  using ObjectHandle::ObjectHandle;
  static constexpr std::string_view kName = "node";
};

namespace pulseengine {

Error take_job_key(const char* key, size_t key_len, std::string_view* out);
Error take_payload(const PoolNode& node, const void* payload, size_t payload_len,
                   std::string_view* out);

// Gives an object to its node.  One that the node does not take ends without a word: the call that
// made it fails.
template <class Core, class Add>
Error add_or_forget(Core& core, Add add) {
  try {
    Error error = add();
    if (!error.ok()) core.never_began();
    return error;
  } catch (const std::bad_alloc&) {
    core.never_began();
    throw;
  }
}

inline Engine& engine_of(const pulse_engine* engine) { return *engine->core; }
inline Engine& engine_of(const pulse_node* node) { return node->core->engine(); }

// The bodies of ..._open and ..._open_wait: open(target, &handle).  take_to: take_target or
// take_required_target.  The target is taken over whatever happens.
template <class Handle, class Open>
pulse_status open_handle(Error (*take_to)(const pulse_target*, Target*), const pulse_target* target,
                         Handle** out, pulse_error* error, Open open) noexcept {
  return guard(error, [&]() -> Error {
    Target to;
    Error problem = take_to(target, &to);
    if (problem.ok() && out == nullptr) problem = null_argument(Handle::kName);
    if (!problem.ok()) return problem;
    Ref<Handle> handle;
    problem = open(std::move(to), &handle);
    if (problem.ok()) *out = handle.release();
    return problem;
  });
}
template <class Parent, class Handle, class Open>
pulse_status open_handle_wait(const Parent* parent, Error (*take_to)(const pulse_target*, Target*),
                              const pulse_target* target, int64_t timeout_ms, Handle** out,
                              pulse_error* error, const char* not_yet, Open open) noexcept {
  return open_handle(take_to, target, out, error, [&](Target to, Ref<Handle>* handle) -> Error {
    Error problem = check_handle(parent);
    if (problem.ok()) problem = check_may_wait(engine_of(parent));
    if (problem.ok()) problem = open(std::move(to), handle);
    if (!problem.ok()) return problem;
    return engine_of(parent).wait_for((*handle)->core->ready_signal(), timeout_ms, not_yet);
  });
}

}  // namespace pulseengine

#endif
