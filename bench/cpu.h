/* Clocks: of the wall, and of what processes have used of a CPU. */
#ifndef PULSEENGINE_BENCH_CPU_H
#define PULSEENGINE_BENCH_CPU_H

#include <sys/types.h>

namespace bench {

double now_seconds();
double own_cpu_seconds();
double thread_cpu_seconds();  // of the calling thread
// Of any process: what /proc/<pid>/stat tells, in nanoseconds instead of ticks of 10 ms.
double process_cpu_seconds(pid_t pid);

// Lets the server have the last CPU for itself and this process, with its children, the others.
void pin(pid_t server);

}  // namespace bench

#endif
