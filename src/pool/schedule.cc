#include "pool/schedule.h"

#include <algorithm>

#include "pool/node_tickers.h"
#include "pool/pool_message.h"
#include "scripts.h"

namespace pulseengine {
namespace {

constexpr size_t kDispatchesAtATime = 32;
constexpr size_t kKeysPerRun = 200;
constexpr int64_t kPauseMs = 100;

}  // namespace

// A plan that the host is asked for.
class PlanRequest final : public TickerEvent {
 public:
  PlanRequest(Ref<SharedTarget> target, const Ref<PoolSchedule>& schedule, uint64_t serial)
      : TickerEvent(std::move(target), PULSE_EVENT_PLAN, schedule->name(), schedule),
        plan_(make_ref<PoolPlan>(schedule, serial)) {}

  uint64_t serial() const { return plan_->serial(); }

  bool next_event(pulse_event* event) override {
    if (!TickerEvent::next_event(event)) return false;
    plan_->set_seen();
    event->plan = reinterpret_cast<pulse_plan*>(plan_.get());
    return true;
  }

 private:
  const Ref<PoolPlan> plan_;
};

PoolSchedule::PoolSchedule(Ref<PoolNode> node, std::string_view name, const TickerConfig& config,
                           int64_t plan_timeout_ms, Target target)
    : PoolTicker(std::move(node), name, config, std::move(target)),
      jobs_name_(field()),
      jobs_key_(engine().key("map:", jobs_name_, ":content")),
      plan_timeout_ms_(plan_timeout_ms) {}

PoolSchedule::~PoolSchedule() = default;

// --- the plan -----------------------------------------------------------------------------------

bool PoolSchedule::prepare() {
  if (work_ != Work::none) return false;
  if (!planned_) planned_ = make_ref<TickerEvent>(target(), PULSE_EVENT_PLANNED, name());
  if (!request_) {
    request_ = make_ref<PlanRequest>(target(), Ref<PoolSchedule>::share(this), next_serial_++);
  }
  return true;
}

void PoolSchedule::ticked(const Tick& tick) noexcept {
  tick.describe(request_.get());
  open_plan_.store(request_->serial(), std::memory_order_release);
  work_ = Work::asking;
  give_up_ms_ = deadline_after(plan_timeout_ms_);
  engine().deliver(std::move(request_));
}

bool PoolSchedule::close_plan(uint64_t serial) noexcept {
  return open_plan_.compare_exchange_strong(serial, 0, std::memory_order_acq_rel);
}

void PoolSchedule::planned(PlanContent content, const Error& outcome) noexcept {
  if (!running() || work_ != Work::asking) return;
  if (outcome.ok()) {
    content_ = std::move(content);
    started_ = stopped_ = 0;
    work_ = content_.stop_schedule ? Work::leaving : Work::starting;
  } else {
    failed(outcome, 1);
    finish();
  }
  go_on();
}

// Who opened the schedule first plans at once.
void PoolSchedule::begun(int32_t how) noexcept { plan_at_once_ = how == PULSE_TICKER_NEW; }

void PoolSchedule::watch_over(int64_t now_ms) {
  if (!running()) return;
  if (!watch_) join_jobs();
  if (plan_at_once_ && prepare()) {
    plan_at_once_ = false;
    Tick tick;
    tick.point_us = entry().next_us - entry().interval_ns / 1000;
    tick.revision = revision();
    ticked(tick);
  }
  if (work_ == Work::asking && now_ms >= give_up_ms_ && close_plan(open_plan_.load())) {
    failed(Error(PULSE_ERR_TIMEOUT, "the plan was not answered in time"), 1);
    finish();
  }
  if (now_ms >= retry_ms_) work();
}

void PoolSchedule::work() {
  if (work_ == Work::starting) {
    start_some();
    note_some();
    if (started_ < content_.starts.size() || dispatching_ > 0 || sending_ || !notes_.empty())
      return;
    work_ = content_.stop_others ? Work::listing : Work::stopping;
  }
  if (sending_) return;
  if (work_ == Work::listing) list();
  if (work_ == Work::stopping) stop_some();
  if (work_ == Work::leaving) leave();
}

void PoolSchedule::failed(const Error& error, uint64_t count) noexcept {
  if (!planned_) return;  // closed
  if (planned_->error.ok()) planned_->error = error;
  planned_->id.seq += count;
}

void PoolSchedule::finish() noexcept {
  work_ = Work::none;
  content_ = PlanContent();
  engine().deliver(std::move(planned_));
}

// --- starting jobs ------------------------------------------------------------------------------

void PoolSchedule::start_some() {
  while (started_ < content_.starts.size() && dispatching_ < kDispatchesAtATime) {
    const PlanContent::Start& next = content_.starts[started_];
    auto start = make_ref<Start>();
    start->schedule = Ref<PoolSchedule>::share(this);
    start->key = next.key;
    Target target(on_started, start.get(), start);
    Ref<Operation> operation;
    const Error error = node().dispatch(std::string_view(next.key), std::string_view(next.payload),
                                        0, std::move(target), nullptr, &operation);
    if (error.code() == PULSE_ERR_AGAIN) {
      retry_ms_ = monotonic_ms() + kPauseMs;
      return;
    }
    started_++;
    if (error.ok()) {
      dispatching_++;
    } else {
      failed(error, 1);
    }
  }
}

void PoolSchedule::on_started(const pulse_event* event, void* p) {
  auto* start = static_cast<Start*>(p);
  PoolSchedule& schedule = *start->schedule;
  const bool unknown = (event->flags & PULSE_ERROR_OUTCOME_UNKNOWN) != 0;
  if (!start->done && !schedule.stopped_for_good_) {
    // What may have been started must be there to be stopped.
    if (event->status == PULSE_OK || event->status == PULSE_ERR_EXISTS || unknown) {
      schedule.notes_.push_back({event->status != PULSE_ERR_EXISTS, start->key});
    }
    if (event->status == PULSE_OK) {
      if (schedule.planned_) schedule.planned_->count++;
    } else if (event->status != PULSE_ERR_EXISTS) {
      schedule.failed(Error(event->status, {event->message, event->message_len}, event->flags), 1);
    }
  }
  if (!start->done) schedule.dispatching_--;
  start->done = true;
  if (schedule.running()) {
    schedule.go_on();
  } else {
    schedule.note_some();
  }
}

void PoolSchedule::note_some() {
  if (sending_ || notes_.empty()) return;
  Vector<Note> some;
  const size_t count = std::min(notes_.size(), kKeysPerRun);
  some.assign(notes_.begin(), notes_.begin() + static_cast<ptrdiff_t>(count));
  const int64_t now = node().server_now_ns();
  Vector<String> arguments;
  for (const Note& note : some) {
    arguments.push_back(note.started ? "set" : "seen");
    arguments.push_back(note.key);
    arguments.emplace_back();
    fmt::format_to(std::back_inserter(arguments.back()), "{}", now);
  }
  send_plan(true, std::move(arguments), [this, count](const Error& error, Reply*) {
    if (!error.ok() && !error.is_final() && running()) {
      retry_ms_ = monotonic_ms() + kPauseMs;
      return;
    }
    if (!error.ok()) failed(error, count);
    const size_t sent = std::min(count, notes_.size());  // ended() may have dropped them
    notes_.erase(notes_.begin(), notes_.begin() + static_cast<ptrdiff_t>(sent));
  });
}

// --- stopping jobs ------------------------------------------------------------------------------

void PoolSchedule::list() {
  auto format = [this, self = Ref<PoolSchedule>::share(this)](CommandWriter& w, bool) {
    w.command("HKEYS", std::string_view(jobs_key_));
  };
  auto done = [this, self = Ref<PoolSchedule>::share(this)](const Error& error, Reply* reply) {
    sending_ = false;
    if (!running()) return;
    content_.stops.clear();
    if (error.ok()) {
      take_list(*reply);
    } else {
      failed(error, 1);
    }
    work_ = Work::stopping;
    go_on();
  };
  sending_ = true;
  try {
    node().send(nullptr, true, std::move(format), std::move(done));
  } catch (const std::bad_alloc&) {
    sending_ = false;
    throw;
  }
}

void PoolSchedule::take_list(Reply& reply) {
  Vector<std::string_view> kept;
  for (const PlanContent::Start& start : content_.starts) kept.emplace_back(start.key);
  std::sort(kept.begin(), kept.end());
  const size_t count = reply.next().elements();
  for (size_t i = 0; i < count; i++) {
    const std::string_view key = reply.next().text;
    if (key.empty() || key[0] == '=') continue;
    if (!std::binary_search(kept.begin(), kept.end(), key)) content_.stops.emplace_back(key);
  }
}

void PoolSchedule::stop_some() {
  if (stopped_ == content_.stops.size()) {
    finish();
    return;
  }
  const size_t count = std::min(content_.stops.size() - stopped_, kKeysPerRun);
  Vector<String> arguments;
  for (size_t i = 0; i < count; i++) {
    const String& key = content_.stops[stopped_ + i];
    arguments.emplace_back("stop");
    arguments.push_back(key);
    arguments.emplace_back();
    append_job_key(std::string_view(key), &arguments.back());
  }
  send_plan(false, std::move(arguments), [this, count](const Error& error, Reply* reply) {
    if (!running()) return;
    stopped_ += count;
    const int64_t stopped = error.ok() ? reply->next().integer : 0;
    if (stopped > 0) planned_->id.ms += static_cast<uint64_t>(stopped);
    if (!error.ok()) failed(error, count);
    if (stopped < 0) {
      failed(Error(PULSE_ERR_NO_POOL, "no node of the pool routes jobs", PULSE_ERROR_RETRIABLE),
             count);
    }
  });
}

// --- what goes to the server ---------------------------------------------------------

template <class Done>
void PoolSchedule::send_plan(bool repeatable, Vector<String> arguments, Done done) {
  auto format = [this, self = Ref<PoolSchedule>::share(this), arguments = std::move(arguments)](
                    CommandWriter& w, bool eval) {
    w.begin_script(scripts::pool_plan, eval, 2, 1 + arguments.size());
    w.arg(std::string_view(jobs_key_));
    w.arg(std::string_view(node().names().pool_stream));
    w.arg(kRouters);
    for (const String& argument : arguments) w.arg(std::string_view(argument));
  };
  auto finished = [this, self = Ref<PoolSchedule>::share(this), done = std::move(done)](
                      const Error& error, Reply* reply) mutable {
    sending_ = false;
    done(error, reply);
    if (running()) {
      go_on();
    } else if (error.ok()) {
      note_some();
    }
  };
  sending_ = true;
  try {
    node().send(&scripts::pool_plan, repeatable, std::move(format), std::move(finished));
  } catch (const std::bad_alloc&) {
    sending_ = false;
    throw;
  }
}

// `whole`: else just its jobs are forgotten.
template <class Done>
void PoolSchedule::send_stop(bool whole, Done done) {
  auto format = [this, self = Ref<PoolSchedule>::share(this), whole](CommandWriter& w, bool eval) {
    format_ticker_stop(w, eval, node().names(), jobs_key(),
                       whole ? std::string_view(field()) : std::string_view());
  };
  node().send(&scripts::pool_ticker_stop, false, std::move(format), std::move(done));
}

void PoolSchedule::leave() {
  auto done = [this, self = Ref<PoolSchedule>::share(this)](const Error& error, Reply*) {
    sending_ = false;
    if (!running()) return;
    if (error.ok()) {
      end(Error(), true);
    } else if (error.is_final()) {
      failed(error, 1);
      finish();
    } else {
      retry_ms_ = monotonic_ms() + kPauseMs;
    }
  };
  sending_ = true;
  try {
    send_stop(true, std::move(done));
  } catch (const std::bad_alloc&) {
    sending_ = false;
    throw;
  }
}

// --- the map of its jobs -------------------------------------------------------------

void PoolSchedule::join_jobs() {
  const Ref<PoolSchedule> self = Ref<PoolSchedule>::share(this);
  if (!jobs_) {
    (void)ReplicatedMap::join(Ref<Engine>::share(&engine()), std::string_view(jobs_name_),
                              node().map_config(), Target(), &jobs_);
    if (!jobs_) return;  // the engine closes
  }
  WatchConfig config;
  config.mode = PULSE_WATCH_DELTAS;
  auto watch = make_ref<MapWatch>(jobs_, config, ChangeFilter(), Target(on_jobs, this, self));
  jobs_->watch(watch);
  watch_ = std::move(watch);
}

// A reset is how nodes of the Go library say that the schedule stops.  One that is found in a
// copy may be older than this schedule.
void PoolSchedule::on_jobs(const pulse_event* event, void* p) {
  auto* schedule = static_cast<PoolSchedule*>(p);
  if (event->kind == PULSE_EVENT_WATCH_RESYNC) schedule->copying_ = true;
  if (event->kind == PULSE_EVENT_WATCH_CAUGHT_UP) schedule->copying_ = false;
  if (event->kind != PULSE_EVENT_MAP_CHANGE || schedule->copying_) return;
  if (event->state != PULSE_MAP_OP_RESET && event->state != PULSE_MAP_OP_DESTROY) return;
  if (schedule->work_ != Work::leaving) schedule->drop();
}

void PoolSchedule::ended(const Error& error, bool stopped) noexcept {
  stopped_for_good_ = stopped || error.code() == PULSE_ERR_SHUTTING_DOWN;
  request_ = nullptr;
  planned_ = nullptr;
  work_ = Work::none;
  content_ = PlanContent();
  open_plan_.store(0, std::memory_order_release);
  if (watch_) watch_->close();
  if (jobs_) jobs_->close();
  if (stopped_for_good_) notes_.clear();
  if (error.code() != PULSE_ERR_SHUTTING_DOWN) return;
  try {
    // Not more: other nodes are to learn of the shutdown, not of a stop.
    send_stop(false, [](const Error&, Reply*) {});
  } catch (const std::bad_alloc&) {
    // The map stays; a later schedule of this name may ask to stop what does not exist.
  }
}

}  // namespace pulseengine
