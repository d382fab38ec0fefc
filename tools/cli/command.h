// The command of `sink --exec`: run once for each event, with the payload on its standard input.
#ifndef TOOLS_CLI_COMMAND_H
#define TOOLS_CLI_COMMAND_H

#include <pulseengine/pulse.h>

#include <string>

namespace cli {

// What became of one run.
struct CommandResult {
  bool ok;            // exit status 0
  int exit_status;    // or -1 when a signal ended it
  int signal_number;  // or 0
};

// Runs `command` with the shell and waits for it.  The event is in the environment (PULSE_ID,
// PULSE_STREAM, PULSE_NAME, PULSE_TOPIC, PULSE_DELIVERIES), its output goes to our standard error:
// ours is for JSON.  SIGINT and SIGTERM end it with SIGTERM, and its exit status still counts.
// Throws a Failure when it cannot be started.
CommandResult run_command(const std::string& command, const pulse_event& event);

}  // namespace cli

#endif
