// Entries of tickers, as recorded, and what is none.
#include "pool/ticker_entry.h"

#include <gtest/gtest.h>

#include <string>

#include "base/duration.h"
#include "wire_vectors.h"

namespace pulseengine {
namespace {

TEST(TickerEntry, IsAsRecorded) {
  int seen = 0;
  for (const auto& words : wire_vectors("tickers.txt")) {
    if (words[0] != "entry") continue;
    ASSERT_EQ(words.size(), 4U);
    SCOPED_TRACE(words[3]);
    TickerEntry entry;
    ASSERT_TRUE(parse_ticker_entry(words[3], &entry));
    EXPECT_EQ(entry.next_us, std::stoll(words[1]));
    EXPECT_EQ(entry.interval_ns, std::stoll(words[2]));
    const String interval = duration_text(entry.interval_ns);
    EXPECT_EQ(words[1] + "|" + std::string(interval.data(), interval.size()), words[3]);
    seen++;
  }
  EXPECT_EQ(seen, 9);
}

TEST(TickerEntry, NonsenseIsNone) {
  TickerEntry entry{7, 8};
  for (const char* text : {"",
                           "|",
                           "1|",
                           "|1s",
                           "1",
                           "1s",
                           "x|1s",
                           "1x|1s",
                           " 1|1s",
                           "+1|1s",
                           "1.5|1s",
                           "1|1",
                           "1|1s|",
                           "1|1s|2",
                           "1|0s",
                           "1|-1s",
                           "1|999ns",
                           "1|1000000h",
                           "9223372036854775808|1s",
                           "9007199254740993|1s",
                           "-9007199254740993|1s",
                           "1795426155197211 |1s"}) {
    EXPECT_FALSE(parse_ticker_entry(text, &entry)) << text;
  }
  EXPECT_EQ(entry.next_us, 7);
  EXPECT_EQ(entry.interval_ns, 8);
}

TEST(TickerEntry, LimitsAreIncluded) {
  TickerEntry entry;
  EXPECT_TRUE(parse_ticker_entry("9007199254740992|1\302\265s", &entry));
  EXPECT_EQ(entry.next_us, kMostTickerUs);
  EXPECT_EQ(entry.interval_ns, kLeastTickerNs);
  EXPECT_TRUE(parse_ticker_entry("-5|1h2m3.5s", &entry));
  EXPECT_EQ(entry.next_us, -5);
  EXPECT_EQ(entry.interval_ns, int64_t{3723500000000});
}

}  // namespace
}  // namespace pulseengine
