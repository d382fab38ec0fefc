// What a lane does for sinks.
#include <algorithm>

#include "streaming/read_lane_commands.h"

namespace pulseengine {
namespace {

constexpr int64_t kFirstBackoffMs = 100;
constexpr int64_t kMaxBackoffMs = 5000;
constexpr size_t kMaxShare = 16;

}  // namespace

// A sink that is alone on its lane blocks with its own XREADGROUP.
bool ReadLane::dedicated() const {
  return members_.size() == 1 && members_.front()->group != nullptr;
}

// False if there is nothing to read: its streams are not joined (any more).
bool ReadLane::begin_group(LaneMember& member, bool blocking) {
  if (member.room == 0 || member.gone()) return false;
  if (member.tracks.empty()) {
    member.has_news = false;
    return false;
  }
  auto command = make_ref<GroupRead>(*this, member);
  command->tracks.reserve(member.tracks.size());
  for (const auto& [index, track] : member.tracks) {
    if (!blocking) {
      auto tip = make_ref<Tip>(*this, *track);
      tip->eval = tip->by_text = std::exchange(track->tip_by_text, false);
      submit(std::move(tip));
    }
    command->tracks.push_back(track);
    track->round = round_;
  }
  const size_t share = std::min(command->tracks.size(), kMaxShare);
  command->count = limited(std::max<size_t>(1, member.room / share));
  command->block_ms = blocking ? member.group->block_ms() : -1;
  command->deadline_ms = reply_deadline(blocking ? command->block_ms : 0);
  last_count_ = command->count;
  LaneCommand* raw = command.get();
  submit(std::move(command));
  member.read_out = true;
  // Should it go on on a shared lane, its tips are out of date: it looks for itself first.
  member.has_news = blocking;
  if (blocking) {
    woken_ = false;
    blocked_ = raw;
  }
  return true;
}

void ReadLane::tip_replied(Tip& tip, Reply* reply) {
  if (!ended(tip)) return;
  LaneTrack& track = tip.track();
  StreamState state;
  track.tip_known = reply != nullptr && parse_stream_state(*reply, &state).ok();
  track.after = state.last_generated;
  if (tip.eval && !tip.by_text && track.member != nullptr) {
    // The server had forgotten the script: the answer is of a time after the read that it was to
    // precede.  Both once more, and this time it cannot happen.
    track.tip_by_text = true;
    track.member->has_news = true;
  }
}

void ReadLane::group_replied(GroupRead& read, Reply& reply) {
  if (!ended(read)) return;
  count_worked();
  LaneMember& member = *read.member;
  member.read_out = false;
  member.retry_at = member.backoff_ms = 0;
  const ReplyNode head = reply.next();
  size_t at = 0;
  for (size_t i = 0; i < head.elements(); i++) {
    if (reply.next().elements() != 2) break;
    const std::string_view key = reply.next().text;
    while (at < read.tracks.size() && read.tracks[at]->feed->key != key) at++;
    if (at == read.tracks.size()) break;
    Reply entries = reply;
    if (reply.peek().elements() >= read.count) member.has_news = true;
    reply.skip();
    if (member.group == nullptr) continue;
    try {
      member.group->read(read.tracks[at]->index, entries, read.count);
    } catch (const std::bad_alloc&) {
      // The entries are pending under the consumer: it is told to look there.
      member.greeted = false;
      paused_until_ = monotonic_ms() + 10;
    }
    at++;
  }
  settle_quiesce(member);
}

void ReadLane::group_failed(GroupRead& read, const Error& error) {
  if (!ended(read)) return;
  LaneMember& member = *read.member;
  member.read_out = false;
  member.has_news = true;
  if ((error.flags() & PULSE_ERROR_SERVER) == 0) return;  // it went down with the connection
  member.backoff_ms =
      member.backoff_ms == 0 ? kFirstBackoffMs : std::min(member.backoff_ms * 2, kMaxBackoffMs);
  member.retry_at = monotonic_ms() + member.backoff_ms;
  if (member.group != nullptr) member.group->read_failed(error);
  settle_quiesce(member);
}

// Only where no read for the sink is out.
void ReadLane::settle_quiesce(LaneMember& member) {
  if (!member.quiesce || member.group == nullptr) return;
  member.quiesce = false;
  member.group->quiesced();
}

}  // namespace pulseengine
