#include "cpu.h"

#include <sched.h>
#include <time.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "failure.h"

namespace bench {
namespace {

double read_clock(clockid_t clock) {
  timespec time{};
  require(clock_gettime(clock, &time) == 0, "a CPU clock cannot be read");
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

}  // namespace

double now_seconds() { return read_clock(CLOCK_MONOTONIC); }

double own_cpu_seconds() { return read_clock(CLOCK_PROCESS_CPUTIME_ID); }

double thread_cpu_seconds() { return read_clock(CLOCK_THREAD_CPUTIME_ID); }

double process_cpu_seconds(pid_t pid) {
  clockid_t clock{};
  require(clock_getcpuclockid(pid, &clock) == 0, "the server's CPU time cannot be read");
  return read_clock(clock);
}

void pin(pid_t server) {
  const long cpus = sysconf(_SC_NPROCESSORS_ONLN);
  if (cpus < 2) throw Unavailable("--pin needs two CPUs");
  cpu_set_t last, others;
  CPU_ZERO(&last);
  CPU_ZERO(&others);
  CPU_SET(static_cast<size_t>(cpus - 1), &last);
  for (long cpu = 0; cpu < cpus - 1; ++cpu) CPU_SET(static_cast<size_t>(cpu), &others);
  bool pinned = sched_setaffinity(server, sizeof last, &last) == 0;
  // All threads: one of them starts the children.
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    const pid_t thread = std::stoi(task.path().filename().string());
    pinned = pinned && sched_setaffinity(thread, sizeof others, &others) == 0;
  }
  require(pinned, "--pin: the system refuses to pin");
}

}  // namespace bench
