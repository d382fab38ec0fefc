#include "machine.h"

#include <pulseengine/library.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

namespace bench {
namespace {

// What follows `name` and `mark` in a line of a file of the system.
std::string field(const char* path, const std::string& name, char mark) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.rfind(name, 0) != 0) continue;
    std::string value = line.substr(line.find(mark) + 1);
    value.erase(0, value.find_first_not_of(" \t\""));
    value.erase(value.find_last_not_of(" \"") + 1);
    return value;
  }
  return "unknown";
}

}  // namespace

Machine describe_machine() {
  Machine machine;
  machine.processor = field("/proc/cpuinfo", "model name", ':');
  machine.cpus = sysconf(_SC_NPROCESSORS_ONLN);
  utsname name{};
  if (uname(&name) == 0) {
    // Without what a distribution adds to the version.
    const std::string release = name.release;
    machine.kernel = std::string(name.sysname) + " " + release.substr(0, release.find('-'));
  }
  machine.system = field("/etc/os-release", "PRETTY_NAME", '=');
  machine.library = pulse_version_string();
#ifdef __clang__
  machine.compiler = __VERSION__;
#else
  machine.compiler = "GCC " __VERSION__;
#endif
  if (getloadavg(&machine.load, 1) != 1) machine.load = 0;
  return machine;
}

}  // namespace bench
