// What a lane does for sinks.
#include <algorithm>

#include "streaming/read_lane_commands.h"

namespace pulseengine {
namespace {

constexpr int64_t kFirstBackoffMs = 100;
constexpr int64_t kMaxBackoffMs = 5000;
constexpr size_t kMaxShare = 16;

}  // namespace

// A sink that is alone on its lane blocks with its own XREADGROUP, unless it has so many quiet
// streams that naming them all costs more than asking first which have news.
bool ReadLane::dedicated(int64_t now) {
  return members_.size() == 1 && members_.front()->group != nullptr && !few_are_hot(now);
}

// False if there is nothing to read: its streams are not joined (any more).
bool ReadLane::begin_group(LaneMember& member, GroupMode mode) {
  if (member.room == 0 || member.gone()) return false;
  const bool shared = mode == GroupMode::shared;
  auto command = make_ref<GroupRead>(*this, member);
  command->tracks.reserve(member.tracks.size());
  for (const auto& [index, track] : member.tracks) {
    if (shared && !member.everywhere && !track->news) continue;
    track->tip_asked = shared && (member.everywhere || track->tip_wanted);
    if (track->tip_asked) {
      auto tip = make_ref<Tip>(*this, *track);
      tip->eval = tip->by_text = std::exchange(track->tip_by_text, false);
      submit(std::move(tip));
    }
    command->tracks.push_back(track);
    track->round = round_;
  }
  if (command->tracks.empty()) {
    member.has_news = false;
    return false;
  }
  const size_t share = std::min(command->tracks.size(), kMaxShare);
  // Half of the room is for the next one.
  const bool first_ahead = mode == GroupMode::ahead && member.reads_out == 0;
  const size_t room = first_ahead ? (member.room + 1) / 2 : member.room;
  command->count = limited(std::max<size_t>(1, room / share));
  command->shared = shared;
  if (mode == GroupMode::waits) command->block_ms = member.group->block_ms();
  if (mode == GroupMode::ahead) command->on_the_way = command->count * command->tracks.size();
  command->deadline_ms = reply_deadline(std::max<int64_t>(command->block_ms, 0));
  last_count_ = command->count;
  LaneCommand* raw = command.get();
  const auto more = static_cast<ptrdiff_t>(command->on_the_way);
  submit(std::move(command));
  member.reads_out++;
  count_on_the_way(member, more);
  member.backlog = mode == GroupMode::ahead;
  // Should it go on on a shared lane, its tips are out of date: it looks for itself first.
  member.has_news = member.everywhere = !shared;
  if (mode == GroupMode::waits) {
    woken_ = false;
    blocked_ = raw;
  }
  return true;
}

// Beside one read ahead that is out goes another one.  Not while something waits for the end of
// those reads.
void ReadLane::read_ahead() {
  LaneMember& member = *members_.front();
  if (!member.backlog || member.reads_out != 1 || member.quiesce || !member.greeted) return;
  const int64_t now = monotonic_ms();
  if (!dedicated(now) || member.retry_at > now || paused_until_ > now) return;
  // Of a room of 0 the bell tells when there is some.
  member.room = wanted(member);
  if (member.room > 0 && !member.dirty) begin_group(member, GroupMode::ahead);
}

void ReadLane::count_on_the_way(LaneMember& member, ptrdiff_t change) {
  if (change == 0) return;
  member.on_the_way += static_cast<size_t>(change);
  if (member.group != nullptr) member.group->reading_ahead(member.on_the_way);
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
    track.tip_by_text = track.tip_wanted = true;
    track.news = track.member->has_news = true;
    want_look(*track.member);
  }
}

void ReadLane::group_replied(GroupRead& read, Reply& reply) {
  if (!ended(read)) return;
  count_worked();
  LaneMember& member = *read.member;
  want_look(member);
  member.reads_out--;
  member.retry_at = member.backoff_ms = 0;
  count_on_the_way(member, -static_cast<ptrdiff_t>(read.on_the_way));
  const bool shared = read.shared;
  bool any_full = false;
  const ReplyNode head = reply.next();
  size_t at = 0;
  for (size_t i = 0; i < head.elements(); i++) {
    if (reply.next().elements() != 2) break;
    const std::string_view key = reply.next().text;
    for (; at < read.tracks.size() && read.tracks[at]->feed->key != key; at++) {
      if (shared) found_nothing(*read.tracks[at]);
    }
    if (at == read.tracks.size()) break;
    LaneTrack& track = *read.tracks[at++];
    had_news(track.feed);
    Reply entries = reply;
    const bool full = reply.peek().elements() >= read.count;
    any_full |= full;
    if (i + 1 < head.elements()) reply.skip();
    if (shared) found(track, entries, full);
    if (member.group == nullptr) continue;
    try {
      member.group->read(track.index, entries, read.count);
    } catch (const std::bad_alloc&) {
      // The entries are pending under the consumer: it is told to look there.
      member.greeted = false;
      paused_until_ = monotonic_ms() + 10;
    }
  }
  for (; shared && at < read.tracks.size(); at++) found_nothing(*read.tracks[at]);
  // What is read with NOACK goes down with a connection: no more than one reply of it.  And of many
  // streams one read may bring more than its share.
  member.backlog = any_full && !shared && read.tracks.size() <= kMaxShare &&
                   member.group != nullptr && !member.group->no_ack();
  settle_quiesce(member);
}

// The group has moved on to the last of these.
void ReadLane::found(LaneTrack& track, Reply entries, bool full) {
  for (size_t i = entries.next().elements(); i > 1; i--) entries.skip();
  entries.next();
  pulse_event_id last{0, 0};
  if (parse_id(entries.next().text, &last) && (!track.tip_known || id_less(track.after, last))) {
    track.after = last;
  }
  track.tip_known = true;
  track.tip_wanted = false;
  track.news = full;
  if (full && track.member != nullptr) track.member->has_news = true;
}

// What there was others of the group have taken.  Where that ends is looked up now, and from now on
// with each read until one brings something: else the lane would be told of it again and again.
void ReadLane::found_nothing(LaneTrack& track) {
  track.tip_wanted = track.news || !track.tip_known;
  track.news = track.news && !track.tip_asked;
  if (track.news && track.member != nullptr) track.member->has_news = true;
}

void ReadLane::group_failed(GroupRead& read, const Error& error) {
  if (!ended(read)) return;
  LaneMember& member = *read.member;
  want_look(member);
  member.reads_out--;
  member.backlog = false;
  count_on_the_way(member, -static_cast<ptrdiff_t>(read.on_the_way));
  member.look_everywhere();
  if ((error.flags() & PULSE_ERROR_SERVER) == 0) return;  // it went down with the connection
  const int64_t now = monotonic_ms();
  if (member.retry_at <= now) {  // else the read before has failed, too
    member.backoff_ms =
        member.backoff_ms == 0 ? kFirstBackoffMs : std::min(member.backoff_ms * 2, kMaxBackoffMs);
    member.retry_at = now + member.backoff_ms;
    retry_at(member.retry_at);
  }
  if (member.group != nullptr) member.group->read_failed(error);
  settle_quiesce(member);
}

// Once no read for the sink is out.
void ReadLane::settle_quiesce(LaneMember& member) {
  if (!member.quiesce || member.group == nullptr || member.reads_out > 0) return;
  member.quiesce = false;
  member.group->quiesced();
}

}  // namespace pulseengine
