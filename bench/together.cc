// Row 14: events are added, handed out and acked at the same time.
#include <atomic>
#include <thread>

#include "add_sides.h"
#include "cpu.h"
#include "failure.h"
#include "redis_benchmark.h"
#include "sink_sides.h"
#include "workload.h"

namespace bench {
namespace {

constexpr int64_t kUnderWay = 4096;  // added and not yet acked

// A thread adds while fewer than so many are under way, another one polls and acks in batches.
class Together : public Side {
 public:
  explicit Together(Place& place)
      : place_(place),
        engine_(open_engine(place.url())),
        stream_(open_stream(engine_.get(), "together", 100 * kUnderWay)) {
    pulse_error error = PULSE_ERROR_INIT;
    pulse_target target = PULSE_TARGET_INIT;
    require_ok(pulse_queue_new(&target.queue, &error), error, "pulse_queue_new");
    queue_.reset(target.queue);
    pulse_sink* sink = nullptr;
    require_ok(pulse_sink_open(stream_.get(), "measured", 8, nullptr, &target, &sink, &error),
               error, "pulse_sink_open");
    sink_.reset(sink);
    require_ok(pulse_sink_ready_wait(sink, kWaitMs, &error), error, "pulse_sink_ready_wait");
    added_target_.callback = [](const pulse_event* event, void* user_data) {
      Together& self = *static_cast<Together*>(user_data);
      if (event->status != PULSE_OK || !(self.added_ < event->id)) self.failed_ = true;
      self.added_ = event->id;
      ++self.adds_confirmed_;
    };
    added_target_.user_data = this;
  }

  Sample run(double seconds) override {
    const uint64_t acked_before = acked();
    const double start = now_seconds(), cpu = own_cpu_seconds(), server = place_.cpu();
    const double end = start + seconds;
    std::atomic<bool> adding{true};
    std::thread adder([&] {
      while (now_seconds() < end && !failed_) {
        for (int64_t room = kUnderWay - (adds_ - handled_); room > 0 && !failed_; --room) add();
        std::this_thread::sleep_for(std::chrono::microseconds(200));
      }
      adding = false;
    });
    while (adding || (handled_ < adds_ && !failed_)) take();
    adder.join();
    while (acked() != static_cast<uint64_t>(handled_) && !failed_ && now_seconds() < end + 30) {
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
    Sample sample;
    sample.seconds = now_seconds() - start;
    sample.client_cpu = own_cpu_seconds() - cpu;
    sample.server_cpu = place_.cpu() - server;
    sample.operations = static_cast<double>(acked() - acked_before);
    require(!failed_, "an event was not added, handed out in order, or acked");
    require(adds_confirmed_ == adds_ && acked() == static_cast<uint64_t>(adds_),
            "not all that was added is acked");
    return sample;
  }

 private:
  void add() {
    ++adds_;
    if (pulse_stream_add(stream_.get(), kEventName.data(), kEventName.size(), kPayload.data(),
                         kPayload.size(), nullptr, &added_target_, nullptr, nullptr) != PULSE_OK) {
      failed_ = true;
    }
  }

  void take() {
    constexpr size_t kBatch = 256;
    pulse_event events[kBatch];
    pulse_ack_handle handles[kBatch];
    const int64_t count = pulse_queue_poll(queue_.get(), events, sizeof events[0], kBatch, 100);
    size_t taken = 0;
    for (int64_t i = 0; i < count; ++i) {
      const pulse_event& event = events[i];
      if (event.kind == PULSE_EVENT_READY) continue;
      if (event.kind != PULSE_EVENT_MESSAGE || event.deliveries != 1 || !(last_ < event.id)) {
        failed_ = true;
      }
      last_ = event.id;
      handles[taken++] = event.ack;
    }
    if (taken == 0) return;
    if (pulse_sink_ack(sink_.get(), handles, taken, nullptr, nullptr, nullptr) != PULSE_OK) {
      failed_ = true;
    }
    handled_ += static_cast<int64_t>(taken);
  }

  uint64_t acked() const {
    pulse_sink_metrics metrics{};
    metrics.size = sizeof metrics;
    require(pulse_sink_get_metrics(sink_.get(), &metrics) == PULSE_OK, "pulse_sink_get_metrics");
    return metrics.acked;
  }

  Place& place_;
  pulse_target added_target_ = PULSE_TARGET_INIT;
  pulse_event_id added_{}, last_{};
  std::atomic<int64_t> adds_{0}, adds_confirmed_{0}, handled_{0};
  std::atomic<bool> failed_{false};
  Handle<pulse_queue> queue_;
  Handle<pulse_engine> engine_;
  Handle<pulse_stream> stream_;
  Handle<pulse_sink> sink_;
};

// As fast as the server alone could be: its CPU time for an add in a pipeline, plus that for an
// event read and acked a thousand at a time.
class Floors : public Side {
 public:
  Floors(Place& place, const Events& events, const Words& command)
      : adds_(place, 1, 1024, command), sink_(place, events, 1000) {}

  Sample run(double seconds) override {
    const Sample add = adds_.run(seconds / 2), read = sink_.run(seconds / 2);
    Sample sample;
    sample.operations = 1;
    sample.seconds = (add.server_us() + read.server_us()) * 1e-6;
    return sample;
  }

 private:
  RedisBenchmark adds_;
  HiredisSink sink_;
};

}  // namespace

std::vector<Result> run_together(Context& context) {
  const Events events =
      fill_stream(context.place, "events", static_cast<size_t>(context.plan.slice * 800000));
  Floors reference(context.place, events, add_command(context.place, 100 * kUnderWay));
  Together ours(context.place);
  const auto groups = alternate(context.plan, context.progress, ours, reference);
  return {compare({"14", "add, sink and ack together / the sum of the server's CPU times for each",
                   "events/s", 0.55, 0.8},
                  groups, rate)};
}

}  // namespace bench
