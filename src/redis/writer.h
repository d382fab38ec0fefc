// Formats commands as RESP, straight into the buffer that is sent.
#ifndef PULSE_REDIS_WRITER_H
#define PULSE_REDIS_WRITER_H

#include <charconv>
#include <string_view>

#include "base/bytes.h"
#include "base/outbox_buffer.h"
#include "redis/script.h"

namespace pulseengine {

class CommandWriter {
 public:
  explicit CommandWriter(OutboxBuffer& out) : out_(out) {}

  // Begins a command of `count` arguments, its name included.
  void begin(size_t count) { prefixed('*', count); }
  void arg(std::string_view text) { Room(*this, text.size() + kAround).arg(text); }
  void arg(int64_t number) {
    char text[24];
    auto end = std::to_chars(text, text + sizeof text, number);
    arg(std::string_view(text, static_cast<size_t>(end.ptr - text)));
  }
  void arg_id(uint64_t ms, uint64_t seq);  // "ms-seq"
  // Large values are referenced instead of copied.
  void arg(const Ref<Bytes>& bytes);
  // Begins EVALSHA, or EVAL when `eval`, with `keys` + `args` arguments to follow.
  void begin_script(const Script& script, bool eval, size_t keys, size_t args) {
    begin(3 + keys + args);
    arg(eval ? std::string_view("EVAL") : std::string_view("EVALSHA"));
    arg(eval ? script.text : script.sha1);
    arg(static_cast<int64_t>(keys));
  }
  // One argument made of two parts.
  void joined_arg(std::string_view first, std::string_view second) {
    prefixed('$', first.size() + second.size());
    out_.append(first);
    out_.append(second);
    out_.append("\r\n");
  }
  // What was written since the mark `before`, which size() gave; for commands without
  // referenced values.
  size_t size() const { return out_.size(); }
  std::string_view since(size_t before) const { return out_.tail(before); }
  // An EVALSHA command that was written before, as EVAL.
  void as_eval(std::string_view evalsha_command, const Script& script);
  // Bytes that are RESP already, such as a prefix formatted once.
  void raw(std::string_view resp) { out_.append(resp); }

  // "$<length>\r\n" and "\r\n" around an argument are shorter.
  static constexpr size_t kAround = 32;

  // Room for some arguments at once, for short commands: one look at the buffer for all of them.
  class Room {
   public:
    Room(CommandWriter& writer, size_t most)
        : out_(writer.out_), begin_(out_.reserve(most)), at_(begin_) {}
    ~Room() { out_.written(static_cast<size_t>(at_ - begin_)); }
    Room(const Room&) = delete;
    Room& operator=(const Room&) = delete;
    void raw(std::string_view resp) { at_ = copy(at_, resp); }
    void arg(std::string_view text) {
      at_ = end_line(copy(prefix(at_, '$', text.size()), text));
    }

   private:
    OutboxBuffer& out_;
    char* const begin_;
    char* at_;
  };

  // begin and all arguments in one call.
  template <class... Args>
  void command(Args... args) {
    begin(sizeof...(args));
    (arg(to_arg(args)), ...);
  }

 private:
  static std::string_view to_arg(std::string_view text) { return text; }
  static std::string_view to_arg(const char* text) { return text; }
  static std::string_view to_arg(const String& text) { return {text.data(), text.size()}; }
  template <class N, class = std::enable_if_t<std::is_integral_v<N>>>
  static int64_t to_arg(N number) {
    return static_cast<int64_t>(number);
  }

  static char* copy(char* at, std::string_view text) {
    if (!text.empty()) std::memcpy(at, text.data(), text.size());
    return at + text.size();
  }
  static char* end_line(char* at) {
    *at++ = '\r';
    *at++ = '\n';
    return at;
  }
  // Writes the kind, the number and an end of line; returns where they end.
  static char* prefix(char* at, char kind, size_t number) {
    *at++ = kind;
    if (number < 100) {
      if (number >= 10) *at++ = static_cast<char>('0' + number / 10);
      *at++ = static_cast<char>('0' + number % 10);
    } else {
      at = std::to_chars(at, at + 20, number).ptr;
    }
    return end_line(at);
  }
  void prefixed(char kind, size_t number) {
    char* const begin = out_.reserve(kAround);
    out_.written(static_cast<size_t>(prefix(begin, kind, number) - begin));
  }

  OutboxBuffer& out_;
};

}  // namespace pulseengine

#endif
