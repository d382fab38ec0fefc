// What a map was at each of its revisions, as the server itself tells it: from MONITOR.
#ifndef PULSE_TESTS_FAULTS_MAP_HISTORY_H
#define PULSE_TESTS_FAULTS_MAP_HISTORY_H

#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>

#include "map_content.h"
#include "support.h"

namespace faults {

// Follows what the scripts of all writers publish, on a connection that no fault touches but the
// end of the server.  After that it starts from a copy of the hash again; the revisions before it
// are not known then.  A revision may have several contents: of the time before and after the
// server lost data.
class MapHistory {
 public:
  MapHistory(ts_server* server, std::string name);
  ~MapHistory();
  MapHistory(const MapHistory&) = delete;
  MapHistory& operator=(const MapHistory&) = delete;

  // The newest revision that it has heard of; 0 while it does not know.
  uint64_t revision() const;
  bool knows(uint64_t revision) const;
  bool was(uint64_t revision, uint64_t digest) const;
  size_t size() const;
  // When it heard of the last change.
  int64_t changed_ms() const { return changed_ms_.load(); }
  // How many commands it has seen.
  uint64_t commands() const { return commands_.load(); }
  // Whether it has come as far as this ECHO.
  bool has_heard(const std::string& echo) const;
  // How often it has started from a copy.
  int starts() const { return starts_.load(); }

 private:
  void run();
  bool begin(ts_connection* monitor);
  void take(const std::string& line);
  void take_message(const std::string& message);
  void note();

  ts_server* const server_;
  const std::string name_;
  std::atomic<bool> stop_{false};
  std::atomic<int> starts_{0};
  std::atomic<int64_t> changed_ms_{0};
  std::atomic<uint64_t> commands_{0};
  std::thread thread_;

  mutable std::mutex mutex_;  // guards what follows
  bool known_ = false;
  MapContent content_;
  uint64_t revision_ = 0;
  std::map<uint64_t, std::set<uint64_t>> digests_;
  std::string echo_;  // the last one
  // The copy that is asked for, until its mark comes along.
  std::string mark_;
  MapContent copy_;
  uint64_t copy_revision_ = 0;
};

}  // namespace faults

#endif
