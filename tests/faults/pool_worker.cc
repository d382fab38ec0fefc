#include "pool_worker.h"

#include <algorithm>
#include <chrono>
#include <cinttypes>
#include <deque>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "program.h"
#include "skewed_clock.h"
#include "support.h"

namespace faults {
namespace {

constexpr int64_t kMostInFlight = 64;                       // dispatches, but for bursts
constexpr int64_t kTryAgainMs = 50;                         // what was not accepted
constexpr int64_t kStallUs = 200000;                        // between two turns
constexpr uint64_t kNode = 0, kShutdown = 1, kWorkers = 2;  // tokens
constexpr uint64_t kDispatches = uint64_t{1} << 32, kStops = uint64_t{1} << 33;

int64_t now_us() {
  using namespace std::chrono;
  return duration_cast<microseconds>(steady_clock::now().time_since_epoch()).count();
}

std::string text(const char* data, size_t size) { return std::string(data, size); }

class PoolProgram final : public Program {
 public:
  explicit PoolProgram(const Arguments& arguments)
      : Program(arguments),
        name_(arguments.text("name")),
        handle_ms_(arguments.number("handle_ms")),
        finish_ms_(arguments.number("finish_ms")),
        holding_(arguments.number("hold") == 1) {
    pulse_node_options options = PULSE_NODE_OPTIONS_INIT;
    options.worker_ttl_ms = arguments.number("ttl_ms");
    options.ack_grace_ms = arguments.number("grace_ms");
    options.job_sink_block_ms = arguments.number("block_ms");
    options.max_queued_jobs = arguments.number("max_queued");
    options.client_only = arguments.number("client_only") == 1 ? 1 : 0;
    const std::string pool = arguments.text("pool");
    const pulse_target to = target(kNode);
    must(pulse_node_join(engine_, pool.data(), pool.size(), &options, &to, &node_, nullptr),
         "join");
    for (int64_t i = arguments.number("workers"); i > 0; i--) add_worker();
  }

 private:
  struct Run {
    uint64_t number = 0;
    std::string key;
    bool stopping = false;
  };
  // An answer to be given.
  struct Due {
    char what;  // S, E or F
    pulse_job* job;
  };

  void work() override {
    const int64_t now = now_us();
    if (now - last_us_ > kStallUs) journal_.line("W %" PRId64 " %" PRId64, last_us_, now);
    last_us_ = now;
    pulse_event events[64];
    const size_t count = poll(events, 64, wait_ms());
    for (size_t i = 0; i < count; i++) take(events[i]);
    journal_.flush();
    answer_due();
    dispatch_more();
    journal_.flush();
  }

  int64_t wait_ms() const {
    if (due_.empty()) return kIdleMs;
    return std::min(kIdleMs, std::max<int64_t>(due_.begin()->first - ts_now_ms(), 0));
  }

  void take(const pulse_event& event) {
    switch (event.kind) {
      case PULSE_EVENT_JOB_START:
        take_start(event);
        break;
      case PULSE_EVENT_JOB_STOP:
        take_stop(event);
        break;
      case PULSE_EVENT_JOB_DISPATCHED:
        dispatched(event.token, event.status, event.flags);
        break;
      case PULSE_EVENT_JOB_REQUESTED:
        stop_requested(event.token, event.status);
        break;
      case PULSE_EVENT_OWNERSHIP_LOST:
        journal_.line("X %s %" PRId64, worker_id(event.token).c_str(), now_us());
        break;
      case PULSE_EVENT_READY:
        if (event.token == kNode) {
          char id[27] = "-";
          pulse_node_get_id(node_, id, sizeof id);
          journal_.line("M %s", id);
        } else {
          journal_.line("Y %s", worker_id(event.token).c_str());
        }
        break;
      case PULSE_EVENT_POOL_SHUT_DOWN:
        journal_.line("O %d %" PRIu64, event.status, event.count);
        break;
      case PULSE_EVENT_CLOSED:
        if (event.token != kNode) break;
        journal_.line("C %d", event.status);
        closed_ = true;
        break;
      default:
        break;
    }
  }

  // --- jobs ------------------------------------------------------------------------

  void take_start(const pulse_event& event) {
    const std::string key = text(event.name, event.name_len);
    if (text(event.payload, event.payload_len) != payload_of(key)) {
      journal_.line("! the payload of %s is wrong", key.c_str());
    }
    size_t size = 0;
    const char* worker = pulse_job_worker(event.job, &size);
    Run& run = runs_[event.job];
    if (run.number == 0) pulse_job_ref(event.job);
    run = {next_run_++, key, false};
    journal_.line("B %" PRIu64 " %s %.*s %" PRId64 " %d", run.number, key.c_str(),
                  static_cast<int>(size), worker, now_us(), pulse_job_requeued(event.job));
    if (holding_) {
      held_.push_back(event.job);
    } else {
      later({'S', event.job}, handle_ms_);
    }
  }

  void take_stop(const pulse_event& event) {
    const auto run = runs_.find(event.job);
    if (run == runs_.end()) {
      journal_.line("! %.*s is stopped, and does not run", static_cast<int>(event.name_len),
                    event.name);
      return;
    }
    journal_.line("T %" PRIu64 " %" PRId64 " %d", run->second.number, now_us(), event.state);
    run->second.stopping = true;
    later({'E', event.job}, handle_ms_);
  }

  void later(const Due& due, int64_t most_ms) {
    due_.emplace(ts_now_ms() + random_up_to(most_ms), due);
  }

  // Written down first: whoever has it next begins after that.
  void answer_due() {
    const int64_t now = ts_now_ms();
    while (!due_.empty() && due_.begin()->first <= now) {
      const Due due = due_.begin()->second;
      due_.erase(due_.begin());
      const auto run = runs_.find(due.job);
      if (run == runs_.end()) continue;  // it has finished
      journal_.line("%c %" PRIu64 " %" PRId64, due.what, run->second.number, now_us());
      journal_.flush();
      if (due.what == 'S') {
        if (pulse_job_started(due.job, PULSE_OK, nullptr, 0) != PULSE_OK) {
          // Its worker is closed.
          journal_.line("E %" PRIu64 " %" PRId64, run->second.number, now_us());
          ended(run);
        } else if (run->second.key[0] == 'f') {
          later({'F', due.job}, finish_ms_);
        }
      } else if (due.what == 'E') {
        pulse_job_stopped(due.job, PULSE_OK, nullptr, 0);
        ended(run);
      } else if (pulse_job_finish(due.job, PULSE_OK, nullptr, 0) == PULSE_OK) {
        ended(run);
      } else {
        journal_.line("G %" PRIu64, run->second.number);
      }
    }
  }

  void ended(std::map<pulse_job*, Run>::iterator run) {
    pulse_job* job = run->first;
    runs_.erase(run);
    // What is left to say about it is not said.
    for (auto at = due_.begin(); at != due_.end();) {
      at = at->second.job == job ? due_.erase(at) : std::next(at);
    }
    pulse_job_unref(job);
  }

  // --- dispatches ------------------------------------------------------------------

  std::string new_key(const std::string& prefix) {
    return prefix + "-" + name_ + "-" + std::to_string(next_key_++);
  }

  void dispatch_more() {
    if (todo_.empty() || ts_now_ms() < try_again_ms_) return;
    while (!todo_.empty() && static_cast<int64_t>(dispatches_.size()) < kMostInFlight) {
      const std::string key = todo_.front();
      todo_.pop_front();
      const uint64_t token = kDispatches + next_dispatch_++;
      dispatches_[token] = {key, true};
      journal_.line("D %s", key.c_str());
      journal_.flush();
      pulse_error error = PULSE_ERROR_INIT;
      const pulse_status status = dispatch(key, token, &error);
      if (status == PULSE_OK) continue;
      dispatched(token, status, error.flags | PULSE_ERROR_NEVER_SENT);
      return;
    }
  }

  pulse_status dispatch(const std::string& key, uint64_t token, pulse_error* error) {
    const std::string payload = payload_of(key);
    const pulse_target to = target(token);
    return pulse_node_dispatch(node_, key.data(), key.size(), payload.data(), payload.size(), &to,
                               nullptr, error);
  }

  void dispatched(uint64_t token, pulse_status status, uint32_t flags) {
    const auto found = dispatches_.find(token);
    const std::string key = found->second.key;
    const bool again = found->second.again;
    dispatches_.erase(found);
    if (status == PULSE_OK) {
      journal_.line("A %s", key.c_str());
    } else if ((flags & PULSE_ERROR_OUTCOME_UNKNOWN) != 0) {
      journal_.line("U %s %d", key.c_str(), status);
    } else if (again && status != PULSE_ERR_EXISTS && status != PULSE_ERR_SHUTTING_DOWN) {
      todo_.push_back(key);
      try_again_ms_ = ts_now_ms() + kTryAgainMs;
    } else {
      journal_.line("V %s %d", key.c_str(), status);
    }
  }

  void burst(const std::string& prefix, int threads, int count) {
    std::vector<std::vector<std::pair<uint64_t, std::string>>> keys(static_cast<size_t>(threads));
    for (auto& list : keys) {
      for (int i = 0; i < count; i++) {
        list.emplace_back(kDispatches + next_dispatch_++, new_key(prefix));
        dispatches_[list.back().first] = {list.back().second, false};
        journal_.line("D %s", list.back().second.c_str());
      }
    }
    std::vector<std::thread> running;
    for (const auto& list : keys) {
      running.emplace_back([this, &list] {
        for (const auto& [token, key] : list) must(dispatch(key, token, nullptr), "dispatch");
      });
    }
    for (std::thread& thread : running) thread.join();
  }

  void stop(const std::string& key) {
    const uint64_t token = kStops + next_stop_++;
    stops_[token] = key;
    const pulse_target to = target(token);
    const pulse_status status =
        pulse_node_stop_job(node_, key.data(), key.size(), &to, nullptr, nullptr);
    if (status != PULSE_OK) stop_requested(token, status);
  }

  void stop_requested(uint64_t token, pulse_status status) {
    const auto found = stops_.find(token);
    const std::string key = found->second;
    stops_.erase(found);
    if (status == PULSE_OK) {
      journal_.line("P %s", key.c_str());
    } else if (status != PULSE_ERR_CLOSED) {
      stop(key);
    }
  }

  // --- the node --------------------------------------------------------------------

  void add_worker() {
    const pulse_target to = target(kWorkers + workers_.size());
    pulse_worker* worker = nullptr;
    must(pulse_node_add_worker(node_, nullptr, &to, &worker, nullptr), "add_worker");
    workers_.push_back(worker);
  }

  std::string worker_id(uint64_t token) {
    char id[27] = "-";
    pulse_worker_get_id(workers_.at(token - kWorkers), id, sizeof id);
    return id;
  }

  void ordered(const std::string& order) override {
    char word[16], prefix[64];
    int number = 0, count = 0;
    const int words = sscanf(order.c_str(), "%15s %63s %d %d", word, prefix, &number, &count);
    const std::string what = words > 0 ? word : "";
    if (what == "dispatch") {
      for (int i = 0; i < number; i++) todo_.push_back(new_key(prefix));
    } else if (what == "burst") {
      burst(prefix, number, count);
    } else if (what == "stop") {
      stop(prefix);
    } else if (what == "hold" || what == "release") {
      holding_ = what == "hold";
      if (holding_) return;
      for (pulse_job* job : held_) later({'S', job}, 0);
      held_.clear();
    } else if (what == "add") {
      add_worker();
    } else if (what == "remove") {
      if (removed_ < workers_.size()) pulse_worker_close(workers_[removed_++]);
    } else if (what == "tell") {
      tell();
    } else if (what == "shutdown") {
      const pulse_target to = target(kShutdown);
      must(pulse_node_shutdown(node_, &to, nullptr, nullptr), "shutdown");
    } else {
      fprintf(stderr, "worker: no such order: %s\n", order.c_str());
    }
  }

  void tell() {
    char id[27] = "-";
    pulse_node_get_id(node_, id, sizeof id);
    pulse_node_metrics m = {};
    m.size = sizeof m;
    must(pulse_node_get_metrics(node_, &m), "metrics");
    size_t active = 0, known = 0;
    pulse_pool_snapshot* snapshot = nullptr;
    if (pulse_node_take_snapshot(node_, &snapshot, nullptr) == PULSE_OK) {
      known = pulse_pool_snapshot_worker_count(snapshot);
      for (size_t i = 0; i < known; i++) {
        pulse_worker_info info = {};
        pulse_pool_snapshot_get_worker(snapshot, i, &info, sizeof info);
        active += info.active != 0 ? 1 : 0;
      }
      pulse_pool_snapshot_unref(snapshot);
    }
    journal_.line("I %s holds %" PRIu64 ", waits for %" PRIu64 ", routed %" PRIu64
                  ", again %" PRIu64 "; %zu of %zu workers active, own jobs %" PRIu64 ", %zu runs",
                  id, m.held, m.unanswered, m.routed, m.rerouted, active, known, m.jobs,
                  runs_.size());
  }

  // Handlers answer until all is handed over.
  pulse_status finish() override {
    pulse_node_close(node_);
    todo_.clear();
    while (!closed_ || !dispatches_.empty()) work();
    // Nobody waits for these answers: the node was taken for dead when it was to leave.
    for (const auto& [job, run] : runs_) {
      if (run.stopping) journal_.line("E %" PRIu64 " %" PRId64, run.number, now_us());
    }
    for (pulse_worker* worker : workers_) pulse_worker_unref(worker);
    for (auto& [job, run] : runs_) pulse_job_unref(job);
    pulse_node_unref(node_);
    return PULSE_OK;
  }

  const std::string name_;
  const int64_t handle_ms_, finish_ms_;
  bool holding_;
  pulse_node* node_ = nullptr;
  std::vector<pulse_worker*> workers_;
  size_t removed_ = 0;
  bool closed_ = false;
  int64_t last_us_ = now_us();
  std::map<pulse_job*, Run> runs_;  // each with a reference
  uint64_t next_run_ = 1;
  std::multimap<int64_t, Due> due_;
  std::vector<pulse_job*> held_;
  std::deque<std::string> todo_;  // keys
  int64_t try_again_ms_ = 0;
  struct Dispatch {
    std::string key;
    bool again;
  };
  std::map<uint64_t, Dispatch> dispatches_;
  std::map<uint64_t, std::string> stops_;
  uint64_t next_key_ = 1, next_dispatch_ = 1, next_stop_ = 1;
};

}  // namespace

int run_pool_worker(const Arguments& arguments) {
  const int64_t skew_s = arguments.number("skew_s");
  if (skew_s != 0) skew_clock(skew_s);
  return PoolProgram(arguments).run();
}

}  // namespace faults
