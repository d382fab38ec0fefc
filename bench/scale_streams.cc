// Scale: adds of larger and larger payloads, and over more and more streams.
#include <algorithm>

#include "add_sides.h"
#include "cpu.h"
#include "failure.h"
#include "scale.h"

namespace bench {
namespace {

// One engine with many streams; each completion adds to the next one.
class AddsInTurn : public Side {
 public:
  AddsInTurn(Place& place, size_t streams) : place_(place), engine_(open_engine(place.url())) {
    const double before = counted_bytes();
    for (size_t i = 0; i < streams; ++i) {
      streams_.push_back(open_stream(engine_.get(), name(i), PULSE_UNLIMITED));
    }
    bytes_each_ = (counted_bytes() - before) / static_cast<double>(streams);
    added_.resize(streams);
    target_.callback = [](const pulse_event* event, void* user_data) {
      static_cast<AddsInTurn*>(user_data)->on_added(*event);
    };
    target_.user_data = this;
  }

  double bytes_each() const { return bytes_each_; }

  Sample run(double seconds) override {
    stop_ = false;
    completed_ = 0;
    Sample sample;
    const double start = now_seconds(), cpu = own_cpu_seconds(), server = place_.cpu();
    for (int i = 0; i < kInFlight && !failed_; ++i) {
      const std::lock_guard<std::mutex> lock(adding_);
      add();
    }
    std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
    stop_ = true;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      changed_.wait(lock, [&] { return failed_ || under_way_ == 0; });
    }
    require(!failed_, "an add failed");
    sample.seconds = now_seconds() - start;
    sample.client_cpu = own_cpu_seconds() - cpu;
    sample.server_cpu = place_.cpu() - server;
    sample.operations = static_cast<double>(completed_);
    // Some are looked at.
    for (size_t i = 0; i < streams_.size(); i += std::max<size_t>(1, streams_.size() / 50)) {
      require(place_.integer({"XLEN", "pulse:stream:" + name(i)}) == added_[i],
              "the server has not as many events as were confirmed");
    }
    return sample;
  }

 private:
  static constexpr int kInFlight = 1024;
  static std::string name(size_t i) { return "turn-" + std::to_string(i); }

  void add() {
    ++under_way_;
    ++added_[at_];
    if (pulse_stream_add(streams_[at_].get(), kEventName.data(), kEventName.size(), kPayload.data(),
                         kPayload.size(), nullptr, &target_, nullptr, nullptr) != PULSE_OK) {
      fail();
    }
    at_ = at_ + 1 == streams_.size() ? 0 : at_ + 1;
  }

  void on_added(const pulse_event& event) {
    if (event.status != PULSE_OK) fail();
    ++completed_;
    if (!stop_.load(std::memory_order_relaxed)) {
      const std::lock_guard<std::mutex> lock(adding_);
      add();
    }
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
  double bytes_each_ = 0;
  std::vector<Handle<pulse_stream>> streams_;
  std::vector<int64_t> added_;
  size_t at_ = 0;
  pulse_target target_ = PULSE_TARGET_INIT;
  std::mutex adding_, mutex_;
  std::condition_variable changed_;
  std::atomic<int64_t> under_way_{0};
  uint64_t completed_ = 0;
  std::atomic<bool> stop_{false}, failed_{false};
  Handle<pulse_engine> engine_;  // closes first
};

}  // namespace

Series scale_payload(Context& context) {
  Series series{"payload",
                "adds of one size, MAXLEN with each; up to 4 MiB in flight",
                "bytes of payload",
                {"adds/s", "MiB/s", "client µs", "server µs"},
                {}};
  for (const int size : {16, 256, 4096, 65536, 1 << 20}) {
    const int in_flight = std::clamp((4 << 20) / size, 4, 1024);
    AddsFromLoop adds(context.place, 1, 1, in_flight, kTrimAlways,
                      std::string(static_cast<size_t>(size), 'x'));
    const Result result = absolute({}, repeat(context.plan, context.progress, adds), rate);
    series.points.push_back({static_cast<double>(size),
                             {result.ours, result.ours * size / (1 << 20), result.client_cpu_us,
                              result.server_cpu_us}});
  }
  return series;
}

Series scale_streams(Context& context) {
  Series series{"streams",
                "adds in turn to the streams of one engine, 1024 in flight",
                "stream handles",
                {"adds/s", "client µs", "server µs", "bytes per handle"},
                {}};
  for (const int count : {1, 100, 10000, 100000}) {
    AddsInTurn adds(context.place, static_cast<size_t>(count));
    const Result result = absolute({}, repeat(context.plan, context.progress, adds), rate);
    series.points.push_back(
        {static_cast<double>(count),
         {result.ours, result.client_cpu_us, result.server_cpu_us, adds.bytes_each()}});
    context.place.flush();
  }
  return series;
}

}  // namespace bench
