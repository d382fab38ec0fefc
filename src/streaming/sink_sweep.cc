// Twice a second, or less often where there are many sinks: abandoned events, consumers that are
// gone, and where to go on if all were lost.  And the renewal of what the host holds.
#include <algorithm>

#include "base/rng.h"
#include "scripts.h"
#include "streaming/read_lanes.h"
#include "streaming/sink_intake.h"
#include "streaming/sink_send.h"

namespace pulseengine {
namespace {

constexpr int64_t kSweepInterval = 500;
// All sinks of an engine together sweep about so often in that time, as far as the grace period
// allows: a sweep costs some commands even where nothing happens.
constexpr int64_t kSweepsPerInterval = 100;
constexpr int64_t kLease = 450;
constexpr int64_t kEntriesPerSweep = 500;
// Pending events of all consumers that one sweep looks at; the next one goes on from there.
constexpr int64_t kLooksPerSweep = 50000;
constexpr size_t kIdsPerRenewal = 500;

}  // namespace

int64_t Sink::sweep_interval() const {
  const size_t streams = ReadLanes::of(*engine_).group_count() * streams_.size();
  const int64_t paced = kSweepInterval * static_cast<int64_t>(streams) / kSweepsPerInterval;
  const int64_t interval = std::min(paced, config_.grace_ms / 4);
  if (interval <= kSweepInterval) return kSweepInterval;
  // Those that were opened together do not sweep together: nobody is to wait for all of them.
  return interval - static_cast<int64_t>(random_below(static_cast<uint64_t>(interval / 2)));
}

void Sink::sweep(SinkStream& s) {
  s.next_sweep_ms = monotonic_ms() + sweep_interval();
  const int64_t limit = config_.no_ack || !s.readable()
                            ? 0
                            : std::min<int64_t>(static_cast<int64_t>(wanted()), kEntriesPerSweep);
  auto format = [this, &s, limit, consumer = consumer_, cursor = s.sweep_cursor,
                 keep = Ref<SinkStream>::share(&s)](CommandWriter& w, bool eval) {
    w.begin_script(scripts::sink_sweep, eval, 4, 10);
    w.arg(std::string_view(s.stream->key()));
    w.arg(std::string_view(s.lease_key));
    w.arg(std::string_view(alive_map_));
    w.arg(std::string_view(s.consumers_map));
    w.arg(std::string_view(name_));
    w.arg(std::string_view(consumer));
    w.arg(config_.grace_ms);
    w.arg(limit);
    w.arg(std::string_view(engine_->server().has_xautoclaim() ? "1" : "0"));
    w.arg(std::string_view(cursor));
    w.arg(std::string_view(alive_channel_));
    w.arg(std::string_view(s.consumers_channel));
    w.arg(kLease);
    w.arg(kLooksPerSweep);
  };
  auto done = [this, &s, limit, epoch = epoch_, keep = Ref<SinkStream>::share(&s)](
                  const Error& error, Reply* reply) {
    if (epoch != epoch_) return;
    s.sweeping = false;
    if (phase_ != Phase::running || s.state != SinkStream::State::joined) return;
    if (!error.ok()) {
      // What it has claimed, if it was executed, is found by recovery.
      if (limit > 0) {
        s.recover_needed = true;
        s.recover_from = {0, 0};
      }
      upkeep_failed(s, error);
      return;
    }
    swept(s, *reply, limit);
  };
  // Not repeated: it would claim once more.
  send(s, &scripts::sink_sweep, false, std::move(format), std::move(done));
  s.sweeping = true;
}

void Sink::swept(SinkStream& s, Reply& reply, int64_t limit) {
  reply.next();
  if (reply.next().text != "ok") {
    rejoin(s);
    return;
  }
  const std::string_view position = reply.next().text;
  const std::string_view lowest = reply.next().text;
  const std::string_view cursor = reply.next().text;
  // If memory is short from here on, recovery finds what was claimed.
  s.recover_needed = true;
  s.recover_from = {0, 0};
  generation_++;
  Intake intake(*this, s, Source::claimed, reply.slab());
  intake.take_entries(reply);
  intake.take_counts(reply);
  const int64_t entries = static_cast<int64_t>(intake.entries());
  if (entries > 0) {
    largest_ = std::max(intake.largest(), largest_);
    intake.deliver();
  }
  s.recover_needed = false;
  s.sweep_cursor.assign(cursor.data(), cursor.size());
  const size_t gone = reply.next().elements();
  for (size_t i = 0; i < gone; i++) {
    pulse_event_id id;
    if (parse_id(reply.next().text, &id)) lost(s, id);
  }
  sampled(s, position, lowest);
  if (s.stand_back) {
    // Long enough for others to take the lease, whatever their rhythm.
    s.stand_back = false;
    const int64_t away = kSweepInterval * (2 + static_cast<int64_t>(random_below(3)));
    s.next_sweep_ms = monotonic_ms() + std::max(away, sweep_interval());
    return;
  }
  // A full hand: there is more.
  if (limit > 0 && entries + static_cast<int64_t>(gone) >= limit) {
    count_limit_ = std::min(2 * count_limit_, config_.max_polled);
    s.next_sweep_ms = 0;
    timer_.start(kSoonMs);
  }
}

void Sink::sampled(SinkStream& s, std::string_view position, std::string_view lowest) {
  pulse_event_id id{0, 0};
  if (parse_id(lowest, &id)) {
    s.restart = sent_position(id_before(id));
  } else if (parse_id(position, &id)) {
    s.restart = id;
  } else {
    return;
  }
  s.restart_known = true;
}

void Sink::renew(SinkStream& s, pulse_event_id from) {
  const int64_t now = monotonic_ms();
  if (from.ms == 0 && from.seq == 0) s.next_renewal_ms = now + config_.grace_ms / 3;
  auto batch = make_ref<SettleBatch>();
  batch->items.reserve(kIdsPerRenewal);
  pulse_event_id next{0, 0};
  for (PendingEntry* e = s.pending.first_from(from); e != nullptr;
       e = s.pending.first_from(id_after(e->id))) {
    if (batch->items.size() == kIdsPerRenewal) {
      next = e->id;
      break;
    }
    if (e->state != PendingEntry::State::held) continue;
    if (config_.max_handling_ms >= 0 && now - e->since_ms >= config_.max_handling_ms) continue;
    SettleItem item;
    item.id = e->id;
    item.delivery = e->delivery;
    batch->items.push_back(std::move(item));
  }
  s.renewing = false;
  if (batch->items.empty()) return;
  auto format = [this, &s, batch, consumer = consumer_, keep = Ref<SinkStream>::share(&s)](
                    CommandWriter& w, bool eval) {
    w.begin_script(scripts::sink_renew, eval, 1, 2 + batch->items.size());
    w.arg(std::string_view(s.stream->key()));
    w.arg(std::string_view(name_));
    w.arg(std::string_view(consumer));
    for (const SettleItem& item : batch->items) w.arg_id(item.id.ms, item.id.seq);
  };
  auto done = [this, &s, batch, next, now, epoch = epoch_, keep = Ref<SinkStream>::share(&s)](
                  const Error& error, Reply* reply) {
    if (epoch != epoch_) return;
    s.renewing = false;
    if (phase_ != Phase::running || s.state != SinkStream::State::joined) return;
    if (!error.ok()) {
      // Sooner than in the usual course.
      s.next_renewal_ms = std::min(s.next_renewal_ms, monotonic_ms() + config_.grace_ms / 10);
      upkeep_failed(s, error);
      return;
    }
    renewed(s, *batch, *reply, now);
    if (next.ms != 0 || next.seq != 0) renew(s, next);
  };
  send(s, &scripts::sink_renew, true, std::move(format), std::move(done));
  s.renewing = true;
}

void Sink::renewed(SinkStream& s, const SettleBatch& batch, Reply& reply, int64_t sent_ms) {
  bool dropped = false;
  reply.next();
  for (const SettleItem& item : batch.items) {
    const int64_t result = reply.next().integer;
    PendingEntry* e = s.pending.find(item.id);
    if (e == nullptr || e->delivery != item.delivery || e->state != PendingEntry::State::held)
      continue;
    if (result == 1) {
      e->owned_ms = std::max(e->owned_ms, sent_ms);
      counters_.renewed.fetch_add(1, std::memory_order_relaxed);
    } else if (result == 3 && sent_ms - e->owned_ms < config_.grace_ms) {
      // Nobody can have taken it over and acked it: it was dropped, with the consumer or the group.
      dropped = true;
    } else if (result != 2) {
      drop_pending(s, item.id);  // the host learns it from its ack
    }
  }
  if (dropped) rejoin(s);
}

}  // namespace pulseengine
