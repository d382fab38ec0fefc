// A schedule: a ticker whose winner asks its host for a plan, and carries it out: first it starts
// jobs, then it stops some.
//
// The jobs that it has started are in a map of its own, so that whoever wins later knows them: a
// job is noted when its dispatch was answered, and forgotten in the step that asks for its stop.
// While a plan is open or is carried out, this node asks for no tick: others may.
#ifndef PULSE_POOL_SCHEDULE_H
#define PULSE_POOL_SCHEDULE_H

#include "pool/plan.h"
#include "pool/ticker.h"
#include "rmap/map_watch.h"

namespace pulseengine {

class PlanRequest;

class PoolSchedule final : public PoolTicker {
 public:
  // --- any thread -----------------------------------------------------------
  PoolSchedule(Ref<PoolNode> node, std::string_view name, const TickerConfig& config,
               int64_t plan_timeout_ms, Target target);
  std::string_view jobs_key() const override { return std::string_view(jobs_key_); }
  // The plan is answered, or given up: true for the first one.
  bool close_plan(uint64_t serial) noexcept;

  // --- loop thread ----------------------------------------------------------
  void planned(PlanContent content, const Error& outcome) noexcept;

 private:
  enum class Work : uint8_t {
    none,
    asking,    // the host has, or will get, the plan
    starting,  // jobs are dispatched, and noted
    listing,   // what there is to stop
    stopping,
    leaving,  // the schedule is stopped on all nodes
  };
  // A job that is being dispatched.
  struct Start final : RefCounted {
    Ref<PoolSchedule> schedule;
    String key;
    bool done = false;
  };
  struct Note {
    bool started = false;  // else it existed
    String key;
  };

  ~PoolSchedule() override;

  bool prepare() override;
  void ticked(const Tick& tick) noexcept override;
  void watch_over(int64_t now_ms) override;
  void begun(int32_t how) noexcept override;
  void ended(const Error& error, bool stopped) noexcept override;

  void join_jobs();
  static void on_jobs(const pulse_event* event, void* p);
  void work();
  void start_some();
  static void on_started(const pulse_event* event, void* p);
  void note_some();
  void list();
  void take_list(Reply& reply);
  void stop_some();
  void leave();
  template <class Done>
  void send_stop(bool whole, Done done);
  template <class Done>
  void send_plan(bool repeatable, Vector<String> arguments, Done done);
  void failed(const Error& error, uint64_t count) noexcept;
  void finish() noexcept;

  const String jobs_name_, jobs_key_;
  const int64_t plan_timeout_ms_;
  std::atomic<uint64_t> open_plan_{0};  // serial; 0: none

  // Loop thread.
  Work work_ = Work::none;
  bool stopped_for_good_ = false;
  uint64_t next_serial_ = 1;
  int64_t give_up_ms_ = kNever;
  bool plan_at_once_ = false;
  Ref<PlanRequest> request_;  // the next one
  Ref<TickerEvent> planned_;  // what to tell of it
  PlanContent content_;
  size_t started_ = 0, stopped_ = 0;  // so many of the content's were begun
  size_t dispatching_ = 0;
  Vector<Note> notes_;
  bool sending_ = false;
  int64_t retry_ms_ = 0;
  Ref<ReplicatedMap> jobs_;
  Ref<MapWatch> watch_;
  bool copying_ = true;
};

}  // namespace pulseengine

#endif
