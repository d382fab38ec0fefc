// What `read` and `sink` have in common: where they start, and which events they want.
#ifndef TOOLS_CLI_RECEIVE_H
#define TOOLS_CLI_RECEIVE_H

#include <pulseengine/pulse.h>

#include <string>

#include "verbs.h"

namespace cli {

struct Start {
  pulse_start kind;
  pulse_event_id id;
};

// "oldest", "newest", an id (after it), Unix ms or RFC 3339 (on or after it).
Start parse_start(const std::string& text);

// Sets start, topic and pattern in the options of a reader or sink.
template <typename Options>
void apply(const ReceiveArguments& arguments, const Start& start, Options* options) {
  options->start = start.kind;
  options->start_id = start.id;
  if (arguments.has_topic) {
    options->topic = arguments.topic.data();
    options->topic_len = arguments.topic.size();
  }
  if (arguments.has_pattern) {
    options->topic_pattern = arguments.pattern.data();
    options->topic_pattern_len = arguments.pattern.size();
  }
}

// Throws a Failure when an event says that receiving has ended for good: an unexpected CLOSED, or
// an error before the first READY that no retry mends.
void check_receiving(const pulse_event& event, bool ready, const std::string& what);

}  // namespace cli

#endif
