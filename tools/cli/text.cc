#include "text.h"

#include <array>
#include <limits>

namespace cli {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Takes exactly `count` digits off the front of *text.
bool take_digits(std::string_view* text, size_t count, int* value) {
  if (text->size() < count) return false;
  int number = 0;
  for (size_t i = 0; i < count; ++i) {
    if (!is_digit((*text)[i])) return false;
    number = number * 10 + ((*text)[i] - '0');
  }
  text->remove_prefix(count);
  *value = number;
  return true;
}

bool take(std::string_view* text, std::string_view prefix) {
  if (text->substr(0, prefix.size()) != prefix) return false;
  text->remove_prefix(prefix.size());
  return true;
}

// Takes the unit off the front of *text: its nanoseconds, 0 if there is none.
uint64_t take_unit(std::string_view* text) {
  struct Unit {
    std::string_view name;
    uint64_t ns;
  };
  // Longer names first: "ms" is not "m".  Both code points for mu are in use.
  static constexpr Unit kUnits[] = {
      {"ns", 1},         {"us", 1000},         {"\u00b5s", 1000},     {"\u03bcs", 1000},
      {"ms", 1'000'000}, {"s", 1'000'000'000}, {"m", 60'000'000'000}, {"h", 3'600'000'000'000},
  };
  for (const Unit& unit : kUnits) {
    if (take(text, unit.name)) return unit.ns;
  }
  return 0;
}

// Days from 1970-01-01 to a date of the Gregorian calendar.
int64_t days_since_epoch(int64_t year, int month, int day) {
  if (month <= 2) --year;
  const int64_t era = (year >= 0 ? year : year - 399) / 400;
  const int64_t year_of_era = year - era * 400;
  const int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  const int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  return era * 146097 + day_of_era - 719468;
}

int days_in_month(int year, int month) {
  static constexpr std::array<int, 12> kDays = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
  return kDays[month - 1] + (month == 2 && leap ? 1 : 0);
}

std::optional<uint64_t> parse_unix_ms(std::string_view text) {
  uint64_t value = 0;
  for (char c : text) {
    if (!is_digit(c)) return std::nullopt;
    const uint64_t digit = static_cast<uint64_t>(c - '0');
    if (value > (std::numeric_limits<uint64_t>::max() - digit) / 10) return std::nullopt;
    value = value * 10 + digit;
  }
  return value;
}

// Takes ".123456" off the front: milliseconds, rounded down.
bool take_fraction(std::string_view* text, int* ms) {
  *ms = 0;
  if (!take(text, ".")) return true;
  size_t digits = 0;
  for (int scale = 100; digits < text->size() && is_digit((*text)[digits]); ++digits, scale /= 10) {
    *ms += ((*text)[digits] - '0') * scale;
  }
  text->remove_prefix(digits);
  return digits > 0;
}

// Takes "Z" or "+01:30" off the front: minutes to the east.
bool take_zone(std::string_view* text, int* minutes) {
  *minutes = 0;
  if (take(text, "Z") || take(text, "z")) return true;
  const int sign = take(text, "+") ? 1 : take(text, "-") ? -1 : 0;
  int hours = 0;
  int rest = 0;
  if (sign == 0 || !take_digits(text, 2, &hours) || !take(text, ":") ||
      !take_digits(text, 2, &rest) || hours > 23 || rest > 59) {
    return false;
  }
  *minutes = sign * (hours * 60 + rest);
  return true;
}

// The length of the well-formed UTF-8 sequence at the front of `bytes`, 0 if there is none.
size_t utf8_length(std::string_view bytes) {
  const auto at = [&](size_t i) { return static_cast<unsigned char>(bytes[i]); };
  const unsigned char first = at(0);
  if (first < 0x80) return 1;
  size_t length = 0;
  unsigned char low = 0x80;  // bounds of the second byte: no overlong forms, no surrogates
  unsigned char high = 0xbf;
  if (first >= 0xc2 && first <= 0xdf) {
    length = 2;
  } else if (first >= 0xe0 && first <= 0xef) {
    length = 3;
    if (first == 0xe0) low = 0xa0;
    if (first == 0xed) high = 0x9f;
  } else if (first >= 0xf0 && first <= 0xf4) {
    length = 4;
    if (first == 0xf0) low = 0x90;
    if (first == 0xf4) high = 0x8f;
  }
  if (length == 0 || bytes.size() < length || at(1) < low || at(1) > high) return 0;
  for (size_t i = 2; i < length; ++i) {
    if (at(i) < 0x80 || at(i) > 0xbf) return 0;
  }
  return length;
}

}  // namespace

std::optional<int64_t> parse_duration(std::string_view text, bool* too_long) {
  if (too_long) *too_long = false;
  const bool negative = take(&text, "-");
  if (!negative) take(&text, "+");
  if (text == "0") return 0;
  if (text.empty()) return std::nullopt;
  constexpr uint64_t kLimit = std::numeric_limits<int64_t>::max();  // ns, some 292 years
  bool over = false;
  uint64_t total = 0;
  while (!text.empty()) {
    uint64_t whole = 0;
    uint64_t fraction = 0;
    double scale = 1;
    size_t digits = 0;
    for (; !text.empty() && is_digit(text[0]); text.remove_prefix(1), ++digits) {
      const uint64_t digit = static_cast<uint64_t>(text[0] - '0');
      over = over || whole > (kLimit - digit) / 10;
      if (!over) whole = whole * 10 + digit;
    }
    if (take(&text, ".")) {
      for (; !text.empty() && is_digit(text[0]); text.remove_prefix(1), ++digits) {
        if (scale >= 1e19) continue;  // far below a nanosecond in every unit
        fraction = fraction * 10 + static_cast<uint64_t>(text[0] - '0');
        scale *= 10;
      }
    }
    const uint64_t unit = take_unit(&text);
    if (digits == 0 || unit == 0) return std::nullopt;
    over = over || whole > kLimit / unit;
    if (over) continue;  // it may be no duration at all
    const uint64_t part =
        whole * unit + static_cast<uint64_t>(static_cast<double>(fraction) * (unit / scale));
    over = part > kLimit - total;
    if (!over) total += part;
  }
  if (too_long) *too_long = over;
  if (over) return std::nullopt;
  const int64_t ns = static_cast<int64_t>(total);
  return negative ? -ns : ns;
}

std::optional<int64_t> parse_positive_ms(std::string_view text, bool* too_long) {
  const std::optional<int64_t> ns = parse_duration(text, too_long);
  if (!ns || *ns <= 0) return std::nullopt;
  return *ns / 1'000'000 + (*ns % 1'000'000 != 0 ? 1 : 0);
}

std::optional<uint64_t> parse_time_ms(std::string_view text) {
  if (text.empty()) return std::nullopt;
  if (const std::optional<uint64_t> ms = parse_unix_ms(text)) return ms;
  int year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0, ms = 0, zone = 0;
  if (!take_digits(&text, 4, &year) || !take(&text, "-") || !take_digits(&text, 2, &month) ||
      !take(&text, "-") || !take_digits(&text, 2, &day)) {
    return std::nullopt;
  }
  if (!take(&text, "T") && !take(&text, "t") && !take(&text, " ")) return std::nullopt;
  if (!take_digits(&text, 2, &hour) || !take(&text, ":") || !take_digits(&text, 2, &minute) ||
      !take(&text, ":") || !take_digits(&text, 2, &second) || !take_fraction(&text, &ms) ||
      !take_zone(&text, &zone) || !text.empty()) {
    return std::nullopt;
  }
  if (month < 1 || month > 12 || day < 1 || day > days_in_month(year, month) || hour > 23 ||
      minute > 59 || second > 60) {
    return std::nullopt;
  }
  const int64_t seconds =
      ((days_since_epoch(year, month, day) * 24 + hour) * 60 + minute - zone) * 60 + second;
  if (seconds < 0) return std::nullopt;
  return static_cast<uint64_t>(seconds) * 1000 + static_cast<uint64_t>(ms);
}

bool is_utf8(std::string_view bytes) {
  while (!bytes.empty()) {
    const size_t length = utf8_length(bytes);
    if (length == 0) return false;
    bytes.remove_prefix(length);
  }
  return true;
}

std::string to_utf8(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size());
  while (!bytes.empty()) {
    const size_t length = utf8_length(bytes);
    if (length == 0) {
      text += "\xef\xbf\xbd";
      bytes.remove_prefix(1);
    } else {
      text += bytes.substr(0, length);
      bytes.remove_prefix(length);
    }
  }
  return text;
}

std::string to_base64(std::string_view bytes) {
  static constexpr char kAlphabet[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t have = bytes.size() - i < 3 ? bytes.size() - i : 3;
    uint32_t bits = 0;
    for (size_t k = 0; k < 3; ++k) {
      bits = bits << 8 | (k < have ? static_cast<unsigned char>(bytes[i + k]) : 0u);
    }
    for (size_t k = 0; k < 4; ++k) {
      text += k <= have ? kAlphabet[bits >> (18 - 6 * k) & 63] : '=';
    }
  }
  return text;
}

}  // namespace cli
