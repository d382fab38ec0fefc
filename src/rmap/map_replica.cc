// How the replica stays in step: messages, expiry, probes.
#include <algorithm>

#include "base/hash.h"
#include "rmap/map.h"
#include "rmap/map_watch.h"

namespace pulseengine {
namespace {

// One version for so many messages of a turn, at most.
constexpr size_t kChangesPerVersion = 256;
// Messages that come while a copy is fetched; beyond it another copy is due.
constexpr size_t kMaxQueuedBytes = 64 << 20;
constexpr size_t kMaxHistoryBytes = 32 << 20;
// So many losses of the subscription, each so soon after the one before, are worth a word.
constexpr uint32_t kLossesToReport = 3;
// Losses of the subscription within this time are one story.
constexpr int64_t kLossWindowMs = 60000;
// The server's clock and ours, and the way between them.
constexpr int64_t kTtlSlackMs = 5;
// Go processes set the time to live after the write.
constexpr int64_t kTtlPauseMs = 100;

}  // namespace

// --- states -----------------------------------------------------------------------

// Why the server did not give what it was asked for; `unanswered` if it said nothing.
pulse_map_reason ReplicatedMap::reason_of(const Error& error, pulse_map_reason unanswered) {
  if (error.code() == PULSE_ERR_WRONG_TYPE) return PULSE_MAP_REASON_WRONG_TYPE;
  return (error.flags() & PULSE_ERROR_SERVER) != 0 ? PULSE_MAP_REASON_REFUSED : unanswered;
}

void ReplicatedMap::stale(pulse_map_reason reason, const Error& error) noexcept {
  if (ended_) return;
  // What was applied so far is true.
  try {
    publish_group();
  } catch (const std::bad_alloc&) {
    editor_.reset();
    group_ = nullptr;
    revision_ = current_->revision();
  }
  synced_ = copying_ = false;
  copy_ = nullptr;
  queued_.clear();
  queued_bytes_ = 0;
  set_state(PULSE_MAP_STALE, reason, error);
}

void ReplicatedMap::subscribed() {
  if (ended_) return;
  subscribed_ = true;
  refused_ = false;
  heard_ = 0;
  fetch_copy();
}

void ReplicatedMap::subscription_refused(const Error& error) {
  if (ended_) return;
  subscribed_ = false;
  refused_ = true;
  stale(PULSE_MAP_REASON_REFUSED, error);
  copy_soon();
}

void ReplicatedMap::subscription_lost(const Error& error) {
  if (ended_) return;
  if (!subscribed_) {
    std::lock_guard<std::mutex> lock(mutex_);
    state_error_ = error;  // why it takes so long
    return;
  }
  subscribed_ = false;
  disconnects_.fetch_add(1, std::memory_order_relaxed);
  const int64_t now = monotonic_ms();
  losses_in_a_row_ = now - last_loss_ms_ < kLossWindowMs ? losses_in_a_row_ + 1 : 1;
  last_loss_ms_ = now;
  Error cause = error;
  if (losses_in_a_row_ >= kLossesToReport && engine_->server_is_ready()) {
    cause = Error(PULSE_ERR_DISCONNECTED,
                  "the subscription is cut off again and again while other connections live: "
                  "perhaps client-output-buffer-limit pubsub is too low for its messages",
                  error.flags());
    engine_->log(PULSE_LOG_WARNING, cause.message());
  }
  stale(PULSE_MAP_REASON_DISCONNECTED, cause);
  ask_again();
}

// --- messages -----------------------------------------------------------------------

void ReplicatedMap::message(std::string_view text) {
  if (ended_) return;
  MapMessage m;
  const bool readable = parse_map_message(text, &m);
  if (!readable) malformed_.fetch_add(1, std::memory_order_relaxed);
  // Of one hash every message follows the one before; with the first revision there is a new hash.
  const bool follows = heard_ == 0 ? m.revision != 1 : m.revision == heard_ + 1;
  if (readable) heard_ = m.revision;
  try {
    if (copying_) {
      queue_overflow_ |= !readable || queued_bytes_ + text.size() > kMaxQueuedBytes;
      queue_restarted_ |= !follows;
      if (queue_overflow_) return;
      queued_.emplace_back(text.data(), text.size());
      queued_bytes_ += text.size();
    } else if (synced_ && !readable) {
      stale(PULSE_MAP_REASON_MALFORMED, Error(PULSE_ERR_PROTOCOL, "an update could not be read"));
      copy_soon();
    } else if (synced_) {
      take_message(m, follows);
    } else if (readable && reason_ == PULSE_MAP_REASON_LIMIT && m.what != MapMutation::set) {
      copy_backoff_ms_ = 0;  // perhaps it fits now
      copy_soon();
    }
  } catch (const std::bad_alloc&) {
    if (copying_) {
      queue_overflow_ = true;
      return;
    }
    editor_.reset();
    group_ = nullptr;
    revision_ = current_->revision();
    stale(PULSE_MAP_REASON_NO_MEMORY, Error(PULSE_ERR_NO_MEMORY, "no memory for an update"));
    copy_soon();
  }
}

void ReplicatedMap::take_message(const MapMessage& m, bool follows) {
  if (m.revision == revision_ + 1) {
    apply(m);
    return;
  }
  // It was published before the copy was made, unless it is of a new hash.
  if (m.revision <= revision_ && !drained_ && follows) return;
  if (m.revision > revision_) {
    stale(PULSE_MAP_REASON_MISSED,
          Error::make(PULSE_ERR_PROTOCOL, 0, "revision {} came after {}", m.revision, revision_));
  } else {
    stale(PULSE_MAP_REASON_DISAGREES,
          Error::make(PULSE_ERR_PROTOCOL, 0, "revision {} came again after {}", m.revision,
                      revision_));
  }
  copy_soon();
}

bool ReplicatedMap::over_limits(size_t keys, int64_t bytes) const {
  return (config_.max_keys >= 0 && keys > static_cast<size_t>(config_.max_keys)) ||
         (config_.max_bytes >= 0 && bytes > config_.max_bytes);
}

void ReplicatedMap::apply(const MapMessage& m) {
  if (!group_) {
    group_ = make_ref<ChangeGroup>();
    group_->first = m.revision;
  }
  if (!editor_) editor_ = make_owned<MapEditor>(current_);
  MapChange change;
  change.revision = m.revision;
  bool changed = false;
  if (m.what == MapMutation::set && is_map_key(m.key)) {
    const uint64_t hash = hash_bytes(m.key);
    change.now = MapEntry::make(m.key, m.value, hash);
    const MapEntry* known = editor_->find(m.key, hash);
    if (over_limits(
            editor_->size() + (known == nullptr ? 1 : 0),
            editor_->bytes() + change.now->payload() - (known == nullptr ? 0 : known->payload()))) {
      too_large();
      return;
    }
    change.before = editor_->put(change.now);
    changed = true;
  } else if (m.what == MapMutation::erase) {
    change.op = PULSE_MAP_OP_DELETE;
    change.before = editor_->erase(m.key, hash_bytes(m.key));
    changed = static_cast<bool>(change.before);
  } else if (m.what != MapMutation::set) {
    change.op = m.what == MapMutation::reset ? PULSE_MAP_OP_RESET : PULSE_MAP_OP_DESTROY;
    editor_->clear();
    changed = true;
  }
  if (changed) group_->add(std::move(change));
  revision_ = group_->last = m.revision;
  updates_.fetch_add(1, std::memory_order_relaxed);
  refresh_ttl();
  if (m.revision == 1 || m.what == MapMutation::reset || m.what == MapMutation::destroy) {
    began_anew();
  }
  if (group_->changes.size() >= kChangesPerVersion) {
    publish_group();
  } else {
    engine_->at_end_of_turn(*this);
  }
}

void ReplicatedMap::end_of_turn() {
  if (!ended_) publish_group();
}

// The changes so far become visible, in one step.
void ReplicatedMap::publish_group() {
  if (!editor_) return;
  if (group_->last == 0) {  // nothing was applied
    editor_.reset();
    group_ = nullptr;
    return;
  }
  Ref<ChangeGroup> group = group_;
  group->after = editor_->finish(revision_);
  const bool keep = config_.watch_history > 0;
  if (keep) history_.push_back(group);
  try {
    cell_.publish(group->after, reclaimer_);
  } catch (const std::bad_alloc&) {
    if (keep) history_.pop_back();
    throw;
  }
  current_ = group->after;
  editor_.reset();
  group_ = nullptr;
  // What follows directly proves as much as the probe would, which may wait behind it.
  if (answer_by_ms_ != kNever) answer_by_ms_ = monotonic_ms() + config_.max_unnoticed_ms / 2;
  if (keep) {
    history_changes_ += group->changes.size();
    history_bytes_ += group->bytes;
    while (history_.size() > 1 && (history_changes_ - history_.front()->changes.size() >=
                                       static_cast<size_t>(config_.watch_history) ||
                                   history_bytes_ > kMaxHistoryBytes)) {
      history_changes_ -= history_.front()->changes.size();
      history_bytes_ -= history_.front()->bytes;
      history_.pop_front();
    }
  }
  pulse_map_kind kind = 0;
  for (const MapChange& change : group->changes) kind = std::max(kind, change.kind());
  if (kind != 0) tell_kinds(kind, group.get());
  pump_watches();
  wake_waiters(false, false);
  reclaim();
}

Ref<ChangeGroup> ReplicatedMap::group_with(uint64_t revision) const {
  // The newest ones are asked for most.
  for (size_t i = history_.size(); i-- > 0;) {
    if (history_[i]->last < revision) return nullptr;
    if (history_[i]->first <= revision) return history_[i];
  }
  return nullptr;
}

// A watch may end, and go, while it is served.
void ReplicatedMap::pump_watches() noexcept {
  for (size_t i = 0; i < watches_.size();) {
    Ref<MapWatch> watch = watches_[i];
    try {
      watch->pump();
    } catch (const std::bad_alloc&) {
      try_again_soon();
    }
    if (i < watches_.size() && watches_[i].get() == watch.get()) i++;
  }
}

void ReplicatedMap::tell_kinds(pulse_map_kind kind, const ChangeGroup* group) noexcept {
  for (size_t i = 0; i < watches_.size(); i++) {
    Ref<MapWatch> watch = watches_[i];
    try {
      watch->tell_kind(kind, group);
    } catch (const std::bad_alloc&) {
      engine_->log(PULSE_LOG_ERROR, "no memory to tell of a change in a map");
    }
  }
}

// --- expiry -------------------------------------------------------------------------

// What PTTL says; negative: no expiry, or (-2) no map.
void ReplicatedMap::learn_ttl(int64_t left_ms) noexcept {
  const int64_t at = left_ms < 0 ? kNever : monotonic_ms() + left_ms + kTtlSlackMs;
  ttl_at_ms_.store(at, std::memory_order_relaxed);
  schedule(at);
}

// Each write has made it live longer.
void ReplicatedMap::refresh_ttl() noexcept {
  if (config_.ttl_ms <= 0) return;
  const int64_t at = monotonic_ms() + config_.ttl_ms + kTtlSlackMs;
  if (!config_.sliding && ttl_at_ms_.load(std::memory_order_relaxed) != kNever) return;
  ttl_at_ms_.store(at, std::memory_order_relaxed);
  gone_from_ms_ = at;
  schedule(at);
}

// Whoever wrote it may have given it a time to live that nobody here knows of.
void ReplicatedMap::began_anew() noexcept {
  if (config_.ttl_ms > 0 || ask_ttl_ms_ != kNever) return;
  ask_ttl_ms_ = monotonic_ms() + kTtlPauseMs;
  schedule(ask_ttl_ms_);
}

void ReplicatedMap::ask_ttl() {
  ask_ttl_ms_ = kNever;
  auto done = [this, serial = copy_serial_](const Error& error, Reply* reply) {
    if (ended_ || !synced_ || serial != copy_serial_ || !error.ok()) return;
    const int64_t left_ms = reply->next().integer;
    learn_ttl(left_ms);
    gone_from_ms_ = std::min(gone_from_ms_, ttl_at_ms_.load(std::memory_order_relaxed));
    if (left_ms == -2 && !probing_) probe();
  };
  (void)engine_->connection_for(content_).submit(make_call(
      this, nullptr, true, config_.max_unnoticed_ms / 2,
      [key = &content_](CommandWriter& w, bool) { w.command("PTTL", *key); }, std::move(done)));
}

// Its time is over: the server knows best; without it the keys are forgotten all the same.
void ReplicatedMap::expect_gone() {
  if (synced_) {
    if (!probing_) probe();
    ttl_at_ms_.store(kNever, std::memory_order_relaxed);  // the probe tells
    return;
  }
  if (copying_) return;  // so does the copy
  ttl_at_ms_.store(kNever, std::memory_order_relaxed);
  if (current_->size() == 0) return;
  MapEditor editor(MapVersion::empty(revision_, reaper_));
  Ref<MapVersion> after = editor.finish(revision_);
  cell_.publish(after, reclaimer_);
  current_ = std::move(after);
  history_.clear();
  history_changes_ = history_bytes_ = 0;
  tell_kinds(PULSE_MAP_KIND_RESET, nullptr);
  pump_watches();
}

// --- probes ---------------------------------------------------------------------------

// Asks the server for its revision, and then waits for what it had published by then.
void ReplicatedMap::probe() {
  const int64_t patience = config_.max_unnoticed_ms / 2;
  auto ttl = [this, serial = copy_serial_](const Error& error, Reply* reply) {
    if (serial == copy_serial_ && error.ok()) learn_ttl(reply->next().integer);
  };
  auto done = [this, serial = copy_serial_, then = revision_](const Error& error, Reply* reply) {
    if (ended_ || !synced_ || serial != copy_serial_) return;
    probing_ = false;
    probed(error, reply, then);
  };
  Connection& connection = engine_->connection_for(content_);
  (void)connection.submit(make_call(
      this, nullptr, true, patience,
      [key = &content_](CommandWriter& w, bool) { w.command("PTTL", *key); }, std::move(ttl)));
  (void)connection.submit(make_call(
      this, nullptr, true, patience,
      [key = &content_](CommandWriter& w, bool) { w.command("HGET", *key, "=rev"); },
      std::move(done)));
  probing_ = true;
  next_probe_ms_ = answer_by_ms_ = monotonic_ms() + patience;
}

// What is not answered in time proves nothing.
void ReplicatedMap::give_up_probe() {
  answer_by_ms_ = kNever;
  probing_ = false;
  copy_serial_++;  // later answers are of no use
  stale(PULSE_MAP_REASON_SILENT,
        Error(PULSE_ERR_TIMEOUT, "the server does not answer", PULSE_ERROR_RETRIABLE));
  copy_soon();
}

void ReplicatedMap::probed(const Error& error, Reply* reply, uint64_t revision_then) {
  uint64_t revision = 0;
  if (!error.ok() || reply == nullptr) {
    stale(reason_of(error, PULSE_MAP_REASON_SILENT), error);
    copy_soon();
    return;
  }
  const ReplyNode& node = reply->next();
  if (!node.is_nil() && !parse_revision(node.text, &revision)) {
    stale(PULSE_MAP_REASON_MALFORMED,
          Error(PULSE_ERR_PROTOCOL, "the revision in the hash is no number"));
    copy_soon();
    return;
  }
  auto disagrees = [this](uint64_t there) {
    stale(PULSE_MAP_REASON_DISAGREES,
          Error::make(PULSE_ERR_PROTOCOL, 0, "the server is at revision {}, the replica at {}",
                      there, revision_));
    copy_soon();
  };
  if (revision < revision_then) {
    disagrees(revision);
    return;
  }
  auto done = [this, revision, disagrees, serial = copy_serial_](const Error& problem) {
    if (ended_ || !synced_ || serial != copy_serial_) return;
    if (!problem.ok()) {
      stale(PULSE_MAP_REASON_SILENT, problem);
      copy_soon();
    } else if (revision_ < revision) {
      disagrees(revision);
    } else {
      answer_by_ms_ = kNever;
      copy_backoff_ms_ = 0;
      gone_from_ms_ = ttl_at_ms_.load(std::memory_order_relaxed);
    }
  };
  if (!Subscriptions::of(*engine_).after_published(this, config_.max_unnoticed_ms / 2, done)) {
    stale(PULSE_MAP_REASON_DISCONNECTED,
          Error(PULSE_ERR_DISCONNECTED, "the subscription is not there"));
  }
}

// --- limits -----------------------------------------------------------------------------

Error ReplicatedMap::check_value(size_t bytes) const {
  const int64_t limit = longest_value();
  if (bytes <= static_cast<size_t>(limit)) return {};
  return Error::make(PULSE_ERR_TOO_LARGE, 0, "a value of {} bytes is larger than {}", bytes, limit);
}

Error ReplicatedMap::check_published(size_t bytes, uint32_t flags) const {
  const int64_t limit = publish_limit_.load(std::memory_order_relaxed);
  if (bytes <= static_cast<size_t>(limit)) return {};
  return Error::make(PULSE_ERR_TOO_LARGE, flags,
                     "messages of {} bytes are more than the {} that the server keeps for "
                     "subscribers (client-output-buffer-limit pubsub)",
                     bytes, limit);
}

// A message beyond the server's hard limit for subscribers would cut all of them off.
void ReplicatedMap::learn_publish_limit() noexcept {
  if (learns_limit_) return;
  limit_known_ = false;
  auto done = [this](const Error& error, Reply* reply) {
    learns_limit_ = false;
    if (ended_) return;
    if (error.ok()) take_publish_limit(*reply);
    // One that does not answer is asked again when it comes back.
    limit_known_ = error.ok() || engine_->server_is_ready();
    send_writes();
  };
  try {
    learns_limit_ = true;
    (void)engine_->connection_for(content_).submit(make_call(
        this, nullptr, true, engine_->config().command_timeout_ms,
        [](CommandWriter& w, bool) { w.command("CONFIG", "GET", "client-output-buffer-limit"); },
        std::move(done)));
  } catch (const std::bad_alloc&) {
    learns_limit_ = false;
    limit_known_ = true;
  }
}

void ReplicatedMap::take_publish_limit(Reply& reply) noexcept {
  if (reply.next().elements() != 2) return;
  reply.next();
  std::string_view text = reply.next().text;  // "normal 0 0 0 slave ... pubsub <hard> ..."
  const size_t at = text.find("pubsub ");
  uint64_t hard = 0;
  if (at == std::string_view::npos) return;
  text = text.substr(at + 7);
  if (!parse_revision(text.substr(0, text.find(' ')), &hard)) return;
  // The server counts the memory that it takes for messages, which its allocator rounds up by as
  // much as a quarter.
  constexpr int64_t kAround = 1024;
  int64_t most = INT64_MAX;
  if (hard != 0) most = std::max<int64_t>(static_cast<int64_t>(hard / 5 * 4) - kAround, kAround);
  publish_limit_.store(most, std::memory_order_relaxed);
  const int64_t value = std::max<int64_t>(most - PULSE_MAP_MAX_KEY_BYTES - kAround, 1);
  value_limit_.store(std::min(value, config_.max_value_bytes), std::memory_order_relaxed);
}

}  // namespace pulseengine
