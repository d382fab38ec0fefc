// Durations as text, as Go writes and reads them: 1h2m3.5s, 250ms, 1.5µs.
#ifndef PULSE_BASE_DURATION_H
#define PULSE_BASE_DURATION_H

#include <cstdint>
#include <string_view>

#include "base/alloc.h"

namespace pulseengine {

// As time.Duration.String.
String duration_text(int64_t nanoseconds);

// As time.ParseDuration: an optional sign, then numbers with optional fractions, each with a unit
// (ns, us, µs in both spellings, ms, s, m, h); or 0.  False for anything else, and for what is too
// long for 64 bits.
bool parse_duration(std::string_view text, int64_t* nanoseconds) noexcept;

}  // namespace pulseengine

#endif
