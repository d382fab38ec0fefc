// pulseengine read: prints the events of a stream.

#include <re2/re2.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "failure.h"
#include "output.h"
#include "receive.h"
#include "session.h"
#include "text.h"

namespace cli {
namespace {

bool before(const pulse_event_id& a, const pulse_event_id& b) {
  return pulse_event_id_compare(&a, &b) < 0;
}

// The newest event that exists, or nothing for an empty stream.
std::optional<pulse_event_id> last_id(Session* session, pulse_stream* stream) {
  pulse_stream_info info = {};
  info.size = sizeof info;
  pulse_error error = PULSE_ERROR_INIT;
  check(pulse_stream_info_wait(stream, &info, session->timeout_ms(), &error), error, "read");
  if (!info.exists || info.length == 0) return std::nullopt;
  return info.last_id;
}

// Topic filter as the library's.  Needed here where every event must be seen, wanted or not, to
// know when the end is reached.
class TopicFilter {
 public:
  explicit TopicFilter(const ReceiveArguments& arguments) : arguments_(arguments) {
    if (!arguments.has_pattern) return;
    pattern_ = std::make_unique<RE2>(arguments.pattern, RE2::Quiet);
    if (!pattern_->ok()) throw Failure(kExitUsage, "--pattern: " + pattern_->error());
  }

  bool wants(const pulse_event& event) const {
    if (!arguments_.has_topic && !pattern_) return true;
    if (!event.topic) return false;
    const std::string topic(event.topic, event.topic_len);
    return pattern_ ? RE2::PartialMatch(to_utf8(topic), *pattern_) : topic == arguments_.topic;
  }

 private:
  const ReceiveArguments& arguments_;
  std::unique_ptr<RE2> pattern_;
};

// Prints what a reader delivers until the count, the end or a stop.
class Printer {
 public:
  Printer(Session* session, pulse_stream* stream, const ReadArguments& arguments,
          const TopicFilter& filter)
      : session_(*session), stream_(stream), arguments_(arguments), filter_(filter) {}

  void run() {
    const Start start = parse_start(arguments_.from);
    if (!arguments_.follow) {
      if (start.kind == PULSE_START_AFTER) seen_ = start.id;
      if (start.kind == PULSE_START_TIME && start.id.ms > 0) seen_ = {start.id.ms - 1, UINT64_MAX};
      end_ = last_id(&session_, stream_);
      if (at_end()) {
        out_.line({{"notice", "ready"}});
        out_.flush();
        return;
      }
    }
    open(start);
    const auto deadline =
        std::chrono::steady_clock::now() + std::chrono::milliseconds(session_.timeout_ms());
    while (!finished_) {
      switch (session_.wait(-1, ready_ && arguments_.follow ? -1 : kIdleMs)) {
        case Wake::kQueue:
          take();
          break;
        case Wake::kStop:
        case Wake::kOutputEnded:
          finished_ = true;
          break;
        case Wake::kInput:
        case Wake::kTimeout:
          if (!ready_ && std::chrono::steady_clock::now() > deadline) {
            throw Failure(kExitFailed, "read: not receiving within the time-out");
          }
          if (ready_) look_again();
          break;
      }
    }
    pulse_error error = PULSE_ERROR_INIT;
    check(pulse_reader_close_wait(reader_.get(), session_.timeout_ms(), &error), error, "read");
  }

 private:
  static constexpr int64_t kIdleMs = 250;

  void open(const Start& start) {
    pulse_reader_options options = PULSE_READER_OPTIONS_INIT;
    apply(arguments_, start, &options);
    if (!arguments_.follow) {
      options.topic = options.topic_pattern = nullptr;
      options.topic_len = options.topic_pattern_len = 0;
    }
    const pulse_target target = session_.target();
    pulse_error error = PULSE_ERROR_INIT;
    pulse_reader* reader = nullptr;
    check(pulse_reader_open(stream_, &options, &target, &reader, &error), error, "read");
    reader_.reset(reader);
  }

  bool at_end() const { return !end_ || !before(seen_, *end_); }

  void take() {
    pulse_event events[256];
    const int64_t n = pulse_queue_poll(session_.queue(), events, sizeof events[0], 256, 0);
    for (int64_t i = 0; i < n && !finished_; ++i) {
      const pulse_event& event = events[i];
      if (event.kind != PULSE_EVENT_MESSAGE) {
        out_.flush();
        check_receiving(event, ready_, "read");
      }
      if (event.kind == PULSE_EVENT_READY) ready_ = true;
      if (event.kind == PULSE_EVENT_MESSAGE) {
        message(event);
      } else if (const Json notice = notice_json(event); !notice.is_null()) {
        out_.line(notice);
        if (event.kind == PULSE_EVENT_MALFORMED) see(event.id);
      }
    }
    out_.flush();
    if (out_.ended()) finished_ = true;
  }

  void message(const pulse_event& event) {
    // What came after the start of a read that does not follow is not part of it.
    if (!arguments_.follow && (!end_ || before(*end_, event.id))) {
      finished_ = true;
      return;
    }
    if (arguments_.follow || filter_.wants(event)) {
      out_.line(event_json(event));
      if (++printed_ == arguments_.count) finished_ = true;
    }
    see(event.id);
  }

  void see(const pulse_event_id& id) {
    if (before(seen_, id)) seen_ = id;
    if (!arguments_.follow && at_end()) finished_ = true;
  }

  // Nothing came for a while: the event that was to be the last may have been removed.
  void look_again() {
    const auto last = last_id(&session_, stream_);
    if (!last || (end_ && before(*last, *end_))) end_ = last;
    if (at_end()) finished_ = true;
  }

  Session& session_;
  pulse_stream* stream_;
  const ReadArguments& arguments_;
  const TopicFilter& filter_;
  ReaderHandle reader_;
  Output out_;
  pulse_event_id seen_ = {0, 0};       // everything up to here was delivered
  std::optional<pulse_event_id> end_;  // where a read that does not follow ends
  uint64_t printed_ = 0;
  bool ready_ = false;
  bool finished_ = false;
};

}  // namespace

int read(const GlobalOptions& global, ReadArguments arguments) {
  if (arguments.from.empty()) arguments.from = arguments.follow ? "newest" : "oldest";
  // Nothing that exists at the start is newer than the newest.
  if (arguments.from == "newest") arguments.follow = true;
  parse_start(arguments.from);
  const TopicFilter filter(arguments);
  Session session(global);
  const StreamHandle stream = session.open_stream(arguments.stream);
  Printer(&session, stream.get(), arguments, filter).run();
  session.close();
  return kExitOk;
}

}  // namespace cli
