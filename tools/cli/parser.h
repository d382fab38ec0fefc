// The command line.
#ifndef TOOLS_CLI_PARSER_H
#define TOOLS_CLI_PARSER_H

#include <functional>

namespace cli {

// What the command line asks for: returns the exit code, or throws a Failure.  Throws a Failure for
// wrong usage.
std::function<int()> parse(int argc, char** argv);

}  // namespace cli

#endif
