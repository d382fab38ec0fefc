// What a process takes, once a second, and whether it grows.
#ifndef PULSE_TESTS_SOAK_SAMPLES_H
#define PULSE_TESTS_SOAK_SAMPLES_H

#include <cstddef>
#include <cstdint>
#include <vector>

namespace soak {

struct Sample {
  int64_t engine_bytes = 0;    // that the library has allocated
  int64_t resident_bytes = 0;  // of the process
  int64_t descriptors = 0;
};

class Samples {
 public:
  void take();
  // Holds the last part against the first, each half a minute long or an eighth of all, without a
  // minute, or a tenth of all, for the beginning.  Prints both, and ten parts of all.
  void expect_no_growth() const;

 private:
  Sample median(size_t from, size_t to) const;
  std::vector<Sample> all_;
};

}  // namespace soak

#endif
