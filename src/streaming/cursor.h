// Where a reader stands in a stream, and what a look at the stream says about it: whether entries
// were trimmed unread, or the stream was made anew.
#ifndef PULSE_STREAMING_CURSOR_H
#define PULSE_STREAMING_CURSOR_H

#include "streaming/message.h"

namespace pulseengine {

// What the server tells of a stream.
struct StreamState {
  bool exists = false;
  uint64_t length = 0;
  pulse_event_id first{0, 0};  // oldest entry; 0-0 when there is none
  pulse_event_id last_generated{0, 0};
  bool has_added = false;  // Redis 7
  uint64_t added = 0;      // entries ever
};

// How it is asked for.
enum class StreamQuestion : uint8_t {
  script,  // stream_info.lua: payloads stay on the server
  info,    // XINFO STREAM, where scripts are not allowed: it brings the first and the last entry
};

// The script that it needs, if it is one.
const Script* script_of(StreamQuestion how);
void ask_stream_state(CommandWriter& writer, StreamQuestion how, bool eval, std::string_view key);
// Takes the answer to either.
Error parse_stream_state(Reply& reply, StreamState* state);
// The server does not let us ask like this.
bool question_refused(const Error& error);

// What came to light.
struct CursorNews {
  bool recreated = false;  // the stream is another one; reading goes on after the cursor
  bool gap = false;        // entries between `after` and `before` were not read
  uint64_t missing = 0;    // how many; 0: possibly some
  pulse_event_id after{0, 0}, before{0, 0};
};

// Positions count the entries ever added to a stream (entries-added).  The position of the cursor
// is that of the entry at or before it, so `added - position` entries came after it; what of them
// is not there any more was missed.
class Cursor {
 public:
  enum class Start : uint8_t {
    newest,  // resolved from a StreamState
    oldest,  // or at a time: what was there before is of no interest
    after,   // the host has seen what came before
  };

  // Starts at a place that needs no server.
  void start(Start start, const pulse_event_id& id);
  // Starts behind the newest entry.
  void start_newest(const StreamState& state);

  const pulse_event_id& id() const { return id_; }
  // An entry was read, of whatever use it was.
  void advance(const pulse_event_id& id);
  // Entries come although the last look found no stream: true once.
  bool take_vanished();

  // Compares with the stream and corrects itself.
  CursorNews look(const StreamState& state);

 private:
  void first_look(const StreamState& state, bool tail, CursorNews* news);
  void gap(const StreamState& state, uint64_t missing, CursorNews* news);

  pulse_event_id id_{0, 0};
  Start start_ = Start::oldest;
  bool first_ = true;      // no look yet
  bool attached_ = false;  // the stream is known to have reached the cursor
  bool seen_ = false;      // there was an entry with the cursor's id
  bool vanished_ = false;
  bool position_known_ = false;
  uint64_t position_ = 0;
};

}  // namespace pulseengine

#endif
