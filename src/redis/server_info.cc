#include "redis/server_info.h"

#include <fmt/format.h>

#include <charconv>

namespace pulseengine {
namespace {

// The value of "name:value\r\n", or empty.
std::string_view field(std::string_view info, std::string_view name) {
  size_t at = 0;
  while (at < info.size()) {
    size_t end = info.find("\r\n", at);
    if (end == std::string_view::npos) end = info.size();
    std::string_view line = info.substr(at, end - at);
    if (line.size() > name.size() && line.substr(0, name.size()) == name &&
        line[name.size()] == ':') {
      return line.substr(name.size() + 1);
    }
    at = end + 2;
  }
  return {};
}

bool parse_version(std::string_view text, int& major, int& minor, int& patch) {
  const char* p = text.data();
  const char* end = p + text.size();
  for (int* part : {&major, &minor, &patch}) {
    auto result = std::from_chars(p, end, *part);
    if (result.ec != std::errc()) return false;
    p = result.ptr;
    if (p != end && *p == '.') p++;
  }
  return true;
}

}  // namespace

ServerInfo ServerInfo::parse(std::string_view info) {
  ServerInfo server;
  server.known =
      parse_version(field(info, "redis_version"), server.major, server.minor, server.patch);
  server.valkey = parse_version(field(info, "valkey_version"), server.own_major, server.own_minor,
                                server.own_patch);
  return server;
}

String ServerInfo::text() const {
  if (!known) return String();
  char text[64];
  auto end = valkey ? fmt::format_to_n(text, sizeof text, "valkey {}.{}.{}", own_major, own_minor,
                                       own_patch)
                    : fmt::format_to_n(text, sizeof text, "redis {}.{}.{}", major, minor, patch);
  return String(text, end.out);
}

}  // namespace pulseengine
