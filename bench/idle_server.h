/* What stands in for the server where only the engine is measured. */
#ifndef PULSEENGINE_BENCH_IDLE_SERVER_H
#define PULSEENGINE_BENCH_IDLE_SERVER_H

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>

namespace bench {

// A thread at the other end of a unix socket, for the greeting and a first add.  Then, with
// replace_socket(), what the engine sends and receives on that socket stays in its own thread:
// sendmsg() compares each command with the first add, byte by byte, and recv() gives an id for each
// that was the same.  Only that there is something to receive goes through the kernel.  One at a
// time.
class IdleServer {
 public:
  IdleServer();
  ~IdleServer();
  IdleServer(const IdleServer&) = delete;
  IdleServer& operator=(const IdleServer&) = delete;

  std::string url() const { return "unix://" + path_; }
  // After the first add was answered.
  void replace_socket();
  uint64_t adds() const;  // since then

 private:
  void serve();
  // Answers what is complete in `input` and takes it away.
  void answer(std::string* input, std::string* output);

  std::string directory_, path_;
  int listener_ = -1;
  std::string add_;  // the first XADD; and where it came from
  std::atomic<int> add_descriptor_{-1};
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace bench

#endif
