#include "base/hash.h"

#include <cstring>

#include "base/rng.h"

namespace pulseengine {
namespace {

// Unknown to whoever chooses the texts, so that none can be made to cancel out in a product.
struct Secrets {
  uint64_t first = random_u64();
  uint64_t second = random_u64();
  uint64_t last = random_u64() | 1;
};

uint64_t read8(const char* at) noexcept {
  uint64_t value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

uint64_t read4(const char* at) noexcept {
  uint32_t value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

uint64_t read1(const char* at) noexcept { return static_cast<unsigned char>(*at); }

// The two halves of the product, folded: each bit of the arguments reaches all of the result.
uint64_t mix(uint64_t a, uint64_t b) noexcept {
#ifdef __SIZEOF_INT128__
  __extension__ using Wide = unsigned __int128;
  Wide product = static_cast<Wide>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
#else
  uint64_t a_high = a >> 32, a_low = a & UINT32_MAX, b_high = b >> 32, b_low = b & UINT32_MAX;
  uint64_t low = a_low * b_low;
  uint64_t middle = a_high * b_low + (low >> 32);
  uint64_t other = a_low * b_high + (middle & UINT32_MAX);
  return (other << 32 | (low & UINT32_MAX)) ^ (a_high * b_high + (middle >> 32) + (other >> 32));
#endif
}

}  // namespace

uint64_t hash_bytes(std::string_view bytes) noexcept {
  static const Secrets secrets;
  const char* at = bytes.data();
  size_t left = bytes.size();
  uint64_t state = secrets.first;
  uint64_t a = 0, b = 0;
  if (left > 16) {
    for (; left > 16; at += 16, left -= 16) {
      state = mix(read8(at) ^ secrets.second, read8(at + 8) ^ state);
    }
    a = read8(at + left - 16);  // reaches back into what was read already
    b = read8(at + left - 8);
  } else if (left >= 8) {
    a = read8(at);
    b = read8(at + left - 8);
  } else if (left >= 4) {
    a = read4(at);
    b = read4(at + left - 4);
  } else if (left > 0) {
    a = read1(at) << 16 | read1(at + left / 2) << 8 | read1(at + left - 1);
  }
  // The length tells apart what overlapping reads see alike.
  return mix(secrets.last ^ bytes.size(), mix(a ^ secrets.second, b ^ state));
}

}  // namespace pulseengine
