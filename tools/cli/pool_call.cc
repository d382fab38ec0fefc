// pulseengine dispatch|stop|notify|shutdown: one call to a pool, and what has become of it.

#include <chrono>
#include <functional>
#include <string>

#include "failure.h"
#include "input.h"
#include "pool.h"
#include "text.h"

namespace cli {
namespace {

using Clock = std::chrono::steady_clock;
using Start = std::function<pulse_status(pulse_node*, const pulse_target*, pulse_error*)>;

// What a call has come to: the event's, which ends with the queue's next poll.
struct Outcome {
  pulse_status status = PULSE_OK;
  uint32_t flags = 0;
  std::string error;
  uint64_t count = 0;
};

struct Call {
  const char* verb;
  const char* done;  // the result when all went well
  bool client_only;
  Start start;
};

// The word for an outcome, or null for those that are failures of the tool.
const char* result_name(const Outcome& outcome, const char* done) {
  switch (outcome.status) {
    case PULSE_OK:
      return done;
    case PULSE_ERR_REFUSED:
      return "refused";
    case PULSE_ERR_EXISTS:
      return "exists";
    case PULSE_ERR_QUEUE_FULL:
      return "full";
    case PULSE_ERR_NO_POOL:
      return "no_pool";
    case PULSE_ERR_SHUTTING_DOWN:
      return "shutting_down";
    default:
      return outcome.flags & PULSE_ERROR_OUTCOME_UNKNOWN ? "unknown" : nullptr;
  }
}

// Waits for the call's event; SIGINT and SIGTERM end the wait, not the call.
Outcome take_outcome(Session* session) {
  for (;;) {
    switch (session->wait(-1, -1)) {
      case Wake::kQueue: {
        pulse_event event = {};
        if (pulse_queue_poll(session->queue(), &event, sizeof event, 1, 0) < 1) break;
        return {event.status, event.flags, text_of(event.message, event.message_len), event.count};
      }
      case Wake::kStop:
      case Wake::kOutputEnded:
        return {PULSE_ERR_CANCELLED, PULSE_ERROR_OUTCOME_UNKNOWN, "interrupted", 0};
      case Wake::kInput:
      case Wake::kTimeout:
        break;
    }
  }
}

int run(const GlobalOptions& global, const PoolArguments& arguments, const Call& call) {
  pulse_node_options options = node_options(arguments);
  options.client_only = call.client_only ? 1 : 0;
  Session session(global);
  NodeHandle node;
  pulse_error error = PULSE_ERROR_INIT;
  Outcome outcome;
  outcome.status = try_join_pool(&session, arguments, options, nullptr, &node, &error);
  Clock::time_point began = Clock::now();
  if (outcome.status == PULSE_OK) {
    const pulse_target target = session.target();
    began = Clock::now();
    check(call.start(node.get(), &target, &error), error, call.verb);
    outcome = take_outcome(&session);
  } else {
    outcome.error = error.message;
  }
  const std::chrono::duration<double, std::milli> took = Clock::now() - began;
  const char* result = result_name(outcome, call.done);
  if (!result) {
    pulse_event event = {};
    event.status = outcome.status;
    event.flags = outcome.flags;
    event.message = outcome.error.data();
    event.message_len = outcome.error.size();
    check(event, call.verb);
  }
  const bool ok = outcome.status == PULSE_OK;
  if (!ok && outcome.error.empty()) outcome.error = pulse_status_message(outcome.status);
  Json json;
  json["result"] = result;
  json["error"] = ok ? Json(nullptr) : Json(to_utf8(outcome.error));
  json["ms"] = static_cast<double>(static_cast<int64_t>(took.count() * 1000)) / 1000;
  if (ok && outcome.count > 0) json["silent_nodes"] = outcome.count;
  Output out;
  out.line(json);
  out.flush();
  session.close();
  return ok ? kExitOk : kExitFailed;
}

}  // namespace

int pool_dispatch(const GlobalOptions& global, const PoolArguments& arguments) {
  const std::string payload = payload_of(arguments.payload);
  return run(global, arguments,
             {"dispatch", "started", true,
              [&](pulse_node* node, const pulse_target* target, pulse_error* error) {
                return pulse_node_dispatch(node, arguments.key.data(), arguments.key.size(),
                                           payload.data(), payload.size(), target, nullptr, error);
              }});
}

int pool_stop(const GlobalOptions& global, const PoolArguments& arguments) {
  return run(global, arguments,
             {"stop", "requested", true,
              [&](pulse_node* node, const pulse_target* target, pulse_error* error) {
                return pulse_node_stop_job(node, arguments.key.data(), arguments.key.size(), target,
                                           nullptr, error);
              }});
}

int pool_notify(const GlobalOptions& global, const PoolArguments& arguments) {
  const std::string payload = payload_of(arguments.payload);
  return run(global, arguments,
             {"notify", "requested", true,
              [&](pulse_node* node, const pulse_target* target, pulse_error* error) {
                return pulse_node_notify(node, arguments.key.data(), arguments.key.size(),
                                         payload.data(), payload.size(), target, nullptr, error);
              }});
}

int pool_shutdown(const GlobalOptions& global, const PoolArguments& arguments) {
  return run(global, arguments,
             {"shutdown", "shut_down", false,
              [](pulse_node* node, const pulse_target* target, pulse_error* error) {
                return pulse_node_shutdown(node, target, nullptr, error);
              }});
}

}  // namespace cli
