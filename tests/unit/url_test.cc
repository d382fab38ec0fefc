// The URL parser: every form of the grammar, every way to get it wrong, and no
// password in any text that comes out of it.
#include "redis/url.h"

#include <gtest/gtest.h>

#include <string>

namespace pulseengine {
namespace {

std::string message(const Error& error) { return std::string(error.message()); }

Url parsed(const std::string& text) {
  Url url;
  Error error = parse_url(text, &url);
  EXPECT_TRUE(error.ok()) << text << ": " << error.message();
  return url;
}

std::string refusal(const std::string& text) {
  Url url;
  url.host = "untouched";
  Error error = parse_url(text, &url);
  EXPECT_EQ(error.code(), PULSE_ERR_INVALID) << text;
  EXPECT_EQ(url.host, "untouched") << text;
  return message(error);
}

TEST(Url, HostAlone) {
  Url url = parsed("redis://example.com");
  EXPECT_EQ(url.scheme, Url::Scheme::tcp);
  EXPECT_EQ(url.host, "example.com");
  EXPECT_EQ(url.port, 6379);
  EXPECT_EQ(url.db, 0);
  EXPECT_EQ(url.user, "");
  EXPECT_EQ(url.password, "");
}

TEST(Url, AllParts) {
  Url url = parsed("REDIS://joe:s3cret@10.0.0.1:7000/12");
  EXPECT_EQ(url.host, "10.0.0.1");
  EXPECT_EQ(url.port, 7000);
  EXPECT_EQ(url.db, 12);
  EXPECT_EQ(url.user, "joe");
  EXPECT_EQ(url.password, "s3cret");
}

TEST(Url, PasswordAlone) {
  Url url = parsed("redis://:pw@h/");
  EXPECT_EQ(url.user, "");
  EXPECT_EQ(url.password, "pw");
  EXPECT_EQ(url.db, 0);
}

TEST(Url, UserAlone) {
  Url url = parsed("redis://joe@h");
  EXPECT_EQ(url.user, "joe");
  EXPECT_EQ(url.password, "");
}

TEST(Url, ColonAndAtInPassword) {
  Url url = parsed("redis://joe:a:b@c@h:1");
  EXPECT_EQ(url.user, "joe");
  EXPECT_EQ(url.password, "a:b@c");
  EXPECT_EQ(url.host, "h");
  EXPECT_EQ(url.port, 1);
}

TEST(Url, PercentDecoding) {
  Url url = parsed("redis://j%6Fe%3a:%2F%3f%23%25%ff@h");
  EXPECT_EQ(url.user, "joe:");
  EXPECT_EQ(url.password, "/?#%\xff");
  // Once only.
  EXPECT_EQ(parsed("redis://:%2541@h").password, "%41");
  EXPECT_EQ(parsed("redis://:a+b@h").password, "a+b");
}

TEST(Url, Ipv6) {
  Url url = parsed("redis://[::1]:7000/1");
  EXPECT_EQ(url.host, "::1");
  EXPECT_EQ(url.port, 7000);
  EXPECT_EQ(parsed("redis://[2001:db8::1]").host, "2001:db8::1");
  EXPECT_EQ(parsed("redis://u:p@[fe80::1%25eth0]").host, "fe80::1%eth0");
}

TEST(Url, Tls) {
  Url url = parsed(
      "rediss://h:6380/2?ca=/etc/ca%20s.pem&cert=/c.pem&key=/k.pem&sni=other.name&verify=ca");
  EXPECT_EQ(url.scheme, Url::Scheme::tls);
  EXPECT_EQ(url.port, 6380);
  EXPECT_EQ(url.db, 2);
  EXPECT_EQ(url.ca, "/etc/ca s.pem");
  EXPECT_EQ(url.cert, "/c.pem");
  EXPECT_EQ(url.key, "/k.pem");
  EXPECT_EQ(url.sni, "other.name");
  EXPECT_EQ(url.verify, Url::Verify::ca);
  EXPECT_EQ(parsed("rediss://h").verify, Url::Verify::full);
  EXPECT_EQ(parsed("rediss://h?verify=full").verify, Url::Verify::full);
  EXPECT_EQ(parsed("rediss://h?verify=none").verify, Url::Verify::none);
  EXPECT_EQ(parsed("rediss://h?cert=/both.pem").key, "");
}

TEST(Url, Unix) {
  Url url = parsed("unix:///run/redis/a%20b.sock?db=3&user=joe&password=p%26w%40");
  EXPECT_EQ(url.scheme, Url::Scheme::unix_socket);
  EXPECT_EQ(url.path, "/run/redis/a b.sock");
  EXPECT_EQ(url.db, 3);
  EXPECT_EQ(url.user, "joe");
  EXPECT_EQ(url.password, "p&w@");
}

TEST(Url, UnixPathLimit) {
  std::string longest = "/" + std::string(106, 'x');
  EXPECT_EQ(parsed("unix://" + longest).path.size(), 107u);
  // Counted after decoding.
  EXPECT_EQ(parsed("unix:///%78" + std::string(105, 'x')).path.size(), 107u);
  EXPECT_NE(refusal("unix://" + longest + "x").find("107"), std::string::npos);
}

TEST(Url, Local) {
  Url url = parsed("local:");
  EXPECT_EQ(url.scheme, Url::Scheme::local);
  EXPECT_EQ(url.path, "");
  EXPECT_EQ(parsed("local:///var/lib/my%20data").path, "/var/lib/my data");
  // A directory is no socket: its length has other limits.
  EXPECT_EQ(parsed("local:///" + std::string(300, 'd')).path.size(), 301u);
}

TEST(Url, RefusedSayWhichPart) {
  struct {
    std::string text, part;
  } cases[] = {
      {"", "does not begin"},
      {"example.com:6379", "does not begin"},
      {"http://h", "does not begin"},
      {"redis:h", "does not begin"},
      {"redis://", "host: missing"},
      {"redis://:6379", "host: missing"},
      {"redis://u:p@", "host: missing"},
      {"redis:///1", "host: missing"},
      {"redis://h:", "port"},
      {"redis://h:0", "port"},
      {"redis://h:65536", "port"},
      {"redis://h:6379x", "port"},
      {"redis://h:-1", "port"},
      {"redis://h:+1", "port"},
      {"redis://h:99999999999999999999", "port"},
      {"redis://::1", "IPv6"},
      {"redis://[::1", "']'"},
      {"redis://[::1]x", "']'"},
      {"redis://[::1]:", "port"},
      {"redis://[h]", "IPv6"},
      {"redis://[]", "IPv6"},
      {"redis://a b", "host"},
      {"redis://a%2fb", "host"},
      {"redis://h/x", "db"},
      {"redis://h/-1", "db"},
      {"redis://h/1/", "db"},
      {"redis://h/1/2", "db"},
      {"redis://h/2147483648", "db"},
      {"redis://h#x", "%23"},
      {"redis://u:%@h", "password"},
      {"redis://u:%4@h", "password"},
      {"redis://%zz:p@h", "user"},
      {"redis://h%4g", "host"},
      {"redis://u:a%00b@h", "password: NUL"},
      {"redis://u%00:p@h", "user: NUL"},
      {"redis://h%00", "host: NUL"},
      {"unix:///a%00b", "path: NUL"},
      {"local:///a%00b", "path: NUL"},
      {"unix:///s?password=a%00", "password: NUL"},
      {"rediss://h?ca=%00", "ca: NUL"},
      {std::string("redis://h\0x", 11), "control"},
      {"redis://h\n", "control"},
      {"redis://h?bogus=1", "parameter bogus is unknown"},
      {"redis://h?db=1", "parameter db is only for unix://"},
      {"redis://h?ca=/x", "parameter ca is only for rediss://"},
      {"redis://h?verify=none", "parameter verify is only for rediss://"},
      {"rediss://h?bogus", "parameter bogus is unknown"},
      {"rediss://h?CA=/x", "parameter CA is unknown"},
      {"rediss://h?ca=/x&ca=/x", "parameter ca is there twice"},
      {"rediss://h?verify=full&verify=none", "parameter verify is there twice"},
      {"rediss://h?ca", "parameter ca has no value"},
      {"rediss://h?ca=", "parameter ca is empty"},
      {"rediss://h?sni=", "parameter sni is empty"},
      {"rediss://h?verify=maybe", "verify"},
      {"rediss://h?verify=FULL", "verify"},
      {"rediss://h?key=/k", "key needs cert"},
      {"rediss://h?&ca=/x", "unknown"},
      {"rediss://h?sni=a&&ca=/x", "unknown"},
      {"unix://", "unix:///"},
      {"unix:///", "unix:///"},
      {"unix://relative/x", "unix:///"},
      {"unix:///s?db=x", "db"},
      {"unix:///s?db=1&db=1", "parameter db is there twice"},
      {"unix:///s?verify=none", "parameter verify is only for rediss://"},
      {"local:/dir", "local:///directory"},
      {"local://", "local:///directory"},
      {"local:///", "local:///directory"},
      {"local://dir", "local:///directory"},
      {"local:?db=1", "parameter db is only for unix://"},
      {"local:///d?idle=1", "parameter idle is unknown"},
      {"redis://" + std::string(8192, 'h'), "8192"},
  };
  for (const auto& c : cases) {
    EXPECT_NE(refusal(c.text).find(c.part), std::string::npos)
        << c.text << " said: " << refusal(c.text);
  }
}

// Whatever is wrong, and wherever the password stands.
TEST(Url, NoPasswordInRefusals) {
  const char* urls[] = {
      "hunter2",
      "hunter2@h",
      "joe:hunter2@h",
      "http://joe:hunter2@h",
      "redis://joe:hunter2@",
      "redis://joe:hunter2",
      "redis://hunter2:x",
      "redis://joe:hunter2@h:x",
      "redis://joe:hunter2@h:1:2",
      "redis://joe:hunter2@[::1",
      "redis://joe:hunter2@h/x",
      "redis://joe:hunter2@h?bogus=1",
      "redis://joe:hunter2%@h",
      "redis://joe:%00hunter2@h",
      "redis://joe:a/hunter2@h",
      "redis://joe:a?hunter2@h",
      "redis://joe:a?hunter2=@h",
      "redis://joe:a?x=hunter2&hunter2@h",
      "redis://joe:a#hunter2@h",
      "redis://joe:a?hunter2",
      "redis://h/hunter2",
      "redis://h?password=hunter2",
      "rediss://h?verify=hunter2",
      "unix:///s?password=hunter2&password=hunter2",
      "unix:///s?password=hunter2%",
      "unix:///s?password=x&hunter",
      "unix:///s?password=x&hunter=2",
      "unix:///s?pass=hunter2",
      "unix:///s?db=hunter2",
      "unix://joe:hunter2@/s",
      "local:hunter2",
      "local://joe:hunter2@/d",
      "local:?password=hunter2",
  };
  for (const char* text : urls) {
    std::string said = refusal(text);
    EXPECT_EQ(said.find("hunter"), std::string::npos) << said;
    EXPECT_NE(said, "");
  }
}

TEST(Url, Redacted) {
  auto shown = [](const std::string& text) {
    String s = redacted(parsed(text));
    return std::string(s.data(), s.size());
  };
  EXPECT_EQ(shown("redis://joe:hunter2@h:7/3"), "redis://joe:***@h:7/3");
  EXPECT_EQ(shown("redis://:hunter2@h"), "redis://:***@h:6379");
  EXPECT_EQ(shown("redis://hunter2@h"), "redis://***@h:6379");
  EXPECT_EQ(shown("redis://[::1]"), "redis://[::1]:6379");
  EXPECT_EQ(shown("redis://[fe80::1%25eth0]"), "redis://[fe80::1%25eth0]:6379");
  EXPECT_EQ(shown("rediss://u:p@h?verify=none&ca=/a%20b"),
            "rediss://u:***@h:6379?ca=/a%20b&verify=none");
  EXPECT_EQ(shown("unix:///s?db=2&user=joe&password=hunter2"),
            "unix:///s?db=2&user=joe&password=***");
  EXPECT_EQ(shown("unix:///s%3f?user=hunter2"), "unix:///s%3F?user=***");
  EXPECT_EQ(shown("local:"), "local:");
  EXPECT_EQ(shown("local:///d%20e"), "local:///d%20e");
}

}  // namespace
}  // namespace pulseengine
