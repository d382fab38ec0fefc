#include "idle_server.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <vector>

#include "failure.h"
#include "fault_answers.h"

namespace bench {
namespace {

const std::string kId = "$15\r\n1700000000000-0\r\n";

// The words of the command that begins at `at`; its length, or 0 when it is not complete.
size_t parse(const std::string& input, size_t at, std::vector<std::string>* words) {
  const size_t start = at;
  const auto number = [&](size_t* value) {
    const size_t end = input.find("\r\n", at);
    if (end == std::string::npos) return false;
    *value = strtoul(input.c_str() + at + 1, nullptr, 10);
    at = end + 2;
    return true;
  };
  size_t count = 0, size = 0;
  words->clear();
  if (!number(&count)) return 0;
  for (size_t i = 0; i < count; ++i) {
    if (!number(&size) || input.size() < at + size + 2) return 0;
    words->push_back(input.substr(at, size));
    at += size + 2;
  }
  return at - start;
}

// The one socket that is replaced.  Any thread may send, one receives.
struct ReplacedSocket {
  std::atomic<int> last_sender{-1};  // of an XADD
  std::atomic<int> descriptor{-1};
  std::atomic<uint64_t> adds{0};
  std::mutex mutex;
  int peer = -1;  // all below is guarded by mutex
  std::string add;
  size_t compared = 0;  // of the command that was sent in part
  bool good = true;
  size_t waiting = 0;  // adds whose id has not been received
  size_t received = 0;  // of the id of the next one
  bool told = false;   // that there is something to receive

  void send(const iovec& piece) {
    const char* at = static_cast<const char*>(piece.iov_base);
    for (size_t left = piece.iov_len; left > 0;) {
      const size_t n = std::min(left, add.size() - compared);
      good = good && memcmp(at, add.data() + compared, n) == 0;
      at += n;
      left -= n;
      compared += n;
      if (compared < add.size()) break;
      compared = 0;
      ++waiting;
      adds.store(adds.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    }
  }
  size_t receive(char* at, size_t room) {
    char* const begin = at;
    while (waiting > 0 && room > 0) {
      const size_t n = std::min(room, kId.size() - received);
      memcpy(at, kId.data() + received, n);
      at += n;
      room -= n;
      received += n;
      if (received < kId.size()) break;
      received = 0;
      --waiting;
    }
    return static_cast<size_t>(at - begin);
  }
};
ReplacedSocket replaced;

bool write_all(int descriptor, const std::string& data) {
  for (size_t sent = 0; sent < data.size();) {
    const ssize_t n = send(descriptor, data.data() + sent, data.size() - sent, MSG_NOSIGNAL);
    if (n <= 0) return false;
    sent += static_cast<size_t>(n);
  }
  return true;
}

}  // namespace

IdleServer::IdleServer() {
  char name[] = "/tmp/pulse-bench-XXXXXX";
  require(mkdtemp(name) != nullptr, "no directory for a socket");
  directory_ = name;
  path_ = directory_ + "/socket";
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  memcpy(address.sun_path, path_.c_str(), path_.size() + 1);
  listener_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  require(bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 &&
              listen(listener_, 8) == 0,
          "no socket");
  thread_ = std::thread([this] { serve(); });
}

void IdleServer::replace_socket() {
  const std::lock_guard<std::mutex> lock(replaced.mutex);
  require(add_descriptor_ >= 0 && replaced.last_sender >= 0, "no first add");
  replaced.peer = add_descriptor_;
  replaced.add = add_;
  replaced.adds = 0;
  replaced.good = true;
  replaced.descriptor = replaced.last_sender.load();
}

uint64_t IdleServer::adds() const {
  const std::lock_guard<std::mutex> lock(replaced.mutex);
  require(replaced.good, "an add that is not as the first one");
  return replaced.adds;
}

IdleServer::~IdleServer() {
  replaced.descriptor = -1;
  stop_ = true;
  thread_.join();
  close(listener_);
  unlink(path_.c_str());
  rmdir(directory_.c_str());
}

void IdleServer::serve() {
  // Polled with a limit, so that the end is noticed.
  std::vector<pollfd> polled = {{listener_, POLLIN, 0}};
  std::map<int, std::string> inputs;
  std::vector<char> chunk(1 << 18);
  std::string output;
  while (!stop_) {
    if (poll(polled.data(), polled.size(), 50) <= 0) continue;
    if (polled[0].revents != 0) {
      const int accepted = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (accepted >= 0) polled.push_back({accepted, POLLIN, 0});
    }
    for (size_t i = 1; i < polled.size(); ++i) {
      if (polled[i].revents == 0) continue;
      const int descriptor = polled[i].fd;
      const ssize_t n = recv(descriptor, chunk.data(), chunk.size(), 0);
      bool good = n > 0;
      if (good) {
        inputs[descriptor].append(chunk.data(), static_cast<size_t>(n));
        output.clear();
        const bool had_add = !add_.empty();
        answer(&inputs[descriptor], &output);
        if (!had_add && !add_.empty()) add_descriptor_ = descriptor;
        good = write_all(descriptor, output);
      }
      if (good) continue;
      close(descriptor);
      inputs.erase(descriptor);
      polled.erase(polled.begin() + static_cast<ptrdiff_t>(i--));
    }
  }
  for (size_t i = 1; i < polled.size(); ++i) close(polled[i].fd);
}

void IdleServer::answer(std::string* input, std::string* output) {
  size_t at = 0;
  std::vector<std::string> words;
  while (at < input->size()) {
    const size_t size = parse(*input, at, &words);
    if (size == 0) break;
    if (words[0] == "XADD") {
      add_ = input->substr(at, size);
      *output += kId;
    } else {
      *output += ts::usual_answer(words, 1).bytes;
    }
    at += size;
  }
  input->erase(0, at);
}

}  // namespace bench

// In the place of the C library's, for the engine as well: its calls find those of the program.
extern "C" {

ssize_t sendmsg(int descriptor, const msghdr* message, int flags) {
  using bench::replaced;
  if (descriptor != replaced.descriptor.load(std::memory_order_relaxed)) {
    const iovec& first = message->msg_iov[0];
    constexpr std::string_view kAdd = "*7\r\n$4\r\nXADD";
    if (std::string_view(static_cast<char*>(first.iov_base), first.iov_len).substr(0, kAdd.size()) ==
        kAdd) {
      replaced.last_sender = descriptor;
    }
    return syscall(SYS_sendmsg, descriptor, message, flags);
  }
  const std::lock_guard<std::mutex> lock(replaced.mutex);
  size_t sent = 0;
  for (size_t i = 0; i < message->msg_iovlen; ++i) {
    replaced.send(message->msg_iov[i]);
    sent += message->msg_iov[i].iov_len;
  }
  if (!replaced.told && replaced.waiting > 0) {
    replaced.told = syscall(SYS_sendto, replaced.peer, "", 1, MSG_NOSIGNAL, nullptr, 0) == 1;
  }
  return static_cast<ssize_t>(sent);
}

ssize_t recv(int descriptor, void* buffer, size_t size, int flags) {
  using bench::replaced;
  if (descriptor != replaced.descriptor.load(std::memory_order_relaxed)) {
    return syscall(SYS_recvfrom, descriptor, buffer, size, flags, nullptr, nullptr);
  }
  const std::lock_guard<std::mutex> lock(replaced.mutex);
  const size_t received = replaced.receive(static_cast<char*>(buffer), size);
  if (replaced.told && replaced.waiting == 0) {
    char told;
    syscall(SYS_recvfrom, descriptor, &told, 1, MSG_DONTWAIT, nullptr, nullptr);
    replaced.told = false;
  }
  if (received > 0) return static_cast<ssize_t>(received);
  errno = EAGAIN;
  return -1;
}

}  // extern "C"
