/* Figures for more and more of something. */
#ifndef PULSEENGINE_BENCH_SERIES_H
#define PULSEENGINE_BENCH_SERIES_H

#include <string>
#include <vector>

namespace bench {

struct Point {
  double size = 0;
  std::vector<double> figures;  // one per column
};

struct Series {
  std::string name;
  std::string what;
  std::string size_of;  // heads the first column
  std::vector<std::string> columns;
  std::vector<Point> points;
};

}  // namespace bench

#endif
