// pulseengine sink: takes part in handling a stream's events, by printing them or with a command.

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "command.h"
#include "failure.h"
#include "output.h"
#include "receive.h"
#include "session.h"

namespace cli {
namespace {

using Clock = std::chrono::steady_clock;

// One run of the verb.
class Worker {
 public:
  Worker(Session* session, pulse_stream* stream, const SinkArguments& arguments)
      : session_(*session), arguments_(arguments), acks_(!arguments.leave && !arguments.no_ack) {
    open(stream);
  }

  // Returns when the count is reached, a stop is asked for, or nobody reads the output; what was
  // not acked by then is handed back.
  int run() {
    const Clock::time_point deadline = after(session_.timeout_ms());
    while (!finished_) {
      switch (session_.wait(-1, wait_ms())) {
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
      release_due();
      if (!ready_ && Clock::now() > deadline) {
        throw Failure(kExitFailed, "sink: not receiving within the time-out");
      }
    }
    close();
    return unconfirmed_ > 0 ? kExitFailed : kExitOk;
  }

 private:
  enum Token : uint64_t { kDelivery = 0, kAnswer = 1 };

  // With a command events are taken in small portions: others can have what waits here.
  static constexpr int64_t kCommandBuffer = 8;
  static constexpr int64_t kFirstRetryMs = 250;
  static constexpr int64_t kLastRetryMs = 30000;

  static Clock::time_point after(int64_t ms) {
    return Clock::now() + std::chrono::milliseconds(ms);
  }

  void open(pulse_stream* stream) {
    pulse_sink_options options = PULSE_SINK_OPTIONS_INIT;
    apply(arguments_, parse_start(arguments_.from), &options);
    options.no_ack = arguments_.no_ack ? 1 : 0;
    if (!arguments_.grace.empty()) {
      options.ack_grace_ms = duration_option_ms("--grace", arguments_.grace);
    }
    // Who never acks wants to see more than the usual number of unacked events.
    if (arguments_.leave) options.max_pending = PULSE_UNLIMITED;
    if (!arguments_.command.empty()) options.buffer = options.max_polled = kCommandBuffer;
    const pulse_target target = session_.target(kDelivery);
    pulse_error error = PULSE_ERROR_INIT;
    pulse_sink* sink = nullptr;
    check(pulse_sink_open(stream, arguments_.group.data(), arguments_.group.size(), &options,
                          &target, &sink, &error),
          error, "sink");
    sink_.reset(sink);
  }

  int64_t wait_ms() const {
    int64_t ms = ready_ ? -1 : 250;
    if (!retries_.empty()) {
      const auto left = retries_.begin()->first - Clock::now();
      const int64_t due = std::max<int64_t>(
          0, std::chrono::duration_cast<std::chrono::milliseconds>(left).count() + 1);
      ms = ms < 0 ? due : std::min(ms, due);
    }
    return ms;
  }

  void take() {
    pulse_event events[256];
    const size_t max = arguments_.command.empty() ? 256 : 1;
    const int64_t n = pulse_queue_poll(session_.queue(), events, sizeof events[0], max, 0);
    for (int64_t i = 0; i < n; ++i) {
      // Answers count behind the last event that is wanted, too.
      if (!answer(events[i]) && !finished_) use(events[i]);
    }
    flush();
  }

  void use(const pulse_event& event) {
    if (event.kind != PULSE_EVENT_MESSAGE) {
      flush();
      check_receiving(event, ready_, "sink");
      if (event.kind == PULSE_EVENT_READY) ready_ = true;
      const Json notice = notice_json(event);
      if (!notice.is_null()) add_line(notice, nullptr);
      return;
    }
    if (!arguments_.command.empty()) {
      handle(event);
      return;
    }
    add_line(event_json(event), &event.ack);
    count();
  }

  // Runs the command; acks the event or puts it off.
  void handle(const pulse_event& event) {
    const CommandResult result = run_command(arguments_.command, event);
    if (result.ok) {
      // Handled is handled, whether or not the line can still be written.
      add_line(event_json(event), nullptr);
      ack({event.ack});
      count();
      return;
    }
    int64_t delay = kFirstRetryMs;
    for (uint64_t i = 1; i < event.deliveries && delay < kLastRetryMs; ++i) delay *= 2;
    delay = std::min(delay, kLastRetryMs);
    Json notice = {{"notice", "exec_failed"}, {"id", id_or_null(event.id)}};
    notice["exit_status"] = result.exit_status >= 0 ? Json(result.exit_status) : Json(nullptr);
    if (result.signal_number) notice["signal"] = result.signal_number;
    notice["deliveries"] = event.deliveries;
    notice["retry_ms"] = delay;
    add_line(notice, nullptr);
    // Ours until then, so that no other instance runs into the same failure at once.
    retries_.emplace(after(delay), event.ack);
  }

  void release_due() {
    std::vector<pulse_ack_handle> due;
    const Clock::time_point now = Clock::now();
    while (!retries_.empty() && retries_.begin()->first <= now) {
      due.push_back(retries_.begin()->second);
      retries_.erase(retries_.begin());
    }
    if (due.empty()) return;
    const pulse_target target = session_.target(kAnswer);
    pulse_error error = PULSE_ERROR_INIT;
    check(pulse_sink_release(sink_.get(), due.data(), due.size(), &target, nullptr, &error), error,
          "sink: release");
    ++unconfirmed_;
  }

  void add_line(const Json& json, const pulse_ack_handle* handle) {
    out_.line(json);
    lines_.emplace_back(handle != nullptr, handle ? *handle : pulse_ack_handle{});
  }

  void count() {
    if (++handled_ == arguments_.count) finished_ = true;
  }

  // Writes the lines, and acks the events whose lines were written.
  void flush() {
    const size_t written = out_.flush();
    std::vector<pulse_ack_handle> handles;
    for (size_t i = 0; i < written; ++i) {
      if (lines_[i].first) handles.push_back(lines_[i].second);
    }
    lines_.clear();
    if (!handles.empty()) ack(handles);
    if (out_.ended()) finished_ = true;
  }

  void ack(const std::vector<pulse_ack_handle>& handles) {
    if (!acks_) return;
    const pulse_target target = session_.target(kAnswer);
    pulse_error error = PULSE_ERROR_INIT;
    check(pulse_sink_ack(sink_.get(), handles.data(), handles.size(), &target, nullptr, &error),
          error, "sink: ack");
    ++unconfirmed_;
  }

  // Whether the event was the answer to an ack or a release.
  bool answer(const pulse_event& event) {
    if (event.token != kAnswer) return false;
    --unconfirmed_;
    if (event.status != PULSE_OK && event.status != PULSE_ERR_NOT_OWNER) check(event, "sink: ack");
    for (size_t i = 0; i < event.result_count; ++i) {
      if (event.results[i].status != PULSE_ERR_NOT_OWNER) continue;
      add_line({{"notice", "not_owner"}, {"id", id_or_null(event.results[i].id)}}, nullptr);
    }
    return true;
  }

  // Hands back what is not acked, and waits for the acks under way.
  void close() {
    pulse_sink_close(sink_.get());
    const Clock::time_point deadline = after(session_.timeout_ms() + 1000);
    bool closed = false;
    while ((!closed || unconfirmed_ > 0) && Clock::now() < deadline) {
      pulse_event events[256];
      const int64_t n = pulse_queue_poll(session_.queue(), events, sizeof events[0], 256, 250);
      for (int64_t i = 0; i < n; ++i) {
        if (!answer(events[i]) && events[i].kind == PULSE_EVENT_CLOSED) closed = true;
      }
    }
    flush();
    if (!closed) throw Failure(kExitFailed, "sink: could not close in time");
  }

  Session& session_;
  const SinkArguments& arguments_;
  const bool acks_;
  SinkHandle sink_;
  Output out_;
  // For each line since the last flush: whether it is acked once written, and with what.
  std::vector<std::pair<bool, pulse_ack_handle>> lines_;
  std::multimap<Clock::time_point, pulse_ack_handle> retries_;  // failed events, by when
  uint64_t unconfirmed_ = 0;  // acks and releases whose answer is still to come
  uint64_t handled_ = 0;
  bool ready_ = false;
  bool finished_ = false;
};

}  // namespace

int sink(const GlobalOptions& global, SinkArguments arguments) {
  if (arguments.from.empty()) arguments.from = "newest";
  parse_start(arguments.from);
  if (!arguments.grace.empty()) duration_option_ms("--grace", arguments.grace);
  Session session(global);
  const StreamHandle stream = session.open_stream(arguments.stream);
  const int code = Worker(&session, stream.get(), arguments).run();
  session.close();
  return code;
}

}  // namespace cli
