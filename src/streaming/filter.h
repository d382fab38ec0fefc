// Which events a reader or sink wants, by topic.
#ifndef PULSE_STREAMING_FILTER_H
#define PULSE_STREAMING_FILTER_H

#include <string_view>

#include "base/error.h"
#include "base/ref.h"

namespace re2 {
class RE2;
}

namespace pulseengine {

// Immutable.  A default one lets everything pass.
class Filter : public Allocated {
 public:
  Filter() = default;
  ~Filter();
  Filter(const Filter&) = delete;
  Filter& operator=(const Filter&) = delete;

  void set_topic(std::string_view topic);
  // RE2 syntax, unanchored; an error message of RE2 with PULSE_ERR_INVALID.
  Error set_pattern(std::string_view pattern);
  // An event without topic counts as one with an empty topic, as in the Go library.  Bytes
  // that are no UTF-8 count as U+FFFD each.
  bool passes(std::string_view topic) const;

 private:
  bool has_topic_ = false;
  String topic_;
  re2::RE2* pattern_ = nullptr;
};

}  // namespace pulseengine

#endif
