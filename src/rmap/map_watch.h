// A watch: what changes in a map, told to one target.
#ifndef PULSE_RMAP_MAP_WATCH_H
#define PULSE_RMAP_MAP_WATCH_H

#include "rmap/map.h"

namespace pulseengine {

struct WatchConfig {
  pulse_watch_mode mode = PULSE_WATCH_KINDS;
  bool old_values = false;
  uint64_t revision = 0;
  int64_t buffer = 1000;            // negative: unlimited
  int64_t buffer_bytes = 16 << 20;  // the same
};

// The one notification of a KINDS watch that is under way.
class KindNotice;

class MapWatch final : public Deliverer {
 public:
  // --- any thread -----------------------------------------------------------
  MapWatch(Ref<ReplicatedMap> map, const WatchConfig& config, ChangeFilter filter, Target target);
  ReplicatedMap& map() const { return *map_; }
  Engine& engine() const { return map_->engine(); }
  void close() noexcept;
  bool closed() const { return withdrawn(); }
  Signal& closed_signal() { return *closed_signal_; }

  // Deliverer
  void events_taken(size_t count, uint64_t bytes) override;
  bool withdrawn() const override { return closing_.load(std::memory_order_acquire); }
  uint64_t handle_id() const override { return 0; }

  // --- loop thread ----------------------------------------------------------
  // Hands over what the host has room for.  Throws bad_alloc; calling again goes on.
  void pump();
  // Something changed.  KINDS only; `group` null: all keys may be concerned.
  void tell_kind(pulse_map_kind kind, const ChangeGroup* group);
  // A copy was fetched: what comes need not follow what was told, even if its revision does.
  void start_over() noexcept { start_over_ = true; }
  void end(const Error& error) noexcept;

 private:
  ~MapWatch() override;

  bool room() const;
  void begin();
  void walk();
  void hand_on(const Ref<ChangeGroup>& group, uint64_t after);
  void send(Ref<ChangeBatch> batch) noexcept;
  void tell(pulse_event_kind kind, int32_t state, uint64_t count, uint64_t revision);

  const Ref<ReplicatedMap> map_;
  const WatchConfig config_;
  const ChangeFilter filter_;

  std::atomic<bool> closing_{false};
  std::atomic<bool> starved_{false};
  std::atomic<int64_t> untaken_{0}, untaken_bytes_{0};
  const Ref<Signal> closed_signal_;

  // Loop thread.
  Ref<SharedTarget> target_;
  Ref<Notice> closed_notice_;
  Ref<KindNotice> kind_;
  bool begun_ = false;
  bool ended_ = false;
  // DELTAS: the host was told all of told_, up to told_revision_; while walking_, the differences
  // between told_ and walk_to_ that lie before cursor_.
  Ref<MapVersion> told_;
  uint64_t told_revision_ = 0;
  bool catching_up_ = false;  // CAUGHT_UP is to be told when all is, of a watch that resumed
  bool walking_ = false;
  bool start_over_ = false;  // by differences, even if the next revision is there
  Ref<MapVersion> walk_to_;
  MapCursor cursor_;
};

}  // namespace pulseengine

#endif
