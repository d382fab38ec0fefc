// A small process beside the tool that outlives it, and then ends what the tool has left running: a
// job must not go on here when its worker is dead and it starts elsewhere.
#ifndef TOOLS_CLI_PROCESS_GUARD_H
#define TOOLS_CLI_PROCESS_GUARD_H

#include <sys/types.h>

#include <cstdint>

namespace cli {

class ProcessGuard {
 public:
  // Starts it.  To be made before any other thread is.  When the tool is gone, what still runs
  // gets SIGTERM, and SIGKILL after `kill_ms`.
  explicit ProcessGuard(int64_t kill_ms);
  // Nothing may run any more.
  ~ProcessGuard();
  ProcessGuard(const ProcessGuard&) = delete;
  ProcessGuard& operator=(const ProcessGuard&) = delete;

  // Tells it of a process group.  `add` is for the group itself, between fork and exec, so that
  // there is no moment at which nobody knows of it: it is safe there.
  void add(pid_t group) noexcept { tell(group); }
  void remove(pid_t group) noexcept { tell(-group); }

 private:
  void tell(pid_t message) noexcept;

  int fd_ = -1;
  pid_t pid_ = -1;
};

}  // namespace cli

#endif
