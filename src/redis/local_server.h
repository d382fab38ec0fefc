// The client side of `local:`: finds the private server's socket, and has the helper
// pulseengine-local start the server when nobody answers there.
//
// How a connection uses it, all without blocking its loop:
//   1. local_socket_path, connect.  Connected: done, nothing is spawned.
//   2. Otherwise (no such file, refused) local_server_spawn; wait until ready_fd is
//      readable; local_server_result; close ready_fd; local_server_reap.
//   3. Connect to the socket that it named.  When that fails, or the connection is
//      lost later, start again at 1: a server that was idle may have left in between.
//      It never leaves with a connection that it has accepted.
//
// No state of its own: any thread.
#ifndef PULSE_REDIS_LOCAL_SERVER_H
#define PULSE_REDIS_LOCAL_SERVER_H

#include <sys/types.h>

#include "base/alloc.h"
#include "base/error.h"
#include "redis/url.h"

namespace pulseengine {

// The socket to try.  Creates the server's directories when they are missing.
// PULSE_ERR_INVALID when they cannot be used, with the reason.
Error local_socket_path(const Url& url, String* path);

// Starts the helper.  The caller owns *ready_fd (close-on-exec, non-blocking) and must
// reap *helper.  PULSE_ERR_NO_SERVER when there is no helper.
Error local_server_spawn(const Url& url, int* ready_fd, pid_t* helper);

// What the helper said: PULSE_OK and the socket of the server that now answers;
// PULSE_ERR_NO_SERVER with the package to install; PULSE_ERR_CONNECT with the
// reason; PULSE_ERR_AGAIN as long as it has said nothing.
Error local_server_result(int ready_fd, String* socket);

// Waits for the helper's first process, which ends as soon as it has put itself
// into the background.  Nothing happens when somebody else has reaped it.
void local_server_reap(pid_t helper);

}  // namespace pulseengine

#endif
