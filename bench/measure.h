/* Two ways of doing a piece of work, run in turns. */
#ifndef PULSEENGINE_BENCH_MEASURE_H
#define PULSEENGINE_BENCH_MEASURE_H

#include <string>
#include <vector>

#include "result.h"

namespace bench {

// What a slice of time gave.
struct Sample {
  double operations = 0;
  double seconds = 0;
  double client_cpu = 0;  // seconds; 0 where another process is the client
  double server_cpu = 0;
  double figure = 0;  // where the time per operation is not what counts: a latency ...

  double rate() const { return operations / seconds; }
  double client_us() const { return client_cpu / operations * 1e6; }
  double server_us() const { return server_cpu / operations * 1e6; }
};

// One way.  Each run checks what it got, and throws Failure when it is wrong.
class Side {
 public:
  Side() = default;
  virtual ~Side() = default;
  Side(const Side&) = delete;
  Side& operator=(const Side&) = delete;
  // Works for about so long, to the end of what it began.
  virtual Sample run(double seconds) = 0;
};

struct Plan {
  int groups = 7;
  double slice = 0.5;
};

class Progress {
 public:
  Progress();
  void begin(const std::string& what);
  void step(int done, int all);
  void end();

 private:
  std::string what_;
  bool is_terminal_;
};

struct Group {
  Sample ours, reference;
};

// Ours, reference, reference, ours; as many groups as planned, after one short run of each.
std::vector<Group> alternate(const Plan& plan, Progress& progress, Side& ours, Side& reference);
// Without a reference: two slices a group.
std::vector<Group> repeat(const Plan& plan, Progress& progress, Side& ours);

using Figure = double (*)(const Sample&);
double rate(const Sample& sample);
double client_us(const Sample& sample);
double figure(const Sample& sample);

// The row for these groups, comparing one figure of the samples.
Result compare(const Row& row, const std::vector<Group>& groups, Figure of);
Result absolute(const Row& row, const std::vector<Group>& groups, Figure of);

}  // namespace bench

#endif
