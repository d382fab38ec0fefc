// Copies of the hash: how the replica gets in step.
#include <algorithm>

#include "base/hash.h"
#include "rmap/copy_lane.h"
#include "rmap/map.h"
#include "rmap/map_watch.h"

namespace pulseengine {
namespace {

constexpr int64_t kFirstBackoffMs = 10;
constexpr int64_t kLongestBackoffMs = 1000;
// How often a map that is too large is looked at.
constexpr int64_t kLimitPauseMs = 5000;
// A hash may have expired so much earlier than we think.
constexpr int64_t kExpiryDoubtMs = 1000;

}  // namespace

// HGETALL.  What it is answered is true of one moment, however long it takes to come.  It is not
// sent anew when its connection is lost: then what has come of it is of no use.
class ReplicatedMap::CopyCommand final : public Command {
 public:
  explicit CopyCommand(ReplicatedMap& map)
      : map_(Ref<ReplicatedMap>::share(&map)), serial_(map.copy_serial_) {}

  void format(CommandWriter& w) override { w.command("HGETALL", map_->content_); }
  bool abandoned() const override { return !wanted(); }
  bool takes_parts() const override { return true; }
  void part(Reply& reply) override {
    if (wanted() && !map_->take_part(reply)) map_->copy_soon();
  }
  void replied(Reply& reply) override { ended(Error(), &reply); }
  void failed(const Error& error) override { ended(error, nullptr); }

 private:
  void ended(const Error& error, Reply* reply) {
    map_->copy_out_ = false;
    if (wanted()) {
      map_->copied(error, reply);
    } else if (!map_->ended_ && std::exchange(map_->copy_waits_, false)) {
      map_->begin_copy();
    }
  }
  bool wanted() const { return !map_->ended_ && map_->copying_ && serial_ == map_->copy_serial_; }

  const Ref<ReplicatedMap> map_;
  const uint64_t serial_;
};

void ReplicatedMap::copy_in(int64_t pause_ms) noexcept {
  copy_wanted_ = true;
  copy_at_ms_ = monotonic_ms() + pause_ms;
  schedule(copy_at_ms_);
}

void ReplicatedMap::copy_soon() noexcept {
  copy_in(copy_backoff_ms_);
  copy_backoff_ms_ =
      copy_backoff_ms_ == 0 ? kFirstBackoffMs : std::min(2 * copy_backoff_ms_, kLongestBackoffMs);
}

// There was no memory to ask: the pauses do not grow, since memory that is short only now and then
// would be missed again and again.
void ReplicatedMap::ask_soon() noexcept { copy_in(kNoMemoryPauseMs); }

// Answers may get lost: until a copy is on its way the subscription is asked again and again.
void ReplicatedMap::ask_again() noexcept { copy_in(config_.max_unnoticed_ms / 2); }

void ReplicatedMap::too_large() noexcept {
  stale(PULSE_MAP_REASON_LIMIT,
        Error(PULSE_ERR_TOO_LARGE, "the map is larger than max_keys or max_bytes"));
  wake_waiters(false, false);
  copy_backoff_ms_ = kLimitPauseMs;
  copy_soon();
}

// Only a subscription that answers now brings what is published from now on.
void ReplicatedMap::begin_copy() {
  ask_again();
  auto done = [this](const Error& error) {
    if (ended_ || copying_ || synced_ || !subscribed_) return;
    if (error.ok()) {
      fetch_copy();
    } else {
      stale(PULSE_MAP_REASON_SILENT, error);
      copy_soon();
    }
  };
  try {
    Subscriptions& subscriptions = Subscriptions::of(*engine_);
    if (refused_) {
      subscriptions.remove(channel_, *this);
      subscriptions.add(channel_, Ref<ReplicatedMap>::share(this));
      return;
    }
    // While it is not subscribed yet this only shows whether that was answered.
    (void)subscriptions.after_published(this, config_.max_unnoticed_ms / 2, done);
  } catch (const std::bad_alloc&) {
    ask_soon();
  }
}

void ReplicatedMap::fetch_copy() noexcept {
  copy_wanted_ = false;
  // One at a time: else those of no use would pile up where a copy takes longer than the pause.
  copy_waits_ = copy_out_;
  if (copy_waits_) return;
  try {
    ask_for_copy();
  } catch (const std::bad_alloc&) {
    copy_out_ = false;
    stale(PULSE_MAP_REASON_NO_MEMORY, Error(PULSE_ERR_NO_MEMORY, "no memory to fetch the map"));
    ask_soon();
  }
}

void ReplicatedMap::ask_for_copy() {
  copy_serial_++;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    copies_++;
  }
  set_state(PULSE_MAP_SYNCING, reason_, state_error_);
  auto ttl = [this, serial = copy_serial_](const Error& error, Reply* reply) {
    if (serial == copy_serial_ && error.ok()) learn_ttl(reply->next().integer);
  };
  auto content = make_ref<CopyCommand>(*this);
  const int64_t patience = engine_->config().command_timeout_ms;
  content->deadline_ms = deadline_after(patience);
  Connection& connection = CopyLane::of(*engine_).connection();
  (void)connection.submit(make_call(
      this, nullptr, true, patience,
      [key = &content_](CommandWriter& w, bool) { w.command("PTTL", *key); }, std::move(ttl)));
  copy_out_ = true;
  (void)connection.submit(std::move(content));
  copying_ = true;
  queue_overflow_ = queue_restarted_ = false;
}

void ReplicatedMap::copied(const Error& error, Reply* reply) {
  if (!error.ok() || reply == nullptr) {
    stale(reason_of(error, PULSE_MAP_REASON_DISCONNECTED), error);
    copy_soon();
    return;
  }
  if (!take_part(*reply)) return;
  try {
    if (replay()) {
      install();
      return;
    }
  } catch (const std::bad_alloc&) {
    stale(PULSE_MAP_REASON_NO_MEMORY, Error(PULSE_ERR_NO_MEMORY, "no memory for the replica"));
  }
  copy_soon();
}

// False if the copy is no good: then the state says why, and another one will be asked for.
bool ReplicatedMap::take_part(Reply& part) {
  try {
    if (!copy_) {
      part.next();  // how many there are
      copy_ = make_owned<Copy>(MapVersion::empty(0, reaper_));
    }
    while (!part.empty()) {
      const std::string_view text = part.next().text;
      if (copy_->has_field) {
        copy_->has_field = false;
        if (!take_field({copy_->field.data(), copy_->field.size()}, text)) return false;
      } else if (!part.empty()) {
        if (!take_field(text, part.next().text)) return false;
      } else {
        copy_->field.assign(text.data(), text.size());
        copy_->has_field = true;
      }
    }
    return true;
  } catch (const std::bad_alloc&) {
    stale(PULSE_MAP_REASON_NO_MEMORY, Error(PULSE_ERR_NO_MEMORY, "no memory for the replica"));
    copy_soon();
    return false;
  }
}

bool ReplicatedMap::take_field(std::string_view field, std::string_view value) {
  MapEditor& editor = copy_->editor;
  if (field == "=rev") {
    if (parse_revision(value, &copy_->revision)) return true;
    stale(PULSE_MAP_REASON_MALFORMED,
          Error(PULSE_ERR_PROTOCOL, "the revision in the hash is no number"));
    copy_soon();
    return false;
  }
  if (field == "=kind") copy_->kind.assign(value.data(), value.size());
  if (!is_map_key(field)) return true;
  const uint64_t hash = hash_bytes(field);
  const MapEntry* known = current_->find(field, hash);
  editor.put(known != nullptr && known->view() == value ? known->hold()
                                                        : MapEntry::make(field, value, hash));
  if (!over_limits(editor.size(), editor.bytes())) return true;
  too_large();
  return false;
}

// Applies what came while the copy was fetched.
bool ReplicatedMap::replay() {
  // With a copy of the hash before, the next one's messages would seem to follow at some point.
  bool whole = !queue_overflow_ && !(queue_restarted_ && copy_->revision > 0);
  for (size_t i = 0; whole && i < queued_.size(); i++) {
    MapMessage m;
    if (!parse_map_message({queued_[i].data(), queued_[i].size()}, &m)) return false;
    if (m.revision <= copy_->revision) continue;
    whole = m.revision == copy_->revision + 1;
    if (!whole) break;
    copy_->revision = m.revision;
    if (m.what == MapMutation::set && is_map_key(m.key)) {
      copy_->editor.put(MapEntry::make(m.key, m.value, hash_bytes(m.key)));
    } else if (m.what == MapMutation::erase) {
      copy_->editor.erase(m.key, hash_bytes(m.key));
    } else if (m.what != MapMutation::set) {
      copy_->editor.clear();
    }
  }
  if (!whole) {
    stale(PULSE_MAP_REASON_MISSED,
          Error(PULSE_ERR_PROTOCOL, "an update was missed while the map was fetched"));
  }
  return whole;
}

void ReplicatedMap::install() {
  const Ref<MapVersion> before = current_;
  const uint64_t revision = copy_->revision;
  Ref<MapVersion> after = copy_->editor.finish(revision);
  // A map that has expired began anew, as it was meant to.
  const bool back = ever_synced_ && revision < revision_;
  const bool rewound = back && monotonic_ms() < gone_from_ms_ - kExpiryDoubtMs;
  const bool first = !ever_synced_;
  const uint64_t revision_before = revision_;
  cell_.publish(after, reclaimer_);
  current_ = std::move(after);
  revision_ = revision;
  history_.clear();
  history_changes_ = history_bytes_ = 0;
  gone_from_ms_ = ttl_at_ms_.load(std::memory_order_relaxed);
  if (!queued_.empty()) began_anew();  // one of them may have been its first
  queued_.clear();
  queued_bytes_ = 0;
  copying_ = false;
  const String kind = std::move(copy_->kind);
  copy_ = nullptr;
  synced_ = ever_synced_ = true;
  resyncs_.fetch_add(1, std::memory_order_relaxed);
  next_probe_ms_ = monotonic_ms() + config_.max_unnoticed_ms / 2;
  probing_ = false;
  answer_by_ms_ = kNever;
  schedule(next_probe_ms_);
  if (rewound) {
    rewinds_.fetch_add(1, std::memory_order_relaxed);
    engine_->log(PULSE_LOG_WARNING, "the server has lost updates of a map");
    tell(PULSE_EVENT_MAP_REWOUND, 0, revision_before, revision, Error());
  }
  // Whoever waits finds that all watches were told.
  if (!first && revision != revision_before && !watches_.empty()) {
    tell_kinds(
        back ? PULSE_MAP_KIND_RESET : strongest(*before, *current_, {kind.data(), kind.size()}),
        nullptr);
  }
  for (const Ref<MapWatch>& watch : watches_) watch->start_over();
  pump_watches();
  set_state(PULSE_MAP_SYNCED, PULSE_MAP_REASON_NONE, Error());
  wake_waiters(true, back);
  drain();
}

pulse_map_kind ReplicatedMap::strongest(const MapVersion& before, const MapVersion& after,
                                        std::string_view kind) const {
  if (kind == "reset" || kind == "destroy") return PULSE_MAP_KIND_RESET;
  pulse_map_kind found = kind == "del" ? PULSE_MAP_KIND_DELETE : PULSE_MAP_KIND_CHANGE;
  MapCursor cursor;
  visit_differences(before, after, &cursor, [&](const MapEntry*, const MapEntry* now) {
    if (now == nullptr) found = PULSE_MAP_KIND_DELETE;
    return found == PULSE_MAP_KIND_CHANGE;
  });
  return found;
}

// Until then messages with revisions that the copy has are of the time before it.
void ReplicatedMap::drain() {
  drained_ = false;
  auto done = [this, serial = copy_serial_](const Error& error) {
    if (serial == copy_serial_ && error.ok()) drained_ = true;
  };
  (void)Subscriptions::of(*engine_).after_published(this, engine_->config().command_timeout_ms,
                                                    done);
}

}  // namespace pulseengine
