#include "streaming/sink_intake.h"

#include <algorithm>

#include "streaming/sink_send.h"

namespace pulseengine {
namespace {

// An ack of the sink's own.
SettleItem own(const pulse_event_id& id) {
  SettleItem item;
  item.id = id;
  return item;
}

}  // namespace

Sink::Intake::Intake(Sink& sink, SinkStream& s, Source source, const Ref<Slab>& slab)
    : sink_(sink),
      s_(s),
      source_(source),
      batch_(make_ref<MessageBatch>(Ref<Deliverer>::share(&sink), sink.target_, s.stream, s.index,
                                    slab, s.gate)) {}

void Sink::Intake::take_entries(Reply& reply) {
  const size_t count = reply.next().elements();
  batch_->messages.reserve(count);
  kinds_.reserve(count);
  for (size_t i = 0; i < count; i++) {
    Message& m = batch_->messages.emplace_back();
    m.deliveries = 1;
    kinds_.push_back(parse_entry(reply, &m, &batch_->headers));
  }
}

void Sink::Intake::take_counts(Reply& reply) {
  const size_t count = reply.next().elements();
  for (size_t i = 0; i < count; i++) {
    const int64_t times = reply.next().integer;
    if (i < batch_->messages.size()) {
      batch_->messages[i].deliveries = static_cast<uint64_t>(std::max<int64_t>(times, 1));
    }
  }
}

int64_t Sink::Intake::largest() const {
  int64_t most = 0;
  for (const Message& m : batch_->messages) most = std::max<int64_t>(most, m.bytes);
  return most;
}

void Sink::Intake::deliver() {
  const uint64_t first_order = sink_.delivered_order_;
  try {
    sort_out();
    batch_->fit();
  } catch (const std::bad_alloc&) {
    for (const Message& m : batch_->messages) {
      PendingEntry* e = s_.pending.find(m.id);
      if (e != nullptr && e->order >= first_order) sink_.drop_pending(s_, m.id);
    }
    sink_.delivered_order_ = first_order;
    throw;
  }
  batch_->messages.resize(out_);
  if (out_ == 0) return;
  int64_t bytes = 0;
  uint64_t redelivered = 0;
  for (const Message& m : batch_->messages) {
    bytes += m.bytes;
    if (m.deliveries > 1) redelivered++;
  }
  Counters& c = sink_.counters_;
  c.delivered.fetch_add(out_, std::memory_order_relaxed);
  c.redelivered.fetch_add(redelivered, std::memory_order_relaxed);
  if (source_ == Source::claimed) c.claimed.fetch_add(out_, std::memory_order_relaxed);
  sink_.buffered_.fetch_add(static_cast<int64_t>(out_));
  sink_.buffered_bytes_.fetch_add(bytes);
  sink_.engine_->deliver(std::move(batch_));
}

// Keeps what the host is to see in front of the batch, and notes it as pending.
void Sink::Intake::sort_out() {
  Vector<Message>& messages = batch_->messages;
  const bool acks = !sink_.config_.no_ack;
  const int64_t now = monotonic_ms();
  for (size_t i = 0; i < messages.size(); i++) {
    Message& m = messages[i];
    if (kinds_[i] == EntryKind::deleted) {
      sink_.gather(s_, own(m.id), true);
      sink_.lost(s_, m.id);
      continue;
    }
    if (kinds_[i] == EntryKind::malformed) {
      if (acks) sink_.gather(s_, own(m.id), true);
      sink_.counters_.malformed.fetch_add(1, std::memory_order_relaxed);
      sink_.notice(PULSE_EVENT_MALFORMED, &s_, [&](Notice& n) { n.id = m.id; });
      continue;
    }
    PendingEntry* known = acks ? s_.pending.find(m.id) : nullptr;
    if (known != nullptr && !overdue(*known, now)) {
      // It comes again (the group was made anew, or we were late to renew it): just ours again.
      known->owned_ms = sink_.last_tick_ms_;
      if (known->state == PendingEntry::State::acking) sink_.gather(s_, own(m.id), true);
      continue;
    }
    if (!sink_.filter_->passes(m.topic)) {
      sink_.counters_.filtered.fetch_add(1, std::memory_order_relaxed);
      if (acks && !sink_.config_.leave_filtered) {
        sink_.gather(s_, own(m.id), true);
      } else if (acks && source_ == Source::claimed) {
        // Taken over only to find that it is for others: they must get the lease, too.
        sink_.gather(s_, own(m.id), false);
        s_.stand_back = true;
      }
      continue;
    }
    m.delivery = sink_.generation_;
    if (acks) {
      if (known == nullptr) {
        known = &s_.pending.insert(m.id);
        sink_.pending_count_.fetch_add(1, std::memory_order_relaxed);
      }
      known->state = PendingEntry::State::held;
      known->delivery = m.delivery;
      known->order = sink_.delivered_order_;
      known->since_ms = now;
      // When the server counted it as ours is not known; before the last tick we
      // cannot have been stalled.
      known->owned_ms = sink_.last_tick_ms_;
    }
    sink_.delivered_order_++;
    if (out_ != i) messages[out_] = m;
    out_++;
  }
}

// Handed out for longer than the host wants to be renewed, and taken back by our own sweep.
bool Sink::Intake::overdue(const PendingEntry& e, int64_t now) const {
  return source_ == Source::claimed && e.state == PendingEntry::State::held &&
         sink_.config_.max_handling_ms >= 0 && now - e.since_ms >= sink_.config_.max_handling_ms;
}

}  // namespace pulseengine
