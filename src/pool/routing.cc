#include "pool/routing.h"

#include <array>
#include <cassert>

namespace pulseengine {
namespace {

constexpr uint64_t kReflectedPolynomial = 0xC96C5795D7870F42;  // of 0x42F0E1EBA9EA3693

constexpr std::array<uint64_t, 256> crc_table() {
  std::array<uint64_t, 256> table{};
  for (uint64_t i = 0; i < 256; i++) {
    uint64_t crc = i;
    for (int bit = 0; bit < 8; bit++) {
      crc = crc >> 1 ^ ((crc & 1) != 0 ? kReflectedPolynomial : 0);
    }
    table[i] = crc;
  }
  return table;
}

constexpr uint64_t mix(uint64_t x) {
  x += 0x9E3779B97F4A7C15;
  x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9;
  x = (x ^ x >> 27) * 0x94D049BB133111EB;
  return x ^ x >> 31;
}

}  // namespace

uint64_t crc64(std::string_view bytes) noexcept {
  static constexpr std::array<uint64_t, 256> kTable = crc_table();
  uint64_t crc = UINT64_MAX;
  for (char c : bytes) crc = crc >> 8 ^ kTable[(crc ^ static_cast<unsigned char>(c)) & 0xFF];
  return ~crc;
}

size_t jump_route(uint64_t key_crc, size_t workers) noexcept {
  assert(workers > 0);
  uint64_t state = key_crc;
  int64_t at = 0, next = 0;
  while (next < static_cast<int64_t>(workers)) {
    at = next;
    state = state * 2862933555777941757 + 1;
    // Go's own roundings: both integers are exact in a double.
    next = static_cast<int64_t>(static_cast<double>(at + 1) *
                                (2147483648.0 / static_cast<double>((state >> 33) + 1)));
  }
  return static_cast<size_t>(at);
}

uint64_t rendezvous_seed(std::string_view worker) noexcept { return mix(crc64(worker)); }

size_t rendezvous_route(uint64_t key_crc, const Vector<uint64_t>& seeds) noexcept {
  assert(!seeds.empty());
  size_t best = 0;
  uint64_t highest = 0;
  for (size_t i = 0; i < seeds.size(); i++) {
    const uint64_t weight = mix(seeds[i] ^ key_crc);
    if (weight > highest) {
      highest = weight;
      best = i;
    }
  }
  return best;
}

}  // namespace pulseengine
