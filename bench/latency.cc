// Row 9: how long one add takes that is alone.
#include <algorithm>
#include <atomic>
#include <thread>

#include "add_sides.h"
#include "cpu.h"
#include "failure.h"
#include "workload.h"

namespace bench {
namespace {

// The figure is the median of what single adds took, in microseconds.
class OneAtATime : public Side {
 public:
  explicit OneAtATime(Place& place) : place_(place) {}

  Sample run(double seconds) final {
    took_.clear();
    Sample sample;
    const double start = now_seconds(), cpu = own_cpu_seconds(), server = place_.cpu();
    work(start + seconds);
    sample.seconds = now_seconds() - start;
    sample.client_cpu = own_cpu_seconds() - cpu;
    sample.server_cpu = place_.cpu() - server;
    sample.operations = static_cast<double>(took_.size());
    sample.figure = quantile(took_, 0.5) * 1e6;
    return sample;
  }

 protected:
  virtual void work(double end) = 0;

  // An add that began then has this id.
  void note(double began, const pulse_event_id& id) {
    took_.push_back(now_seconds() - began);
    require(last_ < id, "the ids of adds do not go up");
    last_ = id;
  }

 private:
  Place& place_;
  std::vector<double> took_;
  pulse_event_id last_{};
};

class Blocking : public OneAtATime {
 public:
  Blocking(Place& place, const Words& command)
      : OneAtATime(place), connection_(place), arguments_(command) {}

 protected:
  void work(double end) override {
    for (double now = now_seconds(); now < end; now = now_seconds()) {
      const HiredisReply reply = connection_.command(arguments_);
      note(now, parse_id(reply.get()));
    }
  }

 private:
  HiredisConnection connection_;
  Arguments arguments_;
};

class Waiting : public OneAtATime {
 public:
  explicit Waiting(Place& place, int64_t spin_us = 0)
      : OneAtATime(place),
        engine_(open_engine(place.url(), 1, spin_us)),
        stream_(open_stream(engine_.get(), "waiting", kTrimAlways)) {}

 protected:
  void work(double end) override {
    for (double now = now_seconds(); now < end; now = now_seconds()) {
      note(now, add_and_wait(stream_.get(), kEventName, kPayload));
    }
  }

 private:
  Handle<pulse_engine> engine_;
  Handle<pulse_stream> stream_;
};

// Each completion makes the next add, on the loop.
class Inline : public OneAtATime {
 public:
  explicit Inline(Place& place)
      : OneAtATime(place),
        engine_(open_engine(place.url())),
        stream_(open_stream(engine_.get(), "inline", kTrimAlways)) {
    target_.callback = [](const pulse_event* event, void* user_data) {
      static_cast<Inline*>(user_data)->on_added(*event);
    };
    target_.user_data = this;
  }

 protected:
  void work(double end) override {
    end_ = end;
    done_ = false;
    add();
    while (!done_) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    require(failure_.empty(), failure_);
  }

 private:
  void add() {
    began_ = now_seconds();
    pulse_error error = PULSE_ERROR_INIT;
    require_ok(
        pulse_stream_add(stream_.get(), kEventName.data(), kEventName.size(), kPayload.data(),
                         kPayload.size(), nullptr, &target_, nullptr, &error),
        error, "pulse_stream_add");
  }

  void on_added(const pulse_event& event) {
    try {
      require(event.status == PULSE_OK, "an add failed");
      note(began_, event.id);
      if (now_seconds() < end_) {
        add();
        return;
      }
    } catch (const Failure& failure) {
      failure_ = failure.what();
    }
    done_ = true;
  }

  Handle<pulse_engine> engine_;
  Handle<pulse_stream> stream_;
  pulse_target target_ = PULSE_TARGET_INIT;
  double end_ = 0, began_ = 0;
  std::string failure_;
  std::atomic<bool> done_{false};
};

}  // namespace

std::vector<Result> run_latency(Context& context) {
  Blocking reference(context.place, add_command(context.place, kTrimAlways));
  std::vector<Result> results;
  const auto of = [&](const Row& row, Side& ours) {
    results.push_back(
        compare(row, alternate(context.plan, context.progress, ours, reference), figure));
  };
  Inline inline_adds(context.place);
  of({"9a", "one add at a time, inline callback, p50 / blocking hiredis", "us", 1.4, 1.1, true},
     inline_adds);
  Waiting waiting(context.place);
  of({"9b", "one add at a time, _wait from another thread, p50 / blocking hiredis", "us", 1.8, 1.3,
      true},
     waiting);
  Waiting spinning(context.place, 1000);
  of({"9c", "one add at a time, _wait with wait_spin_us, p50 / blocking hiredis", "us", 1.0, 0.5,
      true},
     spinning);
  return results;
}

}  // namespace bench
