// One lane: a connection for blocking reads, who reads on it, and what it reads next.
//
// A lane works in rounds.  A round begins when no read is out: first what need not wait (readers
// that are behind, sinks of a shared lane that have news), all in one go; when nothing of that
// kind is left, one read that blocks.  See read_lanes.h for the rules.
//
// A read over all streams costs as much as there are streams, on both sides.  Where they are many,
// and few of them have events, those that had some lately are read for some milliseconds, and only
// then all again; and only members that something happened to are looked at.
#ifndef PULSE_STREAMING_READ_LANE_H
#define PULSE_STREAMING_READ_LANE_H

#include <algorithm>

#include "streaming/cursor.h"
#include "streaming/read_lanes.h"

namespace pulseengine {

struct LaneMember;
struct LaneTrack;

// A stream that somebody on the lane reads.
struct LaneFeed : RefCounted {
  explicit LaneFeed(const String& k) : key(k) {}
  const String key;
  Vector<LaneTrack*> tracks;
  bool hot = false;     // in the lane's list of those that had events lately
  int64_t news_ms = 0;  // when it had some
};

// One stream of one member.
struct LaneTrack : RefCounted {
  LaneTrack(LaneMember* m, Ref<LaneFeed> f, uint32_t i) : member(m), feed(std::move(f)), index(i) {}
  // Takes it off its feed; its member forgets it.
  void leave() noexcept;

  LaneMember* member;  // null once it is removed
  const Ref<LaneFeed> feed;
  const uint32_t index;
  // A reader's cursor; for a sink of a shared lane: all entries up to here have been handed out.
  pulse_event_id after{0, 0};
  // Sinks of a shared lane:
  bool news = false;         // there were entries behind `after`
  bool tip_known = false;    // `after` is valid
  bool tip_wanted = true;    // the newest entry is asked for right before the next read ...
  bool tip_by_text = false;  // ... with the script's text
  bool tip_asked = false;    // that was done with the last read
  bool check = false;        // readers: to be looked at before the next read
  bool checking = false;  // that look has not ended yet: nothing that is read counts until it has
  StreamQuestion question = StreamQuestion::script;
  bool behind = true;    // readers: to be read without blocking first
  bool single = false;   // readers: in a command of its own, as one of several streams failed
  int64_t retry_at = 0;  // after an error
  int64_t backoff_ms = 0;
  uint64_t round = 0;  // the last round that read it
  uint64_t seen = 0;   // for sync()
};

// A reader or a sink.
struct LaneMember : RefCounted {
  CursorReads* cursor = nullptr;  // one of the two; both null once it is removed
  GroupReads* group = nullptr;
  Map<uint32_t, Ref<LaneTrack>> tracks;
  bool dirty = true;         // wants() is to be asked
  bool greeted = false;      // it knows that the lane is connected
  bool announced = false;    // readers: reading() was called
  bool behind = true;        // readers: one of the tracks may be
  size_t room = 0;           // events that it takes, as of the last look
  size_t rotation = 0;       // readers: where the next read of its own begins
  uint64_t whole_round = 0;  // readers: the last round that read all tracks without blocking
  bool has_news = true;      // sinks of a shared lane: to be read ...
  bool everywhere = true;    // ... and all its streams, whether they have news or not
  uint32_t reads_out = 0;    // sinks
  size_t on_the_way = 0;     // sinks alone on a lane: events that reads without BLOCK may bring
  bool backlog = false;      // ... and the last reply had all that it could have
  bool quiesce = false;      // sinks: quiesced() is owed
  int64_t retry_at = 0;      // sinks: after an error
  int64_t backoff_ms = 0;
  // In the lists of the lane.
  bool to_look = false, working = false, unannounced = false;

  bool gone() const { return cursor == nullptr && group == nullptr; }
  void look_everywhere() { has_news = everywhere = true; }
};

class ReadLane final : public RefCounted, ConnectionListener {
 public:
  ReadLane(Engine& engine, const Ref<CreditBell>& bell);
  // The connection and the timers go.  The lane is of no use afterwards.
  void shut_down() noexcept;

  void add(Ref<LaneMember> member);
  void remove(LaneMember& member) noexcept;
  // Something happened to the member: it is asked at the end of the turn what it wants.
  void wake(LaneMember& member) noexcept;
  // The same for all that had no room for events.
  void wake_starved() noexcept;
  // Begins a round or wakes the read that blocks, where that is needed; sends.
  void flush() noexcept;

  size_t member_count() const { return member_count_; }
  size_t group_count() const { return group_count_; }
  size_t stream_count() const { return feeds_.size(); }
  // Roughly how many streams it has to wait for.
  size_t weight() const { return std::max(member_count_, feeds_.size()); }

 private:
  class LaneCommand;
  class Check;
  class Tip;
  class CursorRead;
  class GroupRead;
  // One stream in a read for readers.
  struct Part {
    Ref<LaneFeed> feed;
    Ref<LaneTrack> track;  // null in a union read
    pulse_event_id after{0, 0};
    bool newest = false;  // "$" instead of `after`
  };

  ~ReadLane() override;

  // ConnectionListener
  void connection_ready(Connection& connection) override;
  void connection_lost(Connection& connection, const Error& error) override;

  // One of the loop's turns is wanted.
  void wake() noexcept;
  void want_look(LaneMember& member) noexcept;
  void forget_lists() noexcept;
  void look();
  void purge() noexcept;
  void look_at_members();
  void look_at(LaneMember& member);
  void sync(LaneMember& member);
  LaneFeed& feed_for(const String& key);
  static size_t wanted(const LaneMember& member);
  bool needs_change(const LaneMember& member, int64_t now) const;
  void begin_round();
  bool begin_work(int64_t now);
  void announce(bool all);
  void unblock();
  void unblocked(const Error& error, Reply* reply);
  // Every command on the lane calls it first when it ends; false if its connection is a former one.
  bool ended(LaneCommand& command);
  void submit(Ref<LaneCommand> command);
  // Everybody is looked at again then, or earlier.
  void retry_at(int64_t ms) noexcept;
  void retry() noexcept;
  void pause_all(const Error& error);
  int64_t reply_deadline(int64_t block_ms) const;
  size_t limited(size_t count) const;
  void count_worked();

  // Readers (read_lane_cursors.cc)
  bool begin_behind(LaneMember& member, int64_t now, size_t* budget);
  void begin_union(bool blocking, bool hot);
  bool few_are_hot(int64_t now);
  bool hot_will_do(int64_t now);
  bool collect_union(int64_t now);
  bool collect_hot(int64_t now);
  void join_union(const Ref<LaneFeed>& feed, int64_t now);
  bool complete_union(bool hot);
  void had_news(const Ref<LaneFeed>& feed) noexcept;
  void fall_behind(LaneTrack& track) noexcept;
  void begin_check(LaneTrack& track);
  void checked(Check& check, Reply* reply, const Error& error);
  void cursor_replied(CursorRead& read, Reply& reply);
  void cursor_failed(CursorRead& read, const Error& error);
  void nothing_came(CursorRead& read);
  void look_around();
  template <class Look>
  void for_some(size_t* next, Look look);
  void give(LaneTrack& track, const Part& part, const Reply& entries, size_t count, bool full);
  void refresh(LaneTrack& track);

  // Sinks (read_lane_groups.cc)
  void found(LaneTrack& track, Reply entries, bool full);
  void found_nothing(LaneTrack& track);
  bool dedicated(int64_t now);
  enum class GroupMode : uint8_t {
    waits,   // alone on the lane
    ahead,   // the same, without BLOCK: there is a backlog
    shared,  // without BLOCK, as others use the lane
  };
  bool begin_group(LaneMember& member, GroupMode mode);
  void read_ahead();
  void count_on_the_way(LaneMember& member, ptrdiff_t change);
  void tip_replied(Tip& tip, Reply* reply);
  void group_replied(GroupRead& read, Reply& reply);
  void group_failed(GroupRead& read, const Error& error);
  void settle_quiesce(LaneMember& member);

  Engine& engine_;
  const Ref<CreditBell> bell_;
  Owned<Connection> connection_;
  Timer retry_timer_;
  Timer unblock_timer_;

  Vector<Ref<LaneMember>> members_;
  size_t member_count_ = 0;  // without those that are gone
  size_t group_count_ = 0;   // sinks among them
  // Their capacity is that of members_, and twice that: nothing is allocated when something
  // happens.
  Vector<Ref<LaneMember>> to_look_;
  Vector<Ref<LaneMember>> working_;      // have something to read without waiting
  Vector<Ref<LaneMember>> unannounced_;  // readers
  bool look_at_all_ = false;
  Map<String, Ref<LaneFeed>> feeds_;
  bool purge_ = false;

  bool up_ = false;
  bool dirty_ = true;
  uint32_t generation_ = 0;  // of the connection
  size_t in_flight_ = 0;
  LaneCommand* blocked_ = nullptr;  // the read that blocks, while it is out
  uint64_t round_ = 0;
  uint64_t sync_serial_ = 0;
  int64_t paused_until_ = 0;  // after an error that concerns everybody
  int64_t pause_ms_ = 0;
  int64_t look_around_at_ = 0;
  int64_t next_retry_ms_ = kNever;          // when the retry timer fires
  size_t next_reader_ = 0, next_sink_ = 0;  // whose turn it is to look for itself
  size_t count_limit_ = 65536;
  size_t last_count_ = 1;
  size_t last_streams_ = 1;  // in the last union reply

  // The union read: its streams, and their keys as RESP as long as they stay the same.
  // Twice: of all streams, and of those that had events lately.
  struct UnionKeys {
    Vector<Ref<LaneFeed>> feeds;
    String text;
  };
  Vector<Part> union_parts_;
  UnionKeys union_keys_[2];
  int64_t union_block_ms_ = 0;
  size_t union_count_ = 0;
  Vector<Ref<LaneFeed>> hot_;
  int64_t all_due_ms_ = 0;  // when all streams are to be asked again
  bool hot_came_ = false;   // those of hot_ had something since all were asked

  bool blocked_hot_ = false;  // the read that blocks asks those only
  bool unblock_out_ = false;
  bool unblock_allowed_ = true;
  bool woken_ = false;          // the read that blocks was to be woken
  bool change_wanted_ = false;  // it keeps somebody from what he wants
  int64_t unblock_delay_ms_ = 1;

  Vector<CursorReads::Want> cursor_wants_;  // scratch
  Vector<GroupReads::Want> group_wants_;
};

// What every command on a lane has in common.
class ReadLane::LaneCommand : public Command {
 public:
  explicit LaneCommand(ReadLane& lane)
      : lane_(Ref<ReadLane>::share(&lane)), generation_(lane.generation_) {}
  // What was not sent before the connection was lost is asked anew in the next round.
  bool abandoned() const override {
    return generation_ != lane_->generation_ || !lane_->up_ || !lane_->connection_ ||
           !lane_->connection_->ready();
  }
  uint32_t generation() const { return generation_; }

 protected:
  const Ref<ReadLane> lane_;

 private:
  const uint32_t generation_;
};

}  // namespace pulseengine

#endif
