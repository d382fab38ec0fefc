// What a worker is told on its command line: name=value.
#ifndef PULSE_TESTS_FAULTS_ARGUMENTS_H
#define PULSE_TESTS_FAULTS_ARGUMENTS_H

#include <cstdint>
#include <cstdlib>
#include <map>
#include <string>

namespace faults {

class Arguments {
 public:
  Arguments(int argc, char** argv) {
    for (int i = 3; i < argc; i++) {
      const std::string word = argv[i];
      const size_t equals = word.find('=');
      if (equals != std::string::npos) values_[word.substr(0, equals)] = word.substr(equals + 1);
    }
  }
  std::string text(const std::string& name) const {
    const auto found = values_.find(name);
    return found == values_.end() ? std::string() : found->second;
  }
  int64_t number(const std::string& name) const { return strtoll(text(name).c_str(), nullptr, 10); }

 private:
  std::map<std::string, std::string> values_;
};

}  // namespace faults

#endif
