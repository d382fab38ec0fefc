#include "engine/engine.h"

#include <algorithm>
#include <thread>

#include "base/clock.h"
#include "engine/queue.h"

namespace pulseengine {
namespace {

// How long closing waits at most for what is under way, where commands have no deadline.
constexpr int64_t kCloseGraceMs = 10000;

// Memory of operations that have ended: some 350 KiB.
constexpr uint32_t kOperationsKept = 1024;

// Whether trying again cannot help as long as nobody changes something.
bool hopeless(const Error& error) {
  switch (error.code()) {
    case PULSE_ERR_AUTH:
    case PULSE_ERR_PERMISSION:
    case PULSE_ERR_NO_SERVER:
    case PULSE_ERR_INVALID:
      return true;
    case PULSE_ERR_TLS:
      return (error.flags() & PULSE_ERROR_RETRIABLE) == 0;
    default:
      return false;
  }
}

bool same(const Error& a, const Error& b) {
  return a.code() == b.code() && a.message() == b.message();
}

// One change of the engine's state, or of what keeps it there.
class StateEvent final : public Delivery {
 public:
  StateEvent(Ref<SharedTarget> target, pulse_engine_state state, const Error& error)
      : target_(std::move(target)), state_(state), error_(error) {}
  const Target& target() const override { return target_->target(); }
  size_t remaining() const override { return taken_ ? 0 : 1; }
  bool next_event(pulse_event* event) override {
    if (taken_) return false;
    taken_ = true;
    event->kind = PULSE_EVENT_ENGINE_STATE;
    event->state = state_;
    event->status = error_.code();
    event->flags = error_.flags();
    event->message = error_.message().data();
    event->message_len = error_.message().size();
    return true;
  }

 private:
  Ref<SharedTarget> target_;
  const pulse_engine_state state_;
  const Error error_;
  bool taken_ = false;
};

}  // namespace

// --- life cycle --------------------------------------------------------------

Engine::Engine(EngineConfig config)
    : config_(std::move(config)),
      fork_generation_(fork_generation()),
      operations_(config_.max_inflight),
      operation_memory_(make_ref<Recycler>(kOperationBytes, kOperationsKept)),
      closed_signal_(make_ref<Signal>()),
      ready_signal_(make_ref<Signal>()) {}

Engine::~Engine() { router_.reset(); }

Error Engine::open(EngineConfig config, Ref<Engine>* out) {
  Ref<TlsContext> tls;
  if (config.server.url.scheme == Url::Scheme::tls) {
    Error error = TlsContext::create(config.server.url, &tls);
    if (!error.ok()) return error;
  }
  Ref<Engine> engine = make_ref<Engine>(std::move(config));
  Engine& e = *engine;
  e.tls_ = std::move(tls);
  Error error = e.loop_.open(&e);
  if (!error.ok()) return error;
  try {
    // Until the loop is handed to its thread it is this thread's.
    e.loop_thread_.store(this_thread_id());
    e.operation_timer_.open(
        e.loop_, [](void* p) { static_cast<Engine*>(p)->check_operations(); }, &e);
    e.close_timer_.open(
        e.loop_, [](void* p) { static_cast<Engine*>(p)->finish_close(); }, &e);
    e.wait_timer_.open(
        e.loop_, [](void*) {}, &e);
    e.router_ = make_single_router(e, &e, e.config_.command_connections);
    e.driving_thread_.store(this_thread_id());
    e.change_state(PULSE_ENGINE_CONNECTING, Error());
    e.router_->open();
    e.loop_thread_.store(0);
    if (e.config_.driver == PULSE_DRIVER_THREAD) {
      Ref<Engine> of_thread = engine;
      error = e.thread_.start(thread_main, &e);
      if (error.ok()) {
        of_thread.release();
      } else {
        e.loop_thread_.store(this_thread_id());
        e.finish_close();
        e.shut_loop();
        return error;
      }
    }
  } catch (const std::bad_alloc&) {
    e.finish_close();
    e.shut_loop();
    throw;
  }
  *out = std::move(engine);
  return {};
}

void Engine::thread_main(void* p) {
  Ref<Engine> engine = Ref<Engine>::adopt(static_cast<Engine*>(p));
  engine->loop_thread_.store(this_thread_id());
  if (engine->config_.thread_start != nullptr) {
    engine->config_.thread_start(engine->config_.thread_start_user_data);
  }
  engine->run_loop();
  engine->shut_loop();
}

// Until the engine is closed.
void Engine::run_loop() noexcept {
  if (config_.wait_spin_us == 0) {
    loop_.run();
    return;
  }
  while (!finished_) {
    if (monotonic_us() < spin_until_us_.load(std::memory_order_relaxed)) {
      loop_.run_nowait();
    } else {
      loop_.run_wait();
    }
  }
}

void Engine::close() {
  closing_.store(true, std::memory_order_release);
  if (!closed()) wakeup();
}

// Calls f for each child, without an allocation.  A child may be removed meanwhile.
template <class F>
void Engine::for_children(F f) noexcept {
  for (uint64_t after = 0;;) {
    Ref<Child> child;
    {
      std::lock_guard<std::mutex> lock(child_mutex_);
      auto at = children_.upper_bound(after);
      if (at == children_.end()) return;
      after = at->first;
      child = at->second;
    }
    try {
      f(*child);
    } catch (const std::bad_alloc&) {
      log(PULSE_LOG_ERROR, "out of memory: an object was not told of a change");
    }
  }
}

// First step: the objects close; calls under way get their chance.
void Engine::begin_close() {
  close_begun_ = true;
  for_children([](Child& child) { child.close_child(); });
  int64_t grace = config_.command_timeout_ms < 0 ? kCloseGraceMs : config_.command_timeout_ms;
  close_timer_.start(grace);
}

void Engine::finish_close_if_done() {
  bool children_left;
  {
    std::lock_guard<std::mutex> lock(child_mutex_);
    children_left = !children_.empty();
  }
  // Without a connection nothing under way can end well.
  if (!ready_.load() || (!children_left && operations_.active() == 0)) finish_close();
}

// Last step: what is left ends here.
void Engine::finish_close() noexcept {
  if (finished_) return;
  finished_ = true;
  closing_.store(true);
  Error closed(PULSE_ERR_CLOSED, "the engine was closed");
  for_children([&](Child& child) { child.abort_child(closed); });
  Map<uint64_t, Ref<Child>> children;
  {
    std::lock_guard<std::mutex> lock(child_mutex_);
    children.swap(children_);
  }
  children.clear();
  for (Owned<EngineAttachment>& attachment : attachments_) attachment.reset();
  if (router_) router_->close(closed);
  Owned<Task> tasks;
  {
    std::lock_guard<std::mutex> lock(task_mutex_);
    accepting_tasks_ = false;
    tasks = std::move(first_task_);
    last_task_ = nullptr;
  }
  // Posted before the end: they find everything closed, and say so.
  while (tasks) {
    run_task(*tasks);
    tasks = std::move(tasks->next);
  }
  size_t index = 0;
  while (Ref<Operation> operation = operations_.next(&index)) {
    Error error = closed;
    error.add_flags(operation->sent_any ? PULSE_ERROR_OUTCOME_UNKNOWN : PULSE_ERROR_NEVER_SENT);
    operation->complete(error);
  }
  finish_internal();
  run_inline(0, kNever);
  change_state(PULSE_ENGINE_CLOSED, Error());
  run_inline(0, kNever);
  operation_timer_.reset();
  close_timer_.reset();
  wait_timer_.reset();
  loop_.stop();
}

// The loop is of no further use: closes it, and lets waiters go.
void Engine::shut_loop() noexcept {
  loop_.close();
  config_.state_target = nullptr;
  loop_thread_.store(0);
  closed_signal_->set(Error());
  {
    std::lock_guard<std::mutex> lock(server_mutex_);
    ready_signal_->set(Error(PULSE_ERR_CLOSED, "the engine was closed"));
  }
}

Error Engine::close_wait(int64_t timeout_ms) {
  if (on_loop_thread()) return Error(PULSE_ERR_REENTRANT, "close_wait inside an inline callback");
  close();
  Error error = wait_for(*closed_signal_, timeout_ms, "not closed yet");
  if (!error.ok()) return error;
  std::lock_guard<std::mutex> lock(thread_mutex_);
  thread_.join();
  return {};
}

void Engine::abandon() {
  if (forked()) {
    // Tearing it down would reach into descriptors that the parent still uses.
    ref();
    return;
  }
  closing_.store(true, std::memory_order_release);
  if (config_.driver == PULSE_DRIVER_THREAD) {
    {
      std::lock_guard<std::mutex> lock(thread_mutex_);
      thread_.detach();
    }
    if (!closed()) wakeup();
    return;
  }
  // Nobody will run the loop again: close here and now.  While somebody is in it,
  // which may be a callback of this thread, whoever leaves it does that.
  abandoned_.store(true);
  if (closed() || enter_loop() != PULSE_OK) return;
  leave_loop();
}

// --- the driver --------------------------------------------------------------

bool Engine::may_wait() const { return !on_loop_thread(); }

pulse_status Engine::enter_loop() {
  if (on_loop_thread()) return PULSE_ERR_REENTRANT;
  if (running_.exchange(true, std::memory_order_acquire)) return PULSE_ERR_BUSY;
  loop_thread_.store(this_thread_id());
  driving_thread_.store(this_thread_id());
  return PULSE_OK;
}

void Engine::leave_loop() {
  do {
    if (abandoned_.load() && !closed()) finish_close();
    if (finished_ && !closed()) shut_loop();
    loop_thread_.store(0);
    running_.store(false, std::memory_order_release);
  } while (abandoned_.load() && !closed() && enter_loop() == PULSE_OK);
}

int Engine::poll_fd() const {
  return config_.driver == PULSE_DRIVER_MANUAL && !closed() ? loop_.backend_fd() : -1;
}

int64_t Engine::poll_timeout_ms() {
  if (config_.driver != PULSE_DRIVER_MANUAL || closed()) return -1;
  if (on_loop_thread()) return 0;
  if (running_.exchange(true, std::memory_order_acquire)) return 0;
  int64_t timeout = closed() ? -1 : !inline_.empty() ? 0 : loop_.backend_timeout_ms();
  running_.store(false, std::memory_order_release);
  return timeout;
}

int64_t Engine::run_once(size_t max_events, int64_t budget_us) {
  if (config_.driver != PULSE_DRIVER_MANUAL) return PULSE_ERR_INVALID;
  pulse_status status = enter_loop();
  if (status != PULSE_OK) return status;
  if (closed()) {
    leave_loop();
    return PULSE_ERR_CLOSED;
  }
  // A callback may drop the host's last handle.
  Ref<Engine> self = Ref<Engine>::share(this);
  inline_limit_ = max_events;
  inline_deadline_us_ = budget_us > 0 ? monotonic_us() + budget_us : kNever;
  inline_ran_ = 0;
  loop_.run_nowait();
  // From 1.45 on libuv runs timers last: what they have begun has not had its turn.
  if (turn_due_) turn();
  auto ran = static_cast<int64_t>(inline_ran_);
  inline_limit_ = 0;
  inline_deadline_us_ = kNever;
  leave_loop();
  return ran;
}

// Keeps the loop's thread awake, and the caller where that leaves a processor for the server.
void Engine::spin(const Signal& signal, int64_t timeout_ms) {
  static const bool enough = std::thread::hardware_concurrency() > 2;
  if (timeout_ms == 0) return;
  const int64_t until = monotonic_us() + config_.wait_spin_us;
  spin_until_us_.store(until, std::memory_order_relaxed);
  while (enough && !signal.is_set() && monotonic_us() < until) {
  }
}

pulse_status Engine::wait(Signal& signal, int64_t timeout_ms) {
  if (on_loop_thread()) return PULSE_ERR_REENTRANT;
  int64_t deadline = deadline_after(timeout_ms);
  bool mine = config_.driver == PULSE_DRIVER_MANUAL && driving_thread_.load() == this_thread_id();
  if (!mine) {
    if (config_.wait_spin_us > 0) spin(signal, timeout_ms);
    return signal.wait_until(deadline) ? PULSE_OK : PULSE_ERR_TIMEOUT;
  }
  Ref<Engine> self = Ref<Engine>::share(this);
  bool waited = false;
  while (!signal.is_set()) {
    int64_t left = deadline == kNever ? -1 : deadline - monotonic_ms();
    if (deadline != kNever && left <= 0 && waited) return PULSE_ERR_TIMEOUT;
    waited = true;
    pulse_status status = enter_loop();
    if (status != PULSE_OK) return status;
    if (closed()) {
      leave_loop();
      break;
    }
    if (left == 0) {
      loop_.run_nowait();
    } else {
      if (left > 0) wait_timer_.start(left);
      loop_.run_wait();
      wait_timer_.stop();
    }
    leave_loop();
  }
  return signal.is_set() ? PULSE_OK : PULSE_ERR_TIMEOUT;
}

Error Engine::wait_for(Signal& signal, int64_t timeout_ms, std::string_view not_yet) {
  pulse_status status = wait(signal, timeout_ms);
  if (status == PULSE_OK) return signal.error();
  if (status == PULSE_ERR_TIMEOUT) {
    return while_not_connected(status, not_yet, PULSE_ERROR_RETRIABLE);
  }
  return Error(status, "it cannot be waited for here", PULSE_ERROR_RETRIABLE);
}

void Engine::wakeup() noexcept {
  if (!closed()) loop_.wake();
}

void Engine::want_turn() noexcept {
  if (on_loop_thread()) {
    work_came_up();
  } else {
    loop_.wake();
  }
}

// On the loop thread.
void Engine::work_came_up() noexcept {
  if (in_turn_) {
    turn_again_ = true;
  } else {
    turn_due_ = true;  // one comes before the loop waits, or before run_once returns
  }
}

void Engine::turn() noexcept {
  if (finished_) return;
  in_turn_ = true;
  turn_due_ = false;
  deliver_completed();
  try {
    turn_again_ = false;
    if (arm_operation_timer_.load(std::memory_order_relaxed) &&
        arm_operation_timer_.exchange(false, std::memory_order_acquire)) {
      arm_operation_timer();
    }
    run_tasks();
    if (closing_.load(std::memory_order_acquire)) {
      if (!close_begun_) begin_close();
      finish_close_if_done();
    }
    run_internal();
    run_inline(inline_limit_, inline_deadline_us_);
    run_tasks();  // of the callbacks
    run_internal();
    run_hooks();
    if (has_abandoned_) {
      for (size_t i = 0; i < connections_.size(); i++) connections_[i]->drop_abandoned();
      has_abandoned_ = false;
    }
    // What came up meanwhile was for the connections, below, but for what belongs further above.
    if (!close_begun_) turn_again_ = came_too_late();
  } catch (const std::bad_alloc&) {
    // What is queued stays queued: the next turn goes on.
    turn_again_ = true;
  }
  if (!finished_) {
    for (Owned<EngineAttachment>& attachment : attachments_) {
      if (attachment) attachment->flush();
    }
    for (size_t i = 0; i < connections_.size(); i++) connections_[i]->flush();
    if (turn_again_ || !inline_.empty()) loop_.wake();
  }
  in_turn_ = false;
}

// Whether something waits that only the next turn reaches.
bool Engine::came_too_late() const {
  return task_waits_ || completed_count_ > 0 || internal_now_ || !internal_.empty() ||
         !hooks_.empty() || arm_operation_timer_.load(std::memory_order_relaxed);
}

// --- tasks and hooks ----------------------------------------------------------

bool Engine::post(Owned<Task> task) {
  {
    std::lock_guard<std::mutex> lock(task_mutex_);
    if (!accepting_tasks_) return false;
    Task* last = task.get();
    if (last_task_ == nullptr) {
      first_task_ = std::move(task);
    } else {
      last_task_->next = std::move(task);
    }
    last_task_ = last;
  }
  if (on_loop_thread()) task_waits_ = true;
  want_turn();
  return true;
}

void Engine::run_tasks() {
  task_waits_ = false;
  Owned<Task> task;
  {
    std::lock_guard<std::mutex> lock(task_mutex_);
    task = std::move(first_task_);
    last_task_ = nullptr;
  }
  while (task) {
    Owned<Task> next = std::move(task->next);
    run_task(*task);
    task = std::move(next);
  }
}

void Engine::run_task(Task& task) noexcept {
  try {
    task.run();
  } catch (const std::bad_alloc&) {
    log(PULSE_LOG_ERROR, "out of memory: a request was not carried out");
  }
}

void Engine::at_end_of_turn(TurnHook& hook) {
  if (hook.queued_) return;
  hooks_.push_back(&hook);
  hook.queued_ = true;
  work_came_up();
}

void Engine::forget_hook(TurnHook& hook) {
  if (!hook.queued_) return;
  hooks_.erase(std::find(hooks_.begin(), hooks_.end(), &hook));
  hook.queued_ = false;
}

void Engine::run_hooks() {
  while (!hooks_.empty()) {
    TurnHook* hook = hooks_.back();
    hooks_.pop_back();
    hook->queued_ = false;
    try {
      hook->end_of_turn();
    } catch (const std::bad_alloc&) {
      at_end_of_turn(*hook);  // there is room for it: it was just taken out
      throw;
    }
  }
}

// --- deliveries ---------------------------------------------------------------

void Engine::deliver(Ref<Delivery> delivery) {
  if (completed_count_ > 0 && on_loop_thread()) deliver_completed();
  const Target& target = delivery->target();
  if (target.queue() != nullptr) {
    Ref<Queue> queue = Ref<Queue>::share(target.queue());
    delivery->leaves_engine();
    queue->push(std::move(delivery));
  } else if (target.callback() != nullptr && closed()) {
    // There is no loop thread any more: whoever comes late is told on the spot.
    pulse_event event{};
    event.size = sizeof event;
    event.token = target.token();
    while (delivery->next_event(&event)) target.callback()(&event, target.user_data());
  } else if (target.internal()) {
    internal_.push(std::move(delivery));
    if (!in_internal_) turn_again_ = true;
  } else if (target.callback() != nullptr) {
    inline_.push(std::move(delivery));
    work_came_up();
  }
}

// What is under way to objects that have ended already.
void Engine::finish_internal() noexcept {
  try {
    run_internal();
  } catch (const std::bad_alloc&) {
    log(PULSE_LOG_ERROR, "out of memory while closing");
  }
  internal_now_ = nullptr;
  internal_.clear();
}

void Engine::run_internal() {
  in_internal_ = true;
  deliver_completed();
  try {
    while (internal_now_ || !internal_.empty()) {
      if (!internal_now_) internal_now_ = internal_.pop();
      const Target& target = internal_now_->target();
      for (;;) {
        if (internal_event_.size == 0) {
          pulse_event event{};
          if (!internal_now_->next_event(&event)) break;
          internal_event_ = event;
          internal_event_.size = sizeof event;
        }
        target.callback()(&internal_event_, target.user_data());
        internal_event_.size = 0;
      }
      internal_now_ = nullptr;
    }
  } catch (const std::bad_alloc&) {
    in_internal_ = false;
    throw;
  }
  in_internal_ = false;
}

size_t Engine::run_inline(size_t max_events, int64_t deadline_us) {
  size_t ran = 0;
  while (!inline_.empty()) {
    if (max_events > 0 && inline_ran_ >= max_events) break;
    if (deadline_us != kNever && monotonic_us() >= deadline_us) break;
    Delivery& delivery = *inline_.front();
    const Target& target = delivery.target();
    pulse_event event{};
    event.size = sizeof event;
    event.token = target.token();
    bool got = delivery.next_event(&event);
    const Ref<Delivery> keep =
        delivery.remaining() == 0 ? inline_.pop() : Ref<Delivery>::share(&delivery);
    if (!got) continue;
    ran++;
    inline_ran_++;
    target.callback()(&event, target.user_data());
  }
  return ran;
}

// --- operations ----------------------------------------------------------------

Error Engine::accept(Operation& operation, int64_t timeout_ms) {
  std::lock_guard<AdaptiveMutex> lock(submit_mutex());
  return accept_locked(operation, timeout_ms);
}

Error Engine::accept_locked(Operation& operation, int64_t timeout_ms) {
  if (forked()) return Error(PULSE_ERR_FORKED, "the engine belongs to the parent process");
  if (closing()) return Error(PULSE_ERR_CLOSED, "the engine is closed", PULSE_ERROR_NEVER_SENT);
  if (timeout_ms == 0) timeout_ms = config_.command_timeout_ms;
  const int64_t deadline = rough_deadline_after(timeout_ms);
  operation.engine_ = this;
  operation.taken_ = true;  // until it counts
  Error error = operations_.add_locked(operation, deadline);
  if (!error.ok()) {
    rejected_.fetch_add(1, std::memory_order_relaxed);
    return error;
  }
  operation.taken_ = false;
  // Whoever makes the earliest deadline earlier tells the loop.
  int64_t armed = next_operation_ms_.load(std::memory_order_relaxed);
  while (deadline < armed) {
    if (next_operation_ms_.compare_exchange_weak(armed, deadline)) {
      arm_operation_timer_.store(true, std::memory_order_release);
      want_turn();
      break;
    }
  }
  return {};
}

// Whoever calls it has a reference.
void Engine::reject(Operation& operation) {
  std::lock_guard<AdaptiveMutex> lock(submit_mutex());
  reject_locked(operation);
}

void Engine::reject_locked(Operation& operation) {
  operation.completed_.store(true);
  operation.taken_ = true;
  operations_.remove_locked(operation);
  operation.unref();
  operation_taken();
}

void Engine::complete_later(Ref<Operation> operation, const Error& error) {
  if (post_call([operation, error] { operation->complete(error); })) return;
  // The loop has ended, and with it what else could complete it.
  operation->complete(error);
}

Error Engine::admit_or_not(size_t buffered, size_t bytes) {
  if (config_.server.fail_fast && !server_is_ready()) {
    return while_not_connected(PULSE_ERR_DISCONNECTED, "fail_fast is set",
                               PULSE_ERROR_RETRIABLE | PULSE_ERROR_NEVER_SENT);
  }
  if (buffered > 0 && buffered + bytes > static_cast<size_t>(config_.max_buffer_bytes)) {
    rejected_.fetch_add(1, std::memory_order_relaxed);
    return Error::make(PULSE_ERR_AGAIN, PULSE_ERROR_RETRIABLE | PULSE_ERROR_NEVER_SENT,
                       "max_buffer_bytes ({}) wait to be sent", config_.max_buffer_bytes);
  }
  return {};
}

void Engine::operation_completed(Operation& operation, Operation& delivered, const Error& error) {
  if (error.code() == PULSE_ERR_TIMEOUT) timeouts_.fetch_add(1, std::memory_order_relaxed);
  if ((error.flags() & PULSE_ERROR_OUTCOME_UNKNOWN) != 0) {
    outcome_unknown_.fetch_add(1, std::memory_order_relaxed);
  }
  if (!operation.signal_ && &operation == &delivered && on_loop_thread()) {
    completed_[completed_count_++] = &operation;
    if (completed_count_ == kMostCompleted) {
      deliver_completed();
    } else if (completed_count_ == 1) {
      work_came_up();
    }
    return;
  }
  completions_.fetch_add(1, std::memory_order_relaxed);
  Ref<Operation> keep = Ref<Operation>::share(&delivered);
  operations_.remove(operation);
  if (operation.signal_) {
    operation.signal_->set(error);
  } else {
    deliver(std::move(keep));
  }
}

// What is delivered otherwise comes after what has completed before it.
void Engine::deliver_completed() noexcept {
  while (completed_count_ > 0) {
    Operation* operations[kMostCompleted];
    const size_t count = std::exchange(completed_count_, 0);
    std::copy(completed_, completed_ + count, operations);
    completions_.fetch_add(count, std::memory_order_relaxed);
    operations_.remove_all(operations, count);
    for (size_t i = 0; i < count; i++) {
      Ref<Operation> operation = Ref<Operation>::adopt(operations[i]);
      const Target& target = operation->Operation::target();
      if (target.callback() != nullptr && target.queue() == nullptr && !target.internal()) {
        inline_.push(std::move(operation));  // as deliver() would; the loop runs
      } else {
        deliver(std::move(operation));
      }
    }
    if (!inline_.empty()) work_came_up();
  }
}

pulse_status Engine::cancel(uint64_t operation_id) {
  if (forked()) return PULSE_ERR_FORKED;
  Ref<Operation> operation = operations_.find(operation_id);
  if (!operation) return PULSE_ERR_NOT_FOUND;
  post_call([this, operation] {
    operation->complete_early(
        Error(PULSE_ERR_CANCELLED, "cancelled",
              operation->sent_any ? PULSE_ERROR_OUTCOME_UNKNOWN : PULSE_ERROR_NEVER_SENT));
    has_abandoned_ = true;
  });
  return PULSE_OK;
}

void Engine::arm_operation_timer() {
  int64_t at = next_operation_ms_.load(std::memory_order_relaxed);
  if (at != kNever && !finished_) operation_timer_.start(at - monotonic_ms());
}

void Engine::check_operations() noexcept {
  try {
    Vector<Ref<Operation>> late;
    int64_t next = kNever;
    // Lowered by accept meanwhile, it is armed again by accept.
    next_operation_ms_.store(kNever);
    operations_.expired(monotonic_ms(), &late, &next);
    // Whoever came meanwhile may have set a later one.
    int64_t current = kNever;
    while (next < current && !next_operation_ms_.compare_exchange_weak(current, next)) {
    }
    arm_operation_timer();
    for (Ref<Operation>& operation : late) {
      has_abandoned_ = true;
      operation->complete_early(deadline_passed(operation->sent_any ? PULSE_ERROR_OUTCOME_UNKNOWN
                                                                    : PULSE_ERROR_NEVER_SENT));
    }
  } catch (const std::bad_alloc&) {
    next_operation_ms_.store(monotonic_ms() + 100);
    arm_operation_timer();
  }
}

// --- objects --------------------------------------------------------------------

Error Engine::add_child(Ref<Child> child) {
  std::lock_guard<std::mutex> lock(child_mutex_);
  if (closing()) return Error(PULSE_ERR_CLOSED, "the engine is closed");
  const uint64_t serial = last_serial_ + 1;
  child->serial_ = serial;
  children_.emplace(serial, std::move(child));
  last_serial_ = serial;
  return {};
}

void Engine::remove_child(Child& child) {
  Ref<Child> keep;
  {
    std::lock_guard<std::mutex> lock(child_mutex_);
    auto it = children_.find(child.serial_);
    if (it == children_.end()) return;
    keep = std::move(it->second);
    children_.erase(it);
  }
  want_turn();
}

// --- the server -----------------------------------------------------------------

void Engine::connection_gone(Connection& connection) noexcept {
  auto it = std::find(connections_.begin(), connections_.end(), &connection);
  if (it != connections_.end()) connections_.erase(it);
}

void Engine::connection_ready(Connection&) {
  if (!router_->all_ready() || ready_.load()) return;
  state_.store(PULSE_ENGINE_READY);  // before ready_wait can return
  {
    std::lock_guard<std::mutex> lock(server_mutex_);
    connect_error_ = Error();
    ready_.store(true, std::memory_order_release);
    ready_signal_->set(Error());
  }
  change_state(PULSE_ENGINE_READY, Error());
  for_children([](Child& child) { child.server_ready(); });
}

void Engine::connection_lost(Connection&, const Error& error) {
  bool was_ready = ready_.load();
  bool news;
  {
    std::lock_guard<std::mutex> lock(server_mutex_);
    news = !same(connect_error_, error);
    connect_error_ = error;
    ready_.store(false, std::memory_order_release);
    if (hopeless(error)) ready_signal_->set(error);
  }
  if (!was_ready) {
    if (error.code() == PULSE_ERR_CLOSED) return;
    log(PULSE_LOG_INFO, error.message());
    // A first connection that fails is told; not each attempt, but each reason.
    if (news && state_.load() == PULSE_ENGINE_CONNECTING) {
      change_state(PULSE_ENGINE_CONNECTING, error);
    }
    return;
  }
  change_state(PULSE_ENGINE_LOST, error);
  for_children([&](Child& child) { child.server_lost(error); });
}

Error Engine::ready_wait(int64_t timeout_ms) {
  int64_t deadline = deadline_after(timeout_ms);
  for (;;) {
    Ref<Signal> signal;
    {
      std::lock_guard<std::mutex> lock(server_mutex_);
      if (closing()) return Error(PULSE_ERR_CLOSED, "the engine is closed");
      if (server_is_ready()) return {};
      if (hopeless(connect_error_)) return connect_error_;
      if (ready_signal_->is_set()) ready_signal_ = make_ref<Signal>();  // of a time that is over
      signal = ready_signal_;
    }
    int64_t left = deadline == kNever ? -1 : std::max<int64_t>(deadline - monotonic_ms(), 0);
    pulse_status status = wait(*signal, left);
    if (status == PULSE_OK) {
      // Ready, hopeless or closed: the next round tells which.
      if (signal->error().ok()) return {};
      if (signal->error().code() == PULSE_ERR_CLOSED || hopeless(signal->error())) {
        return signal->error();
      }
      continue;
    }
    if (status != PULSE_ERR_TIMEOUT) return Error(status, "inside an inline callback");
    std::lock_guard<std::mutex> lock(server_mutex_);
    if (server_is_ready()) return {};
    return connect_error_.ok()
               ? Error(PULSE_ERR_TIMEOUT, "not connected yet", PULSE_ERROR_RETRIABLE)
               : Error::make(PULSE_ERR_TIMEOUT, PULSE_ERROR_RETRIABLE, "not connected: {}",
                             connect_error_.message());
  }
}

Error Engine::while_not_connected(pulse_status code, std::string_view what, uint32_t flags) const {
  std::lock_guard<std::mutex> lock(server_mutex_);
  if (server_is_ready() || closing()) return Error(code, what, flags);
  if (connect_error_.ok()) return Error::make(code, flags, "{}: not connected yet", what);
  return Error::make(code, flags, "{}: not connected: {}", what, connect_error_.message());
}

Error Engine::deadline_passed(uint32_t outcome) const {
  constexpr std::string_view kWhat = "the deadline passed";
  const uint32_t flags = PULSE_ERROR_RETRIABLE | outcome;
  if ((outcome & PULSE_ERROR_NEVER_SENT) == 0) return Error(PULSE_ERR_TIMEOUT, kWhat, flags);
  return while_not_connected(PULSE_ERR_TIMEOUT, kWhat, flags);
}

void Engine::server_seen(const ServerInfo& info) {
  std::lock_guard<std::mutex> lock(server_mutex_);
  server_ = info;
}

ServerInfo Engine::server_copy() const {
  std::lock_guard<std::mutex> lock(server_mutex_);
  return server_;
}

String Engine::server_text() const { return server_copy().text(); }

void Engine::change_state(pulse_engine_state state, const Error& error) {
  state_.store(state);
  switch (state) {
    case PULSE_ENGINE_CONNECTING:
      if (error.ok()) log(PULSE_LOG_DEBUG, "connecting");
      break;
    case PULSE_ENGINE_READY:
      log(PULSE_LOG_INFO, "connected");
      break;
    case PULSE_ENGINE_LOST:
      log(PULSE_LOG_WARNING, error.message());
      break;
    default:
      log(PULSE_LOG_INFO, "closed");
      break;
  }
  if (!config_.state_target) return;
  try {
    deliver(make_ref<StateEvent>(config_.state_target, state, error));
  } catch (const std::bad_alloc&) {
    log(PULSE_LOG_ERROR, "out of memory: a change of state was not delivered");
  }
}

void Engine::log(pulse_log_level level, std::string_view text) noexcept {
  if (level <= config_.log_level) config_.log.write(level, text);
}

String Engine::key(std::string_view kind, std::string_view name) const {
  return key(kind, name, {});
}

String Engine::key(std::string_view kind, std::string_view name, std::string_view suffix) const {
  String key;
  key.reserve(config_.key_prefix.size() + kind.size() + name.size() + suffix.size());
  key.append(config_.key_prefix).append(kind).append(name).append(suffix);
  return key;
}

void Engine::metrics(pulse_engine_metrics* out) const {
  auto load = [](const std::atomic<uint64_t>& a) { return a.load(std::memory_order_relaxed); };
  out->state = state_.load();
  out->connections = counters_.open.load(std::memory_order_relaxed);
  out->operations = operations_.accepted();
  out->completions = load(completions_);
  out->inflight = operations_.inflight();
  out->buffered_bytes = closed() ? 0 : router_->buffered();
  out->commands_sent = load(counters_.commands_sent);
  out->bytes_sent = load(counters_.bytes_sent);
  out->bytes_received = load(counters_.bytes_received);
  out->writes = load(counters_.writes);
  out->connects = load(counters_.connects);
  out->disconnects = load(counters_.disconnects);
  out->errors_replied = load(counters_.errors_replied);
  out->timeouts = load(timeouts_);
  out->outcome_unknown = load(outcome_unknown_);
  out->rejected = load(rejected_);
}

}  // namespace pulseengine
