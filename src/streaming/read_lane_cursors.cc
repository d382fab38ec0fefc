// What a lane does for readers.
#include <algorithm>

#include "streaming/read_lane_commands.h"

namespace pulseengine {
namespace {

constexpr size_t kMaxStreamsPerRead = 1000;  // of one reader that is behind
constexpr int64_t kFirstBackoffMs = 100;
constexpr int64_t kMaxBackoffMs = 5000;
constexpr int64_t kLookAroundMs = 1000;
// From so many streams on those that had events lately are asked by themselves, as long as they are
// at most a quarter.
constexpr size_t kManyStreams = 64;
constexpr size_t kHotShare = 4;
// A read of all follows the one before after such a pause at the earliest, or two of them after
// twice as long: to ask for a stream takes the server one to three microseconds, on all lanes
// together, so that it takes a small part of its time however often events end it.  Where events
// are rarer than that nothing waits.
constexpr int64_t kLeastPauseMs = 5, kMostPauseMs = 250;
constexpr int64_t kStreamsPerPauseMs = 40;
// So long a stream counts among those that had events lately: longer than the others wait, or who
// waits for an answer to come that way would find it forgotten.
constexpr int64_t kHotMs = 1000;
// So many look for themselves at a time, in turn.
constexpr size_t kLooksAtATime = 256;

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
  if (together.empty() && alone.empty()) {
    member.behind = std::any_of(member.tracks.begin(), member.tracks.end(),
                                [](const auto& entry) { return entry.second->behind; });
    return false;
  }
  // Not always the same streams first: those at the front could use up the room for ever.
  if (!together.empty()) {
    std::rotate(together.begin(), together.begin() + member.rotation++ % together.size(),
                together.end());
    if (together.size() > kMaxStreamsPerRead) together.resize(kMaxStreamsPerRead);
  }
  const size_t streams = together.size() + alone.size();
  if (streams == member.tracks.size()) member.whole_round = round_;
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
  for (const auto& [key, feed] : feeds_) join_union(feed, now);
  return complete_union(false);
}

// Whether the streams are many, and few of them have events.
bool ReadLane::few_are_hot(int64_t now) {
  hot_.erase(std::remove_if(hot_.begin(), hot_.end(),
                            [&](const Ref<LaneFeed>& feed) {
                              feed->hot = !feed->tracks.empty() && now - feed->news_ms < kHotMs;
                              return !feed->hot;
                            }),
             hot_.end());
  return feeds_.size() >= kManyStreams && hot_.size() <= feeds_.size() / kHotShare;
}

// Whether the next read need not ask all streams.
bool ReadLane::hot_will_do(int64_t now) {
  return now < all_due_ms_ && unannounced_.empty() && few_are_hot(now);
}

bool ReadLane::collect_hot(int64_t now) {
  union_parts_.clear();
  for (const Ref<LaneFeed>& feed : hot_) join_union(feed, now);
  return complete_union(true);
}

void ReadLane::join_union(const Ref<LaneFeed>& feed, int64_t now) {
  Part part;
  bool wanted = false;
  for (LaneTrack* track : feed->tracks) {
    LaneMember& member = *track->member;
    if (member.room == 0 || track->retry_at > now || member.retry_at > now) continue;
    if (member.cursor != nullptr) {
      if (track->behind) continue;
      member.room = member.cursor->wanted();  // less perhaps than when it was looked at
      if (member.room == 0) continue;
    } else {
      if (member.has_news || member.reads_out > 0) continue;
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
  if (!wanted) return;
  part.feed = feed;
  union_parts_.push_back(std::move(part));
}

// How much is read, and how long it may take; the keys as text.
bool ReadLane::complete_union(bool hot) {
  if (union_parts_.empty()) return false;
  union_block_ms_ = kNever;
  union_count_ = 1;
  for (const Part& part : union_parts_) {
    for (const LaneTrack* track : part.feed->tracks) {
      if (track->round != round_) continue;
      const LaneMember& member = *track->member;
      if (member.cursor != nullptr) union_count_ = std::max(union_count_, member.room);
      union_block_ms_ =
          std::min(union_block_ms_,
                   member.cursor != nullptr ? member.cursor->block_ms() : member.group->block_ms());
    }
  }
  union_count_ = limited(std::max<size_t>(1, union_count_ / last_streams_));
  UnionKeys& keys = union_keys_[hot ? 1 : 0];
  const bool same = std::equal(
      union_parts_.begin(), union_parts_.end(), keys.feeds.begin(), keys.feeds.end(),
      [](const Part& part, const Ref<LaneFeed>& feed) { return part.feed.get() == feed.get(); });
  if (same) return true;
  keys.feeds.clear();
  keys.text.clear();
  for (const Part& part : union_parts_) {
    char length[32];
    auto end = fmt::format_to(length, "${}\r\n", part.feed->key.size());
    keys.text.append(length, static_cast<size_t>(end - length));
    keys.text.append(part.feed->key).append("\r\n");
  }
  for (const Part& part : union_parts_) keys.feeds.push_back(part.feed);
  return true;
}

void ReadLane::begin_union(bool blocking, bool hot) {
  for (const Part& part : union_parts_) {
    for (LaneTrack* track : part.feed->tracks) {
      if (track->check && track->round == round_) begin_check(*track);
    }
  }
  if (!hot) {
    const auto streams = static_cast<int64_t>(ReadLanes::of(engine_).stream_count());
    const int64_t pause = std::clamp(streams / kStreamsPerPauseMs, kLeastPauseMs, kMostPauseMs);
    const int64_t now = monotonic_ms();
    // No debts from times in which most streams had events and all were asked without a pause.
    all_due_ms_ = std::min(std::max(all_due_ms_ + pause, now), now + pause);
  }
  auto command = make_ref<CursorRead>(*this);
  command->united = true;
  command->hot = hot;
  command->count = union_count_;
  command->block_ms = blocking ? union_block_ms_ : -1;
  command->deadline_ms = reply_deadline(blocking ? union_block_ms_ : 0);
  command->parts.swap(union_parts_);
  last_count_ = union_count_;
  woken_ = false;
  LaneCommand* raw = command.get();
  submit(std::move(command));
  if (blocking) blocked_ = raw;
  blocked_hot_ = blocking && hot;
}

void ReadLane::had_news(const Ref<LaneFeed>& feed) noexcept {
  if (feeds_.size() < kManyStreams) return;
  feed->news_ms = monotonic_ms();
  if (feed->hot) return;
  try {
    hot_.push_back(feed);
    feed->hot = true;
  } catch (const std::bad_alloc&) {
    // It is asked with all others.
  }
}

void ReadLane::fall_behind(LaneTrack& track) noexcept {
  track.behind = true;
  if (track.member == nullptr) return;
  track.member->behind = true;
  want_look(*track.member);
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
    track.check = true;
    fall_behind(track);
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
  if (id_less(want.after, track.after)) fall_behind(track);
  track.after = want.after;
  track.check = want.check;
}

void ReadLane::give(LaneTrack& track, const Part& part, const Reply& entries, size_t count,
                    bool full) {
  if (track.member == nullptr || track.member->cursor == nullptr) return;
  want_look(*track.member);
  if (track.checking) {
    fall_behind(track);
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
  if (!took_all || full) fall_behind(track);
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
    if (part.track->member != nullptr) want_look(*part.track->member);
  }
  if (read.united) look_around();
  const ReplyNode head = reply.next();
  if (!head.is_array() || head.elements() == 0) {
    nothing_came(read);
    return;
  }
  if (read.united) last_streams_ = head.elements();
  if (read.hot) hot_came_ = true;
  // The reply names the streams that have something, in the order in which they were asked for.
  size_t at = 0;
  for (size_t i = 0; i < head.elements(); i++) {
    if (reply.next().elements() != 2) return;
    const std::string_view key = reply.next().text;
    while (at < read.parts.size() && read.parts[at].feed->key != key) at++;
    if (at == read.parts.size()) return;
    const Part& part = read.parts[at++];
    had_news(part.feed);
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
        track->news = track->member->has_news = true;
        want_look(*track->member);
      } else if (!track->behind && !id_less(track->after, part.after)) {
        give(*track, part, entries, read.count, false);
      } else {
        fall_behind(*track);
      }
    }
  }
}

// Calls look(member) for some, which may leave meanwhile; *next: whose turn it is.
template <class Look>
void ReadLane::for_some(size_t* next, Look look) {
  for (size_t i = 0; i < std::min(members_.size(), kLooksAtATime); i++) {
    Ref<LaneMember> member = members_[(*next)++ % members_.size()];
    look(*member);
  }
}

// Sinks of a shared lane look for themselves now and then.
void ReadLane::nothing_came(CursorRead& read) {
  if (!read.united || read.hot || read.block_ms < 0 || woken_) return;
  for_some(&next_sink_, [this](LaneMember& member) {
    member.look_everywhere();
    want_look(member);
  });
}

// A stream that is made anew with lower ids (FLUSHALL and explicit ids, a server whose clock went
// back, an older backup) has nothing behind its readers' cursors.  No read brings that to light, so
// readers look at streams that are silent: of whoever shares the lane, but seldom, however short
// the reads are.
void ReadLane::look_around() {
  const int64_t now = monotonic_ms();
  if (now < look_around_at_) return;
  look_around_at_ = now + kLookAroundMs;
  for_some(&next_reader_, [](LaneMember& member) {
    if (member.cursor != nullptr && member.room > 0) member.cursor->look_around();
  });
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
        if (part.track->member != nullptr) want_look(*part.track->member);
        continue;
      }
      for (LaneTrack* track : part.feed->tracks) {
        fall_behind(*track);
        track->single = true;
        if (track->member->group != nullptr) track->member->look_everywhere();
      }
    }
    return;
  }
  LaneTrack& track = *read.parts.front().track;
  if (track.member == nullptr) return;
  track.backoff_ms =
      track.backoff_ms == 0 ? kFirstBackoffMs : std::min(track.backoff_ms * 2, kMaxBackoffMs);
  track.retry_at = monotonic_ms() + track.backoff_ms;
  retry_at(track.retry_at);
  track.member->cursor->read_failed(track.index, error);
}

}  // namespace pulseengine
