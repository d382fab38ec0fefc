// What a schedule is to do after a tick, as the host says it: jobs to start, jobs to stop.
#ifndef PULSE_POOL_PLAN_H
#define PULSE_POOL_PLAN_H

#include <mutex>

#include "base/error.h"
#include "base/ref.h"
#include "engine/task.h"
#include "pulseengine/ticker.h"

namespace pulseengine {

class PoolSchedule;

struct PlanContent {
  struct Start {
    String key, payload;
  };
  Vector<Start> starts;
  Vector<String> stops;
  bool stop_others = false;  // all of the schedule's jobs that are not in starts
  bool stop_schedule = false;
};

// The host's handle: pulse_plan.  Any thread.
//
// The schedule does not own it: when the last reference goes without an answer, that is one.
class PoolPlan final : public RefCounted, private LiveObject {
 public:
  PoolPlan(Ref<PoolSchedule> schedule, uint64_t serial);
  ~PoolPlan() override;

  uint64_t serial() const { return serial_; }
  PoolSchedule& schedule() const { return *schedule_; }
  // The host has seen it.
  void set_seen() { seen_ = true; }

  Error start(std::string_view key, std::string_view payload);
  Error stop(std::string_view key);
  Error stop_others();
  Error stop_schedule();
  // Needs no memory.  INVALID when it was answered, or given up.
  pulse_status answer(pulse_status status, std::string_view text) noexcept;

 private:
  struct AnswerTask;

  template <class F>
  Error change(F f);

  const Ref<PoolSchedule> schedule_;
  const uint64_t serial_;
  bool seen_ = false;  // before any other thread has it
  std::mutex mutex_;
  Owned<AnswerTask> task_;  // guarded by mutex_; gone: answered
};

}  // namespace pulseengine

#endif
