#include "pool/ticker.h"

#include <algorithm>
#include <charconv>

#include "base/duration.h"
#include "pool/node_tickers.h"
#include "scripts.h"

namespace pulseengine {
namespace {

constexpr int64_t kLeastPauseMs = 50;
constexpr int64_t kMostPauseMs = 1000;
// The estimate of the server's clock may change meanwhile.
constexpr int64_t kMostWaitMs = 5000;

uint64_t revision_of(std::string_view text) {
  uint64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

}  // namespace

// --- what the host is told ----------------------------------------------------------------------

TickerEvent::TickerEvent(Ref<SharedTarget> target, pulse_event_kind kind, const String& name,
                         Ref<PoolTicker> ticker)
    : Notice(std::move(target), kind), name_(name), ticker_(std::move(ticker)) {}

size_t TickerEvent::remaining() const {
  return ticker_ && ticker_->closed() ? 0 : Notice::remaining();
}

bool TickerEvent::next_event(pulse_event* event) {
  if (!Notice::next_event(event)) return false;
  event->name = name_.data();
  event->name_len = name_.size();
  if (ticker_) ticker_->tick_taken();
  return true;
}

void PoolTicker::Tick::describe(Notice* notice) const {
  notice->id = {static_cast<uint64_t>(point_us / 1000), static_cast<uint64_t>(point_us % 1000)};
  notice->count = missed;
  notice->revision = revision;
}

void PoolTicker::tell(pulse_event_kind kind, int32_t state, uint64_t count) noexcept {
  try {
    auto event = make_ref<TickerEvent>(target_, kind, name_);
    event->state = state;
    event->count = count;
    engine().deliver(std::move(event));
  } catch (const std::bad_alloc&) {
    engine().log(PULSE_LOG_ERROR, "no memory to tell what became of a ticker");
  }
}

// --- life ---------------------------------------------------------------------------------------

PoolTicker::PoolTicker(Ref<PoolNode> node, std::string_view name, const TickerConfig& config,
                       Target target)
    : node_(std::move(node)),
      name_(name),
      field_(node_->names().name + ":" + name_),
      config_(config),
      ready_signal_(make_ref<Signal>()),
      closed_signal_(make_ref<Signal>()),
      interval_ns_(config.interval_ns),
      target_(make_ref<SharedTarget>(std::move(target))),
      ready_event_(make_ref<TickerEvent>(target_, PULSE_EVENT_READY, name_)),
      closed_event_(make_ref<TickerEvent>(target_, PULSE_EVENT_CLOSED, name_)) {
  entry_.interval_ns = config.interval_ns;
}

PoolTicker::~PoolTicker() = default;

void PoolTicker::close() noexcept {
  if (closing_.exchange(true, std::memory_order_acq_rel)) return;
  go_on_soon();
}

void PoolTicker::end(const Error& error, bool stopped) noexcept {
  if (phase_ == Phase::closed) return;
  Ref<PoolTicker> self = Ref<PoolTicker>::share(this);
  phase_ = Phase::closed;
  closing_.store(true, std::memory_order_release);
  timer_.reset();
  ended(error, stopped);
  const Error closed(PULSE_ERR_CLOSED, stopped ? "the ticker was stopped" : "the ticker is closed");
  ready_signal_->set(error.ok() ? closed : error);
  closed_event_->error = error;
  closed_event_->state = stopped ? PULSE_TICKER_STOPPED : 0;
  ready_event_ = nullptr;
  engine().deliver(std::move(closed_event_));
  target_ = nullptr;
  closed_signal_->set(Error());
  node_->tickers().forget(*this);
}

void PoolTicker::info(pulse_ticker_info* out) const {
  out->size = sizeof *out;
  out->interval_ns = interval_ns_.load(std::memory_order_relaxed);
  out->next_us = next_us_.load(std::memory_order_relaxed);
  out->ticks = ticks_.load(std::memory_order_relaxed);
  out->missed = missed_.load(std::memory_order_relaxed);
}

// --- when to do what -----------------------------------------------------------------

void PoolTicker::go_on_soon() noexcept {
  try {
    engine().post_call([ticker = Ref<PoolTicker>::share(this)] { ticker->go_on(); });
  } catch (const std::bad_alloc&) {
    // The node's clock goes on.
  }
}

void PoolTicker::on_timer(void* ticker) { static_cast<PoolTicker*>(ticker)->go_on(); }

void PoolTicker::go_on() noexcept {
  Ref<PoolTicker> self = Ref<PoolTicker>::share(this);
  try {
    step();
  } catch (const std::bad_alloc&) {
    retry_ms_ = monotonic_ms() + kLeastPauseMs;
  }
}

void PoolTicker::step() {
  if (phase_ == Phase::closed) return;
  if (!timer_open_) {
    timer_.open(engine().loop(), on_timer, this);
    timer_open_ = true;
  }
  if (closed()) {
    end(Error(), false);
    return;
  }
  const int64_t now = monotonic_ms();
  watch_over(now);
  if (asking_ || now < retry_ms_ || !engine().server_is_ready() || !node_->takes_part()) return;
  if (phase_ == Phase::opening) {
    ask(Want::open);
  } else if (doubt_) {
    ask(Want::look);
  } else if (dropping_ && known_.empty()) {
    end(Error(), true);
  } else if (dropping_) {
    ask(Want::drop);
  } else if (known_.empty()) {
    ask(Want::mend);
  } else if (readable_) {
    const int64_t left_us = entry_.next_us - node_->server_now_us();
    const int64_t ahead_us = entry_.interval_ns / 1000 + node_->config().ttl_ms * 1000;
    if (left_us > 0 && left_us <= ahead_us) {
      timer_.start(std::min(left_us / 1000 + 1, kMostWaitMs));
    } else if (prepare()) {
      ask(Want::take);
    }
  }
}

// --- asking the server ---------------------------------------------------------------

void PoolTicker::ask(Want want) {
  const int64_t interval_ns = phase_ == Phase::opening ? config_.interval_ns : entry_.interval_ns;
  auto format = [this, self = Ref<PoolTicker>::share(this), want, interval_ns, known = known_,
                 text = duration_text(interval_ns),
                 point = entry_.next_us](CommandWriter& w, bool eval) {
    static constexpr std::string_view kWants[] = {"look", "open", "mend", "take", "drop"};
    w.begin_script(scripts::pool_ticker, eval, 2, 9);
    w.arg(std::string_view(node_->names().tickers));
    w.arg(std::string_view(node_->names().shutdown));
    w.arg(std::string_view(field_));
    w.arg(std::string_view(known));
    w.arg(kWants[static_cast<size_t>(want)]);
    w.arg(interval_ns / 1000);
    w.arg(interval_ns % 1000);
    w.arg(std::string_view(text));
    w.arg(point);
    w.arg(interval_ns / 1000 + node_->config().ttl_ms * 1000);
    w.arg(std::string_view(config_.catch_up ? "1" : "0"));
  };
  auto done = [this, self = Ref<PoolTicker>::share(this), want, known_revision = revision_,
               sent_us = monotonic_us()](const Error& error, Reply* reply) {
    asking_ = false;
    if (phase_ == Phase::closed) return;
    if (error.ok()) {
      Reply copy = *reply;
      for (int i = 0; i < 4; i++) copy.next();
      node_->learn_time(copy.next().text, sent_us);
      answered(want, known_revision, *reply);
    } else {
      failed(error);
    }
    go_on();
  };
  asking_ = true;
  try {
    // A take that was sent and not answered may have got us the point; sent again it finds
    // another entry.
    node_->send(&scripts::pool_ticker, want == Want::look, std::move(format), std::move(done));
  } catch (const std::bad_alloc&) {
    asking_ = false;
    throw;
  }
}

void PoolTicker::failed(const Error& error) {
  if (phase_ == Phase::opening && error.is_final()) {
    end(error, false);
    return;
  }
  pause_ms_ = std::clamp(2 * pause_ms_, kLeastPauseMs, kMostPauseMs);
  retry_ms_ = monotonic_ms() + pause_ms_;
  timer_.start(pause_ms_);
}

void PoolTicker::answered(Want want, uint64_t known_revision, Reply& reply) {
  pause_ms_ = 0;
  const ReplyNode& head = reply.next();
  if (head.elements() != 6) {
    failed(unexpected_reply("the ticker script", head));
    return;
  }
  const std::string_view outcome = reply.next().text;
  const ReplyNode& entry = reply.next();
  std::optional<std::string_view> text;
  if (entry.is_text()) text = entry.text;
  const uint64_t revision = revision_of(reply.next().text);
  reply.next();  // the time
  Tick tick;
  tick.point_us = static_cast<int64_t>(revision_of(reply.next().text));
  tick.missed = static_cast<uint64_t>(reply.next().integer);
  tick.revision = revision;
  if (outcome == "shutting_down") {
    end(Error(PULSE_ERR_SHUTTING_DOWN, "the pool is being shut down"), false);
    return;
  }
  if (phase_ == Phase::opening) {
    opened(outcome, text.value_or(std::string_view()), revision);
    return;
  }
  const int64_t quiet_before_us = quiet_before_us_;
  const bool rewound = lost_ || revision < known_revision;
  // The map may have told of later entries already.
  if (rewound || revision >= revision_) learn(text, revision, rewound);
  if (want == Want::look) doubt_ = lost_ = false;
  if (outcome == "moved") quiet_before_us_ = INT64_MIN;
  if (outcome != "taken" && outcome != "skipped") return;
  missed_.fetch_add(tick.missed, std::memory_order_relaxed);
  if (phase_ == Phase::closed || outcome == "skipped" || tick.point_us < quiet_before_us) return;
  ticks_.fetch_add(1, std::memory_order_relaxed);
  ticked(tick);
}

// --- the entry -----------------------------------------------------------------------

void PoolTicker::opened(std::string_view outcome, std::string_view text, uint64_t revision) {
  TickerEntry entry;
  const bool readable = parse_ticker_entry(text, &entry);
  const bool ours = outcome == "set";
  if (ours || (readable && entry.interval_ns == config_.interval_ns)) {
    const bool replaced = ours && replacing_;
    learn(text, revision, true);
    started(replaced ? PULSE_TICKER_REPLACED : ours ? PULSE_TICKER_NEW : PULSE_TICKER_ADOPTED);
    return;
  }
  // Another interval, or what cannot be read: this one takes its place, if it is still there.
  known_ = String(text);
  replacing_ = !known_.empty();
}

void PoolTicker::started(int32_t how) {
  phase_ = Phase::running;
  ready_signal_->set(Error());
  ready_event_->state = how;
  ready_event_->count = static_cast<uint64_t>(entry_.interval_ns);
  engine().deliver(std::move(ready_event_));
  begun(how);
}

void PoolTicker::learn(std::optional<std::string_view> text, uint64_t revision, bool rewound) {
  if (!text) {
    if (!rewound && revision > revision_) {
      end(Error(), true);
    } else {
      known_.clear();  // of the lost one, entry_ keeps the grid
      revision_ = revision;
    }
    return;
  }
  String copy(*text);
  TickerEntry entry;
  readable_ = parse_ticker_entry(*text, &entry);
  if (readable_) {
    const bool changed = entry.interval_ns != entry_.interval_ns;
    // Off the grid: somebody has opened it anew.
    if (changed || (entry.next_us - entry_.next_us) % (entry.interval_ns / 1000) != 0) {
      dropping_ = false;
    }
    if (changed) {
      quiet_before_us_ = INT64_MIN;
      interval_ns_.store(entry.interval_ns, std::memory_order_relaxed);
    } else if (rewound && running()) {
      quiet_before_us_ = std::max(quiet_before_us_, entry_.next_us);
    }
    entry_ = entry;
    next_us_.store(entry.next_us, std::memory_order_relaxed);
    if (changed && running()) {
      tell(PULSE_EVENT_TICKER_CHANGED, 0, static_cast<uint64_t>(entry.interval_ns));
    }
  } else if (known_ != copy) {
    engine().log(PULSE_LOG_WARNING, "the entry of a ticker cannot be read; it waits for another");
  }
  known_ = std::move(copy);
  revision_ = revision;
}

void PoolTicker::heard(std::optional<std::string_view> text, uint64_t revision) {
  if (phase_ != Phase::running || doubt_ || revision <= revision_) return;
  learn(text, revision, false);
  go_on();
}

void PoolTicker::doubt(bool rewound) noexcept {
  if (phase_ != Phase::running) return;
  doubt_ = true;
  if (rewound) lost_ = true;
  go_on();
}

void PoolTicker::drop() noexcept {
  if (phase_ != Phase::running) return;
  dropping_ = true;
  go_on();
}

// --- ticks for the host --------------------------------------------------------------

bool HostTicker::prepare() {
  if (untaken_.load()) {
    waits_.store(true);
    if (untaken_.load()) return false;
    waits_.store(false);
  }
  if (!next_) {
    next_ = make_ref<TickerEvent>(target(), PULSE_EVENT_TICK, name(), Ref<PoolTicker>::share(this));
  }
  return true;
}

void HostTicker::ticked(const Tick& tick) noexcept {
  tick.describe(next_.get());
  untaken_.store(true);
  engine().deliver(std::move(next_));
}

void HostTicker::tick_taken() noexcept {
  untaken_.store(false);
  if (waits_.exchange(false)) go_on_soon();
}

void HostTicker::ended(const Error&, bool) noexcept { next_ = nullptr; }

}  // namespace pulseengine
