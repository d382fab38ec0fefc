// What the parts of the parser share.  For them only: CLI11 takes long to compile.
#ifndef TOOLS_CLI_COMMANDS_H
#define TOOLS_CLI_COMMANDS_H

#include <CLI/CLI.hpp>
#include <charconv>
#include <cstdint>
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

// Checks answer why the text is wrong, or nothing.

// For numbers: CLI11 takes those that are too large as the largest one.
inline std::string check_whole_number(const std::string& text) {
  int64_t number = 0;
  const char* end = text.data() + text.size();
  const auto [rest, failure] = std::from_chars(text.data(), end, number);
  return failure == std::errc() && rest == end ? "" : "'" + text + "' is no whole number";
}

// For options that count.
inline std::string check_count(const std::string& text) {
  const bool digits = text.find_first_not_of("0123456789") == std::string::npos;
  return digits && text != "0" ? "" : "write a number from 1 on";
}

// For options whose empty text would otherwise count as "not given".
inline std::string check_not_empty(const std::string& text) {
  return text.empty() ? "the value is empty" : "";
}

// The verbs of `map`.
void register_map(Commands* commands);

// The verbs of worker pools.
void register_pool(Commands* commands);

}  // namespace cli

#endif
