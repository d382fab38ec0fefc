#include "pool/routing.h"

#include <array>

namespace pulseengine {
namespace {

constexpr std::array<uint64_t, 256> make_table() {
  std::array<uint64_t, 256> table{};
  for (uint64_t i = 0; i < 256; i++) {
    uint64_t crc = i;
    for (int bit = 0; bit < 8; bit++) {
      crc = (crc & 1) != 0 ? (crc >> 1) ^ 0xC96C5795D7870F42u : crc >> 1;  // reflected
    }
    table[i] = crc;
  }
  return table;
}
constexpr std::array<uint64_t, 256> kTable = make_table();

// The finalizer of SplitMix64.
uint64_t mix(uint64_t x) noexcept {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

}  // namespace

uint64_t crc64(std::string_view text) noexcept {
  uint64_t crc = ~uint64_t{0};
  for (char c : text) crc = kTable[(crc ^ static_cast<unsigned char>(c)) & 0xff] ^ (crc >> 8);
  return ~crc;
}

size_t jump_hash(uint64_t hash, size_t buckets) noexcept {
  int64_t bucket = -1, next = 0;
  while (next < static_cast<int64_t>(buckets)) {
    bucket = next;
    hash = hash * 2862933555777941757u + 1;
    next = static_cast<int64_t>(static_cast<double>(bucket + 1) *
                                (static_cast<double>(int64_t{1} << 31) /
                                 static_cast<double>((hash >> 33) + 1)));
  }
  return static_cast<size_t>(bucket);
}

std::string_view route_job(std::string_view key, const Vector<String>& workers, bool rendezvous) {
  if (workers.empty()) return {};
  const uint64_t hash = crc64(key);
  if (!rendezvous) return workers[jump_hash(hash, workers.size())];
  // The highest weight; of equal ones the smaller id.
  const String* best = nullptr;
  uint64_t most = 0;
  for (const String& worker : workers) {
    const uint64_t weight = mix(hash ^ mix(crc64(worker)));
    if (best == nullptr || weight > most || (weight == most && worker < *best)) {
      best = &worker;
      most = weight;
    }
  }
  return *best;
}

}  // namespace pulseengine
