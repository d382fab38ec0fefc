#include "pool/plan.h"

#include "pool/schedule.h"

namespace pulseengine {

struct PoolPlan::AnswerTask final : Task {
  void run() override { schedule->planned(std::move(content), outcome); }
  Ref<PoolSchedule> schedule;
  PlanContent content;
  Error outcome;  // it has room for a text of its own
};

PoolPlan::PoolPlan(Ref<PoolSchedule> schedule, uint64_t serial)
    : schedule_(std::move(schedule)), serial_(serial), task_(make_owned<AnswerTask>()) {}

PoolPlan::~PoolPlan() {
  if (seen_) answer(PULSE_ERR_CANCELLED, "the plan was not answered");
}

template <class F>
Error PoolPlan::change(F f) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (!task_) return Error(PULSE_ERR_INVALID, "the plan was answered");
  PlanContent& content = task_->content;
  if (content.starts.size() + content.stops.size() >= PULSE_PLAN_MAX_JOBS) {
    return Error::make(PULSE_ERR_TOO_LARGE, 0, "a plan has at most {} jobs",
                       int{PULSE_PLAN_MAX_JOBS});
  }
  f(content);
  return {};
}

Error PoolPlan::start(std::string_view key, std::string_view payload) {
  return change([&](PlanContent& c) { c.starts.push_back({String(key), String(payload)}); });
}
Error PoolPlan::stop(std::string_view key) {
  return change([&](PlanContent& c) { c.stops.push_back(String(key)); });
}
Error PoolPlan::stop_others() {
  return change([&](PlanContent& c) { c.stop_others = true; });
}
Error PoolPlan::stop_schedule() {
  return change([&](PlanContent& c) { c.stop_schedule = true; });
}

pulse_status PoolPlan::answer(pulse_status status, std::string_view text) noexcept {
  Owned<AnswerTask> task;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    task = std::move(task_);
  }
  if (!task || !schedule_->close_plan(serial_)) return PULSE_ERR_INVALID;
  task->schedule = schedule_;
  if (status != PULSE_OK) task->outcome = Error(status, text);
  schedule_->engine().post(std::move(task));
  return PULSE_OK;
}

}  // namespace pulseengine
