// From entries to deliveries: reads, what is pending and not known here, and gaps.
#include <algorithm>

#include "scripts.h"
#include "streaming/sink_intake.h"
#include "streaming/sink_send.h"

namespace pulseengine {
namespace {

constexpr size_t kPendingPerPage = 500;
// How many entries one script fetches or takes over, at most.
constexpr int64_t kEntriesPerScript = 500;

}  // namespace

// --- reading ------------------------------------------------------------------------

void Sink::read(uint32_t index, Reply& reply, size_t count) {
  SinkStream* s = find(index);
  if (s == nullptr || s->state == SinkStream::State::leaving) return;  // given back with the rest
  if (phase_ != Phase::running || withdrawn()) {
    // For others: handed back with what the host has not taken.
    if (config_.no_ack) return;
    const size_t entries = reply.next().elements();
    Vector<pulse_header> headers;
    for (size_t i = 0; i < entries; i++) {
      Message m;
      parse_entry(reply, &m, &headers);
      if (s->pending.find(m.id) != nullptr) continue;
      PendingEntry& e = s->pending.insert(m.id);
      e.order = UINT64_MAX;
      e.owned_ms = last_tick_ms_;
      pending_count_.fetch_add(1, std::memory_order_relaxed);
    }
    return;
  }
  read_error_ = PULSE_OK;
  if (starting_over_ || suspect()) {
    // Perhaps not ours any more; what still is will be found by recovery.
    s->recover_needed = true;
    s->recover_from = {0, 0};
    check_alive();
    return;
  }
  Intake intake(*this, *s, Source::read, reply.slab());
  intake.take_entries(reply);
  if (intake.entries() == 0) return;
  const bool full = intake.entries() >= count;
  if (full) count_limit_ = std::min(2 * count_limit_, config_.max_polled);
  largest_ = std::max(intake.largest(), largest_ - largest_ / 8);
  const pulse_event_id first = intake.first(), last = intake.last(), before = s->last_read;
  intake.deliver();
  s->last_read = last;
  if (full && (before.ms != 0 || before.seq != 0)) {
    // We lag: trimming may overtake us.
    if (s->gap_before.ms == 0 && id_less(before, first)) {
      s->gap_after = before;
      s->gap_before = first;
    }
    if (!s->gap_checking) check_gap(*s);
  }
}

void Sink::read_failed(const Error& error) {
  if (phase_ != Phase::running) return;
  const std::string_view text = error.message();
  if (text.substr(0, 7) == "NOGROUP" || text.substr(0, 9) == "UNBLOCKED" ||
      error.code() == PULSE_ERR_WRONG_TYPE) {
    rejoin_all();
    if (error.code() != PULSE_ERR_WRONG_TYPE) return;
  }
  if (error.code() == read_error_) return;
  read_error_ = error.code();
  notice(PULSE_EVENT_READ_ERROR, nullptr, [&](Notice& n) { n.error = error; });
}

void Sink::lane_ready() {
  if (phase_ != Phase::running) return;
  if (ever_connected_) {
    if (!connected_) {
      counters_.reconnects.fetch_add(1, std::memory_order_relaxed);
      notice(PULSE_EVENT_RECONNECTED, nullptr, [](Notice&) {});
    }
    for (auto& [index, s] : streams_) {
      if (!s->joined_before) continue;
      s->recover_needed = true;
      s->recover_from = {0, 0};
      s->gap_check_needed = true;
    }
  }
  connected_ = ever_connected_ = true;
  try {
    changed();
    pump_all();
  } catch (const std::bad_alloc&) {
    retry_soon();
  }
}

void Sink::lane_lost(const Error& error) {
  if (phase_ != Phase::running || !connected_) return;
  connected_ = false;
  notice(PULSE_EVENT_DISCONNECTED, nullptr, [&](Notice& n) { n.error = error; });
}

// --- recovery -------------------------------------------------------------------------

// Looks for events that are pending under our consumer and that are not known here: their reply
// was lost with a connection, or there was no memory for them.
void Sink::recover(SinkStream& s) {
  if (config_.no_ack) {
    s.recover_needed = false;
    changed();
    return;
  }
  if (wanted() == 0) return;  // goes on with the next tick that has room
  auto format = [this, key = &s.stream->key(), from = s.recover_from, consumer = consumer_,
                 keep = Ref<SinkStream>::share(&s)](CommandWriter& w, bool) {
    w.begin(7);
    w.arg(std::string_view("XPENDING"));
    w.arg(std::string_view(*key));
    w.arg(std::string_view(name_));
    w.arg_id(from.ms, from.seq);
    w.arg(std::string_view("+"));
    w.arg(static_cast<int64_t>(kPendingPerPage));
    w.arg(std::string_view(consumer));
  };
  auto done = [this, &s, epoch = epoch_, keep = Ref<SinkStream>::share(&s)](const Error& error,
                                                                            Reply* reply) {
    if (epoch != epoch_) return;
    s.recovering = false;
    if (phase_ != Phase::running || s.state != SinkStream::State::joined) return;
    if (!error.ok() || reply == nullptr) {
      upkeep_failed(s, error);
      return;  // again with the next tick
    }
    Vector<pulse_event_id> unknown;
    const size_t found = reply->next().elements();
    // As many as there is room for; the rest later.
    const size_t limit =
        static_cast<size_t>(std::min<int64_t>(static_cast<int64_t>(wanted()), kEntriesPerScript));
    size_t seen = 0;
    for (; seen < found && unknown.size() < limit; seen++) {
      pulse_event_id id{0, 0};
      reply->next();
      parse_id(reply->next().text, &id);
      reply->skip();
      reply->skip();
      reply->skip();
      if (s.pending.find(id) == nullptr) unknown.push_back(id);
      s.recover_from = id_after(id);
    }
    const bool more = seen < found || found == kPendingPerPage;
    if (unknown.size() == limit) count_limit_ = std::min(2 * count_limit_, config_.max_polled);
    if (!unknown.empty()) {
      fetch(s, std::move(unknown), more);
    } else if (more) {
      recover(s);
    } else {
      s.recover_needed = false;
      pump(s, monotonic_ms());
      changed();
    }
  };
  send(s, nullptr, true, std::move(format), std::move(done));
  s.recovering = true;
}

void Sink::fetch(SinkStream& s, Vector<pulse_event_id> wanted_ids, bool more) {
  auto ids = make_ref<SettleBatch>();
  ids->items.resize(wanted_ids.size());
  for (size_t i = 0; i < wanted_ids.size(); i++) ids->items[i].id = wanted_ids[i];
  auto format = [this, key = &s.stream->key(), ids, consumer = consumer_,
                 keep = Ref<SinkStream>::share(&s)](CommandWriter& w, bool eval) {
    w.begin_script(scripts::sink_fetch, eval, 1, 2 + ids->items.size());
    w.arg(std::string_view(*key));
    w.arg(std::string_view(name_));
    w.arg(std::string_view(consumer));
    for (const SettleItem& item : ids->items) w.arg_id(item.id.ms, item.id.seq);
  };
  auto done = [this, &s, ids, more, epoch = epoch_, keep = Ref<SinkStream>::share(&s)](
                  const Error& error, Reply* reply) {
    if (epoch != epoch_) return;
    s.recovering = false;
    // Until it is known to have worked, all of it is to be done again.
    const pulse_event_id reached = s.recover_from;
    s.recover_from = ids->items.front().id;
    if (phase_ != Phase::running || s.state != SinkStream::State::joined) return;
    if (!error.ok() || reply == nullptr) {
      upkeep_failed(s, error);
      return;
    }
    reply->next();
    Intake intake(*this, s, Source::recovered, reply->slab());
    intake.take_entries(*reply);
    intake.take_counts(*reply);
    if (intake.entries() > 0) {
      largest_ = std::max(intake.largest(), largest_);
      intake.deliver();
    }
    s.recover_from = reached;
    const size_t gone = reply->next().elements();
    for (size_t i = 0; i < gone; i++) {
      pulse_event_id id;
      if (parse_id(reply->next().text, &id)) lost(s, id);
    }
    if (!more) s.recover_needed = false;
    pump(s, monotonic_ms());
    changed();
  };
  send(s, &scripts::sink_fetch, true, std::move(format), std::move(done));
  s.recovering = true;
}

// --- gaps --------------------------------------------------------------------------------

void Sink::check_gap(SinkStream& s) {
  auto format = [this, key = &s.stream->key(), keep = Ref<SinkStream>::share(&s)](CommandWriter& w,
                                                                                  bool eval) {
    w.begin_script(scripts::sink_gap, eval, 1, 1);
    w.arg(std::string_view(*key));
    w.arg(std::string_view(name_));
  };
  auto done = [this, &s, keep = Ref<SinkStream>::share(&s)](const Error& error, Reply* reply) {
    s.gap_checking = false;
    if (phase_ != Phase::running || s.state != SinkStream::State::joined) return;
    if (error.ok()) {
      s.gap_check_needed = false;
      gap_checked(s, *reply);
      changed();
    } else if (error.is_final()) {
      s.gap_check_needed = false;  // not allowed here: reading is worth more
      upkeep_failed(s, error);
      changed();
    }
  };
  send(s, &scripts::sink_gap, true, std::move(format), std::move(done));
  s.gap_checking = true;
}

void Sink::gap_checked(SinkStream& s, Reply& reply) {
  const bool complete = reply.next().elements() >= 4;
  if (!complete || reply.next().text != "ok") {
    rejoin(s);
    return;
  }
  pulse_event_id delivered{0, 0}, first{0, 0};
  parse_id(reply.next().text, &delivered);
  const bool has_first = parse_id(reply.next().text, &first);
  int64_t missing = reply.next().integer;
  const pulse_event_id after = s.gap_after, before = s.gap_before;
  s.gap_after = s.gap_before = {0, 0};
  if (!has_first) return;
  const bool any_delivered = delivered.ms != 0 || delivered.seq != 0;
  pulse_event_id from = delivered, to = first;
  if (any_delivered && id_less(delivered, first)) {
    // Ahead of us.
    if (missing == 0) return;
  } else if (before.ms != 0 && !id_less(first, before)) {
    // Passed by: the first entry of a batch is the oldest one that there is.
    if (engine_->server().counts_trimmed_as_read()) missing = -1;
    if (missing == 0) return;
    from = after;
    to = before;
  } else {
    return;
  }
  if (!id_less(s.gap_reported, to)) return;
  s.gap_reported = to;
  counters_.gaps.fetch_add(1, std::memory_order_relaxed);
  notice(PULSE_EVENT_GAP, &s, [&](Notice& n) {
    n.id = from;
    n.id_end = to;
    n.count = missing > 0 ? static_cast<uint64_t>(missing) : 0;
  });
}

}  // namespace pulseengine
