// Row 11: two threads read a map while it changes a thousand times per second.
#include <atomic>
#include <chrono>
#include <cstring>
#include <mutex>
#include <shared_mutex>
#include <thread>
#include <unordered_map>

#include "cpu.h"
#include "failure.h"
#include "maps.h"
#include "workload.h"

namespace bench {
namespace {

constexpr size_t kKeys = 10000;
constexpr int kReaders = 2;
constexpr int kUpdatesPerSecond = 1000;

std::string key_of(size_t i) { return "key-" + std::to_string(100000 + i); }

// Begins with its key, so that readers can tell whether it is the right one.
std::string value_of(const std::string& key, uint64_t update) {
  std::string value = key + "=" + std::to_string(update);
  value.resize(64, '.');
  return value;
}

const std::vector<std::string>& keys() {
  static const std::vector<std::string> all = [] {
    std::vector<std::string> made;
    for (size_t i = 0; i < kKeys; ++i) made.push_back(key_of(i));
    return made;
  }();
  return all;
}

bool is_value_of(const std::string& key, const void* value, size_t size) {
  return size == 64 && memcmp(value, key.data(), key.size()) == 0;
}

// Two readers and a writer; how they read and write is for those who derive.
class MapReads : public Side {
 public:
  explicit MapReads(Place& place) : place_(place) {}

  Sample run(double seconds) final {
    std::atomic<int64_t> reads{0};
    std::atomic<bool> stop{false}, wrong{false};
    std::vector<std::thread> threads;
    const double start = now_seconds(), cpu = own_cpu_seconds(), server = place_.cpu();
    for (int i = 0; i < kReaders; ++i) {
      threads.emplace_back([&, i] {
        uint64_t random = 88172645463325252u + static_cast<uint64_t>(i);
        int64_t done = 0;
        while (!stop.load(std::memory_order_relaxed)) {
          for (int n = 0; n < 64; ++n, ++done) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            if (!read(keys()[random % kKeys])) wrong = true;
          }
        }
        reads += done;
      });
    }
    const int updates = write_until(start + seconds);
    stop = true;
    for (std::thread& thread : threads) thread.join();
    Sample sample;
    sample.seconds = now_seconds() - start;
    sample.client_cpu = own_cpu_seconds() - cpu;
    sample.server_cpu = place_.cpu() - server;
    sample.operations = static_cast<double>(reads);
    require(!wrong, "a read found no value or a wrong one");
    check(updates);
    return sample;
  }

 protected:
  // Whether it found a value of this key.
  virtual bool read(const std::string& key) = 0;
  virtual void write(const std::string& key, const std::string& value) = 0;
  virtual void check(int updates) { (void)updates; }

 private:
  int write_until(double end) {
    auto next = std::chrono::steady_clock::now();
    int updates = 0;
    while (now_seconds() < end) {
      const std::string& key = keys()[written_++ % kKeys];
      write(key, value_of(key, written_));
      ++updates;
      next += std::chrono::microseconds(1000000 / kUpdatesPerSecond);
      std::this_thread::sleep_until(next);
    }
    return updates;
  }

  Place& place_;
  uint64_t written_ = 0;
};

class EngineReads : public MapReads {
 public:
  explicit EngineReads(Place& place)
      : MapReads(place), engine_(open_engine(place.url())), map_(join_map(engine_.get(), "reads")) {
    std::vector<std::string> values;
    std::vector<pulse_map_batch_item> items;
    for (const std::string& key : keys()) values.push_back(value_of(key, 0));
    for (size_t i = 0; i < kKeys; ++i) {
      pulse_map_batch_item item{};
      item.op = PULSE_MAP_OP_SET;
      item.key = keys()[i].data();
      item.key_len = keys()[i].size();
      item.value = values[i].data();
      item.value_len = values[i].size();
      items.push_back(item);
    }
    pulse_error error = PULSE_ERROR_INIT;
    require_ok(pulse_map_batch_wait(map_.get(), items.data(), sizeof items[0], items.size(),
                                    nullptr, kWaitMs, &error),
               error, "pulse_map_batch_wait");
    revision_ = set_and_wait(map_.get(), keys()[0], values[0]);
    require_ok(pulse_map_wait_revision(map_.get(), revision_, kWaitMs, &error), error, "wait");
  }

 protected:
  void write(const std::string& key, const std::string& value) override {
    pulse_error error = PULSE_ERROR_INIT;
    require_ok(pulse_map_set(map_.get(), key.data(), key.size(), value.data(), value.size(),
                             nullptr, nullptr, &error),
               error, "pulse_map_set");
  }

  // That all updates have come, each with a revision of its own.
  void check(int updates) override {
    const std::string& key = keys()[0];
    const uint64_t revision = set_and_wait(map_.get(), key, value_of(key, 0));
    pulse_error error = PULSE_ERROR_INIT;
    require_ok(pulse_map_wait_revision(map_.get(), revision, kWaitMs, &error), error, "wait");
    require(revision == revision_ + static_cast<uint64_t>(updates) + 1, "updates are missing");
    revision_ = revision;
  }

  pulse_map* map() { return map_.get(); }

 private:
  Handle<pulse_engine> engine_;
  Handle<pulse_map> map_;
  uint64_t revision_ = 0;
};

class Gets : public EngineReads {
 public:
  using EngineReads::EngineReads;

 protected:
  bool read(const std::string& key) override {
    pulse_bytes* value = nullptr;
    if (pulse_map_get(map(), key.data(), key.size(), &value) != PULSE_OK) return false;
    const bool right = is_value_of(key, pulse_bytes_data(value), pulse_bytes_size(value));
    pulse_bytes_unref(value);
    return right;
  }
};

class Visits : public EngineReads {
 public:
  using EngineReads::EngineReads;

 protected:
  struct Visit {
    const std::string& key;
    bool right;
  };
  bool read(const std::string& key) override {
    Visit visit{key, false};
    pulse_map_read(
        map(), key.data(), key.size(),
        [](const void* value, size_t size, void* user_data) {
          Visit& of = *static_cast<Visit*>(user_data);
          of.right = is_value_of(of.key, value, size);
        },
        &visit);
    return visit.right;
  }
};

// What programs do without: a table behind a lock, values copied out.
class LockedTable : public MapReads {
 public:
  explicit LockedTable(Place& place) : MapReads(place) {
    for (const std::string& key : keys()) table_[key] = value_of(key, 0);
  }

 protected:
  bool read(const std::string& key) override {
    std::string value;
    {
      const std::shared_lock<std::shared_mutex> lock(mutex_);
      const auto found = table_.find(key);
      if (found == table_.end()) return false;
      value = found->second;
    }
    return is_value_of(key, value.data(), value.size());
  }
  void write(const std::string& key, const std::string& value) override {
    const std::unique_lock<std::shared_mutex> lock(mutex_);
    table_[key] = value;
  }

 private:
  std::shared_mutex mutex_;
  std::unordered_map<std::string, std::string> table_;
};

// The bound: open addressing in one array, without any synchronisation, so nothing is written.
class FlatTable : public MapReads {
 public:
  explicit FlatTable(Place& place) : MapReads(place), slots_(4 * 8192) {
    for (const std::string& key : keys()) {
      size_t at = hash(key);
      while (!slots_[at].key.empty()) at = (at + 1) & mask();
      slots_[at] = {key, value_of(key, 0)};
    }
  }

 protected:
  bool read(const std::string& key) override {
    size_t at = hash(key);
    while (slots_[at].key != key) at = (at + 1) & mask();
    return is_value_of(key, slots_[at].value.data(), slots_[at].value.size());
  }
  void write(const std::string&, const std::string&) override {}

 private:
  struct Slot {
    std::string key, value;
  };
  size_t mask() const { return slots_.size() - 1; }
  size_t hash(const std::string& key) const { return std::hash<std::string>()(key) & mask(); }
  std::vector<Slot> slots_;
};

}  // namespace

std::vector<Result> run_map_get(Context& context) {
  std::vector<Result> results;
  Gets gets(context.place);
  LockedTable locked(context.place);
  const auto against = [&](const Row& row, Side& ours, Side& reference) {
    results.push_back(
        compare(row, alternate(context.plan, context.progress, ours, reference), rate));
  };
  against({"11a", "map get, 2 readers, 1,000 updates/s / shared_mutex, unordered_map and copy",
           "reads/s", 1.8, 3.2},
          gets, locked);
  FlatTable flat(context.place);
  against({"11b", "map get / unsynchronised flat table (the bound)", "reads/s"}, gets, flat);
  Visits visits(context.place);
  against({"11c", "map read in place / unsynchronised flat table (the bound)", "reads/s"}, visits,
          flat);
  return results;
}

}  // namespace bench
