// A scene with a pool: a real server, and processes with a node each (pool_worker.h).
//
// PoolScene::settle() holds against what the server has:
//   - the jobs that run are those that exist, each on one worker, the one that it is listed under
//   - what was accepted exists until it has finished or was stopped; what was refused never ran
//   - nothing is left in the queue
// and finish() against what all processes have written down:
//   - no two runs of a job overlap, but where the older one's process was frozen or cut off
//   - a job that ran its course runs again only if that was not known
// Then it shuts the pool down, and looks for what was left behind.
#ifndef PULSE_TESTS_FAULTS_POOL_SCENE_H
#define PULSE_TESTS_FAULTS_POOL_SCENE_H

#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "journal.h"
#include "scene_base.h"

namespace faults {

// A job on a worker, from the request to start it to the answer that it has stopped.
struct JobRun {
  std::string key, worker;
  size_t process = 0;  // index
  int64_t begin_us = 0, end_us = INT64_MAX;
  int reason = 0;  // why it was to stop
  bool requeued = false, started = false;
};

// A process as the test sees it.
struct PoolProcess {
  ~PoolProcess() { ts_process_free(process); }

  std::string name;
  ts_process* process = nullptr;
  size_t index = 0;
  std::unique_ptr<JournalReader> journal;
  Proxy proxy;  // its way to the server, if it has one of its own
  bool workers = false, client_only = false;
  bool member = false, closed = false, frozen = false, killed = false;
  int closed_status = 0;
  std::vector<std::string> ready;  // ids of its workers, in the order in which they came
  std::map<uint64_t, size_t> runs;
  std::set<std::string> asked;                    // dispatches without an answer
  std::vector<std::pair<int64_t, int64_t>> away;  // when it was frozen, cut off, or did not run
  int64_t declared_dead = 0;                      // its workers
  std::vector<int64_t> declared_dead_us;          // and when it heard of that
  int64_t id_ms = 0;                              // when the node's id was made, by its own clock
};

class PoolScene final : public SceneBase {
 public:
  explicit PoolScene(const ts_server_options& options = {}, const Settings& more = {});
  ~PoolScene() override;

  // The times that this scene's nodes go by.
  int64_t ttl_ms() const { return std::stoll(common_.at("ttl_ms")); }
  int64_t grace_ms() const { return std::stoll(common_.at("grace_ms")); }

  // Takes part, with workers that are ready, when it returns.
  PoolProcess& node(int workers, const Settings& more = {});
  // Has a proxy of its own.
  PoolProcess& distant_node(int workers, const Settings& more = {});
  // Only dispatches.
  PoolProcess& dispatcher(const Settings& more = {});
  // Those that run; with workers, or without.
  std::vector<PoolProcess*> all(bool workers);
  PoolProcess& any(bool workers);
  // Nodes that only route.
  std::vector<PoolProcess*> routers();

  void order(PoolProcess& process, const std::string& text);
  void dispatch(PoolProcess& process, const std::string& prefix, size_t count);
  void stop(PoolProcess& process, const std::string& key);
  void kill(PoolProcess& process);  // SIGKILL
  void freeze(PoolProcess& process);
  void thaw(PoolProcess& process);
  void cut_off(PoolProcess& process);  // a distant one: half open, until
  void reconnect(PoolProcess& process);
  void leave(PoolProcess& process);  // in good order

  enum class Outcome { asked, accepted, unknown, refused };
  struct Job {
    Outcome outcome = Outcome::asked;
    int status = 0;
    size_t dispatcher = 0;
    bool stopped = false;     // somebody was told to have it stopped
    bool stopping = false;    // and the request was accepted
    bool may_finish = false;  // has come to its end at least once
  };
  const std::map<std::string, Job>& jobs() const { return jobs_; }
  const std::vector<JobRun>& runs() const { return runs_; }
  size_t count(Outcome outcome) const;
  size_t running() const;         // and started
  int64_t declared_dead() const;  // workers
  // Dispatches that hold their keys.
  size_t guards() const;
  // All dispatches of processes that live have an answer.
  bool all_answered();

  // The answer of the server as texts.
  std::vector<std::string> list(const std::vector<std::string>& words) const;
  int64_t number(const std::vector<std::string>& words) const;

  void settle(const char* what);
  void finish();

 private:
  PoolProcess& start(const Settings& settings, Proxy proxy);
  void wait_ready(PoolProcess& process, int workers);
  void collect() override;
  void record(PoolProcess& process, const JournalReader::Words& words);
  bool settled(std::string* why);
  void check_overlaps();
  void check_outcomes();
  void check_keys();
  bool excused(const JobRun& older, const JobRun& newer) const;
  void print(const char* what) const;
  void print_queue();
  void print_runs(const std::string& key) const;

  Settings common_;
  std::vector<std::unique_ptr<PoolProcess>> processes_;
  std::map<std::string, Job> jobs_;
  std::vector<JobRun> runs_;
  std::vector<std::string> broken_;
  size_t records_ = 0;  // that something has happened
  int64_t excused_ = 0;
};

}  // namespace faults

#endif
