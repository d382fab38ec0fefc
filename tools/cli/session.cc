#include "session.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "failure.h"
#include "signals.h"
#include "text.h"

namespace cli {
namespace {

void log_line(pulse_log_level level, const char* text, size_t size, void*) {
  static const char* const kNames[] = {"", "error", "warning", "info", "debug"};
  const char* name = level >= 1 && level <= 4 ? kNames[level] : "log";
  std::fprintf(stderr, "pulseengine: %s: %.*s\n", name, static_cast<int>(size), text);
}

}  // namespace

int64_t duration_option_ms(const std::string& option, const std::string& text) {
  bool too_long = false;
  if (const auto ms = parse_positive_ms(text, &too_long)) return *ms;
  if (too_long && text[0] != '-') {
    throw Failure(kExitUsage, option + ": '" + text + "' is too large; the largest is 2562047h");
  }
  throw Failure(kExitUsage, option + ": '" + text +
                                "' is no positive duration; write 250ms, 1.5s, 1m30s or 24h");
}

Session::Session(const GlobalOptions& global)
    : timeout_ms_(duration_option_ms("--timeout", global.timeout)) {
  pulse_engine_options options = PULSE_ENGINE_OPTIONS_INIT;
  options.url = global.url.c_str();
  options.client_name = "pulseengine-cli";
  options.key_prefix = global.key_prefix.empty() ? nullptr : global.key_prefix.c_str();
  // An attempt that gets no answer fails before the wait for it ends, and says why.
  options.connect_timeout_ms = std::max<int64_t>(timeout_ms_ - timeout_ms_ / 10, 1);
  options.command_timeout_ms = timeout_ms_;
  options.log = log_line;
  options.log_level = global.verbose ? PULSE_LOG_DEBUG : PULSE_LOG_ERROR;
  pulse_error error = PULSE_ERROR_INIT;
  pulse_queue* queue = nullptr;
  check(pulse_queue_new(&queue, &error), error, "cannot start");
  queue_.reset(queue);
  pulse_engine* engine = nullptr;
  check(pulse_engine_open(&options, &engine, &error), error, "cannot start");
  engine_.reset(engine);
  const pulse_status reached = pulse_engine_ready_wait(engine, timeout_ms_, &error);
  // The URL as such is good: a directory that local: cannot use is no wrong usage.
  if (reached == PULSE_ERR_INVALID) {
    throw Failure(kExitFailed, std::string("cannot reach the server: ") + error.message);
  }
  check(reached, error, "cannot reach the server");
}

Session::~Session() {
  // Whoever waits for the reason of a failure waits for this first.
  constexpr int64_t kPatienceMs = 2000;
  if (!closed_) pulse_engine_close_wait(engine(), std::min(timeout_ms_, kPatienceMs), nullptr);
}

pulse_target Session::target(uint64_t token) const {
  pulse_target target = PULSE_TARGET_INIT;
  target.queue = queue_.get();
  target.token = token;
  return target;
}

StreamHandle Session::open_stream(const std::string& name, const pulse_stream_options* options) {
  pulse_error error = PULSE_ERROR_INIT;
  pulse_stream* stream = nullptr;
  check(pulse_stream_open(engine(), name.data(), name.size(), options, &stream, &error), error,
        "stream '" + name + "'");
  return StreamHandle(stream);
}

MapHandle Session::join_map(const std::string& name, const pulse_map_options& options,
                            const pulse_target* target) {
  pulse_error error = PULSE_ERROR_INIT;
  pulse_map* map = nullptr;
  check(pulse_map_join(engine(), name.data(), name.size(), &options, target, &map, &error), error,
        "map '" + name + "'");
  return MapHandle(map);
}

Wake Session::wait(int input_fd, int64_t timeout_ms) {
  const auto stop = [this] { return !ending_ && Signals::stop_requested(); };
  if (stop()) return Wake::kStop;
  struct pollfd fds[4] = {
      {pulse_queue_fd(queue()), POLLIN, 0},
      {Signals::fd(), POLLIN, 0},
      {ending_ ? -1 : STDOUT_FILENO, 0, 0},  // POLLERR once nobody reads the pipe any more
      {input_fd, POLLIN, 0},
  };
  const int ready = ::poll(fds, 4, timeout_ms < 0 ? -1 : static_cast<int>(timeout_ms));
  if (ready < 0 && errno != EINTR) {
    throw Failure(kExitFailed, std::string("cannot wait: ") + strerror(errno));
  }
  if (fds[1].revents) Signals::drain();
  if (stop()) return Wake::kStop;
  if (ready <= 0) return Wake::kTimeout;
  if (fds[2].revents) return Wake::kOutputEnded;
  if (fds[0].revents) return Wake::kQueue;
  return fds[3].revents ? Wake::kInput : Wake::kTimeout;
}

void Session::take_one(const std::string& what,
                       const std::function<void(const pulse_event&)>& use) {
  pulse_event event = {};
  // The call has a deadline of its own; the second on top is for its answer.
  const int64_t n = pulse_queue_poll(queue(), &event, sizeof event, 1, timeout_ms_ + 1000);
  if (n < 1) throw Failure(kExitFailed, what + ": no answer");
  check(event, what);
  use(event);
}

void Session::close() {
  closed_ = true;
  pulse_error error = PULSE_ERROR_INIT;
  check(pulse_engine_close_wait(engine(), timeout_ms_, &error), error, "cannot close");
}

}  // namespace cli
