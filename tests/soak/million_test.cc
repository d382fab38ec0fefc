// A replicated map of a million entries: content, memory, and (printed only) times.
#include <gtest/gtest.h>
#include <poll.h>
#include <pulseengine/pulse.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <functional>
#include <future>
#include <mutex>
#include <random>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <vector>

#include "counted_memory.h"
#include "support.h"

namespace {

constexpr size_t kKeyBytes = 20, kValueBytes = 100;
constexpr int64_t kOverhead = 96;  // bytes of an entry besides key and value

std::string key_of(uint64_t i) {
  char text[32];
  snprintf(text, sizeof text, "key-%016" PRIu64, i);
  return text;
}
std::string value_of(uint64_t i, std::string_view generation) {
  std::string value = std::string(generation) + "-" + std::to_string(i) + "-";
  value.resize(kValueBytes, 'v');
  return value;
}

int64_t now_ns(clockid_t clock) {
  timespec t;
  clock_gettime(clock, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

bool wait_until(const std::function<bool()>& condition) {
  auto call = [](void* c) -> int { return (*static_cast<const std::function<bool()>*>(c))(); };
  return ts_wait_until(call, const_cast<std::function<bool()>*>(&condition), 5 * TS_DEADLINE_MS) !=
         0;
}

// An engine whose loop is run by a thread of the test, which knows the longest turn.
class WatchedEngine {
 public:
  explicit WatchedEngine(const char* url) {
    std::promise<void> opened;
    thread_ = std::thread([this, url, &opened] {
      // By this thread, so that no other one drives the loop while it waits for something.
      pulse_engine_options options = PULSE_ENGINE_OPTIONS_INIT;
      options.url = url;
      options.driver = PULSE_DRIVER_MANUAL;
      options.command_timeout_ms = TS_DEADLINE_MS;
      EXPECT_EQ(pulse_engine_open(&options, &engine_, nullptr), PULSE_OK);
      opened.set_value();
      run();
    });
    opened.get_future().get();
  }
  ~WatchedEngine() {
    pulse_engine_close(engine_);
    thread_.join();
    pulse_engine_unref(engine_);
  }
  pulse_engine* get() const { return engine_; }
  // The longest turn since the last call, in milliseconds of the processor.
  double longest_turn() {
    // So that those which made what was waited for have ended.
    EXPECT_EQ(pulse_engine_ping_wait(engine_, nullptr, TS_DEADLINE_MS, nullptr), PULSE_OK);
    return static_cast<double>(longest_ns_.exchange(0)) / 1e6;
  }

 private:
  void run() {
    while (true) {
      pollfd p{pulse_engine_poll_fd(engine_), POLLIN, 0};
      if (p.fd < 0) return;  // closed
      poll(&p, 1, static_cast<int>(pulse_engine_poll_timeout_ms(engine_)));
      const int64_t begin = now_ns(CLOCK_THREAD_CPUTIME_ID);
      pulse_engine_run_once(engine_, 0, 0);
      const int64_t took = now_ns(CLOCK_THREAD_CPUTIME_ID) - begin;
      int64_t longest = longest_ns_.load();
      while (took > longest && !longest_ns_.compare_exchange_weak(longest, took)) {
      }
    }
  }

  pulse_engine* engine_ = nullptr;
  std::atomic<int64_t> longest_ns_{0};
  std::thread thread_;
};

class Million : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    ASSERT_EQ(pulse_library_set_allocator(count_allocate, count_reallocate, count_release, nullptr),
              PULSE_OK);
  }
  static void TearDownTestSuite() {
    EXPECT_EQ(pulse_library_set_allocator(nullptr, nullptr, nullptr, nullptr), PULSE_OK);
    EXPECT_EQ(bytes_alive, 0);
  }
  void SetUp() override {
    server_ = ts_server_start(nullptr);
    ASSERT_NE(server_, nullptr);
  }
  void TearDown() override { ts_server_free(server_); }

  void fill(pulse_map* map, std::string_view generation) const {
    constexpr uint64_t kPerBatch = 5000;
    for (uint64_t at = 0; at < keys_; at += kPerBatch) {
      const uint64_t n = std::min(kPerBatch, keys_ - at);
      std::vector<std::string> text;
      for (uint64_t i = at; i < at + n; i++) {
        text.push_back(key_of(i));
        text.push_back(value_of(i, generation));
      }
      std::vector<pulse_map_batch_item> items(n);
      for (uint64_t i = 0; i < n; i++) {
        items[i].op = PULSE_MAP_OP_SET;
        items[i].key = text[2 * i].data();
        items[i].key_len = text[2 * i].size();
        items[i].value = text[2 * i + 1].data();
        items[i].value_len = text[2 * i + 1].size();
      }
      pulse_error error = PULSE_ERROR_INIT;
      ASSERT_EQ(pulse_map_batch_wait(map, items.data(), sizeof items[0], n, nullptr, TS_DEADLINE_MS,
                                     &error),
                PULSE_OK)
          << error.message;
    }
  }
  // By an engine of its own, so that no memory of it is left.
  void fill_from_outside(std::string_view generation) const {
    WatchedEngine engine(ts_server_url(server_));
    pulse_map_options options = PULSE_MAP_OPTIONS_INIT;
    options.max_keys = 1;  // no copy
    pulse_map* map = nullptr;
    ASSERT_EQ(pulse_map_join(engine.get(), "m", 1, &options, nullptr, &map, nullptr), PULSE_OK);
    fill(map, generation);
    pulse_map_unref(map);
  }
  void expect_content(const pulse_map_snapshot* snapshot, std::string_view generation) const {
    ASSERT_EQ(pulse_map_snapshot_size(snapshot), keys_);
    uint64_t n = 0;
    pulse_map_cursor cursor{};
    std::vector<pulse_map_entry> entries(1000);
    while (int64_t got = pulse_map_snapshot_next(snapshot, &cursor, entries.data(),
                                                 sizeof entries[0], entries.size())) {
      ASSERT_GT(got, 0);
      for (int64_t i = 0; i < got; i++) {
        const pulse_map_entry& e = entries[static_cast<size_t>(i)];
        const std::string key(e.key, e.key_len);
        ASSERT_EQ(key.substr(0, 4), "key-");
        const uint64_t number = std::stoull(key.substr(4));
        ASSERT_LT(number, keys_);
        ASSERT_EQ(key, key_of(number));
        ASSERT_EQ(std::string_view(e.value, e.value_len), value_of(number, generation));
        n++;
      }
    }
    ASSERT_EQ(n, keys_);
  }
  void expect_content(pulse_map* map, std::string_view generation) const {
    pulse_map_snapshot* snapshot = nullptr;
    ASSERT_EQ(pulse_map_take_snapshot(map, &snapshot, nullptr), PULSE_OK);
    expect_content(snapshot, generation);
    pulse_map_snapshot_unref(snapshot);
  }

  const uint64_t keys_ = static_cast<uint64_t>(ts_scaled(1000000));
  ts_server* server_ = nullptr;
};

pulse_map_info info_of(pulse_map* map) {
  pulse_map_info info{};
  info.size = sizeof info;
  EXPECT_EQ(pulse_map_get_info(map, &info), PULSE_OK);
  return info;
}

TEST_F(Million, JoinsAndIsGivenBack) {
  ASSERT_NO_FATAL_FAILURE(fill_from_outside("one"));
  WatchedEngine engine(ts_server_url(server_));
  ASSERT_EQ(pulse_engine_ready_wait(engine.get(), TS_DEADLINE_MS, nullptr), PULSE_OK);
  engine.longest_turn();
  const int64_t before = bytes_alive;
  const int64_t content =
      static_cast<int64_t>(keys_) * static_cast<int64_t>(kKeyBytes + kValueBytes);

  int64_t begin = ts_now_ms();
  pulse_map* map = nullptr;
  ASSERT_EQ(pulse_map_join_wait(engine.get(), "m", 1, nullptr, nullptr, 5 * TS_DEADLINE_MS, &map,
                                nullptr),
            PULSE_OK);
  printf("join: %" PRId64 " ms, longest turn %.1f ms\n", ts_now_ms() - begin,
         engine.longest_turn());
  EXPECT_EQ(info_of(map).revision, keys_);
  EXPECT_EQ(info_of(map).bytes, static_cast<uint64_t>(content));
  ASSERT_NO_FATAL_FAILURE(expect_content(map, "one"));
  const double per_entry =
      static_cast<double>(bytes_alive - before - content) / static_cast<double>(keys_);
  printf("memory: %.1f bytes per entry besides key and value\n", per_entry);
  EXPECT_LE(per_entry, kOverhead);

  // Another copy of the same.
  begin = ts_now_ms();
  const uint64_t copies = info_of(map).resyncs;
  ts_reply_free(ts_command(server_, "CLIENT", "KILL", "TYPE", "pubsub", nullptr));
  ASSERT_TRUE(wait_until(
      [&] { return info_of(map).resyncs > copies && info_of(map).state == PULSE_MAP_SYNCED; }));
  printf("copy of the same: %" PRId64 " ms, longest turn %.1f ms\n", ts_now_ms() - begin,
         engine.longest_turn());
  ASSERT_NO_FATAL_FAILURE(expect_content(map, "one"));
  // Besides a few versions that watches may resume from.
  auto given_back = [&](int64_t kept) {
    return wait_until([&, kept] { return bytes_alive - before <= kept + (8 << 20); });
  };
  const int64_t one_copy = content + kOverhead * static_cast<int64_t>(keys_);
  EXPECT_TRUE(given_back(one_copy));
  printf("old nodes given back: longest turn %.1f ms\n", engine.longest_turn());

  // All values change while a snapshot is kept.
  pulse_map_snapshot* snapshot = nullptr;
  ASSERT_EQ(pulse_map_take_snapshot(map, &snapshot, nullptr), PULSE_OK);
  ASSERT_NO_FATAL_FAILURE(fill(map, "two"));
  ASSERT_EQ(pulse_map_wait_revision(map, 2 * keys_, 5 * TS_DEADLINE_MS, nullptr), PULSE_OK);
  printf("all values changed: longest turn %.1f ms\n", engine.longest_turn());
  ASSERT_NO_FATAL_FAILURE(expect_content(snapshot, "one"));
  ASSERT_NO_FATAL_FAILURE(expect_content(map, "two"));
  begin = now_ns(CLOCK_MONOTONIC);
  pulse_map_snapshot_unref(snapshot);
  printf("snapshot dropped: %.1f ms\n", static_cast<double>(now_ns(CLOCK_MONOTONIC) - begin) / 1e6);
  EXPECT_TRUE(given_back(one_copy));
  printf("snapshot given back: longest turn %.1f ms\n", engine.longest_turn());

  // Emptied, with nobody else who holds it.
  ASSERT_EQ(pulse_map_reset_wait(map, nullptr, TS_DEADLINE_MS, nullptr), PULSE_OK);
  ASSERT_TRUE(wait_until([&] { return pulse_map_size(map) == 0; }));
  // What watches may resume from is let go.
  for (int i = 0; i < 2000; i++) {
    ASSERT_EQ(pulse_map_set_wait(map, "k", 1, "v", 1, nullptr, TS_DEADLINE_MS, nullptr), PULSE_OK);
  }
  EXPECT_TRUE(given_back(0));
  printf("emptied: longest turn %.1f ms\n", engine.longest_turn());

  // Closed with all its content.
  ASSERT_EQ(pulse_map_delete_wait(map, "k", 1, nullptr, TS_DEADLINE_MS, nullptr), PULSE_OK);
  pulse_map_unref(map);
  ASSERT_NO_FATAL_FAILURE(fill_from_outside("three"));
  ASSERT_EQ(pulse_map_join_wait(engine.get(), "m", 1, nullptr, nullptr, 5 * TS_DEADLINE_MS, &map,
                                nullptr),
            PULSE_OK);
  ASSERT_NO_FATAL_FAILURE(expect_content(map, "three"));
  engine.longest_turn();
  pulse_map_unref(map);
  EXPECT_TRUE(given_back(0));
  printf("closed: longest turn %.1f ms\n", engine.longest_turn());
}

// The rest goes with the engine, and a snapshot with its holder.
TEST_F(Million, GoesWithTheEngine) {
  ASSERT_NO_FATAL_FAILURE(fill_from_outside("one"));
  pulse_map_snapshot* snapshot = nullptr;
  {
    WatchedEngine engine(ts_server_url(server_));
    pulse_map* map = nullptr;
    ASSERT_EQ(pulse_map_join_wait(engine.get(), "m", 1, nullptr, nullptr, 5 * TS_DEADLINE_MS, &map,
                                  nullptr),
              PULSE_OK);
    ASSERT_EQ(pulse_map_take_snapshot(map, &snapshot, nullptr), PULSE_OK);
    pulse_map_unref(map);
  }
  ASSERT_NO_FATAL_FAILURE(expect_content(snapshot, "one"));
  EXPECT_GT(bytes_alive, static_cast<int64_t>(keys_ * (kKeyBytes + kValueBytes)));
  pulse_map_snapshot_unref(snapshot);
  EXPECT_EQ(bytes_alive, 0);
}

// --- reads, beside what a program would write itself -----------------------------------

// Nanoseconds of the processor per call, of `threads` at once; the best of several runs.
double per_read(int threads, uint64_t keys, const std::function<bool(const std::string&)>& read) {
  constexpr int kReads = 200000;
  std::vector<std::string> order;
  std::mt19937_64 random(1);
  for (int i = 0; i < kReads; i++) order.push_back(key_of(random() % keys));
  double best = 1e9;
  for (int run = 0; run < 7; run++) {
    std::vector<double> took(static_cast<size_t>(threads));
    std::vector<std::thread> running;
    std::atomic<int> ready{0};
    std::atomic<bool> good{true};
    for (int id = 0; id < threads; id++) {
      running.emplace_back([&, id] {
        ready++;
        while (ready.load() < threads) std::this_thread::yield();
        const int64_t begin = now_ns(CLOCK_THREAD_CPUTIME_ID);
        bool all = true;
        for (const std::string& key : order) all = read(key) && all;
        took[static_cast<size_t>(id)] =
            static_cast<double>(now_ns(CLOCK_THREAD_CPUTIME_ID) - begin) / kReads;
        if (!all) good = false;
      });
    }
    for (std::thread& thread : running) thread.join();
    EXPECT_TRUE(good);
    for (double t : took) best = std::min(best, t);
  }
  return best;
}

TEST_F(Million, Reads) {
  ASSERT_NO_FATAL_FAILURE(fill_from_outside("one"));
  WatchedEngine engine(ts_server_url(server_));
  pulse_map* map = nullptr;
  ASSERT_EQ(pulse_map_join_wait(engine.get(), "m", 1, nullptr, nullptr, 5 * TS_DEADLINE_MS, &map,
                                nullptr),
            PULSE_OK);
  std::shared_mutex mutex;
  std::unordered_map<std::string, std::string> plain;
  for (uint64_t i = 0; i < keys_; i++) plain.emplace(key_of(i), value_of(i, "one"));
  for (int threads : {1, 2}) {
    const double visit = per_read(threads, keys_, [&](const std::string& key) {
      auto look = [](const void*, size_t size, void* good) {
        *static_cast<bool*>(good) = size == kValueBytes;
      };
      bool good = false;
      return pulse_map_read(map, key.data(), key.size(), look, &good) == PULSE_OK && good;
    });
    const double copy = per_read(threads, keys_, [&](const std::string& key) {
      char value[2 * kValueBytes];
      size_t size = 0;
      return pulse_map_get_copy(map, key.data(), key.size(), value, sizeof value, &size) ==
                 PULSE_OK &&
             size == kValueBytes;
    });
    const double get = per_read(threads, keys_, [&](const std::string& key) {
      pulse_bytes* value = nullptr;
      if (pulse_map_get(map, key.data(), key.size(), &value) != PULSE_OK) return false;
      const bool good = pulse_bytes_size(value) == kValueBytes;
      pulse_bytes_unref(value);
      return good;
    });
    const double locked = per_read(threads, keys_, [&](const std::string& key) {
      std::shared_lock<std::shared_mutex> lock(mutex);
      auto found = plain.find(key);
      if (found == plain.end()) return false;
      std::string value = found->second;
      return value.size() == kValueBytes;
    });
    printf(
        "%d thread(s): read %.0f ns, get_copy %.0f, get %.0f; shared_mutex, unordered_map, copy "
        "%.0f\n",
        threads, visit, copy, get, locked);
  }
  pulse_map_unref(map);
}

}  // namespace
