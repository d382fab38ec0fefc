// A replicated map: the hash on the server, and a copy of it here.
//
// Reads and most public calls come from any thread; the replica is kept by the loop thread.
//   map.cc          life cycle, what hosts ask, waiting
//   map_replica.cc  from messages to versions: how the replica stays in step
//   map_copy.cc     copies of the hash: how it gets in step
//   map_write.cc    writes
//   map_watch.cc    watches
//
// Invariants:
//   - `revision_` is that of the newest version, and all messages up to it are in it
//   - state synced: the version equals the hash at its revision.  Nothing is applied that does not
//     follow directly; whatever is doubtful ends this state before the next message
//   - a copy is asked for only when every message published from then on will come
#ifndef PULSE_RMAP_MAP_H
#define PULSE_RMAP_MAP_H

#include <atomic>
#include <mutex>

#include "engine/subscriptions.h"
#include "pulseengine/map.h"
#include "rmap/change_group.h"
#include "rmap/map_message.h"
#include "rmap/version_cell.h"

namespace pulseengine {

class MapWatch;
class MapWrite;

struct MapConfig {
  int64_t ttl_ms = 0;
  bool sliding = false;
  int64_t max_unnoticed_ms = 5000;
  int64_t max_keys = -1;   // negative: unlimited
  int64_t max_bytes = -1;  // the same
  int64_t max_value_bytes = 1 << 20;
  int64_t watch_history = 1024;  // 0: none
  bool read_your_writes = false;
  bool coalesce = true;
};

class ReplicatedMap final : public Child, public Deliverer, public ChannelListener, TurnHook {
 public:
  // --- any thread ---------------------------------------------------------------
  static Error join(Ref<Engine> engine, std::string_view name, const MapConfig& config,
                    Target target, Ref<ReplicatedMap>* out);

  Engine& engine() const { return *engine_; }
  const String& name() const { return name_; }
  const MapConfig& config() const { return config_; }
  bool closed() const { return withdrawn(); }
  // Under a ReadGuard.
  const MapVersion* version() const noexcept { return cell_.read(); }
  Ref<MapVersion> take_version() const noexcept { return cell_.take(); }
  void info(pulse_map_info* out) const;
  // Until the state is synced, or the revision is reached; the error says what is in the way.
  Error wait_synced(int64_t timeout_ms);
  Error wait_revision(uint64_t revision, int64_t timeout_ms);
  // Writes; they may be more than one mutation, all in one script run.
  Error write(Ref<MapWrite> write, int64_t timeout_ms, Ref<Signal> signal, Ref<Operation>* out);
  Error check_value(size_t bytes) const;
  // Of what one script run publishes.
  Error check_published(size_t bytes, uint32_t flags) const;
  int64_t longest_value() const { return value_limit_.load(std::memory_order_relaxed); }
  void watch(Ref<MapWatch> watch);
  void close() noexcept;
  Signal& closed_signal() { return *closed_signal_; }

  // Deliverer
  void events_taken(size_t, uint64_t) override {}
  bool withdrawn() const override { return closing_.load(std::memory_order_acquire); }
  uint64_t handle_id() const override { return 0; }

  // --- loop thread, for watches and writes ----------------------------------------
  bool ever_synced() const { return ever_synced_; }
  const Ref<MapVersion>& current() const { return current_; }
  // The group that has the change to this revision, if it is still kept.
  Ref<ChangeGroup> group_with(uint64_t revision) const;
  void forget_watch(MapWatch& watch) noexcept;
  // Completes the write when the replica shows its revision.
  void complete_when_visible(Ref<MapWrite> write, uint64_t revision);

  ReplicatedMap(Ref<Engine> engine, std::string_view name, const MapConfig& config,
                Ref<SharedTarget> target);

 private:
  // Without memory to ask the server, which that costs nothing.
  static constexpr int64_t kNoMemoryPauseMs = 10;
  ~ReplicatedMap() override;

  // What has come of the reply to HGETALL.
  struct Copy : Allocated {
    explicit Copy(Ref<MapVersion> nothing) noexcept : editor(std::move(nothing)) {}

    MapEditor editor;
    uint64_t revision = 0;
    String kind;
    String field;  // whose value comes with the next part
    bool has_field = false;
  };
  // A blocked caller, or a write that waits to be seen.
  struct Waiter {
    uint64_t revision = 0;
    uint64_t copies = 0;  // asked for before it came
    Ref<Signal> signal;
    Ref<MapWrite> write;
  };

  // Child
  void close_child() override { close(); }
  void abort_child(const Error& error) override { end(error); }
  void server_ready() override;

  // ChannelListener
  void subscribed() override;
  void subscription_refused(const Error& error) override;
  void subscription_lost(const Error& error) override;
  void message(std::string_view text) override;

  // TurnHook
  void end_of_turn() override;

  // map.cc
  void start();
  void end(const Error& error) noexcept;
  static void on_timer(void* map);
  void tick();
  void schedule(int64_t at_ms) noexcept;
  void try_again_soon() noexcept;
  void reclaim() noexcept;
  void tell(pulse_event_kind kind, int32_t state, uint64_t count, uint64_t revision,
            const Error& error) noexcept;
  void set_state(pulse_map_state state, pulse_map_reason reason, const Error& error) noexcept;
  void wake_waiters(bool copied, bool rewound) noexcept;
  bool beyond_limit() const { return !synced_ && reason_ == PULSE_MAP_REASON_LIMIT; }

  // map_copy.cc
  class CopyCommand;
  void copy_in(int64_t pause_ms) noexcept;
  void copy_soon() noexcept;
  void ask_soon() noexcept;
  void ask_again() noexcept;
  void too_large() noexcept;
  void begin_copy();
  void fetch_copy() noexcept;
  void ask_for_copy();
  bool take_part(Reply& part);
  bool take_field(std::string_view field, std::string_view value);
  bool replay();
  void copied(const Error& error, Reply* reply);
  void install();
  void drain();

  // map_replica.cc
  static pulse_map_reason reason_of(const Error& error, pulse_map_reason unanswered);
  void stale(pulse_map_reason reason, const Error& error) noexcept;
  void take_message(const MapMessage& message, bool follows);
  void apply(const MapMessage& message);
  bool over_limits(size_t keys, int64_t bytes) const;
  void learn_ttl(int64_t left_ms) noexcept;
  void refresh_ttl() noexcept;
  void began_anew() noexcept;
  void ask_ttl();
  void publish_group();
  void pump_watches() noexcept;
  void tell_kinds(pulse_map_kind kind, const ChangeGroup* group) noexcept;
  pulse_map_kind strongest(const MapVersion& before, const MapVersion& after,
                           std::string_view kind) const;
  void probe();
  void probed(const Error& error, Reply* reply, uint64_t revision_then);
  void give_up_probe();
  void expect_gone();
  void learn_publish_limit() noexcept;
  void take_publish_limit(Reply& reply) noexcept;

  // map_write.cc
  void send_writes();
  Error write_at_once(Connection& connection, Ref<MapWrite> write, int64_t timeout_ms,
                      Ref<Operation>* out);
  bool may_be_too_large() const;
  Vector<Ref<MapWrite>> take_writes() noexcept;
  void submit_writes(Vector<Ref<MapWrite>> writes);

  const Ref<Engine> engine_;
  const String name_;
  const MapConfig config_;
  const String content_, channel_;

  // Any thread.
  VersionCell cell_;
  std::atomic<bool> closing_{false};
  std::atomic<int64_t> value_limit_;    // of the map, and what the server can publish
  std::atomic<int64_t> publish_limit_;  // bytes of messages that do not cut off subscribers
  std::atomic<uint64_t> updates_{0}, resyncs_{0}, rewinds_{0}, disconnects_{0}, malformed_{0},
      watch_count_{0};
  std::atomic<int64_t> ttl_at_ms_{kNever};  // when the map expires
  const Ref<Signal> closed_signal_;
  mutable std::mutex mutex_;
  pulse_map_state state_ = PULSE_MAP_SYNCING;  // guarded by mutex_, as all below
  pulse_map_reason reason_ = PULSE_MAP_REASON_NONE;
  Error state_error_;
  int64_t state_since_ms_ = 0;
  Vector<Ref<Signal>> sync_waiters_;
  Vector<Waiter> waiters_;
  uint64_t copies_ = 0;           // asked for so far
  Vector<Ref<MapWrite>> writes_;  // wait for the loop, or for a connection
  size_t write_bytes_ = 0;        // of them
  bool writes_leaving_ = false;   // taken by the loop, and not all submitted yet

  // Loop thread.
  Ref<SharedTarget> target_;
  Ref<Notice> closed_notice_;
  EpochReclaimer reclaimer_;
  Ref<MapReaper> reaper_;
  Timer timer_;
  int64_t timer_at_ms_ = kNever;
  bool uses_copy_lane_ = false;
  bool ended_ = false;
  bool subscribed_ = false;
  bool ever_synced_ = false;
  bool synced_ = false;
  int64_t ask_ttl_ms_ = kNever;    // when to ask for the time to live of a hash that began anew
  int64_t gone_from_ms_ = kNever;  // the hash whose content this is may be gone from then on
  bool copying_ = false;           // messages are kept until the copy is there
  Owned<Copy> copy_;               // what has come of it
  bool copy_out_ = false;     // asked for, and not answered to the end; perhaps of no use any more
  bool copy_waits_ = false;   // for that
  bool copy_wanted_ = false;  // at copy_at_ms_
  int64_t copy_at_ms_ = 0;
  int64_t copy_backoff_ms_ = 0;
  uint64_t copy_serial_ = 0;
  Vector<String> queued_;  // messages while copying
  size_t queued_bytes_ = 0;
  bool queue_overflow_ = false;
  bool queue_restarted_ = false;  // messages of another hash than the copy's may be among them
  uint64_t heard_ = 0;            // the revision of the last message; 0: none since subscribing
  bool drained_ = false;          // no message from before the copy can come any more
  uint64_t revision_ = 0;
  Ref<MapVersion> current_;
  Owned<MapEditor> editor_;  // with `group_` on top of current_
  Ref<ChangeGroup> group_;
  Deque<Ref<ChangeGroup>> history_;
  size_t history_changes_ = 0, history_bytes_ = 0;
  Vector<Ref<MapWatch>> watches_;
  bool refused_ = false;  // the server does not let us subscribe
  bool learns_limit_ = false;
  bool limit_known_ = false;  // publish_limit_ is that of this server, or it does not tell
  bool probing_ = false;
  int64_t answer_by_ms_ = kNever;  // to the probe, and to the ping that follows it
  int64_t next_probe_ms_ = 0;
  int64_t last_loss_ms_ = 0;  // of the subscription
  uint32_t losses_in_a_row_ = 0;
};

}  // namespace pulseengine

#endif
