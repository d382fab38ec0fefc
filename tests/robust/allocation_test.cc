// Memory ends at the Nth allocation, for N = 1, 2, ... : each call answers PULSE_ERR_NO_MEMORY or
// what it was asked for comes about later; nothing crashes, hangs or leaks, and each target is
// destroyed exactly once.
#include <gtest/gtest.h>
#include <poll.h>
#include <pulseengine/pulse.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "support.h"

namespace {

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
Memory memory;

void* allocate(void*, size_t bytes) {
  if (memory.refuse()) return nullptr;
  memory.alive++;
  return malloc(bytes);
}
void* reallocate(void*, void* old, size_t bytes) {
  return memory.refuse() ? nullptr : realloc(old, bytes);
}
void release(void*, void* old) {
  memory.alive--;
  free(old);
}

// A crash says where it happened.
char current_case[200];
void on_crash(int number) {
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
  pulse_target target(bool polled) {
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
  bool all_complete() const { return completed_ == accepted_; }

  pulse_queue* queue = nullptr;
  pulse_engine* engine = nullptr;
  pulse_stream* stream = nullptr;
  pulse_reader* reader = nullptr;
  pulse_sink* sink = nullptr;
  pulse_map* map = nullptr;
  pulse_map_watch* watch = nullptr;
  std::map<std::string, std::string> told;  // what the watch's changes add up to
  std::atomic<int> added{0};
  bool connections_are_killed = false;
  bool ended = false;  // the reader, sink or map is closed
  pulse_status close_status = PULSE_OK;
  std::vector<std::string> messages;
  std::vector<pulse_ack_handle> acks;

 private:
  // Inline callbacks of the thread driver come on its thread; there they only complete operations.
  void take(const pulse_event& event) {
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

void add_some(World& world) {
  pulse_error error = PULSE_ERROR_INIT;
  std::string payload(30000, 'p');
  for (bool polled : {false, true}) {
    pulse_target target = world.target(polled);
    world.started(
        pulse_stream_add(world.stream, "add", 3, "payload", 7, nullptr, &target, nullptr, &error),
        error, "add");
  }
  {
    pulse_target target = world.target(true);
    pulse_header header = {"name", 4, "value", 5};
    pulse_add_options options = PULSE_ADD_OPTIONS_INIT;
    options.headers = &header;
    options.header_count = 1;
    options.topic = "topic";
    options.topic_len = 5;
    options.only_if_exists = 1;
    world.started(pulse_stream_add(world.stream, "add", 3, payload.data(), payload.size(), &options,
                                   &target, nullptr, &error),
                  error, "add with options");
  }
  pulse_bytes* bytes = pulse_bytes_new(payload.data(), payload.size());
  if (bytes != nullptr) {
    pulse_target target = world.target(true);
    world.started(
        pulse_stream_add_bytes(world.stream, "add", 3, bytes, nullptr, &target, nullptr, &error),
        error, "add_bytes");
    pulse_bytes_unref(bytes);
  }
  std::vector<pulse_add_item> items(5);
  for (pulse_add_item& item : items) item = {"add", 3, "payload", 7, nullptr, 0, nullptr, 0};
  pulse_target target = world.target(true);
  world.started(pulse_stream_add_batch(world.stream, items.data(), sizeof items[0], items.size(),
                                       nullptr, &target, nullptr, &error),
                error, "add_batch");
}

class Allocation : public testing::TestWithParam<std::tuple<pulse_driver, int>> {
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

  static ts_server* server;
};

ts_server* Allocation::server = nullptr;

TEST_P(Allocation, OpenAddAndClose) {
  at_each_allocation(400, [](World& world, const std::function<void()>& arm) {
    arm();
    if (!world.open()) return;
    add_some(world);
    pulse_error error = PULSE_ERROR_INIT;
    pulse_event_id id = {0, 0};
    if (world.ok(pulse_stream_add_wait(world.stream, "add", 3, "x", 1, nullptr, &id, TS_DEADLINE_MS,
                                       &error),
                 error, "add_wait")) {
      world.added++;
    }
    ASSERT_TRUE(world.pump_until([&] { return world.all_complete(); }));
    memory.disarm();
    // What was answered with an id is there.
    EXPECT_LE(world.added, ts_command_integer(server, "XLEN", "pulse:stream:events", nullptr));
  });
}

TEST_P(Allocation, TheOtherCalls) {
  at_each_allocation(200, [](World& world, const std::function<void()>& arm) {
    ASSERT_TRUE(world.open());
    pulse_error error = PULSE_ERROR_INIT;
    pulse_event_id id = {1, 0};
    arm();
    pulse_target ping = world.target(true), info = world.target(false), remove = world.target(true);
    world.started(pulse_engine_ping(world.engine, &ping, nullptr, &error), error, "ping");
    world.started(pulse_stream_info_get(world.stream, &info, nullptr, &error), error, "info");
    world.started(pulse_stream_remove(world.stream, &id, 1, &remove, nullptr, &error), error,
                  "remove");
    pulse_stream_info got = {};
    got.size = sizeof got;
    world.ok(pulse_stream_info_wait(world.stream, &got, TS_DEADLINE_MS, &error), error,
             "info_wait");
    world.ok(pulse_stream_destroy_wait(world.stream, TS_DEADLINE_MS, &error), error,
             "destroy_wait");
    char text[64];
    pulse_engine_get_server(world.engine, text, sizeof text);
    ASSERT_TRUE(world.pump_until([&] { return world.all_complete(); }));
  });
}

// The connection is lost while commands wait: the way back needs memory too.
TEST_P(Allocation, LosingTheConnection) {
  at_each_allocation(200, [](World& world, const std::function<void()>& arm) {
    ASSERT_TRUE(world.open());
    pulse_error error = PULSE_ERROR_INIT;
    world.connections_are_killed = true;
    arm();
    for (int i = 0; i < 5; i++) {
      ts_reply_free(ts_command(server, "CLIENT", "KILL", "TYPE", "normal", nullptr));
      for (int k = 0; k < 5; k++) {
        pulse_target target = world.target(true);
        world.started(pulse_stream_info_get(world.stream, &target, nullptr, &error), error, "info");
      }
      world.pump(1);
    }
    ASSERT_TRUE(world.pump_until([&] { return world.all_complete(); }));
    memory.disarm();
    EXPECT_EQ(pulse_engine_ready_wait(world.engine, TS_DEADLINE_MS, &error), PULSE_OK)
        << error.message;
  });
}

void add_ten(World& world) {
  pulse_error error = PULSE_ERROR_INIT;
  for (int i = 0; i < 10; i++) {
    std::string name = "event" + std::to_string(i);
    ASSERT_EQ(pulse_stream_add_wait(world.stream, name.data(), name.size(), "payload", 7, nullptr,
                                    nullptr, TS_DEADLINE_MS, &error),
              PULSE_OK);
  }
}

// Waits until a reader or sink receives.  One that has no memory to begin closes by itself, and
// says so.
bool becomes_ready(World& world, const std::function<pulse_status()>& wait) {
  for (;;) {
    pulse_status status = wait();
    if (status == PULSE_OK) return true;
    EXPECT_GT(memory.failed, 0) << pulse_status_name(status);
    world.pump(1);
    if (status == PULSE_ERR_NO_MEMORY && !world.ended) continue;
    EXPECT_TRUE(status == PULSE_ERR_NO_MEMORY || status == PULSE_ERR_CLOSED)
        << pulse_status_name(status);
    EXPECT_TRUE(world.pump_until([&] { return world.ended; }));
    EXPECT_EQ(world.close_status, PULSE_ERR_NO_MEMORY);
    return false;
  }
}

TEST_P(Allocation, ReadAndClose) {
  at_each_allocation(300, [](World& world, const std::function<void()>& arm) {
    ASSERT_TRUE(world.open());
    add_ten(world);
    arm();
    pulse_error error = PULSE_ERROR_INIT;
    pulse_reader_options options = PULSE_READER_OPTIONS_INIT;
    options.start = PULSE_START_OLDEST;
    options.max_polled = 4;
    pulse_target target = world.target(true);
    if (!world.ok(pulse_reader_open(world.stream, &options, &target, &world.reader, &error), error,
                  "reader_open")) {
      return;
    }
    if (!becomes_ready(
            world, [&] { return pulse_reader_ready_wait(world.reader, TS_DEADLINE_MS, &error); })) {
      return;
    }
    ASSERT_TRUE(world.pump_until([&] { return world.messages.size() >= 10; }))
        << world.messages.size();
    for (size_t i = 0; i < world.messages.size(); i++) {
      ASSERT_EQ(world.messages[i], "event" + std::to_string(i));  // none twice, none missed
    }
    while (!world.ok(pulse_reader_close_wait(world.reader, TS_DEADLINE_MS, &error), error,
                     "reader_close_wait") &&
           !testing::Test::HasFailure()) {
    }
  });
}

TEST_P(Allocation, SinkAckAndClose) {
  const bool each_by_itself = std::get<1>(GetParam()) == 4;
  at_each_allocation(300, [=](World& world, const std::function<void()>& arm) {
    ASSERT_TRUE(world.open());
    add_ten(world);
    arm();
    pulse_error error = PULSE_ERROR_INIT;
    pulse_sink_options options = PULSE_SINK_OPTIONS_INIT;
    options.start = PULSE_START_OLDEST;
    options.max_polled = 4;
    options.ack_grace_ms = 400;
    options.no_ack_coalescing = each_by_itself ? 1 : 0;
    pulse_target target = world.target(true);
    if (!world.ok(pulse_sink_open(world.stream, "group", 5, &options, &target, &world.sink, &error),
                  error, "sink_open")) {
      return;
    }
    if (!becomes_ready(world,
                       [&] { return pulse_sink_ready_wait(world.sink, TS_DEADLINE_MS, &error); })) {
      return;
    }
    // Acks that fail for want of memory are repeated: all ten are acked in the end.
    size_t next = 0;
    const auto pending = [&]() -> int64_t {
      ts_reply* reply = ts_command(server, "XPENDING", "pulse:stream:events", "group", nullptr);
      int64_t count = ts_reply_integer(ts_reply_at(reply, 0));
      ts_reply_free(reply);
      return count;
    };
    std::map<std::string, int> seen;
    ASSERT_TRUE(world.pump_until([&] {
      for (; next < world.acks.size(); next++) {
        seen[world.messages[next]]++;
        pulse_target ack = world.target(true);
        pulse_status status =
            pulse_sink_ack(world.sink, &world.acks[next], 1, &ack, nullptr, &error);
        world.started(status, error, "ack");
        if (status != PULSE_OK) {
          pulse_ack_handle again = world.acks[next];
          ack = world.target(true);
          world.started(pulse_sink_ack(world.sink, &again, 1, &ack, nullptr, &error), error,
                        "ack again");
        }
      }
      return seen.size() == 10 && world.all_complete();
    })) << seen.size()
        << " of 10 events seen, " << pending() << " pending";
    while (!world.ok(pulse_sink_close_wait(world.sink, TS_DEADLINE_MS, &error), error,
                     "sink_close_wait") &&
           !testing::Test::HasFailure()) {
    }
  });
}

void write_some(World& world) {
  pulse_error error = PULSE_ERROR_INIT;
  const auto started = [&](pulse_status status) { world.started(status, error, "write"); };
  for (int i = 0; i < 4; i++) {
    const std::string key = "k" + std::to_string(i), value(static_cast<size_t>(100 * i), 'v');
    pulse_target target = world.target(i % 2 == 0);
    started(pulse_map_set(world.map, key.data(), key.size(), value.data(), value.size(), &target,
                          nullptr, &error));
  }
  pulse_target increment = world.target(true), append = world.target(true),
               erase = world.target(true), batch = world.target(true);
  started(pulse_map_increment(world.map, "n", 1, 5, &increment, nullptr, &error));
  const pulse_map_item items[] = {{"a", 1}, {"b", 1}};
  started(pulse_map_append(world.map, "l", 1, items, 2, &append, nullptr, &error));
  started(pulse_map_delete(world.map, "k1", 2, &erase, nullptr, &error));
  std::vector<pulse_map_batch_item> many(5);
  for (pulse_map_batch_item& item : many) item = {PULSE_MAP_OP_INCREMENT, 0, "n", 1, nullptr, 0, 1};
  started(pulse_map_batch(world.map, many.data(), sizeof many[0], many.size(), &batch, nullptr,
                          &error));
  pulse_map_result result = PULSE_MAP_RESULT_INIT;
  if (world.ok(pulse_map_set_and_wait_wait(world.map, "w", 1, "seen", 4, &result, TS_DEADLINE_MS,
                                           &error),
               error, "set_and_wait_wait")) {
    pulse_bytes_unref(result.value);
  }
}

using Content = std::map<std::string, std::string>;

Content content_of(ts_server* server) {
  Content content;
  ts_reply* reply = ts_command(server, "HGETALL", "map:m:content", nullptr);
  for (size_t i = 0; i + 1 < ts_reply_size(reply); i += 2) {
    const ts_reply *key = ts_reply_at(reply, i), *value = ts_reply_at(reply, i + 1);
    if (ts_reply_text(key)[0] == '=') continue;
    content[std::string(ts_reply_text(key), ts_reply_size(key))] =
        std::string(ts_reply_text(value), ts_reply_size(value));
  }
  ts_reply_free(reply);
  return content;
}

Content content_of(pulse_map* map) {
  Content content;
  pulse_map_snapshot* snapshot = nullptr;
  EXPECT_EQ(pulse_map_take_snapshot(map, &snapshot, nullptr), PULSE_OK);
  pulse_map_cursor cursor = {};
  pulse_map_entry entry;
  while (pulse_map_snapshot_next(snapshot, &cursor, &entry, sizeof entry, 1) == 1) {
    content[std::string(entry.key, entry.key_len)] = std::string(entry.value, entry.value_len);
  }
  pulse_map_snapshot_unref(snapshot);
  return content;
}

// A map is joined, watched and written to, and its subscription is lost: in the end the replica and
// what the watch told equal the hash.
TEST_P(Allocation, MapsGetBackInStep) {
  if (std::get<1>(GetParam()) == 40) GTEST_SKIP() << "takes half a minute now and then";
  at_each_allocation(400, [](World& world, const std::function<void()>& arm) {
    ASSERT_TRUE(world.open());
    arm();
    pulse_error error = PULSE_ERROR_INIT;
    pulse_map_options options = PULSE_MAP_OPTIONS_INIT;
    options.max_unnoticed_ms = 1000;
    pulse_target states = world.target(true);
    if (!world.ok(pulse_map_join(world.engine, "m", 1, &options, &states, &world.map, &error),
                  error, "map_join")) {
      return;
    }
    pulse_map_watch_options watched = PULSE_MAP_WATCH_OPTIONS_INIT;
    watched.mode = PULSE_WATCH_DELTAS;
    for (;;) {
      pulse_target changes = world.target(true);
      const pulse_status status =
          pulse_map_watch_open(world.map, &watched, &changes, &world.watch, &error);
      if (status == PULSE_ERR_CLOSED || world.ok(status, error, "watch_open")) break;
    }
    const auto wait_synced = [&] {
      for (;;) {
        const pulse_status status = pulse_map_wait_synced(world.map, TS_DEADLINE_MS, &error);
        if (status != PULSE_ERR_NO_MEMORY) return status;
        EXPECT_GT(memory.failed, 0);
      }
    };
    for (int i = 0; i < 2 && wait_synced() == PULSE_OK; i++) {
      write_some(world);
      ASSERT_TRUE(world.pump_until([&] { return world.all_complete(); }));
      ts_reply_free(ts_command(server, "CLIENT", "KILL", "TYPE", "pubsub", nullptr));
    }
    memory.disarm();
    // A map or a watch that has no memory to begin closes by itself, and says so.
    const pulse_status status = wait_synced();
    ASSERT_TRUE(status == PULSE_OK || status == PULSE_ERR_CLOSED) << error.message;
    const Content expected = content_of(server);
    const auto ended = [&] { return world.close_status == PULSE_ERR_NO_MEMORY; };
    ASSERT_TRUE(world.pump_until([&] {
      return ended() ||
             (status == PULSE_OK && content_of(world.map) == expected && world.told == expected);
    })) << expected.size()
        << " keys, " << world.told.size() << " told";
    if (ended() && status == PULSE_OK) {  // the watch
      ASSERT_TRUE(world.pump_until([&] { return content_of(world.map) == expected; }));
    }
  });
}

// Outages of one allocation, of a few, and of many in a row.
INSTANTIATE_TEST_SUITE_P(Both, Allocation,
                         testing::Combine(testing::Values(PULSE_DRIVER_THREAD, PULSE_DRIVER_MANUAL),
                                          testing::Values(1, 4, 40)),
                         [](const auto& param) {
                           return std::string(std::get<0>(param.param) == PULSE_DRIVER_THREAD
                                                  ? "Thread"
                                                  : "Manual") +
                                  std::to_string(std::get<1>(param.param));
                         });

}  // namespace
