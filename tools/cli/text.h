// Texts that people type (durations, times, positions) and bytes that JSON cannot hold.
// Needs nothing but the standard library, so that it is tested by itself.
#ifndef TOOLS_CLI_TEXT_H
#define TOOLS_CLI_TEXT_H

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace cli {

// A duration as Go writes it: "300ms", "-1.5h", "2h45m", "1.5µs", "0".  Units: ns, us (µs), ms,
// s, m, h.  Nanoseconds, or nothing when the text is no duration or too long for 64 bits; *too_long
// (may be null) tells which.
std::optional<int64_t> parse_duration(std::string_view text, bool* too_long = nullptr);

// A duration for an option in milliseconds: positive, and rounded up, so that 1µs is not 0.
std::optional<int64_t> parse_positive_ms(std::string_view text, bool* too_long = nullptr);

// A point in time as Unix milliseconds (digits only) or RFC 3339 ("2026-01-02T15:04:05.5Z",
// "...+01:00").  Unix milliseconds, or nothing; times before 1970 are none.
std::optional<uint64_t> parse_time_ms(std::string_view text);

// Whether all of `bytes` is well-formed UTF-8.
bool is_utf8(std::string_view bytes);

// `bytes` with every byte that is no part of well-formed UTF-8 replaced by U+FFFD.
std::string to_utf8(std::string_view bytes);

std::string to_base64(std::string_view bytes);

}  // namespace cli

#endif
