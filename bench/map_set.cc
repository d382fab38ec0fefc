// Row 12: sets of a map, one after the other in a pipeline.
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "cpu.h"
#include "failure.h"
#include "hiredis_connection.h"
#include "maps.h"
#include "redis_benchmark.h"
#include "workload.h"

namespace bench {
namespace {

const std::string kKey = "measured";
const std::string kValue(64, 'x');

// So many sets under way, each by itself or so many in a batch; each completion makes the next one,
// on the loop.
class Sets : public Side {
 public:
  Sets(Place& place, const std::string& name, bool coalescing, int queued, size_t batch)
      : place_(place),
        queued_(queued),
        batch_(batch, pulse_map_batch_item{PULSE_MAP_OP_SET, 0, kKey.data(), kKey.size(),
                                           kValue.data(), kValue.size(), 0}),
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
    for (int i = 0; i < queued_; i += static_cast<int>(batch_.size())) set();
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
    const pulse_status status =
        batch_.size() == 1
            ? pulse_map_set(map_.get(), kKey.data(), kKey.size(), kValue.data(), kValue.size(),
                            &target_, nullptr, nullptr)
            : pulse_map_batch(map_.get(), batch_.data(), sizeof batch_[0], batch_.size(), &target_,
                              nullptr, nullptr);
    if (status != PULSE_OK) fail();
  }

  // Revisions are without holes: nobody else writes.
  void on_written(const pulse_event& event) {
    bool good = event.status == PULSE_OK && event.map_result_count == batch_.size();
    for (size_t i = 0; good && i < batch_.size(); ++i) {
      good = event.map_results[i].revision == ++revision_;
    }
    if (!good) {
      fail();
      return;
    }
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
  const int queued_;
  const std::vector<pulse_map_batch_item> batch_;
  pulse_target target_ = PULSE_TARGET_INIT;
  std::atomic<uint64_t> revision_{0};
  std::atomic<int64_t> under_way_{0};
  std::atomic<bool> stop_{false}, failed_{false};
  std::mutex mutex_;
  std::condition_variable changed_;
  Handle<pulse_engine> engine_;
  Handle<pulse_map> map_;
};

// Ten sets in each script run, one run after the other.
class BlockingRuns : public Side {
 public:
  BlockingRuns(Place& place, const Words& command, int sets)
      : sets_(sets), connection_(place), arguments_(command) {}

  Sample run(double seconds) override {
    Sample sample;
    const double start = now_seconds();
    for (; now_seconds() < start + seconds; sample.operations += sets_) {
      const HiredisReply reply = connection_.command(arguments_);
      require(reply->type == REDIS_REPLY_ARRAY && reply->elements == static_cast<size_t>(sets_),
              "hiredis: not as many results as sets");
    }
    sample.seconds = now_seconds() - start;
    return sample;
  }

 private:
  const int sets_;
  HiredisConnection connection_;
  Arguments arguments_;
};

}  // namespace

std::vector<Result> run_map_set(Context& context) {
  constexpr int kBatch = 10;
  std::vector<Result> results;
  const struct {
    const char* row;
    const char* name;
    bool coalescing;
    int queued;
    size_t batch;
    double at_least, aim;
  } cases[] = {
      {"12a", "map set, each in a script run of its own, 1024 in flight", false, 1024, 1, 0.9,
       0.98},
      {"12b", "map set, 10 in each script run, 1020 in flight", true, 1020, kBatch, 1.8, 2.5},
      {"12c", "map set, 64 queued", true, 64, 1, 1.8, 2.5},
      {"12d", "map set, 1024 queued", true, 1024, 1, 1.8, 2.5}};
  for (const auto& one : cases) {
    // The map's replica stays, so that the script publishes to somebody in both.
    const std::string map = std::string("sets-") + one.row;
    RedisBenchmark reference(context.place, 1, 1024,
                             set_command(context.place, map, {{kKey, kValue}}));
    Sets ours(context.place, map, one.coalescing, one.queued, one.batch);
    results.push_back(
        compare({one.row,
                 std::string(one.name) + " / redis-benchmark -c1 -P1024, EVALSHA of the "
                                         "same script",
                 "sets/s", one.at_least, one.aim},
                alternate(context.plan, context.progress, ours, reference), rate));
  }
  if (context.place.transport() == Transport::tls) return results;
  const std::string map = "sets-12e";
  BlockingRuns reference(context.place,
                         set_command(context.place, map, Pairs(kBatch, {kKey, kValue})), kBatch);
  Sets ours(context.place, map, true, kBatch, 1);
  results.push_back(compare(
      {"12e", "map set, no more than 10 queued / blocking hiredis, 10 in each script run", "sets/s"},
      alternate(context.plan, context.progress, ours, reference), rate));
  return results;
}

}  // namespace bench
