// Scale: readers and sinks on one engine, each on a stream of its own, of which one in a hundred
// has events.
#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "add_sides.h"
#include "cpu.h"
#include "failure.h"
#include "scale.h"

namespace bench {
namespace {

constexpr size_t kPerRound = 500;
// Longer than a sink's quarter of a grace period.
constexpr double kIdleSeconds = 6;

struct ReaderKind {
  using Receiver = pulse_reader;
  static Handle<pulse_reader> open(pulse_stream* stream, const pulse_target& target) {
    pulse_error error = PULSE_ERROR_INIT;
    pulse_reader* reader = nullptr;
    require_ok(pulse_reader_open(stream, nullptr, &target, &reader, &error), error, "reader_open");
    return Handle<pulse_reader>(reader);
  }
  static pulse_status ready(pulse_reader* reader, pulse_error* error) {
    return pulse_reader_ready_wait(reader, kWaitMs, error);
  }
  static pulse_status handled(pulse_reader*, const pulse_event&) { return PULSE_OK; }
};

struct SinkKind {
  using Receiver = pulse_sink;
  static Handle<pulse_sink> open(pulse_stream* stream, const pulse_target& target) {
    pulse_error error = PULSE_ERROR_INIT;
    pulse_sink* sink = nullptr;
    require_ok(pulse_sink_open(stream, "scale", 5, nullptr, &target, &sink, &error), error,
               "sink_open");
    return Handle<pulse_sink>(sink);
  }
  static pulse_status ready(pulse_sink* sink, pulse_error* error) {
    return pulse_sink_ready_wait(sink, kWaitMs, error);
  }
  static pulse_status handled(pulse_sink* sink, const pulse_event& event) {
    return pulse_sink_ack(sink, &event.ack, 1, nullptr, nullptr, nullptr);
  }
};

template <class Kind>
class Receivers : public Side {
 public:
  Receivers(Place& place, size_t count, size_t active)
      : place_(place), adder_(place), engine_(open_engine(place.url())) {
    const double before = counted_bytes();
    lanes_.resize(count);
    for (size_t i = 0; i < count; ++i) {
      Lane& lane = lanes_[i];
      lane.owner = this;
      lane.stream = open_stream(engine_.get(), "receive-" + std::to_string(i), PULSE_UNLIMITED);
      pulse_target target = PULSE_TARGET_INIT;
      target.callback = [](const pulse_event* event, void* user_data) {
        Lane& to = *static_cast<Lane*>(user_data);
        to.owner->take(to, *event);
      };
      target.user_data = &lane;
      lane.receiver = Kind::open(lane.stream.get(), target);
    }
    pulse_error error = PULSE_ERROR_INIT;
    for (Lane& lane : lanes_) {
      require_ok(Kind::ready(lane.receiver.get(), &error), error, "ready_wait");
    }
    bytes_each_ = (counted_bytes() - before) / static_cast<double>(count);
    for (size_t i = 0; i < active; ++i) {
      adds_.push_back(std::make_unique<Arguments>(
          Words{"XADD", "pulse:stream:receive-" + std::to_string(i * (count / active)), "*", "n",
                kEventName, "p", kPayload}));
    }
  }

  double bytes_each() const { return bytes_each_; }

  // What goes on while nothing happens, per second: milliseconds of CPU, and
  // commands.
  struct Idle {
    double client_ms = 0, server_ms = 0, commands = 0;
  };
  Idle idle(double seconds) {
    const double start = now_seconds(), cpu = own_cpu_seconds(), server = place_.cpu();
    const int64_t before = all_calls();
    std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
    const double took = now_seconds() - start;
    return {(own_cpu_seconds() - cpu) * 1000 / took, (place_.cpu() - server) * 1000 / took,
            static_cast<double>(all_calls() - before - 1) / took};
  }

  // Rounds of events over the active streams; the next one begins when half of
  // one has arrived.
  Sample run(double seconds) override {
    Sample sample;
    uint64_t sent = received_;
    const uint64_t first = sent;
    const double start = now_seconds(), cpu = own_cpu_seconds(), server = place_.cpu(),
                 adding = thread_cpu_seconds();
    while (now_seconds() < start + seconds) {
      for (size_t i = 0; i < kPerRound; ++i) adder_.append(*adds_[sent++ % adds_.size()]);
      for (size_t i = 0; i < kPerRound; ++i) adder_.reply();
      wait_for(sent - kPerRound / 2);
    }
    wait_for(sent);
    sample.seconds = now_seconds() - start;
    sample.client_cpu = own_cpu_seconds() - cpu - (thread_cpu_seconds() - adding);
    sample.server_cpu = place_.cpu() - server;
    sample.operations = static_cast<double>(sent - first);
    return sample;
  }

 private:
  struct Lane {
    Receivers* owner = nullptr;
    Handle<pulse_stream> stream;
    Handle<typename Kind::Receiver> receiver;
    pulse_event_id last{};
  };

  int64_t all_calls() {
    int64_t sum = 0;
    for (const auto& [name, calls] : place_.calls()) sum += calls;
    return sum;
  }

  void take(Lane& lane, const pulse_event& event) {
    if (event.kind != PULSE_EVENT_MESSAGE) return;
    const bool in_order = lane.last < event.id;
    lane.last = event.id;
    if (!in_order || Kind::handled(lane.receiver.get(), event) != PULSE_OK) failed_ = true;
    const uint64_t count = ++received_;
    if (!failed_ && count % (kPerRound / 2) != 0) return;
    const std::lock_guard<std::mutex> lock(mutex_);
    changed_.notify_all();
  }

  void wait_for(uint64_t count) {
    std::unique_lock<std::mutex> lock(mutex_);
    const bool arrived = changed_.wait_for(lock, std::chrono::milliseconds(kWaitMs),
                                           [&] { return failed_ || received_ >= count; });
    require(!failed_, "an event came twice, or out of order");
    require(arrived, "events do not arrive");
  }

  Place& place_;
  double bytes_each_ = 0;
  HiredisConnection adder_;
  std::vector<std::unique_ptr<Arguments>> adds_;
  std::vector<Lane> lanes_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::atomic<uint64_t> received_{0};
  std::atomic<bool> failed_{false};
  Handle<pulse_engine> engine_;  // closes first
};

template <class Kind>
Series measure(Context& context, const char* name, const char* what) {
  Series series{name,
                what,
                "streams",
                {"with events", "µs per event", "client µs", "server µs", "connections",
                 "idle: client ms/s", "server ms/s", "commands/s", "bytes each"},
                {}};
  // One in a hundred has events; and once as many as of ten thousand, without the others.
  constexpr std::pair<size_t, size_t> kPoints[] = {
      {1, 1}, {100, 1}, {100, 100}, {1000, 10}, {10000, 100}};
  for (const auto& [count, active] : kPoints) {
    Receivers<Kind> receivers(context.place, count, active);
    const Result result = absolute({}, repeat(context.plan, context.progress, receivers), rate);
    const auto idle = receivers.idle(kIdleSeconds);
    const double seconds_each = 1 / result.ours;
    series.points.push_back(
        {static_cast<double>(count),
         {static_cast<double>(active), 1e6 * seconds_each,
          result.client_cpu_us - idle.client_ms * 1000 * seconds_each,
          result.server_cpu_us - idle.server_ms * 1000 * seconds_each,
          static_cast<double>(context.place.clients_called("pulseengine")), idle.client_ms,
          idle.server_ms, idle.commands, receivers.bytes_each()}});
    context.place.flush();
  }
  return series;
}

}  // namespace

Series scale_readers(Context& context) {
  return measure<ReaderKind>(context, "readers",
                             "readers on one engine, each on a stream of its own");
}

Series scale_sinks(Context& context) {
  return measure<SinkKind>(context, "sinks",
                           "sinks on one engine, each on a stream of its own, each event acked by "
                           "itself");
}

}  // namespace bench
