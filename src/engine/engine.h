// The engine: the loop, its driver, the connections, the operations under way, and the
// objects opened on it.
//
// Threads: what is marked "any thread" may be called from anywhere; the rest
// belongs to the loop thread (whoever runs the loop at that moment).
#ifndef PULSE_ENGINE_ENGINE_H
#define PULSE_ENGINE_ENGINE_H

#include <atomic>
#include <mutex>

#include "base/process.h"
#include "base/recycler.h"
#include "engine/config.h"
#include "engine/delivery.h"
#include "engine/operation.h"
#include "engine/operation_table.h"
#include "engine/signal.h"
#include "engine/task.h"
#include "loop/loop.h"
#include "redis/connection.h"
#include "redis/router.h"

namespace pulseengine {

// An object with a life of its own on the engine: a reader, a sink.  The
// engine closes it when it closes itself.
class Child : public virtual RefCounted {
 public:
  // Starts closing; calls Engine::remove_child when closed.
  virtual void close_child() = 0;
  // The engine gives up: close on the spot, without the network.
  virtual void abort_child(const Error& error) = 0;
  // The command connection that serves its keys came or went.
  virtual void server_ready() {}
  virtual void server_lost(const Error&) {}

 private:
  friend class Engine;
  uint64_t serial_ = 0;
};

// Work to be done once in the present turn, after the callbacks and before the
// connections flush.  An object that gathers (acks ...) embeds one.
class TurnHook {
 public:
  virtual void end_of_turn() = 0;

 protected:
  ~TurnHook() = default;

 private:
  friend class Engine;
  bool queued_ = false;
};

// What another layer keeps for the engine: made on demand, dropped before the loop closes.
// Loop thread.
class EngineAttachment : public Allocated {
 public:
  virtual ~EngineAttachment() = default;
  // Once a turn, together with the command connections.
  virtual void flush() noexcept = 0;
};

class Engine final : public RefCounted, LoopClient, ConnectionHost, ConnectionListener {
 public:
  // Starts connecting; with the thread driver, also the thread.
  static Error open(EngineConfig config, Ref<Engine>* out);

  Engine& engine() { return *this; }  // as other objects have it
  const EngineConfig& config() const { return config_; }
  // "<key_prefix><kind><name>".  Any thread.
  String key(std::string_view kind, std::string_view name) const;
  String key(std::string_view kind, std::string_view name, std::string_view suffix) const;

  // --- operations; any thread --------------------------------------------
  // Takes up the call: counts it against max_inflight, gives it its id and its deadline
  // (timeout_ms: 0 = the engine's default, negative = none).  After this it
  // must be completed.  Fails with AGAIN, CLOSED, FORKED.
  Error accept(Operation& operation, int64_t timeout_ms);
  // The same together with its commands, for those who hold submit_mutex(): if submit() fails,
  // nothing was accepted, and nobody has seen the operation.
  template <class Submit>
  Error accept_with(Operation& operation, int64_t timeout_ms, Submit submit) {
    Error error = accept_locked(operation, timeout_ms);
    if (!error.ok()) return error;
    try {
      error = submit();
    } catch (const std::bad_alloc&) {
      error = Error(PULSE_ERR_NO_MEMORY, "out of memory", PULSE_ERROR_NEVER_SENT);
    }
    if (!error.ok()) reject_locked(operation);
    return error;
  }
  // Memory for such operations; for those who hold submit_mutex().
  Recycler& operation_memory() { return *operation_memory_; }
  static constexpr size_t kOperationBytes = 320;
  pulse_status cancel(uint64_t operation_id);
  // An error if commands are refused because there is no connection and fail_fast is set,
  // or because `bytes` more would not fit in max_buffer_bytes.
  Error admit(const Connection& connection, size_t bytes) {
    const size_t buffered = connection.buffered();
    if (!config_.server.fail_fast &&
        (buffered == 0 || buffered + bytes <= static_cast<size_t>(config_.max_buffer_bytes))) {
      return {};
    }
    return admit_or_not(buffered, bytes);
  }
  // Takes back an accept, for a call that then fails at once with an error of its own.
  void reject(Operation& operation);
  // Completes an accepted operation from any thread.
  void complete_later(Ref<Operation> operation, const Error& error);

  // Blocks until the signal is set: PULSE_OK and the signal's own error is in
  // signal.error(); PULSE_ERR_TIMEOUT; PULSE_ERR_REENTRANT.  In the manual driver on
  // the driving thread it runs the loop.
  pulse_status wait(Signal& signal, int64_t timeout_ms);
  // The same with the outcome in one: the signal's error, or TIMEOUT with this text (and why
  // there is no connection).
  Error wait_for(Signal& signal, int64_t timeout_ms, std::string_view not_yet);
  bool may_wait() const;  // false inside an inline callback

  // --- work for the loop ------------------------------------------------------
  // Runs task() on the loop thread, in order.  Any thread.  False when the
  // engine is closed: the task was dropped.  Throws bad_alloc.
  bool post(Owned<Task> task);
  template <class F>
  bool post_call(F f) {
    return post(Owned<Task>(new CallTask<F>(std::move(f))));
  }
  void at_end_of_turn(TurnHook& hook);
  void forget_hook(TurnHook& hook);
  bool on_loop_thread() const {
    return loop_thread_.load(std::memory_order_relaxed) == this_thread_id();
  }

  // --- the server -------------------------------------------------------------
  Router& router() { return *router_; }
  // The connection for commands on this key.  Any thread.
  Connection& connection_for(std::string_view key) { return router_->for_key(key); }
  const ServerInfo& server() const { return server_; }
  // A copy for other threads.
  ServerInfo server_copy() const;
  // A call met its deadline.  `outcome`: NEVER_SENT or OUTCOME_UNKNOWN.
  Error deadline_passed(uint32_t outcome) const;
  // "<what>: not connected: <the last failure>" while that is so, else just `what`.
  Error while_not_connected(pulse_status code, std::string_view what, uint32_t flags) const;
  bool server_is_ready() const { return ready_.load(std::memory_order_acquire); }

  enum Attachment : uint8_t { kReadLanes, kSubscriptions, kCopyLane, kMapReaper, kAttachments };
  // Null until somebody makes one.
  Owned<EngineAttachment>& attachment(Attachment which) { return attachments_[which]; }

  // --- deliveries --------------------------------------------------------------
  // Hands over to the target.  Loop thread, or under the protection of the
  // caller's own order.  Internal targets are called in the same turn, whatever limits the host's
  // callbacks; their callbacks may throw bad_alloc, and then get the same event again.
  void deliver(Ref<Delivery> delivery);

  // --- objects ------------------------------------------------------------
  Error add_child(Ref<Child> child);  // any thread; CLOSED when closing
  void remove_child(Child& child);

  // --- life cycle; any thread --------------------------------------------
  Error ready_wait(int64_t timeout_ms);
  void close();
  Error close_wait(int64_t timeout_ms);
  // The host has no handle left.
  void abandon();
  bool closing() const { return closing_.load(std::memory_order_acquire); }
  bool closed() const { return closed_signal_->is_set(); }

  // --- manual driver ------------------------------------------------------
  int poll_fd() const;
  int64_t poll_timeout_ms();
  int64_t run_once(size_t max_events, int64_t budget_us);
  void wakeup() noexcept;

  void metrics(pulse_engine_metrics* out) const;
  String server_text() const;
  bool forked() const { return fork_generation() != fork_generation_; }

  // ConnectionHost
  Loop& loop() override { return loop_; }
  const ServerConfig& server_config() const override { return config_.server; }
  ConnectionCounters& counters() override { return counters_; }
  TlsContext* tls_context() override { return tls_.get(); }
  bool callers_may_write() const override {
    return config_.driver == PULSE_DRIVER_THREAD && !on_loop_thread();
  }
  AdaptiveMutex& submit_mutex() override { return operations_.mutex(); }
  void want_turn() noexcept override;
  void log(pulse_log_level level, std::string_view text) noexcept override;
  void server_seen(const ServerInfo& info) override;
  void connection_opened(Connection& connection) override { connections_.push_back(&connection); }
  void connection_gone(Connection& connection) noexcept override;

  explicit Engine(EngineConfig config);

 private:
  friend class Operation;
  ~Engine() override;

  // LoopClient
  void turn() noexcept override;
  void work_came_up() noexcept;
  bool came_too_late() const;
  // ConnectionListener
  void connection_ready(Connection& connection) override;
  void connection_lost(Connection& connection, const Error& error) override;

  static void thread_main(void* p);
  void run_loop() noexcept;
  void run_tasks();
  void run_task(Task& task) noexcept;
  template <class F>
  void for_children(F f) noexcept;
  void run_internal();
  void finish_internal() noexcept;
  size_t run_inline(size_t max_events, int64_t deadline_us);
  void run_hooks();
  void arm_operation_timer();
  void check_operations() noexcept;
  // `delivered`: what the host gets, the operation itself or one that stands in for it.
  void operation_completed(Operation& operation, Operation& delivered, const Error& error);
  void deliver_completed() noexcept;
  void operation_taken() noexcept { operations_.taken(); }
  Error admit_or_not(size_t buffered, size_t bytes);
  Error accept_locked(Operation& operation, int64_t timeout_ms);
  void reject_locked(Operation& operation);
  void change_state(pulse_engine_state state, const Error& error);
  void begin_close();
  void finish_close_if_done();
  void finish_close() noexcept;
  void shut_loop() noexcept;
  void spin(const Signal& signal, int64_t timeout_ms);
  pulse_status enter_loop();
  void leave_loop();

  LiveObject live_;
  EngineConfig config_;
  // What every call of every thread reads, apart from what the loop writes all the time.
  [[maybe_unused]] char apart_[64];
  const uint32_t fork_generation_;
  std::atomic<bool> closing_{false};
  std::atomic<bool> ready_{false};
  std::atomic<uint64_t> loop_thread_{0};            // who runs the loop; 0 = nobody
  std::atomic<int64_t> next_operation_ms_{kNever};  // the deadline that operation_timer_ is set to
  [[maybe_unused]] char apart_too_[64];
  Loop loop_;
  Thread thread_;
  std::atomic<int64_t> spin_until_us_{0};  // until then the loop's thread does not sleep
  std::mutex thread_mutex_;                // guards thread_'s join and detach
  ConnectionCounters counters_;
  Ref<TlsContext> tls_;
  Vector<Connection*> connections_;  // all that exist: flushed at the end of each turn
  Owned<Router> router_;
  Owned<EngineAttachment> attachments_[kAttachments];
  ServerInfo server_;
  mutable std::mutex server_mutex_;  // guards changes of server_, connect_error_, ready_signal_
  Error connect_error_;
  std::atomic<pulse_engine_state> state_{PULSE_ENGINE_CONNECTING};

  OperationTable operations_;
  Ref<Recycler> operation_memory_;
  // Completed, and not delivered yet: the table is locked once for all of them.  Loop thread.
  static constexpr size_t kMostCompleted = 64;
  Operation* completed_[kMostCompleted];
  size_t completed_count_ = 0;
  Timer operation_timer_;
  std::atomic<bool> arm_operation_timer_{false};  // it was made earlier
  std::atomic<uint64_t> rejected_{0}, timeouts_{0}, outcome_unknown_{0}, completions_{0};

  std::mutex task_mutex_;
  Owned<Task> first_task_;  // guarded by task_mutex_
  Task* last_task_ = nullptr;
  bool accepting_tasks_ = true;

  DeliveryList internal_;  // waiting for run_internal
  Ref<Delivery> internal_now_;
  pulse_event internal_event_{};  // of internal_now_, when size is set: not taken yet
  bool in_internal_ = false;
  DeliveryList inline_;      // waiting for run_inline
  size_t inline_limit_ = 0;  // of this run_once; 0 = none
  int64_t inline_deadline_us_ = kNever;
  size_t inline_ran_ = 0;
  Vector<TurnHook*> hooks_;
  bool in_turn_ = false;
  bool has_abandoned_ = false;  // commands may be queued whose operation has ended
  bool turn_again_ = false;     // work came up that this turn no longer reaches
  bool turn_due_ = false;       // work came up outside of a turn
  bool task_waits_ = false;     // posted by this thread since run_tasks()

  std::mutex child_mutex_;
  // By the order in which they came; both guarded by child_mutex_.
  Map<uint64_t, Ref<Child>> children_;
  uint64_t last_serial_ = 0;

  bool close_begun_ = false;
  bool finished_ = false;
  Timer close_timer_;
  Timer wait_timer_;
  Ref<Signal> closed_signal_;
  Ref<Signal> ready_signal_;

  std::atomic<uint64_t> driving_thread_{0};  // manual driver: who ran it last
  std::atomic<bool> running_{false};
  std::atomic<bool> abandoned_{false};  // manual driver: the host has no handle left
};

}  // namespace pulseengine

#endif
