#include "base/ulid.h"

#include <sys/random.h>

#include <cerrno>
#include <cstdint>
#include <ctime>

#include "base/clock.h"

namespace pulseengine {
namespace {

// Randomness of the kernel.  Where it is refused (a seccomp filter), time and addresses have to
// do: the name need not be a secret, only unique.
void fill_random(unsigned char* bytes, size_t count) {
  size_t have = 0;
  while (have < count) {
    ssize_t n = getrandom(bytes + have, count - have, 0);
    if (n > 0) {
      have += static_cast<size_t>(n);
    } else if (errno != EINTR) {
      break;
    }
  }
  if (have == count) return;
  uint64_t state = static_cast<uint64_t>(monotonic_us()) ^ reinterpret_cast<uintptr_t>(bytes) ^
                   (static_cast<uint64_t>(clock()) << 40);
  for (; have < count; have++) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    bytes[have] = static_cast<unsigned char>(state >> 56);
  }
}

}  // namespace

String make_ulid() {
  static constexpr char kDigits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  uint64_t ms = static_cast<uint64_t>(now.tv_sec) * 1000 + static_cast<uint64_t>(now.tv_nsec) / 1000000;
  String text(kUlidLength, '0');
  for (size_t i = 10; i-- > 0; ms >>= 5) text[i] = kDigits[ms & 31];
  unsigned char random[16];
  fill_random(random, sizeof random);
  for (size_t i = 0; i < 16; i++) text[10 + i] = kDigits[random[i] & 31];
  return text;
}

}  // namespace pulseengine
