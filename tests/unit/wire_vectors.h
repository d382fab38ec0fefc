// The files of tests/wire: lines of words, separated by blanks; "..." may hold blanks; \xNN is a
// byte, a backslash before anything else stands for that.
#ifndef PULSE_TESTS_UNIT_WIRE_VECTORS_H
#define PULSE_TESTS_UNIT_WIRE_VECTORS_H

#include <fstream>
#include <string>
#include <vector>

namespace pulseengine {

inline std::vector<std::string> words_of_line(const std::string& line) {
  std::vector<std::string> words;
  size_t at = 0;
  while (at < line.size()) {
    if (line[at] == ' ') {
      at++;
      continue;
    }
    const bool quoted = line[at] == '"';
    if (quoted) at++;
    std::string word;
    while (at < line.size() && line[at] != (quoted ? '"' : ' ')) {
      if (line[at] == '\\' && line.compare(at, 2, "\\x") == 0) {
        word.push_back(static_cast<char>(std::stoi(line.substr(at + 2, 2), nullptr, 16)));
        at += 4;
      } else {
        if (line[at] == '\\') at++;
        word.push_back(line[at++]);
      }
    }
    if (quoted) at++;
    words.push_back(word);
  }
  return words;
}

// Without comments and empty lines; empty if the file cannot be read.
inline std::vector<std::vector<std::string>> wire_vectors(const std::string& name) {
  std::ifstream file(std::string(PULSE_TEST_WIRE_DIR) + "/" + name);
  std::vector<std::vector<std::string>> lines;
  for (std::string line; std::getline(file, line);) {
    if (!line.empty() && line[0] != '#') lines.push_back(words_of_line(line));
  }
  return lines;
}

}  // namespace pulseengine

#endif
