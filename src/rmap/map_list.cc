#include "rmap/map_list.h"

#include <algorithm>

namespace pulseengine {
namespace {

// Just the JSON that lists are made of: an array of strings.
class JsonStrings {
 public:
  explicit JsonStrings(std::string_view text) : text_(text) {}

  // Calls item(String) for each.  False if the text is anything else.
  template <class Item>
  bool parse(Item item) {
    skip_spaces();
    if (!take('[')) return false;
    skip_spaces();
    if (!take(']')) {
      do {
        skip_spaces();
        String s;
        if (!parse_string(&s)) return false;
        item(s);
        skip_spaces();
      } while (take(','));
      if (!take(']')) return false;
    }
    skip_spaces();
    return at_ == text_.size();
  }

 private:
  bool take(char c) {
    if (at_ == text_.size() || text_[at_] != c) return false;
    at_++;
    return true;
  }
  void skip_spaces() {
    while (take(' ') || take('\t') || take('\n') || take('\r')) {
    }
  }

  bool parse_string(String* out) {
    if (!take('"')) return false;
    while (at_ < text_.size()) {
      const char c = text_[at_++];
      if (c == '"') return true;
      if (static_cast<unsigned char>(c) < 0x20) return false;
      if (c == '\\') {
        if (!parse_escape(out)) return false;
      } else {
        out->push_back(c);
      }
    }
    return false;
  }

  bool parse_escape(String* out) {
    if (at_ == text_.size()) return false;
    const char c = text_[at_++];
    constexpr std::string_view kNames = "\"\\/bfnrt", kBytes = "\"\\/\b\f\n\r\t";
    if (size_t found = kNames.find(c); found != std::string_view::npos) {
      out->push_back(kBytes[found]);
      return true;
    }
    if (c != 'u') return false;
    uint32_t code = 0, low = 0;
    if (!parse_hex(&code)) return false;
    if (code >= 0xD800 && code < 0xDC00) {
      if (!take('\\') || !take('u') || !parse_hex(&low) || low < 0xDC00 || low > 0xDFFF) {
        return false;
      }
      code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    } else if (code >= 0xDC00 && code < 0xE000) {
      return false;
    }
    append_utf8(code, out);
    return true;
  }

  bool parse_hex(uint32_t* code) {
    if (text_.size() - at_ < 4) return false;
    *code = 0;
    for (int i = 0; i < 4; i++) {
      const char c = text_[at_++];
      uint32_t digit;
      if (c >= '0' && c <= '9') {
        digit = static_cast<uint32_t>(c - '0');
      } else if (c >= 'a' && c <= 'f') {
        digit = static_cast<uint32_t>(c - 'a' + 10);
      } else if (c >= 'A' && c <= 'F') {
        digit = static_cast<uint32_t>(c - 'A' + 10);
      } else {
        return false;
      }
      *code = *code * 16 + digit;
    }
    return true;
  }

  static void append_utf8(uint32_t code, String* out) {
    auto byte = [out](uint32_t b) { out->push_back(static_cast<char>(b)); };
    if (code < 0x80) {
      byte(code);
    } else if (code < 0x800) {
      byte(0xC0 | (code >> 6));
      byte(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
      byte(0xE0 | (code >> 12));
      byte(0x80 | ((code >> 6) & 0x3F));
      byte(0x80 | (code & 0x3F));
    } else {
      byte(0xF0 | (code >> 18));
      byte(0x80 | ((code >> 12) & 0x3F));
      byte(0x80 | ((code >> 6) & 0x3F));
      byte(0x80 | (code & 0x3F));
    }
  }

  const std::string_view text_;
  size_t at_ = 0;
};

}  // namespace

Ref<StringList> StringList::parse(std::string_view value) {
  auto list = make_ref<StringList>();
  if (JsonStrings(value).parse([&](const String& s) { list->add({s.data(), s.size()}); })) {
    return list;
  }
  list = make_ref<StringList>();
  while (!value.empty()) {
    const size_t comma = std::min(value.find(','), value.size());
    if (comma > 0) list->add(value.substr(0, comma));
    value.remove_prefix(std::min(comma + 1, value.size()));
  }
  return list;
}

bool list_holds(std::string_view list, std::string_view item) {
  const bool plain = std::all_of(item.begin(), item.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
           c == '_' || c == '.' || c == ':';
  });
  if (plain && list.substr(0, 2) == "[\"") {
    String quoted = "\"";
    quoted.append(item.data(), item.size());
    quoted += '"';
    size_t at = list.find(quoted);
    // Behind a backslash it is a part of another item.
    while (at != std::string_view::npos && list[at - 1] == '\\') at = list.find(quoted, at + 1);
    return at != std::string_view::npos;
  }
  const Ref<StringList> items = StringList::parse(list);
  for (size_t i = 0; i < items->size(); i++) {
    if (items->at(i) == item) return true;
  }
  return false;
}

}  // namespace pulseengine
