// The texts that people type at the tool: durations as Go writes them, times, UTF-8, base64.
#include "text.h"

#include <gtest/gtest.h>

namespace cli {
namespace {

constexpr int64_t kSecond = 1'000'000'000;

TEST(Duration, ReadsGoTexts) {
  const std::pair<const char*, int64_t> kCases[] = {
      {"0", 0},
      {"+0", 0},
      {"-0", 0},
      {"5s", 5 * kSecond},
      {"30s", 30 * kSecond},
      {"1478s", 1478 * kSecond},
      {"-5s", -5 * kSecond},
      {"+5s", 5 * kSecond},
      {"5.0s", 5 * kSecond},
      {"5.6s", 5'600'000'000},
      {"5.s", 5 * kSecond},
      {".5s", kSecond / 2},
      {"1.004s", 1'004'000'000},
      {"100.00100s", 100'001'000'000},
      {"10ns", 10},
      {"11us", 11'000},
      {"12\u00b5s", 12'000},
      {"12\u03bcs", 12'000},
      {"1.5\u00b5s", 1'500},
      {"250ms", 250'000'000},
      {"14m", 14 * 60 * kSecond},
      {"15h", 15 * 3600 * kSecond},
      {"3h30m", 12600 * kSecond},
      {"1h2m3.5s", 3723 * kSecond + kSecond / 2},
      {"10.5s4m", 250 * kSecond + kSecond / 2},
      {"-2m3.4s", -(123 * kSecond + 400'000'000)},
      {"39h9m14.425s", 140954 * kSecond + 425'000'000},
      {"52763797000ns", 52'763'797'000},
      {"0.3333333333333333333h", 20 * 60 * kSecond},
      {"0.100000000000000000000h", 6 * 60 * kSecond},
      {"9223372036854775807ns", INT64_MAX},
      {"2562047h47m16.854775807s", INT64_MAX},
  };
  for (const auto& [text, ns] : kCases) EXPECT_EQ(parse_duration(text), ns) << text;
}

TEST(Duration, RefusesAllElse) {
  for (const char* text : {"",
                           "3",
                           "-",
                           "+",
                           "s",
                           ".",
                           "-.",
                           ".s",
                           "+.s",
                           "1d",
                           "1 s",
                           " 1s",
                           "1s ",
                           "5S",
                           "1.2.3s",
                           "--1s",
                           "1h2",
                           "\xc2s",
                           "9223372036854775808ns",
                           "9223372036854775.808us",
                           "2562048h",
                           "9999999999999999999999h",
                           "1e3s",
                           "infinity"}) {
    EXPECT_EQ(parse_duration(text), std::nullopt) << text;
  }
}

TEST(Duration, TellsTooLongFromWrong) {
  for (const char* text : {"9223372036854775808ns", "2562048h", "99999999h1m", "1h2562047h",
                           "9999999999999999999999h", "2562047h1h0.5s"}) {
    bool too_long = false;
    EXPECT_EQ(parse_duration(text, &too_long), std::nullopt) << text;
    EXPECT_TRUE(too_long) << text;
  }
  for (const char* text : {"", "1d", "99999999999999999999", "2562048h1x", "2562048h.s", "1s"}) {
    bool too_long = true;
    parse_duration(text, &too_long);
    EXPECT_FALSE(too_long) << text;
  }
}

TEST(Duration, MillisecondsArePositiveAndRoundedUp) {
  EXPECT_EQ(parse_positive_ms("1.5s"), 1500);
  EXPECT_EQ(parse_positive_ms("1us"), 1);
  EXPECT_EQ(parse_positive_ms("1ms1ns"), 2);
  for (const char* text : {"0", "-1s", "x"}) EXPECT_EQ(parse_positive_ms(text), std::nullopt);
}

TEST(Time, ReadsUnixMillisecondsAndRfc3339) {
  const std::pair<const char*, uint64_t> kCases[] = {
      {"0", 0},
      {"1700000000000", 1700000000000},
      {"18446744073709551615", UINT64_MAX},
      {"1970-01-01T00:00:00Z", 0},
      {"2023-11-14T22:13:20Z", 1700000000000},
      {"2023-11-14t22:13:20z", 1700000000000},
      {"2023-11-14 22:13:20Z", 1700000000000},
      {"2023-11-14T23:43:20+01:30", 1700000000000},
      {"2023-11-14T14:13:20-08:00", 1700000000000},
      {"2023-11-14T22:13:20.5Z", 1700000000500},
      {"2023-11-14T22:13:20.123999Z", 1700000000123},
      {"2000-02-29T00:00:00Z", 951782400000},
      {"2024-12-31T23:59:60Z", 1735689600000},
      {"9999-12-31T23:59:59Z", 253402300799000},
  };
  for (const auto& [text, ms] : kCases) EXPECT_EQ(parse_time_ms(text), ms) << text;
}

TEST(Time, RefusesAllElse) {
  for (const char* text : {"",
                           "-1",
                           "18446744073709551616",
                           "1700000000000-0",
                           "2023-11-14",
                           "2023-11-14T22:13:20",
                           "2023-11-14T22:13Z",
                           "2023-13-14T22:13:20Z",
                           "2023-00-14T22:13:20Z",
                           "2023-02-29T00:00:00Z",
                           "1900-02-29T00:00:00Z",
                           "2023-04-31T00:00:00Z",
                           "2023-11-14T24:13:20Z",
                           "2023-11-14T22:60:20Z",
                           "2023-11-14T22:13:61Z",
                           "2023-11-14T22:13:20.Z",
                           "2023-11-14T22:13:20+0100",
                           "2023-11-14T22:13:20+24:00",
                           "2023-11-14T22:13:20Zx",
                           "1969-12-31T23:59:59Z",
                           "yesterday"}) {
    EXPECT_EQ(parse_time_ms(text), std::nullopt) << text;
  }
}

TEST(Utf8, TellsWellFormedFromOther) {
  for (const char* text :
       {"", "a", "\u00e4", "\u20ac", "\U0001f600", "\xed\x9f\xbf", "\U0010ffff"}) {
    EXPECT_TRUE(is_utf8(text)) << text;
  }
  for (const char* text :
       {"\x80", "\xc3", "\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80", "\xf0\x80\x80\xaf", "\xe2\x82", "a\xff"}) {
    EXPECT_FALSE(is_utf8(text)) << testing::PrintToString(text);
  }
  EXPECT_TRUE(is_utf8(std::string_view("a\0b", 3)));
}

TEST(Utf8, ReplacesWhatIsNone) {
  EXPECT_EQ(to_utf8("a\xff\u00e4\xc3"), "a\ufffd\u00e4\ufffd");
  EXPECT_EQ(to_utf8("\xed\xa0\x80"), "\ufffd\ufffd\ufffd");
}

TEST(Base64, EncodesAsRfc4648) {
  const std::pair<const char*, const char*> kCases[] = {
      {"", ""},
      {"f", "Zg=="},
      {"fo", "Zm8="},
      {"foo", "Zm9v"},
      {"foob", "Zm9vYg=="},
      {"fooba", "Zm9vYmE="},
      {"foobar", "Zm9vYmFy"},
      {"\xff\xfe\xfd", "//79"},
  };
  for (const auto& [bytes, text] : kCases) EXPECT_EQ(to_base64(bytes), text);
}

}  // namespace
}  // namespace cli
