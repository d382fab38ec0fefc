// What every function of the C API does first and last.
#ifndef PULSE_CAPI_GUARD_H
#define PULSE_CAPI_GUARD_H

#include <algorithm>
#include <cstring>
#include <new>

#include "base/error.h"
#include "engine/delivery.h"

namespace pulseengine {

// Runs f, which returns an Error; nothing thrown gets out.
template <class F>
pulse_status guard(pulse_error* error, F f) noexcept {
  try {
    Error result = f();
    return result.ok() ? PULSE_OK : result.report(error);
  } catch (const std::bad_alloc&) {
    return Error(PULSE_ERR_NO_MEMORY, "out of memory").report(error);
  } catch (...) {
    return Error(PULSE_ERR_INTERNAL, "an unexpected exception").report(error);
  }
}

inline Error null_argument(std::string_view what) {
  Error error = Error::make(PULSE_ERR_INVALID, 0, "{} must not be NULL", what);
  if (error.ok()) __builtin_unreachable();  // for those who analyse what callers do with null
  return error;
}

// A sized struct of the caller: what it has of the fields is copied over the zeros of *out.  Null
// gives all zeros.  Bytes beyond what is known here must be zero.
template <class T>
Error take_options(const T* given, T* out, std::string_view what) {
  std::memset(static_cast<void*>(out), 0, sizeof *out);
  out->size = sizeof *out;
  if (given == nullptr) return {};
  size_t size = given->size;
  if (size < sizeof(size_t)) {
    return Error::make(PULSE_ERR_STRUCT_SIZE, 0, "{}: size {} is no size of this struct", what,
                       size);
  }
  // First of all, so that what was handed over is known even if the call fails.
  std::memcpy(static_cast<void*>(out), given, std::min(size, sizeof *out));
  out->size = sizeof *out;
  const auto* bytes = reinterpret_cast<const char*>(given);
  for (size_t i = sizeof *out; i < size; i++) {
    if (bytes[i] != 0) {
      return Error::make(PULSE_ERR_UNKNOWN_OPTION, 0,
                         "{}: byte {} is set, but this library knows only {} bytes", what, i,
                         sizeof *out);
    }
  }
  return {};
}

// Fills the caller's sized struct as far as it reaches.
template <class T>
Error give_struct(const T& value, T* out, std::string_view what) {
  if (out == nullptr) return null_argument(what);
  size_t size = out->size;
  if (size < sizeof(size_t)) {
    return Error::make(PULSE_ERR_STRUCT_SIZE, 0, "{}: size {} is no size of this struct", what,
                       size);
  }
  std::memcpy(static_cast<void*>(out), &value, std::min(size, sizeof value));
  out->size = size;
  return {};
}

// Takes over the caller's target; from here on its destroy runs whatever happens.  *out is empty.
Error take_any_target(const pulse_target* given, Target* out);
inline Error take_target(const pulse_target* given, Target* out) {
  // Nearly always: a callback, from a program that knows the struct as it is here.
  if (given != nullptr && given->size == sizeof *given && given->queue == nullptr) {
    out->set_callback(given->callback, given->user_data, given->destroy, given->token);
    return {};
  }
  return take_any_target(given, out);
}
// The same where somebody must be told.
Error take_required_target(const pulse_target* given, Target* out);

// The longest time an option takes, in ms: some 35 years.  Sums stay far from overflow.
constexpr int64_t kMaxMs = int64_t{1} << 40;

// An option with a default (for 0) and bounds; -1 where `forever` is allowed.
Error take_number(std::string_view what, int64_t given, int64_t standard, int64_t least,
                  int64_t most, bool forever, int64_t* out);
// A switch: 0 or 1.
Error take_switch(std::string_view what, int32_t given, bool* out);
// Pointer and length; null with length 0 is empty.
Error no_text(std::string_view what, size_t length);
inline Error take_text(std::string_view what, const void* text, size_t length,
                       std::string_view* out) {
  if (text == nullptr && length > 0) return no_text(what, length);
  *out = text == nullptr ? std::string_view()
                         : std::string_view(static_cast<const char*>(text), length);
  return {};
}

}  // namespace pulseengine

#endif
