// ULIDs: names that are unique and sort by the time of their making.
#ifndef PULSE_BASE_ULID_H
#define PULSE_BASE_ULID_H

#include <cstddef>

#include "base/alloc.h"

namespace pulseengine {

constexpr size_t kUlidLength = 26;

// A fresh one: 48 bits of Unix time in ms, then 80 random bits, in Crockford's base32.
String make_ulid();

}  // namespace pulseengine

#endif
