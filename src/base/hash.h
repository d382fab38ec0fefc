// The hash of a text, for tables in memory.
#ifndef PULSE_BASE_HASH_H
#define PULSE_BASE_HASH_H

#include <cstdint>
#include <string_view>

namespace pulseengine {

// All 64 bits are good.  Seeded at random per process (a forked child keeps its parent's seed):
// whoever chooses the texts cannot make them collide; nothing to store or to send.
uint64_t hash_bytes(std::string_view bytes) noexcept;

}  // namespace pulseengine

#endif
