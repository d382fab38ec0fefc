#include "signals.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "failure.h"

namespace cli {
namespace {

int pipe_fds[2] = {-1, -1};
volatile sig_atomic_t stop = 0;
volatile sig_atomic_t child_group = 0;
volatile sig_atomic_t child_ended = 0;
struct timespec first_stop;

void on_signal(int number) {
  const int saved = errno;
  if (number == SIGCHLD) {
    child_ended = 1;
  } else {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (!stop) {
      first_stop = now;
      stop = 1;
    } else if (now.tv_sec - first_stop.tv_sec >= 2 ||
               (now.tv_sec - first_stop.tv_sec == 1 && now.tv_nsec >= first_stop.tv_nsec)) {
      // Not sooner: `timeout` and supervisors may send the same signal twice in a row.
      if (child_group > 0) kill(-child_group, SIGKILL);
      _exit(kExitFailed);
    }
  }
  const char byte = 0;
  // A full pipe is readable already.
  if (write(pipe_fds[1], &byte, 1) < 0) errno = saved;
  errno = saved;
}

}  // namespace

void Signals::install() {
  if (pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK) != 0) {
    throw Failure(kExitFailed, std::string("cannot make a pipe: ") + strerror(errno));
  }
  struct sigaction action = {};
  action.sa_handler = on_signal;
  sigemptyset(&action.sa_mask);
  sigaddset(&action.sa_mask, SIGINT);
  sigaddset(&action.sa_mask, SIGTERM);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  action.sa_flags = SA_NOCLDSTOP | SA_RESTART;
  sigaction(SIGCHLD, &action, nullptr);
  action = {};
  action.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &action, nullptr);
}

int Signals::fd() { return pipe_fds[0]; }

void Signals::drain() {
  char bytes[64];
  while (read(pipe_fds[0], bytes, sizeof bytes) > 0) {
  }
}

bool Signals::stop_requested() { return stop != 0; }

bool Signals::take_child_ended() {
  const bool ended = child_ended != 0;
  child_ended = 0;
  return ended;
}

void Signals::set_child(int process_group) { child_group = process_group; }

}  // namespace cli
