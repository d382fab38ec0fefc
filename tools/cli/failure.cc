#include "failure.h"

namespace cli {
namespace {

[[noreturn]] void raise(pulse_status status, std::string why, uint32_t flags,
                        const std::string& what) {
  if (why.empty()) why = pulse_status_message(status);
  if (flags & PULSE_ERROR_OUTCOME_UNKNOWN) why += " (it may have been done all the same)";
  throw Failure(status == PULSE_ERR_INVALID ? kExitUsage : kExitFailed,
                what + ": " + why + " [" + pulse_status_name(status) + "]");
}

}  // namespace

void check(pulse_status status, const pulse_error& error, const std::string& what) {
  if (status == PULSE_OK) return;
  raise(status, error.message, error.flags, what);
}

void check(const pulse_event& event, const std::string& what) {
  if (event.status == PULSE_OK) return;
  std::string why;
  if (event.message) why.assign(event.message, event.message_len);
  raise(event.status, why, event.flags, what);
}

}  // namespace cli
