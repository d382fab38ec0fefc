// A clock that is wrong.
#ifndef PULSE_TESTS_FAULTS_SKEWED_CLOCK_H
#define PULSE_TESTS_FAULTS_SKEWED_CLOCK_H

#include <cstdint>

namespace faults {

// From now on the time of day is so much later for this process, also for the library; the
// monotonic clock stays as it is.  False in builds with sanitizers, which have a clock_gettime of
// their own.
bool skew_clock(int64_t seconds);

}  // namespace faults

#endif
