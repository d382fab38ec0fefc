// What the verbs of worker pools have in common: how they join, and how ids look in JSON.
#ifndef TOOLS_CLI_POOL_H
#define TOOLS_CLI_POOL_H

#include <pulseengine/pulse.h>

#include <string>
#include <string_view>

#include "output.h"
#include "session.h"
#include "verbs.h"

namespace cli {

pulse_node_options node_options(const PoolArguments& arguments);

// Joins the pool and waits until the node takes part; `target` (may be null) gets what the node has
// to say.
pulse_status try_join_pool(Session* session, const PoolArguments& arguments,
                           const pulse_node_options& options, const pulse_target* target,
                           NodeHandle* node, pulse_error* error);

// The same as a full node; a Failure when that cannot be.
NodeHandle join_pool(Session* session, const PoolArguments& arguments,
                     const pulse_target* target = nullptr);

std::string node_id(pulse_node* node);

// An id, or null where it is empty.
Json text_or_null(std::string_view text);

}  // namespace cli

#endif
