// Everything at once on one engine, with a fault every second, for PULSE_SOAK_SECONDS (600 when it
// is not set): no event is lost, and neither memory nor descriptors grow after the first minute.
#include "everything.h"

#include <gtest/gtest.h>

#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>

#include "counted_memory.h"
#include "samples.h"
#include "support.h"

namespace soak {
namespace {

class Faults {
 public:
  Faults(ts_server* server, ts_proxy* proxy) : server_(server), proxy_(proxy) {
    const char* given = getenv("PULSE_FAULT_SEED");
    const uint64_t seed = given != nullptr ? strtoull(given, nullptr, 10) : std::random_device()();
    random_.seed(seed);
    printf("  seed %" PRIu64 " (PULSE_FAULT_SEED)\n", seed);
    fflush(stdout);
  }

  void next() {
    count_++;
    if (count_ % 30 == 0) {
      ASSERT_EQ(ts_server_kill(server_), 1);
      ASSERT_EQ(ts_server_restart(server_), 1);
      return;
    }
    switch (up_to(6)) {
      case 0:
        ts_proxy_cut_all(proxy_);
        break;
      case 1:
        ts_proxy_stall(proxy_, static_cast<int>(TS_TO_SERVER + up_to(TS_BOTH - TS_TO_SERVER)));
        break;
      case 2:
        ts_proxy_cut_after(proxy_, up_to(1) == 0 ? TS_TO_SERVER : TS_TO_CLIENT, 1 + up_to(20000));
        break;
      case 3:
        // Commands were executed, and nobody hears of it.
        ts_proxy_drop(proxy_, TS_TO_CLIENT, 1);
        break;
      case 4:
        ts_reply_free(ts_command(server_, "SCRIPT", "FLUSH", nullptr));
        break;
      case 5:
        ts_reply_free(ts_command(server_, "CLIENT", "KILL", "TYPE", "pubsub", nullptr));
        break;
      default:
        ts_reply_free(ts_command(server_, "CLIENT", "KILL", "TYPE", "normal", nullptr));
        break;
    }
    mend_ms_ = ts_now_ms() + static_cast<int64_t>(up_to(400));
  }

  // What lasts is over after a while; what was dropped is gone with its connections.
  void mend(int64_t now_ms) {
    if (mend_ms_ == 0 || now_ms < mend_ms_) return;
    mend_ms_ = 0;
    ts_proxy_cut_all(proxy_);
    ts_proxy_drop(proxy_, TS_TO_CLIENT, 0);
    ts_proxy_resume(proxy_, TS_BOTH);
  }

 private:
  uint64_t up_to(uint64_t most) {
    return std::uniform_int_distribution<uint64_t>(0, most)(random_);
  }

  ts_server* const server_;
  ts_proxy* const proxy_;
  std::mt19937_64 random_;
  int64_t count_ = 0, mend_ms_ = 0;
};

int64_t seconds_to_run() {
  const char* given = getenv("PULSE_SOAK_SECONDS");
  return given != nullptr ? atoll(given) : 600;
}

void run(Everything& everything, Faults& faults, Samples& samples) {
  const int64_t end = ts_now_ms() + 1000 * seconds_to_run();
  int64_t next = ts_now_ms() + 1000;
  for (int64_t now = ts_now_ms(); now < end && !testing::Test::HasFailure(); now = ts_now_ms()) {
    everything.work();
    faults.mend(now);
    if (now < next) continue;
    next += 1000;
    samples.take();
    faults.next();
  }
  faults.mend(INT64_MAX);
  everything.stop();
}

// Whatever has come about is there, once.
void check_counter(const Everything& everything, ts_server* server) {
  pulse_error error = PULSE_ERROR_INIT;
  ASSERT_EQ(pulse_map_wait_synced(everything.map(), TS_DEADLINE_MS, &error), PULSE_OK)
      << error.message;
  const auto count =
      static_cast<uint64_t>(ts_command_integer(server, "HGET", "map:soak:content", "n", nullptr));
  EXPECT_GE(count, everything.counted());
  EXPECT_LE(count, everything.counted() + everything.perhaps_counted());
  char text[32] = "";
  size_t size = 0;
  ASSERT_EQ(pulse_map_get_copy(everything.map(), "n", 1, text, sizeof text - 1, &size), PULSE_OK);
  EXPECT_EQ(strtoull(text, nullptr, 10), count);
}

TEST(Soak, EverythingAtOnce) {
  ASSERT_EQ(pulse_library_set_allocator(count_allocate, count_reallocate, count_release, nullptr),
            PULSE_OK);
  ts_server_options options = {};
  options.append_only = 1;
  const std::unique_ptr<ts_server, void (*)(ts_server*)> server(ts_server_start(&options),
                                                                ts_server_free);
  ASSERT_NE(server, nullptr);
  const std::unique_ptr<ts_proxy, void (*)(ts_proxy*)> proxy(ts_proxy_start(server.get()),
                                                             ts_proxy_free);
  ASSERT_NE(proxy, nullptr);
  {
    Everything everything(ts_proxy_url(proxy.get()));
    Faults faults(server.get(), proxy.get());
    Samples samples;
    run(everything, faults, samples);
    const int64_t end = ts_now_ms() + TS_DEADLINE_MS;
    while (!everything.is_settled() && ts_now_ms() < end) everything.work();
    everything.print();
    EXPECT_TRUE(everything.is_settled());
    check_counter(everything, server.get());
    samples.expect_no_growth();
  }
  EXPECT_EQ(bytes_alive, 0);
}

}  // namespace
}  // namespace soak
