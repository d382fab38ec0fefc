// pulseengine stream info|remove|destroy

#include <memory>
#include <string>
#include <vector>

#include "failure.h"
#include "output.h"
#include "session.h"
#include "verbs.h"

namespace cli {
int stream_info(const GlobalOptions& global, const StreamArguments& arguments) {
  Session session(global);
  const StreamHandle stream = session.open_stream(arguments.stream);
  pulse_stream_info info = {};
  info.size = sizeof info;
  pulse_error error = PULSE_ERROR_INIT;
  check(pulse_stream_info_wait(stream.get(), &info, session.timeout_ms(), &error), error,
        "stream info");
  Json json;
  json["stream"] = arguments.stream;
  json["exists"] = info.exists != 0;
  json["length"] = info.length;
  // Servers before 7.0 do not count.
  const bool counted = info.entries_added > 0 || !info.exists;
  json["entries_added"] = counted ? Json(info.entries_added) : Json(nullptr);
  json["groups"] = info.groups;
  json["ttl_ms"] = info.exists && info.ttl_ms >= 0 ? Json(info.ttl_ms) : Json(nullptr);
  json["first_id"] = id_or_null(info.first_id);
  json["last_id"] = id_or_null(info.last_id);
  json["last_generated_id"] = id_or_null(info.last_generated_id);
  Output out;
  out.line(json);
  out.flush();
  session.close();
  return kExitOk;
}

int stream_remove(const GlobalOptions& global, const StreamArguments& arguments) {
  std::vector<pulse_event_id> ids;
  for (const std::string& text : arguments.ids) {
    pulse_event_id id;
    if (pulse_event_id_parse(text.data(), static_cast<int64_t>(text.size()), &id) != PULSE_OK) {
      throw Failure(kExitUsage, "'" + text + "' is no event id; ids look like 1700000000000-0");
    }
    ids.push_back(id);
  }
  Session session(global);
  const StreamHandle stream = session.open_stream(arguments.stream);
  uint64_t removed = 0;
  pulse_error error = PULSE_ERROR_INIT;
  check(pulse_stream_remove_wait(stream.get(), ids.data(), ids.size(), &removed,
                                 session.timeout_ms(), &error),
        error, "stream remove");
  Output out;
  out.line({{"stream", arguments.stream}, {"removed", removed}});
  out.flush();
  session.close();
  return kExitOk;
}

int stream_destroy(const GlobalOptions& global, const StreamArguments& arguments) {
  Session session(global);
  const StreamHandle stream = session.open_stream(arguments.stream);
  const pulse_target target = session.target();
  pulse_error error = PULSE_ERROR_INIT;
  check(pulse_stream_destroy(stream.get(), &target, nullptr, &error), error, "stream destroy");
  Output out;
  session.take_one("stream destroy", [&](const pulse_event& event) {
    out.line({{"stream", arguments.stream}, {"destroyed", event.count > 0}});
  });
  out.flush();
  session.close();
  return kExitOk;
}

}  // namespace cli
