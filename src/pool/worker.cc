#include "pool/worker.h"

#include <algorithm>

#include "base/ulid.h"
#include "pool/pool_message.h"
#include "scripts.h"

namespace pulseengine {
namespace {

// Error texts that peers know.
constexpr std::string_view kExists = "job already exists";
// Of pool_update.lua.
constexpr std::string_view kEnded = "ended";

constexpr int64_t kMostMoves = 64;  // stops for the sake of others at a time
constexpr size_t kMostNotifications = 1000;
constexpr int64_t kFirstPauseMs = 100;
constexpr int64_t kMostPauseMs = 5000;
// Between two looks at a job that another worker has.
constexpr int64_t kLeastHeldMs = 20, kMostHeldMs = 250;
// So many times to live a silent worker may take to be buried.
constexpr int64_t kPatienceWithDead = 4;

Error closed_error() { return Error(PULSE_ERR_CLOSED, "the worker is closed"); }

}  // namespace

PoolWorker::PoolWorker(Ref<PoolNode> node, int64_t start_concurrency, Target target)
    : node_(std::move(node)),
      start_concurrency_(start_concurrency),
      ready_signal_(make_ref<Signal>()),
      closed_signal_(make_ref<Signal>()),
      target_(make_ref<SharedTarget>(std::move(target))),
      ready_notice_(make_ref<Notice>(target_, PULSE_EVENT_READY, node_->names().plain)),
      closed_notice_(make_ref<Notice>(target_, PULSE_EVENT_CLOSED, node_->names().plain)) {}

PoolWorker::~PoolWorker() = default;

size_t PoolWorker::id_text_to(char* text, size_t capacity) const {
  std::lock_guard<std::mutex> lock(mutex_);
  if (text == nullptr || capacity < kUlidLength + 1 || id_.empty()) return 0;
  id_.copy(text, kUlidLength);
  text[kUlidLength] = '\0';
  return kUlidLength;
}

void PoolWorker::close() noexcept {
  if (closing_.exchange(true, std::memory_order_acq_rel)) return;
  try {
    engine().post_call(
        [worker = Ref<PoolWorker>::share(this)] { worker->leave(PULSE_STOP_MOVED); });
  } catch (const std::bad_alloc&) {
    // tick() sees it.
  }
}

void PoolWorker::tell(pulse_event_kind kind, uint64_t count, const Error& error) noexcept {
  if (!target_) return;
  try {
    auto notice = make_ref<Notice>(target_, kind, std::string_view(node_->names().plain));
    notice->count = count;
    notice->error = error;
    engine().deliver(std::move(notice));
  } catch (const std::bad_alloc&) {
    node_->log(PULSE_LOG_ERROR, "no memory to tell of a worker's state");
  }
}

// --- joining -------------------------------------------------------------------------------

void PoolWorker::join() {
  if (joining_ || closed() || (phase_ != Phase::idle && phase_ != Phase::joining)) return;
  String id = make_ulid();
  const std::string_view node(node_->id());
  id.replace(kUlidLength - kSharedIdEnd, kSharedIdEnd, node.substr(kUlidLength - kSharedIdEnd));
  auto stream = make_ref<Stream>(Ref<Engine>::share(&engine()),
                                 std::string_view(PoolNames::worker_stream(std::string_view(id))),
                                 StreamOptions());
  String init;
  append_message(PoolEnvelope{node, std::string_view(id)}, &init);
  {
    std::lock_guard<std::mutex> lock(mutex_);
    id_ = id;
  }
  stream_ = std::move(stream);
  taken_ = dropped_ = {0, 0};
  // Answers about jobs that it lost under its last id.
  updates_.clear();
  sent_ = nullptr;
  sending_ = false;
  incarnation_++;
  phase_ = Phase::joining;
  auto format = [this, init = std::move(init)](CommandWriter& w, bool eval) {
    const PoolNames& names = node_->names();
    w.begin_script(scripts::pool_add_worker, eval, 5, 3);
    w.arg(std::string_view(names.node_keepalive));
    w.arg(std::string_view(names.worker_keepalive));
    w.arg(std::string_view(names.workers));
    w.arg(std::string_view(names.shutdown));
    w.arg(std::string_view(stream_->key()));
    w.arg(std::string_view(node_->id()));
    w.arg(std::string_view(id_));
    w.arg(std::string_view(init));
  };
  joining_ = true;
  try {
    node_->send(&scripts::pool_add_worker, true, std::move(format),
                [this, self = Ref<PoolWorker>::share(this)](const Error& e, Reply* r) {
                  joining_ = false;
                  joined(e, r);
                });
  } catch (const std::bad_alloc&) {
    joining_ = false;
    throw;
  }
}

void PoolWorker::joined(const Error& error, Reply* reply) {
  if (phase_ != Phase::joining) return;  // closed meanwhile
  if (!error.ok())
    return;  // tick() tries again, under another id: whether this one is known is not
  reply->next();
  const std::string_view result = reply->next().text;
  if (result != "ok") {
    phase_ = Phase::idle;  // the node learns by itself what has happened
    node_->keepalive_soon();
    return;
  }
  phase_ = Phase::running;
  open_reader();
  if (closing_.load(std::memory_order_acquire)) leave(leave_reason_);
}

void PoolWorker::open_reader() {
  ReaderOptions reading;
  reading.buffer = reading.buffer_bytes = -1;
  reading.block_ms = node_->config().block_ms;
  ReadStart oldest;
  oldest.start = PULSE_START_OLDEST;
  (void)Reader::open(stream_, reading, oldest, make_owned<Filter>(),
                     Target(on_event, this, Ref<RefCounted>::share(this)), &reader_);
}

void PoolWorker::close_reader() noexcept {
  if (reader_) reader_->close();
  reader_ = nullptr;
}

// --- what routers send ------------------------------------------------------------------------

void PoolWorker::on_event(const pulse_event* event, void* p) {
  static_cast<PoolWorker*>(p)->take_event(*event);
}

void PoolWorker::take_event(const pulse_event& event) {
  if (phase_ != Phase::running) return;
  const std::string_view stream(event.stream, event.stream_len);
  if (event.kind == PULSE_EVENT_READY) {
    if (!ready_signal_->is_set()) {
      ready_signal_->set(Error());
      engine().deliver(std::move(ready_notice_));
    }
    return;
  }
  // It had no memory to begin.
  if (event.kind == PULSE_EVENT_CLOSED && reader_ && reader_->closed()) reader_ = nullptr;
  if (event.kind != PULSE_EVENT_MESSAGE || stream != std::string_view(stream_->name())) return;
  const std::string_view name(event.name, event.name_len);
  const std::string_view payload(event.payload, event.payload_len);
  PoolEnvelope envelope;
  // Once more, as there was no memory for its last line, or the reader was opened anew?
  if (!id_less(taken_, event.id)) {
    node_->has_updates();
    return;
  }
  if (!parse_message(payload, &envelope)) {
    malformed();
  } else {
    const auto pool_event = header_of(event, pool_header::kEvent).value_or(std::string_view());
    RouterEvent from;
    from.node = String(envelope.sender);
    from.event = id_text(event.id);
    from.pool_event = String(pool_event);
    if (name == pool_event::kStart) {
      from.guard = String(header_of(event, pool_header::kGuard).value_or(std::string_view()));
      take_start(envelope.payload, std::move(from));
    } else if (name == pool_event::kStop) {
      take_stop(envelope.payload, std::move(from));
    } else if (name == pool_event::kNotify) {
      take_notification(envelope.payload, std::move(from));
    } else if (name != pool_event::kInit) {
      malformed();
    }
  }
  taken_ = event.id;
  node_->has_updates();
}

void PoolWorker::malformed() {
  node_->counters.malformed.fetch_add(1, std::memory_order_relaxed);
  node_->log(PULSE_LOG_WARNING, "an event of a worker's stream cannot be read");
}

void PoolWorker::take_start(std::string_view message, RouterEvent from) {
  JobMessage start;
  if (!parse_message(message, &start) || start.key.empty()) {
    malformed();
    answer(from, "malformed job");
    return;
  }
  from.dispatcher = String(start.node);
  from.key = String(start.key);
  auto found = jobs_.find(String(start.key));
  if (found != jobs_.end()) {
    PoolJob& job = *found->second;
    using State = PoolJob::State;
    if (job.state == State::stopping || job.state == State::ending) {
      // It runs again when it has ended here, by what this event says then.
      again_.push_back({String(start.key), String(message), std::move(from)});
    } else if (!job.is_of(start)) {
      String text(kExists);
      text += ": job \"";
      text.append(start.key.data(), start.key.size());
      text += '"';
      answer(from, std::string_view(text));
    } else if (job.state == State::running) {
      answer(from, {});
    } else {
      job.starts.push_back(std::move(from));
    }
    return;
  }
  auto job = make_ref<PoolJob>(Ref<PoolWorker>::share(this), std::string_view(id_), start.key,
                               start.payload, start.node, start.created_ns, start.requeued);
  job->starts.push_back(std::move(from));
  const auto place = jobs_.emplace(job->key(), job).first;
  try {
    // What is in the queue once more has ended if it does not exist.
    update(start.requeued ? Update::What::take : Update::What::own, job);
  } catch (const std::bad_alloc&) {
    jobs_.erase(place);
    throw;
  }
  count_jobs();
}

void PoolWorker::take_stop(std::string_view message, RouterEvent from) {
  std::string_view key;
  if (!parse_job_key(message, &key)) {
    malformed();
    answer(from, "malformed job key");
    return;
  }
  auto found = jobs_.find(String(key));
  // Not here (any more): the router finds out where it is, without an answer.
  if (found == jobs_.end() || found->second->state == PoolJob::State::ending) return;
  PoolJob& job = *found->second;
  job.stops.push_back(std::move(from));
  // A stop ends the job even if it was to move.
  if (job.state == PoolJob::State::stopping && job.stop_reason == PULSE_STOP_MOVED) {
    job.stop_reason = PULSE_STOP_REQUESTED;
    moving_--;
    return;
  }
  // While another worker may have it, it is not ours to end: see claimed().
  if (job.state == PoolJob::State::claiming || job.state == PoolJob::State::held) return;
  want_stop(job, PULSE_STOP_REQUESTED);
}

void PoolWorker::take_notification(std::string_view message, RouterEvent from) {
  PoolNotification notification;
  if (!parse_message(message, &notification)) {
    malformed();
    answer(from, "malformed notification");
    return;
  }
  auto found = jobs_.find(String(notification.key));
  if (found == jobs_.end()) return;
  PoolJob& job = *found->second;
  if (job.state == PoolJob::State::ending || job.state == PoolJob::State::stopping) return;
  if (job.notifications.size() >= kMostNotifications) {
    answer(from, "too many notifications wait for this job");
    return;
  }
  job.notifications.push_back({String(notification.payload), std::move(from)});
  try_pump(job);
}

// --- a job's way ------------------------------------------------------------------------------

// Does what can be done now.
void PoolWorker::pump(PoolJob& job, int64_t now_ms) {
  using State = PoolJob::State;
  if (job.has_answers()) {
    Ref<PoolJob> keep = Ref<PoolJob>::share(&job);
    job.settle_answers();
  }
  if (job.state == State::stopping && !job.asked()) {
    if (job.with_host) {
      ask_stop(job);
    } else {
      stopped(job);
    }
    finish_phase();
    return;
  }
  if (suspect_ || (phase_ != Phase::running && phase_ != Phase::leaving)) return;
  if (job.state == State::held &&
      (now_ms >= job.at_ms ||
       !node_->owns(std::string_view(job.held_by), std::string_view(job.key())))) {
    // The server knows better than the replica.
    update(Update::What::take, Ref<PoolJob>::share(&job));
    job.state = State::claiming;
  }
  if (job.state == State::waiting && now_ms >= job.at_ms) {
    if (may_start()) {
      job.ask(target_, PoolJob::Request::start, 0, String());
      job.state = State::starting;
      starting_++;
    } else if (!job.listed_waiting) {
      waiting_.push_back(Ref<PoolJob>::share(&job));
      job.listed_waiting = true;
    }
  }
  if (job.state == State::running && !job.asked() && !job.notifications.empty()) ask_notify(job);
}

// What there is no memory for now is done with the next tick.
void PoolWorker::try_pump(PoolJob& job) noexcept {
  try {
    pump(job, monotonic_ms());
  } catch (const std::bad_alloc&) {
  }
}

void PoolWorker::ask_notify(PoolJob& job) {
  job.ask(target_, PoolJob::Request::notify, 0, job.notifications.front().payload);
  job.notifying = true;
}

void PoolWorker::pump_all() {
  const int64_t now = monotonic_ms();
  Vector<Ref<PoolJob>> jobs;
  jobs.reserve(jobs_.size());
  for (const auto& [key, job] : jobs_) {
    using State = PoolJob::State;
    const bool idle =
        !job->asked() && (job->state == State::stopping || !job->notifications.empty());
    if (idle || job->has_answers() || job->state == State::held || job->state == State::waiting) {
      jobs.push_back(job);
    }
  }
  for (const Ref<PoolJob>& job : jobs) pump(*job, now);
}

// Others have started.
void PoolWorker::pump_waiting(int64_t now_ms) {
  while (!waiting_.empty() && may_start()) {
    Ref<PoolJob> job = std::move(waiting_.front());
    waiting_.pop_front();
    job->listed_waiting = false;
    // Of what there is no memory for, and what is to be tried later, the next tick takes care.
    if (job->state == PoolJob::State::waiting) pump(*job, now_ms);
  }
}

// Those that wait for another worker to give them up.
void PoolWorker::jobs_changed(int64_t now_ms) {
  Vector<Ref<PoolJob>> held;
  held.swap(held_);
  for (const Ref<PoolJob>& job : held) job->listed_held = false;
  for (const Ref<PoolJob>& job : held) {
    if (job->state != PoolJob::State::held) continue;
    pump(*job, now_ms);
    if (job->state == PoolJob::State::held) list_held(*job);
  }
}

void PoolWorker::list_held(PoolJob& job) {
  if (job.listed_held) return;
  held_.push_back(Ref<PoolJob>::share(&job));
  job.listed_held = true;
}

void PoolWorker::answered(PoolJob& job) noexcept {
  Ref<PoolJob> keep = Ref<PoolJob>::share(&job);
  try_pump(job);
}

// First all that needs memory, so that it can be done again, then the change of state.
void PoolWorker::settle(PoolJob& job, PoolJob::Request request, pulse_status status,
                        std::string_view text) {
  if (job.state == PoolJob::State::gone) {
    if (request != PoolJob::Request::none) job.answer_done();
    return;
  }
  switch (request) {
    case PoolJob::Request::start:
      start_answered(job, status, text);
      break;
    case PoolJob::Request::stop:
      if (status != PULSE_OK) log_answer("stopped badly", job, status, text);
      job.with_host = false;
      job.answer_done();
      break;
    case PoolJob::Request::notify:
      if (job.notifying) {
        String error;
        if (status != PULSE_OK) {
          log_answer("did not take a notification", job, status, text);
          error = text.empty() ? String(pulse_status_message(status)) : String(text);
        }
        answer(job.notifications.front().from, std::string_view(error));
        job.notifying = false;
        job.notifications.pop_front();
      }
      job.answer_done();
      break;
    case PoolJob::Request::none:
      if (status != PULSE_OK) log_answer("ended", job, status, text);
      finished(job);
  }
  finish_phase();
}

void PoolWorker::log_answer(std::string_view what, const PoolJob& job, pulse_status status,
                            std::string_view text) {
  Error line = Error::make(status, 0, "job {} {}: {}", job.key(), what,
                           text.empty() ? std::string_view(pulse_status_message(status)) : text);
  node_->log(PULSE_LOG_WARNING, line.message());
}

void PoolWorker::start_answered(PoolJob& job, pulse_status status, std::string_view text) {
  const bool stopping = job.state == PoolJob::State::stopping;
  if (status == PULSE_OK) {
    answer_all(&job.starts, {});
    if (job.requeued()) node_->counters.moved_in.fetch_add(1, std::memory_order_relaxed);
    if (!stopping) job.state = PoolJob::State::running;
  } else if (stopping) {
    job.with_host = false;  // it does not run, which is what was wanted
  } else if (status == PULSE_ERR_AGAIN || job.requeued()) {
    // A job that exists is not given up because one worker could not take it.
    const int64_t most = std::max(node_->config().grace_ms, kFirstPauseMs);
    job.pause_ms = std::min(most, job.pause_ms == 0 ? kFirstPauseMs : job.pause_ms * 2);
    job.at_ms = monotonic_ms() + job.pause_ms;
    job.state = PoolJob::State::waiting;
    job.with_host = false;
  } else {
    const String error = text.empty() ? String(pulse_status_message(status)) : String(text);
    answer_all(&job.starts, std::string_view(error));
    over(job, Update::What::end);
    job.with_host = false;
  }
  starting_--;
  job.answer_done();
  if (job.state == PoolJob::State::running) move_if_elsewhere(job);
  pump_waiting(monotonic_ms());
}

void PoolWorker::want_stop(PoolJob& job, pulse_stop_reason reason) {
  using State = PoolJob::State;
  switch (job.state) {
    case State::stopping:
      if (reason == PULSE_STOP_LOST || reason == PULSE_STOP_SHUTDOWN) job.stop_reason = reason;
      return;
    case State::ending:
    case State::gone:
      return;
    default:
      break;
  }
  if (reason == PULSE_STOP_MOVED) moving_++;
  job.stop_reason = reason;
  job.state = State::stopping;
  try_pump(job);
}

// When no other request is open.  What came before a stop is handled before it; when the job goes
// on elsewhere, it is sent there.
void PoolWorker::ask_stop(PoolJob& job) {
  if (job.asked()) return;
  if (job.stop_reason == PULSE_STOP_REQUESTED && !job.notifications.empty()) {
    ask_notify(job);
    return;
  }
  job.ask(target_, PoolJob::Request::stop, job.stop_reason, String());
}

void PoolWorker::stopped(PoolJob& job) {
  if (job.state != PoolJob::State::stopping) return;
  switch (job.stop_reason) {
    case PULSE_STOP_MOVED: {
      // A job that was not started yet is still with its router, which sends it elsewhere.
      if (!job.starts.empty()) {
        over(job, Update::What::drop);
        moving_--;
        break;
      }
      String event;
      append_message(JobMessage{std::string_view(job.key()), std::string_view(job.dispatcher()),
                                std::string_view(job.payload()), job.created_ns(), true},
                     &event);
      over(job, Update::What::move, std::move(event));
      moving_--;
      if (phase_ == Phase::leaving) handed_over_++;
      node_->counters.moved_out.fetch_add(1, std::memory_order_relaxed);
      break;
    }
    case PULSE_STOP_LOST:
      forget(job);
      break;
    default:
      answer_all(&job.stops, {});
      answer_all(&job.starts, "the job was stopped");
      over(job, Update::What::end);
  }
  if (unbalanced_ && moving_ < kMostMoves / 2 && phase_ == Phase::running) rebalance();
}

// It ended by itself.
void PoolWorker::finished(PoolJob& job) {
  if (job.state == PoolJob::State::ending || job.state == PoolJob::State::gone) return;
  const bool moving = job.state == PoolJob::State::stopping && job.stop_reason == PULSE_STOP_MOVED;
  if (phase_ == Phase::dying) {
    forget(job);
    return;
  }
  answer_all(&job.stops, {});
  over(job, Update::What::end);
  if (moving) moving_--;
  node_->counters.finished.fetch_add(1, std::memory_order_relaxed);
}

// The server is told that the job is not this worker's any more.
void PoolWorker::over(PoolJob& job, Update::What what, String event) {
  if (what == Update::What::end) {
    for (; !job.notifications.empty(); job.notifications.pop_front()) {
      answer(job.notifications.front().from, {});
    }
  }
  update(what, Ref<PoolJob>::share(&job), std::move(event));
  job.set_over();
  job.state = PoolJob::State::ending;
  job.notifying = false;
  job.notifications.clear();
}

void PoolWorker::forget(PoolJob& job) {
  if (job.state == PoolJob::State::gone) return;
  Ref<PoolJob> keep = Ref<PoolJob>::share(&job);
  job.set_over();
  job.state = PoolJob::State::gone;
  jobs_.erase(job.key());
  count_jobs();
}

void PoolWorker::count_jobs() {
  const size_t before = job_count_.exchange(jobs_.size(), std::memory_order_relaxed);
  node_->counters.jobs.fetch_add(jobs_.size() - before, std::memory_order_relaxed);
}

void PoolWorker::rebalance() noexcept {
  unbalanced_ = true;
  try {
    move_some();
  } catch (const std::bad_alloc&) {
  }
}

// Not all at a time: when some have moved, the next ones follow.
void PoolWorker::move_some() {
  if (!may_move()) return;
  Vector<Ref<PoolJob>> moving;
  bool more = false;
  for (const auto& [key, job] : jobs_) {
    if (!belongs_elsewhere(*job)) continue;
    more = moving_ + static_cast<int64_t>(moving.size()) >= kMostMoves;
    if (more) break;
    moving.push_back(job);
  }
  unbalanced_ = more;
  for (const Ref<PoolJob>& job : moving) want_stop(*job, PULSE_STOP_MOVED);
}

// It has come to run: the workers may be others than when it was sent here.
void PoolWorker::move_if_elsewhere(PoolJob& job) {
  if (!belongs_elsewhere(job)) return;
  if (may_move()) {
    want_stop(job, PULSE_STOP_MOVED);
  } else {
    unbalanced_ = true;
  }
}

bool PoolWorker::may_move() const {
  return phase_ == Phase::running && !suspect_ && moving_ < kMostMoves &&
         node_->is_active(std::string_view(id_));
}

bool PoolWorker::belongs_elsewhere(const PoolJob& job) const {
  if (job.state != PoolJob::State::running) return false;
  const std::string_view to = node_->route(std::string_view(job.key()));
  return !to.empty() && to != std::string_view(id_);
}

// --- what the server is told -----------------------------------------------------------------

void PoolWorker::answer(const RouterEvent& to, std::string_view error) {
  auto stream_of = [this](const String& node) {
    return engine().key("pulse:stream:", node_->names().node_stream(std::string_view(node)));
  };
  String ack;
  append_message(PoolAck{std::string_view(to.event), error}, &ack);
  Update answer;
  answer.what = Update::What::ack;
  append_message(PoolEnvelope{std::string_view(id_), std::string_view(ack)}, &answer.text);
  answer.router = answer.dispatcher = stream_of(to.node);
  if (!to.pool_event.empty()) {
    answer.pool_event = to.pool_event;
    if (!to.dispatcher.empty()) {
      answer.dispatcher = stream_of(to.dispatcher);
      append_message(PoolAck{std::string_view(to.pool_event), error}, &answer.dispatched);
      answer.key = to.key;
      answer.guard = to.guard;
    }
  }
  update(std::move(answer));
}

void PoolWorker::answer_all(Vector<RouterEvent>* events, std::string_view error) {
  for (; !events->empty(); events->pop_back()) answer(events->back(), error);
}

void PoolWorker::update(Update::What what, Ref<PoolJob> job, String text) {
  Update next;
  next.what = what;
  next.text = std::move(text);
  next.job = std::move(job);
  update(std::move(next));
}

void PoolWorker::update(Update update) {
  node_->has_updates();
  updates_.push_back(std::move(update));
}

Ref<UpdateBatch> PoolWorker::next_updates(int64_t now_ms, UpdateRoom* room) {
  // One that others have buried has nothing to tell: what is left is about its former id.
  if (!in_pool() || sending_ || now_ms < retry_ms_ || !has_updates()) return {};
  if (!sent_) {
    auto batch = make_ref<UpdateBatch>(id_, stream_->key(), incarnation_);
    size_t count = 0;
    for (; count < updates_.size() && !room->empty(); count++) room->take(updates_[count]);
    const auto end = updates_.begin() + static_cast<ptrdiff_t>(count);
    // Together with what has become of these events, or later.
    if (count == updates_.size() && id_less(dropped_, taken_)) {
      batch->taken = taken_;
      batch->unread = id_text(id_after(taken_));
    }
    batch->updates.reserve(count);
    batch->updates.assign(std::make_move_iterator(updates_.begin()), std::make_move_iterator(end));
    updates_.erase(updates_.begin(), end);
    sent_ = std::move(batch);
  } else {
    for (const Update& update : sent_->updates) room->take(update);
  }
  return sent_;
}

void PoolWorker::updated(const UpdateBatch& batch, const Error& error, Reply* reply) {
  if (batch.incarnation != incarnation_ || phase_ == Phase::closed) return;
  sending_ = false;
  if (!error.ok()) {
    // The same ones again: what they are about waits for it.
    pause_ms_ = std::min(kMostPauseMs, pause_ms_ == 0 ? kFirstPauseMs : 2 * pause_ms_);
    retry_ms_ = monotonic_ms() + pause_ms_;
    if ((error.flags() & PULSE_ERROR_SERVER) != 0) node_->log(PULSE_LOG_ERROR, error.message());
    return;
  }
  pause_ms_ = 0;
  if (!reply->next().is_array()) {
    declared_dead();
    return;
  }
  const Ref<UpdateBatch> keep = sent_;
  try {
    for (const Update& u : keep->updates) {
      std::string_view owner;
      if (u.claims()) owner = reply->next().text;
      confirm(u, owner);
    }
  } catch (const std::bad_alloc&) {
    retry_ms_ = monotonic_ms() + kFirstPauseMs;  // all are sent again, and what was done stays
    return;
  }
  if (id_less(dropped_, keep->taken)) dropped_ = keep->taken;
  sent_ = nullptr;
  if (has_updates()) node_->has_updates();
  finish_phase();
}

void PoolWorker::confirm(const Update& u, std::string_view owner) {
  using What = Update::What;
  if (u.what == What::gone) {
    departed_ = true;
  } else if (u.claims()) {
    if (u.job->state == PoolJob::State::claiming) claimed(*u.job, owner);
  } else if (u.job) {
    forget(*u.job);
    // What came for its key meanwhile begins anew.
    for (size_t i = 0; i < again_.size();) {
      if (again_[i].key != u.job->key()) {
        i++;
        continue;
      }
      // Without memory for its start it stays.
      const String message = again_[i].message;
      RouterEvent from = again_[i].from;
      take_start(std::string_view(message), std::move(from));
      again_.erase(again_.begin() + static_cast<ptrdiff_t>(i));
      i = 0;
    }
  }
}

// `owner`: another worker that had the job already.
void PoolWorker::claimed(PoolJob& job, std::string_view owner) {
  using State = PoolJob::State;
  const int64_t now = monotonic_ms(), ttl = node_->config().ttl_ms;
  const bool alive = !owner.empty() && node_->is_alive(owner);
  const bool waited = job.patient_until_ms != 0 && now >= job.patient_until_ms;
  // A Go worker that leaves is off the list of active ones first.
  const bool stays = alive && (node_->is_ours(owner) || (waited && node_->is_active(owner)));
  if (owner == kEnded || stays) {
    // Or it runs there, or will be put into the queue by that worker: this event is one too many.
    answer_all(&job.starts, {});
    over(job, Update::What::drop);
    return;
  }
  // A Go worker puts its jobs into the queue before it stops them.  One that is silent may come
  // back until it is buried, which we do ourselves if nobody else does.
  if (job.patient_until_ms == 0)
    job.patient_until_ms = now + (alive ? ttl : kPatienceWithDead * ttl);
  if (owner.empty() || now >= job.patient_until_ms) {
    job.state = State::waiting;
    if (!job.stops.empty()) {
      want_stop(job, PULSE_STOP_REQUESTED);
      return;
    }
    job.at_ms = 0;
    try_pump(job);
    return;
  }
  list_held(job);
  job.held_by = String(owner);
  job.state = State::held;
  job.at_ms = std::min(job.patient_until_ms, now + std::clamp(ttl / 20, kLeastHeldMs, kMostHeldMs));
}

// --- declared dead ----------------------------------------------------------------------------

void PoolWorker::set_suspect(bool suspect) {
  if (suspect_ == suspect) return;
  suspect_ = suspect;
  if (!suspect) pump_all();
}

void PoolWorker::declared_dead() noexcept {
  if (phase_ != Phase::running && phase_ != Phase::leaving) return;
  Ref<PoolWorker> self = Ref<PoolWorker>::share(this);  // it may end
  phase_ = Phase::dying;
  incarnation_++;
  again_.clear();
  close_reader();
  node_->counters.lost_owners.fetch_add(1, std::memory_order_relaxed);
  tell(PULSE_EVENT_OWNERSHIP_LOST, jobs_.size(),
       Error(PULSE_ERR_NOT_OWNER, "the worker was declared dead"));
  moving_ = 0;
  stop_all_ = PULSE_STOP_LOST;
  try {
    stop_all();
    finish_phase();
  } catch (const std::bad_alloc&) {
    // tick() goes on.
  }
}

void PoolWorker::stop_all() {
  if (stop_all_ == 0) return;
  Vector<Ref<PoolJob>> jobs;
  jobs.reserve(jobs_.size());
  for (const auto& [key, job] : jobs_) jobs.push_back(job);
  for (const Ref<PoolJob>& job : jobs) {
    const bool lost = stop_all_ == PULSE_STOP_LOST;
    if (lost) {
      job->starts.clear();
      job->stops.clear();
    }
    if (lost && job->state == PoolJob::State::ending) {
      forget(*job);
    } else {
      want_stop(*job, stop_all_);
    }
  }
  stop_all_ = 0;
}

// --- leaving -----------------------------------------------------------------------------------

void PoolWorker::leave(pulse_stop_reason reason) noexcept {
  Ref<PoolWorker> self = Ref<PoolWorker>::share(this);  // it may end
  closing_.store(true, std::memory_order_release);
  leave_reason_ = reason;
  try {
    begin_leaving();
  } catch (const std::bad_alloc&) {
    // tick() goes on.
  }
}

void PoolWorker::begin_leaving() {
  switch (phase_) {
    case Phase::idle:
      end(Error());
      return;
    case Phase::running:
      break;
    default:
      return;  // joined() and finish_phase() go on from here
  }
  if (leave_reason_ != PULSE_STOP_SHUTDOWN) update(Update::What::leaving, nullptr);
  phase_ = Phase::leaving;
  stop_all_ = leave_reason_;
  stop_all();
  finish_phase();
}

// The handlers that have not answered are not waited for: their jobs are left to the others, who
// take this worker for dead in time.
void PoolWorker::leave_now() {
  Ref<PoolWorker> self = Ref<PoolWorker>::share(this);  // it may end
  late_ = true;
  Vector<Ref<PoolJob>> jobs;
  for (const auto& [key, job] : jobs_) jobs.push_back(job);
  for (const Ref<PoolJob>& job : jobs) {
    if (job->state == PoolJob::State::ending) continue;
    abandoned_++;
    forget(*job);
  }
  if (!engine().server_is_ready()) {
    end(Error());
  } else {
    finish_phase();
  }
}

// Whether what the present phase waits for has happened.
void PoolWorker::finish_phase() {
  if (phase_ == Phase::dying && jobs_.empty()) {
    if (closing_.load(std::memory_order_acquire)) {
      end(Error());
      return;
    }
    phase_ = Phase::idle;
    if (node_->takes_part()) join();
  } else if (phase_ == Phase::leaving && jobs_.empty() && again_.empty()) {
    if (departed_ || abandoned_ > 0) {
      if (abandoned_ == 0 || (updates_.empty() && !sent_)) end(Error());
    } else if (!departing_) {
      update(Update::What::gone, nullptr);
      departing_ = true;
      close_reader();
    }
  }
}

void PoolWorker::tick() {
  Ref<PoolWorker> self = Ref<PoolWorker>::share(this);              // it may end
  if (phase_ == Phase::joining && !joining_) phase_ = Phase::idle;  // that failed
  if (closing_.load(std::memory_order_acquire)) {
    if (late_ && !engine().server_is_ready()) {
      end(Error());
      return;
    }
    if (phase_ == Phase::running || phase_ == Phase::idle) leave(leave_reason_);
  } else if (phase_ == Phase::idle && node_->takes_part()) {
    join();
  }
  if (has_updates()) node_->has_updates();
  if (phase_ == Phase::running && !reader_) open_reader();
  stop_all();
  pump_all();
  if (unbalanced_) rebalance();
  finish_phase();
}

void PoolWorker::end(const Error& error) noexcept {
  if (phase_ == Phase::closed) return;
  Ref<PoolWorker> self = Ref<PoolWorker>::share(this);
  phase_ = Phase::closed;
  closing_.store(true, std::memory_order_release);
  incarnation_++;
  close_reader();
  for (auto& [key, job] : jobs_) {
    job->set_over();
    job->state = PoolJob::State::gone;
  }
  jobs_.clear();
  held_.clear();
  waiting_.clear();
  count_jobs();
  updates_.clear();
  sent_ = nullptr;
  again_.clear();
  ready_signal_->set(error.ok() ? closed_error() : error);
  closed_notice_->error = error;
  closed_notice_->count = handed_over_;
  closed_notice_->id.ms = abandoned_;
  ready_notice_ = nullptr;
  engine().deliver(std::move(closed_notice_));
  target_ = nullptr;
  closed_signal_->set(Error());
  node_->worker_closed(*this, handed_over_, abandoned_);
}

}  // namespace pulseengine
