// The messages of replicated maps.
#include "rmap/map_message.h"

#include <gtest/gtest.h>

#include <string>

namespace pulseengine {
namespace {

std::string part(std::string_view text) {
  std::string out;
  for (unsigned i = 0; i < 4; i++)
    out.push_back(static_cast<char>((text.size() >> (8 * i)) & 0xFF));
  out.append(text);
  return out;
}

bool parses(const std::string& text) {
  MapMessage m;
  return parse_map_message(text, &m);
}

TEST(MapMessage, Set) {
  MapMessage m;
  const std::string text = "set:" + part("key") + part(std::string_view("v\0x", 3)) + part("42");
  ASSERT_TRUE(parse_map_message(text, &m));
  EXPECT_EQ(m.what, MapMutation::set);
  EXPECT_EQ(m.key, "key");
  EXPECT_EQ(m.value, std::string_view("v\0x", 3));
  EXPECT_EQ(m.revision, 42u);
}

TEST(MapMessage, TheOthers) {
  MapMessage m;
  const std::string erased = "del:" + part("k") + part("7");
  ASSERT_TRUE(parse_map_message(erased, &m));
  EXPECT_EQ(m.what, MapMutation::erase);
  EXPECT_EQ(m.key, "k");
  EXPECT_EQ(m.revision, 7u);
  ASSERT_TRUE(parse_map_message("reset:8", &m));
  EXPECT_EQ(m.what, MapMutation::reset);
  EXPECT_EQ(m.revision, 8u);
  ASSERT_TRUE(parse_map_message("destroy:9", &m));
  EXPECT_EQ(m.what, MapMutation::destroy);
  EXPECT_EQ(m.revision, 9u);
}

TEST(MapMessage, EveryCutIsRefused) {
  const std::string set = "set:" + part("key") + part("value") + part("42");
  for (size_t i = 0; i < set.size(); i++) EXPECT_FALSE(parses(set.substr(0, i))) << i;
  EXPECT_FALSE(parses(set + "x"));
  const std::string erased = "del:" + part("key") + part("42");
  for (size_t i = 0; i < erased.size(); i++) EXPECT_FALSE(parses(erased.substr(0, i))) << i;
}

TEST(MapMessage, LengthsBeyondTheEndAreRefused) {
  EXPECT_FALSE(parses("set:\xff\xff\xff\xff" + std::string(16, 'x')));
  EXPECT_FALSE(parses("del:\xff\xff\xff\x7f"));
}

TEST(MapMessage, UnknownOnesAreRefused) {
  EXPECT_FALSE(parses(""));
  EXPECT_FALSE(parses("put:" + part("k") + part("1")));
  EXPECT_FALSE(parses("SET:" + part("k") + part("v") + part("1")));
}

TEST(MapMessage, Revisions) {
  uint64_t revision = 0;
  EXPECT_TRUE(parse_revision("9223372036854775807", &revision));
  EXPECT_EQ(revision, 9223372036854775807u);
  for (const char* bad : {"", "-1", "+1", " 1", "1 ", "9223372036854775808", "1e3", "x"}) {
    EXPECT_FALSE(parse_revision(bad, &revision)) << bad;
  }
  EXPECT_FALSE(parses("reset:-5"));
}

TEST(MapMessage, FieldsWithAnEqualsSignAreNoKeys) {
  EXPECT_TRUE(is_map_key("a"));
  EXPECT_FALSE(is_map_key(""));
  EXPECT_FALSE(is_map_key("=rev"));
  EXPECT_FALSE(is_map_key("a=b"));
}

}  // namespace
}  // namespace pulseengine
