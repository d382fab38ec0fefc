#include "streaming/sink.h"

#include <algorithm>

#include "base/ulid.h"
#include "streaming/sink_call.h"
#include "streaming/sink_send.h"

namespace pulseengine {
namespace {

std::atomic<uint64_t> next_handle_id{1};

// The clock of a sink: a sixth of the grace period, and a part of the half second between sweeps.
int64_t tick_for(int64_t grace_ms) {
  constexpr int64_t kSweeps = 500;
  const int64_t wanted = std::max<int64_t>(grace_ms / 6, 10);
  return kSweeps / std::max<int64_t>((kSweeps + wanted - 1) / wanted, 2);
}

Error closed_error() { return Error(PULSE_ERR_CLOSED, "the sink is closed"); }

}  // namespace

String start_position(const ReadStart& start) {
  pulse_event_id after = start.id;
  if (start.start == PULSE_START_NEWEST) return "$";
  if (start.start == PULSE_START_OLDEST) return "0-0";
  // Reading begins after a position; at a time includes that millisecond.
  if (start.start == PULSE_START_TIME)
    after = after.ms == 0 ? pulse_event_id{0, 0} : pulse_event_id{after.ms - 1, UINT64_MAX};
  return id_text(sent_position(after));
}

Sink::Sink(Ref<Engine> engine, std::string_view name, const SinkConfig& config,
           Owned<Filter> filter, Ref<SharedTarget> target)
    : engine_(std::move(engine)),
      name_(name.data(), name.size()),
      config_(config),
      filter_(std::move(filter)),
      handle_id_(next_handle_id.fetch_add(1, std::memory_order_relaxed)),
      alive_map_(engine_->key("map:sink:", name, ":keepalive:content")),
      alive_channel_(engine_->key("map:sink:", name, ":keepalive:updates")),
      consumer_(make_ulid()),
      ready_signal_(make_ref<Signal>()),
      closed_signal_(make_ref<Signal>()),
      target_(std::move(target)),
      ready_notice_(make_ref<Notice>(target_, PULSE_EVENT_READY)),
      closed_notice_(make_ref<Notice>(target_, PULSE_EVENT_CLOSED)),
      tick_ms_(tick_for(config.grace_ms)) {}

Sink::~Sink() = default;

Error Sink::open(Ref<Stream> stream, std::string_view name, const SinkConfig& config,
                 Owned<Filter> filter, Target target, Ref<Sink>* out) {
  Ref<Engine> engine = Ref<Engine>::share(&stream->engine());
  auto shared = make_ref<SharedTarget>(std::move(target));
  auto sink = make_ref<Sink>(engine, name, config, std::move(filter), std::move(shared));
  Error error = engine->add_child(sink);
  if (!error.ok()) return error;
  bool posted = false;
  try {
    posted = engine->post_call([sink, stream] { sink->start(stream); });
  } catch (const std::bad_alloc&) {
    engine->remove_child(*sink);
    throw;
  }
  if (!posted) {
    engine->remove_child(*sink);
    return Error(PULSE_ERR_CLOSED, "the engine is closed", PULSE_ERROR_NEVER_SENT);
  }
  *out = std::move(sink);
  return {};
}

void Sink::start(Ref<Stream> first) {
  if (phase_ != Phase::starting) return;
  try {
    timer_.open(engine_->loop(), on_tick, this);
    SinkStream& s = new_stream(std::move(first), start_position(config_.start));
    ReadLanes& lanes = ReadLanes::of(*engine_);
    bell_ = lanes.bell();
    lanes.add(*this);
    in_lanes_ = true;
    phase_ = Phase::running;
    timer_.start(tick_ms_);
    last_tick_ms_ = monotonic_ms();
    pump(s, last_tick_ms_);
  } catch (const std::bad_alloc&) {
    finish_close(Error(PULSE_ERR_NO_MEMORY, "no memory to open the sink"));
  }
}

SinkStream& Sink::new_stream(Ref<Stream> stream, const String& start) {
  auto s = make_ref<SinkStream>(std::move(stream), next_index_, name_);
  s->start = start;
  streams_.emplace(next_index_, s);
  next_index_++;
  counters_.streams.fetch_add(1, std::memory_order_relaxed);
  return *s;
}

SinkStream* Sink::find(uint32_t index) {
  auto found = streams_.find(index);
  return found == streams_.end() ? nullptr : found->second.get();
}

SinkStream* Sink::find(const Stream& stream) {
  for (auto& [index, s] : streams_) {
    if (s->state == SinkStream::State::leaving || s->state == SinkStream::State::removed) continue;
    if (s->stream->name() == stream.name()) return s.get();
  }
  return nullptr;
}

// --- calls from any thread ------------------------------------------------

Error Sink::ready_wait(int64_t timeout_ms) {
  Error error = engine_->wait_for(*ready_signal_, timeout_ms, "the sink is not ready");
  if (error.code() != PULSE_ERR_TIMEOUT) return error;
  std::lock_guard<std::mutex> lock(mutex_);
  if (last_error_.ok()) return error;
  return Error::make(PULSE_ERR_TIMEOUT, PULSE_ERROR_RETRIABLE, "the sink is not ready: {}",
                     last_error_.message());
}

size_t Sink::consumer_text(char* text, size_t capacity) const {
  if (text == nullptr || capacity < kUlidLength + 1) return 0;
  std::lock_guard<std::mutex> lock(mutex_);
  consumer_.copy(text, kUlidLength);
  text[kUlidLength] = '\0';
  return kUlidLength;
}

// Accepts a call and runs work(sink, operation) on the loop.
template <class Work>
Error Sink::post_accepted(pulse_event_kind kind, int64_t timeout_ms, Target target,
                          Ref<Signal> signal, Ref<Operation>* out, Work work) {
  if (withdrawn()) return closed_error();
  auto operation = make_ref<Operation>(kind, std::move(target));
  operation->set_signal(std::move(signal));
  auto run = [sink = Ref<Sink>::share(this), operation, work = std::move(work)]() mutable {
    if (sink->phase_ != Phase::running) {
      operation->complete(closed_error());
      return;
    }
    try {
      work(*sink, *operation);
    } catch (const std::bad_alloc&) {
      operation->complete(Error(PULSE_ERR_NO_MEMORY, "out of memory"));
    }
  };
  // What needs memory comes first: an accepted call must complete.
  Owned<Task> task(new CallTask<decltype(run)>(std::move(run)));
  Error error = engine_->accept(*operation, timeout_ms);
  if (!error.ok()) return error;
  *out = operation;
  if (!engine_->post(std::move(task))) operation->complete(closed_error());
  return {};
}

Error Sink::add_stream(Ref<Stream> stream, const ReadStart& start, int64_t timeout_ms,
                       Target target, Ref<Signal> signal, Ref<Operation>* out) {
  return post_accepted(PULSE_EVENT_STREAM_ADDED, timeout_ms, std::move(target), std::move(signal),
                       out,
                       [stream = std::move(stream), position = start_position(start)](
                           Sink& sink, Operation& operation) {
                         if (sink.find(*stream) != nullptr) {
                           operation.complete();
                           return;
                         }
                         SinkStream& s = sink.new_stream(stream, position);
                         s.joining_operation = Ref<Operation>::share(&operation);
                         sink.pump(s, monotonic_ms());
                       });
}

Error Sink::remove_stream(Ref<Stream> stream, int64_t timeout_ms, Target target, Ref<Signal> signal,
                          Ref<Operation>* out) {
  return post_accepted(
      PULSE_EVENT_STREAM_REMOVED, timeout_ms, std::move(target), std::move(signal), out,
      [stream = std::move(stream)](Sink& sink, Operation& operation) {
        SinkStream* s = sink.find(*stream);
        if (s == nullptr) {
          operation.complete(Error(PULSE_ERR_NOT_FOUND, "the sink does not read this stream"));
          return;
        }
        s->leaving_operation = Ref<Operation>::share(&operation);
        sink.leave(*s);
      });
}

Error Sink::ack(const pulse_ack_handle* handles, size_t count, int64_t timeout_ms, Target target,
                Ref<Signal> signal, Ref<Operation>* out) {
  return settle(PULSE_EVENT_ACKED, true, handles, count, timeout_ms, std::move(target),
                std::move(signal), out);
}

Error Sink::release(const pulse_ack_handle* handles, size_t count, int64_t timeout_ms,
                    Target target, Ref<Signal> signal, Ref<Operation>* out) {
  return settle(PULSE_EVENT_RELEASED, false, handles, count, timeout_ms, std::move(target),
                std::move(signal), out);
}

Error Sink::settle(pulse_event_kind kind, bool ack, const pulse_ack_handle* handles, size_t count,
                   int64_t timeout_ms, Target target, Ref<Signal> signal, Ref<Operation>* out) {
  if (config_.no_ack) return Error(PULSE_ERR_INVALID, "a sink with no_ack has nothing to ack");
  for (size_t i = 0; i < count; i++) {
    if (handles[i].sink != handle_id_) {
      return Error::make(PULSE_ERR_INVALID, 0, "handle {} is not of this sink", i);
    }
  }
  if (withdrawn()) return closed_error();
  Call call;
  call.operation = make_ref<Operation>(kind, std::move(target));
  call.operation->set_signal(std::move(signal));
  call.handles.assign(handles, handles + count);
  call.ack = ack;
  // The loop takes the calls under the same lock, so it finds this one.
  std::lock_guard<std::mutex> lock(mutex_);
  reserve_one_more(calls_);
  if (calls_.empty() && !reply_soon_) {
    auto take = [sink = Ref<Sink>::share(this)] { sink->take_calls(); };
    if (!engine_->post_call(std::move(take))) return closed_error();
  }
  Error error = engine_->accept(*call.operation, timeout_ms);
  if (!error.ok()) return error;
  *out = call.operation;
  calls_.push_back(std::move(call));
  return {};
}

Error Sink::pause(bool paused) {
  if (withdrawn()) return closed_error();
  paused_.store(paused, std::memory_order_release);
  auto apply = [sink = Ref<Sink>::share(this), paused] {
    if (sink->phase_ != Phase::running) return;
    if (paused) {
      ReadLanes::of(*sink->engine_).quiesce(*sink);  // ends the read that waits at the server
    } else {
      // What was trimmed meanwhile is looked up before reading goes on.
      for (auto& [index, s] : sink->streams_) s->gap_check_needed = s->joined_before;
    }
    sink->changed();
    sink->pump_all();
  };
  return engine_->post_call(std::move(apply)) ? Error() : closed_error();
}

void Sink::metrics(pulse_sink_metrics* out) const {
  auto get = [](const std::atomic<uint64_t>& counter) {
    return counter.load(std::memory_order_relaxed);
  };
  auto level = [](const std::atomic<int64_t>& counter) {
    return static_cast<uint64_t>(std::max<int64_t>(counter.load(std::memory_order_relaxed), 0));
  };
  out->delivered = get(counters_.delivered);
  out->redelivered = get(counters_.redelivered);
  out->acked = get(counters_.acked);
  out->not_owner = get(counters_.not_owner);
  out->filtered = get(counters_.filtered);
  out->malformed = get(counters_.malformed);
  out->lost = get(counters_.lost);
  out->gaps = get(counters_.gaps);
  out->pending = get(pending_count_);
  out->buffered = level(buffered_);
  out->buffered_bytes = level(buffered_bytes_);
  out->claimed = get(counters_.claimed);
  out->renewed = get(counters_.renewed);
  out->recreated = get(counters_.recreated);
  out->streams = get(counters_.streams);
  out->reconnects = get(counters_.reconnects);
}

void Sink::close() noexcept {
  if (closing_.exchange(true, std::memory_order_acq_rel)) return;
  try {
    engine_->post_call([sink = Ref<Sink>::share(this)] { sink->begin_close(); });
  } catch (const std::bad_alloc&) {
    // tick() sees it.
  }
}

// --- credit -----------------------------------------------------------------

size_t Sink::wanted(size_t on_the_way) const {
  if (phase_ != Phase::running || starting_over_ || paused_.load(std::memory_order_acquire) ||
      suspect()) {
    return 0;
  }
  const auto coming = static_cast<int64_t>(on_the_way);
  const int64_t largest = std::max<int64_t>(largest_, 1);
  const int64_t most = std::min(config_.max_polled, count_limit_);
  int64_t room = most;
  if (config_.max_pending >= 0) {
    room = std::min(room, config_.max_pending - coming -
                              static_cast<int64_t>(pending_count_.load(std::memory_order_relaxed)));
  }
  auto buffer_room = [&] {
    int64_t n = room;
    if (config_.buffer >= 0) {
      n = std::min(n, config_.buffer - coming - buffered_.load(std::memory_order_acquire));
    }
    if (config_.buffer_bytes >= 0) {
      int64_t bytes =
          config_.buffer_bytes - coming * largest - buffered_bytes_.load(std::memory_order_acquire);
      n = std::min(n, bytes <= 0 ? 0 : std::max<int64_t>(bytes / largest, 1));
    }
    return n;
  };
  // Once there was none, less than room_made() asks for is none.
  if (starved_.load()) return 0;
  auto* self = const_cast<Sink*>(this);
  if (coming > 0) {
    // A quarter at least of what there can be: one read for many events.
    int64_t capacity = INT64_MAX;
    if (config_.buffer >= 0) capacity = config_.buffer;
    if (config_.buffer_bytes >= 0) capacity = std::min(capacity, config_.buffer_bytes / largest);
    const int64_t worth = std::max<int64_t>(std::min(most, capacity) / 4, 1);
    self->more_at_.store(-1, std::memory_order_relaxed);
    if (buffer_room() < worth) self->more_at_.store(capacity - coming - worth);
    const int64_t n = buffer_room();
    return n < worth ? 0 : static_cast<size_t>(n);
  }
  int64_t n = buffer_room();
  if (n <= 0) {
    // The host may have made room before it could see that it is waited for.
    self->starved_.store(true);
    n = buffer_room();
    if (n > 0) self->starved_.store(false);
  }
  return n <= 0 ? 0 : static_cast<size_t>(n);
}

void Sink::wants(Vector<Want>* out) const {
  for (const auto& [index, s] : streams_) {
    if (s->readable()) out->push_back({&s->stream->key(), index});
  }
}

void Sink::events_taken(size_t count, uint64_t bytes) {
  const auto taken = static_cast<int64_t>(count);
  taken_.fetch_add(count, std::memory_order_relaxed);
  buffered_bytes_.fetch_sub(static_cast<int64_t>(bytes));
  const int64_t left = buffered_.fetch_sub(taken) - taken;
  if (starved_.load()) room_made();
  const int64_t more_at = more_at_.load();
  if (left <= more_at && more_at < left + taken) {
    bell_->ring();
    engine_->want_turn();
  }
}

// Reading resumes with half the room at least: one read for many events.
void Sink::room_made() noexcept {
  if (config_.buffer >= 0 && buffered_.load() > config_.buffer / 2) return;
  if (config_.buffer_bytes >= 0 && buffered_bytes_.load() > config_.buffer_bytes / 2) return;
  if (config_.max_pending >= 0 &&
      pending_count_.load() >= static_cast<size_t>(config_.max_pending)) {
    return;
  }
  if (!starved_.exchange(false)) return;
  try {
    engine_->post_call([sink = Ref<Sink>::share(this)] {
      if (sink->phase_ != Phase::running) return;
      // What was trimmed meanwhile is looked up before reading goes on.
      for (auto& [index, s] : sink->streams_) s->gap_check_needed = s->joined_before;
      sink->changed();
      sink->pump_all();
    });
  } catch (const std::bad_alloc&) {
    starved_.store(true);  // tick() looks again
  }
}

void Sink::changed() {
  if (in_lanes_) ReadLanes::of(*engine_).changed(*this);
}

// --- the clock ----------------------------------------------------------------

void Sink::on_tick(void* sink) { static_cast<Sink*>(sink)->tick(); }

void Sink::retry_soon() noexcept {
  if (phase_ != Phase::starting && phase_ != Phase::closed) timer_.start(kSoonMs);
}

void Sink::tick() {
  Ref<Sink> self = Ref<Sink>::share(this);
  last_tick_ms_ = monotonic_ms();
  timer_.start(tick_ms_);
  if (phase_ == Phase::running && withdrawn()) begin_close();
  if (phase_ == Phase::quiescing || phase_ == Phase::handing_back) {
    if (last_tick_ms_ >= close_deadline_ms_) {
      finish_close(Error(PULSE_ERR_TIMEOUT, "not all events could be handed back in time",
                         PULSE_ERROR_RETRIABLE));
    } else if (phase_ == Phase::handing_back) {
      // Memory may have been short the first time.
      try {
        hand_back();
      } catch (const std::bad_alloc&) {
        retry_soon();
      }
    }
    return;
  }
  if (phase_ != Phase::running) return;
  try {
    take_calls();
    if (may_start_over_) start_over();
    pump_all();
    if (starved_.load()) room_made();
  } catch (const std::bad_alloc&) {
    retry_soon();
  }
}

void Sink::pump_all() {
  int64_t now = monotonic_ms();
  if (suspect() || (last_alive_ms_ > 0 && now >= next_alive_ms_)) check_alive();
  if (starting_over_) return;
  flush_settles();
  // The map does not change under the loop: streams leave in tasks and replies only.
  for (auto& [index, s] : streams_) pump(*s, now);
}

// Begins what is due.
void Sink::pump(SinkStream& s, int64_t now) {
  if (phase_ != Phase::running || starting_over_) return;
  if (s.state == SinkStream::State::waiting) {
    if (now >= s.next_join_ms && engine_->server_is_ready()) join(s);
    return;
  }
  if (s.state != SinkStream::State::joined || suspect()) return;
  if (!s.reclaim.empty()) put_back(s);
  if (s.recover_needed && !s.recovering) recover(s);
  if (s.gap_check_needed && !s.gap_checking && !s.recovering) check_gap(s);
  if (!s.renewing && now >= s.next_renewal_ms && !s.pending.empty()) renew(s, {0, 0});
  if (!s.sweeping && now >= s.next_sweep_ms && !paused_.load(std::memory_order_relaxed)) sweep(s);
}

void Sink::server_ready() {
  if (phase_ != Phase::running) return;
  try {
    if (last_alive_ms_ > 0) check_alive();
    for (auto& [index, s] : streams_) {
      if (s->state == SinkStream::State::waiting) s->next_join_ms = 0;
    }
    pump_all();
  } catch (const std::bad_alloc&) {
    retry_soon();
  }
}

void Sink::lost(SinkStream& s, const pulse_event_id& id) noexcept {
  counters_.lost.fetch_add(1, std::memory_order_relaxed);
  drop_pending(s, id);
  notice(PULSE_EVENT_LOST, &s, [&](Notice& n) { n.id = id; });
}

}  // namespace pulseengine
