// The environment of a command that the tool starts: ours, with some variables of its own.
#ifndef TOOLS_CLI_ENVIRONMENT_H
#define TOOLS_CLI_ENVIRONMENT_H

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace cli {

class Environment {
 public:
  // Those without a value are not there, even if they are in ours.  An environment cannot hold NUL:
  // a value ends there.
  using Variables = std::vector<std::pair<std::string, std::optional<std::string>>>;

  explicit Environment(const Variables& variables);
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

  // For execve; lives as long as this.
  char** data() { return pointers_.data(); }

 private:
  std::vector<std::string> texts_;
  std::vector<char*> pointers_;
};

}  // namespace cli

#endif
