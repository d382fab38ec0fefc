#include "resp.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <cstring>

namespace ts {
namespace {

constexpr size_t kConsumedBytes = size_t{1} << 20;

// Reads more into connection->input until `end` (a time).
bool fill(ts_connection* connection, int64_t end) {
  for (;;) {
    pollfd item = {connection->descriptor, POLLIN, 0};
    const int64_t left = std::max<int64_t>(end - ts_now_ms(), 0);
    const int ready = poll(&item, 1, static_cast<int>(std::min<int64_t>(left, INT_MAX)));
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return false;
    char buffer[65536];
    const ssize_t got = recv(connection->descriptor, buffer, sizeof buffer, 0);
    if (got <= 0) return false;
    connection->input.append(buffer, static_cast<size_t>(got));
    return true;
  }
}

bool read_line(ts_connection* connection, int64_t end, std::string* line) {
  for (;;) {
    const size_t newline = connection->input.find("\r\n", connection->consumed);
    if (newline != std::string::npos) {
      *line = connection->input.substr(connection->consumed, newline - connection->consumed);
      connection->consumed = newline + 2;
      return true;
    }
    if (!fill(connection, end)) return false;
  }
}

bool read_value(ts_connection* connection, int64_t end, ts_reply* reply) {
  std::string line;
  if (!read_line(connection, end, &line) || line.empty()) return false;
  const int64_t number = strtoll(line.c_str() + 1, nullptr, 10);
  switch (line[0]) {
    case '+':
    case '-':
      reply->type = line[0] == '+' ? TS_STATUS : TS_ERROR;
      reply->text = line.substr(1);
      return true;
    case ':':
      reply->type = TS_INTEGER;
      reply->integer = number;
      return true;
    case '$': {
      if (number < 0) {
        reply->type = TS_NIL;
        return true;
      }
      const size_t size = static_cast<size_t>(number);
      while (connection->input.size() - connection->consumed < size + 2) {
        if (!fill(connection, end)) return false;
      }
      reply->type = TS_TEXT;
      reply->text = connection->input.substr(connection->consumed, size);
      connection->consumed += size + 2;
      return true;
    }
    case '*':
      reply->type = number < 0 ? TS_NIL : TS_ARRAY;
      for (int64_t i = 0; i < number; ++i) {
        reply->items.push_back(std::make_unique<ts_reply>());
        if (!read_value(connection, end, reply->items.back().get())) return false;
      }
      return true;
    default:
      complain("not RESP2: %.60s", line.c_str());
      return false;
  }
}

// Appends what the conversion at `at` (after the %) stands for; the position after it, or NULL.
const char* convert(const char* at, va_list* arguments, std::string* word) {
  if (*at == '%') {
    *word += '%';
    return at + 1;
  }
  if (*at == 's') {
    *word += va_arg(*arguments, const char*);
    return at + 1;
  }
  if (*at == 'b') {
    const char* data = static_cast<const char*>(va_arg(*arguments, const void*));
    const size_t size = va_arg(*arguments, size_t);
    if (size > 0) word->append(data, size);
    return at + 1;
  }
  if (*at == 'd') {
    *word += std::to_string(va_arg(*arguments, int));
    return at + 1;
  }
  if (strncmp(at, "lld", 3) == 0) {
    *word += std::to_string(va_arg(*arguments, long long));
    return at + 3;
  }
  if (strncmp(at, "llu", 3) == 0) {
    *word += std::to_string(va_arg(*arguments, unsigned long long));
    return at + 3;
  }
  if (strncmp(at, "zu", 2) == 0) {
    *word += std::to_string(va_arg(*arguments, size_t));
    return at + 2;
  }
  return nullptr;
}

}  // namespace

Words words_from(va_list arguments) {
  Words words;
  while (const char* word = va_arg(arguments, const char*)) words.emplace_back(word);
  return words;
}

Words words_from(size_t count, const char* const* words, const size_t* sizes) {
  Words result;
  for (size_t i = 0; i < count; ++i) {
    result.emplace_back(words[i], sizes != nullptr ? sizes[i] : strlen(words[i]));
  }
  return result;
}

Words words_from_format(const char* format, va_list arguments) {
  Words words;
  va_list rest;
  va_copy(rest, arguments);
  bool inside = false;
  for (const char* at = format; *at != '\0';) {
    if (*at == ' ') {
      inside = false;
      ++at;
      continue;
    }
    if (!inside) words.emplace_back();
    inside = true;
    if (*at != '%') {
      words.back() += *at++;
      continue;
    }
    at = convert(at + 1, &rest, &words.back());
    if (at == nullptr) {
      complain("ts_commandf: unknown conversion in \"%s\"", format);
      words.clear();
      break;
    }
  }
  va_end(rest);
  return words;
}

std::string encode_command(const Words& words) {
  std::string bytes = "*" + std::to_string(words.size()) + "\r\n";
  for (const std::string& word : words) {
    bytes += "$" + std::to_string(word.size()) + "\r\n";
    bytes += word;
    bytes += "\r\n";
  }
  return bytes;
}

bool send_all(ts_connection* connection, const std::string& bytes) {
  for (size_t sent = 0; sent < bytes.size();) {
    const ssize_t count =
        send(connection->descriptor, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    sent += static_cast<size_t>(count);
  }
  return true;
}

std::unique_ptr<ts_reply> read_reply(ts_connection* connection, int64_t deadline_ms) {
  auto reply = std::make_unique<ts_reply>();
  const size_t start = connection->consumed;
  if (connection->descriptor < 0 ||
      !read_value(connection, ts_now_ms() + deadline_ms, reply.get())) {
    // What came of an unfinished reply is read again the next time.
    connection->consumed = start;
    return std::make_unique<ts_reply>();
  }
  // Not after each of the many that may have come at once.
  if (connection->consumed == connection->input.size() || connection->consumed > kConsumedBytes) {
    connection->input.erase(0, connection->consumed);
    connection->consumed = 0;
  }
  return reply;
}

std::unique_ptr<ts_reply> execute(ts_connection* connection, const Words& words) {
  if (words.empty() || connection->descriptor < 0 || !send_all(connection, encode_command(words))) {
    return std::make_unique<ts_reply>();
  }
  return read_reply(connection, TS_DEADLINE_MS);
}

}  // namespace ts

ts_connection::~ts_connection() {
  if (descriptor >= 0) close(descriptor);
}

namespace {

void print(const ts_reply* reply, int depth) {
  fprintf(stderr, "%*s", depth * 2, "");
  switch (ts_reply_get_type(reply)) {
    case TS_NONE:
      fprintf(stderr, "(no reply)\n");
      break;
    case TS_STATUS:
      fprintf(stderr, "+%s\n", ts_reply_text(reply));
      break;
    case TS_ERROR:
      fprintf(stderr, "-%s\n", ts_reply_text(reply));
      break;
    case TS_INTEGER:
      fprintf(stderr, ":%lld\n", static_cast<long long>(ts_reply_integer(reply)));
      break;
    case TS_TEXT:
      fprintf(stderr, "\"%.200s\" (%zu)\n", ts_reply_text(reply), ts_reply_size(reply));
      break;
    case TS_NIL:
      fprintf(stderr, "(nil)\n");
      break;
    default:
      fprintf(stderr, "array of %zu\n", ts_reply_size(reply));
      for (size_t i = 0; i < ts_reply_size(reply); ++i) print(ts_reply_at(reply, i), depth + 1);
  }
}

}  // namespace

extern "C" {

ts_connection* ts_connection_open_url(const char* url) {
  auto connection = std::make_unique<ts_connection>();
  const std::string text = url;
  if (text.compare(0, 7, "unix://") == 0) {
    connection->descriptor = ts::connect_unix(text.substr(7));
  } else {
    const size_t colon = text.rfind(':');
    connection->descriptor = ts::connect_tcp(atoi(text.c_str() + colon + 1));
  }
  return connection->descriptor >= 0 ? connection.release() : nullptr;
}

void ts_connection_free(ts_connection* connection) { delete connection; }

ts_reply* ts_connection_command(ts_connection* connection, ...) {
  va_list arguments;
  va_start(arguments, connection);
  const ts::Words words = ts::words_from(arguments);
  va_end(arguments);
  return ts::execute(connection, words).release();
}

ts_reply* ts_connection_command_argv(ts_connection* connection, size_t count,
                                     const char* const* words, const size_t* sizes) {
  return ts::execute(connection, ts::words_from(count, words, sizes)).release();
}

int ts_connection_send(ts_connection* connection, const void* data, size_t size) {
  return ts::send_all(connection, std::string(static_cast<const char*>(data), size));
}

ts_reply* ts_connection_read(ts_connection* connection, int64_t deadline_ms) {
  return ts::read_reply(connection, deadline_ms).release();
}

ts_reply_type ts_reply_get_type(const ts_reply* reply) {
  return reply != nullptr ? reply->type : TS_NONE;
}

int64_t ts_reply_integer(const ts_reply* reply) { return reply != nullptr ? reply->integer : 0; }

const char* ts_reply_text(const ts_reply* reply) {
  return reply != nullptr ? reply->text.c_str() : "";
}

size_t ts_reply_size(const ts_reply* reply) {
  if (reply == nullptr) return 0;
  return reply->type == TS_ARRAY ? reply->items.size() : reply->text.size();
}

const ts_reply* ts_reply_at(const ts_reply* reply, size_t index) {
  return reply != nullptr && index < reply->items.size() ? reply->items[index].get() : nullptr;
}

const ts_reply* ts_reply_field(const ts_reply* reply, const char* name) {
  if (reply == nullptr) return nullptr;
  for (size_t i = 0; i + 1 < reply->items.size(); i += 2) {
    if (ts_reply_equals(reply->items[i].get(), name) != 0) return reply->items[i + 1].get();
  }
  return nullptr;
}

int ts_reply_is_error(const ts_reply* reply) { return ts_reply_get_type(reply) == TS_ERROR; }

int ts_reply_is_nil(const ts_reply* reply) { return ts_reply_get_type(reply) == TS_NIL; }

int ts_reply_equals(const ts_reply* reply, const char* text) {
  const ts_reply_type type = ts_reply_get_type(reply);
  return (type == TS_STATUS || type == TS_ERROR || type == TS_TEXT) && reply->text == text;
}

void ts_reply_print(const ts_reply* reply) { print(reply, 0); }

void ts_reply_free(ts_reply* reply) { delete reply; }

}  // extern "C"
