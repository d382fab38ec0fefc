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

}  // namespace pulseengine

#endif
