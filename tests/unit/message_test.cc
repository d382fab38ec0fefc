#include "streaming/message.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "engine/queue.h"
#include "redis/reply_parser.h"

namespace pulseengine {
namespace {

// One reply, parsed from RESP; valid as long as this object lives.
class Parsed {
 public:
  explicit Parsed(const std::string& resp) : parser_(1 << 20) {
    parser_.reset();
    EXPECT_TRUE(parser_.feed(resp.data(), resp.size()).ok());
    Error error;
    EXPECT_TRUE(parser_.next(&error, &nodes_, &count_)) << error.message();
  }
  Reply reply() { return Reply(nodes_, count_, parser_.slab()); }
  const Ref<Slab>& slab() { return parser_.slab(); }

 private:
  ReplyParser parser_;
  const ReplyNode* nodes_ = nullptr;
  size_t count_ = 0;
};

std::string text(const std::string& s) {
  return "$" + std::to_string(s.size()) + "\r\n" + s + "\r\n";
}
std::string list(const std::vector<std::string>& items) {
  std::string s = "*" + std::to_string(items.size()) + "\r\n";
  for (const std::string& item : items) s += item;
  return s;
}
std::string fields(const std::vector<std::string>& texts) {
  std::vector<std::string> items;
  for (const std::string& t : texts) items.push_back(text(t));
  return list(items);
}
std::string entry(const std::string& id, const std::vector<std::string>& texts) {
  return list({text(id), fields(texts)});
}

TEST(ParseId, TakesWhatRedisWrites) {
  pulse_event_id id{7, 7};
  EXPECT_TRUE(parse_id("0-0", &id));
  EXPECT_TRUE(id_equal(id, {0, 0}));
  EXPECT_TRUE(parse_id("1700000000000-18446744073709551615", &id));
  EXPECT_TRUE(id_equal(id, {1700000000000, UINT64_MAX}));
}

TEST(ParseId, RefusesAllElseAndLeavesTheIdAlone) {
  pulse_event_id id{7, 8};
  for (const char* bad : {"", "-", "1", "1-", "-1", "1-2-3", "1-2 ", " 1-2", "a-b", "+1-2", "1--2",
                          "18446744073709551616-0", "0-18446744073709551616"}) {
    EXPECT_FALSE(parse_id(bad, &id)) << bad;
    EXPECT_TRUE(id_equal(id, {7, 8})) << bad;
  }
}

TEST(IdText, IsThatOfEachId) {
  IdText text;
  for (const pulse_event_id& id : {pulse_event_id{0, 0},
                                   {0, 12},
                                   {0, 3},
                                   {1700000000000, 3},
                                   {1700000000000, UINT64_MAX},
                                   {1700000000001, 0},
                                   {7, 0},
                                   {UINT64_MAX, UINT64_MAX}}) {
    EXPECT_EQ(text.of(id), std::to_string(id.ms) + "-" + std::to_string(id.seq));
    EXPECT_EQ(std::string_view(id_text(id)), text.of(id));
  }
}

TEST(IdOrder, IsByMillisecondThenSequence) {
  EXPECT_TRUE(id_less({1, 9}, {2, 0}));
  EXPECT_TRUE(id_less({1, 1}, {1, 2}));
  EXPECT_FALSE(id_less({1, 2}, {1, 2}));
  EXPECT_FALSE(id_less({2, 0}, {1, 9}));
}

TEST(ParseEntry, TakesAllFields) {
  Parsed p(entry("5-6", {"n", "name", "p", std::string("a\0b", 3), "t", "topic", "h:k", "v", "x",
                         "y", "h:", "w"}));
  Reply reply = p.reply();
  Message m;
  Vector<pulse_header> headers;
  ASSERT_EQ(parse_entry(reply, &m, &headers), EntryKind::message);
  EXPECT_TRUE(id_equal(m.id, {5, 6}));
  EXPECT_EQ(m.name, "name");
  EXPECT_EQ(m.payload, std::string_view("a\0b", 3));
  EXPECT_TRUE(m.has_topic);
  EXPECT_EQ(m.topic, "topic");
  ASSERT_EQ(m.header_count, 2u);
  EXPECT_EQ(std::string_view(headers[0].name, headers[0].name_len), "k");
  EXPECT_EQ(std::string_view(headers[0].value, headers[0].value_len), "v");
  EXPECT_EQ(headers[1].name_len, 0u);
  EXPECT_GE(m.bytes, 4u + 3 + 5 + 1 + 1 + 1);
}

TEST(ParseEntry, TellsAnEmptyTopicFromNone) {
  Parsed with(entry("1-1", {"n", "a", "p", "", "t", ""}));
  Parsed without(entry("1-1", {"n", "a", "p", ""}));
  Message m;
  Vector<pulse_header> headers;
  Reply reply = with.reply();
  ASSERT_EQ(parse_entry(reply, &m, &headers), EntryKind::message);
  EXPECT_TRUE(m.has_topic);
  Message n;
  Reply other = without.reply();
  ASSERT_EQ(parse_entry(other, &n, &headers), EntryKind::message);
  EXPECT_FALSE(n.has_topic);
}

struct Odd {
  const char* what;
  std::string resp;
  EntryKind kind;
  bool has_id;
};

// After each the reply stands behind the entry, and no headers are left over.
TEST(ParseEntry, StepsOverWhateverItIs) {
  const Odd odds[] = {
      {"no name", entry("1-1", {"p", "x", "h:a", "b"}), EntryKind::malformed, true},
      {"no payload", entry("1-1", {"n", "x", "h:a", "b"}), EntryKind::malformed, true},
      {"no fields", entry("1-1", {}), EntryKind::malformed, true},
      {"an odd number of fields", entry("1-1", {"n", "a", "p"}), EntryKind::malformed, true},
      {"nil fields", list({text("1-1"), "*-1\r\n"}), EntryKind::deleted, true},
      {"a nil entry", "*-1\r\n", EntryKind::deleted, false},
      {"a bad id", entry("x", {"n", "a", "p", "b", "h:a", "b"}), EntryKind::malformed, false},
      {"an integer", ":5\r\n", EntryKind::malformed, false},
      {"a short array", list({text("1-1")}), EntryKind::malformed, false},
      {"an id that is a list", list({list({text("a")}), fields({"n", "a", "p", "b"})}),
       EntryKind::malformed, false},
      {"fields that are a text", list({text("1-1"), text("a")}), EntryKind::malformed, true},
      {"a nested value",
       list({text("1-1"), list({text("n"), list({text("a"), text("b")}), text("p"), text("c")})}),
       EntryKind::malformed, true},
      {"a nested name", list({text("1-1"), list({list({text("n")}), text("a")})}),
       EntryKind::malformed, true},
      {"an entry that is too long",
       list({text("1-1"), fields({"n", "a", "p", "b"}), list({text("more")})}), EntryKind::message,
       true},
  };
  for (const Odd& odd : odds) {
    Parsed p(list({odd.resp, text("behind")}));
    Reply reply = p.reply();
    reply.next();
    Message m;
    Vector<pulse_header> headers;
    EXPECT_EQ(parse_entry(reply, &m, &headers), odd.kind) << odd.what;
    EXPECT_EQ(reply.next().text, "behind") << odd.what;
    EXPECT_EQ(id_equal(m.id, {1, 1}), odd.has_id) << odd.what;
    if (odd.kind != EntryKind::message) {
      EXPECT_TRUE(headers.empty()) << odd.what;
      EXPECT_EQ(m.header_count, 0u) << odd.what;
    }
  }
}

class CountingOwner final : public Deliverer {
 public:
  void events_taken(size_t count, uint64_t bytes) override {
    taken += static_cast<int>(count);
    taken_bytes += bytes;
  }
  bool withdrawn() const override { return closed; }
  uint64_t handle_id() const override { return handle; }
  int taken = 0;
  uint64_t taken_bytes = 0;
  bool closed = false;
  uint64_t handle = 0;
};

TEST(Notice, IsOneEventAndEndsWithItsOwner) {
  auto owner = make_ref<CountingOwner>();
  auto target = make_ref<SharedTarget>(Target());
  Notice notice(target, PULSE_EVENT_GAP, "s");
  notice.owner = owner;
  notice.count = 3;
  notice.id = {1, 2};
  notice.id_end = {3, 4};
  pulse_event event{};
  EXPECT_EQ(notice.remaining(), 1u);
  ASSERT_TRUE(notice.next_event(&event));
  EXPECT_EQ(event.kind, PULSE_EVENT_GAP);
  EXPECT_EQ(std::string_view(event.stream, event.stream_len), "s");
  EXPECT_EQ(event.count, 3u);
  EXPECT_TRUE(id_equal(event.id_end, {3, 4}));
  EXPECT_FALSE(notice.next_event(&event));

  Notice late(target, PULSE_EVENT_GAP);
  late.owner = owner;
  owner->closed = true;
  EXPECT_EQ(late.remaining(), 0u);
  EXPECT_FALSE(late.next_event(&event));

  Notice closed(target, PULSE_EVENT_CLOSED);
  closed.error = Error(PULSE_ERR_CLOSED, "why");
  ASSERT_TRUE(closed.next_event(&event));
  EXPECT_EQ(event.status, PULSE_ERR_CLOSED);
  EXPECT_EQ(std::string_view(event.message, event.message_len), "why");
}

}  // namespace
}  // namespace pulseengine
