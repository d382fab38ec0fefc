#include "job_processes.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "environment.h"
#include "failure.h"
#include "signals.h"

namespace cli {
namespace {

constexpr int64_t kFirstPauseMs = 250;
constexpr int64_t kLastPauseMs = 30000;
// From SIGTERM to SIGKILL.
constexpr int64_t kPatienceMs = 10000;

std::string reason(const char* what) { return std::string(what) + ": " + strerror(errno); }

// A file without a name that holds the payload: however large it is, and whether or not the command
// reads it, nobody has to feed it.  -1 when that cannot be.
int payload_file(const pulse_job* job) {
  size_t size = 0;
  const auto* data = static_cast<const char*>(pulse_job_payload(job, &size));
  const int fd = memfd_create("payload", MFD_CLOEXEC);
  if (fd < 0) return -1;
  for (size_t written = 0; written < size;) {
    const ssize_t n = write(fd, data + written, size - written);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      const int saved = errno;
      close(fd);
      errno = saved;
      return -1;
    }
    written += static_cast<size_t>(n);
  }
  lseek(fd, 0, SEEK_SET);
  return fd;
}

// In the child, where only async-signal-safe calls are allowed.
[[noreturn]] void become(char** arguments, char** environment, int input, const sigset_t* mask,
                         ProcessGuard* guard) {
  // A group of its own: what the shell starts ends with it.
  setpgid(0, 0);
  guard->add(getpid());
  for (const int number : {SIGINT, SIGTERM, SIGCHLD, SIGPIPE}) signal(number, SIG_DFL);
  dup2(input, STDIN_FILENO);
  dup2(STDERR_FILENO, STDOUT_FILENO);  // ours is for JSON
  sigprocmask(SIG_SETMASK, mask, nullptr);
  execve("/bin/sh", arguments, environment);
  _exit(127);
}

}  // namespace

JobProcesses::JobProcesses(std::string command, std::string pool, int64_t retries, int64_t kill_ms)
    : command_(std::move(command)),
      pool_(std::move(pool)),
      retries_(retries),
      guard_(std::min(kill_ms, kPatienceMs)) {
  // Processes that the commands leave behind become ours: so we see when the last one has ended.
  if (prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) {
    throw Failure(kExitFailed, reason("--exec: prctl"));
  }
}

JobProcesses::~JobProcesses() {
  for (const auto& [job, process] : processes_) {
    if (process.group) kill(-process.group, SIGKILL);
  }
}

bool JobProcesses::spawn(Process* process, std::string* why) {
  const pulse_job* job = process->job.get();
  size_t size = 0;
  const char* text = pulse_job_key(job, &size);
  const std::string key(text, size);
  text = pulse_job_worker(job, &size);
  const std::string worker(text, size);
  Environment environment({{"PULSE_POOL", pool_},
                           {"PULSE_KEY", key},
                           {"PULSE_WORKER", worker},
                           {"PULSE_NODE", node_},
                           {"PULSE_REQUEUED", pulse_job_requeued(job) ? "1" : "0"}});
  std::string shell = "sh", flag = "-c", command = command_;
  char* arguments[] = {&shell[0], &flag[0], &command[0], nullptr};
  const int input = payload_file(job);
  if (input < 0) {
    *why = reason("cannot hold the payload");
    return false;
  }
  // A signal that came before the child has its own handlers would be lost.
  sigset_t all, before;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, &before);
  const pid_t pid = fork();
  if (pid == 0) become(arguments, environment.data(), input, &before, &guard_);
  if (pid < 0) *why = reason("cannot start a process");
  sigprocmask(SIG_SETMASK, &before, nullptr);
  close(input);
  if (pid < 0) return false;
  setpgid(pid, pid);  // whoever is first
  process->group = pid;
  process->status = 0;
  process->started = Clock::now();
  process->due = Clock::time_point::max();
  return true;
}

bool JobProcesses::start(pulse_job* job, std::string* why) {
  Process process;
  process.job.reset(pulse_job_ref(job));
  if (!spawn(&process, why)) return false;
  processes_.emplace(job, std::move(process));
  return true;
}

// SIGTERM now, SIGKILL later.
void JobProcesses::begin_end(Process* process) {
  kill(-process->group, SIGTERM);
  kill(-process->group, SIGCONT);
  process->due = Clock::now() + std::chrono::milliseconds(kPatienceMs);
}

bool JobProcesses::stop(pulse_job* job) {
  const auto found = processes_.find(job);
  if (found == processes_.end()) return false;
  Process& process = found->second;
  process.stopping = true;
  if (process.group) {
    begin_end(&process);
  } else {
    process.due = Clock::now();  // it waits for its next start: nothing is to be ended
  }
  return true;
}

// Takes in which of its processes have ended.  True: all.
bool JobProcesses::reap(Process* process) {
  for (;;) {
    int status = 0;
    const pid_t pid = waitpid(-process->group, &status, WNOHANG);
    if (pid == 0) return false;
    if (pid < 0 && errno == EINTR) continue;
    if (pid < 0) return true;
    if (pid != process->group) continue;
    process->status = status;
    // What it has left behind is over with it.
    if (!process->stopping) begin_end(process);
  }
}

void JobProcesses::pause(Process* process, std::vector<ProcessEnd>* ends, int exit_status,
                         int signal_number) {
  const auto ran = Clock::now() - process->started;
  const bool afresh = process->pause_ms == 0 || ran > std::chrono::milliseconds(kLastPauseMs);
  process->pause_ms = afresh ? kFirstPauseMs : std::min(process->pause_ms * 2, kLastPauseMs);
  process->due = Clock::now() + std::chrono::milliseconds(process->pause_ms);
  ends->push_back({ProcessEnd::kFailed, JobHandle(pulse_job_ref(process->job.get())), exit_status,
                   signal_number, process->failures, process->pause_ms});
}

bool JobProcesses::settle(Process* process, std::vector<ProcessEnd>* ends) {
  if (process->group) guard_.remove(process->group);
  process->group = 0;
  if (process->stopping) {
    ends->push_back({ProcessEnd::kStopped, std::move(process->job)});
    return true;
  }
  if (expecting_stops_) {
    process->due = Clock::time_point::max();
    return false;
  }
  const bool exited = WIFEXITED(process->status);
  const int exit_status = exited ? WEXITSTATUS(process->status) : -1;
  const int signal_number = exited ? 0 : WTERMSIG(process->status);
  if (exit_status == 0) {
    ends->push_back({ProcessEnd::kFinished, std::move(process->job), 0});
    return true;
  }
  ++process->failures;
  if (retries_ >= 0 && process->failures > retries_) {
    ends->push_back({ProcessEnd::kGivenUp, std::move(process->job), exit_status, signal_number,
                     process->failures});
    return true;
  }
  pause(process, ends, exit_status, signal_number);
  return false;
}

std::vector<ProcessEnd> JobProcesses::take_ends() {
  std::vector<ProcessEnd> ends;
  const bool ended = Signals::take_child_ended();
  const Clock::time_point now = Clock::now();
  for (auto at = processes_.begin(); at != processes_.end();) {
    Process& process = at->second;
    bool over = process.group != 0 && ended && reap(&process) && settle(&process, &ends);
    if (!over && process.due <= now) {
      if (process.group) {
        kill(-process.group, SIGKILL);
        process.due = Clock::time_point::max();
      } else if (process.stopping) {
        over = settle(&process, &ends);
      } else if (expecting_stops_) {
        process.due = Clock::time_point::max();
      } else {
        std::string why;
        if (!spawn(&process, &why)) pause(&process, &ends, -1, 0);
      }
    }
    at = over ? processes_.erase(at) : std::next(at);
  }
  return ends;
}

int64_t JobProcesses::wait_ms() const {
  Clock::time_point next = Clock::time_point::max();
  for (const auto& [job, process] : processes_) next = std::min(next, process.due);
  if (next == Clock::time_point::max()) return -1;
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(next - Clock::now());
  return std::max<int64_t>(0, left.count() + 1);
}

}  // namespace cli
