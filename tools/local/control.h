// A blocking connection to the private server, with a deadline on everything.
#ifndef PULSE_LOCAL_CONTROL_H
#define PULSE_LOCAL_CONTROL_H

#include <cstdint>
#include <string>
#include <string_view>

namespace local {

// Monotonic.
int64_t now_ms();

class Control {
 public:
  Control() = default;
  ~Control() { close(); }
  Control(const Control&) = delete;
  Control& operator=(const Control&) = delete;

  bool connect(const char* socket);
  bool connected() const { return fd_ >= 0; }
  void close();

  // Sends one command (words separated by spaces) and takes its reply: the text of a
  // status, error (with its '-'), number or string.  False when the connection is of no
  // further use; it is closed then.
  bool command(std::string_view line, std::string* reply);
  // Waits until the server has closed the connection.
  bool wait_closed(int64_t timeout_ms);

 private:
  bool wait_readable(int64_t deadline);
  bool receive(int64_t deadline);
  bool read_reply(int64_t deadline, std::string* reply);

  int fd_ = -1;
  std::string input_;
};

// What the supervisor and `status` want to know of INFO.
struct ServerInfo {
  int64_t pid = 0, clients = 0, connections = 0, uptime_s = 0;
  std::string name, version;
};
bool get_info(Control* control, ServerInfo* info);

}  // namespace local

#endif
