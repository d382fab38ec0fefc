/* The JSON of an earlier run. */
#ifndef PULSEENGINE_BENCH_REPORT_JSON_H
#define PULSEENGINE_BENCH_REPORT_JSON_H

#include <nlohmann/json.hpp>
#include <string>

namespace bench {

using nlohmann::ordered_json;

// Failure if it cannot be read.
ordered_json read_json(const std::string& path);

}  // namespace bench

#endif
