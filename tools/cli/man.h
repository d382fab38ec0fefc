// The man page, made from the descriptions in the parser, so that it cannot disagree with --help.
#ifndef TOOLS_CLI_MAN_H
#define TOOLS_CLI_MAN_H

#include <CLI/CLI.hpp>
#include <string>

namespace cli {

// pulseengine(1) as roff.
std::string man_page(const CLI::App& app);

}  // namespace cli

#endif
