#include "base/duration.h"

namespace pulseengine {
namespace {

constexpr uint64_t kMicrosecond = 1000, kMillisecond = 1000 * kMicrosecond,
                   kSecond = 1000 * kMillisecond, kMinute = 60 * kSecond, kHour = 60 * kMinute;

// A text that is written from its end.
class BackwardText {
 public:
  void put(std::string_view text) {
    start_ -= text.size();
    text.copy(text_ + start_, text.size());
  }
  void put(char c) { put(std::string_view(&c, 1)); }
  void put_number(uint64_t number) {
    do {
      put(static_cast<char>('0' + number % 10));
      number /= 10;
    } while (number > 0);
  }
  // The last `digits` digits of the number behind a point, without zeros at the end; what stands
  // before the point is returned.
  uint64_t put_fraction(uint64_t number, int digits) {
    bool any = false;
    for (int i = 0; i < digits; i++) {
      any = any || number % 10 != 0;
      if (any) put(static_cast<char>('0' + number % 10));
      number /= 10;
    }
    if (any) put('.');
    return number;
  }
  String take() const { return String(text_ + start_, sizeof text_ - start_); }

 private:
  char text_[32];  // the longest one has 25 bytes: -2562047h47m16.854775808s
  size_t start_ = sizeof text_;
};

// --- reading ---------------------------------------------------------------------

constexpr uint64_t kTooLong = uint64_t{1} << 63;  // unless it is negative

struct Unit {
  std::string_view name;
  uint64_t nanoseconds;
};
constexpr Unit kUnits[] = {{"ns", 1},
                           {"us", kMicrosecond},
                           {"\xC2\xB5s", kMicrosecond},  // U+00B5, micro sign
                           {"\xCE\xBCs", kMicrosecond},  // U+03BC, Greek mu
                           {"ms", kMillisecond},
                           {"s", kSecond},
                           {"m", kMinute},
                           {"h", kHour}};

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// The digits in front; false if they are more than 2^63.
bool take_integer(std::string_view* text, uint64_t* value) {
  *value = 0;
  while (!text->empty() && is_digit(text->front())) {
    if (*value > kTooLong / 10) return false;
    *value = *value * 10 + static_cast<uint64_t>(text->front() - '0');
    if (*value > kTooLong) return false;
    text->remove_prefix(1);
  }
  return true;
}

// The digits in front, as value / scale; those that are too many count as zeros.
void take_fraction(std::string_view* text, uint64_t* value, double* scale) {
  bool full = false;
  for (; !text->empty() && is_digit(text->front()); text->remove_prefix(1)) {
    if (full || *value > (kTooLong - 1) / 10) {
      full = true;
      continue;
    }
    const uint64_t next = *value * 10 + static_cast<uint64_t>(text->front() - '0');
    if (next > kTooLong) {
      full = true;
      continue;
    }
    *value = next;
    *scale *= 10;
  }
}

bool take_unit(std::string_view* text, uint64_t* nanoseconds) {
  const std::string_view name = text->substr(0, text->find_first_of(".0123456789"));
  text->remove_prefix(name.size());
  for (const Unit& unit : kUnits) {
    if (unit.name != name) continue;
    *nanoseconds = unit.nanoseconds;
    return true;
  }
  return false;
}

// A number with its unit.
bool take_part(std::string_view* text, uint64_t* nanoseconds) {
  const size_t before = text->size();
  uint64_t integer, fraction = 0, unit;
  double scale = 1;
  if (!take_integer(text, &integer)) return false;
  bool any = text->size() < before;
  if (!text->empty() && text->front() == '.') {
    text->remove_prefix(1);
    const size_t behind_point = text->size();
    take_fraction(text, &fraction, &scale);
    any = any || text->size() < behind_point;
  }
  if (!any || !take_unit(text, &unit) || integer > kTooLong / unit) return false;
  // Rounded in the same steps as Go does.
  const double part = static_cast<double>(fraction) * (static_cast<double>(unit) / scale);
  *nanoseconds = integer * unit + static_cast<uint64_t>(part);
  return *nanoseconds <= kTooLong;
}

}  // namespace

String duration_text(int64_t nanoseconds) {
  const bool negative = nanoseconds < 0;
  uint64_t left = static_cast<uint64_t>(nanoseconds);
  if (negative) left = -left;
  BackwardText text;
  text.put('s');
  if (left >= kSecond) {
    left = text.put_fraction(left, 9);
    text.put_number(left % 60);
    left /= 60;
    if (left > 0) {
      text.put('m');
      text.put_number(left % 60);
      left /= 60;
    }
    if (left > 0) {
      text.put('h');
      text.put_number(left);
    }
  } else if (left >= kMillisecond) {
    text.put('m');
    text.put_number(text.put_fraction(left, 6));
  } else if (left >= kMicrosecond) {
    text.put("\xC2\xB5");
    text.put_number(text.put_fraction(left, 3));
  } else {
    if (left > 0) text.put('n');
    text.put_number(left);
  }
  if (negative) text.put('-');
  return text.take();
}

bool parse_duration(std::string_view text, int64_t* nanoseconds) noexcept {
  const bool negative = !text.empty() && text.front() == '-';
  if (negative || (!text.empty() && text.front() == '+')) text.remove_prefix(1);
  if (text.empty()) return false;
  uint64_t sum = 0;
  if (text == "0") text = {};
  while (!text.empty()) {
    uint64_t part;
    if (!take_part(&text, &part)) return false;
    sum += part;  // twice 2^63 is 0, in Go too
    if (sum > kTooLong) return false;
  }
  if (sum == kTooLong && !negative) return false;
  *nanoseconds = static_cast<int64_t>(negative ? -sum : sum);
  return true;
}

}  // namespace pulseengine
