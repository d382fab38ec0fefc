// Work handed to the loop thread.
#ifndef PULSE_ENGINE_TASK_H
#define PULSE_ENGINE_TASK_H

#include "base/alloc.h"

namespace pulseengine {

struct Task : Allocated {
  virtual ~Task() = default;
  virtual void run() = 0;
  Owned<Task> next;
};

template <class F>
struct CallTask final : Task {
  explicit CallTask(F f) : f(std::move(f)) {}
  void run() override { f(); }
  F f;
};

}  // namespace pulseengine

#endif
