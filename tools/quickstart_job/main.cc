// quickstart-job: the job that tools/quickstart runs.  See docs and `tools/quickstart --help`.

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include <cstdio>
#include <exception>
#include <string>

#include "coordinator.h"
#include "workers.h"

namespace {

constexpr char kUsage[] =
    "usage: quickstart-job [--url URL] [--stream NAME] FILE|-\n"
    "Publishes the lines of FILE as events of a new stream, has three processes handle them,\n"
    "kills one of them, and checks that nothing was lost.  Exit status 1 if anything was.\n";

enum class Role { kCoordinator, kConsumer, kReader };

int run(int argc, char** argv) {
  job::Settings settings;
  settings.url = "local:";
  Role role = Role::kCoordinator;
  std::string path;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--help" || argument == "-h") {
      fputs(kUsage, stdout);
      return 0;
    }
    if (argument == "--consumer") {
      role = Role::kConsumer;
    } else if (argument == "--reader") {
      role = Role::kReader;
    } else if (argument == "--number" && i + 1 < argc) {  // given to consumers by the coordinator
      settings.consumer = atoi(argv[++i]);
    } else if ((argument == "--url" || argument == "--stream") && i + 1 < argc) {
      (argument == "--url" ? settings.url : settings.stream) = argv[++i];
    } else if (path.empty() && (argument == "-" || argument[0] != '-')) {
      path = argument;
    } else {
      fprintf(stderr, "quickstart-job: unexpected '%s'\n%s", argument.c_str(), kUsage);
      return 2;
    }
  }
  signal(SIGPIPE, SIG_IGN);
  if (role == Role::kConsumer) return job::run_consumer(settings);
  if (role == Role::kReader) return job::run_reader(settings);
  if (path.empty()) {
    fputs(kUsage, stderr);
    return 2;
  }
  return job::run_job(settings, path);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    fprintf(stderr, "quickstart: %s\n", error.what());
    return 1;
  }
}
