#include "base/ulid.h"

#include <cstdint>
#include <ctime>

#include "base/rng.h"

namespace pulseengine {

String make_ulid() {
  static constexpr char kDigits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  uint64_t ms =
      static_cast<uint64_t>(now.tv_sec) * 1000 + static_cast<uint64_t>(now.tv_nsec) / 1000000;
  String text(kUlidLength, '0');
  for (size_t i = 10; i-- > 0; ms >>= 5) text[i] = kDigits[ms & 31];
  uint64_t random = 0;
  for (size_t i = 10; i < kUlidLength; i++, random >>= 5) {
    if (i == 10 || i == 18) random = random_u64();
    text[i] = kDigits[random & 31];
  }
  return text;
}

}  // namespace pulseengine
