#include <cstdio>
#include <fstream>

#include "failure.h"
#include "report.h"

namespace bench {

std::string format_number(double value) {
  if (std::isnan(value)) return "-";
  char text[64];
  if (std::fabs(value) < 1000) {
    snprintf(text, sizeof text, std::fabs(value) < 10 ? "%.3g" : "%.1f", value);
    return text;
  }
  std::string digits = std::to_string(std::llround(value));
  for (size_t at = digits.size(); at > 3 + (value < 0 ? 1 : 0);) digits.insert(at -= 3, ",");
  return digits;
}

void write_file(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::trunc | std::ios::binary);
  file << text;
  file.close();
  require(!file.fail(), "cannot write " + path);
}

void print_heading() {
  printf("%-4s %-5s %-10s %10s %10s  %6s %6s %6s %6s %6s %9s %7s %7s  %s\n", "row", "via", "unit",
         "ours", "reference", "min", "q1", "median", "q3", "max", "at least", "client", "server",
         "what");
}

void print_result(const Result& result) {
  const Row& row = result.row;
  const auto text = [](double value) { return format_number(value); };
  const std::string wanted =
      std::isnan(row.at_least) ? "-" : (row.less_is_better ? "<=" : ">=") + text(row.at_least);
  printf("%-4s %-5s %-10s %10s %10s  %6s %6s %6s %6s %6s %9s %7s %7s  %s: %s\n", row.row.c_str(),
         result.transport.c_str(), row.unit.c_str(), text(result.ours).c_str(),
         text(result.reference).c_str(), text(result.ratio.min).c_str(),
         text(result.ratio.q1).c_str(), text(result.ratio.median).c_str(),
         text(result.ratio.q3).c_str(), text(result.ratio.max).c_str(), wanted.c_str(),
         text(result.client_cpu_us).c_str(), text(result.server_cpu_us).c_str(),
         verdict_name(result.verdict()), row.name.c_str());
  fflush(stdout);
}

void print_series(const Series& series) {
  printf("%s: %s\n%16s", series.name.c_str(), series.what.c_str(), series.size_of.c_str());
  for (const std::string& column : series.columns) printf("  %s", column.c_str());
  printf("\n");
  for (const Point& point : series.points) {
    printf("%16s", format_number(point.size).c_str());
    for (size_t i = 0; i < point.figures.size(); ++i) {
      printf("  %*s", static_cast<int>(series.columns[i].size()),
             format_number(point.figures[i]).c_str());
    }
    printf("\n");
  }
  fflush(stdout);
}

}  // namespace bench
