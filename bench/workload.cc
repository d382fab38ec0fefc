#include "workload.h"

namespace bench {

const std::vector<Workload>& workloads() {
  static const std::vector<Workload> all = {
      {"add", "1", "adds on one connection", true, run_add},
      {"add-many", "2", "the same against 50 clients", true, run_add_many},
      {"add-four", "3", "adds on four connections to four streams", true, run_add_four},
      {"add-bounded", "4", "adds to a bounded stream", true, run_add_bounded},
      {"add-blocking", "5", "adds against blocking clients", true, run_add_blocking},
      {"add-cpu", "6", "client CPU per add", true, run_add_cpu},
  };
  return all;
}

}  // namespace bench
