// pulseengine map NAME watch: prints the content of a map, then its changes and its states.

#include <string>

#include "failure.h"
#include "map.h"
#include "session.h"
#include "text.h"

namespace cli {
namespace {

const char* op_name(pulse_map_op op) {
  switch (op) {
    case PULSE_MAP_OP_SET:
      return "set";
    case PULSE_MAP_OP_DELETE:
      return "delete";
    case PULSE_MAP_OP_RESET:
      return "reset";
    default:
      return "destroy";
  }
}

void put_bytes_or_null(Json* json, const char* key, const char* data, size_t size) {
  if (data) {
    put_bytes(json, key, {data, size});
  } else {
    (*json)[key] = nullptr;
  }
}

Json change_json(const pulse_event& event) {
  Json json;
  json["op"] = op_name(event.state);
  if (event.name) {
    put_text(&json, "key", {event.name, event.name_len});
  } else {
    json["key"] = nullptr;
  }
  put_bytes_or_null(&json, "value", event.payload, event.payload_len);
  put_bytes_or_null(&json, "old", event.old_value, event.old_value_len);
  json["rev"] = event.revision;
  return json;
}

class Watcher {
 public:
  Watcher(Session* session, const MapArguments& arguments)
      : session_(*session), arguments_(arguments) {
    const pulse_target states = session_.target(kStates);
    map_ = session_.join_map(arguments.map, map_options(arguments), &states);
    pulse_map_watch_options options = PULSE_MAP_WATCH_OPTIONS_INIT;
    options.mode = PULSE_WATCH_DELTAS;
    options.old_values = 1;
    if (arguments.has_key) {
      options.key = arguments.key.data();
      options.key_len = arguments.key.size();
    }
    if (arguments.has_prefix) {
      options.prefix = arguments.prefix.data();
      options.prefix_len = arguments.prefix.size();
    }
    const pulse_target changes = session_.target(kChanges);
    pulse_error error = PULSE_ERROR_INIT;
    pulse_map_watch* watch = nullptr;
    check(pulse_map_watch_open(map_.get(), &options, &changes, &watch, &error), error, "map watch");
    watch_.reset(watch);
  }

  void run() {
    print_state(PULSE_MAP_SYNCING, 0, PULSE_MAP_REASON_NONE, "");
    while (!finished_) {
      out_.flush();
      if (out_.ended()) break;
      switch (session_.wait(-1, -1)) {
        case Wake::kQueue:
          take();
          break;
        case Wake::kStop:
        case Wake::kOutputEnded:
          finished_ = true;
          break;
        case Wake::kInput:
        case Wake::kTimeout:
          break;
      }
    }
    out_.flush();
  }

 private:
  enum Token : uint64_t { kStates, kChanges };

  void take() {
    pulse_event events[256];
    const int64_t n = pulse_queue_poll(session_.queue(), events, sizeof events[0], 256, 0);
    for (int64_t i = 0; i < n && !finished_; ++i) take(events[i]);
  }

  void take(const pulse_event& event) {
    switch (event.kind) {
      case PULSE_EVENT_MAP_CHANGE:
        out_.line(change_json(event));
        if (++printed_ == arguments_.count) finished_ = true;
        break;
      case PULSE_EVENT_MAP_STATE:
        state(event);
        break;
      case PULSE_EVENT_MAP_REWOUND:
        out_.line({{"notice", "rewound"}, {"before", event.count}, {"rev", event.revision}});
        break;
      case PULSE_EVENT_WATCH_STARTED:
      case PULSE_EVENT_WATCH_RESYNC:
        copying_ = true;
        break;
      case PULSE_EVENT_WATCH_CAUGHT_UP:
        // What ends a copy from before the replica got out of step is not worth a line.
        if (!copying_) break;
        copying_ = false;
        told_ = event.revision;
        caught_up_ = true;
        say_synced();
        break;
      case PULSE_EVENT_CLOSED:
        out_.flush();
        check(event, "map watch");
        throw Failure(kExitFailed, "map watch: closed");
      default:
        break;
    }
  }

  void state(const pulse_event& event) {
    if (event.state == PULSE_MAP_SYNCED) {
      synced_ = true;
      revision_ = event.revision;
      say_synced();
      return;
    }
    // "syncing" is printed once for each copy; the watch tells what it brought.
    synced_ = caught_up_ = copying_ = false;
    print_state(event.state, event.revision, static_cast<pulse_map_reason>(event.count),
                text_of(event.message, event.message_len));
  }

  // The replica is in step before all of the differences are told; the line comes behind them.
  void say_synced() {
    if (!synced_ || !caught_up_ || told_ < revision_) return;
    synced_ = false;
    print_state(PULSE_MAP_SYNCED, told_, PULSE_MAP_REASON_NONE, "");
  }

  void print_state(pulse_map_state state, uint64_t revision, pulse_map_reason reason,
                   const std::string& message) {
    Json json;
    json["state"] = map_state_name(state);
    json["rev"] = revision;
    json["reason"] = map_reason_json(reason);
    if (!message.empty()) json["message"] = to_utf8(message);
    out_.line(json);
  }

  Session& session_;
  const MapArguments& arguments_;
  MapHandle map_;
  WatchHandle watch_;
  Output out_;
  bool synced_ = false;     // the replica is, and that was not printed
  uint64_t revision_ = 0;   // at this revision
  bool copying_ = false;    // the watch tells content or differences
  bool caught_up_ = false;  // it has told all, up to told_
  uint64_t told_ = 0;
  uint64_t printed_ = 0;
  bool finished_ = false;
};

}  // namespace

int map_watch(const GlobalOptions& global, const MapArguments& arguments) {
  Session session(global);
  Watcher(&session, arguments).run();
  session.close();
  return kExitOk;
}

}  // namespace cli
