/* Maps for the workloads. */
#ifndef PULSEENGINE_BENCH_MAPS_H
#define PULSEENGINE_BENCH_MAPS_H

#include <string>
#include <utility>
#include <vector>

#include "engine.h"

namespace bench {

// Synchronised when it returns.  coalescing: writes of one turn leave as one script run.
Handle<pulse_map> join_map(pulse_engine* engine, const std::string& name, bool coalescing = true);
// The revision that the write took.
uint64_t set_and_wait(pulse_map* map, const std::string& key, const std::string& value);
// The EVALSHA that the engine sends for these sets, one or a batch; the map stays in the server.
using Pairs = std::vector<std::pair<std::string, std::string>>;
Words set_command(Place& place, const std::string& map, const Pairs& pairs);

}  // namespace bench

#endif
