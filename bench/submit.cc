// Row 10: how many adds per second another thread can give to the engine.
#include <atomic>
#include <thread>

#include "add_sides.h"
#include "cpu.h"
#include "failure.h"
#include "idle_server.h"
#include "workload.h"

namespace bench {
namespace {

class Submissions : public Side {
 public:
  Submissions()
      : engine_(open_engine(server_.url().c_str())),
        stream_(open_stream(engine_.get(), "submitted", PULSE_UNLIMITED)) {
    target_.callback = [](const pulse_event* event, void* user_data) {
      Submissions& self = *static_cast<Submissions*>(user_data);
      if (event->status != PULSE_OK || event->kind != PULSE_EVENT_ADDED) self.failed_ = true;
      self.completed_.store(self.completed_.load(std::memory_order_relaxed) + 1,
                            std::memory_order_release);
    };
    target_.user_data = this;
    add_and_wait(stream_.get(), kEventName, kPayload);
    server_.replace_socket();
  }

  Sample run(double seconds) override {
    constexpr int64_t kMostUnderWay = 8192;  // what a processor has room for near by
    const uint64_t adds = server_.adds();
    int64_t submitted = 0;
    completed_ = 0;
    const double start = now_seconds(), cpu = own_cpu_seconds();
    pulse_error error = PULSE_ERROR_INIT;
    while (now_seconds() < start + seconds) {
      if (submitted - completed_ > kMostUnderWay) {
        std::this_thread::sleep_for(std::chrono::microseconds(100));
        continue;
      }
      for (int i = 0; i < 256; ++i, ++submitted) {
        require_ok(
            pulse_stream_add(stream_.get(), kEventName.data(), kEventName.size(), kPayload.data(),
                             kPayload.size(), nullptr, &target_, nullptr, &error),
            error, "pulse_stream_add");
      }
    }
    while (completed_ < submitted && now_seconds() < start + seconds + 30) {
      std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
    Sample sample;
    sample.seconds = now_seconds() - start;
    sample.client_cpu = own_cpu_seconds() - cpu;
    sample.operations = static_cast<double>(completed_);
    require(!failed_ && completed_ == submitted, "not all adds completed");
    require(server_.adds() - adds == static_cast<uint64_t>(submitted),
            "not all adds that arrived were as the first one");
    return sample;
  }

 private:
  IdleServer server_;
  pulse_target target_ = PULSE_TARGET_INIT;
  std::atomic<int64_t> completed_{0};
  std::atomic<bool> failed_{false};
  Handle<pulse_engine> engine_;
  Handle<pulse_stream> stream_;
};

}  // namespace

std::vector<Result> run_submit(Context& context) {
  Submissions ours;
  Result result = absolute({"10",
                            "adds per second from one other thread, completed inline; with only "
                            "the socket replaced",
                            "adds/s", 5e6, 10e6},
                           repeat(context.plan, context.progress, ours), rate);
  result.server_cpu_us = kNone;  // within the client's
  return {result};
}

}  // namespace bench
