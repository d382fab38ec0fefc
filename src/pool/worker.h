// A worker of a pool: the jobs that it has, and what the server knows of them.
//
// All that happens to jobs goes to the server in one ordered row of updates, one script run at a
// time (pool_update.lua), which is refused as a whole once the worker was declared dead.  A job
// starts when the server knows that this worker has it, and moves or ends when the server was told
// that it has not.
#ifndef PULSE_POOL_WORKER_H
#define PULSE_POOL_WORKER_H

#include "pool/job_update.h"
#include "pool/node.h"
#include "streaming/reader.h"

namespace pulseengine {

class PoolWorker final : public RefCounted {
 public:
  // --- any thread -----------------------------------------------------------
  PoolWorker(Ref<PoolNode> node, int64_t start_concurrency, Target target);
  PoolNode& node() const { return *node_; }
  Engine& engine() const { return node_->engine(); }
  size_t id_text_to(char* text, size_t capacity) const;
  size_t job_count() const { return job_count_.load(std::memory_order_relaxed); }
  Signal& ready_signal() { return *ready_signal_; }
  Signal& closed_signal() { return *closed_signal_; }
  bool closed() const { return closing_.load(std::memory_order_acquire); }
  void close() noexcept;

  // --- loop thread, for the node ----------------------------------------------
  enum class Phase : uint8_t {
    idle,     // the node does not take part yet
    joining,  // the script that adds it is under way
    running,
    dying,    // declared dead: the host stops the jobs
    leaving,  // jobs are handed over, then the worker is taken off the maps
    closed,
  };
  // It is, or was, in the pool's maps.
  bool in_pool() const { return phase_ == Phase::running || phase_ == Phase::leaving; }
  const String& id() const { return id_; }
  void join();
  // Its entry is not in the pool's maps any more: it was declared dead, or its node was.
  void declared_dead() noexcept;
  // Others may have declared it dead: nothing new begins until that is known.
  void set_suspect(bool suspect);
  // Another list of active workers.  What there is no memory for is done with the next tick.
  void rebalance() noexcept;
  // The replicas have news, or time has passed.
  void tick();
  // The list of who has which job has changed.
  void jobs_changed(int64_t now_ms);
  // What is to be sent to the server, and now; null: nothing.  Takes its share of the room.
  Ref<UpdateBatch> next_updates(int64_t now_ms, UpdateRoom* room);
  void set_sending(bool sending) { sending_ = sending; }
  void updated(const UpdateBatch& batch, const Error& error, Reply* reply);
  // Hands all jobs over, or ends them (SHUTDOWN), and leaves.
  void leave(pulse_stop_reason reason) noexcept;
  // Without waiting for handlers any more.
  void leave_now();
  void end(const Error& error) noexcept;

  // The node could not add it: nobody is told of its end.
  void never_began() noexcept { closing_.store(true, std::memory_order_release); }

  // The host has answered.
  void answered(PoolJob& job) noexcept;
  // Does what the answer says; `request` none: the job finished.
  void settle(PoolJob& job, PoolJob::Request request, pulse_status status, std::string_view text);

 private:
  using Update = JobUpdate;
  // A start that came while a job of the same key was ending here.
  struct Again {
    String key, message;
    RouterEvent from;
  };

  ~PoolWorker() override;

  void joined(const Error& error, Reply* reply);
  void open_reader();
  void close_reader() noexcept;
  static void on_event(const pulse_event* event, void* p);
  void take_event(const pulse_event& event);
  void malformed();
  void take_start(std::string_view message, RouterEvent from);
  void take_stop(std::string_view message, RouterEvent from);
  void take_notification(std::string_view message, RouterEvent from);
  void pump(PoolJob& job, int64_t now_ms);
  void try_pump(PoolJob& job) noexcept;
  void begin_leaving();
  void move_some();
  void move_if_elsewhere(PoolJob& job);
  bool may_move() const;
  bool has_updates() const { return sent_ || !updates_.empty() || id_less(dropped_, taken_); }
  bool belongs_elsewhere(const PoolJob& job) const;
  void stop_all();
  void pump_all();
  void pump_waiting(int64_t now_ms);
  void list_held(PoolJob& job);
  bool may_start() const { return start_concurrency_ == 0 || starting_ < start_concurrency_; }
  void start_answered(PoolJob& job, pulse_status status, std::string_view text);
  void want_stop(PoolJob& job, pulse_stop_reason reason);
  void ask_stop(PoolJob& job);
  void ask_notify(PoolJob& job);
  void stopped(PoolJob& job);
  void finished(PoolJob& job);
  void over(PoolJob& job, Update::What what, String event = {});
  void forget(PoolJob& job);
  void count_jobs();
  void log_answer(std::string_view what, const PoolJob& job, pulse_status status,
                  std::string_view text);
  void answer(const RouterEvent& to, std::string_view error);
  void answer_all(Vector<RouterEvent>* events, std::string_view error);
  void update(Update::What what, Ref<PoolJob> job, String text = {});
  void update(Update update);
  void confirm(const Update& update, std::string_view owner);
  void claimed(PoolJob& job, std::string_view owner);
  void finish_phase();
  void tell(pulse_event_kind kind, uint64_t count, const Error& error) noexcept;

  const Ref<PoolNode> node_;
  const int64_t start_concurrency_;  // 0: unlimited
  const Ref<Signal> ready_signal_, closed_signal_;
  std::atomic<bool> closing_{false};
  std::atomic<size_t> job_count_{0};
  mutable std::mutex mutex_;
  String id_;  // written on the loop thread under mutex_

  // Loop thread.
  Ref<SharedTarget> target_;
  Ref<Notice> ready_notice_, closed_notice_;
  Phase phase_ = Phase::idle;
  bool joining_ = false;  // the script is under way
  bool suspect_ = false;
  bool departing_ = false;   // "gone" is to be sent, or was
  bool departed_ = false;    // and the server has it
  bool unbalanced_ = false;  // some of the jobs may have to move
  pulse_stop_reason leave_reason_ = PULSE_STOP_MOVED;
  pulse_stop_reason stop_all_ = 0;  // all jobs are to be stopped for this reason
  bool late_ = false;               // handlers are not waited for any more
  Ref<Stream> stream_;
  Ref<Reader> reader_;
  pulse_event_id taken_{0, 0};    // the last event of the stream that was taken up
  pulse_event_id dropped_{0, 0};  // up to which the server was told so
  uint64_t incarnation_ = 0;      // of the id; what belongs to an earlier one is dropped
  HashMap<String, Ref<PoolJob>> jobs_;
  Vector<Again> again_;
  Vector<Ref<PoolJob>> held_;    // those that are, and perhaps some that were
  Deque<Ref<PoolJob>> waiting_;  // likewise, for others to have started
  int64_t starting_ = 0;         // asked and not answered
  int64_t moving_ = 0;
  uint64_t handed_over_ = 0, abandoned_ = 0;
  Vector<Update> updates_;  // to be sent
  Ref<UpdateBatch> sent_;   // under way, or to be sent again
  bool sending_ = false;
  int64_t retry_ms_ = 0;  // not before
  int64_t pause_ms_ = 0;
};

}  // namespace pulseengine

#endif
