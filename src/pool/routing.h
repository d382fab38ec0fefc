// Which of a pool's active workers a job belongs to.  All nodes of a pool must find the same one:
// these functions never change, and depend on no property of a machine.
#ifndef PULSE_POOL_ROUTING_H
#define PULSE_POOL_ROUTING_H

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/alloc.h"

namespace pulseengine {

// CRC-64/XZ: Go's crc64.ECMA.
uint64_t crc64(std::string_view bytes) noexcept;

// As the Go library routes: the jump hash of Lamping and Veach, of the job's key's CRC.  An index
// into the list of active workers, `workers` > 0 of them.  A worker that joins at the end gets one
// of n jobs and no other moves; without one in the middle most jobs move.
size_t jump_route(uint64_t key_crc, size_t workers) noexcept;

// Rendezvous hashing: the job belongs to the worker w with the highest
//
//   mix(mix(crc64(w)) ^ crc64(key))
//
// where mix is the finaliser of SplitMix64 (all modulo 2^64):
//
//   x = x + 0x9e3779b97f4a7c15
//   x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9
//   x = (x ^ x >> 27) * 0x94d049bb133111eb
//   x ^ x >> 31
//
// Whoever joins or leaves, only jobs of that worker move.  Among equals the first one in the list
// has it.
uint64_t rendezvous_seed(std::string_view worker) noexcept;                         // the inner mix
size_t rendezvous_route(uint64_t key_crc, const Vector<uint64_t>& seeds) noexcept;  // not empty

}  // namespace pulseengine

#endif
