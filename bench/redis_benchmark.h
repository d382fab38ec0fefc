/* redis-benchmark, sending one command over and over. */
#ifndef PULSEENGINE_BENCH_REDIS_BENCHMARK_H
#define PULSEENGINE_BENCH_REDIS_BENCHMARK_H

#include "measure.h"
#include "place.h"

namespace bench {

class RedisBenchmark : public Side {
 public:
  RedisBenchmark(Place& place, int clients, int pipeline, Words command);
  Sample run(double seconds) override;

 private:
  Place& place_;
  int clients_, pipeline_;
  Words command_;
  double rate_ = 0;  // of the last run: how many requests fill a slice
};

}  // namespace bench

#endif
