/* Quantiles. */
#ifndef PULSEENGINE_BENCH_STATISTICS_H
#define PULSEENGINE_BENCH_STATISTICS_H

#include <vector>

namespace bench {

struct Quartiles {
  double min = 0, q1 = 0, median = 0, q3 = 0, max = 0;
};

// Linear between the values that are there; 0 of nothing.
double quantile(std::vector<double> values, double at);
Quartiles quartiles(const std::vector<double>& values);

}  // namespace bench

#endif
