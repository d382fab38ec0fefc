// How far the consumers are, in a replicated map: each writes its own counter, and adds to one that
// they share; the coordinator reads them from its copy.
#ifndef TOOLS_QUICKSTART_JOB_PROGRESS_H
#define TOOLS_QUICKSTART_JOB_PROGRESS_H

#include <cstdint>
#include <string>
#include <vector>

#include "common.h"

namespace job {

// A consumer's side.
class ProgressWriter {
 public:
  // `name` is that of the consumer's own counter.
  ProgressWriter(Connection* connection, const Settings& settings, const std::string& name);
  ~ProgressWriter();
  ProgressWriter(const ProgressWriter&) = delete;
  ProgressWriter& operator=(const ProgressWriter&) = delete;

  // So many more events were handled.  Does not wait: while a write is under way the rest of the
  // count stays for the next one.
  void add(uint64_t events);

  // Waits until the server has all of it.  Throws an Error for a write that failed.
  void flush();

 private:
  void send();
  void take(int64_t timeout_ms);

  const std::string name_;
  pulse_queue* queue_ = nullptr;
  pulse_map* map_ = nullptr;
  uint64_t handled_ = 0;
  uint64_t sent_ = 0;  // of them
  bool under_way_ = false;
};

// What the map said in the end.
struct Progress {
  uint64_t revision = 0;
  std::vector<uint64_t> handled;  // by consumer, from 1 on
  uint64_t total = 0;
};

// The coordinator's side.
class ProgressReader {
 public:
  ProgressReader(Connection* connection, const Settings& settings);
  ~ProgressReader();
  ProgressReader(const ProgressReader&) = delete;
  ProgressReader& operator=(const ProgressReader&) = delete;

  // Empties the map, whatever an earlier job has left in it.
  void reset();

  // Reads the copy when it has all that was written before this call.
  Progress read_all();

 private:
  pulse_map* map_ = nullptr;
};

// The counter of a consumer.
std::string progress_key(int consumer);

}  // namespace job

#endif
