// Lists in values of maps.
#include "rmap/map_list.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace pulseengine {
namespace {

bool parses_to_hold(std::string_view list, std::string_view item) {
  const Ref<StringList> items = StringList::parse(list);
  for (size_t i = 0; i < items->size(); i++) {
    if (items->at(i) == item) return true;
  }
  return false;
}

TEST(MapList, HoldsWhatParsingFinds) {
  const std::vector<std::string> lists = {R"([])",
                                          R"({})",
                                          "",
                                          R"(["k1"])",
                                          R"(["k10"])",
                                          R"(["k10","k1"])",
                                          R"([ "k1" ])",
                                          R"(["x\"k1"])",
                                          R"(["x\"k1\"y"])",
                                          R"(["x\\","k1"])",
                                          R"(["x\"k1","k1"])",
                                          R"(["a\/b"])",
                                          R"([""])",
                                          R"(["","k1"])",
                                          "k1,k2",
                                          "k10,k2",
                                          R"(["\"","k:1.a-_"])"};
  const std::vector<std::string> items = {"k1",    "k10",     "k2", "a/b", "",
                                          "x\"k1", "k:1.a-_", "\"", "x\\"};
  for (const std::string& list : lists) {
    for (const std::string& item : items) {
      EXPECT_EQ(list_holds(list, item), parses_to_hold(list, item)) << item << " in " << list;
    }
  }
}

}  // namespace
}  // namespace pulseengine
