// pulseengine ticker: takes part in a ticker of a pool, or stops it on all nodes.

#include <string>

#include "failure.h"
#include "pool.h"
#include "text.h"

namespace cli {
namespace {

int64_t interval_ns(const std::string& text) {
  const std::optional<int64_t> ns = parse_duration(text);
  if (!ns) throw Failure(kExitUsage, "INTERVAL: '" + text + "' is no duration, such as 1.5s");
  return *ns;
}

Json ticker_json(const char* event, std::string_view name) {
  Json json;
  json["event"] = event;
  put_text(&json, "name", name);
  return json;
}

const char* origin(int32_t state) {
  switch (state) {
    case PULSE_TICKER_NEW:
      return "new";
    case PULSE_TICKER_ADOPTED:
      return "adopted";
    default:
      return "replaced";
  }
}

Json event_line(const pulse_event& event) {
  const std::string_view name(event.name, event.name_len);
  Json json;
  switch (event.kind) {
    case PULSE_EVENT_READY:
      json = ticker_json("ready", name);
      json["ticker"] = origin(event.state);
      json["interval_ns"] = event.count;
      break;
    case PULSE_EVENT_TICK:
      json = ticker_json("tick", name);
      json["time_us"] = event.id.ms * 1000 + event.id.seq;
      json["missed"] = event.count;
      break;
    case PULSE_EVENT_TICKER_CHANGED:
      json = ticker_json("changed", name);
      json["interval_ns"] = event.count;
      break;
    case PULSE_EVENT_CLOSED:
      json = ticker_json("closed", name);
      json["reason"] = event.status == PULSE_ERR_SHUTTING_DOWN ? "shutdown"
                       : event.state == PULSE_TICKER_STOPPED   ? "stopped"
                                                               : "here";
      break;
    default:
      break;
  }
  return json;
}

// Prints what comes until the ticker has closed.
void follow(Session* session, pulse_ticker* ticker) {
  Output out;
  for (bool closed = false; !closed;) {
    out.flush();
    bool end = out.ended();
    switch (session->wait(-1, -1)) {
      case Wake::kQueue: {
        pulse_event event = {};
        if (pulse_queue_poll(session->queue(), &event, sizeof event, 1, 0) < 1) break;
        closed = event.kind == PULSE_EVENT_CLOSED;
        if (closed && event.status != PULSE_ERR_SHUTTING_DOWN) check(event, "ticker");
        const Json json = event_line(event);
        if (!json.is_null()) out.line(json);
        break;
      }
      case Wake::kStop:
      case Wake::kOutputEnded:
        end = true;
        break;
      case Wake::kInput:
      case Wake::kTimeout:
        break;
    }
    if (end) {
      session->begin_end();
      pulse_ticker_close(ticker);
    }
  }
  out.flush();
}

int stop(const GlobalOptions& global, const PoolArguments& arguments) {
  pulse_node_options options = node_options(arguments);
  options.client_only = 1;
  Session session(global);
  NodeHandle node;
  pulse_error error = PULSE_ERROR_INIT;
  check(try_join_pool(&session, arguments, options, nullptr, &node, &error), error,
        "pool '" + arguments.pool + "'");
  const pulse_target target = session.target();
  check(pulse_node_stop_ticker(node.get(), arguments.key.data(), arguments.key.size(), &target,
                               nullptr, &error),
        error, "ticker");
  session.take_one("ticker", [&](const pulse_event& event) {
    Json json = ticker_json("stopped", arguments.key);
    json["existed"] = event.count > 0;
    Output out;
    out.line(json);
    out.flush();
  });
  session.close();
  return kExitOk;
}

}  // namespace

int pool_ticker(const GlobalOptions& global, const PoolArguments& arguments) {
  if (arguments.stop) return stop(global, arguments);
  if (arguments.interval.empty()) throw Failure(kExitUsage, "INTERVAL is required");
  const int64_t interval = interval_ns(arguments.interval);
  Session session(global);
  const NodeHandle node = join_pool(&session, arguments);
  pulse_ticker_options options = PULSE_TICKER_OPTIONS_INIT;
  options.catch_up = arguments.catch_up ? 1 : 0;
  const pulse_target target = session.target();
  pulse_error error = PULSE_ERROR_INIT;
  pulse_ticker* opened = nullptr;
  check(pulse_ticker_open(node.get(), arguments.key.data(), arguments.key.size(), interval,
                          &options, &target, &opened, &error),
        error, "ticker");
  const TickerHandle ticker(opened);
  follow(&session, ticker.get());
  check(pulse_node_close_wait(node.get(), session.timeout_ms(), &error), error, "pool");
  session.close();
  return kExitOk;
}

}  // namespace cli
