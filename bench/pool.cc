// Rows 15 and 17: dispatching jobs.
#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "cpu.h"
#include "engine.h"
#include "failure.h"
#include "workload.h"

namespace bench {
namespace {

constexpr int kManyCallers = 64, kWorkersPerNode = 4;
const std::string kPayload(64, 'x');

// A caller dispatches the next job when the last one was answered.  Jobs finish as soon as they
// have started, but for those that are to stay.  Each node has an engine of its own, and callers
// take turns with them.
class Dispatches : public Side {
 public:
  Dispatches(Place& place, int callers, int nodes) : place_(place), callers_(callers) {
    for (int i = 0; i < nodes; ++i) add_node();
    answered_.callback = [](const pulse_event* event, void* user_data) {
      auto* caller = static_cast<Caller*>(user_data);
      caller->all->on_answer(*caller, *event);
    };
  }

  // Starts jobs that stay, until there are so many on each worker or the time is over: how many
  // there are.
  int64_t keep(int64_t per_worker, double seconds) {
    staying_ = true;
    const auto workers = static_cast<int64_t>(workers_.size());
    dispatch_all([this, live = per_worker * workers, end = now_seconds() + seconds] {
      // The one that has just been answered counts twice.
      return live_ + under_way_ <= live && now_seconds() < end;
    });
    staying_ = false;
    require(!failed_, "a dispatch failed: " + failure_);
    require(jobs() == static_cast<uint64_t>(live_.load()), "jobs that were started are not there");
    return live_ / workers;
  }

  Sample run(double seconds) override {
    const int64_t answers = answers_;
    const uint64_t finished = metrics().finished;
    for (Caller& caller : of_callers_) caller.took.clear();
    const auto calls = place_.calls();
    const double start = now_seconds(), cpu = own_cpu_seconds(), server = place_.cpu();
    dispatch_all([end = start + seconds] { return now_seconds() < end; });
    Sample sample;
    sample.operations = static_cast<double>(answers_ - answers);
    sample.seconds = now_seconds() - start;
    sample.client_cpu = own_cpu_seconds() - cpu;
    sample.server_cpu = place_.cpu() - server;
    // Finished jobs are taken off the server a little later.
    const double deadline = now_seconds() + 30;
    while ((metrics().finished - finished < static_cast<uint64_t>(answers_ - answers) ||
            jobs() != static_cast<uint64_t>(live_.load())) &&
           now_seconds() < deadline && !failed_) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    require(!failed_, "a dispatch failed: " + failure_);
    require(metrics().finished - finished == static_cast<uint64_t>(answers_ - answers) &&
                jobs() == static_cast<uint64_t>(live_.load()),
            "of " + std::to_string(answers_ - answers) + " jobs that were started " +
                std::to_string(metrics().finished - finished) + " have finished; " +
                std::to_string(jobs()) + " live, " + std::to_string(live_) + " expected");
    int64_t commands = -1;  // INFO
    for (const auto& [name, count] : place_.calls()) {
      const auto before = calls.find(name);
      commands += count - (before == calls.end() ? 0 : before->second);
    }
    sample.figure = static_cast<double>(commands) / sample.operations;
    std::vector<double> took;
    for (const Caller& caller : of_callers_)
      took.insert(took.end(), caller.took.begin(), caller.took.end());
    p50_.push_back(quantile(took, 0.5) * 1e6);
    p99_.push_back(quantile(took, 0.99) * 1e6);
    return sample;
  }

  // Of each run, in microseconds.
  const std::vector<double>& p50() const { return p50_; }
  const std::vector<double>& p99() const { return p99_; }

 private:
  struct Caller {
    Dispatches* all = nullptr;
    pulse_node* node = nullptr;
    double began = 0;
    std::vector<double> took;
  };

  void add_node() {
    pulse_error error = PULSE_ERROR_INIT;
    engines_.push_back(open_engine(place_.url()));
    pulse_node* node = nullptr;
    require_ok(pulse_node_join_wait(engines_.back().get(), "measured", 8, nullptr, nullptr, kWaitMs,
                                    &node, &error),
               error, "pulse_node_join_wait");
    nodes_.emplace_back(node);
    pulse_target target = PULSE_TARGET_INIT;
    target.callback = on_request;
    target.user_data = this;
    for (int i = 0; i < kWorkersPerNode; ++i) {
      pulse_worker* worker = nullptr;
      require_ok(pulse_node_add_worker(node, nullptr, &target, &worker, &error), error,
                 "add_worker");
      workers_.emplace_back(worker);
      require_ok(pulse_worker_ready_wait(worker, kWaitMs, &error), error,
                 "pulse_worker_ready_wait");
    }
  }

  template <typename More>
  void dispatch_all(More more) {
    more_ = more;
    of_callers_.resize(static_cast<size_t>(callers_));
    ++under_way_;  // the end must not be seen before all have begun
    for (size_t i = 0; i < of_callers_.size(); ++i) {
      of_callers_[i].all = this;
      of_callers_[i].node = nodes_[i % nodes_.size()].get();
      dispatch_next(of_callers_[i]);
    }
    --under_way_;
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [&] { return failed_ || under_way_ == 0; });
    more_ = [] { return false; };
  }

  void dispatch_next(Caller& caller) {
    const std::string key = "job-" + std::to_string(next_++);
    ++under_way_;
    pulse_error error = PULSE_ERROR_INIT;
    pulse_target answered = answered_;
    answered.user_data = &caller;
    caller.began = now_seconds();
    if (pulse_node_dispatch(caller.node, key.data(), key.size(), kPayload.data(), kPayload.size(),
                            &answered, nullptr, &error) != PULSE_OK) {
      fail(error.message);
    }
  }

  void on_answer(Caller& caller, const pulse_event& event) {
    caller.took.push_back(now_seconds() - caller.began);
    if (event.status != PULSE_OK) fail(std::string(event.message, event.message_len));
    ++answers_;
    if (staying_) ++live_;
    // Counted down last: the one that waits must not see an end in between.
    if (more_()) dispatch_next(caller);
    if (--under_way_ > 0) return;
    const std::lock_guard<std::mutex> lock(mutex_);
    changed_.notify_all();
  }

  static void on_request(const pulse_event* event, void* user_data) {
    Dispatches& self = *static_cast<Dispatches*>(user_data);
    if (event->kind == PULSE_EVENT_JOB_STOP) pulse_job_stopped(event->job, PULSE_OK, nullptr, 0);
    if (event->kind != PULSE_EVENT_JOB_START) return;
    if (pulse_job_started(event->job, PULSE_OK, nullptr, 0) != PULSE_OK) self.fail("started");
    if (self.staying_) return;
    if (pulse_job_finish(event->job, PULSE_OK, nullptr, 0) != PULSE_OK) self.fail("finish");
  }

  void fail(const std::string& text) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!failed_) failure_ = text;
    failed_ = true;
    changed_.notify_all();
  }

  // Of all nodes together.
  pulse_node_metrics metrics() const {
    pulse_node_metrics all{};
    for (const auto& node : nodes_) {
      pulse_node_metrics metrics{};
      metrics.size = sizeof metrics;
      require(pulse_node_get_metrics(node.get(), &metrics) == PULSE_OK, "pulse_node_get_metrics");
      all.finished += metrics.finished;
      all.jobs += metrics.jobs;
    }
    return all;
  }
  uint64_t jobs() const { return metrics().jobs; }

  Place& place_;
  const int callers_;
  std::vector<Caller> of_callers_;
  std::vector<double> p50_, p99_;
  pulse_target answered_ = PULSE_TARGET_INIT;
  std::function<bool()> more_;
  std::atomic<int64_t> next_{0}, under_way_{0}, answers_{0}, live_{0};
  std::atomic<bool> staying_{false}, failed_{false};
  std::string failure_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Handle<pulse_engine>> engines_;
  std::vector<Handle<pulse_node>> nodes_;
  std::vector<Handle<pulse_worker>> workers_;
};

}  // namespace

std::vector<Result> run_pool(Context& context) {
  Dispatches ours(context.place, kManyCallers, 1);
  const auto groups = repeat(context.plan, context.progress, ours);
  const std::string what = "dispatch, 64 callers, 1 node, 4 workers, jobs finish at once";
  std::vector<Result> results = {
      absolute({"15a", what, "jobs/s", 10000, 20000}, groups, rate),
      absolute({"15b", what + ": commands per job, those inside scripts included", "commands", 14,
                9, true},
               groups, figure)};
  // Starting so many can take long: then it goes on with those that there are.
  const double patience = context.plan.slice < 0.5 ? 5 : 60;
  for (const auto& [row, live] : {std::pair("15c", 1000), std::pair("15d", 10000)}) {
    const int64_t there = ours.keep(live, patience);
    results.push_back(absolute(
        {row, what + ", with " + std::to_string(there) + " live jobs per worker", "jobs/s"},
        repeat(context.plan, context.progress, ours), rate));
    if (there < live) break;
  }
  return results;
}

std::vector<Result> run_pool_callers(Context& context) {
  std::vector<Result> results;
  char row[] = "17a";
  for (const int nodes : {1, 4}) {
    for (const int callers : {1, 8, kManyCallers}) {
      context.place.flush();
      Dispatches ours(context.place, callers, nodes);
      const auto groups = repeat(context.plan, context.progress, ours);
      const std::string what = "dispatch, " + std::to_string(callers) +
                               (callers == 1 ? " caller, " : " callers, ") + std::to_string(nodes) +
                               (nodes == 1 ? " node" : " nodes") +
                               ", 4 workers each, jobs finish at once";
      const auto add = [&](const std::string& name, const char* unit, Figure of) {
        results.push_back(absolute({row, name, unit}, groups, of));
        ++row[2];
      };
      const auto add_latency = [&](const char* name, const std::vector<double>& us) {
        add(what + name, "us", rate);
        results.back().ratio = quartiles(us);
        results.back().ours = results.back().ratio.median;
      };
      add(what, "jobs/s", rate);
      add_latency(": half of them take", ours.p50());
      add_latency(": 99 of 100 take no more than", ours.p99());
      add(what + ": commands per job", "commands", figure);
    }
  }
  return results;
}

}  // namespace bench
