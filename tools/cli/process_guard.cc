#include "process_guard.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <set>
#include <string>

#include "failure.h"

namespace cli {
namespace {

using Clock = std::chrono::steady_clock;

void signal_all(const std::set<pid_t>& groups, int number) {
  for (const pid_t group : groups) kill(-group, number);
}

void drop_ended(std::set<pid_t>* groups) {
  for (auto at = groups->begin(); at != groups->end();) {
    at = kill(-*at, 0) != 0 && errno == ESRCH ? groups->erase(at) : std::next(at);
  }
}

[[noreturn]] void guard(int fd, int64_t kill_ms) {
  // The tool's end is the only reason to end, whatever a supervisor or terminal sends to all.
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE}) signal(number, SIG_IGN);
  const int null = open("/dev/null", O_RDWR);
  for (int standard = 0; standard <= 2; ++standard) dup2(null, standard);
  std::set<pid_t> groups;
  pid_t message;
  for (;;) {
    const ssize_t n = read(fd, &message, sizeof message);
    if (n == static_cast<ssize_t>(sizeof message)) {
      if (message > 0) {
        groups.insert(message);
      } else {
        groups.erase(-message);
      }
    } else if (n == 0 || errno != EINTR) {
      break;
    }
  }
  signal_all(groups, SIGTERM);
  signal_all(groups, SIGCONT);
  const auto last = Clock::now() + std::chrono::milliseconds(kill_ms);
  for (drop_ended(&groups); !groups.empty() && Clock::now() < last; drop_ended(&groups)) {
    poll(nullptr, 0, 10);
  }
  signal_all(groups, SIGKILL);
  _exit(0);
}

}  // namespace

ProcessGuard::ProcessGuard(int64_t kill_ms) {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) != 0) {
    throw Failure(kExitFailed, std::string("--exec: cannot make a pipe: ") + strerror(errno));
  }
  pid_ = fork();
  if (pid_ == 0) {
    close(fds[1]);
    guard(fds[0], kill_ms);
  }
  close(fds[0]);
  fd_ = fds[1];
  if (pid_ > 0) return;
  close(fd_);
  throw Failure(kExitFailed, std::string("--exec: cannot start a process: ") + strerror(errno));
}

ProcessGuard::~ProcessGuard() {
  close(fd_);
  while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

void ProcessGuard::tell(pid_t message) noexcept {
  // Whole or not at all: it is smaller than PIPE_BUF.
  while (write(fd_, &message, sizeof message) < 0 && errno == EINTR) {
  }
}

}  // namespace cli
