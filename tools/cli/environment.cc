#include "environment.h"

#include <unistd.h>

#include <algorithm>
#include <string_view>

extern char** environ;

namespace cli {

Environment::Environment(const Variables& variables) {
  for (char** entry = environ; *entry; ++entry) {
    const std::string_view text = *entry;
    const std::string_view name = text.substr(0, text.find('='));
    const bool ours = std::any_of(variables.begin(), variables.end(),
                                  [&](const auto& variable) { return variable.first == name; });
    if (!ours) texts_.emplace_back(text);
  }
  for (const auto& [name, value] : variables) {
    if (value) texts_.push_back(name + "=" + value->c_str());
  }
  for (std::string& text : texts_) pointers_.push_back(&text[0]);
  pointers_.push_back(nullptr);
}

}  // namespace cli
