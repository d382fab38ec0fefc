// Row 13: how long it takes until a set of one process is seen by another.
#include "visible.h"

#include <cinttypes>
#include <cstdio>
#include <cstdlib>

#include "cpu.h"
#include "failure.h"
#include "hiredis_connection.h"
#include "maps.h"
#include "workload.h"

namespace bench {
namespace {

const std::string kMap = "visible";
const std::string kKey = "measured";
const std::string kValue(64, 'x');

class OtherProcess {
 public:
  OtherProcess(Place& place, const std::string& map) {
    const char* const arguments[] = {ts_self_path(), "--watch-map", place.url(), map.c_str(),
                                     nullptr};
    process_ = ts_process_start(arguments, nullptr, TS_PIPE_IN | TS_PIPE_OUT);
    require(process_ != nullptr, "no other process");
    require(next().first == 0, "the other process does not begin");
  }
  ~OtherProcess() { ts_process_free(process_); }
  OtherProcess(const OtherProcess&) = delete;
  OtherProcess& operator=(const OtherProcess&) = delete;

  // Revision, and when it was seen.
  std::pair<uint64_t, double> next() {
    char* line = ts_process_read_line(process_, kWaitMs);
    require(line != nullptr, "the other process sees nothing");
    uint64_t revision = 0;
    double seen = 0;
    const bool read = sscanf(line, "%" SCNu64 " %lf", &revision, &seen) == 2;
    free(line);
    require(read, "the other process makes no sense");
    return {revision, seen};
  }

 private:
  ts_process* process_ = nullptr;
};

class Visible : public Side {
 public:
  explicit Visible(Place& place)
      : place_(place),
        engine_(open_engine(place.url())),
        map_(join_map(engine_.get(), kMap)),
        other_(place, kMap) {}

  Sample run(double seconds) override {
    std::vector<double> took;
    const double start = now_seconds(), cpu = own_cpu_seconds(), server = place_.cpu();
    while (now_seconds() < start + seconds) {
      const double began = now_seconds();
      const uint64_t revision = set_and_wait(map_.get(), kKey, kValue);
      const auto [seen_revision, seen] = other_.next();
      require(seen_revision == revision, "the other process sees another change than the last one");
      took.push_back(seen - began);
    }
    Sample sample;
    sample.seconds = now_seconds() - start;
    sample.client_cpu = own_cpu_seconds() - cpu;
    sample.server_cpu = place_.cpu() - server;
    sample.operations = static_cast<double>(took.size());
    sample.figure = quantile(took, 0.5) * 1e6;
    return sample;
  }

 private:
  Place& place_;
  Handle<pulse_engine> engine_;
  Handle<pulse_map> map_;
  OtherProcess other_;
};

class RoundTrips : public Side {
 public:
  RoundTrips(Place& place, const Words& command) : connection_(place), arguments_(command) {}

  Sample run(double seconds) override {
    std::vector<double> took;
    const double start = now_seconds();
    for (double began = start; began < start + seconds; began = now_seconds()) {
      connection_.command(arguments_);
      took.push_back(now_seconds() - began);
    }
    Sample sample;
    sample.operations = static_cast<double>(took.size());
    sample.seconds = now_seconds() - start;
    sample.figure = quantile(took, 0.5) * 1e6;
    return sample;
  }

 private:
  HiredisConnection connection_;
  Arguments arguments_;
};

}  // namespace

int watch_map(const char* url, const char* name) {
  setvbuf(stdout, nullptr, _IONBF, 0);
  bool caught_up = false;  // changes before that are the content that was there
  pulse_target target = PULSE_TARGET_INIT;
  target.user_data = &caught_up;
  target.callback = [](const pulse_event* event, void* user_data) {
    const double now = now_seconds();
    bool& told_all = *static_cast<bool*>(user_data);
    if (event->kind == PULSE_EVENT_WATCH_CAUGHT_UP) {
      told_all = true;
      printf("0 0\n");
    } else if (event->kind == PULSE_EVENT_MAP_CHANGE && told_all) {
      printf("%" PRIu64 " %.9f\n", event->revision, now);
    }
  };
  const Handle<pulse_engine> engine = open_engine(url);
  const Handle<pulse_map> map = join_map(engine.get(), name);
  pulse_map_watch_options options = PULSE_MAP_WATCH_OPTIONS_INIT;
  options.mode = PULSE_WATCH_DELTAS;
  pulse_error error = PULSE_ERROR_INIT;
  pulse_map_watch* watch = nullptr;
  require_ok(pulse_map_watch_open(map.get(), &options, &target, &watch, &error), error,
             "pulse_map_watch_open");
  const Handle<pulse_map_watch> owned(watch);
  while (getchar() != EOF) {
  }
  return 0;
}

std::vector<Result> run_visible(Context& context) {
  const Words script = set_command(context.place, "alone", {{kKey, kValue}});
  Visible ours(context.place);
  std::vector<Result> results;
  const auto against = [&](const Row& row, const Words& command) {
    RoundTrips reference(context.place, command);
    results.push_back(
        compare(row, alternate(context.plan, context.progress, ours, reference), figure));
  };
  const std::string set = "set on one process, visible on another, p50 / ";
  against({"13a", set + "one round trip of blocking hiredis with the same script", "us", 1.8, 1.2,
           true},
          script);
  against({"13b", set + "one round trip of blocking hiredis, SET", "us", 1.8, 1.2, true},
          {"SET", kKey, kValue});
  return results;
}

}  // namespace bench
