// What calls on nodes, and on what belongs to them, have in common.
#ifndef PULSE_CAPI_POOL_CALL_H
#define PULSE_CAPI_POOL_CALL_H

#include "capi/call.h"
#include "pool/node.h"

struct pulse_node : pulseengine::RefCounted {
  pulse_node(pulseengine::Ref<pulse_engine> e, pulseengine::Ref<pulseengine::PoolNode> n)
      : engine(std::move(e)), core(std::move(n)) {}
  ~pulse_node() override { core->close(); }
  static constexpr std::string_view kName = "node";
  pulseengine::Error check() const {
    pulseengine::Error error = pulseengine::check_engine(core->engine());
    if (!error.ok() || !core->closed()) return error;
    return pulseengine::Error(PULSE_ERR_CLOSED, "the node is closed", PULSE_ERROR_NEVER_SENT);
  }
  const pulseengine::Ref<pulse_engine> engine;
  const pulseengine::Ref<pulseengine::PoolNode> core;
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

}  // namespace pulseengine

#endif
