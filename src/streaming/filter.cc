#include "streaming/filter.h"

#include <re2/re2.h>
#include <re2/stringpiece.h>

namespace pulseengine {
namespace {

// How many bytes the UTF-8 character at the front of a non-empty text has; 0 if there is none.
// Overlong forms, surrogates and what lies beyond U+10FFFF are none.
size_t utf8_length(std::string_view text) {
  auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  auto follows = [&](size_t i) { return i < text.size() && (byte(i) & 0xC0) == 0x80; };
  unsigned char first = byte(0);
  if (first < 0x80) return 1;
  if (first < 0xC2 || first > 0xF4 || !follows(1)) return 0;
  if (first < 0xE0) return 2;
  if (!follows(2)) return 0;
  unsigned char second = byte(1);
  if (first < 0xF0) {
    bool valid = !(first == 0xE0 && second < 0xA0) && !(first == 0xED && second > 0x9F);
    return valid ? 3 : 0;
  }
  bool valid = follows(3) && !(first == 0xF0 && second < 0x90) && !(first == 0xF4 && second > 0x8F);
  return valid ? 4 : 0;
}

// The length of the longest prefix that is UTF-8.
size_t valid_prefix(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    size_t length = utf8_length(text.substr(at));
    if (length == 0) break;
    at += length;
  }
  return at;
}

// The text with U+FFFD in place of each byte that belongs to no character.
String repaired(std::string_view text) {
  String out;
  out.reserve(text.size() + 16);
  while (!text.empty()) {
    size_t valid = valid_prefix(text);
    out.append(text.data(), valid);
    text.remove_prefix(valid);
    if (!text.empty()) {
      out.append("\xEF\xBF\xBD");
      text.remove_prefix(1);
    }
  }
  return out;
}

// RE2's own type of texts; some builds of it take no std::string_view.
re2::StringPiece piece(std::string_view text) { return {text.data(), text.size()}; }

}  // namespace

Filter::~Filter() { delete pattern_; }

void Filter::set_topic(std::string_view topic) {
  topic_.assign(topic.data(), topic.size());
  has_topic_ = true;
}

Error Filter::set_pattern(std::string_view pattern) {
  RE2::Options options(RE2::Quiet);
  Owned<RE2> compiled(new RE2(piece(pattern), options));
  if (!compiled->ok()) {
    return Error::make(PULSE_ERR_INVALID, 0, "topic_pattern: {}", compiled->error());
  }
  delete pattern_;
  pattern_ = compiled.release();
  return {};
}

bool Filter::passes(std::string_view topic) const {
  if (has_topic_ && topic != topic_) return false;
  if (pattern_ == nullptr) return true;
  if (valid_prefix(topic) == topic.size()) return RE2::PartialMatch(piece(topic), *pattern_);
  String text = repaired(topic);
  return RE2::PartialMatch(piece(text), *pattern_);
}

}  // namespace pulseengine
