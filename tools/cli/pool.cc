#include "pool.h"

#include "failure.h"

namespace cli {

pulse_node_options node_options(const PoolArguments& arguments) {
  pulse_node_options options = PULSE_NODE_OPTIONS_INIT;
  if (!arguments.ttl.empty()) options.worker_ttl_ms = duration_option_ms("--ttl", arguments.ttl);
  if (!arguments.grace.empty()) {
    options.ack_grace_ms = duration_option_ms("--grace", arguments.grace);
  }
  options.routing =
      arguments.routing == "rendezvous" ? PULSE_ROUTING_RENDEZVOUS : PULSE_ROUTING_JUMP;
  return options;
}

pulse_status try_join_pool(Session* session, const PoolArguments& arguments,
                           const pulse_node_options& options, const pulse_target* target,
                           NodeHandle* node, pulse_error* error) {
  pulse_node* joined = nullptr;
  const pulse_status status =
      pulse_node_join_wait(session->engine(), arguments.pool.data(), arguments.pool.size(),
                           &options, target, session->timeout_ms(), &joined, error);
  node->reset(joined);
  return status;
}

NodeHandle join_pool(Session* session, const PoolArguments& arguments, const pulse_target* target) {
  NodeHandle node;
  pulse_error error = PULSE_ERROR_INIT;
  check(try_join_pool(session, arguments, node_options(arguments), target, &node, &error), error,
        "pool '" + arguments.pool + "'");
  return node;
}

std::string node_id(pulse_node* node) {
  char text[27];
  return std::string(text, pulse_node_get_id(node, text, sizeof text));
}

Json text_or_null(std::string_view text) { return text.empty() ? Json(nullptr) : Json(text); }

}  // namespace cli
