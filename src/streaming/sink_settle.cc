// Acks and releases: gathered over a turn of the loop, one command per stream.
#include <algorithm>

#include "scripts.h"
#include "streaming/sink_call.h"
#include "streaming/sink_send.h"

namespace pulseengine {
namespace {

constexpr size_t kIdsPerAck = 1000;
constexpr size_t kIdsPerScript = 500;
// How long given-back events seem to have been idle: longer than any grace period, so that
// instances with another one take them at once, too.
constexpr int64_t kLongIdle = int64_t{3600} * 1000;

Error not_owner() {
  return Error(PULSE_ERR_NOT_OWNER,
               "the event is not this consumer's any more: taken over, acked or given back");
}

}  // namespace

// While the server is busy with a read it would not look at acks any sooner: they go when it has
// answered, in one command.
void Sink::reading_ahead(size_t on_the_way) {
  constexpr int64_t kShortReply = int64_t{256} * 1024;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    reply_soon_ = on_the_way > 0 && config_.coalesce && phase_ == Phase::running &&
                  static_cast<int64_t>(on_the_way) * largest_ <= kShortReply;
  }
  take_calls();
}

void Sink::take_calls() {
  Vector<Call> calls;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    calls.swap(calls_);
  }
  for (Call& call : calls) {
    if (call.operation->completed()) continue;  // cancelled, or too late
    try {
      take_call(call);
    } catch (const std::bad_alloc&) {
      call.operation->complete(Error(PULSE_ERR_NO_MEMORY, "out of memory"));
    }
    // Short memory must not cost the calls that come after this one.
    if (!config_.coalesce) end_of_turn();
  }
}

void Sink::take_call(Call& call) {
  auto tracked = make_ref<SinkCall>(call.operation, call.handles.size());
  for (size_t i = 0; i < call.handles.size(); i++) {
    const pulse_ack_handle& h = call.handles[i];
    tracked->set_id(i, h.id);
  }
  SinkStream* s = nullptr;
  for (size_t i = 0; i < call.handles.size(); i++) {
    const pulse_ack_handle& h = call.handles[i];
    if (phase_ != Phase::running && phase_ != Phase::quiescing) {
      tracked->settle(i, Error(PULSE_ERR_CLOSED, "the sink is closed"));
      continue;
    }
    if (s == nullptr || s->index != h.stream) s = find(h.stream);
    PendingEntry* e = s == nullptr ? nullptr : s->pending.find(h.id);
    const bool ours = e != nullptr && e->delivery == h.delivery;
    const bool again = ours && call.ack && e->state == PendingEntry::State::acking;
    if (!ours || (e->state != PendingEntry::State::held && !again)) {
      if (call.ack) counters_.not_owner.fetch_add(1, std::memory_order_relaxed);
      tracked->settle(i, not_owner());
      continue;
    }
    SettleItem item;
    item.id = h.id;
    item.delivery = h.delivery;
    item.index = static_cast<uint32_t>(i);
    item.call = tracked;
    try {
      if (again) {
        // The host did not wait for the first one.
        s->followers.push_back(std::move(item));
        continue;
      }
      gather(*s, std::move(item), call.ack);
      e->state = call.ack ? PendingEntry::State::acking : PendingEntry::State::releasing;
    } catch (const std::bad_alloc&) {
      tracked->settle(i, Error(PULSE_ERR_NO_MEMORY, "out of memory"));
    }
  }
}

void Sink::gather(SinkStream& s, SettleItem item, bool ack) {
  const bool own = !item.call;
  (ack ? s.acks : s.releases).push_back(std::move(item));
  try {
    if (config_.coalesce || own) engine_->at_end_of_turn(*this);
  } catch (const std::bad_alloc&) {
    retry_soon();
  }
}

void Sink::end_of_turn() {
  try {
    flush_settles();
  } catch (const std::bad_alloc&) {
    retry_soon();
  }
}

void Sink::flush_settles() {
  if (phase_ == Phase::closed) return;
  const bool running = phase_ == Phase::running;  // else it is now or never
  if (running && starting_over_) return;
  if (running && suspect()) {
    check_alive();
    return;
  }
  for (auto& [index, s] : streams_) {
    // While the group is made anew they wait.
    if (running && s->state != SinkStream::State::joined &&
        s->state != SinkStream::State::leaving) {
      continue;
    }
    flush_acks(*s);
    flush_releases(*s);
  }
}

void Sink::flush_acks(SinkStream& s) {
  const int64_t now = monotonic_ms();
  // Old enough to be someone else's: then XACK is not allowed.
  const int64_t safe = config_.grace_ms - config_.grace_ms / 4;
  while (!s.acks.empty()) {
    auto plain = make_ref<SettleBatch>();
    auto owned = make_ref<SettleBatch>();
    size_t count = std::min(s.acks.size(), kIdsPerAck);
    plain->items.reserve(count);
    owned->items.reserve(std::min(count, kIdsPerScript));
    size_t taken = 0;
    for (; taken < count && owned->items.size() < kIdsPerScript; taken++) {
      SettleItem& item = s.acks[taken];
      const PendingEntry* e = s.pending.find(item.id);
      bool fresh = e == nullptr ? !item.call : now - e->owned_ms < safe;
      (fresh ? plain : owned)->items.push_back(std::move(item));
    }
    s.acks.erase(s.acks.begin(), s.acks.begin() + static_cast<ptrdiff_t>(taken));
    if (!plain->items.empty()) send_ack(s, std::move(plain));
    if (!owned->items.empty()) send_ack_owned(s, std::move(owned));
  }
}

void Sink::flush_releases(SinkStream& s) {
  while (!s.releases.empty()) {
    auto batch = make_ref<SettleBatch>();
    size_t count = std::min(s.releases.size(), kIdsPerScript);
    batch->items.reserve(count);
    for (size_t i = 0; i < count; i++) batch->items.push_back(std::move(s.releases[i]));
    s.releases.erase(s.releases.begin(), s.releases.begin() + static_cast<ptrdiff_t>(count));
    send_release(s, std::move(batch));
  }
}

// The frame of the three: counts the command, settles all items when it fails or cannot be sent.
// each(reply, batch, i): whether the item was ours.
template <class Format, class Each>
void Sink::send_settle(SinkStream& s, Ref<SettleBatch> batch, const Script* script, Format format,
                       Each each) {
  auto write = [batch, format](CommandWriter& w, bool eval) {
    batch->formatted++;
    if (eval) batch->evaluated = true;
    format(w, eval, *batch);
  };
  auto done = [this, &s, batch, each, keep = Ref<SinkStream>::share(&s)](const Error& error,
                                                                         Reply* reply) {
    s.settling--;
    for (size_t i = 0; error.ok() && i < batch->items.size(); i++) {
      batch->items[i].refused = !each(*reply, *batch, i);
    }
    settled(s, *batch, error);
    settle_done(s);
  };
  s.settling++;
  try {
    send(s, script, true, std::move(write), std::move(done));
  } catch (const std::bad_alloc&) {
    s.settling--;
    settled(s, *batch, Error(PULSE_ERR_NO_MEMORY, "out of memory"));
    settle_done(s);
  }
}

void Sink::send_ack(SinkStream& s, Ref<SettleBatch> batch) {
  auto format = [this, &s](CommandWriter& w, bool, const SettleBatch& b) {
    w.begin(3 + b.items.size());
    w.arg(std::string_view("XACK"));
    w.arg(std::string_view(s.stream->key()));
    w.arg(std::string_view(name_));
    IdText text;
    for (const SettleItem& item : b.items) w.arg(text.of(item.id));
  };
  send_settle(s, std::move(batch), nullptr, format,
              [](Reply&, const SettleBatch&, size_t) { return true; });
}

void Sink::send_ack_owned(SinkStream& s, Ref<SettleBatch> batch) {
  auto format = [this, &s, consumer = consumer_](CommandWriter& w, bool eval,
                                                 const SettleBatch& b) {
    w.begin_script(scripts::sink_ack_owned, eval, 1, 2 + b.items.size());
    w.arg(std::string_view(s.stream->key()));
    w.arg(std::string_view(name_));
    w.arg(std::string_view(consumer));
    for (const SettleItem& item : b.items) w.arg_id(item.id.ms, item.id.seq);
  };
  send_settle(s, std::move(batch), &scripts::sink_ack_owned, format,
              [](Reply& reply, const SettleBatch& b, size_t i) {
                if (i == 0) reply.next();
                const int64_t result = reply.next().integer;
                // Not pending at all: the same command, sent before, has done it; else somebody.
                return result == 1 || (result == 2 && b.may_be_second());
              });
}

void Sink::send_release(SinkStream& s, Ref<SettleBatch> batch) {
  auto format = [this, &s, consumer = consumer_](CommandWriter& w, bool eval,
                                                 const SettleBatch& b) {
    w.begin_script(scripts::sink_release, eval, 1, 3 + 2 * b.items.size());
    w.arg(std::string_view(s.stream->key()));
    w.arg(std::string_view(name_));
    w.arg(std::string_view(consumer));
    w.arg(std::max(config_.grace_ms, kLongIdle));
    for (const SettleItem& item : b.items) {
      w.arg_id(item.id.ms, item.id.seq);
      w.arg(std::string_view(item.seen ? "1" : "0"));
    }
  };
  send_settle(s, std::move(batch), &scripts::sink_release, format,
              [this, &s](Reply& reply, const SettleBatch& b, size_t i) {
                if (i == 0) reply.next();
                const int64_t result = reply.next().integer;
                if (result == 2) lost(s, b.items[i].id);
                return result != 0;
              });
}

// The events are off our hands, or the attempt failed and they are held as before.
void Sink::settled(SinkStream& s, SettleBatch& batch, const Error& error) {
  size_t acked = 0, not_owned = 0, gone = 0;
  for (const SettleItem& item : batch.items) {
    PendingEntry* e = s.pending.find(item.id);
    if (e == nullptr || e->delivery != item.delivery || e->state == PendingEntry::State::held) {
      continue;
    }
    if (!error.ok()) {
      e->state = PendingEntry::State::held;
      continue;
    }
    if (e->state == PendingEntry::State::acking) (item.refused ? not_owned : acked)++;
    s.pending.erase(*e);
    gone++;
  }
  // Before anybody is told.
  counters_.acked.fetch_add(acked, std::memory_order_relaxed);
  counters_.not_owner.fetch_add(not_owned, std::memory_order_relaxed);
  dropped(gone);
  const Error refused = not_owner();
  for (SettleItem& item : batch.items) {
    const Error& outcome = error.ok() && item.refused ? refused : error;
    if (item.call) item.call->settle(item.index, outcome);
    item.call = nullptr;
    settle_followers(s, item, outcome);
  }
}

void Sink::settle_followers(SinkStream& s, const SettleItem& item, const Error& error) {
  if (s.followers.empty()) return;
  const auto follows = [&](const SettleItem& f) {
    return id_equal(f.id, item.id) && f.delivery == item.delivery;
  };
  for (SettleItem& f : s.followers) {
    if (follows(f)) f.call->settle(f.index, error);
  }
  s.followers.erase(std::remove_if(s.followers.begin(), s.followers.end(), follows),
                    s.followers.end());
}

void Sink::settle_done(SinkStream& s) {
  if (s.settling > 0 || !s.acks.empty() || !s.releases.empty()) return;
  if (phase_ == Phase::handing_back) finish_close_if_done();
  if (s.state == SinkStream::State::leaving) leave_now(s);
}

void Sink::drop_pending(SinkStream& s, const pulse_event_id& id) {
  const size_t before = s.pending.size();
  s.pending.erase(id);
  dropped(before - s.pending.size());
}

void Sink::dropped(size_t count) {
  if (count == 0) return;
  pending_count_.fetch_sub(count, std::memory_order_relaxed);
  if (config_.max_pending >= 0 && starved_.load()) room_made();
}

// All at once: they are not ours any more.
void Sink::drop_all(SinkStream& s) {
  Vector<SettleItem> acks, releases;
  acks.swap(s.acks);
  releases.swap(s.releases);
  pending_count_.fetch_sub(s.pending.size(), std::memory_order_relaxed);
  s.pending.clear();
  for (Vector<SettleItem>* items : {&acks, &releases}) {
    for (SettleItem& item : *items) {
      settle_followers(s, item, not_owner());
      if (!item.call) continue;
      if (items == &acks) counters_.not_owner.fetch_add(1, std::memory_order_relaxed);
      item.call->settle(item.index, not_owner());
    }
  }
}

}  // namespace pulseengine
