/* The harness' own RESP2: reading replies, and connections. */
#ifndef PULSEENGINE_TESTS_SUPPORT_RESP_H
#define PULSEENGINE_TESTS_SUPPORT_RESP_H

#include <cstdarg>
#include <memory>
#include <string>
#include <vector>

#include "internal.h"

struct ts_reply {
  ts_reply_type type = TS_NONE;
  int64_t integer = 0;
  std::string text;
  std::vector<std::unique_ptr<ts_reply>> items;
};

// Not locked: by one thread at a time.
struct ts_connection {
  ts_connection() = default;
  ~ts_connection();
  ts_connection(const ts_connection&) = delete;
  ts_connection& operator=(const ts_connection&) = delete;

  int descriptor = -1;
  std::string input;    // read from the socket
  size_t consumed = 0;  // of input
};

namespace ts {

using Words = std::vector<std::string>;

Words words_from(va_list arguments);
Words words_from(size_t count, const char* const* words, const size_t* sizes);
// As ts_commandf documents; an unknown conversion is a complaint and no words.
Words words_from_format(const char* format, va_list arguments);

std::string encode_command(const Words& words);

bool send_all(ts_connection* connection, const std::string& bytes);
// TS_NONE at the deadline or when the connection ended.
std::unique_ptr<ts_reply> read_reply(ts_connection* connection, int64_t deadline_ms);
// TS_NONE when the connection fails.
std::unique_ptr<ts_reply> execute(ts_connection* connection, const Words& words);

}  // namespace ts

#endif
