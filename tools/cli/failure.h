// How a verb ends early: a text for people, and the exit code.
#ifndef TOOLS_CLI_FAILURE_H
#define TOOLS_CLI_FAILURE_H

#include <pulseengine/pulse.h>

#include <stdexcept>
#include <string>

namespace cli {

enum ExitCode { kExitOk = 0, kExitFailed = 1, kExitUsage = 2 };

class Failure : public std::runtime_error {
 public:
  Failure(int exit_code, const std::string& text) : std::runtime_error(text), code_(exit_code) {}
  int exit_code() const { return code_; }

 private:
  int code_;
};

// Throws a Failure with "what: why" unless `status` is PULSE_OK.  An argument that the library
// turns down counts as wrong usage.
void check(pulse_status status, const pulse_error& error, const std::string& what);

// The same for the completion of an asynchronous call.
void check(const pulse_event& event, const std::string& what);

}  // namespace cli

#endif
