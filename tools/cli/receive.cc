#include "receive.h"

#include "failure.h"
#include "text.h"

namespace cli {

Start parse_start(const std::string& text) {
  if (text == "newest") return {PULSE_START_NEWEST, {0, 0}};
  if (text == "oldest") return {PULSE_START_OLDEST, {0, 0}};
  // Digits alone are a time.
  if (const auto ms = parse_time_ms(text)) return {PULSE_START_TIME, {*ms, 0}};
  pulse_event_id id = {};
  if (pulse_event_id_parse(text.data(), static_cast<int64_t>(text.size()), &id) == PULSE_OK) {
    return {PULSE_START_AFTER, id};
  }
  throw Failure(kExitUsage, "--from: '" + text +
                                "' is not oldest, newest, an id (1700000000000-0), Unix "
                                "milliseconds or a time like 2026-01-02T15:04:05Z");
}

void check_receiving(const pulse_event& event, bool ready, const std::string& what) {
  if (event.kind == PULSE_EVENT_CLOSED) {
    check(event, what);
    throw Failure(kExitFailed, what + ": closed");
  }
  if (event.kind == PULSE_EVENT_READ_ERROR &&
      ((event.flags & PULSE_ERROR_FATAL) || (!ready && !(event.flags & PULSE_ERROR_RETRIABLE)))) {
    check(event, what);
  }
}

}  // namespace cli
