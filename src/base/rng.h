// Random numbers for jitter and identifiers; not for secrets.
#ifndef PULSE_BASE_RNG_H
#define PULSE_BASE_RNG_H

#include <cstddef>
#include <cstdint>

namespace pulseengine {

// Seeded per thread from the kernel, anew in a forked child.
uint64_t random_u64() noexcept;
// 0 .. bound - 1; bound > 0.
uint64_t random_below(uint64_t bound) noexcept;

}  // namespace pulseengine

#endif
