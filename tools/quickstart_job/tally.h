// The books of the job: what was published, handled and seen, and how they compare.
#ifndef TOOLS_QUICKSTART_JOB_TALLY_H
#define TOOLS_QUICKSTART_JOB_TALLY_H

#include <cstdint>
#include <unordered_set>
#include <vector>

#include "progress.h"
#include "publisher.h"
#include "report.h"

namespace job {

struct ConsumerTally {
  uint64_t handled = 0;
  uint64_t redelivered = 0;  // of them, events that another delivery came before
  uint64_t held = 0;         // when it was killed
};

// What the comparison of ids found.
struct Verdict {
  uint64_t published = 0;
  uint64_t lost = 0;           // published, and handled by nobody
  uint64_t twice = 0;          // handled more than once
  uint64_t altered = 0;        // handled or seen with other bytes than were published
  uint64_t unknown = 0;        // handled or seen, and never published
  uint64_t reader_missed = 0;  // published, and not seen by the reader
  uint64_t reader_twice = 0;
  uint64_t reader_disorder = 0;
  uint64_t miscounted = 0;  // counters of the map that differ from what was reported
  double p50_ms = 0;        // from the call that published to the first handling
  double p99_ms = 0;
  double max_ms = 0;

  bool ok() const {
    return lost == 0 && altered == 0 && unknown == 0 && reader_missed == 0 && reader_twice == 0 &&
           reader_disorder == 0 && miscounted == 0;
  }
};

class Tally {
 public:
  explicit Tally(int consumers) : consumers_(static_cast<size_t>(consumers)) {}

  void handled(int consumer, const Record& record);
  void seen(const Record& record) { seen_.push_back(record); }
  void notice(const Record& record) { notices_.push_back(record.count); }

  ConsumerTally& consumer(int index) { return consumers_[static_cast<size_t>(index)]; }
  uint64_t distinct_handled() const { return distinct_.size(); }
  uint64_t total_handled() const { return handled_.size(); }
  uint64_t total_seen() const { return seen_.size(); }
  const std::vector<uint64_t>& notices() const { return notices_; }
  uint64_t last_handled_ns() const { return last_handled_ns_; }

  // How many counters of the map differ from what the consumers reported.
  uint64_t compare(const Progress& progress) const;

  // Compares all by their ids.
  Verdict compare(const std::vector<Published>& published) const;

 private:
  struct IdHash {
    size_t operator()(const pulse_event_id& id) const {
      return static_cast<size_t>((id.ms * 1048583 + id.seq) * 0x9e3779b97f4a7c15u >> 11);
    }
  };

  struct SameId {
    bool operator()(const pulse_event_id& a, const pulse_event_id& b) const { return a == b; }
  };

  std::vector<ConsumerTally> consumers_;
  std::vector<Record> handled_;
  std::vector<Record> seen_;
  std::vector<uint64_t> notices_;
  std::unordered_set<pulse_event_id, IdHash, SameId> distinct_;
  uint64_t last_handled_ns_ = 0;  // the last first handling of an event
};

}  // namespace job

#endif
