// A scene with a map: a real server, and worker processes (map_worker.h) that write to one map at
// random, each with a replica and a watch of its own.
//
// MapScene::settle() holds what they show against the server's own hash, and finish() what they
// have ever claimed against the history of that hash:
//   - a replica that said "synced" was, at its revision, what the hash was at that revision
//   - so was what the changes told by a watch add up to; its revisions have no holes but at a
//     resynchronisation, and its old values are right
//   - afterwards all replicas get back in step, and equal the hash byte for byte
#ifndef PULSE_TESTS_FAULTS_MAP_SCENE_H
#define PULSE_TESTS_FAULTS_MAP_SCENE_H

#include <vector>

#include "journal.h"
#include "map_history.h"
#include "scene_base.h"

namespace faults {

struct MapClaim {
  uint64_t revision = 0, digest = 0;
  int64_t ms = 0;
};

// A worker process as the test sees it.
struct MapWorkerSeen {
  ~MapWorkerSeen() { ts_process_free(process); }

  std::string name;
  ts_process* process = nullptr;
  std::unique_ptr<JournalReader> journal;
  std::vector<MapClaim> synced, watched;
  bool in_step = false;  // the last of `synced` still holds
  std::vector<int> reasons;
  std::vector<std::string> broken;
  int64_t rewinds = 0, resyncs = 0, writes = 0, failed = 0, unknown = 0, disconnects = -1;
  bool quiet = false;  // no write is under way
};

class MapScene final : public SceneBase {
 public:
  explicit MapScene(const ts_server_options& options = {}, int64_t ttl_ms = 0);
  ~MapScene() override;

  const MapHistory& history() const { return *history_; }
  // Five processes: two whose replica is used by four threads, three with asynchronous writes,
  // under both drivers.  They are in step, and write, when it returns.
  void start(const char* url = nullptr);
  std::vector<std::unique_ptr<MapWorkerSeen>>& workers() { return workers_; }

  void order(MapWorkerSeen& worker, const std::string& text);
  void order_all(const std::string& text);
  // Again and again for so long, and on until `seen`.
  void repeat(int64_t milliseconds, const char* what, const std::function<bool()>& seen,
              const std::function<void()>& round);
  // Waits until each worker has made enough claims that can be checked; they write until then.
  void see_enough();
  // Waits until so many more writes than now have ended well.
  void progress(int64_t writes);
  int64_t total(const std::function<int64_t(const MapWorkerSeen&)>& count) const;
  // Whether any worker gave this reason for being out of step.
  bool gave(int reason) const;

  // The answer of the server, which must be no error.
  void command(const std::vector<std::string>& words);

  // Whether the server knows of this worker's subscription.
  bool follows(const MapWorkerSeen& worker);

  // The map expires, without a message.
  void expire(int64_t milliseconds);

  // The server dies, and comes back.  The workers, who have come through this proxy, come back
  // after the history has begun anew, so that it knows what they see then.
  void kill_server(ts_proxy* proxy);
  // Keeps a copy of its data.
  void keep_data();
  // As kill_server, and it comes back with the data that was kept.  The workers are cut off before:
  // what they have seen the history has heard, and what has another content now was theirs before.
  void rewind(ts_proxy* proxy);

  // The fault is over: once enough was seen the workers stop writing, and get back in step.
  void settle(const char* fault);
  void go();
  // Ends all workers, and checks all that they have claimed.
  void finish();

 private:
  struct Hash {
    MapContent content;
    uint64_t revision = 0;
  };

  MapWorkerSeen& start_worker(const char* url, int64_t rate, int64_t threads);
  void collect() override;
  void record(MapWorkerSeen& worker, const JournalReader::Words& words);
  Hash load() const;
  bool all_equal(Hash* hash);
  void let_history_catch_up();
  void compare_dumps(const Hash& hash);
  void check(const MapWorkerSeen& worker, const std::vector<MapClaim>& claims, const char* what);

  void restart_server(ts_proxy* proxy, bool with_kept_data);

  const bool append_only_;
  const int64_t ttl_ms_;
  std::unique_ptr<MapHistory> history_;
  std::vector<std::unique_ptr<MapWorkerSeen>> workers_;
  bool seen_enough_ = false;
  bool expires_;
  int marks_ = 0;
  int64_t checked_ = 0, unknown_ = 0;
};

}  // namespace faults

#endif
