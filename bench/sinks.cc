// Rows 7 and 8: sinks with acks, which share their runs.
#include "sink_sides.h"
#include "workload.h"

namespace bench {

std::vector<Result> run_sink(Context& context) {
  // More than is handled in a slice.
  const Events events =
      fill_stream(context.place, "events", static_cast<size_t>(context.plan.slice * 800000));
  EngineSink one_by_one(context.place, events, Acks::one_by_one);
  EngineSink in_batches(context.place, events, Acks::in_batches);
  std::vector<Result> results, cpu;
  const struct {
    const char* letter;
    Side& ours;
    const char* what;
    int count;
    double at_least, aim;
    double cpu_at_most, cpu_aim;
  } loops[] = {{"a", in_batches, "in batches of 256", 1000, 1.25, 1.6, 0.35, 0.2},
               {"b", in_batches, "in batches of 256", 100, 1.8, 2.3, 0.35, 0.2},
               {"c", in_batches, "in batches of 256", 10, 3.5, 5, 0.35, 0.2},
               {"d", one_by_one, "each by itself", 1000, kNone, kNone, kNone, kNone}};
  for (const auto& loop : loops) {
    HiredisSink reference(context.place, events, loop.count);
    const auto groups = alternate(context.plan, context.progress, loop.ours, reference);
    const std::string against = std::string(" acked ") + loop.what +
                                " / blocking XREADGROUP and XACK, COUNT " +
                                std::to_string(loop.count);
    results.push_back(compare({std::string("7") + loop.letter, "sink, events" + against, "events/s",
                               loop.at_least, loop.aim},
                              groups, rate));
    cpu.push_back(compare({std::string("8") + loop.letter, "sink, client CPU per event" + against,
                           "us/event", loop.cpu_at_most, loop.cpu_aim, true},
                          groups, client_us));
  }
  results.insert(results.end(), cpu.begin(), cpu.end());
  return results;
}

}  // namespace bench
