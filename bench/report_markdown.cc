#include <sys/stat.h>

#include <algorithm>
#include <fstream>
#include <iterator>

#include "failure.h"
#include "report.h"

namespace bench {
namespace {

const std::string kEnd = "<!-- to here -->";

std::string table(const std::vector<Result>& results) {
  std::string text =
      "| row | workload | via | unit | ours | reference | ratio: min | q1 | median | q3 | max | at "
      "least | aim | | client µs | server µs |\n"
      "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n";
  for (const Result& result : results) {
    const Row& row = result.row;
    const std::string sign = std::isnan(row.at_least) ? "" : (row.less_is_better ? "≤ " : "≥ ");
    const auto cell = [&](const std::string& content) { text += " " + content + " |"; };
    text += "|";
    cell(row.row);
    cell(row.name);
    cell(result.transport);
    cell(row.unit);
    cell(format_number(result.ours));
    cell(format_number(result.reference));
    for (const double value : {result.ratio.min, result.ratio.q1, result.ratio.median,
                               result.ratio.q3, result.ratio.max}) {
      cell(format_number(value));
    }
    cell(sign + format_number(row.at_least));
    cell(format_number(row.aim));
    cell(verdict_name(result.verdict()));
    cell(format_number(result.client_cpu_us));
    cell(format_number(result.server_cpu_us));
    text += "\n";
  }
  return text;
}

std::string about(const Report& report) {
  const Machine& machine = report.machine;
  return "Measured on " + machine.processor + ", " + std::to_string(machine.cpus) + " CPUs, " +
         machine.system + ", " + machine.kernel + ", " + machine.server + ", engine " +
         machine.library + ", bench built with " + machine.compiler + "; " +
         std::to_string(report.plan.groups) + " groups of four slices of " +
         format_number(report.plan.slice) + " s" +
         (report.pinned ? ", server and clients pinned to CPUs" : "") +
         (report.quick ? "; a quick run, which tells trends only" : "") +
         ".  The load average was " + format_number(machine.load) + " when it began.\n";
}

std::string table(const Series& series) {
  std::string text = "**" + series.name + "**: " + series.what + "\n\n| " + series.size_of + " |",
              line = "|---|";
  for (const std::string& column : series.columns) {
    text += " " + column + " |";
    line += "---|";
  }
  text += "\n" + line + "\n";
  for (const Point& point : series.points) {
    text += "| " + format_number(point.size) + " |";
    for (const double figure : point.figures) text += " " + format_number(figure) + " |";
    text += "\n";
  }
  return text;
}

}  // namespace

void write_part(const std::string& path, const std::string& begin, const std::string& generated) {
  std::ifstream file(path);
  require(file.good(), "cannot read " + path);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  const size_t marker = text.find(begin), end = text.find(kEnd, marker);
  require(marker != std::string::npos && end != std::string::npos,
          path + " has not the markers of the generated part");
  const size_t from = text.find('\n', marker) + 1;
  text.replace(from, end - from, "\n" + generated);
  write_file(path, text);
}

void write_documents(const Report& report, const std::string& directory) {
  if (!report.series.empty()) {
    std::string generated = about(report) + "\n";
    for (const Series& series : report.series) generated += table(series) + "\n";
    write_part(directory + "/performance.md", "<!-- tools/bench --scale writes from here",
               generated);
  }
  if (report.results.empty()) return;
  mkdir((directory + "/performance").c_str(), 0777);
  std::string generated = about(report) + "\n" + table(report.results) + "\n";
  // Those of a workload follow each other.
  for (auto first = report.results.begin(); first != report.results.end();) {
    const std::string& name = first->workload;
    const auto last = std::find_if(first, report.results.end(),
                                   [&](const Result& other) { return other.workload != name; });
    const std::string chart = "performance/" + name + ".svg";
    write_file(directory + "/" + chart, draw_chart(name, {first, last}));
    generated += "![" + name + "](" + chart + ")\n";
    first = last;
  }
  write_part(directory + "/performance.md", "<!-- tools/bench writes from here", generated + "\n");
}

}  // namespace bench
