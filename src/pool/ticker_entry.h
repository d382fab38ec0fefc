// What a pool's map of tickers says of one of them: `<next point of the grid, Unix us>|<interval>`.
#ifndef PULSE_POOL_TICKER_ENTRY_H
#define PULSE_POOL_TICKER_ENTRY_H

#include <cstdint>
#include <string_view>

namespace pulseengine {

struct TickerEntry {
  int64_t next_us = 0;
  int64_t interval_ns = 0;
};

// Limits of what can be followed: whole microseconds that scripts calculate with exactly, and
// some 35 years.
constexpr int64_t kMostTickerUs = int64_t{1} << 53;
constexpr int64_t kLeastTickerNs = 1000;
constexpr int64_t kMostTickerNs = (int64_t{1} << 40) * 1000000;

// False for what is no entry, or beyond the limits; *out is untouched then.
bool parse_ticker_entry(std::string_view text, TickerEntry* out) noexcept;

}  // namespace pulseengine

#endif
