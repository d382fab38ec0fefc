// What Lua scripts include, on a real server.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "support.h"
#include "test_scripts.h"

namespace pulseengine {
namespace {

struct Free {
  void operator()(ts_reply* reply) const { ts_reply_free(reply); }
  void operator()(ts_connection* connection) const { ts_connection_free(connection); }
};
using Reply = std::unique_ptr<ts_reply, Free>;
using Words = std::vector<std::string>;

std::string text_of(const ts_reply* reply) { return {ts_reply_text(reply), ts_reply_size(reply)}; }

std::string part(const std::string& text) {
  std::string out;
  for (unsigned i = 0; i < 4; i++) out.push_back(static_cast<char>(text.size() >> (8 * i) & 0xFF));
  return out + text;
}

class ScriptInclude : public testing::Test {
 protected:
  static void SetUpTestSuite() { server_ = ts_server_start(nullptr); }
  static void TearDownTestSuite() {
    ts_server_free(server_);
    server_ = nullptr;
  }
  void SetUp() override {
    ASSERT_NE(server_, nullptr);
    command({"FLUSHALL"});
  }

  static Reply command(const Words& words) {
    std::vector<const char*> texts;
    std::vector<size_t> sizes;
    for (const std::string& word : words) {
      texts.push_back(word.data());
      sizes.push_back(word.size());
    }
    return Reply(ts_command_argv(server_, words.size(), texts.data(), sizes.data()));
  }
  static std::string answer(const Words& words) { return text_of(command(words).get()); }

  // Runs change_maps on the maps `one` and `two`.
  static Reply change(const Words& operations, const std::string& ttl = "0",
                      const std::string& sliding = "0") {
    Words words{"EVAL",
                std::string(scripts::change_maps.text),
                "2",
                "map:one:content",
                "map:two:content",
                "map:one:updates",
                "map:two:updates",
                ttl,
                sliding};
    words.insert(words.end(), operations.begin(), operations.end());
    return command(words);
  }

  // What is published on the channels of both maps while `act` runs, as "channel message".
  static Words published(const std::function<void()>& act) {
    std::unique_ptr<ts_connection, Free> listener(ts_connection_open(server_));
    Reply(ts_connection_command(listener.get(), "PSUBSCRIBE", "map:*", nullptr));
    act();
    command({"PUBLISH", "map:end", ""});
    Words all;
    for (;;) {
      Reply message(ts_connection_read(listener.get(), TS_DEADLINE_MS));
      if (ts_reply_size(message.get()) != 4) {
        ADD_FAILURE() << "no message";
        return all;
      }
      const std::string channel = text_of(ts_reply_at(message.get(), 2));
      if (channel == "map:end") return all;
      all.push_back(channel + " " + text_of(ts_reply_at(message.get(), 3)));
    }
  }

  static ts_server* server_;
};
ts_server* ScriptInclude::server_;

const std::string kOne = "map:one:updates ", kTwo = "map:two:updates ";

TEST_F(ScriptInclude, SeveralMapsChangeInOneRun) {
  command({"HSET", "map:one:content", "=rev", "9", "=kind", "set", "old", "x"});
  const std::string binary("\0\r\n\xff", 4);
  Words messages = published([&] {
    Reply result = change({"2",   "set", "k", binary, "1",      "set", "k", "v",   "1", "del",
                           "old", "",    "1", "del",  "absent", "",    "2", "set", "k", ""});
    ASSERT_EQ(ts_reply_size(result.get()), 7U);
    const int64_t done[] = {1, 1, 1, 0, 1};
    for (size_t i = 0; i < 5; i++) {
      EXPECT_EQ(ts_reply_integer(ts_reply_at(result.get(), i)), done[i]) << i;
    }
    EXPECT_TRUE(ts_reply_equals(ts_reply_at(result.get(), 5), "11"));
    EXPECT_TRUE(ts_reply_equals(ts_reply_at(result.get(), 6), "2"));
  });
  // Map by map, in the order of the changes.
  EXPECT_EQ(messages, (Words{kOne + "set:" + part("k") + part("v") + part("10"),
                             kOne + "del:" + part("old") + part("11"),
                             kTwo + "set:" + part("k") + part(binary) + part("1"),
                             kTwo + "set:" + part("k") + part("") + part("2")}));
  EXPECT_EQ(answer({"HGET", "map:one:content", "=rev"}), "11");
  EXPECT_EQ(answer({"HGET", "map:one:content", "=kind"}), "del");
  EXPECT_EQ(answer({"HGET", "map:one:content", "k"}), "v");
  EXPECT_EQ(ts_reply_integer(command({"HLEN", "map:one:content"}).get()), 3);
  EXPECT_EQ(answer({"HGET", "map:two:content", "=rev"}), "2");
  EXPECT_EQ(answer({"HGET", "map:two:content", "=kind"}), "set");
  EXPECT_EQ(ts_reply_integer(command({"HLEN", "map:two:content"}).get()), 3);
}

TEST_F(ScriptInclude, AMapThatDidNotChangeIsLeftAlone) {
  Words messages = published([] { change({"1", "del", "absent", ""}); });
  EXPECT_EQ(messages, Words{});
  EXPECT_EQ(ts_reply_integer(command({"DBSIZE"}).get()), 0);
}

TEST_F(ScriptInclude, ResetAndDestroyKeepTheRevision) {
  command({"HSET", "map:one:content", "=rev", "41", "=kind", "set", "a", "b"});
  Words messages = published([] {
    change({"1", "reset", "", "", "2", "destroy", "", ""});
    change({"2", "set", "k", "v", "2", "reset", "", "", "2", "set", "l", "w"});
  });
  EXPECT_EQ(messages, (Words{kOne + "reset:42", kTwo + "destroy:1",
                             kTwo + "set:" + part("k") + part("v") + part("2"), kTwo + "reset:3",
                             kTwo + "set:" + part("l") + part("w") + part("4")}));
  EXPECT_EQ(answer({"HGET", "map:one:content", "=rev"}), "42");
  EXPECT_EQ(answer({"HGET", "map:one:content", "=kind"}), "reset");
  EXPECT_EQ(ts_reply_integer(command({"HLEN", "map:one:content"}).get()), 2);
  EXPECT_EQ(ts_reply_integer(command({"HLEN", "map:two:content"}).get()), 3);
}

TEST_F(ScriptInclude, ListsAreWrittenWhole) {
  command({"HSET", "map:one:content", "=rev", "1", "list", "a,b"});
  Words messages = published([] {
    Reply result = change({"1", "add",   "", "b", "1", "add",   "", "c/d", "1", "take",  "", "a",
                           "1", "write", "", "",  "2", "add",   "", "x",   "2", "write", "", "",
                           "2", "take",  "", "x", "2", "write", "", ""});
    EXPECT_EQ(ts_reply_integer(ts_reply_at(result.get(), 0)), 0);
    EXPECT_EQ(ts_reply_integer(ts_reply_at(result.get(), 1)), 1);
  });
  EXPECT_EQ(messages, (Words{kOne + "set:" + part("list") + part(R"(["b","c\/d"])") + part("2"),
                             kTwo + "set:" + part("list") + part(R"(["x"])") + part("1"),
                             kTwo + "del:" + part("list") + part("2")}));
  EXPECT_EQ(answer({"HGET", "map:one:content", "list"}), R"(["b","c\/d"])");
  EXPECT_EQ(ts_reply_integer(command({"HEXISTS", "map:two:content", "list"}).get()), 0);
}

// Whatever is wrong with the second map, the first one stays as it is.
TEST_F(ScriptInclude, AMapThatCannotBeChangedIsFoundBeforeAnythingIsWritten) {
  const std::vector<std::pair<Words, std::string>> faults{
      {{"SET", "map:two:content", "text"}, "WRONGTYPE"},
      {{"HSET", "map:two:content", "=rev", "1x"}, "ERR the revision"},
      {{"HSET", "map:two:content", "=rev", ""}, "ERR the revision"},
      {{"HSET", "map:two:content", "=rev", "-1"}, "ERR the revision"},
      {{"HSET", "map:two:content", "=rev", "1000000000000000"}, "ERR the revision"},
      {{"HSET", "map:two:content", "list", "{\"a\":1}"}, "WRONGTYPE the value of list"},
      {{"HSET", "map:two:content", "list", "[1]"}, "WRONGTYPE the value of list"},
      {{"HSET", "map:two:content", "list", "[\"a\",[\"b\"]]"}, "WRONGTYPE the value of list"},
      {{"HSET", "map:two:content", "list", "[null]"}, "WRONGTYPE the value of list"}};
  for (const auto& [make, error] : faults) {
    command({"FLUSHALL"});
    command(make);
    Words messages = published([&, &expected = error] {
      Reply result = change({"1", "set", "k", "v"});
      EXPECT_TRUE(ts_reply_is_error(result.get()));
      EXPECT_EQ(text_of(result.get()).substr(0, expected.size()), expected);
    });
    EXPECT_EQ(messages, Words{});
    EXPECT_EQ(ts_reply_integer(command({"EXISTS", "map:one:content"}).get()), 0) << error;
  }
}

TEST_F(ScriptInclude, TheFirstFaultIsTold) {
  command({"SET", "map:one:content", "text"});
  command({"HSET", "map:two:content", "=rev", "x"});
  EXPECT_EQ(text_of(change({"1", "set", "k", "v"}).get()).substr(0, 9), "WRONGTYPE");
}

TEST_F(ScriptInclude, TheTimeToLiveIsSetOnceOrAnew) {
  auto ttl = [] { return ts_reply_integer(command({"PTTL", "map:one:content"}).get()); };
  change({"1", "set", "k", "v"});
  EXPECT_EQ(ttl(), -1);
  change({"1", "set", "k", "v"}, "5000000");
  EXPECT_GT(ttl(), 0);
  change({"1", "set", "k", "v"}, "9000000");
  EXPECT_LE(ttl(), 5000000);
  change({"1", "set", "k", "v"}, "9000000", "1");
  EXPECT_GT(ttl(), 5000000);
  EXPECT_EQ(ts_reply_integer(command({"EXISTS", "map:two:content"}).get()), 0);
}

TEST_F(ScriptInclude, ManyKeysOfAMapAreReadAndWrittenTogether) {
  command({"HSET", "map:one:content", "=rev", "9", "=kind", "set", "old", "x", "kept", "y"});
  auto batch = [](const Words& rest) {
    Words words{"EVAL", std::string(scripts::change_batch.text), "1", "map:one:content",
                "map:one:updates"};
    words.insert(words.end(), rest.begin(), rest.end());
    return command(words);
  };
  Words messages = published([&] {
    Reply result =
        batch({"3", "old", "new", "kept", "get", "old",   "",  "get", "new",   "",  "del", "old",
               "",  "del", "old", "",     "get", "old",   "",  "set", "new",   "1", "set", "new",
               "2", "get", "new", "",     "set", "brief", "3", "del", "brief", ""});
    const char* const texts[] = {"x", "", nullptr, nullptr, "", "2", nullptr, "14"};
    const int64_t numbers[] = {0, 0, 1, 0, 0, 0, 1, 0};
    ASSERT_EQ(ts_reply_size(result.get()), 8U);
    for (size_t i = 0; i < 8; i++) {
      const ts_reply* item = ts_reply_at(result.get(), i);
      if (texts[i] != nullptr) {
        EXPECT_EQ(text_of(item), texts[i]) << i;
      } else {
        EXPECT_EQ(ts_reply_integer(item), numbers[i]) << i;
      }
    }
  });
  // Every change is told, in order; the hash gets what is left in the end.
  EXPECT_EQ(messages, (Words{kOne + "del:" + part("old") + part("10"),
                             kOne + "set:" + part("new") + part("1") + part("11"),
                             kOne + "set:" + part("new") + part("2") + part("12"),
                             kOne + "set:" + part("brief") + part("3") + part("13"),
                             kOne + "del:" + part("brief") + part("14")}));
  EXPECT_EQ(answer({"HGET", "map:one:content", "=rev"}), "14");
  EXPECT_EQ(answer({"HGET", "map:one:content", "=kind"}), "del");
  EXPECT_EQ(answer({"HGET", "map:one:content", "new"}), "2");
  EXPECT_EQ(answer({"HGET", "map:one:content", "kept"}), "y");
  EXPECT_EQ(ts_reply_integer(command({"HLEN", "map:one:content"}).get()), 4);

  EXPECT_EQ(published([&] {
              batch({"1", "kept", "del", "absent", "", "get", "kept", ""});
            }),
            Words{});
  command({"SET", "map:one:content", "text"});
  EXPECT_EQ(text_of(batch({"1", "k", "set", "k", "v"}).get()).substr(0, 9), "WRONGTYPE");
}

Words sorted(Words words) {
  std::sort(words.begin(), words.end());
  return words;
}

Reply change_job_list(const std::function<Reply(const Words&)>& command, const std::string& value,
                      const Words& operations) {
  Words words{"EVAL", std::string(scripts::change_job_list.text), "0", value};
  words.insert(words.end(), operations.begin(), operations.end());
  return command(words);
}

// What a list is changed to as a text is what it would be as a list.
TEST_F(ScriptInclude, JobListsChangeAsTextsLikeLists) {
  // What in a list can be taken for the end of one item and the beginning of another, and what JSON
  // writes otherwise than it is.
  const Words nasty{",",   "\",\"", "]",    "[",        "\"",     "x\"abc", "abc",    "a,",
                    ",b",  "a/b",   "\n",   "\xff\x01", "\u00e4", "job-1",  "job-10", "ob-1",
                    "job", "\\",    "\\\"", "\"abc\"",  "][",     "a\",\"b"};
  Words keys = nasty;
  for (int i = 0; i < 30; i++) keys.push_back("key-" + std::to_string(i));
  std::mt19937 random(1);
  auto below = [&](size_t n) { return static_cast<size_t>(random() % n); };
  for (int round = 0; round < 200; round++) {
    Words list, operations;
    std::vector<std::pair<bool, Words>> expected;  // a "save": changed, and the items
    std::vector<int64_t> found;                    // of each "has"
    // Short lists, and some that are cut by more keys than are looked for one by one.
    const size_t known = round % 2 == 0 ? 6 + below(6) : keys.size();
    auto key = [&] { return keys[(static_cast<size_t>(round) * 7 + below(known)) % keys.size()]; };
    Words saved;
    for (int step = 0; step < 60; step++) {
      const std::string k = key();
      const auto at = std::find(list.begin(), list.end(), k);
      switch (below(5)) {
        case 0:
        case 1:
          operations.insert(operations.end(),
                            {at == list.end() && step % 2 == 0 ? "new" : "add", k});
          if (at == list.end()) list.push_back(k);
          break;
        case 2:
          operations.insert(operations.end(), {"remove", k});
          if (at != list.end()) list.erase(at);
          break;
        case 3:
          operations.insert(operations.end(), {"has", k});
          found.push_back(at != list.end() ? 1 : 0);
          break;
        default:
          if (below(3) != 0) break;
          operations.insert(operations.end(), {"save", ""});
          expected.emplace_back(sorted(list) != sorted(saved), list);
          saved = list;
      }
    }
    operations.insert(operations.end(), {"save", ""});
    expected.emplace_back(sorted(list) != sorted(saved), list);
    Reply reply = change_job_list(command, "", operations);
    ASSERT_EQ(ts_reply_size(reply.get()), found.size() + expected.size());
    size_t next_found = 0, next_saved = 0;
    for (size_t i = 0; i < ts_reply_size(reply.get()); i++) {
      const ts_reply* result = ts_reply_at(reply.get(), i);
      if (ts_reply_get_type(result) == TS_INTEGER) {
        ASSERT_EQ(ts_reply_integer(result), found[next_found++]) << "round " << round;
        continue;
      }
      const auto& [changed, items] = expected[next_saved++];
      // A key that went and came back in one step may have kept its place.
      Words got;
      for (size_t k = 2; k < ts_reply_size(result); k++)
        got.push_back(text_of(ts_reply_at(result, k)));
      if (changed) {
        ASSERT_EQ(ts_reply_integer(ts_reply_at(result, 0)), 1) << "round " << round;
      }
      ASSERT_EQ(ts_reply_integer(ts_reply_at(result, 1)), 1) << "round " << round;
      ASSERT_EQ(sorted(got), sorted(items)) << "round " << round;
    }
  }
}

TEST_F(ScriptInclude, JobListsMayBeWhatOthersWrote) {
  auto items = [](const std::string& value, const Words& operations) {
    Reply reply = change_job_list(command, value, operations);
    if (ts_reply_size(reply.get()) != 1) return Words{text_of(reply.get())};
    const ts_reply* result = ts_reply_at(reply.get(), 0);
    Words all;
    for (size_t i = 2; i < ts_reply_size(result); i++)
      all.push_back(text_of(ts_reply_at(result, i)));
    return all;
  };
  EXPECT_EQ(items("a,b", {"remove", "a", "add", "c", "save", ""}), (Words{"b", "c"}));
  EXPECT_EQ(items(R"(["a", "b"])", {"remove", "b", "save", ""}), (Words{"a"}));
  EXPECT_EQ(items(R"([ "a" ])", {"add", "a", "new", "b", "save", ""}), (Words{"a", "b"}));
  EXPECT_EQ(items("[]", {"new", "a", "save", ""}), (Words{"a"}));
  EXPECT_EQ(items(R"({"a":1})", {"save", ""}), (Words{"fault"}));
  EXPECT_EQ(items("[1]", {"save", ""}), (Words{"fault"}));
}

TEST_F(ScriptInclude, IdsCompareAsNumbers) {
  const std::vector<std::pair<const char*, const char*>> ascending{
      {"0-0", "0-1"},
      {"9-5", "10-0"},
      {"10-9", "10-10"},
      {"9007199254740992-0", "9007199254740993-0"},
      {"1-18446744073709551614", "1-18446744073709551615"}};
  Words words{"EVAL", std::string(scripts::compare.text), "0"};
  for (const auto& [low, high] : ascending) {
    for (const char* word : {low, high, high, low, low, low}) words.emplace_back(word);
  }
  Reply reply = command(words);
  ASSERT_EQ(ts_reply_size(reply.get()), 3 * ascending.size() + 3);
  for (size_t i = 0; i < 3 * ascending.size(); i++) {
    EXPECT_EQ(ts_reply_integer(ts_reply_at(reply.get(), i)), i % 3 == 0 ? 1 : 0) << i;
  }
}

TEST_F(ScriptInclude, TheTimeIsInNanoseconds) {
  auto seconds = [] {
    Reply time = command({"TIME"});
    return std::strtoll(ts_reply_text(ts_reply_at(time.get(), 0)), nullptr, 10);
  };
  const int64_t before = seconds();
  Reply reply = command({"EVAL", std::string(scripts::compare.text), "0"});
  const int64_t after = seconds();
  int64_t times[3];
  for (size_t i = 0; i < 3; i++) {
    const std::string text = text_of(ts_reply_at(reply.get(), i));
    EXPECT_EQ(text.find_first_not_of("0123456789"), std::string::npos) << text;
    times[i] = std::strtoll(text.c_str(), nullptr, 10);
  }
  const int64_t second = 1000000000;
  EXPECT_GE(times[0], before * second);
  EXPECT_LT(times[0], (after + 1) * second);
  EXPECT_LT(times[1], (after - 59) * second);
  EXPECT_GE(times[1], (before - 60) * second);
  EXPECT_GE(times[2], (before + 60) * second);
}

}  // namespace
}  // namespace pulseengine
