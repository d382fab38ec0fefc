#include "base/rng.h"

#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"

namespace pulseengine {
namespace {

struct State {
  uint64_t value = 0;
  pid_t process = 0;
};
thread_local State state;

// SplitMix64: every state has a successor, any seed will do.
uint64_t next(uint64_t* s) {
  uint64_t z = (*s += 0x9e3779b97f4a7c15U);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
  return z ^ (z >> 31);
}

}  // namespace

uint64_t random_u64() noexcept {
  pid_t process = getpid();
  if (state.process != process) {
    uint64_t seed = 0;
    if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) != sizeof seed) {
      seed = static_cast<uint64_t>(monotonic_us()) ^ (static_cast<uint64_t>(process) << 32) ^
             reinterpret_cast<uintptr_t>(&state);
    }
    state.value = seed;
    state.process = process;
  }
  return next(&state.value);
}

uint64_t random_below(uint64_t bound) noexcept {
  // The bias of the modulus is below bound / 2^64: nothing for jitter.
  return random_u64() % bound;
}

}  // namespace pulseengine
