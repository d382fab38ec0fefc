// pulseengine-local: the private server of the URL `local:`.
//
//   pulseengine-local start [--dir DIRECTORY]    what the library spawns
//   pulseengine-local status [--dir DIRECTORY]   one line of JSON
//   pulseengine-local stop [--dir DIRECTORY]     one line of JSON
//
// Environment: PULSE_LOCAL_IDLE_MS, how long the server stays without clients
// (60000); PULSE_LOCAL_SERVER, the server program to run.
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "control.h"
#include "redis/local_paths.h"
#include "supervisor.h"

namespace local {
namespace {

using pulseengine::LocalPaths;
using pulseengine::LocalProblem;

constexpr int64_t kStopMs = 10000;

int usage() {
  fputs("usage: pulseengine-local start|status|stop [--dir DIRECTORY]\n", stderr);
  return 2;
}

std::string text_of(const LocalProblem& problem) {
  std::string text = problem.text;
  if (problem.system_errno != 0) text += std::string(": ") + strerror(problem.system_errno);
  return text;
}

std::string json_text(const std::string& text) {
  std::string out = "\"";
  for (char c : text) {
    char escaped[8];
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < ' ') {
      snprintf(escaped, sizeof escaped, "\\u%04x", c);
      out += escaped;
    } else {
      out += c;
    }
  }
  return out + "\"";
}

// The host's files must not stay open for as long as the server lives.
void close_inherited() {
  std::vector<int> open_fds;
  DIR* directory = opendir("/proc/self/fd");
  if (directory == nullptr) return;
  while (const dirent* entry = readdir(directory)) {
    int fd = atoi(entry->d_name);
    if (fd > 2) open_fds.push_back(fd);
  }
  closedir(directory);
  for (int fd : open_fds) close(fd);
}

int start(const std::string& directory) {
  close_inherited();
  signal(SIGPIPE, SIG_IGN);
  umask(077);
  // The host reaps this process; the one that stays belongs to nobody.
  pid_t pid = fork();
  if (pid < 0) {
    printf("ERR fork: %s\n", strerror(errno));
    return 1;
  }
  if (pid > 0) return 0;
  setsid();
  LocalPaths paths;
  LocalProblem problem{};
  if (!pulseengine::find_local_paths(directory, true, &paths, &problem)) {
    printf("ERR %s\n", text_of(problem).c_str());
    return 1;
  }
  if (chdir(paths.directory) != 0) return 1;
  supervise(paths, STDOUT_FILENO);
  return 0;
}

// What status and stop begin with: nobody there is an answer, not a failure.
bool find_running(const std::string& directory, LocalPaths* paths, std::string* socket,
                  Control* control, int* exit_code) {
  LocalProblem problem{};
  *exit_code = 0;
  if (!pulseengine::find_local_paths(directory, false, paths, &problem)) {
    if (problem.system_errno == ENOENT) return false;
    fprintf(stderr, "pulseengine-local: %s\n", text_of(problem).c_str());
    *exit_code = 1;
    return false;
  }
  char path[108];
  pulseengine::current_local_socket(*paths, path);
  *socket = path;
  return control->connect(path);
}

int status(const std::string& directory) {
  LocalPaths paths{};
  std::string socket;
  Control control;
  int exit_code;
  ServerInfo info;
  bool there = find_running(directory, &paths, &socket, &control, &exit_code);
  if (exit_code != 0) return exit_code;
  if (!there) {
    printf("{\"running\":false,\"directory\":%s}\n", json_text(paths.directory).c_str());
    return 0;
  }
  if (!get_info(&control, &info)) {
    fprintf(stderr, "pulseengine-local: the server at %s does not answer\n", socket.c_str());
    return 1;
  }
  // Not counted: this program and the supervisor.
  printf(
      "{\"running\":true,\"directory\":%s,\"socket\":%s,\"server\":%s,\"pid\":%lld,"
      "\"clients\":%lld,\"uptime_s\":%lld}\n",
      json_text(paths.directory).c_str(), json_text(socket).c_str(),
      json_text(info.name + " " + info.version).c_str(), static_cast<long long>(info.pid),
      static_cast<long long>(info.clients - 2), static_cast<long long>(info.uptime_s));
  return 0;
}

int stop(const std::string& directory) {
  LocalPaths paths{};
  std::string socket, reply;
  Control control;
  int exit_code;
  bool there = find_running(directory, &paths, &socket, &control, &exit_code);
  if (exit_code != 0) return exit_code;
  if (there) {
    // An error is passing: "Writing initial AOF. Can't exit."
    int64_t deadline = now_ms() + kStopMs;
    while (control.command("SHUTDOWN", &reply) && now_ms() < deadline) usleep(20000);
    if (!control.wait_closed(kStopMs)) {
      fprintf(stderr, "pulseengine-local: the server does not end: %s\n", reply.c_str());
      return 1;
    }
    // Somebody may have started the next one already: that is not waited for.
    wait_unlocked(paths, 2000);
  }
  printf("{\"stopped\":%s,\"directory\":%s}\n", there ? "true" : "false",
         json_text(paths.directory).c_str());
  return 0;
}

int run(int argc, char** argv) {
  std::string verb = argc > 1 ? argv[1] : "";
  std::string directory;
  if (argc == 4 && strcmp(argv[2], "--dir") == 0 && argv[3][0] != '\0') {
    directory = argv[3];
  } else if (argc != 2) {
    return usage();
  }
  if (verb == "start") return start(directory);
  if (verb == "status") return status(directory);
  if (verb == "stop") return stop(directory);
  return usage();
}

}  // namespace
}  // namespace local

int main(int argc, char** argv) { return local::run(argc, argv); }
