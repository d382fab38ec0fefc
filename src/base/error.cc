#include "base/error.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <system_error>

namespace pulseengine {

Error::Error(pulse_status code, std::string_view message, uint32_t flags, int system_errno)
    : code_(code), flags_(flags), errno_(system_errno) {
  length_ = static_cast<uint16_t>(std::min(message.size(), sizeof message_ - 1));
  if (length_ > 0) std::memcpy(message_, message.data(), length_);
}

Error Error::format_message(pulse_status code, uint32_t flags, fmt::string_view format,
                            fmt::format_args args) {
  Error e;
  e.code_ = code;
  e.flags_ = flags;
  auto end = fmt::vformat_to_n(e.message_, sizeof e.message_ - 1, format, args);
  e.length_ = static_cast<uint16_t>(end.out - e.message_);
  return e;
}

Error Error::system(pulse_status code, std::string_view what, int system_errno, uint32_t flags) {
  char text[128];
  // The GNU variant: returns the text, which may or may not stand in the buffer.
  const char* reason = strerror_r(system_errno, text, sizeof text);
  Error e = make(code, flags, "{}: {}", what, reason);
  e.errno_ = system_errno;
  return e;
}

pulse_status Error::report(pulse_error* out) const noexcept {
  if (out == nullptr || out->size < offsetof(pulse_error, message)) return code_;
  out->code = code_;
  out->flags = flags_;
  out->system_errno = errno_;
  size_t room = std::min(out->size - offsetof(pulse_error, message), sizeof out->message);
  if (room == 0) return code_;
  size_t n = std::min<size_t>(length_, room - 1);
  std::memcpy(out->message, message_, n);
  out->message[n] = '\0';
  return code_;
}

}  // namespace pulseengine
