#include "workload.h"

#include <sstream>

namespace bench {

const std::vector<Workload>& workloads() {
  static const std::vector<Workload> all = {
      {"add", "1", "adds on one connection", true, run_add},
      {"add-many", "2", "the same against 50 clients", true, run_add_many},
      {"add-four", "3", "adds on four connections to four streams", true, run_add_four},
      {"add-bounded", "4", "adds to a bounded stream", true, run_add_bounded},
      {"add-blocking", "5", "adds against blocking clients", true, run_add_blocking},
      {"add-cpu", "6", "client CPU per add", true, run_add_cpu},
      {"sink", "7,8", "sinks with acks", true, run_sink},
      {"latency", "9", "one add at a time", true, run_latency},
      {"submit", "10", "adds from one other thread, without a server", false, run_submit},
      {"map-get", "11", "reads of a map while it changes", false, run_map_get},
      {"map-set", "12", "sets of a map in a pipeline", true, run_map_set},
      {"visible", "13", "until a set is seen by another process", true, run_visible},
      {"together", "14", "add, sink and ack at the same time", true, run_together},
      {"pool", "15", "dispatching jobs", true, run_pool},
      {"pool-callers", "17", "dispatching jobs, by callers and nodes", true, run_pool_callers},
      {"queue", "16", "delivery through a queue against inline delivery", false, run_queue},
  };
  return all;
}

bool is_called(const Workload& workload, const std::string& word) {
  if (word == workload.name) return true;
  std::istringstream rows(workload.rows);
  for (std::string row; std::getline(rows, row, ',');) {
    if (row == word) return true;
  }
  return false;
}

}  // namespace bench
