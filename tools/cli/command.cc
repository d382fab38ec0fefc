#include "command.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string_view>

#include "environment.h"
#include "failure.h"
#include "output.h"
#include "signals.h"

namespace cli {
namespace {

Environment::Variables variables_of(const pulse_event& event) {
  char id[PULSE_EVENT_ID_TEXT_BYTES];
  pulse_event_id_format(&event.id, id, sizeof id);
  std::optional<std::string> topic;
  if (event.topic) topic = text_of(event.topic, event.topic_len);
  return {{"PULSE_ID", id},
          {"PULSE_STREAM", text_of(event.stream, event.stream_len)},
          {"PULSE_NAME", text_of(event.name, event.name_len)},
          {"PULSE_TOPIC", topic},
          {"PULSE_DELIVERIES", std::to_string(event.deliveries)}};
}

pid_t spawn(const std::string& command, const pulse_event& event, int input, int ours) {
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addclose(&files, ours);
  posix_spawn_file_actions_adddup2(&files, input, STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&files, STDERR_FILENO, STDOUT_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t defaults;
  sigemptyset(&defaults);
  sigaddset(&defaults, SIGPIPE);
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  // A group of its own: what the shell starts ends with it.
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  Environment environment(variables_of(event));
  std::string shell = "sh", flag = "-c", text = command;
  char* arguments[] = {&shell[0], &flag[0], &text[0], nullptr};
  pid_t pid = -1;
  const int failed =
      posix_spawn(&pid, "/bin/sh", &files, &attributes, arguments, environment.data());
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&files);
  if (failed) {
    throw Failure(kExitFailed, std::string("--exec: cannot start /bin/sh: ") + strerror(failed));
  }
  return pid;
}

}  // namespace

CommandResult run_command(const std::string& command, const pulse_event& event) {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) != 0) {
    throw Failure(kExitFailed, std::string("--exec: cannot make a pipe: ") + strerror(errno));
  }
  fcntl(fds[1], F_SETFL, O_NONBLOCK);
  pid_t pid = -1;
  try {
    pid = spawn(command, event, fds[0], fds[1]);
  } catch (...) {
    close(fds[0]);
    close(fds[1]);
    throw;
  }
  close(fds[0]);
  Signals::set_child(pid);
  std::string_view rest;
  if (event.payload) rest = std::string_view(event.payload, event.payload_len);
  int input = fds[1];
  bool told = false;
  int status = 0;
  while (waitpid(pid, &status, WNOHANG) == 0) {
    if (Signals::stop_requested() && !told) {
      kill(-pid, SIGTERM);
      told = true;
    }
    if (input >= 0 && rest.empty()) {
      close(input);
      input = -1;
    }
    // SIGCHLD wakes this up.
    struct pollfd waits[2] = {{Signals::fd(), POLLIN, 0}, {input, POLLOUT, 0}};
    if (poll(waits, 2, -1) < 0) continue;
    if (waits[0].revents) Signals::drain();
    if (!waits[1].revents) continue;
    const ssize_t n = write(input, rest.data(), rest.size());
    if (n > 0) rest.remove_prefix(static_cast<size_t>(n));
    // A command need not read its input.
    if (n < 0 && errno != EAGAIN && errno != EINTR) rest = {};
  }
  if (input >= 0) close(input);
  Signals::set_child(0);
  if (WIFEXITED(status)) return {WEXITSTATUS(status) == 0, WEXITSTATUS(status), 0};
  return {false, -1, WTERMSIG(status)};
}

}  // namespace cli
