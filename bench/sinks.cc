// Rows 7 and 8: sinks with acks, which share their runs.
#include "sink_sides.h"
#include "workload.h"

namespace bench {

std::vector<Result> run_sink(Context& context) {
  // More than is handled in a slice.
  const Events events =
      fill_stream(context.place, "events", static_cast<size_t>(context.plan.slice * 800000));
  EngineSink ours(context.place, events);
  std::vector<Result> results, cpu;
  const struct {
    const char* letter;
    int count;
    double at_least, aim;
  } loops[] = {{"a", 1000, 1.25, 1.6}, {"b", 100, 1.8, 2.3}, {"c", 10, 3.5, 5}};
  for (const auto& loop : loops) {
    HiredisSink reference(context.place, events, loop.count);
    const auto groups = alternate(context.plan, context.progress, ours, reference);
    const std::string against =
        " / blocking XREADGROUP and XACK, COUNT " + std::to_string(loop.count);
    results.push_back(compare({std::string("7") + loop.letter, "sink with acks" + against,
                               "events/s", loop.at_least, loop.aim},
                              groups, rate));
    cpu.push_back(compare({std::string("8") + loop.letter,
                           "client CPU per event of a sink" + against, "us/event", 0.35, 0.2, true},
                          groups, client_us));
  }
  results.insert(results.end(), cpu.begin(), cpu.end());
  return results;
}

}  // namespace bench
