// A scene: a real server, worker processes around one stream and one sink, and what became of each
// event.
//
// Whatever happens to the server, the connections and the workers meanwhile, Scene::finish() holds
// against the server's own list of entries:
//   - every event that the server acknowledged or still has was handled by the sink, or excused
//     by the test (only where the fault itself takes entries away)
//   - every reader saw every entry exactly once, in order
//   - no add was executed twice, and none of those that are said not to have been executed
//   - nothing stays pending, and every worker ends well
// Events are told apart by their payload, "publisher:number", as ids may be lost with a reply.
#ifndef PULSE_TESTS_FAULTS_SCENE_H
#define PULSE_TESTS_FAULTS_SCENE_H

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "journal.h"
#include "scene_base.h"

namespace faults {

using Id = std::pair<uint64_t, uint64_t>;
Id parse_id(const std::string& text);

struct Seen {
  std::string key;
  Id id;
  uint64_t deliveries;
};

struct Gap {
  Id after, before;
  uint64_t count;
};

// A worker process as the test sees it.
struct Worker {
  ~Worker() { ts_process_free(process); }

  std::string role, name;
  ts_process* process = nullptr;
  std::unique_ptr<JournalReader> journal;
  std::string consumer;  // its name in Redis, "-" for a reader; empty until it receives
  std::vector<Seen> handled, taken;
  std::vector<Gap> gaps;
  std::vector<Id> lost, recreated, not_owner;
  std::map<int, int64_t> failed_adds, failed_acks, read_errors;  // by status
  bool quiet = false;  // a publisher was paused, and all its adds have ended
  int64_t acked = 0, ownership_lost = 0, disconnected = 0, reconnected = 0;
};

class Scene final : public SceneBase {
 public:
  explicit Scene(const ts_server_options& options = {});
  ~Scene() override;

  // Where workers started from now on connect to.
  void set_url(const std::string& url) { common_["url"] = url; }
  // For workers started from now on: grace_ms 600, block_ms 1000, command_timeout_ms 5000,
  // rate 600 (per publisher), work_us 1000, buffer 200, max_len -1.
  void set(const std::string& name, int64_t value) { common_[name] = std::to_string(value); }
  int64_t setting(const std::string& name) const { return std::stoll(common_.at(name)); }

  // Workers are there, and receive, when these return.
  Worker& publisher(const Settings& more = {});
  Worker& consumer(const Settings& more = {});
  Worker& reader(const Settings& more = {});
  // Does not wait until it receives.
  Worker& start(const std::string& role, const Settings& more = {});

  void order(Worker& worker, const std::string& text);
  void order_all(const std::string& role, const std::string& text);
  // No add is under way when it returns.
  void pause(Worker& publisher);
  // SIGKILL.  What it has written stays.
  void kill(Worker& worker);
  // Those that run.
  std::vector<Worker*> all(const std::string& role);
  // Those that run, in any role.
  std::vector<Worker*> everyone();

  // Waits until so many more events than now were acknowledged and handled.
  bool progress(size_t events);

  size_t acknowledged() const { return acknowledged_.size(); }
  size_t handled() const { return handled_.size(); }
  uint64_t redeliveries() const { return redeliveries_; }
  bool was_handled(const std::string& key) const { return handled_.count(key) != 0; }
  const std::map<std::string, Id>& adds() const { return acknowledged_; }
  int64_t total(const std::function<int64_t(const Worker&)>& count) const;
  int64_t recreated() const;  // notices of consumers

  // The answer of the server, which must be no error.
  int64_t command(const std::string& words);
  // 0 where the server has no such field.
  int64_t info(const char* field);

  // Entries may be gone from the server, and so may events from the sink if `excused` says so.
  using Excused = std::function<bool(const std::string& key, const Id& id)>;
  void may_be_gone(Excused excused = nullptr) {
    gone_ = true;
    excused_ = std::move(excused);
  }
  // Ends all workers, each must end well.
  void end_all();
  // The same, and checks all of the above.
  void finish();

 private:
  void collect() override;
  void record(Worker& worker, const JournalReader::Words& words);
  void load_entries();
  bool all_handled() const;
  int64_t pending();
  void print_pending();
  bool all_read();
  void end(const std::string& role);
  void check_adds();
  void check_handled();
  void check_readers();
  void print() const;
  std::set<std::string> entry_keys() const;

  Settings common_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::map<std::string, int> started_;
  std::map<std::string, Id> acknowledged_;
  std::set<std::string> unknown_, refused_;
  std::map<std::string, std::set<Id>> handled_;
  uint64_t handlings_ = 0, redeliveries_ = 0, lost_ = 0;
  std::vector<std::pair<Id, std::string>> entries_;
  bool gone_ = false;
  Excused excused_;
};

// That nobody spins while something is broken: from its construction to check(), the server
// has processed few commands for each worker and each event.
class Calm {
 public:
  explicit Calm(Scene& scene);
  void check(const char* state);

 private:
  int64_t commands() const;
  int64_t connections() const;

  Scene& scene_;
  const int64_t start_ms_, commands_, connections_;
  const size_t events_;
};

}  // namespace faults

#endif
