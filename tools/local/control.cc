#include "control.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace local {
namespace {

constexpr int64_t kReplyMs = 2000;
// INFO has some kilobytes.
constexpr long kMaxReply = 1 << 20;

// The value of "name:value\r\n" in INFO's text.
std::string field(const std::string& text, const std::string& name) {
  size_t at = text.find("\n" + name + ":");
  if (at == std::string::npos) return {};
  at += name.size() + 2;
  return text.substr(at, text.find_first_of("\r\n", at) - at);
}

}  // namespace

int64_t now_ms() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<int64_t>(t.tv_sec) * 1000 + t.tv_nsec / 1000000;
}

bool Control::connect(const char* socket) {
  close();
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  size_t length = strlen(socket);
  if (length >= sizeof address.sun_path) return false;
  memcpy(address.sun_path, socket, length);
  // Non-blocking: a full backlog of a server that hangs would block for ever.
  fd_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd_ < 0) return false;
  if (::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) return true;
  close();
  return false;
}

void Control::close() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
  input_.clear();
}

bool Control::wait_readable(int64_t deadline) {
  for (;;) {
    pollfd poll_fd{fd_, POLLIN, 0};
    int64_t left = std::max<int64_t>(deadline - now_ms(), 0);
    int n = poll(&poll_fd, 1, static_cast<int>(left));
    if (n > 0) return true;
    if (n == 0 || errno != EINTR) return false;
  }
}

// Appends what has come to input_.
bool Control::receive(int64_t deadline) {
  if (!wait_readable(deadline)) return false;
  char data[8192];
  ssize_t n = recv(fd_, data, sizeof data, 0);
  if (n <= 0) return n < 0 && (errno == EINTR || errno == EAGAIN);
  input_.append(data, static_cast<size_t>(n));
  return true;
}

bool Control::read_reply(int64_t deadline, std::string* reply) {
  size_t end;
  while ((end = input_.find("\r\n")) == std::string::npos) {
    if (input_.size() > kMaxReply || !receive(deadline)) return false;
  }
  std::string line = input_.substr(0, end);
  input_.erase(0, end + 2);
  if (line.empty()) return false;
  if (line[0] != '$') {
    *reply = line[0] == '-' ? line : line.substr(1);
    return true;
  }
  long size = strtol(line.c_str() + 1, nullptr, 10);
  if (size < 0 || size > kMaxReply) return false;
  while (input_.size() < static_cast<size_t>(size) + 2) {
    if (!receive(deadline)) return false;
  }
  *reply = input_.substr(0, static_cast<size_t>(size));
  input_.erase(0, static_cast<size_t>(size) + 2);
  return true;
}

bool Control::command(std::string_view line, std::string* reply) {
  if (fd_ < 0) return false;
  // Short enough for any socket buffer.
  std::string text = std::string(line) + "\r\n";
  bool good =
      send(fd_, text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size()) &&
      read_reply(now_ms() + kReplyMs, reply);
  if (!good) close();
  return good;
}

bool Control::wait_closed(int64_t timeout_ms) {
  int64_t deadline = now_ms() + timeout_ms;
  while (fd_ >= 0) {
    if (!wait_readable(deadline)) return false;
    char data[512];
    ssize_t n = recv(fd_, data, sizeof data, 0);
    if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN)) close();
  }
  return true;
}

bool get_info(Control* control, ServerInfo* info) {
  std::string text;
  if (!control->command("INFO", &text) || text.empty() || text[0] == '-') return false;
  info->pid = atoll(field(text, "process_id").c_str());
  info->clients = atoll(field(text, "connected_clients").c_str());
  info->connections = atoll(field(text, "total_connections_received").c_str());
  info->uptime_s = atoll(field(text, "uptime_in_seconds").c_str());
  info->version = field(text, "valkey_version");
  info->name = info->version.empty() ? "redis" : "valkey";
  if (info->version.empty()) info->version = field(text, "redis_version");
  return true;
}

}  // namespace local
