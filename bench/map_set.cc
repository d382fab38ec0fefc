// Row 12: sets of a map, one after the other in a pipeline.
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "cpu.h"
#include "failure.h"
#include "maps.h"
#include "redis_benchmark.h"
#include "workload.h"

namespace bench {
namespace {

const std::string kKey = "measured";
const std::string kValue(64, 'x');

// So many sets under way; each completion makes the next one, on the loop.
class Sets : public Side {
 public:
  Sets(Place& place, const std::string& name, bool coalescing, int queued)
      : place_(place),
        queued_(queued),
        engine_(open_engine(place.url())),
        map_(join_map(engine_.get(), name, coalescing)) {
    target_.callback = [](const pulse_event* event, void* user_data) {
      static_cast<Sets*>(user_data)->on_written(*event);
    };
    target_.user_data = this;
  }

  Sample run(double seconds) override {
    revision_ = set_and_wait(map_.get(), kKey, kValue);
    const uint64_t before = revision_;
    stop_ = false;
    Sample sample;
    const double start = now_seconds(), cpu = own_cpu_seconds(), server = place_.cpu();
    for (int i = 0; i < queued_; ++i) set();
    std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
    stop_ = true;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      changed_.wait(lock, [&] { return failed_ || under_way_ == 0; });
    }
    require(!failed_, "a set failed, or took no revision of its own");
    sample.seconds = now_seconds() - start;
    sample.client_cpu = own_cpu_seconds() - cpu;
    sample.server_cpu = place_.cpu() - server;
    sample.operations = static_cast<double>(revision_ - before);
    pulse_error error = PULSE_ERROR_INIT;
    require_ok(pulse_map_wait_revision(map_.get(), revision_, kWaitMs, &error), error,
               "pulse_map_wait_revision");
    return sample;
  }

 private:
  void set() {
    ++under_way_;
    if (pulse_map_set(map_.get(), kKey.data(), kKey.size(), kValue.data(), kValue.size(), &target_,
                      nullptr, nullptr) != PULSE_OK) {
      fail();
    }
  }

  // Revisions are without holes: nobody else writes.
  void on_written(const pulse_event& event) {
    if (event.status != PULSE_OK || event.map_result_count != 1 ||
        event.map_results[0].revision != revision_ + 1) {
      fail();
      return;
    }
    ++revision_;
    if (!stop_) set();
    if (--under_way_ > 0) return;
    const std::lock_guard<std::mutex> lock(mutex_);
    changed_.notify_all();
  }

  void fail() {
    const std::lock_guard<std::mutex> lock(mutex_);
    failed_ = true;
    changed_.notify_all();
  }

  Place& place_;
  int queued_;
  pulse_target target_ = PULSE_TARGET_INIT;
  std::atomic<uint64_t> revision_{0};
  std::atomic<int64_t> under_way_{0};
  std::atomic<bool> stop_{false}, failed_{false};
  std::mutex mutex_;
  std::condition_variable changed_;
  Handle<pulse_engine> engine_;
  Handle<pulse_map> map_;
};

}  // namespace

std::vector<Result> run_map_set(Context& context) {
  std::vector<Result> results;
  const struct {
    const char* row;
    const char* name;
    bool coalescing;
    int queued;
    double at_least, aim;
  } cases[] = {
      {"12a", "map set, each in a script run of its own, 1024 in flight", false, 1024, 0.9, 0.98},
      {"12b", "map set, 10 queued", true, 10, 1.8, 2.5},
      {"12c", "map set, 64 queued", true, 64, 1.8, 2.5},
      {"12d", "map set, 1024 queued", true, 1024, 1.8, 2.5}};
  for (const auto& one : cases) {
    // The map's replica stays, so that the script publishes to somebody in both.
    const std::string map = std::string("sets-") + one.row;
    RedisBenchmark reference(context.place, 1, 1024, set_command(context.place, map, kKey, kValue));
    Sets ours(context.place, map, one.coalescing, one.queued);
    results.push_back(
        compare({one.row,
                 std::string(one.name) + " / redis-benchmark -c1 -P1024, EVALSHA of the "
                                         "same script",
                 "sets/s", one.at_least, one.aim},
                alternate(context.plan, context.progress, ours, reference), rate));
  }
  return results;
}

}  // namespace bench
