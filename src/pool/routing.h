// Which worker a job goes to.
#ifndef PULSE_POOL_ROUTING_H
#define PULSE_POOL_ROUTING_H

#include <string_view>

#include "base/alloc.h"

namespace pulseengine {

// CRC-64/XZ.
uint64_t crc64(std::string_view text) noexcept;
// Lamping and Veach's jump consistent hash; `buckets` > 0.
size_t jump_hash(uint64_t hash, size_t buckets) noexcept;
// Of active workers in their order; empty when there are none.
std::string_view route_job(std::string_view key, const Vector<String>& workers, bool rendezvous);

}  // namespace pulseengine

#endif
