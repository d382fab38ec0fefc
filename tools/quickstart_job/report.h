// What the worker processes tell the coordinator, as records through a pipe.
#ifndef TOOLS_QUICKSTART_JOB_REPORT_H
#define TOOLS_QUICKSTART_JOB_REPORT_H

#include <pulseengine/pulse.h>

#include <cstdint>
#include <string>
#include <vector>

namespace job {

enum class RecordKind : uint32_t {
  kReady = 1,    // receives
  kHandled = 2,  // consumer: an event was handled, and is acked next
  kSeen = 3,     // reader: an event came
  kHolding = 4,  // consumer: holds `count` events that it does not ack, as it was told
  kNotice = 5,   // `count` = kind of a notice that means loss or trouble
};

struct Record {
  RecordKind kind;
  uint32_t deliveries;
  pulse_event_id id;
  uint64_t at_ns;     // when
  uint64_t checksum;  // of the event
  uint64_t count;
};

// The writing side.  Records written are in the kernel's hands: they arrive even if the process is
// killed right after.
class Reporter {
 public:
  explicit Reporter(int fd) : fd_(fd) {}
  void add(const Record& record) { records_.push_back(record); }
  void flush();

 private:
  int fd_;
  std::vector<Record> records_;
};

// The reading side.
class ReportReader {
 public:
  explicit ReportReader(int fd) : fd_(fd) {}

  // Takes what is there (blocks if nothing is); false once the process has ended.
  bool read(std::vector<Record>* records);

 private:
  int fd_;
  std::string rest_;  // a record that has not come in full
};

}  // namespace job

#endif
