#include "lines.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include <algorithm>

#include "common.h"

namespace job {
namespace {

constexpr size_t kMaxLine = size_t{16} << 20;
constexpr size_t kMaxWord = 256;

std::string_view take_word(std::string_view* text) {
  constexpr char kBlanks[] = " \t\r\f\v";
  const size_t begin = text->find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return {};
  text->remove_prefix(begin);
  const std::string_view word = text->substr(0, text->find_first_of(kBlanks));
  text->remove_prefix(word.size());
  return word.substr(0, kMaxWord);
}

}  // namespace

LineEvent parse_line(std::string_view line) {
  std::string_view word = take_word(&line);
  while (!word.empty() && word[0] >= '0' && word[0] <= '9') word = take_word(&line);
  LineEvent event;
  event.name = word.empty() ? std::string_view("line") : word;
  event.topic = take_word(&line);
  if (event.name == "status") {
    const std::string_view package = take_word(&line);
    if (!package.empty()) event.topic = package;
  }
  return event;
}

Lines::Lines(const std::string& path) : name_(path == "-" ? "standard input" : path) {
  file_ = path == "-" ? stdin : fopen(path.c_str(), "re");
  if (!file_) throw Error("cannot open " + name_ + ": " + strerror(errno));
  struct stat status;
  if (fstat(fileno(file_), &status) == 0) {
    if (S_ISDIR(status.st_mode)) throw Error(name_ + " is a directory; give a text file");
    if (S_ISREG(status.st_mode)) file_bytes_ = static_cast<uint64_t>(status.st_size);
  }
  std::string line;
  if (!read_line(&line)) throw Error(name_ + " is empty; give a text file with at least one line");
  first_.push_back(line);
}

Lines::~Lines() {
  if (file_ != stdin) fclose(file_);
}

bool Lines::read_line(std::string* line) {
  if (file_ended_) return false;
  line->clear();
  for (;;) {
    const int c = getc_unlocked(file_);
    if (c == EOF) {
      if (ferror(file_)) throw Error("cannot read " + name_ + ": " + strerror(errno));
      file_ended_ = true;
      if (line->empty()) return false;
      break;
    }
    if (c == '\n') break;
    line->push_back(static_cast<char>(c));
    if (line->size() > kMaxLine) {
      throw Error(name_ + ": line " + std::to_string(read_ + 1) +
                  " is longer than 16 MiB; this is no text file");
    }
  }
  ++read_;
  read_bytes_ += line->size() + 1;
  return true;
}

bool Lines::next(std::string* line) {
  if (given_ < first_.size()) {
    *line = first_[given_];
  } else if (read_line(line)) {
    if (first_.size() < kFewest && given_bytes_ < kEnoughBytes) first_.push_back(*line);
  } else if (given_ < kFewest && given_bytes_ < kEnoughBytes) {
    *line = first_[given_ % first_.size()];
  } else {
    return false;
  }
  ++given_;
  given_bytes_ += line->size() + 1;
  return true;
}

uint64_t Lines::expected() const {
  const uint64_t fewest = std::min(kFewest, kEnoughBytes / mean_bytes() + 1);
  const uint64_t lines = std::max(fewest, given_);
  return file_bytes_ > read_bytes_ ? std::max(lines, file_bytes_ / mean_bytes()) : lines;
}

}  // namespace job
