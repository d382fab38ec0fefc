// Any text as a URL: refused with an error, or taken; then what is logged of it holds no password
// and can be parsed again.
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
  String shown = redacted(url);
  // Short passwords may stand in a text by chance.
  if (url.password.size() > 12 && shown.find(url.password) != String::npos &&
      url.host.find(url.password) == String::npos && url.path.find(url.password) == String::npos &&
      url.user.find(url.password) == String::npos && url.ca.find(url.password) == String::npos &&
      url.cert.find(url.password) == String::npos && url.key.find(url.password) == String::npos &&
      url.sni.find(url.password) == String::npos) {
    abort();
  }
  return 0;
}
