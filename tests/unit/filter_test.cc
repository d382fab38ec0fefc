#include "streaming/filter.h"

#include <gtest/gtest.h>

namespace pulseengine {
namespace {

bool matches(std::string_view pattern, std::string_view topic) {
  Filter filter;
  Error error = filter.set_pattern(pattern);
  EXPECT_TRUE(error.ok()) << error.message();
  return filter.passes(topic);
}

TEST(Filter, ADefaultOneLetsEverythingPass) {
  Filter filter;
  EXPECT_TRUE(filter.passes(""));
  EXPECT_TRUE(filter.passes("a"));
  EXPECT_TRUE(filter.passes("\xFF"));
}

TEST(Filter, ATopicIsComparedByteByByte) {
  Filter filter;
  filter.set_topic("a.b");
  EXPECT_TRUE(filter.passes("a.b"));
  EXPECT_FALSE(filter.passes("a"));
  EXPECT_FALSE(filter.passes("a.bc"));
  EXPECT_FALSE(filter.passes("axb"));
  EXPECT_FALSE(filter.passes("A.B"));
  EXPECT_FALSE(filter.passes(""));
}

TEST(Filter, AnEmptyTopicIsATopic) {
  Filter filter;
  filter.set_topic("");
  EXPECT_TRUE(filter.passes(""));
  EXPECT_FALSE(filter.passes("a"));
}

TEST(Filter, BinaryTopicsAreComparedToo) {
  Filter filter;
  filter.set_topic(std::string_view("a\0\xFF", 3));
  EXPECT_TRUE(filter.passes(std::string_view("a\0\xFF", 3)));
  EXPECT_FALSE(filter.passes(std::string_view("a\0\xFE", 3)));
  EXPECT_FALSE(filter.passes("a"));
}

TEST(Filter, APatternIsNotAnchored) {
  EXPECT_TRUE(matches("b", "abc"));
  EXPECT_FALSE(matches("^b", "abc"));
  EXPECT_FALSE(matches("b$", "abc"));
  EXPECT_TRUE(matches("", ""));
  EXPECT_TRUE(matches("^$", ""));
  EXPECT_FALSE(matches("^$", "a"));
}

TEST(Filter, APatternHasPerlClassesAndFlags) {
  EXPECT_TRUE(matches("^user\\.\\d+$", "user.17"));
  EXPECT_FALSE(matches("^user\\.\\d+$", "user.x"));
  EXPECT_TRUE(matches("(?i)ABC", "xabcx"));
  EXPECT_FALSE(matches("a.b", "a\nb"));  // '.' is no line end
  EXPECT_TRUE(matches("(?s)a.b", "a\nb"));
}

TEST(Filter, APatternCountsCharacters) {
  EXPECT_TRUE(matches("^.$", "\xC3\xA4"));
  EXPECT_TRUE(matches("^.$", "\xF0\x9F\x98\x80"));
  EXPECT_FALSE(matches("^..$", "\xC3\xA4"));
  EXPECT_TRUE(matches("^\\p{L}$", "\xC3\xA4"));
}

TEST(Filter, BytesThatAreNoUtf8CountAsOneCharacterEach) {
  EXPECT_TRUE(matches("^.$", "\xFF"));
  EXPECT_TRUE(matches("^\xEF\xBF\xBD$", "\xFF"));
  EXPECT_TRUE(matches("^a.b$",
                      "a\x80"
                      "b"));
  EXPECT_TRUE(matches("^...$",
                      "\xE2\x82"
                      "x"));                           // cut short: two bytes
  EXPECT_TRUE(matches("^..$", "\xC0\x80"));            // overlong
  EXPECT_TRUE(matches("^...$", "\xE0\x9F\xBF"));       // overlong
  EXPECT_TRUE(matches("^....$", "\xF0\x8F\xBF\xBF"));  // overlong
  EXPECT_TRUE(matches("^...$", "\xED\xA0\x80"));       // a surrogate
  EXPECT_TRUE(matches("^....$", "\xF4\x90\x80\x80"));  // beyond U+10FFFF
  EXPECT_TRUE(matches("^.....$", "\xF8\x88\x80\x80\x80"));
  EXPECT_TRUE(matches("^.a..\xC3\xA4$",
                      "\xFF"
                      "a\xFE\xFD\xC3\xA4"));
}

TEST(Filter, TheBordersOfUtf8AreCharacters) {
  EXPECT_TRUE(matches("^.$", "\xC2\x80"));
  EXPECT_TRUE(matches("^.$", "\xE0\xA0\x80"));
  EXPECT_TRUE(matches("^.$", "\xED\x9F\xBF"));
  EXPECT_TRUE(matches("^.$", "\xEE\x80\x80"));
  EXPECT_TRUE(matches("^.$", "\xF0\x90\x80\x80"));
  EXPECT_TRUE(matches("^.$", "\xF4\x8F\xBF\xBF"));
}

TEST(Filter, ABadPatternIsRefusedWithItsReason) {
  for (const char* pattern : {"(", "a{2", "[z-a]", "\\", "*", "(?P<n", "\xFF", "a{1001}"}) {
    Filter filter;
    Error error = filter.set_pattern(pattern);
    if (std::string_view(pattern) == "a{2") {  // a literal brace in RE2 and Go
      EXPECT_TRUE(error.ok());
      continue;
    }
    EXPECT_EQ(error.code(), PULSE_ERR_INVALID) << pattern;
    EXPECT_NE(error.message().find("topic_pattern"), std::string_view::npos);
  }
}

}  // namespace
}  // namespace pulseengine
