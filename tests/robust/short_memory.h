// What runs out of memory: an allocator that fails when it is told to, an engine with a queue, and
// the runs of one scenario with an outage at each of its allocations.
#ifndef PULSE_TESTS_ROBUST_SHORT_MEMORY_H
#define PULSE_TESTS_ROBUST_SHORT_MEMORY_H

#include <gtest/gtest.h>
#include <poll.h>
#include <pulseengine/pulse.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "support.h"

// --- the allocator -----------------------------------------------------------

// Fails the allocations from the `first` to the `last` one, counted from arm().
struct Memory {
  std::atomic<int64_t> alive{0};
  std::atomic<int64_t> made{0};
  std::atomic<int64_t> failed{0};
  std::atomic<int64_t> first{0};
  std::atomic<int64_t> last{0};

  void arm(int64_t n, int64_t outage) {
    made = 0;
    failed = 0;
    last = n + outage - 1;
    first = n;
  }
  void disarm() { first = INT64_MAX; }
  bool refuse() {
    int64_t number = ++made;
    if (number < first || number > last) return false;
    failed++;
    return true;
  }
};
inline Memory memory;

inline void* allocate(void*, size_t bytes) {
  if (memory.refuse()) return nullptr;
  memory.alive++;
  return malloc(bytes);
}
inline void* reallocate(void*, void* old, size_t bytes) {
  return memory.refuse() ? nullptr : realloc(old, bytes);
}
inline void release(void*, void* old) {
  memory.alive--;
  free(old);
}

// A crash says where it happened.
inline char current_case[200];
inline void on_crash(int number) {
  ssize_t rc = write(2, current_case, strlen(current_case));
  (void)rc;
  signal(number, SIG_DFL);
  raise(number);
}

// --- one run -------------------------------------------------------------------

class World;
struct Target {
  World* world;
  std::atomic<int> destroyed{0};
};

// An engine with a queue, and what came out of it.
class World {
 public:
  World(pulse_driver driver, const char* url) : driver_(driver), url_(url) {}

  // Handles that are still open are released; then nothing may be left.
  ~World() {
    memory.disarm();
    pulse_reader_unref(reader);
    pulse_sink_unref(sink);
    pulse_map_watch_unref(watch);
    pulse_map_unref(map);
    pulse_schedule_unref(schedule);
    pulse_ticker_unref(ticker);
    pulse_worker_unref(worker);
    pulse_node_unref(node);
    pulse_stream_unref(stream);
    if (engine != nullptr) {
      pulse_error error = PULSE_ERROR_INIT;
      EXPECT_EQ(pulse_engine_close_wait(engine, TS_DEADLINE_MS, &error), PULSE_OK) << error.message;
      pulse_engine_unref(engine);
      engine = nullptr;
    }
    pump(0);
    if (queue != nullptr) pulse_queue_close(queue);
    pulse_queue_unref(queue);
    const auto nothing_left = [](void*) -> int { return memory.alive == 0; };
    EXPECT_TRUE(ts_wait_until(nothing_left, nullptr, TS_DEADLINE_MS)) << memory.alive << " leaked";
    for (const auto& target : targets_) EXPECT_EQ(target->destroyed, 1);
    EXPECT_EQ(logs_opened_, logs_destroyed_);
  }

  // NO_MEMORY is allowed exactly if an allocation failed.
  bool ok(pulse_status status, const pulse_error& error, const char* what) {
    if (status == PULSE_OK) return true;
    EXPECT_EQ(status, PULSE_ERR_NO_MEMORY) << what << ": " << error.message;
    EXPECT_GT(memory.failed, 0) << what;
    return false;
  }

  bool open() {
    pulse_error error = PULSE_ERROR_INIT;
    if (!ok(pulse_queue_new(&queue, &error), error, "queue_new")) return false;
    pulse_engine_options options = PULSE_ENGINE_OPTIONS_INIT;
    options.url = url_;
    options.driver = driver_;
    options.command_timeout_ms = -1;  // nothing here ends because time is up
    options.reconnect_max_ms = 50;
    pulse_target state = target(true);
    options.state_target = &state;
    options.log = [](pulse_log_level, const char*, size_t, void*) {};
    options.log_user_data = this;
    options.log_destroy = [](void* self) { static_cast<World*>(self)->logs_destroyed_++; };
    logs_opened_++;
    if (!ok(pulse_engine_open(&options, &engine, &error), error, "engine_open")) return false;
    for (;;) {
      pulse_status status = pulse_engine_ready_wait(engine, TS_DEADLINE_MS, &error);
      if (ok(status, error, "ready_wait")) break;
      if (status != PULSE_ERR_NO_MEMORY) return false;
    }
    while (!ok(pulse_stream_open(engine, "events", 6, nullptr, &stream, &error), error,
               "stream_open")) {
    }
    return true;
  }

  // A target that counts its destruction; polled from the queue, or called back inline.
  // The token tells what takes more than one target apart.
  pulse_target target(bool polled, uint64_t token = 0) {
    targets_.push_back(std::make_unique<Target>());
    targets_.back()->world = this;
    pulse_target t = PULSE_TARGET_INIT;
    if (polled) {
      t.queue = queue;
    } else {
      t.callback = [](const pulse_event* event, void* self) {
        static_cast<Target*>(self)->world->take(*event);
      };
    }
    t.token = token;
    t.user_data = targets_.back().get();
    t.destroy = [](void* self) { static_cast<Target*>(self)->destroyed++; };
    return t;
  }

  // Runs what there is to run for a moment, and takes all events.
  void pump(int wait_ms) {
    if (driver_ == PULSE_DRIVER_MANUAL && engine != nullptr) {
      pollfd p{pulse_engine_poll_fd(engine), POLLIN, 0};
      int64_t timeout = pulse_engine_poll_timeout_ms(engine);
      if (timeout < 0 || timeout > wait_ms) timeout = wait_ms;
      if (p.fd >= 0) poll(&p, 1, static_cast<int>(timeout));
      pulse_engine_run_once(engine, 0, 0);
      wait_ms = 0;
    }
    if (queue == nullptr) return;
    pulse_event events[16];
    int64_t n = 0;
    while ((n = pulse_queue_poll(queue, events, sizeof events[0], 16, wait_ms)) > 0) {
      for (int64_t i = 0; i < n; i++) take(events[i]);
      wait_ms = 0;
    }
  }

  testing::AssertionResult pump_until(const std::function<bool()>& condition) {
    int64_t end = ts_now_ms() + TS_DEADLINE_MS;
    while (!condition()) {
      if (ts_now_ms() > end) return testing::AssertionFailure() << "it hangs";
      pump(10);
    }
    return testing::AssertionSuccess();
  }

  // An asynchronous call was made: counts what must complete.
  void started(pulse_status status, const pulse_error& error, const char* what) {
    if (ok(status, error, what)) accepted_++;
  }
  void completed() { completed_++; }
  bool all_complete() const { return completed_ == accepted_; }

  pulse_queue* queue = nullptr;
  pulse_engine* engine = nullptr;
  pulse_stream* stream = nullptr;
  pulse_reader* reader = nullptr;
  pulse_sink* sink = nullptr;
  pulse_map* map = nullptr;
  pulse_map_watch* watch = nullptr;
  pulse_node* node = nullptr;
  pulse_worker* worker = nullptr;
  pulse_ticker* ticker = nullptr;
  pulse_schedule* schedule = nullptr;
  // What pools tell, before anything else sees it; true: it was theirs.
  std::function<bool(const pulse_event&)> take_first;
  std::map<std::string, std::string> told;  // what the watch's changes add up to
  std::atomic<int> added{0};
  int ready_events = 0;
  bool connections_are_killed = false;
  bool ended = false;  // the reader, sink or map is closed
  pulse_status close_status = PULSE_OK;
  std::vector<std::string> messages;
  std::vector<pulse_ack_handle> acks;

 private:
  // Inline callbacks of the thread driver come on its thread; there they only complete operations.
  void take(const pulse_event& event) {
    if (take_first && take_first(event)) return;
    switch (event.kind) {
      case PULSE_EVENT_MESSAGE:
        messages.emplace_back(event.name, event.name_len);
        acks.push_back(event.ack);
        return;
      case PULSE_EVENT_ADDED:
      case PULSE_EVENT_BATCH_ADDED:
      case PULSE_EVENT_ACKED:
      case PULSE_EVENT_MAP_WRITTEN:
      case PULSE_EVENT_PONG:
      case PULSE_EVENT_INFO:
      case PULSE_EVENT_REMOVED: {
        bool good = event.status == PULSE_OK || event.status == PULSE_ERR_NO_MEMORY;
        if (event.kind == PULSE_EVENT_ACKED && event.status == PULSE_ERR_NOT_OWNER) good = true;
        if (connections_are_killed && event.status == PULSE_ERR_DISCONNECTED) good = true;
        EXPECT_TRUE(good) << pulse_status_name(event.status) << " "
                          << std::string(event.message == nullptr ? "" : event.message,
                                         event.message_len);
        if (event.kind == PULSE_EVENT_ADDED && event.status == PULSE_OK) added++;
        for (size_t i = 0; i < event.result_count; i++) {
          if (event.kind == PULSE_EVENT_BATCH_ADDED && event.results[i].status == PULSE_OK) added++;
        }
        completed_++;
        return;
      }
      case PULSE_EVENT_MAP_CHANGE:
        if (event.state == PULSE_MAP_OP_SET) {
          told[std::string(event.name, event.name_len)] =
              std::string(event.payload, event.payload_len);
        } else if (event.state == PULSE_MAP_OP_DELETE) {
          told.erase(std::string(event.name, event.name_len));
        } else {
          told.clear();
        }
        return;
      case PULSE_EVENT_READY:
        ready_events++;
        return;
      case PULSE_EVENT_CLOSED:
        ended = true;
        // A map that ends takes its watches with it.
        if (close_status != PULSE_ERR_NO_MEMORY) close_status = event.status;
        return;
      default:
        return;
    }
  }

  const pulse_driver driver_;
  const char* const url_;
  std::vector<std::unique_ptr<Target>> targets_;
  std::atomic<int> accepted_{0}, completed_{0};
  int logs_opened_ = 0;
  std::atomic<int> logs_destroyed_{0};
};

// --- the runs --------------------------------------------------------------------

class Allocation : public testing::TestWithParam<std::tuple<pulse_driver, int>> {
 public:
  static ts_server* the_server() { return server; }

 protected:
  static void SetUpTestSuite() {
    signal(SIGABRT, on_crash);
    signal(SIGSEGV, on_crash);
    ASSERT_EQ(pulse_library_set_allocator(allocate, reallocate, release, nullptr), PULSE_OK);
    server = ts_server_start(nullptr);
    ASSERT_NE(server, nullptr);
  }
  static void TearDownTestSuite() {
    ts_server_free(server);
    server = nullptr;
    EXPECT_EQ(pulse_library_set_allocator(nullptr, nullptr, nullptr, nullptr), PULSE_OK);
  }

  // Runs `scenario` once undisturbed, to learn how many allocations it makes, and then with an
  // outage at each of them, or at as many as the scale allows.
  void at_each_allocation(
      int64_t most_runs,
      const std::function<void(World&, const std::function<void()>&)>& scenario) {
    const pulse_driver driver = std::get<0>(GetParam());
    const int outage = std::get<1>(GetParam());
    int64_t total = 0;
    auto run = [&](int64_t n) {
      snprintf(current_case, sizeof current_case, "%s, outage of %d at allocation %lld\n",
               testing::UnitTest::GetInstance()->current_test_info()->name(), outage,
               static_cast<long long>(n));
      SCOPED_TRACE(current_case);
      ts_reply_free(ts_command(server, "FLUSHALL", nullptr));
      memory.disarm();
      World world(driver, ts_server_url(server));
      scenario(world, [&] { memory.arm(n, outage); });
      total = std::max(total, memory.made.load());
    };
    run(INT64_MAX / 2);
    int64_t runs = std::min(ts_scaled(most_runs), total);
    ASSERT_GT(total, 10);
    for (int64_t i = 0; i < runs && !HasFailure(); i++) {
      run(1 + i * total / runs);
    }
    ts_reply_free(ts_command(server, "SCRIPT", "FLUSH", nullptr));
  }

  static inline ts_server* server = nullptr;
};

// Outages of one allocation, of a few, and of many in a row.
inline auto outages() {
  return testing::Combine(testing::Values(PULSE_DRIVER_THREAD, PULSE_DRIVER_MANUAL),
                          testing::Values(1, 4, 40));
}
inline std::string outage_name(const testing::TestParamInfo<std::tuple<pulse_driver, int>>& param) {
  return std::string(std::get<0>(param.param) == PULSE_DRIVER_THREAD ? "Thread" : "Manual") +
         std::to_string(std::get<1>(param.param));
}

#endif
