// What is to be published: a payload as an argument, a file or standard input, whole or by lines.
#ifndef TOOLS_CLI_INPUT_H
#define TOOLS_CLI_INPUT_H

#include <string>

namespace cli {

// A descriptor for the payload argument "-" (standard input) or "@file".
class Input {
 public:
  // Throws a Failure for what cannot be opened.
  explicit Input(const std::string& argument);
  ~Input();
  Input(const Input&) = delete;
  Input& operator=(const Input&) = delete;

  int fd() const { return fd_; }

  // All that is left.
  std::string read_all();

  // Reads once, which may block; false at the end of the input.
  bool fill();

  // Takes the next whole line, without its newline, out of what was read.  At the end of the
  // input also the last one, if it has no newline.
  bool next_line(std::string* line);

 private:
  int fd_;
  bool own_;
  bool end_ = false;
  std::string name_;
  std::string buffer_;
  size_t start_ = 0;     // of what next_line has not taken
  size_t searched_ = 0;  // no newline between start_ and here
};

// The payload that an argument stands for: "-", "@file", or the text itself.
std::string payload_of(const std::string& argument);

}  // namespace cli

#endif
