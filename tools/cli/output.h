// Standard output as lines of JSON, and what an event looks like there.
#ifndef TOOLS_CLI_OUTPUT_H
#define TOOLS_CLI_OUTPUT_H

#include <pulseengine/pulse.h>

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace cli {

using Json = nlohmann::ordered_json;

// Collects lines and writes them out whole.  A line counts as written once all of it was taken by
// the kernel; when nobody reads any more, or the user asks to stop, the rest stays unwritten.
class Output {
 public:
  // Adds a line to what the next flush writes.
  void line(const Json& json);

  // Writes what was added.  Returns how many of the lines added since the last flush were written
  // completely, in order; with fewer than all, `ended` is true.  Throws a Failure on other errors,
  // a full disk for example.
  size_t flush();

  // Nobody reads standard output any more, or writing was interrupted by a stop.
  bool ended() const { return ended_; }

 private:
  std::string buffer_;
  std::vector<size_t> ends_;  // of the lines in buffer_
  bool ended_ = false;
};

// A text member; bytes that are no UTF-8 are replaced, and kept in full beside it as KEY_base64.
void put_text(Json* json, const std::string& key, std::string_view bytes);

// Bytes as KEY when they are UTF-8, else as KEY_base64.
void put_bytes(Json* json, const std::string& key, std::string_view bytes);

// The id as "ms-seq", or null for 0-0.
Json id_or_null(const pulse_event_id& id);

// A PULSE_EVENT_MESSAGE; `deliveries` only in what sinks deliver.
Json event_json(const pulse_event& event);

// An event of a reader or sink that is no message.  Null for those that are not printed.
Json notice_json(const pulse_event& event);

std::string text_of(const char* data, size_t size);

}  // namespace cli

#endif
