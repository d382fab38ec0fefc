/* What went wrong, as a text: it ends the run. */
#ifndef PULSEENGINE_BENCH_FAILURE_H
#define PULSEENGINE_BENCH_FAILURE_H

#include <pulseengine/status.h>

#include <stdexcept>
#include <string>

namespace bench {

class Failure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A workload that this machine, server or build has not got what it takes for.
class Unavailable : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

inline void require(bool condition, const std::string& text) {
  if (!condition) throw Failure(text);
}

// For calls of the C API.
inline void require_ok(pulse_status status, const pulse_error& error, const char* what) {
  if (status == PULSE_OK) return;
  throw Failure(std::string(what) + ": " + pulse_status_name(status) + " " + error.message);
}

}  // namespace bench

#endif
