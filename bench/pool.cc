// Row 15: dispatching jobs.
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

constexpr int kCallers = 64, kWorkers = 4;
const std::string kPayload(64, 'x');

// A caller dispatches the next job when the last one was answered.  Jobs finish as soon as they
// have started, but for those that are to stay.
class Dispatches : public Side {
 public:
  explicit Dispatches(Place& place) : place_(place), engine_(open_engine(place.url())) {
    pulse_error error = PULSE_ERROR_INIT;
    pulse_node* node = nullptr;
    require_ok(pulse_node_join_wait(engine_.get(), "measured", 8, nullptr, nullptr, kWaitMs, &node,
                                    &error),
               error, "pulse_node_join_wait");
    node_.reset(node);
    pulse_target target = PULSE_TARGET_INIT;
    target.callback = on_request;
    target.user_data = this;
    for (int i = 0; i < kWorkers; ++i) {
      pulse_worker* worker = nullptr;
      require_ok(pulse_node_add_worker(node, nullptr, &target, &worker, &error), error,
                 "add_worker");
      workers_.emplace_back(worker);
      require_ok(pulse_worker_ready_wait(worker, kWaitMs, &error), error,
                 "pulse_worker_ready_wait");
    }
    answered_.callback = [](const pulse_event* event, void* user_data) {
      static_cast<Dispatches*>(user_data)->on_answer(*event);
    };
    answered_.user_data = this;
  }

  // Starts jobs that stay, until there are so many on each worker or the time is over: how many
  // there are.
  int64_t keep(int64_t per_worker, double seconds) {
    staying_ = true;
    dispatch_all([this, live = per_worker * kWorkers, end = now_seconds() + seconds] {
      // The one that has just been answered counts twice.
      return live_ + under_way_ <= live && now_seconds() < end;
    });
    staying_ = false;
    require(!failed_, "a dispatch failed: " + failure_);
    require(jobs() == static_cast<uint64_t>(live_.load()), "jobs that were started are not there");
    return live_ / kWorkers;
  }

  Sample run(double seconds) override {
    const int64_t answers = answers_;
    const uint64_t finished = metrics().finished;
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
    return sample;
  }

 private:
  template <typename More>
  void dispatch_all(More more) {
    more_ = more;
    for (int i = 0; i < kCallers; ++i) dispatch_next();
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [&] { return failed_ || under_way_ == 0; });
    more_ = [] { return false; };
  }

  void dispatch_next() {
    const std::string key = "job-" + std::to_string(next_++);
    ++under_way_;
    pulse_error error = PULSE_ERROR_INIT;
    if (pulse_node_dispatch(node_.get(), key.data(), key.size(), kPayload.data(), kPayload.size(),
                            &answered_, nullptr, &error) != PULSE_OK) {
      fail(error.message);
    }
  }

  void on_answer(const pulse_event& event) {
    if (event.status != PULSE_OK) fail(std::string(event.message, event.message_len));
    ++answers_;
    if (staying_) ++live_;
    // Counted down last: the one that waits must not see an end in between.
    if (more_()) dispatch_next();
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

  pulse_node_metrics metrics() const {
    pulse_node_metrics metrics{};
    metrics.size = sizeof metrics;
    require(pulse_node_get_metrics(node_.get(), &metrics) == PULSE_OK, "pulse_node_get_metrics");
    return metrics;
  }
  uint64_t jobs() const { return metrics().jobs; }

  Place& place_;
  pulse_target answered_ = PULSE_TARGET_INIT;
  std::function<bool()> more_;
  std::atomic<int64_t> next_{0}, under_way_{0}, answers_{0}, live_{0};
  std::atomic<bool> staying_{false}, failed_{false};
  std::string failure_;
  std::mutex mutex_;
  std::condition_variable changed_;
  Handle<pulse_engine> engine_;
  Handle<pulse_node> node_;
  std::vector<Handle<pulse_worker>> workers_;
};

}  // namespace

std::vector<Result> run_pool(Context& context) {
  Dispatches ours(context.place);
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

}  // namespace bench
