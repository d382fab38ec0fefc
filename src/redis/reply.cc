#include "redis/reply.h"

#include <algorithm>

namespace pulseengine {

const ReplyNode Reply::kNil;

void Reply::skip() {
  size_t left = 1;
  while (left > 0 && next_ < end_) {
    left += next_->elements();
    left--;
    next_++;
  }
}

namespace {

struct Prefix {
  std::string_view word;
  pulse_status status;
  uint32_t flags;
};

constexpr Prefix kPrefixes[] = {
    {"LOADING", PULSE_ERR_LOADING, PULSE_ERROR_RETRIABLE},
    {"BUSY", PULSE_ERR_SERVER_BUSY, PULSE_ERROR_RETRIABLE},
    {"READONLY", PULSE_ERR_READONLY, PULSE_ERROR_RETRIABLE},
    {"MASTERDOWN", PULSE_ERR_MASTERDOWN, PULSE_ERROR_RETRIABLE},
    {"OOM", PULSE_ERR_SERVER_OOM, PULSE_ERROR_RETRIABLE},
    {"TRYAGAIN", PULSE_ERR_SERVER, PULSE_ERROR_RETRIABLE},
    {"NOAUTH", PULSE_ERR_AUTH, 0},
    {"WRONGPASS", PULSE_ERR_AUTH, 0},
    {"NOPERM", PULSE_ERR_PERMISSION, 0},
    {"WRONGTYPE", PULSE_ERR_WRONG_TYPE, 0},
};

}  // namespace

Error server_error(std::string_view text) {
  std::string_view word = text.substr(0, text.find(' '));
  for (const Prefix& p : kPrefixes) {
    if (word == p.word) return Error(p.status, text, p.flags | PULSE_ERROR_SERVER);
  }
  if (text.find("max number of clients") != std::string_view::npos) {
    return Error(PULSE_ERR_MAX_CLIENTS, text, PULSE_ERROR_SERVER | PULSE_ERROR_RETRIABLE);
  }
  if (text.find("invalid password") != std::string_view::npos ||
      text.find("AUTH") != std::string_view::npos) {
    return Error(PULSE_ERR_AUTH, text, PULSE_ERROR_SERVER);
  }
  // A script passes on what a command inside of it answered.
  if (text.find("The user executing the script can't") != std::string_view::npos ||
      text.find("ACL failure in script") != std::string_view::npos) {
    return Error(PULSE_ERR_PERMISSION, text, PULSE_ERROR_SERVER);
  }
  if (text.find("OOM command not allowed") != std::string_view::npos) {
    return Error(PULSE_ERR_SERVER_OOM, text, PULSE_ERROR_SERVER | PULSE_ERROR_RETRIABLE);
  }
  if (text.find("READONLY You can't write") != std::string_view::npos) {
    return Error(PULSE_ERR_READONLY, text, PULSE_ERROR_SERVER | PULSE_ERROR_RETRIABLE);
  }
  if (text.find("WRONGTYPE ") != std::string_view::npos) {
    return Error(PULSE_ERR_WRONG_TYPE, text, PULSE_ERROR_SERVER);
  }
  return Error(PULSE_ERR_SERVER, text, PULSE_ERROR_SERVER);
}

Error unexpected_reply(std::string_view command, const ReplyNode& node) {
  return Error::make(PULSE_ERR_PROTOCOL, 0, "{}: reply of an unexpected type ({})", command,
                     static_cast<int>(node.type));
}

}  // namespace pulseengine
