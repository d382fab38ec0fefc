/* What a run found, in all its forms. */
#ifndef PULSEENGINE_BENCH_REPORT_H
#define PULSEENGINE_BENCH_REPORT_H

#include <string>
#include <vector>

#include "machine.h"
#include "measure.h"

namespace bench {

struct Report {
  Machine machine;
  Plan plan;
  bool quick = false;
  bool pinned = false;
  std::vector<Result> results;
};

void print_heading();
void print_result(const Result& result);

void write_json(const Report& report, const std::string& path);

// Puts the tables between the markers of DIRECTORY/performance.md, and the charts into
// DIRECTORY/performance.
void write_documents(const Report& report, const std::string& directory);

// A chart of all results of a workload.
std::string draw_chart(const std::string& title, const std::vector<Result>& results);

// How medians of two JSON files differ, new against old: prints it; the number of rows that became
// worse beyond what their runs vary.
int compare_files(const std::string& old_path, const std::string& new_path);

// "1.07", "282,100", "-" for none.
std::string format_number(double value);
void write_file(const std::string& path, const std::string& text);

}  // namespace bench

#endif
