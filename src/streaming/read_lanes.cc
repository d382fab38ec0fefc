#include "streaming/read_lanes.h"

#include <algorithm>

#include "streaming/read_lane.h"

namespace pulseengine {
namespace {

// Fewer lanes bring more events in a reply; a read of more streams would hold up the server for
// long.
constexpr size_t kStreamsPerLane = 4096;

}  // namespace

ReadLanes::ReadLanes(Engine& engine) : engine_(engine), bell_(make_ref<CreditBell>()) {}

ReadLanes::~ReadLanes() {
  for (Ref<ReadLane>& lane : lanes_) {
    if (lane) lane->shut_down();  // most are never needed
  }
}

ReadLanes& ReadLanes::of(Engine& engine) {
  Owned<EngineAttachment>& lanes = engine.attachment(Engine::kReadLanes);
  if (!lanes) lanes = make_owned<ReadLanes>(engine);
  return static_cast<ReadLanes&>(*lanes);
}

ReadLane& ReadLanes::lane_at(size_t i) {
  if (!lanes_[i]) lanes_[i] = make_ref<ReadLane>(engine_, bell_);
  return *lanes_[i];
}

// The first lane is the readers' own, and everybody's where there is but one.  When it has many
// streams the next ones get some, up to half of them and as far as no sinks are there.
ReadLane& ReadLanes::lane_for_cursors() {
  size_t best = 0;
  for (size_t i = 0; i == 0 || i < lanes_.size() / 2; i++) {
    if (i > 0 && lanes_[i] && lanes_[i]->group_count() > 0) continue;
    if (!lanes_[i] || lanes_[i]->weight() < kStreamsPerLane) return lane_at(i);
    if (lanes_[i]->weight() < lanes_[best]->weight()) best = i;
  }
  return *lanes_[best];
}

// From the last one down to the second: readers come from the other side.
ReadLane& ReadLanes::lane_for_group() {
  if (lanes_.size() == 1) return lane_at(0);
  size_t best = lanes_.size() - 1;
  for (size_t i = lanes_.size() - 1; i > 0; i--) {
    if (!lanes_[i]) return lane_at(i);
    const auto rank = [](const ReadLane& lane) {
      return std::pair(lane.group_count() < lane.member_count(), lane.member_count());
    };
    if (rank(*lanes_[i]) < rank(*lanes_[best])) best = i;
  }
  return *lanes_[best];
}

void ReadLanes::add_member(const void* client, Ref<LaneMember> member) {
  if (lanes_.empty()) {
    lanes_.resize(static_cast<size_t>(std::max(1, engine_.config().max_read_connections)));
  }
  ReadLane& lane = member->group != nullptr ? lane_for_group() : lane_for_cursors();
  auto at = members_.emplace(client, Entry{Ref<ReadLane>::share(&lane), member}).first;
  try {
    lane.add(std::move(member));
  } catch (const std::bad_alloc&) {
    members_.erase(at);
    throw;
  }
}

void ReadLanes::add(GroupReads& client) {
  auto member = make_ref<LaneMember>();
  member->group = &client;
  add_member(&client, std::move(member));
}

void ReadLanes::add(CursorReads& client) {
  auto member = make_ref<LaneMember>();
  member->cursor = &client;
  add_member(&client, std::move(member));
}

void ReadLanes::remove_member(const void* client) noexcept {
  auto at = members_.find(client);
  if (at == members_.end()) return;
  Entry entry = std::move(at->second);
  members_.erase(at);
  entry.lane->remove(*entry.member);
}

void ReadLanes::remove(GroupReads& client) noexcept { remove_member(&client); }
void ReadLanes::remove(CursorReads& client) noexcept { remove_member(&client); }

void ReadLanes::member_changed(const void* client) noexcept {
  auto at = members_.find(client);
  if (at == members_.end()) return;
  LaneMember& member = *at->second.member;
  member.dirty = true;
  member.look_everywhere();
  member.announced = false;
  member.retry_at = 0;
  at->second.lane->wake(member);
}

void ReadLanes::changed(GroupReads& client) noexcept { member_changed(&client); }
void ReadLanes::changed(CursorReads& client) noexcept { member_changed(&client); }

void ReadLanes::quiesce(GroupReads& client) noexcept {
  auto at = members_.find(&client);
  if (at == members_.end()) return;
  at->second.member->quiesce = true;
  at->second.lane->wake(*at->second.member);
}

size_t ReadLanes::group_count() const {
  size_t count = 0;
  for (const Ref<ReadLane>& lane : lanes_) {
    if (lane) count += lane->group_count();
  }
  return count;
}

size_t ReadLanes::stream_count() const {
  size_t count = 0;
  for (const Ref<ReadLane>& lane : lanes_) {
    if (lane) count += lane->stream_count();
  }
  return count;
}

size_t ReadLanes::lane_count() const {
  return static_cast<size_t>(
      std::count_if(lanes_.begin(), lanes_.end(), [](const auto& lane) { return bool(lane); }));
}

void ReadLanes::flush() noexcept {
  bool rung = bell_->answer();
  for (size_t i = 0; i < lanes_.size(); i++) {
    if (!lanes_[i]) continue;
    Ref<ReadLane> lane = lanes_[i];
    if (rung) lane->wake_starved();
    lane->flush();
    if (lane->member_count() == 0) {
      lane->shut_down();
      lanes_[i] = nullptr;
    }
  }
}

}  // namespace pulseengine
