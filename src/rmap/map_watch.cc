#include "rmap/map_watch.h"

#include <algorithm>

namespace pulseengine {
namespace {

constexpr size_t kDifferencesPerBatch = 256;

}  // namespace

class KindNotice final : public Delivery {
 public:
  KindNotice(Ref<MapWatch> owner, Ref<SharedTarget> target)
      : owner_(std::move(owner)), target_(std::move(target)) {}

  // Joins a kind to what is told; false when the host has taken it already.
  bool join(pulse_map_kind kind) {
    pulse_map_kind now = kind_.load(std::memory_order_acquire);
    while (now != 0) {
      if (kind_.compare_exchange_weak(now, std::max(now, kind), std::memory_order_acq_rel)) {
        return true;
      }
    }
    return false;
  }
  void set(pulse_map_kind kind) { kind_.store(kind, std::memory_order_release); }

  const Target& target() const override { return target_->target(); }
  size_t remaining() const override {
    return owner_->withdrawn() || kind_.load(std::memory_order_relaxed) == 0 ? 0 : 1;
  }
  bool next_event(pulse_event* event) override {
    if (remaining() == 0) return false;
    event->kind = PULSE_EVENT_MAP_CHANGED;
    event->state = kind_.exchange(0, std::memory_order_acq_rel);
    event->revision = owner_->map().take_version()->revision();
    event->stream = owner_->map().name().data();
    event->stream_len = owner_->map().name().size();
    return true;
  }

 private:
  const Ref<MapWatch> owner_;
  const Ref<SharedTarget> target_;
  std::atomic<pulse_map_kind> kind_{0};
};

MapWatch::MapWatch(Ref<ReplicatedMap> map, const WatchConfig& config, ChangeFilter filter,
                   Target target)
    : map_(std::move(map)),
      config_(config),
      filter_(std::move(filter)),
      closed_signal_(make_ref<Signal>()),
      target_(make_ref<SharedTarget>(std::move(target))),
      closed_notice_(
          make_ref<Notice>(target_, PULSE_EVENT_CLOSED, std::string_view(map_->name()))) {}

MapWatch::~MapWatch() = default;

void MapWatch::close() noexcept {
  if (closing_.exchange(true, std::memory_order_acq_rel)) return;
  try {
    auto finish = [watch = Ref<MapWatch>::share(this)] {
      watch->end(Error());
      watch->map_->forget_watch(*watch);
    };
    engine().post_call(std::move(finish));
  } catch (const std::bad_alloc&) {
    // pump() sees it.
  }
}

// Loop thread, or nobody runs the loop any more; may come twice.
void MapWatch::end(const Error& error) noexcept {
  if (ended_) return;
  Ref<MapWatch> self = Ref<MapWatch>::share(this);
  ended_ = true;
  closing_.store(true, std::memory_order_release);
  told_ = walk_to_ = nullptr;
  kind_ = nullptr;
  closed_notice_->error = error;
  engine().deliver(std::move(closed_notice_));
  closed_notice_ = nullptr;
  target_ = nullptr;
  closed_signal_->set(Error());
}

// --- credit -----------------------------------------------------------------------

bool MapWatch::room() const {
  auto free = [this] {
    return (config_.buffer < 0 || untaken_.load() < config_.buffer) &&
           (config_.buffer_bytes < 0 || untaken_bytes_.load() < config_.buffer_bytes);
  };
  if (free()) return true;
  // The host may have made room before it could see that it is waited for.
  auto& starved = const_cast<MapWatch*>(this)->starved_;
  starved.store(true);
  if (!free()) return false;
  starved.store(false);
  return true;
}

void MapWatch::events_taken(size_t count, uint64_t bytes) {
  const auto taken = static_cast<int64_t>(count), taken_bytes = static_cast<int64_t>(bytes);
  const int64_t bytes_left = untaken_bytes_.fetch_sub(taken_bytes) - taken_bytes;
  const int64_t left = untaken_.fetch_sub(taken) - taken;
  if (!starved_.load()) return;
  if (config_.buffer >= 0 && left > config_.buffer / 2) return;
  if (config_.buffer_bytes >= 0 && bytes_left > config_.buffer_bytes / 2) return;
  if (!starved_.exchange(false)) return;
  try {
    engine().post_call([watch = Ref<MapWatch>::share(this)] { watch->pump(); });
  } catch (const std::bad_alloc&) {
    starved_.store(true);  // the map's clock looks again
  }
}

// --- what is told --------------------------------------------------------------------

void MapWatch::tell(pulse_event_kind kind, int32_t state, uint64_t count, uint64_t revision) {
  auto notice = make_ref<Notice>(target_, kind, std::string_view(map_->name()));
  notice->state = state;
  notice->count = count;
  notice->revision = revision;
  notice->owner = Ref<Deliverer>::share(this);
  engine().deliver(std::move(notice));
}

void MapWatch::tell_kind(pulse_map_kind kind, const ChangeGroup* group) {
  if (config_.mode != PULSE_WATCH_KINDS || withdrawn()) return;
  if (group != nullptr) {
    kind = 0;
    for (const MapChange& change : group->changes) {
      if (filter_.passes(change)) kind = std::max(kind, change.kind());
    }
    if (kind == 0) return;
  }
  if (kind_ && kind_->join(kind)) return;
  kind_ = make_ref<KindNotice>(Ref<MapWatch>::share(this), target_);
  kind_->set(kind);
  engine().deliver(kind_);
}

void MapWatch::pump() {
  if (ended_) return;
  if (withdrawn()) {
    Ref<MapWatch> self = Ref<MapWatch>::share(this);
    end(Error());
    map_->forget_watch(*this);
    return;
  }
  if (config_.mode != PULSE_WATCH_DELTAS || !map_->ever_synced()) return;
  if (!begun_) begin();
  while (!withdrawn() && room()) {
    if (walking_) {
      walk();
    } else if (told_.get() == map_->current().get()) {
      if (!catching_up_) return;
      tell(PULSE_EVENT_WATCH_CAUGHT_UP, 0, 0, told_revision_);
      catching_up_ = false;
      return;
    } else if (Ref<ChangeGroup> group =
                   start_over_ ? nullptr : map_->group_with(told_revision_ + 1)) {
      hand_on(group, told_revision_);
      told_ = group->after;
      told_revision_ = group->last;
    } else {
      Ref<MapVersion> to = map_->current();
      if (!told_) {
        // It was to resume, and what it resumes from went before memory allowed it.
        tell(PULSE_EVENT_WATCH_STARTED, 0, 0, to->revision());
        told_ = MapVersion::empty(0);
      }
      tell(PULSE_EVENT_WATCH_RESYNC, 0, told_revision_, to->revision());
      walk_to_ = std::move(to);
      cursor_ = {};
      walking_ = true;
      start_over_ = false;
    }
  }
}

void MapWatch::begin() {
  const uint64_t known = config_.revision;
  const Ref<MapVersion>& now = map_->current();
  const bool resumes = known > 0 && (known == now->revision() || map_->group_with(known + 1));
  tell(PULSE_EVENT_WATCH_STARTED, resumes ? 1 : 0, 0, resumes ? known : now->revision());
  begun_ = true;
  start_over_ = false;
  if (!resumes) {
    told_ = MapVersion::empty(0);
    walk_to_ = now;
    walking_ = true;
    return;
  }
  catching_up_ = true;
  told_revision_ = known;
  // Else the rest of a group comes, then whole ones.
  if (known == now->revision()) told_ = now;
}

// Some more of the differences between what was told and what is to be.
void MapWatch::walk() {
  auto group = make_ref<ChangeGroup>();
  group->first = group->last = walk_to_->revision();
  MapCursor cursor = cursor_;
  visit_differences(*told_, *walk_to_, &cursor, [&](const MapEntry* before, const MapEntry* now) {
    MapChange change;
    change.op = now != nullptr ? PULSE_MAP_OP_SET : PULSE_MAP_OP_DELETE;
    change.revision = walk_to_->revision();
    if (now != nullptr) change.now = now->hold();
    if (before != nullptr) change.before = before->hold();
    group->add(std::move(change));
    return group->changes.size() < kDifferencesPerBatch;
  });
  // The batch carries revisions that may not be above what was told before.
  auto batch = make_ref<ChangeBatch>(Ref<Deliverer>::share(this), target_, map_->name(), group,
                                     config_.old_values);
  batch->select(filter_, ChangeBatch::kAll);
  Ref<Notice> caught_up;
  if (cursor.end) {
    caught_up =
        make_ref<Notice>(target_, PULSE_EVENT_WATCH_CAUGHT_UP, std::string_view(map_->name()));
    caught_up->revision = walk_to_->revision();
    caught_up->owner = Ref<Deliverer>::share(this);
  }
  // Nothing below needs memory.
  send(std::move(batch));
  cursor_ = cursor;
  if (!cursor.end) return;
  told_ = std::move(walk_to_);
  told_revision_ = told_->revision();
  walking_ = false;
  engine().deliver(std::move(caught_up));
}

void MapWatch::hand_on(const Ref<ChangeGroup>& group, uint64_t after) {
  auto batch = make_ref<ChangeBatch>(Ref<Deliverer>::share(this), target_, map_->name(), group,
                                     config_.old_values);
  batch->select(filter_, static_cast<int64_t>(after));
  send(std::move(batch));
}

void MapWatch::send(Ref<ChangeBatch> batch) noexcept {
  if (batch->size() == 0) return;
  untaken_.fetch_add(static_cast<int64_t>(batch->size()));
  untaken_bytes_.fetch_add(batch->bytes());
  engine().deliver(std::move(batch));
}

}  // namespace pulseengine
