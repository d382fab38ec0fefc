/* The command line. */
#ifndef PULSEENGINE_BENCH_ARGUMENTS_H
#define PULSEENGINE_BENCH_ARGUMENTS_H

#include <string>
#include <vector>

#include "measure.h"
#include "place.h"

namespace bench {

struct Options {
  std::vector<std::string> workloads;  // names; empty = all
  std::vector<Transport> transports;
  Plan plan;
  bool quick = false;
  bool pin = false;
  bool scale = false;
  bool list = false;
  bool help = false;
  bool append_only = false;
  std::string json;
  std::string documents;                 // directory
  std::vector<std::string> beside;       // JSON files
  std::string compare_old, compare_new;  // JSON files
};

// Failure, with a text for people, for what makes no sense.
Options parse_arguments(int argc, char** argv);
extern const char kUsage[];

}  // namespace bench

#endif
