// Child processes that end with the test, directories, sockets.

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <filesystem>
#include <mutex>
#include <thread>

#include "internal.h"

extern char** environ;

namespace ts {
namespace {

const char kPrefix[] = "pulse-test-";

// The thread that makes all children.  It lives until the process ends: the object is never
// destroyed.
class Spawner {
 public:
  Spawner() : owner_(getpid()) {
    std::thread([this] { loop(); }).detach();
  }

  void run(const std::function<void()>& job) {
    bool done = false;
    std::unique_lock<std::mutex> lock(mutex_);
    jobs_.push_back({&job, &done});
    changed_.notify_all();
    changed_.wait(lock, [&] { return done; });
  }

  // False in a forked child, which has not inherited the thread.
  bool is_ours() const { return owner_ == getpid(); }

 private:
  struct Job {
    const std::function<void()>* job;
    bool* done;
  };

  void loop() {
    block_signals();
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      changed_.wait(lock, [&] { return !jobs_.empty(); });
      const Job job = jobs_.front();
      jobs_.pop_front();
      lock.unlock();
      (*job.job)();
      lock.lock();
      *job.done = true;
      changed_.notify_all();
    }
  }

  const pid_t owner_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Job> jobs_;  // guarded by mutex_
};

// Only calls that are safe after a fork in a process with threads.
[[noreturn]] void become(const SpawnRequest& request, const char* program, char** argv,
                         char** environment, pid_t parent) {
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent) _exit(127);
  for (const int number : {SIGPIPE, SIGCHLD, SIGINT, SIGTERM, SIGHUP}) signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  int in = request.in;
  if (in < 0) in = open("/dev/null", O_RDONLY | O_CLOEXEC);
  // dup2 leaves the new descriptor open across exec.  The numbers given are above 2.
  if (in < 0 || dup2(in, 0) < 0) _exit(127);
  if (request.out >= 0 && dup2(request.out, 1) < 0) _exit(127);
  if (request.err >= 0 && dup2(request.err, 2) < 0) _exit(127);
  if (!request.directory.empty() && chdir(request.directory.c_str()) != 0) _exit(127);
  execve(program, argv, environment);
  _exit(127);
}

std::vector<std::string> merged_environment(const std::vector<std::string>& changes) {
  std::vector<std::string> result;
  const auto name_of = [](const std::string& entry) { return entry.substr(0, entry.find('=')); };
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    bool replaced = false;
    for (const std::string& change : changes) {
      if (name_of(change) == name_of(*entry)) replaced = true;
    }
    if (!replaced) result.emplace_back(*entry);
  }
  for (const std::string& change : changes) {
    if (change.find('=') != std::string::npos) result.push_back(change);
  }
  return result;
}

std::vector<char*> pointers(std::vector<std::string>* texts) {
  std::vector<char*> result;
  for (std::string& text : *texts) result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

// Directories of tests that were killed.
void remove_stale_directories(const std::string& base) {
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(base, ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.compare(0, sizeof kPrefix - 1, kPrefix) != 0) continue;
    const long pid = strtol(name.c_str() + sizeof kPrefix - 1, nullptr, 10);
    struct stat info;
    if (pid <= 0 || lstat(entry.path().c_str(), &info) != 0 || info.st_uid != geteuid()) continue;
    if (kill(static_cast<pid_t>(pid), 0) != 0 && errno == ESRCH) remove_directory(entry.path());
  }
}

bool fill_address(const std::string& path, sockaddr_un* address) {
  memset(address, 0, sizeof *address);
  address->sun_family = AF_UNIX;
  if (path.size() >= sizeof address->sun_path) return false;
  memcpy(address->sun_path, path.c_str(), path.size());
  return true;
}

sockaddr_in local_address(int port) {
  sockaddr_in address;
  memset(&address, 0, sizeof address);
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

}  // namespace

void run_on_spawner(const std::function<void()>& job) {
  static std::mutex* mutex = new std::mutex;
  static Spawner* spawner = nullptr;
  Spawner* current = nullptr;
  {
    std::lock_guard<std::mutex> lock(*mutex);
    if (spawner == nullptr || !spawner->is_ours()) spawner = new Spawner;
    current = spawner;
  }
  current->run(job);
}

pid_t spawn(const SpawnRequest& request) {
  const std::string program = find_program(request.argv[0]);
  if (program.empty()) {
    complain("%s: no such program", request.argv[0].c_str());
    return -1;
  }
  std::vector<std::string> words = request.argv;
  std::vector<std::string> variables = merged_environment(request.environment);
  std::vector<char*> argv = pointers(&words);
  std::vector<char*> environment = pointers(&variables);
  pid_t pid = -1;
  run_on_spawner([&] {
    const pid_t parent = getpid();
    pid = fork();
    if (pid == 0) become(request, program.c_str(), argv.data(), environment.data(), parent);
  });
  if (pid < 0) complain("fork: %s", strerror(errno));
  return pid;
}

bool wait_child(pid_t pid, int64_t deadline_ms, int* wait_status) {
  struct Wait {
    pid_t pid;
    int status;
  } wait{pid, 0};
  const auto ended = [](void* context) -> int {
    Wait* waiting = static_cast<Wait*>(context);
    const pid_t got = waitpid(waiting->pid, &waiting->status, WNOHANG);
    return got == waiting->pid || (got < 0 && errno == ECHILD);
  };
  if (ts_wait_until(ended, &wait, deadline_ms) == 0) return false;
  *wait_status = wait.status;
  return true;
}

std::string find_program(const std::string& name) {
  if (name.find('/') != std::string::npos) {
    return access(name.c_str(), X_OK) == 0 ? name : std::string();
  }
  const char* variable = getenv("PATH");
  std::string path = variable != nullptr ? variable : "/usr/local/bin:/usr/bin:/bin";
  path += ":/usr/sbin:/sbin";
  for (size_t start = 0; start <= path.size();) {
    const size_t end = std::min(path.find(':', start), path.size());
    const std::string candidate = path.substr(start, end - start) + "/" + name;
    if (end > start && access(candidate.c_str(), X_OK) == 0) return candidate;
    start = end + 1;
  }
  return {};
}

std::string make_directory() {
  const char* variable = getenv("TMPDIR");
  std::string base = variable != nullptr && variable[0] == '/' ? variable : "/tmp";
  // A unix socket's path is limited to 107 bytes; ours need about 45 below the base.
  if (base.size() > 60) base = "/tmp";
  static std::once_flag swept;
  std::call_once(swept, [&] { remove_stale_directories(base); });
  std::string path = base + "/" + kPrefix + std::to_string(getpid()) + "-XXXXXX";
  if (mkdtemp(path.data()) == nullptr) {
    complain("%s: %s", path.c_str(), strerror(errno));
    return {};
  }
  return path;
}

void remove_directory(const std::string& path) {
  std::error_code error;
  if (!path.empty()) std::filesystem::remove_all(path, error);
}

int listen_unix(const std::string& path) {
  sockaddr_un address;
  if (!fill_address(path, &address)) return -1;
  const int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (descriptor < 0) return -1;
  unlink(path.c_str());
  if (bind(descriptor, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 &&
      listen(descriptor, 128) == 0) {
    return descriptor;
  }
  complain("%s: %s", path.c_str(), strerror(errno));
  close(descriptor);
  return -1;
}

int listen_tcp(int* port) {
  const int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (descriptor < 0) return -1;
  const int on = 1;
  setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address = local_address(*port);
  socklen_t length = sizeof address;
  if (bind(descriptor, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 &&
      listen(descriptor, 128) == 0 &&
      getsockname(descriptor, reinterpret_cast<sockaddr*>(&address), &length) == 0) {
    *port = ntohs(address.sin_port);
    return descriptor;
  }
  complain("127.0.0.1:%d: %s", *port, strerror(errno));
  close(descriptor);
  return -1;
}

int connect_unix(const std::string& path) {
  sockaddr_un address;
  if (!fill_address(path, &address)) return -1;
  const int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return -1;
  if (connect(descriptor, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) {
    return descriptor;
  }
  close(descriptor);
  return -1;
}

int connect_tcp(int port) {
  const int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return -1;
  sockaddr_in address = local_address(port);
  const int on = 1;
  setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (connect(descriptor, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) {
    return descriptor;
  }
  close(descriptor);
  return -1;
}

bool set_nonblocking(int descriptor) {
  const int flags = fcntl(descriptor, F_GETFL);
  return flags >= 0 && fcntl(descriptor, F_SETFL, flags | O_NONBLOCK) == 0;
}

void close_hard(int descriptor) {
  const linger at_once = {1, 0};
  setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  close(descriptor);
}

Waker::Waker() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0) {
    read_end_ = ends[0];
    write_end_ = ends[1];
  }
}

Waker::~Waker() {
  close(read_end_);
  close(write_end_);
}

void Waker::wake() {
  // A full pipe wakes as well.
  const char byte = 0;
  if (write(write_end_, &byte, 1) < 0 && errno != EAGAIN) complain("wake: %s", strerror(errno));
}

void Waker::drain() {
  char bytes[256];
  while (read(read_end_, bytes, sizeof bytes) > 0) {
  }
}

void block_signals() {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, nullptr);
}

std::string encode_url(const std::string& text, bool keep_slash) {
  static const char kPlain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
  std::string result;
  for (const char letter : text) {
    if (strchr(kPlain, letter) != nullptr || (keep_slash && letter == '/')) {
      result += letter;
    } else {
      char code[4];
      snprintf(code, sizeof code, "%%%02X", static_cast<unsigned char>(letter));
      result += code;
    }
  }
  return result;
}

}  // namespace ts
