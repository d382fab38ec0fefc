// Child processes with pipes.

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <mutex>

#include "internal.h"

struct ts_process {
  pid_t pid = 0;
  int in = -1;
  int out = -1;
  int err = -1;
  std::string out_bytes;  // read, not yet given to the caller
  std::string err_bytes;
  std::mutex mutex;  // guards what follows
  bool ended = false;
  int status = 0;  // as ts_process_wait answers it
};

namespace {

void close_end(int* descriptor) {
  if (*descriptor >= 0) close(*descriptor);
  *descriptor = -1;
}

char* copy_of(const std::string& bytes) {
  char* copy = static_cast<char*>(malloc(bytes.size() + 1));
  if (copy == nullptr) return nullptr;
  memcpy(copy, bytes.data(), bytes.size());
  copy[bytes.size()] = '\0';
  return copy;
}

// Reads what there is until `end` (a time); false at the deadline.  Closes the descriptor at the
// end of the output.
bool read_some(int* descriptor, std::string* bytes, int64_t end) {
  for (;;) {
    pollfd item = {*descriptor, POLLIN, 0};
    const int64_t left = std::max<int64_t>(end - ts_now_ms(), 0);
    const int ready = poll(&item, 1, static_cast<int>(std::min<int64_t>(left, INT_MAX)));
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return false;
    char buffer[65536];
    const ssize_t got = read(*descriptor, buffer, sizeof buffer);
    if (got > 0) {
      bytes->append(buffer, static_cast<size_t>(got));
    } else {
      close_end(descriptor);
    }
    return true;
  }
}

char* read_all(int* descriptor, std::string* bytes, size_t* size, int64_t deadline_ms) {
  const int64_t end = ts_now_ms() + deadline_ms;
  while (*descriptor >= 0) {
    if (!read_some(descriptor, bytes, end)) return nullptr;
  }
  if (size != nullptr) *size = bytes->size();
  char* copy = copy_of(*bytes);
  bytes->clear();
  return copy;
}

bool make_pipe(bool wanted, int* ours, int* theirs, bool child_reads) {
  if (!wanted) return true;
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return false;
  *ours = ends[child_reads ? 1 : 0];
  *theirs = ends[child_reads ? 0 : 1];
  return true;
}

// Feeds and reads at the same time, so that neither side waits for the other.
bool exchange(ts_process* process, const char* input, size_t input_size, int64_t end) {
  if (process->in >= 0) ts::set_nonblocking(process->in);
  if (input_size == 0) close_end(&process->in);
  while (process->in >= 0 || process->out >= 0 || process->err >= 0) {
    pollfd items[3] = {
        {process->in, POLLOUT, 0}, {process->out, POLLIN, 0}, {process->err, POLLIN, 0}};
    const int64_t left = end - ts_now_ms();
    if (left <= 0) return false;
    const int ready = poll(items, 3, static_cast<int>(std::min<int64_t>(left, INT_MAX)));
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return false;
    if (items[0].revents != 0) {
      const ssize_t sent = write(process->in, input, input_size);
      if (sent > 0) {
        input += sent;
        input_size -= static_cast<size_t>(sent);
      }
      if (input_size == 0 || (sent < 0 && errno != EAGAIN)) close_end(&process->in);
    }
    if (items[1].revents != 0) read_some(&process->out, &process->out_bytes, end);
    if (items[2].revents != 0) read_some(&process->err, &process->err_bytes, end);
  }
  return true;
}

// A write to a process that has gone must not end the test.
class IgnorePipeSignal {
 public:
  IgnorePipeSignal() {
    sigemptyset(&pipe_);
    sigaddset(&pipe_, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
  }
  ~IgnorePipeSignal() {
    const timespec at_once = {0, 0};
    if (sigismember(&before_, SIGPIPE) == 0) {
      while (sigtimedwait(&pipe_, nullptr, &at_once) > 0) {
      }
    }
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  IgnorePipeSignal(const IgnorePipeSignal&) = delete;
  IgnorePipeSignal& operator=(const IgnorePipeSignal&) = delete;

 private:
  sigset_t pipe_;
  sigset_t before_;
};

}  // namespace

extern "C" {

ts_process* ts_process_start(const char* const* argv, const char* const* environment, int pipes) {
  auto* process = new ts_process;
  ts::SpawnRequest request;
  for (; *argv != nullptr; ++argv) request.argv.emplace_back(*argv);
  for (; environment != nullptr && *environment != nullptr; ++environment) {
    request.environment.emplace_back(*environment);
  }
  if (make_pipe((pipes & TS_PIPE_IN) != 0, &process->in, &request.in, true) &&
      make_pipe((pipes & TS_PIPE_OUT) != 0, &process->out, &request.out, false) &&
      make_pipe((pipes & TS_PIPE_ERR) != 0, &process->err, &request.err, false)) {
    process->pid = ts::spawn(request);
  } else {
    ts::complain("pipe: %s", strerror(errno));
    process->pid = -1;
  }
  for (const int end : {request.in, request.out, request.err}) {
    if (end >= 0) close(end);
  }
  if (process->pid > 0) return process;
  process->ended = true;
  ts_process_free(process);
  return nullptr;
}

const char* ts_self_path(void) {
  static const std::string* path = [] {
    char buffer[PATH_MAX];
    const ssize_t length = readlink("/proc/self/exe", buffer, sizeof buffer);
    return new std::string(buffer, length > 0 ? static_cast<size_t>(length) : 0);
  }();
  return path->c_str();
}

pid_t ts_process_pid(const ts_process* process) { return process->pid; }

int ts_process_signal(ts_process* process, int signal_number) {
  std::lock_guard<std::mutex> lock(process->mutex);
  return !process->ended && kill(process->pid, signal_number) == 0;
}

int ts_process_wait(ts_process* process, int64_t deadline_ms) {
  const int64_t end = ts_now_ms() + deadline_ms;
  for (;;) {
    {
      // Never held while it waits: another thread may want to send a signal.
      std::lock_guard<std::mutex> lock(process->mutex);
      int status = 0;
      if (!process->ended && ts::wait_child(process->pid, 0, &status)) {
        process->ended = true;
        process->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
      }
      if (process->ended) return process->status;
    }
    if (ts_now_ms() >= end) return -1;
    ts_pause_ms(2);
  }
}

int ts_process_write(ts_process* process, const void* data, size_t size) {
  const IgnorePipeSignal guard;
  const char* bytes = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t sent = write(process->in, bytes, size);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return 0;
    bytes += sent;
    size -= static_cast<size_t>(sent);
  }
  return 1;
}

void ts_process_close_input(ts_process* process) { close_end(&process->in); }

char* ts_process_read_line(ts_process* process, int64_t deadline_ms) {
  const int64_t end = ts_now_ms() + deadline_ms;
  for (;;) {
    std::string& bytes = process->out_bytes;
    const size_t newline = bytes.find('\n');
    if (newline != std::string::npos || (process->out < 0 && !bytes.empty())) {
      const std::string line = bytes.substr(0, newline);
      bytes.erase(0, newline == std::string::npos ? newline : newline + 1);
      return copy_of(line);
    }
    if (process->out < 0 || !read_some(&process->out, &bytes, end)) return nullptr;
  }
}

char* ts_process_read_output(ts_process* process, size_t* size, int64_t deadline_ms) {
  return read_all(&process->out, &process->out_bytes, size, deadline_ms);
}

char* ts_process_read_error(ts_process* process, size_t* size, int64_t deadline_ms) {
  return read_all(&process->err, &process->err_bytes, size, deadline_ms);
}

void ts_process_free(ts_process* process) {
  if (process == nullptr) return;
  if (ts_process_signal(process, SIGKILL) != 0) ts_process_wait(process, TS_DEADLINE_MS);
  close_end(&process->in);
  close_end(&process->out);
  close_end(&process->err);
  delete process;
}

int ts_run(const char* const* argv, const char* const* environment, const void* input,
           size_t input_size, char** output, size_t* output_size, char** error_output,
           int64_t deadline_ms) {
  const IgnorePipeSignal guard;
  const int64_t end = ts_now_ms() + deadline_ms;
  if (output != nullptr) *output = nullptr;
  if (error_output != nullptr) *error_output = nullptr;
  ts_process* process = ts_process_start(argv, environment, TS_PIPE_IN | TS_PIPE_OUT | TS_PIPE_ERR);
  if (process == nullptr) return -1;
  int status = -1;
  if (exchange(process, static_cast<const char*>(input), input != nullptr ? input_size : 0, end)) {
    status = ts_process_wait(process, std::max<int64_t>(end - ts_now_ms(), 0));
  } else {
    ts::complain("%s has not ended in time", argv[0]);
  }
  if (output_size != nullptr) *output_size = process->out_bytes.size();
  if (output != nullptr) *output = copy_of(process->out_bytes);
  if (error_output != nullptr) *error_output = copy_of(process->err_bytes);
  ts_process_free(process);
  return status;
}

}  // extern "C"
