// A worker process, seen from the coordinator.
#ifndef TOOLS_QUICKSTART_JOB_CHILD_H
#define TOOLS_QUICKSTART_JOB_CHILD_H

#include <sys/types.h>

#include <string>
#include <vector>

#include "common.h"
#include "report.h"

namespace job {

class Child {
 public:
  // Starts this program in the role ("--consumer", with its number in the settings, or "--reader").
  // To be called before this process has threads of its own.
  Child(const std::string& name, const std::string& role, const Settings& settings);
  ~Child();  // kills it if it still runs
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  const std::string& name() const { return name_; }
  pid_t pid() const { return pid_; }
  int report_fd() const { return report_fd_; }  // -1 once it has ended
  bool running() const { return report_fd_ >= 0; }
  bool killed() const { return killed_; }

  void order(char order);
  void kill();

  // Takes its reports.  Throws an Error when it has ended otherwise than by order or by `kill`.
  void read(std::vector<Record>* records);

 private:
  void reap();

  std::string name_;
  pid_t pid_ = -1;
  int order_fd_ = -1;
  int report_fd_ = -1;
  bool killed_ = false;
  ReportReader reader_{-1};
};

}  // namespace job

#endif
