#include "map_worker.h"

#include <fcntl.h>
#include <poll.h>
#include <pulseengine/pulse.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cinttypes>
#include <cstdio>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "journal.h"
#include "map_content.h"
#include "support.h"

namespace faults {
namespace {

constexpr int64_t kTickMs = 5;
constexpr int64_t kMostInFlight = 64;
constexpr int64_t kTellMs = 50;      // between two lines with figures
constexpr size_t kLongestList = 20;  // nothing is appended to longer ones
// No fault lasts for so long: a write that gets there hangs, and whoever waits for it says so.
constexpr int64_t kWriteMs = 2 * TS_DEADLINE_MS;

void must(pulse_status status, const char* what) {
  if (status == PULSE_OK) return;
  fprintf(stderr, "map worker: %s: %s\n", what, pulse_status_name(status));
  exit(1);
}

// Random writes to one map: what to write, and how it is said.
class Writer {
 public:
  Writer(pulse_map* map, std::string name, uint64_t seed, const std::atomic<bool>& big, bool resets)
      : map_(map), name_(std::move(name)), big_(big), resets_(resets), random_(seed) {}

  // One write; `target` null: waits for its end.
  pulse_status write(const pulse_target* target, pulse_map_result* result) {
    const std::string k = key('k', 40), n = key('n', 10), l = key('l', 10);
    const std::string v = value();
    if (resets_ && up_to(1999) == 0) return empty(k, target, result);
    const int64_t kind = up_to(999);
    if (kind < 300) return set(k, v, target, result);
    if (kind < 400) return set_and_wait(k, v, target, result);
    if (kind < 450) {
      return target ? pulse_map_set_if_absent(map_, k.data(), k.size(), v.data(), v.size(), target,
                                              nullptr, nullptr)
                    : pulse_map_set_if_absent_wait(map_, k.data(), k.size(), v.data(), v.size(),
                                                   result, kWriteMs, nullptr);
    }
    if (kind < 520) {
      const std::string t = here(k);
      return target ? pulse_map_test_and_set(map_, k.data(), k.size(), t.data(), t.size(), v.data(),
                                             v.size(), target, nullptr, nullptr)
                    : pulse_map_test_and_set_wait(map_, k.data(), k.size(), t.data(), t.size(),
                                                  v.data(), v.size(), result, kWriteMs, nullptr);
    }
    if (kind < 620) {
      const int64_t delta = up_to(2000) - 1000;
      return target ? pulse_map_increment(map_, n.data(), n.size(), delta, target, nullptr, nullptr)
                    : pulse_map_increment_wait(map_, n.data(), n.size(), delta, result, kWriteMs,
                                               nullptr);
    }
    if (kind < 800) return list(l, target, result);
    if (kind < 870) {
      return target ? pulse_map_delete(map_, k.data(), k.size(), target, nullptr, nullptr)
                    : pulse_map_delete_wait(map_, k.data(), k.size(), result, kWriteMs, nullptr);
    }
    if (kind < 900) {
      const std::string t = here(k);
      return target ? pulse_map_test_and_delete(map_, k.data(), k.size(), t.data(), t.size(),
                                                target, nullptr, nullptr)
                    : pulse_map_test_and_delete_wait(map_, k.data(), k.size(), t.data(), t.size(),
                                                     result, kWriteMs, nullptr);
    }
    return batch(target);
  }

 private:
  int64_t up_to(int64_t most) { return std::uniform_int_distribution<int64_t>(0, most)(random_); }

  std::string key(char kind, int64_t count) { return kind + std::to_string(up_to(count - 1)); }

  // Told apart by its beginning; any bytes.
  std::string value() {
    if (up_to(30) == 0) return std::string();
    std::string text = name_ + ":" + std::to_string(next_++) + ":";
    const size_t size = text.size() + static_cast<size_t>(big_ ? 4000 + up_to(8000) : up_to(180));
    while (text.size() < size) {
      const uint64_t bits = random_();
      text.append(reinterpret_cast<const char*>(&bits), std::min(sizeof bits, size - text.size()));
    }
    return text;
  }

  std::string item() {
    static const char* const kItems[] = {"a",  "b/c", "d,e",      "\"q\"", "\\",
                                         "\n", "",    "\xc3\xa9", "[1]"};
    if (up_to(1) == 0) return kItems[up_to(8)];
    return name_ + std::to_string(up_to(20));
  }

  // The value that the replica shows.
  std::string here(const std::string& key) {
    pulse_bytes* value = nullptr;
    if (pulse_map_get(map_, key.data(), key.size(), &value) != PULSE_OK) return std::string();
    std::string text(static_cast<const char*>(pulse_bytes_data(value)), pulse_bytes_size(value));
    pulse_bytes_unref(value);
    return text;
  }

  pulse_status set(const std::string& k, const std::string& v, const pulse_target* target,
                   pulse_map_result* result) {
    return target ? pulse_map_set(map_, k.data(), k.size(), v.data(), v.size(), target, nullptr,
                                  nullptr)
                  : pulse_map_set_wait(map_, k.data(), k.size(), v.data(), v.size(), result,
                                       kWriteMs, nullptr);
  }

  pulse_status set_and_wait(const std::string& k, const std::string& v, const pulse_target* target,
                            pulse_map_result* result) {
    return target ? pulse_map_set_and_wait(map_, k.data(), k.size(), v.data(), v.size(), target,
                                           nullptr, nullptr)
                  : pulse_map_set_and_wait_wait(map_, k.data(), k.size(), v.data(), v.size(),
                                                result, kWriteMs, nullptr);
  }

  pulse_status list(const std::string& l, const pulse_target* target, pulse_map_result* result) {
    pulse_list* present = nullptr;
    size_t length = 0;
    if (pulse_map_get_list(map_, l.data(), l.size(), &present, nullptr) == PULSE_OK) {
      length = pulse_list_size(present);
      pulse_list_unref(present);
    }
    std::string texts[3];
    pulse_map_item items[3];
    const auto count = static_cast<size_t>(up_to(3));
    for (size_t i = 0; i < count; i++) {
      texts[i] = item();
      items[i] = {texts[i].data(), texts[i].size()};
    }
    const int64_t kind = length > kLongestList ? 2 : up_to(2);
    if (kind == 0) {
      return target ? pulse_map_append(map_, l.data(), l.size(), items, count, target, nullptr,
                                       nullptr)
                    : pulse_map_append_wait(map_, l.data(), l.size(), items, count, result,
                                            kWriteMs, nullptr);
    }
    if (kind == 1) {
      return target ? pulse_map_append_unique(map_, l.data(), l.size(), items, count, target,
                                              nullptr, nullptr)
                    : pulse_map_append_unique_wait(map_, l.data(), l.size(), items, count, result,
                                                   kWriteMs, nullptr);
    }
    return target ? pulse_map_remove_values(map_, l.data(), l.size(), items, count, target, nullptr,
                                            nullptr)
                  : pulse_map_remove_values_wait(map_, l.data(), l.size(), items, count, result,
                                                 kWriteMs, nullptr);
  }

  pulse_status empty(const std::string& k, const pulse_target* target, pulse_map_result* result) {
    switch (up_to(2)) {
      case 0:
        return target ? pulse_map_reset(map_, target, nullptr, nullptr)
                      : pulse_map_reset_wait(map_, result, kWriteMs, nullptr);
      case 1:
        return target ? pulse_map_destroy(map_, target, nullptr, nullptr)
                      : pulse_map_destroy_wait(map_, result, kWriteMs, nullptr);
      default: {
        const std::string t = here(k);
        const pulse_map_entry test = {k.data(), k.size(), t.data(), t.size()};
        return target ? pulse_map_test_and_reset(map_, &test, 1, target, nullptr, nullptr)
                      : pulse_map_test_and_reset_wait(map_, &test, 1, result, kWriteMs, nullptr);
      }
    }
  }

  pulse_status batch(const pulse_target* target) {
    const auto count = static_cast<size_t>(1 + up_to(7));
    std::vector<std::string> keys(count), values(count);
    std::vector<pulse_map_batch_item> items(count);
    for (size_t i = 0; i < count; i++) {
      const int64_t kind = up_to(2);
      keys[i] = kind == 2 ? key('n', 10) : key('k', 40);
      values[i] = value();
      items[i].op = kind == 0   ? PULSE_MAP_OP_SET
                    : kind == 1 ? PULSE_MAP_OP_DELETE
                                : PULSE_MAP_OP_INCREMENT;
      items[i].key = keys[i].data();
      items[i].key_len = keys[i].size();
      items[i].value = kind == 0 ? values[i].data() : nullptr;
      items[i].value_len = kind == 0 ? values[i].size() : 0;
      items[i].delta = kind == 2 ? up_to(10) : 0;
    }
    return target ? pulse_map_batch(map_, items.data(), sizeof items[0], count, target, nullptr,
                                    nullptr)
                  : pulse_map_batch_wait(map_, items.data(), sizeof items[0], count, nullptr,
                                         kWriteMs, nullptr);
  }

  pulse_map* const map_;
  const std::string name_;
  const std::atomic<bool>& big_;
  const bool resets_;
  std::mt19937_64 random_;
  uint64_t next_ = 1;
};

// A replica that is kept by the changes that a watch tells.
class Follower {
 public:
  explicit Follower(JournalWriter& journal) : journal_(journal) {}

  void take(const pulse_event& event) {
    switch (event.kind) {
      case PULSE_EVENT_WATCH_STARTED:
        if (started_ || event.state != 0) journal_.line("B the watch starts oddly");
        started_ = telling_ = true;
        break;
      case PULSE_EVENT_WATCH_RESYNC:
        if (telling_ || event.count != revision_) {
          journal_.line("B resync from %" PRIu64 " behind %" PRIu64, event.count, revision_);
        }
        telling_ = true;
        journal_.line("O %" PRIu64, event.revision);
        break;
      case PULSE_EVENT_WATCH_CAUGHT_UP:
        if (!telling_) journal_.line("B caught up for nothing");
        telling_ = false;
        revision_ = event.revision;
        fresh_ = true;
        break;
      case PULSE_EVENT_MAP_CHANGE:
        change(event);
        break;
      default:
        break;
    }
  }

  // What it has come to, unless it was told already.
  void tell() {
    if (telling_ || !fresh_) return;
    fresh_ = false;
    journal_.line("W %" PRIu64 " %016" PRIx64, revision_, content_.digest());
  }

 private:
  void change(const pulse_event& event) {
    if (!telling_) {
      if (event.revision != revision_ + 1) {
        journal_.line("B change %" PRIu64 " behind %" PRIu64, event.revision, revision_);
      }
      revision_ = event.revision;
      fresh_ = true;
    }
    const std::string key(event.name == nullptr ? "" : event.name, event.name_len);
    if (event.state == PULSE_MAP_OP_RESET || event.state == PULSE_MAP_OP_DESTROY) {
      content_.clear();
      return;
    }
    const auto known = content_.values().find(key);
    const bool same_old =
        known == content_.values().end()
            ? event.old_value == nullptr
            : event.old_value != nullptr &&
                  known->second == std::string(event.old_value, event.old_value_len);
    if (!same_old) journal_.line("B another value before %" PRIu64, event.revision);
    if (event.state == PULSE_MAP_OP_SET) {
      content_.set(key, std::string(event.payload, event.payload_len));
    } else {
      if (known == content_.values().end()) journal_.line("B deleted what was not there");
      content_.erase(key);
    }
  }

  JournalWriter& journal_;
  MapContent content_;
  uint64_t revision_ = 0;
  bool started_ = false;
  bool telling_ = false;  // a start or a resynchronisation: up to "caught up"
  bool fresh_ = false;
};

class MapWorker {
 public:
  explicit MapWorker(const Arguments& arguments)
      : path_(arguments.text("journal")),
        per_second_(arguments.number("rate")),
        thread_pause_ms_(arguments.number("thread_pause_ms")),
        journal_(path_),
        follower_(journal_) {
    const std::string url = arguments.text("url"), client = arguments.text("client"),
                      name = arguments.text("name"), map = arguments.text("map");
    pulse_engine_options options = PULSE_ENGINE_OPTIONS_INIT;
    options.url = url.c_str();
    options.client_name = client.c_str();
    manual_ = arguments.text("driver") == "manual";
    options.driver = manual_ ? PULSE_DRIVER_MANUAL : PULSE_DRIVER_THREAD;
    options.connect_timeout_ms = TS_DEADLINE_MS / 4;
    options.command_timeout_ms = kWriteMs;
    options.reconnect_max_ms = 200;
    must(pulse_queue_new(&queue_, nullptr), "queue");
    must(pulse_engine_open(&options, &engine_, nullptr), "engine");
    pulse_map_options map_options = PULSE_MAP_OPTIONS_INIT;
    map_options.max_unnoticed_ms = arguments.number("max_unnoticed_ms");
    map_options.ttl_ms = arguments.number("ttl_ms");
    map_options.read_your_writes = static_cast<int32_t>(arguments.number("read_your_writes"));
    map_options.watch_history = arguments.number("watch_history");
    const pulse_target to = target();
    must(pulse_map_join(engine_, map.data(), map.size(), &map_options, &to, &map_, nullptr), "map");
    pulse_map_watch_options watch = PULSE_MAP_WATCH_OPTIONS_INIT;
    watch.mode = PULSE_WATCH_DELTAS;
    watch.old_values = 1;
    must(pulse_map_watch_open(map_, &watch, &to, &watch_, nullptr), "watch");
    const auto seed = static_cast<uint64_t>(arguments.number("seed"));
    // A reset ends the time that the map has to live.
    const bool resets = map_options.ttl_ms == 0;
    writer_ = std::make_unique<Writer>(map_, name, seed, big_, resets);
    for (int64_t i = 0; i < arguments.number("threads"); i++) {
      threads_.emplace_back([this, writer = Writer(map_, name + "." + std::to_string(i),
                                                   seed + 1 + static_cast<uint64_t>(i), big_,
                                                   resets)]() mutable { write_and_wait(&writer); });
    }
    fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK);
  }
  MapWorker(const MapWorker&) = delete;
  MapWorker& operator=(const MapWorker&) = delete;

  int run() {
    while (take_orders()) {
      add();
      take(kTickMs);
      look();
      tell();
    }
    stop_ = true;
    for (std::thread& thread : threads_) thread.join();
    while (in_flight_ > 0) take(kTickMs);
    pulse_map_watch_unref(watch_);
    pulse_map_unref(map_);
    const pulse_status status = pulse_engine_close_wait(engine_, TS_DEADLINE_MS, nullptr);
    pulse_engine_unref(engine_);
    pulse_queue_unref(queue_);
    journal_.line("Z %d", status);
    journal_.flush();
    return status == PULSE_OK ? 0 : 1;
  }

 private:
  pulse_target target() const {
    pulse_target target = PULSE_TARGET_INIT;
    target.queue = queue_;
    return target;
  }

  // --- writing ---------------------------------------------------------------------

  void count(pulse_status status, uint32_t flags) {
    if (status == PULSE_OK) {
      written_++;
    } else {
      ((flags & PULSE_ERROR_OUTCOME_UNKNOWN) != 0 ? unknown_ : failed_)++;
    }
  }

  void write_and_wait(Writer* writer) {
    while (!stop_) {
      busy_++;
      if (!paused_) {
        pulse_map_result result = PULSE_MAP_RESULT_INIT;
        const pulse_status status = writer->write(nullptr, &result);
        // Whether it was executed is not known to this call when it fails.
        count(status, status == PULSE_OK ? 0 : PULSE_ERROR_OUTCOME_UNKNOWN);
        pulse_bytes_unref(result.value);
      }
      busy_--;
      ts_pause_ms(thread_pause_ms_);
    }
  }

  void add() {
    const int64_t now = ts_now_ms();
    if (!paused_) due_ += std::min<int64_t>(now - last_ms_, 10 * kTickMs) * per_second_;
    last_ms_ = now;
    for (; due_ >= 1000 && in_flight_ < kMostInFlight; due_ -= 1000) {
      const pulse_target to = target();
      const pulse_status status = writer_->write(&to, nullptr);
      if (status == PULSE_OK) {
        in_flight_++;
      } else {
        count(status, 0);
      }
    }
    due_ = std::min<int64_t>(due_, 1000);
  }

  // --- events ----------------------------------------------------------------------

  void drive(int64_t timeout_ms) {
    const int64_t next = pulse_engine_poll_timeout_ms(engine_);
    if (next >= 0) timeout_ms = std::min(timeout_ms, next);
    pollfd fd = {pulse_engine_poll_fd(engine_), POLLIN, 0};
    ::poll(&fd, 1, static_cast<int>(timeout_ms));
    const int64_t status = pulse_engine_run_once(engine_, 0, 0);
    if (status < 0) must(static_cast<pulse_status>(status), "run_once");
  }

  void take(int64_t timeout_ms) {
    if (manual_) drive(timeout_ms);
    pulse_event events[256];
    const int64_t got =
        pulse_queue_poll(queue_, events, sizeof events[0], 256, manual_ ? 0 : timeout_ms);
    if (got < 0) must(static_cast<pulse_status>(got), "poll");
    for (int64_t i = 0; i < got; i++) take_one(events[i]);
    follower_.tell();
  }

  void take_one(const pulse_event& event) {
    if (event.kind == PULSE_EVENT_MAP_WRITTEN) {
      in_flight_--;
      count(event.status, event.flags);
    } else if (event.kind == PULSE_EVENT_MAP_STATE) {
      // Told, not only seen: it may be over before anybody looks.
      if (event.state == PULSE_MAP_STALE) journal_.line("N %" PRIu64, event.count);
    } else if (event.kind == PULSE_EVENT_MAP_REWOUND) {
      journal_.line("R %" PRIu64 " %" PRIu64, event.count, event.revision);
    } else {
      follower_.take(event);
    }
  }

  // --- what the replica shows ---------------------------------------------------------

  pulse_map_info info() const {
    pulse_map_info info = {};
    info.size = sizeof info;
    must(pulse_map_get_info(map_, &info), "info");
    return info;
  }

  template <class Each>
  static void each_entry(const pulse_map_snapshot* snapshot, Each each) {
    pulse_map_cursor cursor = {};
    pulse_map_entry entries[64];
    int64_t got;
    while ((got = pulse_map_snapshot_next(snapshot, &cursor, entries, sizeof entries[0], 64)) > 0) {
      for (int64_t i = 0; i < got; i++) {
        each(std::string(entries[i].key, entries[i].key_len),
             std::string(entries[i].value, entries[i].value_len));
      }
    }
    if (got < 0) must(static_cast<pulse_status>(got), "snapshot");
  }

  // Synced before and after a snapshot, by the same copy: then the snapshot was claimed to be what
  // the server had at its revision.
  void look() {
    const pulse_map_info before = info();
    if (before.state != PULSE_MAP_SYNCED) {
      if (synced_) journal_.line("U");
      synced_ = false;
      return;
    }
    pulse_map_snapshot* snapshot = nullptr;
    must(pulse_map_take_snapshot(map_, &snapshot, nullptr), "snapshot");
    const pulse_map_info after = info();
    if (after.state == PULSE_MAP_SYNCED && after.resyncs == before.resyncs) {
      uint64_t digest = 0;
      size_t size = 0;
      each_entry(snapshot, [&](const std::string& key, const std::string& value) {
        digest += MapContent::digest_of(key, value);
        size++;
      });
      if (size != pulse_map_snapshot_size(snapshot)) journal_.line("B the size is wrong");
      const uint64_t revision = pulse_map_snapshot_revision(snapshot);
      if (!synced_ || revision != told_revision_ || digest != told_digest_) {
        journal_.line("S %" PRIu64 " %016" PRIx64 " %" PRId64, revision, digest, ts_now_ms());
        told_revision_ = revision;
        told_digest_ = digest;
        synced_ = true;
      }
    }
    pulse_map_snapshot_unref(snapshot);
  }

  void tell() {
    const int64_t now = ts_now_ms();
    if (paused_ && !told_quiet_ && in_flight_ == 0 && busy_ == 0) {
      // A thread that looks at `paused_` after this does not write.
      journal_.line("Q");
      told_quiet_ = true;
    }
    if (now >= next_tell_ms_) {
      journal_.line("A %" PRId64 " %" PRId64 " %" PRId64, written_.load(), failed_.load(),
                    unknown_.load());
      next_tell_ms_ = now + kTellMs;
    }
    journal_.flush();
  }

  void dump() {
    pulse_map_snapshot* snapshot = nullptr;
    must(pulse_map_take_snapshot(map_, &snapshot, nullptr), "snapshot");
    FILE* file = fopen((path_ + ".dump").c_str(), "w");
    if (file == nullptr) must(PULSE_ERR_INTERNAL, "dump");
    each_entry(snapshot, [&](const std::string& key, const std::string& value) {
      fprintf(file, "%zu %zu\n", key.size(), value.size());
      fwrite(key.data(), 1, key.size(), file);
      fwrite(value.data(), 1, value.size(), file);
    });
    fclose(file);
    pulse_map_snapshot_unref(snapshot);
    const pulse_map_info figures = info();
    journal_.line("D %" PRIu64 " %" PRIu64, figures.disconnects, figures.malformed);
  }

  // --- orders ------------------------------------------------------------------------

  bool take_orders() {
    char buffer[256];
    const ssize_t n = read(STDIN_FILENO, buffer, sizeof buffer);
    if (n == 0) return false;
    if (n > 0) orders_.append(buffer, static_cast<size_t>(n));
    for (size_t end; (end = orders_.find('\n')) != std::string::npos; orders_.erase(0, end + 1)) {
      const std::string order = orders_.substr(0, end);
      if (order == "pause") {
        paused_ = true;
        told_quiet_ = false;
      } else if (order == "go") {
        paused_ = false;
      } else if (order == "big" || order == "small") {
        big_ = order == "big";
      } else if (order == "dump") {
        dump();
      }
    }
    return true;
  }

  const std::string path_;
  const int64_t per_second_;
  const int64_t thread_pause_ms_;
  JournalWriter journal_;
  Follower follower_;
  pulse_engine* engine_ = nullptr;
  pulse_queue* queue_ = nullptr;
  pulse_map* map_ = nullptr;
  pulse_map_watch* watch_ = nullptr;
  bool manual_ = false;
  std::string orders_;
  std::unique_ptr<Writer> writer_;
  std::vector<std::thread> threads_;
  std::atomic<bool> paused_{true}, stop_{false}, big_{false};
  std::atomic<int> busy_{0};  // threads that may be writing
  std::atomic<int64_t> written_{0}, failed_{0}, unknown_{0};
  int64_t last_ms_ = ts_now_ms();
  int64_t due_ = 0;  // thousandths of writes
  int64_t in_flight_ = 0;
  int64_t next_tell_ms_ = 0;
  bool told_quiet_ = false;
  bool synced_ = false;
  uint64_t told_revision_ = 0, told_digest_ = 0;
};

}  // namespace

int run_map_worker(const Arguments& arguments) { return MapWorker(arguments).run(); }

}  // namespace faults
