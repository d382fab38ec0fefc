#include "redis/local_server.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "redis/local_paths.h"

#ifndef PULSE_LIBEXECDIR
#error "PULSE_LIBEXECDIR: where the helper is installed"
#endif

namespace pulseengine {
namespace {

constexpr std::string_view kNoServer = "NOSERVER ";
constexpr std::string_view kFailed = "ERR ";
constexpr std::string_view kRunning = "OK ";

Error find_paths(const Url& url, LocalPaths* paths) {
  LocalProblem problem{};
  if (find_local_paths(url.path, true, paths, &problem)) return {};
  String what = "local: ";
  what += problem.text;
  if (problem.system_errno != 0)
    return Error::system(PULSE_ERR_INVALID, what, problem.system_errno, 0);
  return Error(PULSE_ERR_INVALID, what);
}

const char* helper_path() {
  const char* path = secure_getenv("PULSE_LOCAL_HELPER");
  return path != nullptr && path[0] != '\0' ? path : PULSE_LIBEXECDIR "/pulseengine-local";
}

// Attributes and file actions of posix_spawn: standard output to the pipe, no terminal,
// and none of the host's signal settings.
class SpawnSettings {
 public:
  SpawnSettings() {
    posix_spawnattr_init(&attributes_);
    posix_spawn_file_actions_init(&actions_);
  }
  ~SpawnSettings() {
    posix_spawnattr_destroy(&attributes_);
    posix_spawn_file_actions_destroy(&actions_);
  }
  SpawnSettings(const SpawnSettings&) = delete;
  SpawnSettings& operator=(const SpawnSettings&) = delete;

  int prepare(int output) {
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes_, &none);
    posix_spawnattr_setsigdefault(&attributes_, &all);
    posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    // The pipe first: in a host without standard descriptors it may be number 0 or 2.
    int failure = posix_spawn_file_actions_adddup2(&actions_, output, 1);
    for (int fd : {0, 2}) {
      if (failure == 0) {
        failure = posix_spawn_file_actions_addopen(&actions_, fd, "/dev/null", O_RDWR, 0);
      }
    }
    return failure;
  }
  int spawn(pid_t* pid, const char* path, char* const* arguments) {
    return posix_spawn(pid, path, &actions_, &attributes_, arguments, environ);
  }

 private:
  posix_spawnattr_t attributes_;
  posix_spawn_file_actions_t actions_;
};

}  // namespace

Error local_socket_path(const Url& url, String* path) {
  LocalPaths paths;
  Error error = find_paths(url, &paths);
  if (!error.ok()) return error;
  char socket[108];
  current_local_socket(paths, socket);
  *path = socket;
  return {};
}

Error local_server_spawn(const Url& url, int* ready_fd, pid_t* helper) {
  LocalPaths paths;
  Error error = find_paths(url, &paths);
  if (!error.ok()) return error;
  int pipe[2];
  if (pipe2(pipe, O_CLOEXEC) != 0) return Error::system(PULSE_ERR_CONNECT, "local: pipe", errno);
  const char* path = helper_path();
  const char* arguments[] = {path, "start", "--dir", paths.directory, nullptr};
  int failure;
  {
    SpawnSettings settings;
    failure = settings.prepare(pipe[1]);
    if (failure == 0) failure = settings.spawn(helper, path, const_cast<char* const*>(arguments));
  }
  close(pipe[1]);
  if (failure == 0) {
    fcntl(pipe[0], F_SETFL, O_NONBLOCK);
    *ready_fd = pipe[0];
    return {};
  }
  close(pipe[0]);
  bool missing = failure == ENOENT || failure == EACCES || failure == ENOEXEC;
  String what = "local: helper ";
  what += path;
  return Error::system(missing ? PULSE_ERR_NO_SERVER : PULSE_ERR_CONNECT, what, failure,
                       missing ? 0 : PULSE_ERROR_RETRIABLE);
}

Error local_server_result(int ready_fd, String* socket) {
  // The helper writes its line at once, and lines of less than PIPE_BUF are not torn.
  char data[PIPE_BUF];
  ssize_t n;
  do {
    n = read(ready_fd, data, sizeof data);
  } while (n < 0 && errno == EINTR);
  if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
    return Error(PULSE_ERR_AGAIN, "local: the server is being started", PULSE_ERROR_RETRIABLE);
  }
  if (n < 0) return Error::system(PULSE_ERR_CONNECT, "local: helper", errno);
  std::string_view line(data, static_cast<size_t>(n));
  line = line.substr(0, line.find('\n'));
  if (line.substr(0, kRunning.size()) == kRunning) {
    *socket = line.substr(kRunning.size());
    return {};
  }
  if (line.substr(0, kNoServer.size()) == kNoServer) {
    return Error::make(PULSE_ERR_NO_SERVER, 0, "local: {}", line.substr(kNoServer.size()));
  }
  if (line.substr(0, kFailed.size()) == kFailed) {
    return Error::make(PULSE_ERR_CONNECT, PULSE_ERROR_RETRIABLE, "local: {}",
                       line.substr(kFailed.size()));
  }
  return Error(PULSE_ERR_CONNECT, "local: the helper ended without an answer",
               PULSE_ERROR_RETRIABLE);
}

void local_server_reap(pid_t helper) {
  int status;
  while (waitpid(helper, &status, 0) < 0 && errno == EINTR) {
  }
}

}  // namespace pulseengine
