// Joining the groups, staying alive, and starting over.
#include <algorithm>

#include "base/rng.h"
#include "base/ulid.h"
#include "scripts.h"
#include "streaming/sink_send.h"

namespace pulseengine {
namespace {

constexpr int64_t kFirstBackoff = 10;
constexpr int64_t kLongestBackoff = 2000;
// A stream that was joined for this long begins anew with its back-off.
constexpr int64_t kHealthy = 10000;
// How many ids go into one script.
constexpr size_t kIdsPerScript = 500;

}  // namespace

void Sink::join(SinkStream& s) {
  const bool rejoin = s.joined_before;
  const int64_t now = monotonic_ms();
  const bool stalled = now - last_alive_ms_ > config_.grace_ms;
  // Under a new name: where the former one would have gone on.
  String start = s.start;
  if (!rejoin && s.restart_known) start = start_position({PULSE_START_AFTER, s.restart});
  auto format = [this, &s, keep = Ref<SinkStream>::share(&s), consumer = consumer_, rejoin, stalled,
                 start = std::move(start)](CommandWriter& w, bool eval) {
    const ServerInfo& server = engine_->server();
    const Stream& stream = *s.stream;
    w.begin_script(scripts::sink_join, eval, 4, 13);
    w.arg(std::string_view(stream.key()));
    w.arg(std::string_view(alive_map_));
    w.arg(std::string_view(s.consumers_map));
    w.arg(std::string_view(s.marker_key));
    w.arg(std::string_view(name_));
    w.arg(std::string_view(consumer));
    w.arg(std::string_view(start));
    w.arg(std::string_view(server.has_createconsumer() ? "1" : "0"));
    w.arg(std::string_view(server.has_entries_added() ? "1" : "0"));
    w.arg(stream.any_ttl_ms());
    w.arg(std::string_view(stream.sliding() ? "1" : "0"));
    w.arg(std::string_view(alive_channel_));
    w.arg(std::string_view(s.consumers_channel));
    w.arg(std::string_view(!rejoin ? "" : stalled ? "stalled" : "alive"));
    w.arg_id(s.restart.ms, s.restart.seq);
    w.arg(2 * config_.grace_ms + 60000);
    w.arg(std::string_view(s.previous));
  };
  auto done = [this, &s, keep = Ref<SinkStream>::share(&s), now, epoch = epoch_](const Error& error,
                                                                                 Reply* reply) {
    if (epoch != epoch_ && s.state == SinkStream::State::joining) {
      s.state = SinkStream::State::waiting;  // under a name that is not ours any more
      pump(s, monotonic_ms());
      return;
    }
    joined(s, error, reply, now);
  };
  send(s, &scripts::sink_join, true, std::move(format), std::move(done));
  s.state = SinkStream::State::joining;
}

void Sink::join_later(SinkStream& s) {
  const int64_t now = monotonic_ms();
  if (s.joined_ms > 0 && now - s.joined_ms > kHealthy) s.backoff_ms = 0;
  s.joined_ms = 0;
  s.backoff_ms = s.backoff_ms == 0 ? kFirstBackoff : std::min(2 * s.backoff_ms, kLongestBackoff);
  s.next_join_ms = now + s.backoff_ms;
  s.state = SinkStream::State::waiting;
  // Earlier than the next tick.
  if (s.backoff_ms < tick_ms_) timer_.start(s.backoff_ms);
}

void Sink::join_failed(SinkStream& s, const Error& error) {
  join_later(s);
  {
    std::lock_guard<std::mutex> lock(mutex_);
    last_error_ = error;
  }
  const bool answered = (error.flags() & PULSE_ERROR_SERVER) != 0;
  if (s.joining_operation && answered && (error.flags() & PULSE_ERROR_RETRIABLE) == 0) {
    // The host asked for this stream and gets its answer; a sink's first stream is tried for ever.
    Ref<SinkStream> keep = Ref<SinkStream>::share(&s);
    s.joining_operation->complete(error);
    s.state = SinkStream::State::removed;
    counters_.streams.fetch_sub(1, std::memory_order_relaxed);
    engine_->post_call(
        [self = Ref<Sink>::share(this), keep] { self->streams_.erase(keep->index); });
    return;
  }
  if (answered && error.code() != read_error_) {
    read_error_ = error.code();
    notice(PULSE_EVENT_READ_ERROR, &s, [&](Notice& n) { n.error = error; });
  }
}

void Sink::joined(SinkStream& s, const Error& error, Reply* reply, int64_t sent_ms) {
  if (phase_ == Phase::closed || s.state != SinkStream::State::joining) return;
  if (phase_ != Phase::running) {
    s.state = SinkStream::State::waiting;
    return;
  }
  if (!error.ok()) {
    join_failed(s, error);
    return;
  }
  if (reply->next().elements() < 5) {
    join_failed(s, Error(PULSE_ERR_PROTOCOL, "sink_join: unexpected reply"));
    return;
  }
  const std::string_view what = reply->next().text;
  const std::string_view position = reply->next().text;
  const std::string_view lowest = reply->next().text;
  const bool was_missing = reply->next().integer == 1;
  if (what == "dead") {
    s.state = SinkStream::State::joined;  // until we have a new name
    declared_dead();
    return;
  }
  const bool rejoin = s.joined_before;
  const bool renamed = !s.previous.empty();
  s.state = SinkStream::State::joined;
  s.joined_before = true;
  s.joined_ms = monotonic_ms();
  retry_alive_ms_ = 0;
  s.previous.clear();
  sampled(s, position, lowest);
  if (!rejoin) {
    // The script wrote the first keep-alive under this name.
    if (last_alive_ms_ < sent_ms) last_alive_ms_ = sent_ms;
    next_alive_ms_ = std::max(next_alive_ms_, sent_ms + keepalive_interval());
  }
  const size_t lost_count = reply->next().elements();
  for (size_t i = 0; i < lost_count; i++) {
    pulse_event_id id;
    if (parse_id(reply->next().text, &id)) lost(s, id);
  }
  if (what == "recreated") {
    counters_.recreated.fetch_add(1, std::memory_order_relaxed);
    s.sweep_cursor = "0-0";
    notice(PULSE_EVENT_RECREATED, &s, [&](Notice& n) { n.id = s.restart; });
  }
  if (renamed || rejoin) s.recover_needed = true;
  if (rejoin) s.gap_check_needed = what != "recreated";
  s.recover_from = {0, 0};
  if (s.joining_operation) {
    s.joining_operation->complete();
    s.joining_operation = nullptr;
  }
  if (!ready_) {
    ready_ = true;
    ready_notice_->owner = Ref<Deliverer>::share(this);
    engine_->deliver(std::move(ready_notice_));
    ready_signal_->set(Error());
  }
  read_error_ = s.upkeep_error = PULSE_OK;
  if (rejoin && (what == "recreated" || was_missing)) {
    s.reclaim_anew = false;
    for (PendingEntry* e = s.pending.first_from({0, 0}); e != nullptr;
         e = s.pending.first_from(id_after(e->id))) {
      if (e->state == PendingEntry::State::held) s.reclaim.push_back(e->id);
    }
  }
  changed();
  pump_all();
}

// The stream, its group or our place in it may be gone: made sure of by the join script.
void Sink::rejoin(SinkStream& s) {
  if (s.state != SinkStream::State::joined || phase_ != Phase::running) return;
  join_later(s);
  changed();
}

// The server refused what goes on beside the reading: sweep, renewal, recovery.  Without it
// reading may never begin, so the host is told.
void Sink::upkeep_failed(SinkStream& s, const Error& error) {
  if ((error.flags() & PULSE_ERROR_SERVER) == 0) return;  // it went down with the connection
  if (error.message().substr(0, 7) == "NOGROUP" || error.code() == PULSE_ERR_WRONG_TYPE) {
    rejoin(s);
    return;
  }
  if ((error.flags() & PULSE_ERROR_RETRIABLE) != 0 || error.code() == s.upkeep_error) return;
  s.upkeep_error = error.code();
  notice(PULSE_EVENT_READ_ERROR, &s, [&](Notice& n) { n.error = error; });
}

void Sink::rejoin_all() {
  for (auto& [index, s] : streams_) rejoin(*s);
}

// Ids whose entries in the list of pending ones were dropped, with nobody else to have them.
void Sink::put_back(SinkStream& s) {
  auto ids = make_ref<SettleBatch>();
  const size_t count = std::min(s.reclaim.size(), kIdsPerScript);
  ids->items.resize(count);
  for (size_t i = 0; i < count; i++) ids->items[i].id = s.reclaim[s.reclaim.size() - count + i];
  auto format = [this, key = &s.stream->key(), ids, consumer = consumer_, anew = s.reclaim_anew,
                 keep = Ref<SinkStream>::share(&s)](CommandWriter& w, bool eval) {
    w.begin_script(scripts::sink_reclaim, eval, 1, 3 + ids->items.size());
    w.arg(std::string_view(*key));
    w.arg(std::string_view(name_));
    w.arg(std::string_view(consumer));
    w.arg(std::string_view(anew ? "2" : "1"));
    for (const SettleItem& item : ids->items) w.arg_id(item.id.ms, item.id.seq);
  };
  auto done = [this, &s, ids, keep = Ref<SinkStream>::share(&s)](const Error& error, Reply*) {
    if (phase_ != Phase::running) return;
    if (!error.ok()) {
      for (const SettleItem& item : ids->items) s.reclaim.push_back(item.id);
      return;
    }
    s.recover_needed = true;
    pump(s, monotonic_ms());
  };
  send(s, &scripts::sink_reclaim, true, std::move(format), std::move(done));
  s.reclaim.resize(s.reclaim.size() - count);
  if (!s.reclaim.empty()) put_back(s);
}

// --- keep-alive ---------------------------------------------------------------

// Longer without a confirmed keep-alive than others wait before they take us for dead.
bool Sink::suspect() const {
  return last_alive_ms_ > 0 && monotonic_ms() - last_alive_ms_ > 2 * config_.grace_ms;
}

// Not the same for all, so that those that were opened together do not go on together.
int64_t Sink::keepalive_interval() const {
  const int64_t most = config_.grace_ms / 2;
  return most - static_cast<int64_t>(random_below(static_cast<uint64_t>(most / 4 + 1)));
}

void Sink::check_alive() {
  if (checking_alive_ || starting_over_ || phase_ != Phase::running) return;
  SinkStream* any = nullptr;
  for (auto& [index, s] : streams_) {
    if (s->joined_before) any = s.get();
  }
  if (any == nullptr) return;
  const int64_t now = monotonic_ms();
  if (now < retry_alive_ms_) return;
  auto format = [this, consumer = consumer_](CommandWriter& w, bool eval) {
    w.begin_script(scripts::sink_keepalive, eval, 1, 2);
    w.arg(std::string_view(alive_map_));
    w.arg(std::string_view(consumer));
    w.arg(std::string_view(alive_channel_));
  };
  auto done = [this, now](const Error& error, Reply* reply) { checked_alive(error, reply, now); };
  checking_alive_ = true;
  try {
    send(*any, &scripts::sink_keepalive, true, std::move(format), std::move(done));
  } catch (const std::bad_alloc&) {
    checking_alive_ = false;
    throw;
  }
}

void Sink::checked_alive(const Error& error, Reply* reply, int64_t sent_ms) {
  checking_alive_ = false;
  if (phase_ != Phase::running || starting_over_) return;
  const int64_t now = monotonic_ms();
  if (!error.ok()) {
    next_alive_ms_ = now + std::min<int64_t>(config_.grace_ms / 4, 1000);
    // After a lost connection it is asked as soon as there is another one.
    if ((error.flags() & PULSE_ERROR_SERVER) != 0) retry_alive_ms_ = next_alive_ms_;
    return;
  }
  if (reply->next().integer == 0) {
    // Asking again brings nothing before it has joined again, which may have to wait.
    next_alive_ms_ = retry_alive_ms_ = now + config_.grace_ms / 2;
    rejoin_all();
    pump_all();
    return;
  }
  const bool was_suspect = suspect();
  last_alive_ms_ = sent_ms;
  next_alive_ms_ = sent_ms + keepalive_interval();
  if (!was_suspect) return;
  // Still there, but others may have taken what we hold, and replies that came meanwhile
  // were not looked at.
  for (auto& [index, s] : streams_) {
    s->recover_needed = s->joined_before;
    s->recover_from = {0, 0};
    s->next_renewal_ms = 0;
  }
  pump_all();
  changed();
}

// --- starting over ----------------------------------------------------------------

void Sink::declared_dead() {
  if (starting_over_) return;
  starting_over_ = true;
  // A read under the old name would bring the old consumer back to life.
  changed();
  ReadLanes::of(*engine_).quiesce(*this);
}

void Sink::start_over() {
  const bool stalled = monotonic_ms() - last_alive_ms_ > config_.grace_ms;
  String fresh = make_ulid();
  // All that needs memory, before anything changes.
  for (auto& [index, s] : streams_) {
    if (!s->joined_before) continue;
    s->previous = consumer_;
    s->reclaim.clear();
    s->reclaim_anew = true;
    if (stalled) continue;
    // Nobody can have taken these over in time: who removed us has dropped them.
    for (PendingEntry* e = s->pending.first_from({0, 0}); e != nullptr;
         e = s->pending.first_from(id_after(e->id))) {
      if (e->state == PendingEntry::State::held) s->reclaim.push_back(e->id);
    }
  }
  {
    std::lock_guard<std::mutex> lock(mutex_);
    consumer_.swap(fresh);
  }
  starting_over_ = may_start_over_ = false;
  generation_++;
  epoch_++;
  last_alive_ms_ = 0;
  next_alive_ms_ = 0;
  for (auto& [index, s] : streams_) {
    if (!s->joined_before) continue;
    drop_all(*s);
    s->joined_before = false;
    s->joined_ms = 0;
    s->next_join_ms = 0;
    s->recovering = s->sweeping = s->renewing = false;
    if (s->state == SinkStream::State::joined) s->state = SinkStream::State::waiting;
  }
  notice(PULSE_EVENT_OWNERSHIP_LOST, nullptr, [](Notice&) {});
  pump_all();
}

}  // namespace pulseengine
