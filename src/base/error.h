// A status with its details, as the public pulse_error, but never truncated by
// an older caller's struct.  No allocation: errors must also report that memory is short.
// Success costs as much as a status: only the text that is there is ever touched.
#ifndef PULSE_BASE_ERROR_H
#define PULSE_BASE_ERROR_H

#include <fmt/core.h>

#include <cstring>
#include <string_view>

#include "pulseengine/status.h"

namespace pulseengine {

class Error {
 public:
  Error() noexcept { message_[0] = '\0'; }  // the rest stays as it is
  Error(const Error& other) noexcept { *this = other; }
  Error& operator=(const Error& other) noexcept {
    if (this == &other) return *this;
    code_ = other.code_;
    flags_ = other.flags_;
    errno_ = other.errno_;
    length_ = other.length_;
    message_[0] = '\0';
    if (length_ > 0) std::memcpy(message_, other.message_, length_ + size_t{1});
    return *this;
  }
  ~Error() = default;
  Error(pulse_status code, std::string_view message, uint32_t flags = 0, int system_errno = 0);

  // Formats the message, cut at its capacity.
  template <class... Args>
  static Error make(pulse_status code, uint32_t flags, fmt::format_string<Args...> format,
                    const Args&... args) {
    return format_message(code, flags, format, fmt::make_format_args(args...));
  }
  // "<what>: <strerror>"
  static Error system(pulse_status code, std::string_view what, int system_errno,
                      uint32_t flags = PULSE_ERROR_RETRIABLE);

  bool ok() const { return code_ == PULSE_OK; }
  pulse_status code() const { return code_; }
  uint32_t flags() const { return flags_; }
  int system_errno() const { return errno_; }
  std::string_view message() const { return {message_, length_}; }
  // The server has answered so, and would again.
  bool is_final() const {
    return (flags_ & (PULSE_ERROR_SERVER | PULSE_ERROR_RETRIABLE)) == PULSE_ERROR_SERVER;
  }

  Error& add_flags(uint32_t flags) {
    flags_ |= flags;
    return *this;
  }

  // Fills the caller's struct as far as its size reaches.  Null is allowed.
  pulse_status report(pulse_error* out) const noexcept;

 private:
  static Error format_message(pulse_status code, uint32_t flags, fmt::string_view format,
                              fmt::format_args args);

  pulse_status code_ = PULSE_OK;
  uint32_t flags_ = 0;
  int errno_ = 0;
  uint16_t length_ = 0;
  char message_[PULSE_ERROR_MESSAGE_BYTES];  // NUL-terminated
};

}  // namespace pulseengine

#endif
