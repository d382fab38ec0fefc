// One engine with everything on it: streams that are added to, a reader and two sinks of one group
// on all of them, a map that is written to, joined and watched, and a node of a pool with two
// workers that gets jobs.  One thread does all of the work, in work(), and holds what comes against
// what it has done.
#ifndef PULSE_TESTS_SOAK_EVERYTHING_H
#define PULSE_TESTS_SOAK_EVERYTHING_H

#include <pulseengine/pulse.h>

#include <map>
#include <string>
#include <vector>

#include "ledger.h"

namespace soak {

constexpr size_t kStreams = 8;

class Everything {
 public:
  explicit Everything(const char* url);
  ~Everything();
  Everything(const Everything&) = delete;
  Everything& operator=(const Everything&) = delete;

  // Adds, writes and dispatches what is due, and handles what has come; for some milliseconds.
  void work();
  // Nothing new is begun from now on.
  void stop() { stopped_ = true; }

  // What was begun has ended, and all events that were added have come where they belong.
  bool is_settled() const;
  // The longest time that an event has not come so far.
  int64_t longest_delay_ms() const { return longest_delay_ms_; }
  // Confirmed additions to the counter of the map, and those of which it is not known.
  uint64_t counted() const { return counted_; }
  uint64_t perhaps_counted() const { return perhaps_counted_; }
  pulse_map* map() const { return map_; }
  void print() const;

 private:
  void begin_due(int64_t now_ms);
  void add(size_t stream, int64_t now_ms);
  void write(int64_t now_ms);
  void dispatch();
  void finish_jobs();
  void take(const pulse_event& event);
  void take_message(const pulse_event& event);
  pulse_target target(uint64_t token) const;

  pulse_queue* queue_ = nullptr;
  pulse_engine* engine_ = nullptr;
  pulse_stream* streams_[kStreams] = {};
  pulse_reader* reader_ = nullptr;
  pulse_sink* sinks_[2] = {};
  pulse_map* map_ = nullptr;
  pulse_map_watch* watch_ = nullptr;
  pulse_node* node_ = nullptr;
  pulse_worker* workers_[2] = {};

  Ledger ledgers_[kStreams];
  std::map<uint64_t, bool> dispatched_;     // without an answer; whether they were started
  std::map<uint64_t, pulse_job*> running_;  // to be finished
  bool stopped_ = false;
  int64_t last_ms_ = 0, adds_due_ = 0, next_write_ms_ = 0, next_job_ms_ = 0;
  size_t next_stream_ = 0;
  uint64_t next_job_ = 1, writes_ = 0;
  int64_t under_way_ = 0;  // adds and writes
  int64_t longest_delay_ms_ = 0;
  uint64_t counted_ = 0, perhaps_counted_ = 0, redelivered_ = 0, unknown_adds_ = 0, changes_ = 0,
           jobs_done_ = 0, jobs_not_accepted_ = 0;
  std::map<int32_t, uint64_t> notices_;
};

}  // namespace soak

#endif
