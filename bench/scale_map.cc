// Scale: maps of more and more keys.
#include <algorithm>

#include "cpu.h"
#include "failure.h"
#include "hiredis_connection.h"
#include "maps.h"
#include "scale.h"

namespace bench {
namespace {

const std::string kMap = "large";
const std::string kValue(32, 'x');

std::string key_of(size_t i) { return "key-" + std::to_string(i); }

// As a map that was set key by key.
void fill(Place& place, size_t count) {
  HiredisConnection connection(place);
  const std::string content = "map:" + kMap + ":content";
  connection.command(Arguments({"HSET", content, "=rev", std::to_string(count), "=kind", "set"}));
  for (size_t i = 0; i < count;) {
    Words words = {"HSET", content};
    for (const size_t end = std::min(count, i + 500); i < end; ++i) {
      words.push_back(key_of(i));
      words.push_back(kValue);
    }
    connection.command(Arguments(std::move(words)));
  }
}

class Gets : public Side {
 public:
  Gets(pulse_map* map, size_t count) : map_(map), count_(count) {}

  // Keys in an order that is none.
  Sample run(double seconds) override {
    Sample sample;
    const double start = now_seconds(), cpu = own_cpu_seconds();
    char buffer[64];
    while (now_seconds() < start + seconds) {
      for (int i = 0; i < 1000; ++i) {
        at_ = (at_ * 6364136223846793005U + 1442695040888963407U);
        const std::string key = key_of((at_ >> 20) % count_);
        size_t size = 0;
        require(pulse_map_get_copy(map_, key.data(), key.size(), buffer, sizeof buffer, &size) ==
                        PULSE_OK &&
                    size == kValue.size(),
                "a key is missing");
      }
      sample.operations += 1000;
    }
    sample.seconds = now_seconds() - start;
    sample.client_cpu = own_cpu_seconds() - cpu;
    return sample;
  }

 private:
  pulse_map* map_;
  size_t count_;
  uint64_t at_ = 1;
};

class SetsOneByOne : public Side {
 public:
  SetsOneByOne(Place& place, pulse_map* map, size_t count)
      : place_(place), map_(map), count_(count) {}

  Sample run(double seconds) override {
    Sample sample;
    const double start = now_seconds(), cpu = own_cpu_seconds(), server = place_.cpu();
    uint64_t revision = 0;
    while (now_seconds() < start + seconds) {
      revision = set_and_wait(map_, key_of(at_ = (at_ + 7919) % count_), kValue);
      sample.operations += 1;
    }
    pulse_error error = PULSE_ERROR_INIT;
    require_ok(pulse_map_wait_revision(map_, revision, kWaitMs, &error), error, "wait_revision");
    sample.seconds = now_seconds() - start;
    sample.client_cpu = own_cpu_seconds() - cpu;
    sample.server_cpu = place_.cpu() - server;
    return sample;
  }

 private:
  Place& place_;
  pulse_map* map_;
  size_t count_, at_ = 0;
};

}  // namespace

Series scale_map(Context& context) {
  Series series{"map-size",
                "one map, values of 32 bytes; sets one at a time",
                "keys",
                {"ms to join", "ns per get, the key's text made anew", "client µs per set",
                 "server µs per set", "bytes per entry"},
                {}};
  for (const size_t count : {1000, 10000, 100000, 1000000}) {
    fill(context.place, count);
    const Handle<pulse_engine> engine = open_engine(context.place.url());
    const double before = counted_bytes(), start = now_seconds();
    const Handle<pulse_map> map = join_map(engine.get(), kMap);
    const double join_ms = (now_seconds() - start) * 1000;
    const double each = (counted_bytes() - before) / static_cast<double>(count);
    Gets gets(map.get(), count);
    const Result got = absolute({}, repeat(context.plan, context.progress, gets), client_us);
    SetsOneByOne sets(context.place, map.get(), count);
    const Result set = absolute({}, repeat(context.plan, context.progress, sets), client_us);
    series.points.push_back({static_cast<double>(count),
                             {join_ms, got.ours * 1000, set.ours, set.server_cpu_us, each}});
    context.place.flush();
  }
  return series;
}

}  // namespace bench
