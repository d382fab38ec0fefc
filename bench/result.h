/* Rows of the table, and what came out for them. */
#ifndef PULSEENGINE_BENCH_RESULT_H
#define PULSEENGINE_BENCH_RESULT_H

#include <cmath>
#include <string>
#include <vector>

#include "statistics.h"

namespace bench {

constexpr double kNone = NAN;  // no such figure

struct Row {
  std::string row;   // "1", "5a"
  std::string name;  // what is compared
  std::string unit;  // of ours and reference
  double at_least = kNone;
  double aim = kNone;
  bool less_is_better = false;
};

enum class Verdict { reported, met, marginal, missed };

struct Result {
  Row row;
  std::string workload;
  std::string transport;
  double ours = kNone;  // medians
  double reference = kNone;
  // ours / reference; where there is no reference, ours itself.
  Quartiles ratio;
  double client_cpu_us = kNone;  // per operation, of ours
  double server_cpu_us = kNone;

  bool reaches(double figure) const {
    return row.less_is_better ? figure <= row.at_least : figure >= row.at_least;
  }
  Verdict verdict() const {
    if (std::isnan(row.at_least)) return Verdict::reported;
    if (reaches(ratio.median)) return Verdict::met;
    return reaches(row.less_is_better ? ratio.q1 : ratio.q3) ? Verdict::marginal : Verdict::missed;
  }
};

const char* verdict_name(Verdict verdict);

}  // namespace bench

#endif
