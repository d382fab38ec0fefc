// Row 16: what it costs to take events from a queue instead of inline.
#include <atomic>
#include <condition_variable>
#include <mutex>

#include "cpu.h"
#include "events.h"
#include "failure.h"
#include "workload.h"

namespace bench {
namespace {

// Reads all events of the stream; the figure is the client's CPU time per event, in nanoseconds.
class Read : public Side {
 public:
  Read(Place& place, const Events& events, bool polled)
      : place_(place),
        events_(events),
        polled_(polled),
        engine_(open_engine(place.url())),
        stream_(open_stream(engine_.get(), events.stream, PULSE_UNLIMITED)) {}

  Sample run(double) override {
    next_ = 0;
    wrong_ = done_ = false;
    pulse_error error = PULSE_ERROR_INIT;
    pulse_target target = PULSE_TARGET_INIT;
    Handle<pulse_queue> queue;
    if (polled_) {
      require_ok(pulse_queue_new(&target.queue, &error), error, "pulse_queue_new");
      queue.reset(target.queue);
    } else {
      target.callback = [](const pulse_event* event, void* user_data) {
        static_cast<Read*>(user_data)->take(*event);
      };
      target.user_data = this;
    }
    pulse_reader_options options = PULSE_READER_OPTIONS_INIT;
    options.start = PULSE_START_OLDEST;
    Sample sample;
    const double start = now_seconds(), cpu = own_cpu_seconds(), server = place_.cpu();
    pulse_reader* reader = nullptr;
    require_ok(pulse_reader_open(stream_.get(), &options, &target, &reader, &error), error,
               "pulse_reader_open");
    const Handle<pulse_reader> owned(reader);
    if (polled_) {
      poll(queue.get());
    } else {
      std::unique_lock<std::mutex> lock(mutex_);
      changed_.wait_for(lock, std::chrono::seconds(60), [&] { return done_.load(); });
    }
    sample.seconds = now_seconds() - start;
    sample.client_cpu = own_cpu_seconds() - cpu;
    sample.server_cpu = place_.cpu() - server;
    require_ok(pulse_reader_close_wait(reader, kWaitMs, &error), error, "pulse_reader_close_wait");
    require(!wrong_ && next_ == events_.ids.size(),
            "the reader delivers other events than there are");
    sample.operations = static_cast<double>(next_);
    sample.figure = sample.client_us() * 1000;
    return sample;
  }

 private:
  void poll(pulse_queue* queue) {
    constexpr size_t kBatch = 256;
    std::vector<pulse_event> batch(kBatch);
    while (!done_) {
      const int64_t count = pulse_queue_poll(queue, batch.data(), sizeof batch[0], kBatch, 60000);
      require(count > 0, "the queue gives no events");
      for (int64_t i = 0; i < count; ++i) take(batch[static_cast<size_t>(i)]);
    }
  }

  void take(const pulse_event& event) {
    if (event.kind == PULSE_EVENT_READY || event.kind == PULSE_EVENT_CLOSED) return;
    if (event.kind != PULSE_EVENT_MESSAGE || next_ == events_.ids.size() ||
        pulse_event_id_compare(&event.id, &events_.ids[next_]) != 0) {
      wrong_ = true;
    } else {
      ++next_;
    }
    if (!wrong_ && next_ < events_.ids.size()) return;
    const std::lock_guard<std::mutex> lock(mutex_);
    done_ = true;
    changed_.notify_all();
  }

  Place& place_;
  const Events& events_;
  bool polled_;
  size_t next_ = 0;
  bool wrong_ = false;
  std::atomic<bool> done_{false};
  std::mutex mutex_;
  std::condition_variable changed_;
  Handle<pulse_engine> engine_;
  Handle<pulse_stream> stream_;
};

}  // namespace

std::vector<Result> run_queue(Context& context) {
  const size_t count = context.plan.slice < 0.5 ? 100000 : 1000000;
  const Events events = fill_stream(context.place, "events", count);
  Read polled(context.place, events, true);
  Read inline_reads(context.place, events, false);
  auto groups = alternate(context.plan, context.progress, polled, inline_reads);
  for (Group& group : groups) group.ours.figure -= group.reference.figure;
  return {
      absolute({"16",
                "events of a reader through a queue, polled in batches of 256: client CPU above "
                "inline delivery",
                "ns/event", 60, 30, true},
               groups, figure)};
}

}  // namespace bench
