// Measures the engine against what else there is.
#include <algorithm>
#include <cstdio>
#include <cstring>

#include "arguments.h"
#include "cpu.h"
#include "failure.h"
#include "report.h"
#include "scale.h"
#include "visible.h"
#include "workload.h"

namespace bench {
namespace {

bool is_wanted(const Options& options, const Workload& workload) {
  const auto& words = options.workloads;
  return words.empty() || std::any_of(words.begin(), words.end(), [&](const std::string& word) {
           return is_called(workload, word);
         });
}

void run_one(const Options& options, const Workload& workload, Transport transport,
             Report* report) {
  Progress progress;
  progress.begin(std::string(workload.name) + " (row " + workload.rows + ", " +
                 transport_name(transport) + ")");
  try {
    Place place(transport, options.append_only);
    report->machine.server = place.server_name();
    if (options.pin) pin(place.pid());
    Context context{place, options.plan, progress};
    std::vector<Result> results = workload.run(context);
    progress.end();
    for (Result& result : results) {
      result.workload = workload.name;
      result.transport = transport_name(transport);
      print_result(result);
      report->results.push_back(result);
    }
  } catch (const Unavailable& reason) {
    progress.end();
    printf("%-4s %-5s left out: %s\n", workload.rows, transport_name(transport), reason.what());
  } catch (const Failure& failure) {
    progress.end();
    throw Failure(std::string(workload.name) + " (" + transport_name(transport) +
                  "): " + failure.what());
  }
}

void run_all_workloads(const Options& options, Report* report) {
  print_heading();
  for (const Workload& workload : workloads()) {
    if (!is_wanted(options, workload)) continue;
    for (const Transport transport : options.transports) {
      run_one(options, workload, transport, report);
      if (!workload.any_transport) break;
    }
  }
}

void run_all_series(const Options& options, Report* report) {
  Progress progress;
  Place place(options.transports.front(), options.append_only);
  report->machine.server = place.server_name();
  if (options.pin) pin(place.pid());
  Context context{place, options.plan, progress};
  report->series = run_scale(context, options.workloads, print_series);
}

int run(const Options& options) {
  if (options.help) {
    fputs(kUsage, stdout);
    return 0;
  }
  if (options.list) {
    for (const Workload& workload : workloads()) {
      printf("%-14s row %-6s %s\n", workload.name, workload.rows, workload.what);
    }
    for (const auto& [name, what] : series_names()) {
      printf("%-14s %-10s %s\n", name.c_str(), "--scale", what.c_str());
    }
    return 0;
  }
  if (!options.beside.empty()) {
    show_beside(options.beside, options.documents);
    return 0;
  }
  if (!options.compare_old.empty()) {
    return compare_files(options.compare_old, options.compare_new) == 0 ? 0 : 1;
  }
  Report report;
  report.machine = describe_machine();
  report.plan = options.plan;
  report.quick = options.quick;
  report.pinned = options.pin;
  report.append_only = options.append_only;
  if (options.scale) {
    run_all_series(options, &report);
  } else {
    run_all_workloads(options, &report);
  }
  if (!options.json.empty()) write_json(report, options.json);
  if (!options.documents.empty()) write_documents(report, options.documents);
  return 0;
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  // This program starts itself as the other process of a workload.
  if (argc == 4 && strcmp(argv[1], "--watch-map") == 0) return bench::watch_map(argv[2], argv[3]);
  bench::Options options;
  try {
    options = bench::parse_arguments(argc, argv);
  } catch (const bench::Failure& failure) {
    fprintf(stderr, "bench: %s\n%s", failure.what(), bench::kUsage);
    return 2;
  }
  try {
    return bench::run(options);
  } catch (const std::exception& failure) {
    fprintf(stderr, "bench: %s\n", failure.what());
    return 1;
  }
}
