#ifndef PULSE_TESTS_FAULTS_PROGRAM_H
#define PULSE_TESTS_FAULTS_PROGRAM_H

#include <pulseengine/pulse.h>

#include <random>
#include <string>

#include "arguments.h"
#include "journal.h"

namespace faults {

// What worker processes share: an engine under one of the drivers, a queue, a journal, and orders
// on the standard input, one a line; its end asks to finish.
//
// Settings: url, client, driver, journal, seed, command_timeout_ms.
class Program {
 public:
  explicit Program(const Arguments& arguments);
  virtual ~Program() = default;
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  int run();

 protected:
  static constexpr int64_t kIdleMs = 20;  // so long an order may wait

  // A part of the work that takes no longer than about kIdleMs.
  virtual void work() = 0;
  // Other than "pause" and "go".
  virtual void ordered(const std::string& order) = 0;
  // Before the engine is closed.
  virtual pulse_status finish() = 0;

  static void must(pulse_status status, const char* what);
  pulse_target target(uint64_t token) const;
  // Runs a manual engine, and takes up to `max` events.
  size_t poll(pulse_event* events, size_t max, int64_t timeout_ms);
  // Without taking events.
  void idle();
  int64_t random_up_to(int64_t most) {
    return std::uniform_int_distribution<int64_t>(0, most)(random_);
  }

  const Arguments& arguments_;
  JournalWriter journal_;
  pulse_engine* engine_ = nullptr;
  bool paused_ = false;

 private:
  void drive(int64_t timeout_ms);
  // False once the worker is to finish.
  bool take_orders();

  pulse_queue* queue_ = nullptr;
  bool manual_ = false;
  std::string orders_;
  std::mt19937_64 random_;
};

}  // namespace faults

#endif
