#include "streaming/read_lane.h"

#include <algorithm>

#include "streaming/read_lane_commands.h"

namespace pulseengine {
namespace {

constexpr int64_t kOutOfMemoryPauseMs = 10;
constexpr int64_t kMaxUnblockDelayMs = 64;

}  // namespace

ReadLane::ReadLane(Engine& engine, const Ref<CreditBell>& bell) : engine_(engine), bell_(bell) {
  connection_ = engine.router().new_read_connection({}, this);
  retry_timer_.open(
      engine.loop(), [](void* lane) { static_cast<ReadLane*>(lane)->retry(); }, this);
  unblock_timer_.open(
      engine.loop(), [](void* lane) { static_cast<ReadLane*>(lane)->wake(); }, this);
}

ReadLane::~ReadLane() = default;

void ReadLane::shut_down() noexcept {
  up_ = false;
  generation_++;
  in_flight_ = 0;
  blocked_ = nullptr;
  retry_timer_.reset();
  unblock_timer_.reset();
  if (connection_) connection_->close(Error(PULSE_ERR_CLOSED, "nobody reads any more"));
  connection_.reset();
}

void LaneTrack::leave() noexcept {
  member = nullptr;
  feed->tracks.erase(std::find(feed->tracks.begin(), feed->tracks.end(), this));
}

// --- who reads -----------------------------------------------------------

void ReadLane::add(Ref<LaneMember> member) {
  if (members_.size() == members_.capacity()) {
    const size_t room = 2 * members_.size() + 1;
    // A member may come in once more while it is looked at.
    to_look_.reserve(2 * room);
    working_.reserve(room);
    unannounced_.reserve(room);
    members_.reserve(room);
  }
  if (member->group != nullptr) group_count_++;
  member_count_++;
  members_.push_back(std::move(member));
  wake(*members_.back());
}

void ReadLane::remove(LaneMember& member) noexcept {
  if (member.gone()) return;
  if (member.group != nullptr) group_count_--;
  member.cursor = nullptr;
  member.group = nullptr;
  member_count_--;
  for (auto& [index, track] : member.tracks) track->leave();
  member.tracks.clear();
  purge_ = true;
}

// Forgets members that left and streams that nobody reads.  Only while nobody walks over them.
void ReadLane::purge() noexcept {
  if (!purge_) return;
  purge_ = false;
  for (Vector<Ref<LaneMember>>* list : {&to_look_, &working_, &unannounced_, &members_}) {
    list->erase(std::remove_if(list->begin(), list->end(),
                               [](const Ref<LaneMember>& m) { return m->gone(); }),
                list->end());
  }
  for (auto at = feeds_.begin(); at != feeds_.end();) {
    at = at->second->tracks.empty() ? feeds_.erase(at) : std::next(at);
  }
}

LaneFeed& ReadLane::feed_for(const String& key) {
  auto at = feeds_.find(key);
  if (at == feeds_.end()) at = feeds_.emplace(key, make_ref<LaneFeed>(key)).first;
  return *at->second;
}

// Brings the member's tracks in line with what it wants.
void ReadLane::sync(LaneMember& member) {
  const uint64_t serial = ++sync_serial_;
  auto take = [&](uint32_t index, const String& key) -> LaneTrack& {
    auto at = member.tracks.find(index);
    if (at == member.tracks.end()) {
      Vector<LaneTrack*>& readers = feed_for(key).tracks;
      reserve_one_more(readers);
      auto track = make_ref<LaneTrack>(&member, feeds_.find(key)->second, index);
      at = member.tracks.emplace(index, std::move(track)).first;
      member.behind = true;
      readers.push_back(at->second.get());
    }
    at->second->seen = serial;
    return *at->second;
  };
  if (member.cursor != nullptr) {
    cursor_wants_.clear();
    member.cursor->wants(&cursor_wants_);
    for (const CursorReads::Want& want : cursor_wants_) {
      LaneTrack& track = take(want.index, *want.key);
      track.after = want.after;
      track.check = want.check;
    }
  } else {
    group_wants_.clear();
    member.group->wants(&group_wants_);
    for (const GroupReads::Want& want : group_wants_) take(want.index, *want.key);
  }
  for (auto at = member.tracks.begin(); at != member.tracks.end();) {
    LaneTrack* track = at->second.get();
    if (track->seen == serial) {
      ++at;
      continue;
    }
    track->leave();
    purge_ = true;
    at = member.tracks.erase(at);
  }
}

// --- rounds --------------------------------------------------------------

void ReadLane::wake() noexcept {
  dirty_ = true;
  engine_.want_turn();
}

void ReadLane::wake(LaneMember& member) noexcept {
  want_look(member);
  wake();
}

void ReadLane::wake_starved() noexcept {
  for (const Ref<LaneMember>& member : members_) {
    if (member->room == 0) want_look(*member);
  }
  if (!to_look_.empty()) wake();
}

void ReadLane::want_look(LaneMember& member) noexcept {
  if (member.to_look || member.gone()) return;
  member.to_look = true;
  to_look_.push_back(Ref<LaneMember>::share(&member));
}

void ReadLane::flush() noexcept {
  if (!connection_ || !dirty_) return;
  try {
    look();
  } catch (const std::bad_alloc&) {
    forget_lists();
    look_at_all_ = true;
    retry_at(monotonic_ms() + kOutOfMemoryPauseMs);
  }
}

// Where a look was cut short the lists say nothing: some members in them had their turn already.
void ReadLane::forget_lists() noexcept {
  to_look_.clear();
  working_.clear();
  unannounced_.clear();
  for (const Ref<LaneMember>& member : members_) {
    member->to_look = member->working = member->unannounced = false;
  }
}

void ReadLane::retry_at(int64_t ms) noexcept {
  next_retry_ms_ = std::min(next_retry_ms_, ms);
  retry_timer_.start(std::max<int64_t>(next_retry_ms_ - monotonic_ms(), 1));
}

void ReadLane::retry() noexcept {
  const int64_t now = monotonic_ms();
  int64_t next = kNever;
  for (const Ref<LaneMember>& member : members_) {
    if (member->retry_at > now) next = std::min(next, member->retry_at);
    for (const auto& [index, track] : member->tracks) {
      if (track->retry_at > now) next = std::min(next, track->retry_at);
    }
  }
  next_retry_ms_ = kNever;
  if (next != kNever) retry_at(next);
  look_at_all_ = true;
  wake();
}

void ReadLane::look() {
  dirty_ = false;
  purge();
  if (member_count_ == 0) return;
  connection_->open();
  if (!up_) {
    for (size_t i = 0; i < members_.size(); i++) settle_quiesce(*Ref<LaneMember>(members_[i]));
    return;
  }
  look_at_members();
  if (in_flight_ == 0) {
    begin_round();
  } else if (blocked_ == nullptr) {
    read_ahead();
  } else if (change_wanted_) {
    unblock();
  }
}

// Asks members what they want.  They may join and leave meanwhile; what happens to them meanwhile
// is for the next turn.
void ReadLane::look_at_members() {
  if (std::exchange(look_at_all_, false)) {
    for (const Ref<LaneMember>& member : members_) want_look(*member);
  }
  const size_t count = to_look_.size();
  const int64_t now = monotonic_ms();
  for (size_t i = 0; i < count; i++) {
    Ref<LaneMember> member = to_look_[i];
    member->to_look = false;
    look_at(*member);
    if (blocked_ != nullptr && !member->gone() && needs_change(*member, now)) change_wanted_ = true;
  }
  to_look_.erase(to_look_.begin(), to_look_.begin() + static_cast<ptrdiff_t>(count));
}

void ReadLane::look_at(LaneMember& member) {
  if (member.gone()) return;
  if (!member.greeted) {
    if (member.reads_out > 0) return;  // it would look for what they bring
    if (member.cursor != nullptr) {
      member.cursor->lane_ready();
    } else {
      member.group->lane_ready();
    }
    member.greeted = true;
  }
  if (!member.gone()) settle_quiesce(member);
  if (member.gone()) return;
  member.room = wanted(member);
  if (member.room == 0) return;
  if (member.dirty) {
    sync(member);
    member.dirty = false;
  }
  const bool work =
      member.cursor != nullptr ? member.behind : member.has_news && member.reads_out == 0;
  if (work && !std::exchange(member.working, true)) {
    working_.push_back(Ref<LaneMember>::share(&member));
  }
  if (member.cursor != nullptr && !member.announced && !std::exchange(member.unannounced, true)) {
    unannounced_.push_back(Ref<LaneMember>::share(&member));
  }
}

size_t ReadLane::wanted(const LaneMember& member) {
  return member.cursor != nullptr ? member.cursor->wanted()
                                  : member.group->wanted(member.on_the_way);
}

// Whether the read that blocks keeps the member from what it wants.
bool ReadLane::needs_change(const LaneMember& member, int64_t now) const {
  if (member.quiesce && member.reads_out > 0) return true;
  if (member.room == 0 || member.retry_at > now) return false;
  // Of a sink alone on its lane the streams count; elsewhere it is read when it has news.
  if (member.group != nullptr && member.reads_out == 0 && member.has_news) return true;
  // A read of a few streams ends soon anyway: then all others are asked.
  if (blocked_hot_) return member.unannounced || (member.cursor != nullptr && member.behind);
  return std::any_of(member.tracks.begin(), member.tracks.end(), [&](const auto& entry) {
    const LaneTrack& track = *entry.second;
    return track.retry_at <= now &&
           (track.round != round_ || (member.cursor != nullptr && track.behind));
  });
}

void ReadLane::begin_round() {
  const int64_t now = monotonic_ms();
  if (paused_until_ > now) {
    retry_at(paused_until_);
    return;
  }
  round_++;
  change_wanted_ = false;
  if (dedicated(now)) {
    LaneMember& member = *members_.front();
    member.working = false;
    working_.clear();
    if (member.retry_at > now) return;
    begin_group(member, member.backlog ? GroupMode::ahead : GroupMode::waits);
    read_ahead();
    return;
  }
  const bool busy = begin_work(now);
  announce(false);
  const bool hot = hot_will_do(now);
  if (hot && collect_hot(now)) {
    union_block_ms_ = std::min(union_block_ms_, all_due_ms_ - now);
    begin_union(!busy, true);
  } else if ((!hot || !busy) && collect_union(now)) {
    // While others have events it only looks: to wait on all streams costs the server as much
    // again.
    begin_union(!busy && !std::exchange(hot_came_, false), false);
  }
  announce(true);
}

// Reads for those that need not wait.  True if there were any.
bool ReadLane::begin_work(int64_t now) {
  // So much is asked for in one go; who gets no turn is first in the next round.
  size_t budget = 16384;
  size_t at = 0;
  bool busy = false;
  for (; at < working_.size() && budget > 0; at++) {
    LaneMember& member = *working_[at];
    member.working = false;
    if (member.gone() || member.retry_at > now) continue;
    // Less perhaps than when it was looked at.
    member.room = wanted(member);
    if (member.room == 0) continue;
    if (member.cursor != nullptr) {
      busy |= begin_behind(member, now, &budget);
    } else if (member.has_news && begin_group(member, GroupMode::shared)) {
      budget -= std::min(budget, member.room);
      busy = true;
    }
  }
  working_.erase(working_.begin(), working_.begin() + static_cast<ptrdiff_t>(at));
  if (working_.empty()) return busy;
  dirty_ = true;
  return true;
}

// Tells readers that their reads are out: those whose streams were all read without blocking, or,
// once that over all streams is out too, everybody but those that had no turn.
void ReadLane::announce(bool all) {
  size_t kept = 0;
  for (size_t i = 0; i < unannounced_.size(); i++) {
    Ref<LaneMember> member = unannounced_[i];
    if (member->working || (!all && member->whole_round != round_)) {
      unannounced_[kept++] = std::move(member);
      continue;
    }
    member->unannounced = false;
    if (member->cursor == nullptr || member->room == 0 || member->announced) continue;
    member->announced = true;
    member->cursor->reading();
  }
  unannounced_.resize(kept);
}

bool ReadLane::ended(LaneCommand& command) {
  if (command.generation() != generation_ || !up_) return false;
  in_flight_--;
  if (blocked_ == &command) {
    blocked_ = nullptr;
    unblock_timer_.stop();
  }
  wake();
  return true;
}

void ReadLane::submit(Ref<LaneCommand> command) {
  // Fails only when the connection is closed, as the lane is shut down.
  if (connection_->submit(std::move(command)).ok()) in_flight_++;
}

int64_t ReadLane::reply_deadline(int64_t block_ms) const {
  const int64_t patience = engine_.config().command_timeout_ms;
  return patience < 0 ? kNever : deadline_after(block_ms + patience);
}

// After a reply that was too large the lane asks for less, and for more again as replies come.
size_t ReadLane::limited(size_t count) const {
  return std::max<size_t>(1, std::min(count, count_limit_));
}

void ReadLane::count_worked() {
  pause_ms_ = 0;
  if (count_limit_ < 65536) count_limit_ += count_limit_ / 4 + 1;
}

// An error that concerns everybody on the lane: LOADING, MASTERDOWN ...
void ReadLane::pause_all(const Error& error) {
  pause_ms_ = pause_ms_ == 0 ? 50 : std::min<int64_t>(pause_ms_ * 2, 5000);
  paused_until_ = monotonic_ms() + pause_ms_;
  for (size_t i = 0; i < members_.size(); i++) {
    Ref<LaneMember> member = members_[i];
    if (member->cursor != nullptr) {
      member->cursor->reads_failed(error);
    } else if (member->group != nullptr) {
      member->group->read_failed(error);
    }
  }
}

// --- the read that blocks ------------------------------------------------

void ReadLane::unblock() {
  if (unblock_out_ || !unblock_allowed_ || connection_->client_id() == 0 ||
      unblock_timer_.active()) {
    return;
  }
  const int64_t id = connection_->client_id();
  auto command = make_call(
      this, nullptr, false, engine_.config().command_timeout_ms,
      [id](CommandWriter& writer, bool) { writer.command("CLIENT", "UNBLOCK", id); },
      [this](const Error& error, Reply* reply) { unblocked(error, reply); });
  if (!engine_.connection_for({}).submit(std::move(command)).ok()) return;
  unblock_out_ = true;
  woken_ = true;
}

void ReadLane::unblocked(const Error& error, Reply* reply) {
  unblock_out_ = false;
  if (!connection_) return;
  if (!error.ok() && (error.flags() & PULSE_ERROR_SERVER) != 0) {
    // Not permitted or not known here: changes wait for the end of the read.
    unblock_allowed_ = false;
    return;
  }
  if (blocked_ == nullptr) return;
  // 0: the server had not begun to wait yet.
  bool was_waiting = reply != nullptr && reply->peek().is_integer() && reply->peek().integer != 0;
  unblock_delay_ms_ = was_waiting ? 1 : std::min(unblock_delay_ms_ * 2, kMaxUnblockDelayMs);
  unblock_timer_.start(was_waiting ? kMaxUnblockDelayMs : unblock_delay_ms_);
}

// --- connection ----------------------------------------------------------

void ReadLane::connection_ready(Connection&) {
  up_ = true;
  unblock_allowed_ = true;
  paused_until_ = 0;
  for (const Ref<LaneMember>& member : members_) {
    member->greeted = false;
    member->dirty = true;
    member->look_everywhere();
    member->retry_at = 0;
  }
  look_at_all_ = true;
  wake();
}

void ReadLane::connection_lost(Connection&, const Error& error) {
  up_ = false;
  generation_++;
  in_flight_ = 0;
  blocked_ = nullptr;
  unblock_timer_.stop();
  if (error.code() == PULSE_ERR_PROTOCOL) {
    count_limit_ = std::max<size_t>(1, std::min(count_limit_, last_count_) / 8);
  }
  for (size_t i = 0; i < members_.size(); i++) {
    Ref<LaneMember> member = members_[i];
    member->reads_out = 0;
    member->backlog = false;
    count_on_the_way(*member, -static_cast<ptrdiff_t>(member->on_the_way));
    try {
      if (member->cursor != nullptr) {
        member->cursor->lane_lost(error);
      } else if (member->group != nullptr) {
        member->group->lane_lost(error);
      }
    } catch (const std::bad_alloc&) {
      // It learns of it when the lane is back.
    }
  }
  wake();
}

}  // namespace pulseengine
