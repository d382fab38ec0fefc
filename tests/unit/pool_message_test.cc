// The payloads of a pool's events, against those that were recorded and against nonsense.
#include "pool/pool_message.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "wire_vectors.h"

namespace pulseengine {
namespace {

std::string std_string(const String& text) { return {text.data(), text.size()}; }

template <class Message>
std::string bytes_of(const Message& message) {
  String out("before");
  append_message(message, &out);
  EXPECT_EQ(out.substr(0, 6), "before");
  return std_string(out.substr(6));
}

std::string bytes_of_key(std::string_view key) {
  String out;
  append_job_key(key, &out);
  return std_string(out);
}

TEST(PoolMessage, IsAsRecorded) {
  std::map<std::string, int> seen;
  for (const auto& words : wire_vectors("pool-messages.txt")) {
    const std::string& bytes = words.back();
    SCOPED_TRACE(words[0] + " " + words[1]);
    seen[words[0]]++;
    if (words[0] == "job") {
      ASSERT_EQ(words.size(), 7U);
      JobMessage job;
      ASSERT_TRUE(parse_message(bytes, &job));
      EXPECT_EQ(job.key, words[1]);
      EXPECT_EQ(job.node, words[2]);
      EXPECT_EQ(job.payload, words[3]);
      EXPECT_EQ(std::to_string(job.created_ns), words[4]);
      EXPECT_EQ(job.requeued, words[5] == "1");
      EXPECT_EQ(bytes_of(job), bytes);
    } else if (words[0] == "key") {
      std::string_view key;
      ASSERT_TRUE(parse_job_key(bytes, &key));
      EXPECT_EQ(key, words[1]);
      EXPECT_EQ(bytes_of_key(key), bytes);
    } else if (words[0] == "notification") {
      PoolNotification notification;
      ASSERT_TRUE(parse_message(bytes, &notification));
      EXPECT_EQ(notification.key, words[1]);
      EXPECT_EQ(notification.payload, words[2]);
      EXPECT_EQ(bytes_of(notification), bytes);
    } else if (words[0] == "envelope") {
      PoolEnvelope envelope;
      ASSERT_TRUE(parse_message(bytes, &envelope));
      EXPECT_EQ(envelope.sender, words[1]);
      EXPECT_EQ(envelope.payload, words[2]);
      EXPECT_EQ(bytes_of(envelope), bytes);
    } else {
      ASSERT_EQ(words[0], "ack");
      PoolAck ack;
      ASSERT_TRUE(parse_message(bytes, &ack));
      EXPECT_EQ(ack.event, words[1]);
      EXPECT_EQ(ack.error, words[2]);
      EXPECT_EQ(bytes_of(ack), bytes);
    }
  }
  for (const char* kind : {"job", "key", "notification", "envelope", "ack"}) {
    EXPECT_GT(seen[kind], 0) << kind;
  }
}

TEST(PoolMessage, HoldsAnyBytes) {
  const std::string all("\0\xff\r\n\"\x80 ", 7);
  for (int64_t created : {INT64_MIN, int64_t{-1}, int64_t{0}, INT64_MAX}) {
    const std::string bytes =
        bytes_of(JobMessage{all, "", std::string(100000, 'p'), created, true});
    JobMessage job;
    ASSERT_TRUE(parse_message(bytes, &job));
    EXPECT_EQ(job.key, all);
    EXPECT_EQ(job.node, "");
    EXPECT_EQ(job.payload, std::string(100000, 'p'));
    EXPECT_EQ(job.created_ns, created);
    EXPECT_TRUE(job.requeued);
  }
  EXPECT_EQ(bytes_of(PoolAck{"", ""}), std::string(8, '\0'));
  EXPECT_EQ(bytes_of(PoolEnvelope{"\1", "\2\3"}), std::string("\1\0\0\0\1\2\0\0\0\2\3", 11));
}

TEST(PoolMessage, AJobOfAnOldPeerIsNotRequeued) {
  std::string bytes = bytes_of(JobMessage{"key", "node", "payload", 7, true});
  bytes.pop_back();
  JobMessage job;
  job.requeued = true;
  ASSERT_TRUE(parse_message(bytes, &job));
  EXPECT_EQ(job.created_ns, 7);
  EXPECT_FALSE(job.requeued);
  // Any other value than 0 is true.
  ASSERT_TRUE(parse_message(bytes + '\x80', &job));
  EXPECT_TRUE(job.requeued);
}

// Each cut text in memory of its own, so that a sanitizer sees what is read behind it.
template <class Parse>
void expect_cuts_are_refused(const std::string& whole, size_t shortest, Parse parse) {
  for (size_t size = 0; size < whole.size(); size++) {
    const std::vector<char> cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_EQ(parse(std::string_view(cut.data(), cut.size())), size >= shortest) << size;
  }
  EXPECT_TRUE(parse(whole));
  EXPECT_TRUE(parse(whole + "what a later version adds"));
}

template <class Message>
void expect_cuts_are_refused(const Message& message, size_t optional) {
  const std::string whole = bytes_of(message);
  expect_cuts_are_refused(whole, whole.size() - optional, [](std::string_view text) {
    Message parsed;
    return parse_message(text, &parsed);
  });
}

TEST(PoolMessage, WhatEndsTooEarlyIsRefused) {
  expect_cuts_are_refused(JobMessage{"key", "node", "payload", 1, false}, 1);
  expect_cuts_are_refused(PoolNotification{"key", "payload"}, 0);
  expect_cuts_are_refused(PoolEnvelope{"sender", "payload"}, 0);
  expect_cuts_are_refused(PoolAck{"1-1", "error"}, 0);
  const std::string key = bytes_of_key("key");
  expect_cuts_are_refused(key, key.size(), [](std::string_view text) {
    std::string_view parsed;
    return parse_job_key(text, &parsed);
  });
}

TEST(PoolMessage, LengthsBeyondTheEndAreRefused) {
  for (const char* size :
       {"\xff\xff\xff\xff", "\xff\xff\xff\x7f", "\x00\x00\x00\x80", "\x0d\x00\x00\x00"}) {
    const std::string text = std::string(size, 4) + std::string(12, '\0');
    std::string_view key;
    EXPECT_FALSE(parse_job_key(text, &key));
    JobMessage job;
    EXPECT_FALSE(parse_message(text, &job));
    EXPECT_FALSE(parse_message(bytes_of_key("key") + text, &job));
    PoolNotification notification;
    EXPECT_FALSE(parse_message(bytes_of_key("key") + text, &notification));
  }
}

}  // namespace
}  // namespace pulseengine
