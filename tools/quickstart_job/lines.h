// The input of the job: the lines of a file as events, repeated when they are few.
#ifndef TOOLS_QUICKSTART_JOB_LINES_H
#define TOOLS_QUICKSTART_JOB_LINES_H

#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

namespace job {

// Views into a line.
struct LineEvent {
  std::string_view name;   // the action word
  std::string_view topic;  // the package, or the word after the action; empty if there is none
};

// Takes a line apart: time stamps in front are skipped, then comes the action.  In dpkg's
// "status installed libc6:amd64 2.36" the word after the action is a state, the package follows.
LineEvent parse_line(std::string_view line);

// Hands out the lines of a file (or "-", standard input) one by one; all of them again and again
// until there were kFewest, or kEnoughBytes: the server keeps them all in memory.
class Lines {
 public:
  static constexpr uint64_t kFewest = 50000;
  static constexpr uint64_t kEnoughBytes = uint64_t{256} << 20;

  // Throws an Error for what is no readable file with at least one line.
  explicit Lines(const std::string& path);
  ~Lines();
  Lines(const Lines&) = delete;
  Lines& operator=(const Lines&) = delete;

  // The next line, without its newline; false at the end.  Throws an Error when reading fails.
  bool next(std::string* line);

  // How many there will be in all, estimated from what was read and from the size of the file.
  uint64_t expected() const;

 private:
  bool read_line(std::string* line);
  uint64_t mean_bytes() const { return read_bytes_ / read_ + 1; }

  std::string name_;
  FILE* file_;
  bool file_ended_ = false;
  std::vector<std::string> first_;  // lines to repeat, as long as it may come to that
  uint64_t read_ = 0;
  uint64_t read_bytes_ = 0;
  uint64_t file_bytes_ = 0;  // 0 where it is not known
  uint64_t given_ = 0;
  uint64_t given_bytes_ = 0;
};

}  // namespace job

#endif
