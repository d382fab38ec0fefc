#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char** environ;

namespace job {

Child::Child(const std::string& name, const std::string& role, const Settings& settings)
    : name_(name) {
  int orders[2];
  int reports[2];
  if (pipe2(orders, O_CLOEXEC) != 0 || pipe2(reports, O_CLOEXEC) != 0) {
    throw Error(std::string("cannot make a pipe: ") + strerror(errno));
  }
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_adddup2(&files, orders[0], STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&files, reports[1], STDOUT_FILENO);
  std::vector<std::string> texts = {"quickstart-job", role,
                                    "--url",          settings.url,
                                    "--stream",       settings.stream,
                                    "--number",       std::to_string(settings.consumer)};
  std::vector<char*> arguments;
  for (std::string& text : texts) arguments.push_back(&text[0]);
  arguments.push_back(nullptr);
  const int failed =
      posix_spawn(&pid_, "/proc/self/exe", &files, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&files);
  close(orders[0]);
  close(reports[1]);
  order_fd_ = orders[1];
  report_fd_ = reports[0];
  reader_ = ReportReader(report_fd_);
  if (failed) throw Error("cannot start " + name_ + ": " + strerror(failed));
}

Child::~Child() {
  if (running() && pid_ > 0) {
    kill();
    reap();
  }
}

void Child::order(char order) {
  // One that is gone is noticed by `read`.
  if (order_fd_ >= 0 && write(order_fd_, &order, 1) < 0) return;
}

void Child::kill() {
  killed_ = true;
  ::kill(pid_, SIGKILL);
}

void Child::read(std::vector<Record>* records) {
  if (reader_.read(records)) return;
  reap();
}

void Child::reap() {
  close(order_fd_);
  close(report_fd_);
  order_fd_ = report_fd_ = -1;
  int status = 0;
  while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  if (!killed_ && (!WIFEXITED(status) || WEXITSTATUS(status) != 0)) {
    throw Error(name_ + " (pid " + std::to_string(pid_) + ") ended too early");
  }
}

}  // namespace job
