#include "report_json.h"

#include <fstream>

#include "failure.h"
#include "report.h"

namespace bench {
namespace {

ordered_json number(double value) {
  return std::isnan(value) ? ordered_json(nullptr) : ordered_json(value);
}

ordered_json describe(const Report& report) {
  const Machine& machine = report.machine;
  return {
      {"processor", machine.processor},  {"cpus", machine.cpus},     {"kernel", machine.kernel},
      {"system", machine.system},        {"server", machine.server}, {"library", machine.library},
      {"compiler", machine.compiler},    {"load", machine.load},     {"groups", report.plan.groups},
      {"slice_s", report.plan.slice},    {"quick", report.quick},    {"pinned", report.pinned},
      {"appendonly", report.append_only}};
}

// null where nothing is demanded.
ordered_json met(const Result& result) {
  const Verdict verdict = result.verdict();
  return verdict == Verdict::reported ? ordered_json(nullptr)
                                      : ordered_json(verdict == Verdict::met);
}

ordered_json describe(const Result& result) {
  const Quartiles& ratio = result.ratio;
  return {{"row", result.row.row},
          {"workload", result.workload},
          {"name", result.row.name},
          {"transport", result.transport},
          {"unit", result.row.unit},
          {"ours", number(result.ours)},
          {"reference", number(result.reference)},
          {"ratio",
           {{"min", ratio.min},
            {"q1", ratio.q1},
            {"median", ratio.median},
            {"q3", ratio.q3},
            {"max", ratio.max}}},
          {"less_is_better", result.row.less_is_better},
          {"at_least", number(result.row.at_least)},
          {"aim", number(result.row.aim)},
          {"met", met(result)},
          {"verdict", verdict_name(result.verdict())},
          {"client_cpu_us", number(result.client_cpu_us)},
          {"server_cpu_us", number(result.server_cpu_us)},
          {"checked", true}};  // else the run would have failed
}

ordered_json describe(const Series& series) {
  ordered_json points = ordered_json::array();
  for (const Point& point : series.points) {
    ordered_json figures;
    for (size_t i = 0; i < series.columns.size(); ++i) {
      figures[series.columns[i]] = number(point.figures[i]);
    }
    points.push_back({{series.size_of, point.size}, {"figures", figures}});
  }
  return {{"name", series.name}, {"what", series.what}, {"points", points}};
}

}  // namespace

ordered_json read_json(const std::string& path) {
  std::ifstream file(path);
  try {
    return ordered_json::parse(file);
  } catch (const std::exception& error) {
    throw Failure(path + ": " + error.what());
  }
}

void write_json(const Report& report, const std::string& path) {
  ordered_json results = ordered_json::array();
  for (const Result& result : report.results) results.push_back(describe(result));
  ordered_json all = {{"machine", describe(report)}, {"results", results}};
  for (const Series& series : report.series) all["scale"].push_back(describe(series));
  write_file(path, all.dump(1) + "\n");
}

int compare_files(const std::string& old_path, const std::string& new_path) {
  const ordered_json before = read_json(old_path), after = read_json(new_path);
  int worse = 0;
  printf("%-4s %-5s %10s %10s %8s  %s\n", "row", "via", "before", "now", "change", "what");
  for (const auto& now : after["results"]) {
    for (const auto& then : before["results"]) {
      if (now["row"] != then["row"] || now["transport"] != then["transport"]) continue;
      const bool less = now["less_is_better"].get<bool>();
      const double was = then["ratio"]["median"], is = now["ratio"]["median"];
      // Worse by more than a tenth, and neither run's middle half reaches the other's.
      const bool apart = less ? now["ratio"]["q1"] > then["ratio"]["q3"]
                              : now["ratio"]["q3"] < then["ratio"]["q1"];
      const bool is_worse = apart && was > 0 && (less ? is > was * 1.1 : is < was * 0.9);
      worse += is_worse ? 1 : 0;
      printf("%-4s %-5s %10s %10s %+7.1f%%  %s%s\n", now["row"].get<std::string>().c_str(),
             now["transport"].get<std::string>().c_str(), format_number(was).c_str(),
             format_number(is).c_str(), (is / was - 1) * 100, is_worse ? "WORSE: " : "",
             now["name"].get<std::string>().c_str());
    }
  }
  return worse;
}

}  // namespace bench
