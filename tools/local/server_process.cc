#include "server_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "control.h"

namespace local {
namespace {

constexpr off_t kMaxLog = 1 << 20;
constexpr int kPollMs = 5;

std::string log_path(const pulseengine::LocalPaths& paths) {
  return std::string(paths.directory) + "/server.log";
}

bool is_program(const std::string& path) {
  struct stat status;
  return stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode) &&
         access(path.c_str(), X_OK) == 0;
}

// In the child, between fork and exec.
[[noreturn]] void run(const std::string& program, const pulseengine::LocalPaths& paths, int lock_fd,
                      int log_fd, pid_t supervisor) {
  // Not a server without anybody who would end it when it is idle.
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != supervisor) _exit(127);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  dup2(log_fd, 1);
  dup2(log_fd, 2);
  fcntl(lock_fd, F_SETFD, 0);
  // --dir .: the directory's name could hold what a configuration has to quote.
  if (chdir(paths.directory) != 0) _exit(127);
  execl(program.c_str(), program.c_str(), "--port", "0", "--unixsocket", paths.socket,
        "--unixsocketperm", "700", "--dir", ".", "--appendonly", "yes", "--save", "", "--daemonize",
        "no", static_cast<char*>(nullptr));
  // The supervisor shows the last line of the log.
  dprintf(2, "%s cannot be executed (errno %d)\n", program.c_str(), errno);
  _exit(127);
}

}  // namespace

std::string find_server_program() {
  if (const char* chosen = getenv("PULSE_LOCAL_SERVER")) {
    return is_program(chosen) ? chosen : std::string();
  }
  const char* variable = getenv("PATH");
  const std::string path = variable != nullptr ? variable : "/usr/local/bin:/usr/bin:/bin";
  for (const char* name : {"redis-server", "valkey-server"}) {
    for (size_t begin = 0; begin < path.size();) {
      size_t end = std::min(path.find(':', begin), path.size());
      std::string program = path.substr(begin, end - begin) + "/" + name;
      // Relative directories mean another one in each process: they are passed over.
      if (program[0] == '/' && end > begin && is_program(program)) return program;
      begin = end + 1;
    }
  }
  return {};
}

bool ServerProcess::start(const std::string& program, const pulseengine::LocalPaths& paths,
                          int lock_fd) {
  int log_fd = open(log_path(paths).c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (log_fd < 0) return false;
  struct stat status;
  bool too_long = fstat(log_fd, &status) == 0 && status.st_size > kMaxLog;
  if (too_long && ftruncate(log_fd, 0) != 0) {
    close(log_fd);
    return false;
  }
  pid_t self = getpid();
  pid_ = fork();
  if (pid_ == 0) run(program, paths, lock_fd, log_fd, self);
  close(log_fd);
  return pid_ > 0;
}

bool ServerProcess::alive() {
  if (pid_ <= 0) return false;
  pid_t ended;
  do {
    ended = waitpid(pid_, nullptr, WNOHANG);
  } while (ended < 0 && errno == EINTR);
  if (ended == 0) return true;
  pid_ = -1;
  return false;
}

void ServerProcess::terminate(int64_t patience_ms) {
  if (!alive()) return;
  kill(pid_, SIGTERM);
  for (int64_t deadline = now_ms() + patience_ms; alive() && now_ms() < deadline;) {
    usleep(kPollMs * 1000);
  }
  if (!alive()) return;
  kill(pid_, SIGKILL);
  while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
}

std::string last_log_line(const pulseengine::LocalPaths& paths) {
  std::string text(4096, '\0');
  int fd = open(log_path(paths).c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {};
  off_t size = lseek(fd, 0, SEEK_END);
  off_t begin = std::max<off_t>(size - static_cast<off_t>(text.size()), 0);
  ssize_t n = pread(fd, text.data(), text.size(), begin);
  close(fd);
  text.resize(n > 0 ? static_cast<size_t>(n) : 0);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  text.erase(0, text.rfind('\n') + 1);
  // "123:M 01 Jan 2026 00:00:00.000 # what happened"
  size_t mark = text.find(" # ");
  if (mark == std::string::npos) mark = text.find(" * ");
  if (mark != std::string::npos) text.erase(0, mark + 3);
  return text;
}

}  // namespace local
