// What a lane does for readers.
#include <algorithm>

#include "streaming/read_lane_commands.h"

namespace pulseengine {
namespace {

constexpr size_t kMaxStreamsPerRead = 1000;  // of one reader that is behind
constexpr int64_t kFirstBackoffMs = 100;
constexpr int64_t kMaxBackoffMs = 5000;
constexpr int64_t kLookAroundMs = 1000;

// Errors that say nothing of a single stream.
bool concerns_everybody(const Error& error) {
  switch (error.code()) {
    case PULSE_ERR_LOADING:
    case PULSE_ERR_SERVER_BUSY:
    case PULSE_ERR_READONLY:
    case PULSE_ERR_MASTERDOWN:
    case PULSE_ERR_SERVER_OOM:
    case PULSE_ERR_AUTH:
    case PULSE_ERR_MAX_CLIENTS:
      return true;
    default:
      return error.message().substr(0, 9) == "UNBLOCKED";
  }
}

}  // namespace

// Reads the streams on which the member is behind, without blocking.  True if there were any.
bool ReadLane::begin_behind(LaneMember& member, int64_t now, size_t* budget) {
  Vector<LaneTrack*> together, alone;
  for (const auto& [index, track] : member.tracks) {
    if (!track->behind || track->retry_at > now) continue;
    (track->single ? alone : together).push_back(track.get());
  }
  if (together.empty() && alone.empty()) return false;
  // Not always the same streams first: those at the front could use up the room for ever.
  if (!together.empty()) {
    std::rotate(together.begin(), together.begin() + member.rotation++ % together.size(),
                together.end());
    if (together.size() > kMaxStreamsPerRead) together.resize(kMaxStreamsPerRead);
  }
  const size_t streams = together.size() + alone.size();
  const size_t count = limited(std::max<size_t>(1, member.room / streams));
  auto read = [&](LaneTrack* const* tracks, size_t n) {
    auto command = make_ref<CursorRead>(*this);
    command->count = count;
    command->parts.reserve(n);
    for (size_t i = 0; i < n; i++) {
      if (tracks[i]->check) begin_check(*tracks[i]);
      command->parts.push_back(
          {tracks[i]->feed, Ref<LaneTrack>::share(tracks[i]), tracks[i]->after, false});
      tracks[i]->round = round_;
    }
    command->deadline_ms = reply_deadline(0);
    submit(std::move(command));
  };
  if (!together.empty()) read(together.data(), together.size());
  for (LaneTrack*& track : alone) read(&track, 1);
  last_count_ = count;
  *budget -= std::min(*budget, member.room);
  return true;
}

void ReadLane::begin_check(LaneTrack& track) {
  submit(make_ref<Check>(*this, track));
  track.check = false;
  track.checking = true;
}

// Lists the streams of all members that have nothing else to do than to wait.
bool ReadLane::collect_union(int64_t now) {
  union_parts_.clear();
  union_block_ms_ = kNever;
  union_count_ = 1;
  for (const auto& [key, feed] : feeds_) {
    Part part;
    bool wanted = false;
    for (LaneTrack* track : feed->tracks) {
      LaneMember& member = *track->member;
      if (member.room == 0 || track->retry_at > now || member.retry_at > now) continue;
      if (member.cursor != nullptr) {
        if (track->behind) continue;
        union_count_ = std::max(union_count_, member.room);
        union_block_ms_ = std::min(union_block_ms_, member.cursor->block_ms());
      } else {
        if (member.has_news || member.read_out) continue;
        union_block_ms_ = std::min(union_block_ms_, member.group->block_ms());
        if (!track->tip_known) {
          if (!wanted) part.newest = true;
          wanted = true;
          track->round = round_;
          continue;
        }
      }
      if (!wanted || part.newest || id_less(track->after, part.after)) part.after = track->after;
      part.newest = false;
      wanted = true;
      track->round = round_;
    }
    if (!wanted) continue;
    part.feed = feed;
    union_parts_.push_back(std::move(part));
  }
  if (union_parts_.empty()) return false;
  union_count_ = limited(std::max<size_t>(1, union_count_ / last_streams_));
  bool same = std::equal(
      union_parts_.begin(), union_parts_.end(), union_feeds_.begin(), union_feeds_.end(),
      [](const Part& part, const Ref<LaneFeed>& feed) { return part.feed.get() == feed.get(); });
  if (!same) {
    union_feeds_.clear();
    union_keys_.clear();
    for (const Part& part : union_parts_) {
      char length[32];
      auto end = fmt::format_to(length, "${}\r\n", part.feed->key.size());
      union_keys_.append(length, static_cast<size_t>(end - length));
      union_keys_.append(part.feed->key).append("\r\n");
    }
    for (const Part& part : union_parts_) union_feeds_.push_back(part.feed);
  }
  return true;
}

void ReadLane::begin_union(bool blocking) {
  for (const Part& part : union_parts_) {
    for (LaneTrack* track : part.feed->tracks) {
      if (track->check && track->round == round_) begin_check(*track);
    }
  }
  auto command = make_ref<CursorRead>(*this);
  command->united = true;
  command->count = union_count_;
  command->block_ms = blocking ? union_block_ms_ : -1;
  command->deadline_ms = reply_deadline(blocking ? union_block_ms_ : 0);
  command->parts.swap(union_parts_);
  last_count_ = union_count_;
  woken_ = false;
  LaneCommand* raw = command.get();
  submit(std::move(command));
  if (blocking) blocked_ = raw;
}

void ReadLane::checked(Check& check, Reply* reply, const Error& error) {
  if (!ended(check)) return;
  LaneTrack& track = check.track();
  if (track.member == nullptr) return;
  const bool unanswered = reply == nullptr && (error.flags() & PULSE_ERROR_SERVER) == 0;
  const bool refused =
      reply == nullptr && check.how == StreamQuestion::script && question_refused(error);
  if (unanswered || refused) {
    // Asked anew, and read anew after that: it has to come before what is read.
    if (refused) track.question = StreamQuestion::info;
    track.check = track.behind = true;
    return;
  }
  try {
    track.member->cursor->checked(track.index, reply, error);
    track.checking = false;
  } catch (const std::bad_alloc&) {
    // The reader still wants it.
    paused_until_ = monotonic_ms() + 10;
  }
  refresh(track);
}

// Learns the reader's cursor anew.
void ReadLane::refresh(LaneTrack& track) {
  CursorReads::Want want;
  if (track.member == nullptr || !track.member->cursor->want(track.index, &want)) return;
  // A cursor that went back needs another read than the one that may be out.
  if (id_less(want.after, track.after)) track.behind = true;
  track.after = want.after;
  track.check = want.check;
}

void ReadLane::give(LaneTrack& track, const Part& part, const Reply& entries, size_t count,
                    bool full) {
  if (track.member == nullptr || track.member->cursor == nullptr) return;
  if (track.checking) {
    track.behind = true;
    return;
  }
  bool took_all = false;
  try {
    Reply copy = entries;
    took_all = track.member->cursor->read(track.index, part.after, copy, count);
  } catch (const std::bad_alloc&) {
    // Nothing was taken that was not delivered: it is read again.
    paused_until_ = monotonic_ms() + 10;
  }
  track.behind = !took_all || full;
  refresh(track);
}

void ReadLane::cursor_replied(CursorRead& read, Reply& reply) {
  if (!ended(read)) return;
  count_worked();
  for (const Part& part : read.parts) {
    if (!part.track) continue;
    part.track->behind = false;
    part.track->single = false;
    part.track->retry_at = part.track->backoff_ms = 0;
  }
  if (read.united) look_around();
  const ReplyNode head = reply.next();
  if (!head.is_array() || head.elements() == 0) {
    nothing_came(read);
    return;
  }
  if (read.united) last_streams_ = head.elements();
  // The reply names the streams that have something, in the order in which they were asked for.
  size_t at = 0;
  for (size_t i = 0; i < head.elements(); i++) {
    if (reply.next().elements() != 2) return;
    const std::string_view key = reply.next().text;
    while (at < read.parts.size() && read.parts[at].feed->key != key) at++;
    if (at == read.parts.size()) return;
    const Part& part = read.parts[at++];
    const Reply entries = reply;
    const bool full = reply.peek().elements() >= read.count;
    reply.skip();
    if (part.track) {
      give(*part.track, part, entries, read.count, full);
      continue;
    }
    // A reader may leave while another one is served.
    for (size_t t = 0; t < part.feed->tracks.size(); t++) {
      Ref<LaneTrack> track = Ref<LaneTrack>::share(part.feed->tracks[t]);
      if (track->member->group != nullptr) {
        track->member->has_news = true;
      } else if (!track->behind && !id_less(track->after, part.after)) {
        give(*track, part, entries, read.count, false);
      } else {
        track->behind = true;
      }
    }
  }
}

void ReadLane::nothing_came(CursorRead& read) {
  if (!read.united || read.block_ms < 0 || woken_) return;
  for (size_t i = 0; i < members_.size(); i++) {
    Ref<LaneMember> member = members_[i];
    member->has_news = true;  // sinks of a shared lane look for themselves now and then
  }
}

// A stream that is made anew with lower ids (FLUSHALL and explicit ids, a server whose clock went
// back, an older backup) has nothing behind its readers' cursors.  No read brings that to light, so
// readers look at streams that are silent: of whoever shares the lane, but seldom, however short
// the reads are.
void ReadLane::look_around() {
  const int64_t now = monotonic_ms();
  if (now < look_around_at_) return;
  look_around_at_ = now + kLookAroundMs;
  for (size_t i = 0; i < members_.size(); i++) {
    Ref<LaneMember> member = members_[i];
    if (member->cursor != nullptr && member->room > 0) member->cursor->look_around();
  }
}

void ReadLane::cursor_failed(CursorRead& read, const Error& error) {
  // Without the server's word it went down with the connection.
  if (!ended(read) || (error.flags() & PULSE_ERROR_SERVER) == 0) return;
  if (concerns_everybody(error)) {
    pause_all(error);
    return;
  }
  // One bad stream fails them all: each is read by itself now, and those that fail again
  // are left out until their time has come.
  if (read.united || read.parts.size() > 1) {
    for (const Part& part : read.parts) {
      if (part.track) {
        part.track->single = true;
        continue;
      }
      for (LaneTrack* track : part.feed->tracks) {
        track->behind = true;
        track->single = true;
        if (track->member->group != nullptr) track->member->has_news = true;
      }
    }
    return;
  }
  LaneTrack& track = *read.parts.front().track;
  if (track.member == nullptr) return;
  track.backoff_ms =
      track.backoff_ms == 0 ? kFirstBackoffMs : std::min(track.backoff_ms * 2, kMaxBackoffMs);
  track.retry_at = monotonic_ms() + track.backoff_ms;
  track.member->cursor->read_failed(track.index, error);
}

}  // namespace pulseengine
