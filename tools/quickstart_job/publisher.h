// Publishes the lines, many at a time, and keeps what it published.
#ifndef TOOLS_QUICKSTART_JOB_PUBLISHER_H
#define TOOLS_QUICKSTART_JOB_PUBLISHER_H

#include <string>
#include <vector>

#include "common.h"
#include "lines.h"

namespace job {

struct Published {
  pulse_event_id id;
  uint64_t sent_ns;
  uint64_t checksum;
};

class Publisher {
 public:
  Publisher(Connection* connection, Lines* lines) : connection_(*connection), lines_(*lines) {}

  // Starts adds until `max_started` were started in all, or too many are under way.
  void submit(uint64_t max_started);

  // Takes the answers that are there.  Throws an Error for an add that failed.
  void take();

  // All lines are published and confirmed.
  bool done() const { return input_ended_ && confirmed_ == all_.size(); }
  uint64_t started() const { return all_.size(); }
  uint64_t confirmed() const { return confirmed_; }
  const std::vector<Published>& all() const { return all_; }
  double seconds() const;  // from the first add to the last answer

 private:
  Connection& connection_;
  Lines& lines_;
  std::vector<Published> all_;  // in order; the ids come with the answers
  uint64_t confirmed_ = 0;
  uint64_t last_answer_ns_ = 0;
  std::string line_;
  bool have_line_ = false;
  bool input_ended_ = false;
};

}  // namespace job

#endif
