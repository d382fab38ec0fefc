#include "supervisor.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>

#include "control.h"
#include "server_process.h"

namespace local {
namespace {

constexpr int64_t kDefaultIdleMs = 60000;
constexpr int64_t kStartMs = 30000;
constexpr int64_t kStopMs = 10000;
constexpr int kPollMs = 5;

int64_t idle_ms() {
  const char* text = getenv("PULSE_LOCAL_IDLE_MS");
  if (text == nullptr) return kDefaultIdleMs;
  char* end;
  errno = 0;
  long long value = strtoll(text, &end, 10);
  return errno == 0 && end != text && *end == '\0' && value > 0 ? value : kDefaultIdleMs;
}

std::string in_directory(const pulseengine::LocalPaths& paths, const char* name) {
  return std::string(paths.directory) + "/" + name;
}

bool same_file(int fd, const char* path) {
  struct stat opened, named;
  return fstat(fd, &opened) == 0 && stat(path, &named) == 0 && opened.st_dev == named.st_dev &&
         opened.st_ino == named.st_ino;
}

class Supervisor {
 public:
  Supervisor(const pulseengine::LocalPaths& paths, int ready_fd)
      : paths_(paths), ready_fd_(ready_fd), lock_path_(in_directory(paths, "lock")) {}
  ~Supervisor() {
    if (lock_fd_ >= 0) close(lock_fd_);
    if (signal_fd_ >= 0) close(signal_fd_);
  }
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;

  void run() {
    if (!become_the_one()) return;
    if (start()) watch();
    // A server that was killed has left its door standing.
    unlink(paths_.socket);
    unlink(closed_door().c_str());
    unlink(in_directory(paths_, "socket").c_str());
  }

 private:
  void answer(const std::string& line) {
    std::string text = line;
    // One line, and one write.
    std::replace(text.begin(), text.end(), '\n', ' ');
    text.resize(std::min<size_t>(text.size(), 1000));
    text += '\n';
    // The host may be gone: that is no reason to stop.
    if (write(ready_fd_, text.data(), text.size()) < 0) errno = 0;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    dup2(null, ready_fd_);
    close(null);
  }

  bool answer_if_running() {
    char socket[108];
    pulseengine::current_local_socket(paths_, socket);
    std::string reply;
    Control control;
    // -LOADING is an answer as well: the library waits for that by itself.
    if (!control.connect(socket) || !control.command("PING", &reply)) return false;
    answer(std::string("OK ") + socket);
    return true;
  }

  bool open_lock() {
    if (lock_fd_ >= 0 && same_file(lock_fd_, lock_path_.c_str())) return true;
    if (lock_fd_ >= 0) close(lock_fd_);
    lock_fd_ = open(lock_path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    return lock_fd_ >= 0;
  }

  // True with the lock.  False when somebody else's server answers, or nothing can be done.
  bool become_the_one() {
    int64_t deadline = now_ms() + kStartMs;
    do {
      if (!open_lock()) {
        answer("ERR " + lock_path_ + ": " + strerror(errno));
        return false;
      }
      // The file may have been replaced between open and flock.
      if (flock(lock_fd_, LOCK_EX | LOCK_NB) == 0 && same_file(lock_fd_, lock_path_.c_str())) {
        return true;
      }
      if (answer_if_running()) return false;
      usleep(kPollMs * 1000);
    } while (now_ms() < deadline);
    answer("ERR the server that runs in " + std::string(paths_.directory) + " does not answer");
    return false;
  }

  bool start() {
    sigset_t signals;
    sigemptyset(&signals);
    for (int signal : {SIGCHLD, SIGTERM, SIGINT}) sigaddset(&signals, signal);
    sigprocmask(SIG_BLOCK, &signals, nullptr);
    signal_fd_ = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);

    std::string program = find_server_program();
    if (program.empty()) {
      const char* chosen = getenv("PULSE_LOCAL_SERVER");
      answer(chosen != nullptr
                 ? "NOSERVER PULSE_LOCAL_SERVER names no program: " + std::string(chosen)
                 : "NOSERVER neither redis-server nor valkey-server found; install the package "
                   "redis-server or valkey-server");
      return false;
    }
    // Nobody lives here: whatever has these names is left over from a kill.
    unlink(paths_.socket);
    unlink(closed_door().c_str());
    if (!publish_socket() || !server_.start(program, paths_, lock_fd_)) {
      answer("ERR " + std::string(paths_.directory) + ": " + strerror(errno));
      return false;
    }
    std::string reply;
    for (int64_t deadline = now_ms() + kStartMs; now_ms() < deadline;) {
      if (control_.connect(paths_.socket) && control_.command("PING", &reply)) {
        answer(std::string("OK ") + paths_.socket);
        return true;
      }
      if (!server_.alive()) {
        answer("ERR " + program + " ended at once: " + last_log_line(paths_));
        return false;
      }
      usleep(kPollMs * 1000);
    }
    server_.terminate(kStopMs);
    answer("ERR " + program + " does not answer: " + last_log_line(paths_));
    return false;
  }

  // <directory>/socket -> the socket, for processes that would compute another one (they may
  // have no $XDG_RUNTIME_DIR).  Atomic.
  bool publish_socket() {
    std::string link = in_directory(paths_, "socket"), fresh = link + ".new";
    unlink(fresh.c_str());
    return symlink(paths_.socket, fresh.c_str()) == 0 && rename(fresh.c_str(), link.c_str()) == 0;
  }

  // Until the server is gone.
  void watch() {
    int64_t idle = idle_ms();
    int tick = static_cast<int>(std::clamp<int64_t>(idle / 4, 10, 2000));
    active_ = now_ms();
    while (server_.alive()) {
      pollfd poll_fd{signal_fd_, POLLIN, 0};
      poll(&poll_fd, 1, tick);
      signalfd_siginfo signal;
      while (read(signal_fd_, &signal, sizeof signal) == sizeof signal) {
        if (signal.ssi_signo != SIGCHLD) server_.terminate(kStopMs);
      }
      if (!server_.alive()) return;
      if (!reachable()) {
        server_.terminate(kStopMs);
        return;
      }
      look_for_clients();
      if (now_ms() - active_ >= idle) leave();
    }
  }

  // Its directory or its socket may have been removed (a logout takes $XDG_RUNTIME_DIR away).
  // Then nobody finds it any more, and the next one must be able to start anew.
  bool reachable() const {
    struct stat status;
    return same_file(lock_fd_, lock_path_.c_str()) && lstat(paths_.socket, &status) == 0 &&
           S_ISSOCK(status.st_mode);
  }

  // Nobody but this supervisor, and nobody since the last look.
  bool alone() {
    ServerInfo info;
    if (!control_.connected() || !get_info(&control_, &info)) {
      // Its state is not known: that counts as busy.
      control_.connect(paths_.socket);
      return false;
    }
    bool alone = info.clients == 1 && info.connections == connections_;
    connections_ = info.connections;
    return alone;
  }

  void look_for_clients() {
    if (!alone()) active_ = now_ms();
  }

  std::string closed_door() const { return std::string(paths_.socket) + ".closing"; }

  // Ends the server unless a client comes in the last moment.  The door is closed first: who
  // comes now finds no socket and has a new server started.  Who was at the door before is
  // accepted at the latest in the loop turn of the first INFO, and counted by the second.
  void leave() {
    if (rename(paths_.socket, closed_door().c_str()) != 0) return;
    std::string reply;
    alone();
    if (alone() && (!control_.command("SHUTDOWN", &reply) || reply.empty())) {
      // No reply: it is ending.
      for (int64_t deadline = now_ms() + kStopMs; server_.alive() && now_ms() < deadline;) {
        usleep(kPollMs * 1000);
      }
      if (server_.alive()) server_.terminate(kStopMs);
      return;
    }
    // A client, or a server that cannot save now.
    if (rename(closed_door().c_str(), paths_.socket) != 0) server_.terminate(kStopMs);
    active_ = now_ms();
  }

  const pulseengine::LocalPaths& paths_;
  const int ready_fd_;
  const std::string lock_path_;
  int lock_fd_ = -1;
  int signal_fd_ = -1;
  ServerProcess server_;
  Control control_;
  int64_t active_ = 0;       // when a client was seen last
  int64_t connections_ = 0;  // accepted by the server until the last look
};

}  // namespace

void supervise(const pulseengine::LocalPaths& paths, int ready_fd) {
  Supervisor(paths, ready_fd).run();
}

bool wait_unlocked(const pulseengine::LocalPaths& paths, int64_t timeout_ms) {
  int fd = open(in_directory(paths, "lock").c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return true;
  bool free = false;
  int64_t deadline = now_ms() + timeout_ms;
  while (!(free = flock(fd, LOCK_SH | LOCK_NB) == 0) && now_ms() < deadline) {
    usleep(kPollMs * 1000);
  }
  close(fd);
  return free;
}

}  // namespace local
