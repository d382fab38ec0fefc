// What the processes of the job share: the engine, the clock, ids, and how an error ends one.
#ifndef TOOLS_QUICKSTART_JOB_COMMON_H
#define TOOLS_QUICKSTART_JOB_COMMON_H

#include <pulseengine/pulse.h>

#include <cstdint>
#include <stdexcept>
#include <string>

namespace job {

// What all processes are told.
struct Settings {
  std::string url;
  std::string stream = "quickstart";
  int consumer = 0;  // which one this process is, from 1 on
};

constexpr char kSinkName[] = "workers";
constexpr int kConsumers = 3;
constexpr int kVictim = 2;  // the consumer that is killed
constexpr int64_t kConnectMs = 10000;
constexpr int64_t kTimeoutMs = 20000;
// Short, so that the takeover is seen within the run.
constexpr int64_t kGraceMs = 2000;

// Ends the process with a message and exit status 1.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

void check(pulse_status status, const pulse_error& error, const std::string& what);

// An engine, a queue for all that it says, and the stream of the job.  Closed by `close`, or
// dropped with the process.
class Connection {
 public:
  explicit Connection(const Settings& settings);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  pulse_engine* engine() { return engine_; }
  pulse_queue* queue() { return queue_; }
  pulse_stream* stream() { return stream_; }
  pulse_target target() const;
  std::string server() const;
  void close();

 private:
  pulse_queue* queue_ = nullptr;
  pulse_engine* engine_ = nullptr;
  pulse_stream* stream_ = nullptr;
};

// The same clock in all processes of the machine.
uint64_t monotonic_ns();

inline bool operator<(const pulse_event_id& a, const pulse_event_id& b) {
  return a.ms != b.ms ? a.ms < b.ms : a.seq < b.seq;
}
inline bool operator==(const pulse_event_id& a, const pulse_event_id& b) {
  return a.ms == b.ms && a.seq == b.seq;
}

// Of all that an event carries, to see that it arrives as it was sent.
uint64_t checksum(const char* name, size_t name_len, const char* topic, size_t topic_len,
                  const char* payload, size_t payload_len);
uint64_t checksum(const pulse_event& event);

}  // namespace job

#endif
