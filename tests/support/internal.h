/* Shared by the parts of the harness, not for tests. */
#ifndef PULSEENGINE_TESTS_SUPPORT_INTERNAL_H
#define PULSEENGINE_TESTS_SUPPORT_INTERNAL_H

#include <sys/types.h>

#include <cstdint>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "support.h"

namespace ts {

// Prints "support: ..." to standard error.
__attribute__((format(printf, 1, 2))) void complain(const char* format, ...);

// Runs `job` on the one thread that starts all child processes: a child asks to be killed when the
// thread that made it ends (PR_SET_PDEATHSIG), and this thread ends with the process.
void run_on_spawner(const std::function<void()>& job);

struct SpawnRequest {
  std::vector<std::string> argv;
  std::vector<std::string> environment;  // "NAME=value", or "NAME" to take it away
  std::string directory;                 // empty = that of the test
  int in = -1;  // descriptors for 0, 1, 2; -1 = /dev/null, inherit, inherit
  int out = -1;
  int err = -1;
};

// The pid, or -1 (and it has complained).
pid_t spawn(const SpawnRequest& request);

// Waits for the end of a child; false at the deadline.  A child that somebody else has reaped
// counts as ended with status 0.
bool wait_child(pid_t pid, int64_t deadline_ms, int* wait_status);

// Full path of a program in PATH, or empty.
std::string find_program(const std::string& name);

// A new directory, 0700, whose path leaves room for the name of a unix socket; empty on failure.
std::string make_directory();
void remove_directory(const std::string& path);

// Sockets, all of them close-on-exec.  -1 on failure.
int listen_unix(const std::string& path);
int listen_tcp(int* port);  // 127.0.0.1; *port 0 = any, and it is set
int connect_unix(const std::string& path);
int connect_tcp(int port);
bool set_nonblocking(int descriptor);
// Closes with a reset instead of an orderly end (TCP).
void close_hard(int descriptor);

// A pipe that wakes a poll loop.
class Waker {
 public:
  Waker();
  ~Waker();
  Waker(const Waker&) = delete;
  Waker& operator=(const Waker&) = delete;
  void wake();
  void drain();
  int descriptor() const { return read_end_; }

 private:
  int read_end_ = -1;
  int write_end_ = -1;
};

// Blocks all signals on the calling thread: the harness must not take those of the test.
void block_signals();

// Percent-encodes what has a meaning in a URL.
std::string encode_url(const std::string& text, bool keep_slash);

// Certificates in `directory` for the names; false when the openssl program is missing or fails.
bool make_certificates(const std::string& directory, const std::string& names);

}  // namespace ts

#endif
