/* The workloads, each for one row of the table or several that share their runs. */
#ifndef PULSEENGINE_BENCH_WORKLOAD_H
#define PULSEENGINE_BENCH_WORKLOAD_H

#include <string>
#include <vector>

#include "measure.h"
#include "place.h"

namespace bench {

struct Context {
  Place& place;
  Plan plan;
  Progress& progress;
};

struct Workload {
  const char* name;
  const char* rows;  // "7,8"
  const char* what;
  bool any_transport;  // false: nothing of it depends on the transport, so it runs with one only
  std::vector<Result> (*run)(Context& context);
};

const std::vector<Workload>& workloads();
// Whether it is called so, or has this row.
bool is_called(const Workload& workload, const std::string& word);

std::vector<Result> run_add(Context& context);
std::vector<Result> run_add_many(Context& context);
std::vector<Result> run_add_four(Context& context);
std::vector<Result> run_add_bounded(Context& context);
std::vector<Result> run_add_blocking(Context& context);
std::vector<Result> run_add_cpu(Context& context);
std::vector<Result> run_sink(Context& context);
std::vector<Result> run_latency(Context& context);
std::vector<Result> run_submit(Context& context);
std::vector<Result> run_map_get(Context& context);
std::vector<Result> run_map_set(Context& context);
std::vector<Result> run_visible(Context& context);
std::vector<Result> run_together(Context& context);
std::vector<Result> run_pool(Context& context);
std::vector<Result> run_pool_callers(Context& context);
std::vector<Result> run_queue(Context& context);

}  // namespace bench

#endif
