// Starts the private server of a directory, or finds it running, and stays with it
// until it has been idle for long enough.
//
// <directory>/lock decides who may start one: it is held by the supervisor and by
// the server itself, so that it is free only when both are gone, whichever way.
#ifndef PULSE_LOCAL_SUPERVISOR_H
#define PULSE_LOCAL_SUPERVISOR_H

#include <cstdint>

#include "redis/local_paths.h"

namespace local {

// Writes one line to `ready_fd`: "OK <socket>", "NOSERVER <text>" or "ERR <text>", and
// closes it.  When it has started the server, returns only after the server is gone.
void supervise(const pulseengine::LocalPaths& paths, int ready_fd);

// True when nobody holds the lock, or nobody does within the time.
bool wait_unlocked(const pulseengine::LocalPaths& paths, int64_t timeout_ms);

}  // namespace local

#endif
