// The cursor over a reply, what error replies mean, and what INFO tells of a server.
#include "redis/reply.h"

#include <gtest/gtest.h>

#include <string>

#include "redis/server_info.h"

namespace pulseengine {
namespace {

ReplyNode node(ReplyType type, int64_t integer = 0, std::string_view text = {}) {
  ReplyNode n;
  n.type = type;
  n.integer = integer;
  n.text = text;
  return n;
}

TEST(Reply, SkipStepsOverAllThatANodeHolds) {
  // [1, [[], ["a", nil]], "end"]
  const ReplyNode nodes[] = {
      node(ReplyType::array, 3), node(ReplyType::integer, 1),       node(ReplyType::array, 2),
      node(ReplyType::array, 0), node(ReplyType::array, 2),         node(ReplyType::string, 0, "a"),
      node(ReplyType::nil),      node(ReplyType::string, 0, "end"),
  };
  Ref<Slab> slab = make_ref<Slab>();
  Reply reply(nodes, 8, slab);
  EXPECT_EQ(reply.next().elements(), 3U);
  EXPECT_EQ(reply.peek().integer, 1);
  reply.skip();
  reply.skip();
  EXPECT_EQ(reply.next().text, "end");
  Reply whole(nodes, 8, slab);
  whole.skip();
  EXPECT_TRUE(whole.peek().is_nil());
}

TEST(Reply, PastTheEndIsNilForEver) {
  const ReplyNode nodes[] = {node(ReplyType::array, 5), node(ReplyType::integer, 1)};
  Ref<Slab> slab = make_ref<Slab>();
  Reply reply(nodes, 2, slab);
  reply.skip();  // the array claims more than there is
  for (int i = 0; i < 3; i++) {
    EXPECT_TRUE(reply.next().is_nil());
    EXPECT_TRUE(reply.peek().is_nil());
    reply.skip();
  }
  Reply empty(nodes, 0, slab);
  EXPECT_TRUE(empty.next().is_nil());
}

TEST(Reply, OnlyArraysHaveElements) {
  EXPECT_EQ(node(ReplyType::integer, 7).elements(), 0U);
  EXPECT_EQ(node(ReplyType::string, 0, "x").elements(), 0U);
  EXPECT_TRUE(node(ReplyType::status, 0, "OK").is_text());
  EXPECT_FALSE(node(ReplyType::error, 0, "ERR").is_text());
}

struct Meaning {
  const char* text;
  pulse_status status;
  bool retriable;
};

const Meaning kMeanings[] = {
    {"LOADING Redis is loading the dataset in memory", PULSE_ERR_LOADING, true},
    {"BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
     PULSE_ERR_SERVER_BUSY, true},
    {"READONLY You can't write against a read only replica.", PULSE_ERR_READONLY, true},
    {"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
     PULSE_ERR_MASTERDOWN, true},
    {"OOM command not allowed when used memory > 'maxmemory'.", PULSE_ERR_SERVER_OOM, true},
    {"TRYAGAIN Multiple keys request during rehashing of slot", PULSE_ERR_SERVER, true},
    {"NOAUTH Authentication required.", PULSE_ERR_AUTH, false},
    {"WRONGPASS invalid username-password pair or user is disabled.", PULSE_ERR_AUTH, false},
    {"ERR invalid password", PULSE_ERR_AUTH, false},  // before Redis 6
    {"ERR Client sent AUTH, but no password is set", PULSE_ERR_AUTH, false},
    {"ERR AUTH <password> called without any password configured for the default user. Are you "
     "sure your configuration is correct?",
     PULSE_ERR_AUTH, false},
    {"NOPERM this user has no permissions to run the 'xadd' command", PULSE_ERR_PERMISSION, false},
    {"ERR max number of clients reached", PULSE_ERR_MAX_CLIENTS, true},
    {"ERR max number of clients + cluster connections reached", PULSE_ERR_MAX_CLIENTS, true},
    {"WRONGTYPE Operation against a key holding the wrong kind of value", PULSE_ERR_WRONG_TYPE,
     false},
    {"ERR unknown command 'XADD'", PULSE_ERR_SERVER, false},
    {"NOGROUP No such consumer group", PULSE_ERR_SERVER, false},
    {"", PULSE_ERR_SERVER, false},
    {"BUSYGROUP Consumer Group name already exists", PULSE_ERR_SERVER, false},
    {"LOADINGX is another word", PULSE_ERR_SERVER, false},
    // Errors of commands inside of scripts, as Redis 5 and 6 pass them on.
    {"ERR Error running script (call to f_0123): @user_script:1: @user_script: 1: -OOM command not "
     "allowed when used memory > 'maxmemory'.",
     PULSE_ERR_SERVER_OOM, true},
    {"ERR Error running script (call to f_0123): @user_script:1: WRONGTYPE Operation against a key "
     "holding the wrong kind of value",
     PULSE_ERR_WRONG_TYPE, false},
    {"ERR Error running script (call to f_0123): @user_script:1: -READONLY You can't write against "
     "a read only replica.",
     PULSE_ERR_READONLY, true},
    {"ERR Error running script (call to f_0123): @user_script:1: The user executing the script "
     "can't run this command or subcommand",
     PULSE_ERR_PERMISSION, false},
    // As Redis 7 does.
    {"ERR The user executing the script can't run this command or subcommand script: 0123, on "
     "@user_script:1.",
     PULSE_ERR_PERMISSION, false},
    {"ERR ACL failure in script: User x has no permissions to run the 'xinfo' command",
     PULSE_ERR_PERMISSION, false},
};

TEST(ServerError, FirstWordsAndWhatTheyMean) {
  for (const Meaning& m : kMeanings) {
    Error error = server_error(m.text);
    EXPECT_EQ(error.code(), m.status) << m.text;
    EXPECT_NE(error.flags() & PULSE_ERROR_SERVER, 0U) << m.text;
    EXPECT_EQ((error.flags() & PULSE_ERROR_RETRIABLE) != 0, m.retriable) << m.text;
    EXPECT_EQ(error.message(), std::string_view(m.text).substr(0, PULSE_ERROR_MESSAGE_BYTES - 1));
  }
}

TEST(ServerError, LongTextsAreCutAndStayTerminated) {
  std::string text = "OOM " + std::string(5000, 'x');
  Error error = server_error(text);
  EXPECT_EQ(error.code(), PULSE_ERR_SERVER_OOM);
  EXPECT_EQ(error.message().size(), PULSE_ERROR_MESSAGE_BYTES - 1U);
  EXPECT_EQ(error.message().data()[error.message().size()], '\0');
}

TEST(ServerInfo, RedisAndValkey) {
  ServerInfo redis =
      ServerInfo::parse("# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\n");
  EXPECT_TRUE(redis.known);
  EXPECT_FALSE(redis.valkey);
  EXPECT_EQ(redis.text(), "redis 7.0.15");
  EXPECT_TRUE(redis.at_least(7, 0));
  EXPECT_TRUE(redis.at_least(6, 2));
  EXPECT_FALSE(redis.at_least(7, 1));
  EXPECT_FALSE(redis.at_least(8, 0));
  ServerInfo valkey = ServerInfo::parse(
      "# Server\r\nredis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.1\r\n");
  EXPECT_TRUE(valkey.valkey);
  EXPECT_EQ(valkey.text(), "valkey 8.1.1");
  EXPECT_EQ(valkey.major, 7);
}

TEST(ServerInfo, CommandsByVersion) {
  struct {
    const char* version;
    bool autoclaim, nomkstream, entries_added;
  } rows[] = {
      {"5.0.14", false, false, false}, {"6.0.16", false, false, false},
      {"6.2.0", true, true, false},    {"7.0.0", true, true, true},
      {"10.0.0", true, true, true},
  };
  for (const auto& row : rows) {
    ServerInfo info = ServerInfo::parse("redis_version:" + std::string(row.version) + "\r\n");
    EXPECT_EQ(info.has_xautoclaim(), row.autoclaim) << row.version;
    EXPECT_EQ(info.has_nomkstream(), row.nomkstream) << row.version;
    EXPECT_EQ(info.has_createconsumer(), row.autoclaim) << row.version;
    EXPECT_EQ(info.has_entries_added(), row.entries_added) << row.version;
  }
}

TEST(ServerInfo, WhatCannotBeReadIsNotKnown) {
  for (const char* text : {"", "\r\n", "redis_version", "redis_version:", "redis_version:x.y.z\r\n",
                           "xredis_version:7.0.0\r\n", "redis_version:7.0\r\n",
                           "redis_version:99999999999999.0.0\r\n"}) {
    ServerInfo info = ServerInfo::parse(text);
    EXPECT_FALSE(info.known) << text;
    EXPECT_EQ(info.text(), "") << text;
    EXPECT_FALSE(info.has_xautoclaim()) << text;  // the careful choice
  }
}

TEST(ServerInfo, TheLastLineNeedsNoEnd) {
  EXPECT_TRUE(ServerInfo::parse("redis_version:6.2.1").known);
}

}  // namespace
}  // namespace pulseengine
