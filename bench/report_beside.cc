// What safety costs: the medians of runs under different conditions, side by side.
#include <algorithm>
#include <cstdio>

#include "failure.h"
#include "report.h"
#include "report_json.h"

namespace bench {
namespace {

struct Column {
  std::string title;  // "unix", "tcp, appendonly everysec", "unix, Redis 8.2.3"
  std::vector<std::pair<std::string, std::string>> cells;  // row, text
};

double figure(const ordered_json& value) { return value.is_null() ? kNone : value.get<double>(); }

std::string cell(const ordered_json& result) {
  const std::string ours = format_number(figure(result["ours"]));
  if (result["reference"].is_null()) return ours;
  return ours + " (" + format_number(figure(result["ratio"]["median"])) + ")";
}

// Those of a file, one for each transport.
std::vector<Column> columns_of(const ordered_json& run, const std::string& usual_server) {
  const ordered_json& machine = run["machine"];
  std::string rest = machine.value("appendonly", false) ? ", appendonly everysec" : "";
  if (machine["server"] != usual_server) rest += ", " + machine["server"].get<std::string>();
  std::vector<Column> columns;
  for (const auto& result : run["results"]) {
    const std::string title = result["transport"].get<std::string>() + rest;
    auto at = std::find_if(columns.begin(), columns.end(),
                           [&](const Column& column) { return column.title == title; });
    if (at == columns.end()) at = columns.insert(at, {title, {}});
    at->cells.emplace_back(result["row"], cell(result));
  }
  return columns;
}

std::string text_of(const Column& column, const std::string& row) {
  for (const auto& [name, text] : column.cells) {
    if (name == row) return text;
  }
  return "-";
}

}  // namespace

void show_beside(const std::vector<std::string>& paths, const std::string& directory) {
  const ordered_json plain = read_json(paths.front());
  std::vector<Column> columns;
  for (const std::string& path : paths) {
    for (Column& column : columns_of(read_json(path), plain["machine"]["server"])) {
      columns.push_back(std::move(column));
    }
  }
  std::string text = "| row | workload | unit |", line = "|---|---|---|";
  for (const Column& column : columns) {
    text += " " + column.title + " |";
    line += "---|";
  }
  text += "\n" + line + "\n";
  std::vector<std::string> seen;
  for (const auto& result : plain["results"]) {
    const std::string row = result["row"];
    if (std::find(seen.begin(), seen.end(), row) != seen.end()) continue;
    seen.push_back(row);
    text += "| " + row + " | " + result["name"].get<std::string>() + " | " +
            result["unit"].get<std::string>() + " |";
    for (const Column& column : columns) text += " " + text_of(column, row) + " |";
    text += "\n";
  }
  if (directory.empty()) {
    fputs(text.c_str(), stdout);
    return;
  }
  const ordered_json& machine = plain["machine"];
  const std::string about = "The first run: " + machine["server"].get<std::string>() + ", " +
                            machine["processor"].get<std::string>() + ", " +
                            std::to_string(machine["groups"].get<int>()) +
                            " groups of four slices of " + format_number(machine["slice_s"]) +
                            " s; the load average was " + format_number(machine["load"]) +
                            " when it began.\n";
  write_part(directory + "/performance.md", "<!-- tools/bench --beside writes from here",
             about + "\n" + text + "\n");
}

}  // namespace bench
