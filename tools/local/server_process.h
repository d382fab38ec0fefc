// The redis-server or valkey-server that a supervisor runs as its child.
#ifndef PULSE_LOCAL_SERVER_PROCESS_H
#define PULSE_LOCAL_SERVER_PROCESS_H

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "redis/local_paths.h"

namespace local {

// $PULSE_LOCAL_SERVER, else redis-server or valkey-server in $PATH; empty = none.
std::string find_server_program();

class ServerProcess {
 public:
  // The server keeps `lock_fd` open for as long as it lives, and ends by itself when
  // this process ends.  False with errno set.
  bool start(const std::string& program, const pulseengine::LocalPaths& paths, int lock_fd);
  // Not gone yet.  Reaps it when it is.
  bool alive();
  // Asks it to save and end, then insists.
  void terminate(int64_t patience_ms);
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = -1;
};

// The last thing the server wrote to its log; empty = nothing.
std::string last_log_line(const pulseengine::LocalPaths& paths);

}  // namespace local

#endif
