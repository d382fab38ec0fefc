/* What the fault server answers when no rule says otherwise. */
#ifndef PULSEENGINE_TESTS_SUPPORT_FAULT_ANSWERS_H
#define PULSEENGINE_TESTS_SUPPORT_FAULT_ANSWERS_H

#include <cstdint>
#include <string>
#include <vector>

namespace ts {

struct UsualAnswer {
  std::string bytes;
  int64_t delay_ms = 0;  // BLOCK
  bool never = false;    // BLOCK 0
};

// `words` as they came, at least one.  `number` goes up with each command of the server.
UsualAnswer usual_answer(const std::vector<std::string>& words, uint64_t number);

// Letters in upper case.
std::string upper(const std::string& text);

}  // namespace ts

#endif
