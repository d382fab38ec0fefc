// Life cycle, what hosts ask, and waiting.
#include "rmap/map.h"

#include <algorithm>

#include "rmap/copy_lane.h"
#include "rmap/map_watch.h"
#include "rmap/map_write.h"

namespace pulseengine {
namespace {

Error closed_error() { return Error(PULSE_ERR_CLOSED, "the map is closed"); }

constexpr int64_t kReclaimMs = 20;
// A map that is to be forgotten while a copy is fetched is looked at so often.
constexpr int64_t kExpiryPauseMs = 20;

}  // namespace

ReplicatedMap::ReplicatedMap(Ref<Engine> engine, std::string_view name, const MapConfig& config,
                             Ref<SharedTarget> target)
    : engine_(std::move(engine)),
      name_(name.data(), name.size()),
      config_(config),
      content_(engine_->key("map:", name, ":content")),
      channel_(engine_->key("map:", name, ":updates")),
      cell_(MapVersion::empty(0)),
      value_limit_(config.max_value_bytes),
      publish_limit_(INT64_MAX),
      closed_signal_(make_ref<Signal>()),
      state_since_ms_(monotonic_ms()),
      target_(std::move(target)),
      closed_notice_(make_ref<Notice>(target_, PULSE_EVENT_CLOSED, name)),
      current_(cell_.take()) {}

ReplicatedMap::~ReplicatedMap() = default;

Error ReplicatedMap::join(Ref<Engine> engine, std::string_view name, const MapConfig& config,
                          Target target, Ref<ReplicatedMap>* out) {
  auto map =
      make_ref<ReplicatedMap>(engine, name, config, make_ref<SharedTarget>(std::move(target)));
  Error error = engine->add_child(map);
  if (!error.ok()) return error;
  bool posted = false;
  try {
    posted = engine->post_call([map] { map->start(); });
  } catch (const std::bad_alloc&) {
    engine->remove_child(*map);
    throw;
  }
  if (!posted) {
    engine->remove_child(*map);
    return Error(PULSE_ERR_CLOSED, "the engine is closed", PULSE_ERROR_NEVER_SENT);
  }
  *out = std::move(map);
  return {};
}

void ReplicatedMap::start() {
  if (ended_) return;
  try {
    timer_.open(engine_->loop(), on_timer, this);
    reaper_ = MapReaper::of(*engine_);
    CopyLane::of(*engine_).enter(content_);
    uses_copy_lane_ = true;
    Subscriptions::of(*engine_).add(channel_, Ref<ReplicatedMap>::share(this));
    ask_again();
    learn_publish_limit();
  } catch (const std::bad_alloc&) {
    end(Error(PULSE_ERR_NO_MEMORY, "no memory to join the map"));
  }
}

void ReplicatedMap::close() noexcept {
  if (closing_.exchange(true, std::memory_order_acq_rel)) return;
  try {
    engine_->post_call([map = Ref<ReplicatedMap>::share(this)] { map->end(Error()); });
  } catch (const std::bad_alloc&) {
    // tick() sees it.
  }
}

// Loop thread; may come twice.
void ReplicatedMap::end(const Error& error) noexcept {
  if (ended_) return;
  Ref<ReplicatedMap> self = Ref<ReplicatedMap>::share(this);
  ended_ = true;
  closing_.store(true, std::memory_order_release);
  synced_ = copying_ = copy_wanted_ = false;
  if (Owned<EngineAttachment>& attachment = engine_->attachment(Engine::kSubscriptions)) {
    static_cast<Subscriptions&>(*attachment).remove(channel_, *this);
  }
  if (uses_copy_lane_) CopyLane::of(*engine_).leave();
  engine_->forget_hook(*this);
  timer_.reset();
  try {
    send_writes();
  } catch (const std::bad_alloc&) {
    for (const Ref<MapWrite>& write : take_writes()) {
      write->complete(Error(PULSE_ERR_NO_MEMORY, "out of memory", PULSE_ERROR_NEVER_SENT));
    }
  }
  editor_.reset();
  copy_ = nullptr;
  group_ = nullptr;
  queued_.clear();
  history_.clear();
  try {
    Ref<MapVersion> nothing = MapVersion::empty(revision_);
    cell_.publish(nothing, reclaimer_);
    current_ = std::move(nothing);
  } catch (const std::bad_alloc&) {
    // The content stays as long as the handle.
  }
  while (!watches_.empty()) {
    Ref<MapWatch> watch = watches_.back();
    watch->end(error.ok() ? closed_error() : error);
    forget_watch(*watch);
  }
  set_state(PULSE_MAP_CLOSED, PULSE_MAP_REASON_NONE, error.ok() ? closed_error() : error);
  wake_waiters(false, false);
  reclaimer_.reclaim();
  closed_notice_->error = error;
  if (!target_->target().empty()) engine_->deliver(std::move(closed_notice_));
  closed_notice_ = nullptr;
  target_ = nullptr;
  closed_signal_->set(Error());
  engine_->remove_child(*this);
}

void ReplicatedMap::forget_watch(MapWatch& watch) noexcept {
  auto at = std::find_if(watches_.begin(), watches_.end(),
                         [&](const Ref<MapWatch>& w) { return w.get() == &watch; });
  if (at == watches_.end()) return;
  watches_.erase(at);
  watch_count_.fetch_sub(1, std::memory_order_relaxed);
}

void ReplicatedMap::watch(Ref<MapWatch> watch) {
  auto begin = [map = Ref<ReplicatedMap>::share(this), watch] {
    if (watch->withdrawn()) return;  // its end() has been or will be called
    if (map->ended_) {
      watch->end(closed_error());
      return;
    }
    try {
      map->watches_.push_back(watch);
    } catch (const std::bad_alloc&) {
      watch->end(Error(PULSE_ERR_NO_MEMORY, "no memory to watch the map"));
      return;
    }
    map->watch_count_.fetch_add(1, std::memory_order_relaxed);
    try {
      watch->pump();
    } catch (const std::bad_alloc&) {
      map->try_again_soon();
    }
  };
  if (!engine_->post_call(std::move(begin))) watch->end(closed_error());
}

// --- the clock ------------------------------------------------------------------

void ReplicatedMap::on_timer(void* map) { static_cast<ReplicatedMap*>(map)->tick(); }

// At the latest then.  Never at once: a timer that is set so by its own callback comes before any
// input, again and again.
void ReplicatedMap::schedule(int64_t at_ms) noexcept {
  if (ended_ || at_ms >= timer_at_ms_) return;
  timer_at_ms_ = at_ms;
  timer_.start(std::max<int64_t>(at_ms - monotonic_ms(), 1));
}

// What there was no memory for.
void ReplicatedMap::try_again_soon() noexcept { schedule(monotonic_ms() + kNoMemoryPauseMs); }

// Drops what no reader sees any more, and looks again soon while there is something left.
void ReplicatedMap::reclaim() noexcept {
  reclaimer_.reclaim();
  if (reclaimer_.waiting() > 0) schedule(monotonic_ms() + kReclaimMs);
}

void ReplicatedMap::tick() {
  Ref<ReplicatedMap> self = Ref<ReplicatedMap>::share(this);
  timer_at_ms_ = kNever;
  if (withdrawn()) {
    end(Error());
    return;
  }
  const int64_t now = monotonic_ms();
  try {
    send_writes();
    publish_group();
    if (copy_wanted_ && now >= copy_at_ms_) begin_copy();
    if (now >= ttl_at_ms_.load(std::memory_order_relaxed)) expect_gone();
    if (now >= ask_ttl_ms_) ask_ttl();
    if (synced_ && now >= answer_by_ms_) give_up_probe();
    if (synced_ && answer_by_ms_ == kNever && now >= next_probe_ms_) probe();
    pump_watches();
  } catch (const std::bad_alloc&) {
    try_again_soon();
  }
  reclaim();
  if (copy_wanted_) schedule(copy_at_ms_);
  if (synced_) schedule(std::min(next_probe_ms_, answer_by_ms_));
  if (int64_t at = ttl_at_ms_.load(std::memory_order_relaxed); at != kNever) {
    schedule(std::max(at, now + kExpiryPauseMs));
  }
  schedule(ask_ttl_ms_);
}

void ReplicatedMap::server_ready() {
  learn_publish_limit();  // perhaps it is another one
  send_writes();
  if (copy_wanted_) copy_in(0);
}

// --- telling ----------------------------------------------------------------------

void ReplicatedMap::tell(pulse_event_kind kind, int32_t state, uint64_t count, uint64_t revision,
                         const Error& error) noexcept {
  if (!target_ || target_->target().empty()) return;
  try {
    auto notice = make_ref<Notice>(target_, kind, std::string_view(name_));
    notice->state = state;
    notice->count = count;
    notice->revision = revision;
    // What it is about is a state, not a failure.
    notice->error = Error(PULSE_OK, error.message());
    notice->owner = Ref<Deliverer>::share(this);
    engine_->deliver(std::move(notice));
  } catch (const std::bad_alloc&) {
    engine_->log(PULSE_LOG_ERROR, "no memory to tell of a map's state");
  }
}

void ReplicatedMap::set_state(pulse_map_state state, pulse_map_reason reason,
                              const Error& error) noexcept {
  Vector<Ref<Signal>> waiters;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (state_ == state && reason_ == reason) return;
    state_ = state;
    reason_ = reason;
    state_error_ = error;
    state_since_ms_ = monotonic_ms();
    if (state == PULSE_MAP_SYNCED || state == PULSE_MAP_CLOSED) waiters.swap(sync_waiters_);
  }
  for (const Ref<Signal>& waiter : waiters) {
    waiter->set(state == PULSE_MAP_SYNCED ? Error() : closed_error());
  }
  if (state != PULSE_MAP_CLOSED) {
    tell(PULSE_EVENT_MAP_STATE, state, static_cast<uint64_t>(reason), revision_, error);
  }
}

void ReplicatedMap::info(pulse_map_info* out) const {
  auto get = [](const std::atomic<uint64_t>& counter) {
    return counter.load(std::memory_order_relaxed);
  };
  {
    ReadGuard guard;
    const MapVersion& version = *cell_.read();
    out->revision = version.revision();
    out->keys = version.size();
    out->bytes = static_cast<uint64_t>(version.bytes());
  }
  {
    std::lock_guard<std::mutex> lock(mutex_);
    out->state = state_;
    out->reason = reason_;
    out->state_ms = monotonic_ms() - state_since_ms_;
  }
  const int64_t ttl_at = ttl_at_ms_.load(std::memory_order_relaxed);
  out->ttl_ms = ttl_at == kNever ? -1 : std::max<int64_t>(ttl_at - monotonic_ms(), 0);
  out->updates = get(updates_);
  out->resyncs = get(resyncs_);
  out->rewinds = get(rewinds_);
  out->disconnects = get(disconnects_);
  out->malformed = get(malformed_);
  out->watches = get(watch_count_);
}

// --- waiting ------------------------------------------------------------------------

Error ReplicatedMap::wait_synced(int64_t timeout_ms) {
  auto signal = make_ref<Signal>();
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (state_ == PULSE_MAP_CLOSED) return closed_error();
    if (state_ == PULSE_MAP_SYNCED) return {};
    sync_waiters_.push_back(signal);
  }
  Error error = engine_->wait_for(*signal, timeout_ms, "the map is not in step yet");
  if (error.code() != PULSE_ERR_TIMEOUT) return error;
  std::lock_guard<std::mutex> lock(mutex_);
  sync_waiters_.erase(std::remove_if(sync_waiters_.begin(), sync_waiters_.end(),
                                     [&](const Ref<Signal>& s) { return s.get() == signal.get(); }),
                      sync_waiters_.end());
  if (state_error_.ok() || state_error_.message().empty()) return error;
  return Error::make(PULSE_ERR_TIMEOUT, PULSE_ERROR_RETRIABLE, "{}: {}", error.message(),
                     state_error_.message());
}

Error ReplicatedMap::wait_revision(uint64_t revision, int64_t timeout_ms) {
  auto signal = make_ref<Signal>();
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (state_ == PULSE_MAP_CLOSED) return closed_error();
    if (take_version()->revision() >= revision) return {};
    waiters_.push_back({revision, copies_, signal, nullptr});
  }
  Error error = engine_->wait_for(*signal, timeout_ms, "the replica is not there yet");
  if (error.code() == PULSE_ERR_TIMEOUT) {
    std::lock_guard<std::mutex> lock(mutex_);
    waiters_.erase(std::remove_if(waiters_.begin(), waiters_.end(),
                                  [&](const Waiter& w) { return w.signal.get() == signal.get(); }),
                   waiters_.end());
  }
  return error;
}

// The result is known; the host learns it when it can read what it wrote.  A replica that is too
// large cannot show it.
void ReplicatedMap::complete_when_visible(Ref<MapWrite> write, uint64_t revision) {
  if (!ended_ && !beyond_limit() && revision > current_->revision()) {
    std::lock_guard<std::mutex> lock(mutex_);
    waiters_.push_back({revision, copies_, nullptr, std::move(write)});
    return;
  }
  write->complete();
}

// What a copy shows that was asked for after a write was answered includes that write, even if its
// revision is lower: then the server has lost data since.
void ReplicatedMap::wake_waiters(bool copied, bool rewound) noexcept {
  auto wake = [this](Waiter& w) {
    if (w.signal) w.signal->set(ended_ ? closed_error() : Error());
    if (w.write) w.write->complete();
  };
  for (;;) {
    Vector<Waiter> done;
    Waiter one;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      auto over = [&](const Waiter& w) {
        if (ended_ || w.revision <= current_->revision()) return true;
        if (w.write && beyond_limit()) return true;
        return copied && w.copies < copies_ && (rewound || w.write);
      };
      auto first = std::stable_partition(waiters_.begin(), waiters_.end(),
                                         [&](const Waiter& w) { return !over(w); });
      if (first == waiters_.end()) return;
      if (first == waiters_.begin()) {
        done.swap(waiters_);
      } else {
        try {
          done.assign(std::make_move_iterator(first), std::make_move_iterator(waiters_.end()));
          waiters_.erase(first, waiters_.end());
        } catch (const std::bad_alloc&) {
          // One after the other then: the next version may be long in coming.
          one = std::move(*first);
          waiters_.erase(first);
        }
      }
    }
    for (Waiter& w : done) wake(w);
    wake(one);
    if (!done.empty()) return;
  }
}

}  // namespace pulseengine
