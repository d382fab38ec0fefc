// The processes of `worker --exec`: one command per job, started again when it fails.
#ifndef TOOLS_CLI_JOB_PROCESSES_H
#define TOOLS_CLI_JOB_PROCESSES_H

#include <pulseengine/pulse.h>
#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "handles.h"
#include "process_guard.h"

namespace cli {

// Something that the caller has to know of a job's command.
struct ProcessEnd {
  enum Kind {
    kStopped,   // as was asked for
    kFinished,  // exit status 0
    kFailed,    // it is started again after retry_ms
    kGivenUp,   // it failed once too often
  };
  Kind kind;
  JobHandle job;
  int exit_status = -1;  // or -1 when a signal ended it, or it could not be started
  int signal_number = 0;
  int64_t failures = 0;
  int64_t retry_ms = 0;
};

// Never blocks: the caller waits for wait_ms() at most, and for Signals::fd(), and asks then.
class JobProcesses {
 public:
  // To be made before any other thread is.  `retries` -1 = no limit.  `kill_ms`: how long what was
  // left behind by a tool that died may take to end.
  JobProcesses(std::string command, std::string pool, int64_t retries, int64_t kill_ms);
  ~JobProcesses();

  void set_node(const std::string& id) { node_ = id; }

  // Starts the command for a job.  False with the reason when that is not possible now.
  bool start(pulse_job* job, std::string* why);

  // Ends it; a kStopped follows.  False: there is no such job any more.
  bool stop(pulse_job* job);

  // All jobs are about to be stopped.  From here on commands that end by themselves may have been
  // told to by whoever stops the tool, so their jobs go on elsewhere: they wait for their stop.
  void expect_stops() { expecting_stops_ = true; }

  // What has happened since the last call.
  std::vector<ProcessEnd> take_ends();

  // Until there is something to do but to wait for signals; -1 = never.
  int64_t wait_ms() const;

 private:
  using Clock = std::chrono::steady_clock;

  struct Process {
    JobHandle job;
    pid_t group = 0;  // 0: none runs
    bool stopping = false;
    int status = 0;  // of the leader, as wait tells it
    Clock::time_point started;
    Clock::time_point due = Clock::time_point::max();  // of the SIGKILL or the next start
    int64_t failures = 0;
    int64_t pause_ms = 0;
  };
  using Processes = std::map<pulse_job*, Process>;

  bool spawn(Process* process, std::string* why);
  void begin_end(Process* process);
  bool reap(Process* process);
  // What becomes of a job whose group has ended.  True: it is done with.
  bool settle(Process* process, std::vector<ProcessEnd>* ends);
  // The job's command is to be started after a while.
  void pause(Process* process, std::vector<ProcessEnd>* ends, int exit_status, int signal_number);

  const std::string command_, pool_;
  const int64_t retries_;
  std::string node_;
  bool expecting_stops_ = false;
  ProcessGuard guard_;
  Processes processes_;
};

}  // namespace cli

#endif
