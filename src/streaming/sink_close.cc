// Handing back at the end: of the sink, or of one of its streams.
#include <algorithm>

#include "scripts.h"
#include "streaming/sink_call.h"
#include "streaming/sink_send.h"

namespace pulseengine {
namespace {

constexpr int64_t kLongIdle = int64_t{3600} * 1000;
constexpr int64_t kOfflineCloseMs = 1000;

Error closed_error() { return Error(PULSE_ERR_CLOSED, "the sink is closed"); }

}  // namespace

// Both what had to wait for the end of the reads under way.
void Sink::quiesced() {
  try {
    if (phase_ == Phase::quiescing) {
      hand_back();
    } else if (phase_ == Phase::running) {
      if (starting_over_) {
        may_start_over_ = true;
        start_over();
      }
      leave_quiesced();
    }
  } catch (const std::bad_alloc&) {
    retry_soon();
  }
}

// --- closing ------------------------------------------------------------------------------

void Sink::begin_close() noexcept {
  closing_.store(true, std::memory_order_release);
  if (phase_ == Phase::starting) {
    finish_close(Error());
    return;
  }
  if (phase_ != Phase::running) return;
  Ref<Sink> self = Ref<Sink>::share(this);
  // Without a connection there is little hope to hand back: others take over after the grace
  // period.
  close_deadline_ms_ =
      deadline_after(engine_->server_is_ready() ? command_timeout_ms() : kOfflineCloseMs);
  try {
    reading_ahead(0);
    flush_settles();
  } catch (const std::bad_alloc&) {
    // They stay gathered; hand_back() tries once more.
  }
  phase_ = Phase::quiescing;
  ready_signal_->set(closed_error());
  changed();
  ReadLanes::of(*engine_).quiesce(*this);
}

void Sink::hand_back() {
  phase_ = Phase::handing_back;
  for (auto& [index, s] : streams_) {
    for (Ref<Operation>* op : {&s->joining_operation, &s->leaving_operation}) {
      if (*op) (*op)->complete(closed_error());
      *op = nullptr;
    }
    hand_back_stream(*s);
  }
  flush_settles();
  finish_close_if_done();
}

// All that the host holds or could have taken.
void Sink::hand_back_stream(SinkStream& s) {
  if (!s.joined_before) return;
  const uint64_t taken = taken_.load(std::memory_order_relaxed);
  for (PendingEntry* e = s.pending.first_from({0, 0}); e != nullptr;
       e = s.pending.first_from(id_after(e->id))) {
    if (e->state != PendingEntry::State::held) continue;
    SettleItem item;
    item.id = e->id;
    item.delivery = e->delivery;
    item.seen = e->order < taken;
    s.releases.push_back(std::move(item));
    e->state = PendingEntry::State::releasing;
  }
}

void Sink::finish_close_if_done() {
  if (phase_ != Phase::handing_back) return;
  for (auto& [index, s] : streams_) {
    if (s->settling > 0 || !s->acks.empty() || !s->releases.empty()) return;
  }
  finish_close(Error());
}

void Sink::finish_close(const Error& error) {
  if (phase_ == Phase::closed) return;
  Ref<Sink> self = Ref<Sink>::share(this);
  closing_.store(true, std::memory_order_release);
  phase_ = Phase::closed;
  reading_ahead(0);  // completes the calls as closed
  for (auto& [index, s] : streams_) {
    for (Ref<Operation>* op : {&s->joining_operation, &s->leaving_operation}) {
      if (*op) (*op)->complete(closed_error());
      *op = nullptr;
    }
    for (Vector<SettleItem>* items : {&s->acks, &s->releases, &s->followers}) {
      for (SettleItem& item : *items) {
        if (item.call) item.call->settle(item.index, closed_error());
      }
      items->clear();
    }
  }
  timer_.reset();
  if (in_lanes_) ReadLanes::of(*engine_).remove(*this);
  in_lanes_ = false;
  engine_->forget_hook(*this);
  ready_signal_->set(error.ok() ? closed_error() : error);
  closed_notice_->error = error;
  ready_notice_ = nullptr;
  engine_->deliver(std::move(closed_notice_));
  target_ = nullptr;
  closed_signal_->set(Error());
  engine_->remove_child(*this);
}

// --- removing a stream ------------------------------------------------------------------------

void Sink::leave(SinkStream& s) {
  const bool was_joined = s.joined_before;
  s.state = SinkStream::State::leaving;
  if (!was_joined) {
    left(s, Error());
    return;
  }
  s.gate->shut();
  s.leave_waits = true;
  changed();
  ReadLanes::of(*engine_).quiesce(*this);
}

void Sink::leave_quiesced() {
  for (auto& [index, s] : streams_) {
    if (s->state != SinkStream::State::leaving || !s->leave_waits) continue;
    s->leave_waits = false;
    hand_back_stream(*s);
    flush_acks(*s);
    flush_releases(*s);
    if (s->settling == 0) leave_now(*s);
  }
}

// The acks are through: gives back the rest.
void Sink::leave_now(SinkStream& s) {
  if (phase_ != Phase::running || s.leave_waits || s.leave_sent) return;
  auto format = [this, &s, consumer = consumer_, keep = Ref<SinkStream>::share(&s)](
                    CommandWriter& w, bool eval) {
    w.begin_script(scripts::sink_leave, eval, 2, 4);
    w.arg(std::string_view(s.stream->key()));
    w.arg(std::string_view(s.consumers_map));
    w.arg(std::string_view(name_));
    w.arg(std::string_view(consumer));
    w.arg(std::string_view(s.consumers_channel));
    w.arg(std::max(config_.grace_ms, kLongIdle));
  };
  auto done = [this, &s, keep = Ref<SinkStream>::share(&s)](const Error& error, Reply*) {
    left(s, error);
  };
  s.leave_sent = true;
  try {
    send(s, &scripts::sink_leave, true, std::move(format), std::move(done));
  } catch (const std::bad_alloc&) {
    left(s, Error(PULSE_ERR_NO_MEMORY, "out of memory"));
  }
}

void Sink::left(SinkStream& s, const Error& error) {
  Ref<SinkStream> keep = Ref<SinkStream>::share(&s);
  if (s.state == SinkStream::State::removed) return;
  s.state = SinkStream::State::removed;
  counters_.streams.fetch_sub(1, std::memory_order_relaxed);
  drop_all(s);
  if (s.leaving_operation) s.leaving_operation->complete(error);
  if (s.joining_operation)
    s.joining_operation->complete(Error(PULSE_ERR_CANCELLED, "the stream was removed"));
  s.leaving_operation = s.joining_operation = nullptr;
  // Not here: callers walk over the streams.
  engine_->post_call([self = Ref<Sink>::share(this), keep] { self->streams_.erase(keep->index); });
}

}  // namespace pulseengine
