#include "input.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "failure.h"
#include "signals.h"

namespace cli {
namespace {

// The default of max_payload_bytes, which the tool does not change: no need to read on.
constexpr size_t kMaxBytes = size_t{64} << 20;

}  // namespace

Input::Input(const std::string& argument)
    : fd_(STDIN_FILENO), own_(argument != "-"), name_("standard input") {
  if (!own_) return;
  name_ = "'" + argument.substr(1) + "'";
  fd_ = ::open(argument.c_str() + 1, O_RDONLY | O_CLOEXEC);
  if (fd_ < 0) throw Failure(kExitFailed, "cannot open " + name_ + ": " + strerror(errno));
}

Input::~Input() {
  if (own_) ::close(fd_);
}

bool Input::fill() {
  if (end_) return false;
  if (start_ > 0) {
    buffer_.erase(0, start_);
    searched_ -= start_;
    start_ = 0;
  }
  if (buffer_.size() > kMaxBytes) {
    throw Failure(kExitFailed, name_ + " holds more than a payload can: 64 MiB");
  }
  constexpr size_t kChunk = 65536;
  const size_t old = buffer_.size();
  buffer_.resize(old + kChunk);
  const ssize_t n = ::read(fd_, &buffer_[old], kChunk);
  buffer_.resize(old + (n > 0 ? static_cast<size_t>(n) : 0));
  if (n < 0) {
    if (errno == EINTR || errno == EAGAIN) return true;
    throw Failure(kExitFailed, "cannot read " + name_ + ": " + strerror(errno));
  }
  if (n == 0) end_ = true;
  return n > 0;
}

bool Input::next_line(std::string* line) {
  size_t end = buffer_.find('\n', searched_);
  if (end == std::string::npos) {
    searched_ = buffer_.size();
    if (!end_ || start_ == buffer_.size()) return false;
    end = buffer_.size();
  }
  line->assign(buffer_, start_, end - start_);
  start_ = end < buffer_.size() ? end + 1 : end;
  searched_ = start_;
  return true;
}

std::string Input::read_all() {
  while (fill()) {
    if (Signals::stop_requested()) throw Failure(kExitFailed, "interrupted");
  }
  return buffer_.substr(start_);
}

std::string payload_of(const std::string& argument) {
  if (argument != "-" && argument.substr(0, 1) != "@") return argument;
  return Input(argument).read_all();
}

}  // namespace cli
