// Any text as a URL: refused with an error, or taken; then what is logged of it does not depend on
// the password.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "redis/url.h"

using namespace pulseengine;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  Url url;
  Error error = parse_url(text, &url);
  if (!error.ok()) {
    if (error.code() != PULSE_ERR_INVALID || error.message().empty()) abort();
    return 0;
  }
  if (url.path.size() > kMaxSocketPath && url.scheme == Url::Scheme::unix_socket) abort();
  // Whatever the password is, the text for logs is the same.
  if (!url.password.empty()) {
    Url other = url;
    other.password = String(1, url.password == "x" ? 'y' : 'x');
    if (redacted(other) != redacted(url)) abort();
  }
  return 0;
}
