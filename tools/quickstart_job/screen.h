// What the user sees: a live progress line, messages, and the table at the end.
#ifndef TOOLS_QUICKSTART_JOB_SCREEN_H
#define TOOLS_QUICKSTART_JOB_SCREEN_H

#include <string>

#include "tally.h"

namespace job {

class Screen {
 public:
  Screen();

  // Replaces the progress line, a few times a second; without a terminal it prints a line of its
  // own every second.  Cheap to call often.
  void progress(const Publisher& publisher, const Tally& tally, uint64_t expected);

  // A line that stays.
  void message(const std::string& text);

 private:
  void clear();

  bool terminal_;
  bool progress_shown_ = false;
  uint64_t next_ns_ = 0;
};

// "12,345"
std::string with_commas(uint64_t number);

// What the consumers handled comes from the map.
void print_table(Screen* screen, const Publisher& publisher, const Progress& progress, Tally* tally,
                 const Verdict& verdict);

}  // namespace job

#endif
