// pulseengine: the command-line tool.  Uses nothing of the library but its public C interface.

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <exception>
#include <functional>

#include "failure.h"
#include "parser.h"
#include "signals.h"

namespace {

// A closed descriptor 0, 1 or 2 would be given to the first socket, and take our output.
void open_standard_files() {
  for (int fd = 0; fd <= 2; ++fd) {
    if (fcntl(fd, F_GETFD) >= 0) continue;
    if (fd == STDOUT_FILENO) {
      throw cli::Failure(cli::kExitFailed, "standard output is closed");
    }
    const int opened = open("/dev/null", O_RDWR);
    if (opened >= 0 && opened != fd) {
      dup2(opened, fd);
      close(opened);
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    open_standard_files();
    const std::function<int()> run = cli::parse(argc, argv);
    cli::Signals::install();
    return run();
  } catch (const cli::Failure& failure) {
    std::fprintf(stderr, "pulseengine: %s\n", failure.what());
    return failure.exit_code();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "pulseengine: %s\n", error.what());
    return cli::kExitFailed;
  }
}
