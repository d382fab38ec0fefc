// pulseengine local status|stop: what the private server of the local: URLs does, and its end.

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "failure.h"
#include "verbs.h"

namespace cli {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// The directory of "local:///directory", percent-decoded; empty for "local:".
std::string directory_of(const std::string& url) {
  constexpr char kScheme[] = "local:";
  if (url.compare(0, sizeof kScheme - 1, kScheme) != 0) {
    throw Failure(kExitUsage, "local: the URL (--url, $PULSE_URL) is not a local: one");
  }
  std::string rest = url.substr(sizeof kScheme - 1);
  if (rest.empty() || rest == "//") return {};
  if (rest.compare(0, 2, "//") == 0) rest.erase(0, 2);
  if (rest[0] != '/') {
    throw Failure(kExitUsage, "local: write local: or local:///directory");
  }
  std::string directory;
  for (size_t i = 0; i < rest.size(); ++i) {
    const int high = i + 2 < rest.size() ? hex_digit(rest[i + 1]) : -1;
    const int low = high >= 0 ? hex_digit(rest[i + 2]) : -1;
    if (rest[i] == '%' && low >= 0) {
      directory += static_cast<char>(high * 16 + low);
      i += 2;
    } else {
      directory += rest[i];
    }
  }
  return directory;
}

// Becomes the helper: it prints the JSON, and its exit codes are ours.
int run_helper(const GlobalOptions& global, const char* verb) {
  const std::string directory = directory_of(global.url);
  const char* from_environment = std::getenv("PULSE_LOCAL_HELPER");
  const std::string helper =
      from_environment && *from_environment ? from_environment : PULSE_LOCAL_HELPER_PATH;
  if (directory.empty()) {
    execl(helper.c_str(), helper.c_str(), verb, static_cast<char*>(nullptr));
  } else {
    execl(helper.c_str(), helper.c_str(), verb, "--dir", directory.c_str(),
          static_cast<char*>(nullptr));
  }
  throw Failure(kExitFailed, "cannot run " + helper + ": " + strerror(errno));
}

}  // namespace

int local_status(const GlobalOptions& global) { return run_helper(global, "status"); }

int local_stop(const GlobalOptions& global) { return run_helper(global, "stop"); }

}  // namespace cli
