// A ticker: one tick per interval in the whole pool.
//
// All nodes that have it wait for the point of the grid that the pool's map of tickers names, and
// ask the server for it (pool_ticker.lua); one of them gets it.  What the map says is only a
// hint when to ask: an answer of the script is the truth.
//
// Invariants:
//   - an entry is replaced only while opening; later it is moved on, on its own grid
//   - an entry that is gone means that the ticker was stopped, unless the map lost more than that:
//     then it is made anew
//   - who has no use for a tick now (prepare) does not ask for one: others get it
#ifndef PULSE_POOL_TICKER_H
#define PULSE_POOL_TICKER_H

#include <atomic>
#include <optional>

#include "engine/notice.h"
#include "loop/loop.h"
#include "pool/node.h"
#include "pool/ticker_entry.h"
#include "pulseengine/ticker.h"

namespace pulseengine {

struct TickerConfig {
  int64_t interval_ns = 0;
  bool catch_up = false;
};

class PoolTicker;

// What a ticker or a schedule tells the host.
class TickerEvent : public Notice {
 public:
  // Of a tick: `ticker` is told when it is taken, and it is not delivered once that is closed.
  TickerEvent(Ref<SharedTarget> target, pulse_event_kind kind, const String& name,
              Ref<PoolTicker> ticker = nullptr);

  size_t remaining() const override;
  bool next_event(pulse_event* event) override;

 private:
  const String name_;
  const Ref<PoolTicker> ticker_;
};

class PoolTicker : public RefCounted {
 public:
  struct Tick {
    int64_t point_us = 0;
    uint64_t missed = 0;
    uint64_t revision = 0;
    void describe(Notice* notice) const;
  };

  // --- any thread -----------------------------------------------------------
  PoolTicker(Ref<PoolNode> node, std::string_view name, const TickerConfig& config, Target target);
  PoolNode& node() const { return *node_; }
  Engine& engine() const { return node_->engine(); }
  const String& name() const { return name_; }
  Signal& ready_signal() { return *ready_signal_; }
  Signal& closed_signal() { return *closed_signal_; }
  bool closed() const { return closing_.load(std::memory_order_acquire); }
  void close() noexcept;
  // The node could not add it: nobody is told of its end.
  void never_began() noexcept { closing_.store(true, std::memory_order_release); }
  void info(pulse_ticker_info* out) const;
  // Key of the map of its jobs, if it has some.
  virtual std::string_view jobs_key() const { return {}; }
  // The host took the event of a tick.
  virtual void tick_taken() noexcept {}

  // --- loop thread, for the node's tickers ------------------------------------
  const String& field() const { return field_; }
  // Does what is due, and sets the timer to what comes next.
  void go_on() noexcept;
  // The map shows this entry, or none.
  void heard(std::optional<std::string_view> text, uint64_t revision);
  // What is known may be wrong; `rewound`: the server has lost data.
  void doubt(bool rewound) noexcept;
  // `stopped`: on all nodes.
  void end(const Error& error, bool stopped) noexcept;

 protected:
  ~PoolTicker() override;

  // Whether there is a use for a tick; if not, go_on_soon() is called when there is again.  What
  // ticked() needs is made here.
  virtual bool prepare() = 0;
  // A point is ours.
  virtual void ticked(const Tick& tick) noexcept = 0;
  // Time has passed, or something changed.
  virtual void watch_over(int64_t now_ms) { (void)now_ms; }
  // It is open; `how` as in pulse_ticker_origin.
  virtual void begun(int32_t how) noexcept { (void)how; }
  virtual void ended(const Error& error, bool stopped) noexcept = 0;

  void go_on_soon() noexcept;  // any thread
  // The entry is to go: a schedule's jobs were reset.
  void drop() noexcept;
  bool running() const { return phase_ == Phase::running; }
  const TickerEntry& entry() const { return entry_; }
  uint64_t revision() const { return revision_; }
  const Ref<SharedTarget>& target() const { return target_; }

 private:
  enum class Phase : uint8_t { opening, running, closed };
  enum class Want : uint8_t { look, open, mend, take, drop };

  static void on_timer(void* ticker);
  void step();
  void ask(Want want);
  void failed(const Error& error);
  void answered(Want want, uint64_t known_revision, Reply& reply);
  void opened(std::string_view outcome, std::string_view text, uint64_t revision);
  void started(int32_t how);
  void learn(std::optional<std::string_view> text, uint64_t revision, bool rewound);
  void tell(pulse_event_kind kind, int32_t state, uint64_t count) noexcept;

  const Ref<PoolNode> node_;
  const String name_;
  const String field_;  // of the map
  const TickerConfig config_;
  const Ref<Signal> ready_signal_, closed_signal_;
  std::atomic<bool> closing_{false};
  std::atomic<int64_t> interval_ns_, next_us_{0};
  std::atomic<uint64_t> ticks_{0}, missed_{0};

  // Loop thread.
  Ref<SharedTarget> target_;
  Ref<TickerEvent> ready_event_, closed_event_;
  Phase phase_ = Phase::opening;
  Timer timer_;
  bool timer_open_ = false;
  bool asking_ = false;
  int64_t retry_ms_ = 0;  // not before
  int64_t pause_ms_ = 0;
  String known_;       // the entry; empty: none
  TickerEntry entry_;  // what it says, or what the last one that was readable said
  bool readable_ = true;
  bool replacing_ = false;
  bool doubt_ = false, lost_ = false;
  bool dropping_ = false;
  uint64_t revision_ = 0;  // at which known_ was the entry
  // Points before it were ticked already, by the entry that the server has lost.
  int64_t quiet_before_us_ = INT64_MIN;
};

// One that tells the host.
class HostTicker final : public PoolTicker {
 public:
  using PoolTicker::PoolTicker;
  void tick_taken() noexcept override;

 private:
  bool prepare() override;
  void ticked(const Tick& tick) noexcept override;
  void ended(const Error& error, bool stopped) noexcept override;

  // One tick at a time: while the host has not taken it, others get the next ones.
  std::atomic<bool> untaken_{false};
  std::atomic<bool> waits_{false};
  Ref<TickerEvent> next_;  // loop thread
};

}  // namespace pulseengine

#endif
