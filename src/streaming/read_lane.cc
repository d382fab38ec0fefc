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
      engine.loop(), [](void* lane) { static_cast<ReadLane*>(lane)->wake(); }, this);
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
  members_.push_back(std::move(member));
  member_count_++;
  wake();
}

void ReadLane::remove(LaneMember& member) noexcept {
  if (member.gone()) return;
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
  members_.erase(std::remove_if(members_.begin(), members_.end(),
                                [](const Ref<LaneMember>& m) { return m->gone(); }),
                 members_.end());
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
      if (readers.size() == readers.capacity()) readers.reserve(2 * readers.size() + 1);
      auto track = make_ref<LaneTrack>(&member, feeds_.find(key)->second, index);
      at = member.tracks.emplace(index, std::move(track)).first;
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

void ReadLane::flush() noexcept {
  if (!connection_ || !dirty_) return;
  try {
    look();
  } catch (const std::bad_alloc&) {
    retry_in(kOutOfMemoryPauseMs);
  }
}

void ReadLane::retry_in(int64_t ms) noexcept {
  // An earlier look does no harm: it starts the timer anew for what is left.
  retry_timer_.start(std::max<int64_t>(ms, 1));
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
  refresh_members();
  if (in_flight_ == 0) {
    begin_round();
  } else if (blocked_ != nullptr && needs_change()) {
    unblock();
  }
}

// Asks all members what they want.  They may join and leave meanwhile.
void ReadLane::refresh_members() {
  for (size_t i = 0; i < members_.size(); i++) {
    Ref<LaneMember> member = members_[i];
    if (member->gone()) continue;
    if (!member->greeted) {
      if (member->cursor != nullptr) {
        member->cursor->lane_ready();
      } else {
        member->group->lane_ready();
      }
      member->greeted = true;
    }
    if (!member->gone() && !member->read_out) settle_quiesce(*member);
    if (member->gone()) continue;
    member->room = member->cursor != nullptr ? member->cursor->wanted() : member->group->wanted();
    if (member->room > 0 && member->dirty) {
      sync(*member);
      member->dirty = false;
    }
  }
}

// Whether the read that blocks keeps somebody from what he wants.
bool ReadLane::needs_change() const {
  const int64_t now = monotonic_ms();
  for (const Ref<LaneMember>& member : members_) {
    if (member->gone()) continue;
    if (member->quiesce && member->read_out) return true;
    if (member->room == 0 || member->retry_at > now) continue;
    // Of a sink alone on its lane the streams count; elsewhere it is read when it has news.
    if (member->group != nullptr && !member->read_out && member->has_news) return true;
    for (const auto& [index, track] : member->tracks) {
      if (track->retry_at > now) continue;
      if (track->round != round_ || (member->cursor != nullptr && track->behind)) return true;
    }
  }
  return false;
}

void ReadLane::begin_round() {
  const int64_t now = monotonic_ms();
  if (paused_until_ > now) {
    retry_in(paused_until_ - now);
    return;
  }
  round_++;
  if (dedicated()) {
    LaneMember& member = *members_.front();
    if (member.retry_at > now) {
      retry_in(member.retry_at - now);
    } else {
      begin_group(member, true);
    }
    return;
  }
  // So much is asked for in one go; who gets no turn is first in the next round.
  size_t budget = 16384;
  bool busy = false;
  const size_t count = members_.size();
  const size_t first = first_member_;
  first_member_ = 0;
  for (size_t i = 0; i < count; i++) {
    const size_t at = (first + i) % count;
    Ref<LaneMember> member = members_[at];
    if (member->gone() || member->room == 0 || member->retry_at > now) continue;
    if (budget == 0) {
      first_member_ = at;
      dirty_ = true;
      busy = true;
      break;
    }
    if (member->cursor != nullptr) {
      busy |= begin_behind(*member, now, &budget);
    } else if (member->has_news) {
      if (!begin_group(*member, false)) continue;
      budget -= std::min(budget, member->room);
      busy = true;
    }
  }
  if (collect_union(now)) begin_union(!busy);
  int64_t earliest = kNever;
  for (const Ref<LaneMember>& member : members_) {
    if (member->gone() || member->room == 0) continue;
    if (member->retry_at > now) earliest = std::min(earliest, member->retry_at);
    for (const auto& [index, track] : member->tracks) {
      if (track->retry_at > now) earliest = std::min(earliest, track->retry_at);
    }
  }
  if (earliest != kNever) retry_in(earliest - now);
  if (first_member_ != 0) return;
  for (size_t i = 0; i < members_.size(); i++) {
    Ref<LaneMember> member = members_[i];
    if (member->cursor == nullptr || member->room == 0 || member->announced) continue;
    member->announced = true;
    member->cursor->reading();
  }
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
    member->has_news = true;
    member->retry_at = 0;
  }
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
    member->read_out = false;
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
