#include "idle_server.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <map>
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

IdleServer::~IdleServer() {
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
        answer(&inputs[descriptor], &output);
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
  uint64_t adds = 0;
  while (at < input->size()) {
    if (!add_.empty() && input->size() - at >= add_.size() &&
        memcmp(input->data() + at, add_.data(), add_.size()) == 0) {
      *output += kId;
      at += add_.size();
      ++adds;
      continue;
    }
    const size_t size = parse(*input, at, &words);
    if (size == 0) break;
    if (words[0] == "XADD" && add_.empty()) {
      add_ = input->substr(at, size);
      continue;
    }
    *output += ts::usual_answer(words, 1).bytes;
    at += size;
  }
  adds_ += adds;
  input->erase(0, at);
}

}  // namespace bench
