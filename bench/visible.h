/* The other process of the workload "visible". */
#ifndef PULSEENGINE_BENCH_VISIBLE_H
#define PULSEENGINE_BENCH_VISIBLE_H

namespace bench {

// Watches the map and prints a line for each change: its revision, and when it was seen.  Ends with
// its standard input.
int watch_map(const char* url, const char* map);

}  // namespace bench

#endif
