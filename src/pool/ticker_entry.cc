#include "pool/ticker_entry.h"

#include <charconv>

#include "base/duration.h"

namespace pulseengine {

bool parse_ticker_entry(std::string_view text, TickerEntry* out) noexcept {
  const size_t bar = text.find('|');
  if (bar == std::string_view::npos) return false;
  TickerEntry entry;
  const char* end = text.data() + bar;
  const auto number = std::from_chars(text.data(), end, entry.next_us);
  if (number.ec != std::errc() || number.ptr != end) return false;
  if (entry.next_us < -kMostTickerUs || entry.next_us > kMostTickerUs) return false;
  if (!parse_duration(text.substr(bar + 1), &entry.interval_ns)) return false;
  if (entry.interval_ns < kLeastTickerNs || entry.interval_ns > kMostTickerNs) return false;
  *out = entry;
  return true;
}

}  // namespace pulseengine
