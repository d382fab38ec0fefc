/* What a run found, in all its forms. */
#ifndef PULSEENGINE_BENCH_REPORT_H
#define PULSEENGINE_BENCH_REPORT_H

#include <string>
#include <vector>

#include "machine.h"
#include "measure.h"
#include "series.h"

namespace bench {

struct Report {
  Machine machine;
  Plan plan;
  bool quick = false;
  bool pinned = false;
  bool append_only = false;
  std::vector<Result> results;
  std::vector<Series> series;
};

void print_heading();
void print_result(const Result& result);
void print_series(const Series& series);

void write_json(const Report& report, const std::string& path);

// Puts the tables between their markers of DIRECTORY/performance.md, and the charts into
// DIRECTORY/performance.
void write_documents(const Report& report, const std::string& directory);

// Puts `generated` behind the line of the file that begins with `begin`, up to the next end.
void write_part(const std::string& path, const std::string& begin, const std::string& generated);

// The medians of several JSON files, one column for each transport of each file: printed, or put
// into DIRECTORY/performance.md.
void show_beside(const std::vector<std::string>& paths, const std::string& directory);

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
