/* What it was measured on. */
#ifndef PULSEENGINE_BENCH_MACHINE_H
#define PULSEENGINE_BENCH_MACHINE_H

#include <string>

#include "place.h"

namespace bench {

struct Machine {
  std::string processor;
  long cpus = 0;
  std::string kernel;
  std::string system;
  std::string server;
  std::string library;  // version of the engine
  std::string compiler;
  double load = 0;  // the load average when the run began
};

Machine describe_machine();

}  // namespace bench

#endif
