// One engine for one run of the tool, and how its verbs wait.
#ifndef TOOLS_CLI_SESSION_H
#define TOOLS_CLI_SESSION_H

#include <pulseengine/pulse.h>

#include <cstdint>
#include <functional>
#include <string>

#include "handles.h"
#include "verbs.h"

namespace cli {

// What ended a wait.
enum class Wake {
  kQueue,        // the queue has something to take
  kInput,        // the input descriptor is readable
  kStop,         // SIGINT or SIGTERM
  kOutputEnded,  // nobody reads standard output any more
  kTimeout,
};

// Requires Signals::install.  The constructor returns when the server has answered.
class Session {
 public:
  explicit Session(const GlobalOptions& options);
  // After a failure, too, sinks hand back what they have and nodes leave their pool.
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  pulse_engine* engine() { return engine_.get(); }
  pulse_queue* queue() { return queue_.get(); }
  int64_t timeout_ms() const { return timeout_ms_; }

  // A target whose events come to the session's queue, with this token.
  pulse_target target(uint64_t token = 0) const;

  StreamHandle open_stream(const std::string& name, const pulse_stream_options* options = nullptr);

  // Joins the map; `target` (may be null) gets its states.
  MapHandle join_map(const std::string& name, const pulse_map_options& options,
                     const pulse_target* target = nullptr);

  // Waits for the queue, or `input_fd` unless it is -1; timeout_ms -1 = for ever.
  Wake wait(int input_fd, int64_t timeout_ms);

  // From here on `wait` tells of neither a stop nor the end of the output: both are known, and what
  // is under way is brought to its end.
  void begin_end() { ending_ = true; }

  // Waits for the one event that a call under way brings, and hands it to `use` (the views
  // end there).  For verbs that make one call.
  void take_one(const std::string& what, const std::function<void(const pulse_event&)>& use);

  // Closes the engine and waits until what is under way has ended.
  void close();

 private:
  int64_t timeout_ms_;
  bool ending_ = false;
  bool closed_ = false;
  EngineHandle engine_;
  QueueHandle queue_;
};

// Parses the value of an option as a positive duration, or throws a Failure that names it.
int64_t duration_option_ms(const std::string& option, const std::string& text);

}  // namespace cli

#endif
