// What the parts of the parser share.  For them only: CLI11 takes long to compile.
#ifndef TOOLS_CLI_COMMANDS_H
#define TOOLS_CLI_COMMANDS_H

#include <CLI/CLI.hpp>
#include <functional>
#include <string>

#include "verbs.h"

namespace cli {

struct Commands {
  explicit Commands(CLI::App* a) : app(a) {}
  CLI::App* app;
  GlobalOptions global;
  std::function<int()> run;  // of the verb that was given
};

// For options that count: why the text is no number from 1 on, or nothing.
inline std::string check_count(const std::string& text) {
  const bool digits = text.find_first_not_of("0123456789") == std::string::npos;
  return digits && text != "0" ? "" : "write a number from 1 on";
}

// The verbs of `map`.
void register_map(Commands* commands);

}  // namespace cli

#endif
