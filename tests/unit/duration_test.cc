// Durations as text.  What is expected was printed by a Go program (time.Duration.String,
// time.ParseDuration).
#include "base/duration.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <utility>

namespace pulseengine {
namespace {

std::string text_of(int64_t nanoseconds) {
  const String text = duration_text(nanoseconds);
  return {text.data(), text.size()};
}

// The numbers that the Go program took.
class Numbers {
 public:
  uint64_t below(uint64_t n) {
    state_ = state_ * 6364136223846793005 + 1442695040888963407;
    return (state_ >> 33) % n;
  }

 private:
  uint64_t state_ = 1;
};

int64_t some_duration(Numbers* numbers) {
  const uint64_t high = numbers->below(uint64_t{1} << 31), low = numbers->below(uint64_t{1} << 31);
  return static_cast<int64_t>(high << 33 | low << 2) >> numbers->below(64);
}

std::string digits(Numbers* numbers, uint64_t most) {
  std::string text;
  for (uint64_t n = numbers->below(most + 1); n > 0; n--) {
    text.push_back(static_cast<char>('0' + numbers->below(10)));
  }
  return text;
}

std::string some_text(Numbers* numbers) {
  static const char* const kSigns[] = {"", "-", "+"};
  static const char* const kUnits[] = {"ns", "us", "\302\265s", "\316\274s", "ms", "s", "m", "h"};
  static const uint64_t kMost[] = {3, 7, 20};
  std::string text = kSigns[numbers->below(3)];
  for (uint64_t n = 1 + numbers->below(3); n > 0; n--) {
    text += digits(numbers, kMost[numbers->below(3)]);
    if (numbers->below(2) == 0) text += "." + digits(numbers, 22);
    text += kUnits[numbers->below(8)];
  }
  return text;
}

TEST(Duration, IsWrittenAsGoDoes) {
  const std::pair<int64_t, const char*> vectors[] = {
      {0, "0s"},
      {1, "1ns"},
      {-1, "-1ns"},
      {999, "999ns"},
      {1000, "1\302\265s"},
      {1001, "1.001\302\265s"},
      {1100, "1.1\302\265s"},
      {1500, "1.5\302\265s"},
      {-1500, "-1.5\302\265s"},
      {10000, "10\302\265s"},
      {999999, "999.999\302\265s"},
      {1000000, "1ms"},
      {1000001, "1.000001ms"},
      {1200000, "1.2ms"},
      {1234567, "1.234567ms"},
      {250000000, "250ms"},
      {999999999, "999.999999ms"},
      {1000000000, "1s"},
      {1000000001, "1.000000001s"},
      {1000000010, "1.00000001s"},
      {1500000000, "1.5s"},
      {-1500000000, "-1.5s"},
      {2000000000, "2s"},
      {59999999999, "59.999999999s"},
      {60000000000, "1m0s"},
      {60000000001, "1m0.000000001s"},
      {61500000000, "1m1.5s"},
      {90000000000, "1m30s"},
      {599000000000, "9m59s"},
      {600000000000, "10m0s"},
      {3599000000000, "59m59s"},
      {3600000000000, "1h0m0s"},
      {3600000000001, "1h0m0.000000001s"},
      {3601000000000, "1h0m1s"},
      {3660000000000, "1h1m0s"},
      {3723500000000, "1h2m3.5s"},
      {-3723500000000, "-1h2m3.5s"},
      {7200000000000, "2h0m0s"},
      {36000000000000, "10h0m0s"},
      {86400000000000, "24h0m0s"},
      {360000000000001, "100h0m0.000000001s"},
      {9223372036854775807, "2562047h47m16.854775807s"},
      {INT64_MIN, "-2562047h47m16.854775808s"},
      {-9223372036854775807, "-2562047h47m16.854775807s"},
      {500000000, "500ms"},
      {700000000, "700ms"},
      {100, "100ns"},
      {10, "10ns"},
      {5500, "5.5\302\265s"},
      {9007199254740993, "2501h59m59.254740993s"},
  };
  for (const auto& [nanoseconds, text] : vectors) EXPECT_EQ(text_of(nanoseconds), text);
}

TEST(Duration, IsReadAsGoDoes) {
  const std::pair<std::string_view, int64_t> vectors[] = {
      {"0", 0},
      {"+0", 0},
      {"-0", 0},
      {"0s", 0},
      {"-0s", 0},
      {"+0s", 0},
      {"0.0s", 0},
      {"5s", 5000000000},
      {"30s", 30000000000},
      {"1478s", 1478000000000},
      {"-5s", -5000000000},
      {"+5s", 5000000000},
      {"5.0s", 5000000000},
      {"5.6s", 5600000000},
      {"5.s", 5000000000},
      {".5s", 500000000},
      {"1.0s", 1000000000},
      {"1.00s", 1000000000},
      {"1.004s", 1004000000},
      {"1.0040s", 1004000000},
      {"100.00100s", 100001000000},
      {"10ns", 10},
      {"11us", 11000},
      {"12\302\265s", 12000},
      {"12\316\274s", 12000},
      {"13ms", 13000000},
      {"14s", 14000000000},
      {"15m", 900000000000},
      {"16h", 57600000000000},
      {"3h30m", 12600000000000},
      {"10.5s4m", 250500000000},
      {"-2m3.4s", -123400000000},
      {"1h2m3s4ms5us6ns", 3723004005006},
      {"39h9m14.425s", 140954425000000},
      {"52763797000ns", 52763797000},
      {"0.3333333333333333333h", 1200000000000},
      {"0.333333333333333333333h", 1200000000000},
      {"9007199254740993ns", 9007199254740993},
      {"9223372036854775807ns", 9223372036854775807},
      {"9223372036854775.807us", 9223372036854775807},
      {"9223372036s854ms775us807ns", 9223372036854775807},
      {"-9223372036854775808ns", INT64_MIN},
      {"-9223372036854775.808us", INT64_MIN},
      {"-9223372036s854ms775us808ns", INT64_MIN},
      {"-2562047h47m16.854775808s", INT64_MIN},
      {"2562047h47m16.854775807s", 9223372036854775807},
      {"0.100000000000000000000h", 360000000000},
      {"0.830103483285477580700h", 2988372539827},
      {"0.9223372036854775807h", 3320413933267},
      {"0.9223372036854775808h", 3320413933267},
      {"0.99999999999999999999s", 1000000000},
      {"0.9999999999999999999999ns", 1},
      {"1.9ns", 1},
      {"1.5ns", 1},
      {"0.5ns", 0},
      {"-0.5ns", 0},
      {"1s1s", 2000000000},
      {"1s1m1h1ns", 3661000000001},
      {"1h1h", 7200000000000},
      {"1m1.5m", 150000000000},
      {"001s", 1000000000},
      {"0000000000000000000000000000001s", 1000000000},
      {"1.5h", 5400000000000},
      {"1.000000001h", 3600000003600},
      {"0.000000001h", 3600},
      {"1h2m3.5s", 3723500000000},
      {"250ms", 250000000},
      {"1.5\302\265s", 1500},
      {"1.1s", 1100000000},
      {"700ms", 700000000},
      {"2m0.000000001s", 120000000001},
      {"1ns1us1ms", 1001001},
      {"9223372036854775808ns9223372036854775808ns", 0},
      {"-9223372036854775808ns9223372036854775808ns", 0},
      {"9223372036854775807.9ns", 9223372036854775807},
      {"-9223372036854775808.9ns", INT64_MIN},
      {"9223372036854775807.5ns0.5ns", 9223372036854775807},
  };
  for (const auto& [text, expected] : vectors) {
    int64_t nanoseconds = 1;
    EXPECT_TRUE(parse_duration(text, &nanoseconds)) << text;
    EXPECT_EQ(nanoseconds, expected) << text;
  }
}

TEST(Duration, WhatGoRefusesIsRefused) {
  const std::string_view texts[] = {
      "00",
      "0.0",
      "1e3s",
      "3000000h",
      "2562047h48m",
      "9223372036854775808ns",
      "9223372036854775.808us",
      "9223372036854ms775us808ns",
      "-9223372036854775809ns",
      "18446744073709551615ns",
      "18446744073709551616ns",
      "18446744073709551617s",
      "99999999999999999999h",
      "9223372036854775807ns1ns",
      "",
      "3",
      "-",
      "+",
      "s",
      ".",
      "-.",
      "+.",
      ".s",
      "-.s",
      "+.s",
      "1d",
      "\205\205",
      "\377ff",
      "hello \377ff world",
      "\357\277\275",
      "1 s",
      " 1s",
      "1s ",
      "1S",
      "1H",
      "1ss",
      "1.2.3s",
      "1..2s",
      "--1s",
      "+-1s",
      "1-s",
      "1h-1m",
      "1h 1m",
      "1,5s",
      "0x1s",
      std::string_view("1\000s", 3),
      std::string_view("1s\000", 3),
      "1\302\265",
      "1\302s",
      "1\265s",
      "1usec",
      "1min",
      "1mm",
      "1n",
      "1u",
      "1.s1",
      "1.5",
      "1h5",
      "infs",
      "nans",
      "1_000s",
  };
  for (std::string_view text : texts) {
    int64_t nanoseconds = 1;
    EXPECT_FALSE(parse_duration(text, &nanoseconds)) << text;
    EXPECT_EQ(nanoseconds, 1) << text;
  }
}

TEST(Duration, ManyAreWrittenAsGoDoesAndReadBack) {
  Numbers numbers;
  uint64_t sum = 0;
  for (int i = 0; i < 100000; i++) {
    const int64_t duration = some_duration(&numbers);
    const std::string text = text_of(duration);
    for (char c : text) sum = sum * 31 + static_cast<unsigned char>(c);
    int64_t nanoseconds = 0;
    ASSERT_TRUE(parse_duration(text, &nanoseconds)) << text;
    ASSERT_EQ(nanoseconds, duration) << text;
  }
  EXPECT_EQ(sum, 5211347342824499795U);

  // Two thirds of these can be read.
  sum = 0;
  int readable = 0;
  for (int i = 0; i < 100000; i++) {
    int64_t nanoseconds = 0;
    const bool read = parse_duration(some_text(&numbers), &nanoseconds);
    readable += read ? 1 : 0;
    sum = sum * 31 + (read ? static_cast<uint64_t>(nanoseconds) : 7);
  }
  EXPECT_EQ(readable, 67012);
  EXPECT_EQ(sum, 5682407225580165284U);
}

}  // namespace
}  // namespace pulseengine
