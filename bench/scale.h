/* How costs grow: the same work for more and more of something. */
#ifndef PULSEENGINE_BENCH_SCALE_H
#define PULSEENGINE_BENCH_SCALE_H

#include <string>
#include <vector>

#include "series.h"
#include "workload.h"

namespace bench {

// Those called so, or all when there are no words; done: after each.
std::vector<Series> run_scale(Context& context, const std::vector<std::string>& words,
                              void (*done)(const Series& series));
// Name and what it is.
std::vector<std::pair<std::string, std::string>> series_names();

Series scale_payload(Context& context);
Series scale_streams(Context& context);
Series scale_readers(Context& context);
Series scale_sinks(Context& context);
Series scale_map(Context& context);

// What the engine has allocated, from the first call of count_memory() on, which must come before
// anything is opened.
void count_memory();
double counted_bytes();

}  // namespace bench

#endif
