// The verbs: each adds its subcommand to the parser, and what it runs to `commands.run`.
#ifndef TOOLS_CLI_VERBS_H
#define TOOLS_CLI_VERBS_H

#include <CLI/CLI.hpp>
#include <functional>

#include "session.h"

namespace cli {

struct Commands {
  CLI::App* app;
  GlobalOptions global;
  std::function<int()> run;  // of the verb that was given; returns the exit code
};

void register_add(Commands* commands);
void register_read(Commands* commands);
void register_sink(Commands* commands);
void register_stream(Commands* commands);
void register_ping(Commands* commands);
void register_local(Commands* commands);

}  // namespace cli

#endif
