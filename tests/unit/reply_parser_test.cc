// RESP in, flat replies out: every type, every split, and every way a peer can lie.
#include "redis/reply_parser.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "support.h"

namespace pulseengine {
namespace {

constexpr int64_t kMax = 1 << 20;

// A reply as one line of text: nodes in order.
std::string describe(const ReplyNode* nodes, size_t count) {
  std::string text;
  for (size_t i = 0; i < count; i++) {
    const ReplyNode& n = nodes[i];
    switch (n.type) {
      case ReplyType::string:
        text += "$" + std::string(n.text);
        break;
      case ReplyType::status:
        text += "+" + std::string(n.text);
        break;
      case ReplyType::error:
        text += "-" + std::string(n.text);
        break;
      case ReplyType::integer:
        text += ":" + std::to_string(n.integer);
        break;
      case ReplyType::nil:
        text += "_";
        break;
      case ReplyType::array:
        text += "*" + std::to_string(n.integer);
        break;
    }
    text += "|";
  }
  return text;
}

struct Parsed {
  std::vector<std::string> replies;
  Error error;
};

// Feeds the parts one by one, taking all replies after each.
Parsed parse(const std::vector<std::string>& parts, int64_t max = kMax) {
  ReplyParser parser(max);
  parser.reset();
  Parsed parsed;
  for (const std::string& part : parts) {
    parsed.error = parser.feed(part.data(), part.size());
    const ReplyNode* nodes = nullptr;
    size_t count = 0;
    while (parsed.error.ok() && parser.next(&parsed.error, &nodes, &count)) {
      parsed.replies.push_back(describe(nodes, count));
    }
    if (!parsed.error.ok()) break;
  }
  return parsed;
}

struct Sample {
  const char* resp;
  const char* nodes;
};

const Sample kSamples[] = {
    {"+OK\r\n", "+OK|"},
    {"+\r\n", "+|"},
    {"-ERR no such thing\r\n", "-ERR no such thing|"},
    {":0\r\n", ":0|"},
    {":-42\r\n", ":-42|"},
    {":9223372036854775807\r\n", ":9223372036854775807|"},
    {"$5\r\nhello\r\n", "$hello|"},
    {"$0\r\n\r\n", "$|"},
    {"$2\r\n\r\n\r\n", "$\r\n|"},
    {"$-1\r\n", "_|"},
    {"*-1\r\n", "_|"},
    {"*0\r\n", "*0|"},
    {"*3\r\n:1\r\n$1\r\na\r\n$-1\r\n", "*3|:1|$a|_|"},
    {"*2\r\n*0\r\n*1\r\n*1\r\n+x\r\n", "*2|*0|*1|*1|+x|"},
    // As XREAD answers.
    {"*1\r\n*2\r\n$1\r\ns\r\n*2\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\nn\r\n$1\r\nv\r\n*2\r\n$3\r\n2-"
     "0\r\n*-1\r\n",
     "*1|*2|$s|*2|*2|$1-0|*2|$n|$v|*2|$2-0|_|"},
};

TEST(ReplyParser, EveryTypeAndEverySplitInTwo) {
  for (const Sample& sample : kSamples) {
    std::string resp = sample.resp;
    for (size_t at = 0; at <= resp.size(); at++) {
      Parsed parsed = parse({resp.substr(0, at), resp.substr(at)});
      ASSERT_TRUE(parsed.error.ok())
          << sample.nodes << " split at " << at << ": " << parsed.error.message();
      ASSERT_EQ(parsed.replies, std::vector<std::string>{sample.nodes}) << "split at " << at;
    }
  }
}

TEST(ReplyParser, ByteByByteAndAllAtOnce) {
  std::string all;
  std::vector<std::string> expected, bytes;
  for (const Sample& sample : kSamples) {
    all += sample.resp;
    expected.emplace_back(sample.nodes);
  }
  for (char c : all) bytes.emplace_back(1, c);
  EXPECT_EQ(parse({all}).replies, expected);
  EXPECT_EQ(parse(bytes).replies, expected);
}

TEST(ReplyParser, PartOfAReplyIsNoReply) {
  for (const Sample& sample : kSamples) {
    std::string resp = sample.resp;
    for (size_t size = 0; size < resp.size(); size++) {
      Parsed parsed = parse({resp.substr(0, size)});
      EXPECT_TRUE(parsed.error.ok());
      EXPECT_TRUE(parsed.replies.empty()) << sample.nodes << " after " << size << " bytes";
    }
  }
}

TEST(ReplyParser, BinaryTextsSurvive) {
  std::string payload;
  for (int i = 0; i < 256; i++) payload += static_cast<char>(i);
  payload += payload;
  ReplyParser parser(kMax);
  parser.reset();
  std::string resp = "$" + std::to_string(payload.size()) + "\r\n" + payload + "\r\n";
  ASSERT_TRUE(parser.feed(resp.data(), resp.size()).ok());
  Error error;
  const ReplyNode* nodes = nullptr;
  size_t count = 0;
  ASSERT_TRUE(parser.next(&error, &nodes, &count));
  ASSERT_EQ(count, 1U);
  EXPECT_EQ(nodes[0].text, payload);
}

TEST(ReplyParser, TextsLiveAsLongAsTheirSlab) {
  ReplyParser parser(kMax);
  parser.reset();
  std::string resp = "$4\r\nkept\r\n$4\r\nnext\r\n$4\r\nlast\r\n";
  ASSERT_TRUE(parser.feed(resp.data(), resp.size()).ok());
  Error error;
  const ReplyNode* nodes = nullptr;
  size_t count = 0;
  ASSERT_TRUE(parser.next(&error, &nodes, &count));
  Ref<Slab> slab = parser.slab();
  std::string_view kept = nodes[0].text;
  ASSERT_TRUE(parser.next(&error, &nodes, &count));
  EXPECT_NE(parser.slab().get(), slab.get());
  Slab* reused = parser.slab().get();
  ASSERT_TRUE(parser.next(&error, &nodes, &count));
  EXPECT_EQ(parser.slab().get(), reused);  // nobody kept it
  EXPECT_EQ(kept, "kept");
  EXPECT_EQ(nodes[0].text, "last");
}

TEST(ReplyParser, RubbishIsAProtocolError) {
  const char* rubbish[] = {
      "HTTP/1.1 400 Bad Request\r\n",
      "\r\n",
      "?\r\n",
      ":12x\r\n",
      ":\r\n",
      "$abc\r\n",
      "$-2\r\n",
      "*-2\r\n",
      "*x\r\n",
      ":99999999999999999999\r\n",
      "$99999999999999999999\r\n",
      "*99999999999999999999\r\n",
      "*1\r\n?\r\n",
  };
  for (const char* text : rubbish) {
    Parsed parsed = parse({std::string(text)});
    EXPECT_EQ(parsed.error.code(), PULSE_ERR_PROTOCOL) << text;
    EXPECT_FALSE(parsed.error.message().empty());
    EXPECT_TRUE(parsed.replies.empty());
  }
}

TEST(ReplyParser, RepliesBeforeRubbishCount) {
  Parsed parsed = parse({"+OK\r\nrubbish\r\n"});
  EXPECT_EQ(parsed.replies, std::vector<std::string>{"+OK|"});
  EXPECT_EQ(parsed.error.code(), PULSE_ERR_PROTOCOL);
}

TEST(ReplyParser, ResetForgetsHalfAReply) {
  ReplyParser parser(kMax);
  parser.reset();
  ASSERT_TRUE(parser.feed("*2\r\n$3\r\nab", 10).ok());
  Error error;
  const ReplyNode* nodes = nullptr;
  size_t count = 0;
  ASSERT_FALSE(parser.next(&error, &nodes, &count));
  parser.reset();
  ASSERT_TRUE(parser.feed("+OK\r\n", 5).ok());
  ASSERT_TRUE(parser.next(&error, &nodes, &count));
  EXPECT_EQ(describe(nodes, count), "+OK|");
}

TEST(ReplyParser, DeepNestingIsAnErrorAndNoCrash) {
  for (int depth : {50, 5000, 200000}) {
    std::string resp;
    for (int i = 0; i < depth; i++) resp += "*1\r\n";
    Parsed parsed = parse({resp + ":1\r\n"}, int64_t{1} << 30);
    EXPECT_EQ(parsed.error.code(), PULSE_ERR_PROTOCOL) << depth;
    EXPECT_TRUE(parsed.replies.empty());
  }
}

TEST(ReplyParser, NestingAsDeepAsServersAnswerIsFine) {
  // XREAD: streams, stream, entries, entry, fields.
  Parsed parsed = parse({"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:7\r\n"});
  EXPECT_EQ(parsed.replies, std::vector<std::string>{"*1|*1|*1|*1|*1|*1|:7|"});
}

// Counts what the engine's own code allocates.
struct Counter {
  size_t most = 0;
  static void* allocate(void* self, size_t bytes) {
    auto* c = static_cast<Counter*>(self);
    c->most = std::max(c->most, bytes);
    return malloc(bytes);
  }
  static void* reallocate(void* self, void* memory, size_t bytes) {
    auto* c = static_cast<Counter*>(self);
    c->most = std::max(c->most, bytes);
    return realloc(memory, bytes);
  }
  static void release(void*, void* memory) { free(memory); }
  Counter() { EXPECT_TRUE(set_allocator_hooks({allocate, reallocate, release, this})); }
  ~Counter() { EXPECT_TRUE(set_allocator_hooks({})); }
};

TEST(ReplyParser, DeclaredLengthsAllocateNothing) {
  for (const char* head : {"$536870912\r\n", "$9223372036854775807\r\n", "*2147483647\r\n",
                           "*2147483647\r\n*2147483647\r\n*2147483647\r\n"}) {
    int64_t before = ts_resident_bytes();
    Counter counter;
    {
      ReplyParser parser(int64_t{1} << 40);
      parser.reset();
      ASSERT_TRUE(parser.feed(head, strlen(head)).ok());
      Error error;
      const ReplyNode* nodes = nullptr;
      size_t count = 0;
      EXPECT_FALSE(parser.next(&error, &nodes, &count)) << head;
      EXPECT_TRUE(error.ok()) << head << error.message();
      EXPECT_LT(counter.most, 64U * 1024) << head;
      EXPECT_LT(ts_resident_bytes() - before, 64 << 20) << head;
    }
  }
}

TEST(ReplyParser, TooLargeARepliesEndsEarly) {
  // A text, a flat array and many small texts: what is held is bounded in each case.
  struct Flood {
    std::string head, chunk;
  } floods[] = {
      {"$1073741824\r\n", std::string(1000, 'x')},
      {"*1000000000\r\n", ":1\r\n"},
      {"*1000000000\r\n", "*0\r\n"},
      {"*1000000000\r\n", "$1\r\na\r\n"},
  };
  for (const Flood& flood : floods) {
    ReplyParser parser(kMax);
    parser.reset();
    Error error = parser.feed(flood.head.data(), flood.head.size());
    size_t fed = 0;
    const ReplyNode* nodes = nullptr;
    size_t count = 0;
    while (error.ok() && fed < 10U * kMax) {
      error = parser.feed(flood.chunk.data(), flood.chunk.size());
      fed += flood.chunk.size();
      if (error.ok()) {
        EXPECT_FALSE(parser.next(&error, &nodes, &count));
      }
    }
    EXPECT_EQ(error.code(), PULSE_ERR_PROTOCOL) << flood.chunk.substr(0, 10);
    EXPECT_NE(error.message().find("max_reply_bytes"), std::string_view::npos) << error.message();
    EXPECT_LE(fed, static_cast<size_t>(kMax) + 2000);
  }
}

TEST(ReplyParser, ManyRepliesTogetherMayExceedTheLimitOfOne) {
  std::string one = "$1000\r\n" + std::string(1000, 'x') + "\r\n", all;
  for (int i = 0; i < 100; i++) all += one;
  Parsed parsed = parse({all}, 2000);
  EXPECT_TRUE(parsed.error.ok()) << parsed.error.message();
  EXPECT_EQ(parsed.replies.size(), 100U);
}

// Random trees, written and read, in random portions.
void write_tree(std::mt19937& random, int depth, std::string* resp, std::string* nodes) {
  auto below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  int kind = below(depth > 0 ? 7 : 5);
  std::string text(static_cast<size_t>(below(6) == 0 ? below(3000) : below(10)), 'a');
  switch (kind) {
    case 0:
      *resp += "+" + text + "\r\n";
      *nodes += "+" + text + "|";
      break;
    case 1:
      *resp += "-" + text + "\r\n";
      *nodes += "-" + text + "|";
      break;
    case 2: {
      std::string number = std::to_string(static_cast<int64_t>(random()) - 2147483648);
      *resp += ":" + number + "\r\n";
      *nodes += ":" + number + "|";
      break;
    }
    case 3:
      *resp += "$-1\r\n";
      *nodes += "_|";
      break;
    case 4:
      *resp += "$" + std::to_string(text.size()) + "\r\n" + text + "\r\n";
      *nodes += "$" + text + "|";
      break;
    default: {
      int count = below(8);
      *resp += "*" + std::to_string(count) + "\r\n";
      *nodes += "*" + std::to_string(count) + "|";
      for (int i = 0; i < count; i++) write_tree(random, depth - 1, resp, nodes);
    }
  }
}

TEST(ReplyParser, RandomTreesInRandomPortions) {
  std::mt19937 random(815);
  for (int round = 0; round < 300; round++) {
    std::string resp;
    std::vector<std::string> expected;
    for (int i = 0; i < 5; i++) {
      std::string nodes;
      write_tree(random, 5, &resp, &nodes);
      expected.push_back(nodes);
    }
    std::vector<std::string> portions;
    for (size_t at = 0; at < resp.size();) {
      size_t n = 1 + random() % (random() % 4 == 0 ? 4000 : 20);
      portions.push_back(resp.substr(at, n));
      at += n;
    }
    Parsed parsed = parse(portions);
    ASSERT_TRUE(parsed.error.ok()) << parsed.error.message();
    ASSERT_EQ(parsed.replies, expected) << "round " << round;
  }
}

// Taken whenever something has come, the parts are the replies.
TEST(ReplyParser, RandomTreesInParts) {
  std::mt19937 random(816);
  for (int64_t round = 0; round < ts_scaled(200); round++) {
    std::string resp, expected, seen;
    for (int i = 0; i < 5; i++) write_tree(random, 4, &resp, &expected);
    ReplyParser parser(kMax);
    parser.reset();
    Error error;
    const ReplyNode* nodes = nullptr;
    size_t count = 0;
    for (size_t at = 0; at < resp.size();) {
      const size_t size = std::min<size_t>(1 + random() % 200, resp.size() - at);
      ASSERT_TRUE(parser.feed(resp.data() + at, size).ok());
      at += size;
      while (parser.next(&error, &nodes, &count)) seen += describe(nodes, count);
      ASSERT_TRUE(error.ok()) << error.message();
      parser.take_part(&nodes, &count);
      seen += describe(nodes, count);
    }
    ASSERT_EQ(seen, expected);
  }
}

TEST(ReplyParser, PartsTogetherMayExceedTheLimit) {
  ReplyParser parser(2000);
  parser.reset();
  ASSERT_TRUE(parser.feed("*10000\r\n", 8).ok());
  const std::string one = "$100\r\n" + std::string(100, 'x') + "\r\n";
  Error error;
  const ReplyNode* nodes = nullptr;
  size_t count = 0, seen = 0;
  for (int i = 0; i < 9999; i++) {
    ASSERT_TRUE(parser.feed(one.data(), one.size()).ok());
    ASSERT_FALSE(parser.next(&error, &nodes, &count));
    ASSERT_TRUE(error.ok()) << error.message();
    parser.take_part(&nodes, &count);
    seen += count;
  }
  ASSERT_TRUE(parser.feed(one.data(), one.size()).ok());
  ASSERT_TRUE(parser.next(&error, &nodes, &count));
  EXPECT_EQ(seen + count, 10001U);
}

}  // namespace
}  // namespace pulseengine
