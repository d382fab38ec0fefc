#include "program.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "support.h"

namespace faults {
namespace {

size_t taken(int64_t count) {
  if (count >= 0) return static_cast<size_t>(count);
  fprintf(stderr, "worker: poll: %s\n", pulse_status_name(static_cast<pulse_status>(count)));
  exit(1);
}

}  // namespace

Program::Program(const Arguments& arguments)
    : arguments_(arguments),
      journal_(arguments.text("journal")),
      random_(static_cast<uint64_t>(arguments.number("seed"))) {
  const std::string url = arguments.text("url");
  const std::string client = arguments.text("client");
  pulse_engine_options options = PULSE_ENGINE_OPTIONS_INIT;
  options.url = url.c_str();
  options.client_name = client.c_str();
  options.driver = arguments.text("driver") == "manual" ? PULSE_DRIVER_MANUAL : PULSE_DRIVER_THREAD;
  options.connect_timeout_ms = TS_DEADLINE_MS / 4;
  options.command_timeout_ms = arguments.number("command_timeout_ms");
  options.reconnect_max_ms = 200;
  manual_ = options.driver == PULSE_DRIVER_MANUAL;
  must(pulse_queue_new(&queue_, nullptr), "queue");
  must(pulse_engine_open(&options, &engine_, nullptr), "engine");
  fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK);
}

int Program::run() {
  while (take_orders()) work();
  pulse_status status = finish();
  const pulse_status closed = pulse_engine_close_wait(engine_, TS_DEADLINE_MS, nullptr);
  if (status == PULSE_OK) status = closed;
  pulse_engine_unref(engine_);
  pulse_queue_unref(queue_);
  journal_.line("Z %d", status);
  journal_.flush();
  return status == PULSE_OK ? 0 : 1;
}

void Program::must(pulse_status status, const char* what) {
  if (status == PULSE_OK) return;
  fprintf(stderr, "worker: %s: %s\n", what, pulse_status_name(status));
  exit(1);
}

pulse_target Program::target(uint64_t token) const {
  pulse_target target = PULSE_TARGET_INIT;
  target.queue = queue_;
  target.token = token;
  return target;
}

size_t Program::poll(pulse_event* events, size_t max, int64_t timeout_ms) {
  if (!manual_) return taken(pulse_queue_poll(queue_, events, sizeof *events, max, timeout_ms));
  drive(0);
  const size_t count = taken(pulse_queue_poll(queue_, events, sizeof *events, max, 0));
  if (count > 0 || timeout_ms == 0) return count;
  drive(timeout_ms);
  return taken(pulse_queue_poll(queue_, events, sizeof *events, max, 0));
}

void Program::idle() {
  if (manual_) {
    drive(kIdleMs);
  } else {
    ts_pause_ms(kIdleMs);
  }
}

void Program::drive(int64_t timeout_ms) {
  if (timeout_ms > 0) {
    const int64_t next = pulse_engine_poll_timeout_ms(engine_);
    if (next >= 0) timeout_ms = std::min(timeout_ms, next);
    pollfd fd = {pulse_engine_poll_fd(engine_), POLLIN, 0};
    ::poll(&fd, 1, static_cast<int>(timeout_ms));
  }
  const int64_t status = pulse_engine_run_once(engine_, 0, 0);
  if (status < 0) must(static_cast<pulse_status>(status), "run_once");
}

bool Program::take_orders() {
  char buffer[256];
  const ssize_t n = read(STDIN_FILENO, buffer, sizeof buffer);
  if (n == 0) return false;
  if (n > 0) orders_.append(buffer, static_cast<size_t>(n));
  for (size_t end; (end = orders_.find('\n')) != std::string::npos; orders_.erase(0, end + 1)) {
    const std::string order = orders_.substr(0, end);
    if (order == "pause") {
      paused_ = true;
    } else if (order == "go") {
      paused_ = false;
    } else {
      ordered(order);
    }
  }
  return true;
}

}  // namespace faults
