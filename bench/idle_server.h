/* What stands in for the server where only the engine is measured. */
#ifndef PULSEENGINE_BENCH_IDLE_SERVER_H
#define PULSEENGINE_BENCH_IDLE_SERVER_H

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>

namespace bench {

// A thread at the other end of a unix socket: it compares each XADD with the first one, byte by
// byte, and answers all that are the same with one id, in one write per read.  It keeps nothing.
class IdleServer {
 public:
  IdleServer();
  ~IdleServer();
  IdleServer(const IdleServer&) = delete;
  IdleServer& operator=(const IdleServer&) = delete;

  std::string url() const { return "unix://" + path_; }
  uint64_t adds() const { return adds_; }

 private:
  void serve();
  // Answers what is complete in `input` and takes it away.
  void answer(std::string* input, std::string* output);

  std::string directory_, path_;
  int listener_ = -1;
  std::string add_;  // the first XADD
  std::atomic<uint64_t> adds_{0};
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace bench

#endif
