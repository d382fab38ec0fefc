// pulseengine: the command-line tool.  Uses nothing of the library but its public C interface.

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <memory>

#include "failure.h"
#include "help.h"
#include "man.h"
#include "signals.h"
#include "verbs.h"

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

void add_global_options(CLI::App* app, cli::GlobalOptions* global) {
  const char* url = std::getenv("PULSE_URL");
  global->url = url && *url ? url : "local:";
  app->add_option("--url", global->url,
                  "The server: redis://[user[:password]@]host[:port][/db], rediss://..., "
                  "unix:///path[?db=n], local: or local:///directory (a private server, started "
                  "when needed). Default: $PULSE_URL, else local:")
      ->type_name("URL");
  app->add_option("--key-prefix", global->key_prefix,
                  "Goes before every key in the server, as in the engine's option of that name")
      ->type_name("P");
  app->add_option("--timeout", global->timeout,
                  "How long to wait for the connection and for each answer (default 10s)")
      ->type_name("D");
  app->add_flag("--verbose,-v", global->verbose, "Show the library's log on standard error");
  app->set_version_flag("--version", std::string("pulseengine ") + pulse_version_string(),
                        "Print the version");
}

int run(int argc, char** argv) {
  open_standard_files();
  CLI::App app(
      "Publishes and receives events of Pulse streams, which live in a Redis or Valkey server. "
      "Prints JSON, one object to a line.",
      "pulseengine");
  cli::Commands commands;
  commands.app = &app;
  add_global_options(&app, &commands.global);
  bool man = false;
  app.add_flag("--man", man, "Print the man page")->group("");
  app.formatter(std::make_shared<cli::HelpFormatter>());
  app.fallthrough();
  cli::register_add(&commands);
  cli::register_read(&commands);
  cli::register_sink(&commands);
  cli::register_stream(&commands);
  cli::register_ping(&commands);
  cli::register_local(&commands);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error, std::cout, std::cerr);  // --help
    throw cli::Failure(cli::kExitUsage, std::string(error.what()) + "; see --help");
  }
  if (man) {
    std::cout << cli::man_page(app) << std::flush;
    return std::cout ? cli::kExitOk : cli::kExitFailed;
  }
  if (!commands.run) {
    throw cli::Failure(cli::kExitUsage, "a verb is missing; --help lists them");
  }
  cli::Signals::install();
  return commands.run();
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const cli::Failure& failure) {
    std::fprintf(stderr, "pulseengine: %s\n", failure.what());
    return failure.exit_code();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "pulseengine: %s\n", error.what());
    return cli::kExitFailed;
  }
}
