// Commands as RESP.
#include "redis/writer.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

namespace pulseengine {
namespace {

constexpr Script kScript{"test", "return redis.call('PING')",
                         "0123456789abcdef0123456789abcdef01234567"};

std::string text_of(const OutboxBuffer& buffer) {
  iovec vectors[64];
  int n = buffer.vectors(vectors, 64);
  std::string text;
  for (int i = 0; i < n; i++) {
    text.append(static_cast<const char*>(vectors[i].iov_base), vectors[i].iov_len);
  }
  return text;
}

template <class F>
std::string written(F write) {
  OutboxBuffer buffer;
  CommandWriter writer(buffer);
  write(writer);
  return text_of(buffer);
}

TEST(Writer, CommandsOfTextsAndNumbers) {
  EXPECT_EQ(written([](CommandWriter& w) { w.command("PING"); }), "*1\r\n$4\r\nPING\r\n");
  EXPECT_EQ(written([](CommandWriter& w) { w.command("SELECT", 12); }),
            "*2\r\n$6\r\nSELECT\r\n$2\r\n12\r\n");
  EXPECT_EQ(written([](CommandWriter& w) {
              w.begin(3);
              w.arg(std::string_view("a\0\r\n", 4));
              w.arg(INT64_MIN);
              w.arg("");
            }),
            std::string("*3\r\n$4\r\na\0\r\n\r\n$20\r\n-9223372036854775808\r\n$0\r\n\r\n", 47));
}

TEST(Writer, EventIds) {
  EXPECT_EQ(written([](CommandWriter& w) { w.arg_id(0, 0); }), "$3\r\n0-0\r\n");
  EXPECT_EQ(written([](CommandWriter& w) { w.arg_id(UINT64_MAX, UINT64_MAX); }),
            "$41\r\n18446744073709551615-18446744073709551615\r\n");
}

TEST(Writer, JoinedArgumentsAreOne) {
  EXPECT_EQ(written([](CommandWriter& w) { w.joined_arg("h:", "name"); }), "$6\r\nh:name\r\n");
}

TEST(Writer, LargeBytesAreReferencedAndSmallOnesCopied) {
  for (size_t size :
       {size_t{0}, size_t{5}, size_t{16 * 1024 - 1}, size_t{16 * 1024}, size_t{99999}}) {
    std::string payload(size, 'p');
    bool gone = false;
    OutboxBuffer buffer;
    CommandWriter writer(buffer);
    {
      Ref<Bytes> bytes =
          Bytes::borrow(payload, &gone, [](void* g) { *static_cast<bool*>(g) = true; });
      writer.arg(bytes);
    }
    EXPECT_EQ(gone, size < 16 * 1024) << size;
    EXPECT_EQ(text_of(buffer), "$" + std::to_string(size) + "\r\n" + payload + "\r\n");
  }
}

TEST(Writer, ScriptsByDigestAndByText) {
  EXPECT_EQ(written([](CommandWriter& w) {
              w.begin_script(kScript, false, 1, 1);
              w.arg("key");
              w.arg("value");
            }),
            "*5\r\n$7\r\nEVALSHA\r\n$40\r\n0123456789abcdef0123456789abcdef01234567\r\n$1\r\n1\r\n"
            "$3\r\nkey\r\n$5\r\nvalue\r\n");
  EXPECT_EQ(written([](CommandWriter& w) { w.begin_script(kScript, true, 0, 0); }),
            "*3\r\n$4\r\nEVAL\r\n$25\r\nreturn redis.call('PING')\r\n$1\r\n0\r\n");
}

// Whatever the arguments, the rewritten command is the one that EVAL would have been.
TEST(Writer, AsEvalRewritesTheHeadAlone) {
  for (size_t args : {size_t{0}, size_t{1}, size_t{9}, size_t{200}}) {
    auto write = [&](CommandWriter& w, bool eval) {
      w.begin_script(kScript, eval, 1, args);
      w.arg("$7\r\nEVALSHA\r\n");  // looks like the head, and must stay
      for (size_t i = 0; i < args; i++) w.arg(static_cast<int64_t>(i));
    };
    std::string by_digest = written([&](CommandWriter& w) { write(w, false); });
    EXPECT_EQ(written([&](CommandWriter& w) { w.as_eval(by_digest, kScript); }),
              written([&](CommandWriter& w) { write(w, true); }));
  }
}

TEST(Writer, SinceGivesWhatWasWrittenBehindOthers) {
  OutboxBuffer buffer;
  CommandWriter writer(buffer);
  writer.command("FIRST");
  size_t before = writer.size();
  writer.command("SECOND");
  EXPECT_EQ(writer.since(before), "*1\r\n$6\r\nSECOND\r\n");
}

}  // namespace
}  // namespace pulseengine
