// Rows 1 to 6: adds.
#include "add_sides.h"
#include "redis_benchmark.h"
#include "workload.h"

namespace bench {
namespace {

constexpr int kInFlight = 1024;
const char kPerSecond[] = "events/s";

}  // namespace

std::vector<Result> run_add(Context& context) {
  RedisBenchmark reference(context.place, 1, 1024, add_command(context.place, kTrimAlways));
  AddsFromLoop ours(context.place, 1, 1, kInFlight, kTrimAlways);
  const auto groups = alternate(context.plan, context.progress, ours, reference);
  return {compare({"1", "add, 1 connection, 1024 in flight / redis-benchmark -c1 -P1024",
                   kPerSecond, 0.95, 1.05},
                  groups, rate)};
}

std::vector<Result> run_add_many(Context& context) {
  RedisBenchmark reference(context.place, 50, 64, add_command(context.place, kTrimAlways));
  AddsFromLoop ours(context.place, 1, 1, kInFlight, kTrimAlways);
  const auto groups = alternate(context.plan, context.progress, ours, reference);
  return {compare({"2", "add, 1 connection, 1024 in flight / redis-benchmark -c50 -P64", kPerSecond,
                   0.80, 0.95},
                  groups, rate)};
}

std::vector<Result> run_add_four(Context& context) {
  RedisBenchmark reference(context.place, 50, 64, add_command(context.place, kTrimAlways));
  AddsFromLoop ours(context.place, 4, 4, kInFlight, kTrimAlways);
  const auto groups = alternate(context.plan, context.progress, ours, reference);
  return {compare({"3",
                   "add, 4 connections, 4 streams, 1024 in flight each / redis-benchmark "
                   "-c50 -P64",
                   kPerSecond, 0.95, 1.05},
                  groups, rate)};
}

std::vector<Result> run_add_bounded(Context& context) {
  constexpr int64_t kLength = 1000;
  RedisBenchmark reference(context.place, 1, 1024, add_command(context.place, kLength));
  AddsFromLoop ours(context.place, 1, 1, kInFlight, kLength);
  const auto groups = alternate(context.plan, context.progress, ours, reference);
  return {compare({"4",
                   "add to a bounded stream, MAXLEN as the engine sends it / redis-benchmark "
                   "-c1 -P1024, MAXLEN with each",
                   kPerSecond, 1.05, 1.2},
                  groups, rate)};
}

std::vector<Result> run_add_blocking(Context& context) {
  const Words command = add_command(context.place, kTrimAlways);
  AddsFromLoop ours(context.place, 1, 1, kInFlight, kTrimAlways);
  std::vector<Result> results;
  const auto against = [&](const Row& row, int threads, int pipeline) {
    HiredisAdds reference(context.place, threads, pipeline, command);
    results.push_back(
        compare(row, alternate(context.plan, context.progress, ours, reference), rate));
  };
  against({"5a", "add / blocking hiredis, 1 thread", kPerSecond, 20, 35}, 1, 1);
  against({"5b", "add / blocking hiredis, 8 threads", kPerSecond, 4.5, 6}, 8, 1);
  against({"5c", "add / blocking hiredis, pipeline by hand of 1024", kPerSecond}, 1, 1024);
  return results;
}

std::vector<Result> run_add_cpu(Context& context) {
  const Words command = add_command(context.place, kTrimAlways);
  HiredisAsyncAdds reference(context.place, kInFlight, command);
  std::vector<Result> results;
  const auto of = [&](const Row& row, Side& ours) {
    const auto groups = alternate(context.plan, context.progress, ours, reference);
    results.push_back(compare(row, groups, client_us));
  };
  {
    AddsFromLoop ours(context.place, 1, 1, kInFlight, kTrimAlways);
    of({"6a", "client CPU per add from the loop / hiredis asynchronous", "us/event", 0.33, 0.2,
        true},
       ours);
  }
  AddsFromThread ours(context.place, 1, 1, kInFlight, kTrimAlways);
  of({"6b", "client CPU per add from another thread / hiredis asynchronous", "us/event", 0.5, 0.35,
      true},
     ours);
  return results;
}

}  // namespace bench
