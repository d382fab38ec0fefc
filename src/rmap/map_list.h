// Values that hold lists.
#ifndef PULSE_RMAP_MAP_LIST_H
#define PULSE_RMAP_MAP_LIST_H

#include <string_view>

#include "base/ref.h"

namespace pulseengine {

// An immutable list of byte strings, behind pulse_list.
class StringList : public RefCounted, private LiveObject {
 public:
  // A JSON array of strings, else what commas separate.
  static Ref<StringList> parse(std::string_view value);

  size_t size() const noexcept { return ends_.size(); }
  std::string_view at(size_t index) const noexcept {
    const size_t begin = index == 0 ? 0 : ends_[index - 1];
    return std::string_view(text_.data(), text_.size()).substr(begin, ends_[index] - begin);
  }
  void add(std::string_view item) {
    text_.append(item.data(), item.size());
    ends_.push_back(text_.size());
  }

 private:
  String text_;  // all items, one behind the other
  Vector<size_t> ends_;
};

// Whether StringList::parse would find the item.  An array is not taken apart for a plain one.
bool list_holds(std::string_view list, std::string_view item);

}  // namespace pulseengine

#endif
