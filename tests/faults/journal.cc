#include "journal.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>

namespace faults {

JournalWriter::JournalWriter(const std::string& path)
    : fd_(open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)) {
  if (fd_ < 0) {
    perror(path.c_str());
    exit(1);
  }
}

JournalWriter::~JournalWriter() {
  flush();
  close(fd_);
}

void JournalWriter::line(const char* format, ...) {
  char text[256];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  text_ += text;
  text_ += '\n';
}

void JournalWriter::flush() {
  size_t done = 0;
  while (done < text_.size()) {
    const ssize_t n = write(fd_, text_.data() + done, text_.size() - done);
    if (n < 0 && errno != EINTR) {
      perror("journal");
      exit(1);
    }
    if (n > 0) done += static_cast<size_t>(n);
  }
  text_.clear();
}

JournalReader::~JournalReader() {
  if (fd_ >= 0) close(fd_);
}

void JournalReader::read(const std::function<void(const Words&)>& each) {
  if (fd_ < 0) fd_ = open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd_ < 0) return;  // the worker has not come so far
  char buffer[65536];
  ssize_t n;
  while ((n = ::read(fd_, buffer, sizeof buffer)) > 0) rest_.append(buffer, static_cast<size_t>(n));
  size_t start = 0;
  for (size_t end; (end = rest_.find('\n', start)) != std::string::npos; start = end + 1) {
    // Not with streams: on a busy machine lines would come faster than they are read.
    size_t count = 0;
    for (size_t at = start; at < end; count++) {
      const size_t space = std::min(rest_.find(' ', at), end);
      if (count == words_.size()) words_.emplace_back();
      words_[count].assign(rest_, at, space - at);
      at = space + 1;
    }
    words_.resize(count);
    if (count > 0) each(words_);
  }
  rest_.erase(0, start);
}

}  // namespace faults
