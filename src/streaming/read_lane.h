// One lane: a connection for blocking reads, who reads on it, and what it reads next.
//
// A lane works in rounds.  A round begins when no read is out: first what need not wait (readers
// that are behind, sinks of a shared lane that have news), all in one go; when nothing of that
// kind is left, one read that blocks.  See read_lanes.h for the rules.
#ifndef PULSE_STREAMING_READ_LANE_H
#define PULSE_STREAMING_READ_LANE_H

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
};

// One stream of one member.
struct LaneTrack : RefCounted {
  LaneTrack(LaneMember* m, Ref<LaneFeed> f, uint32_t i) : member(m), feed(std::move(f)), index(i) {}
  // Takes it off its feed; its member forgets it.
  void leave() noexcept;

  LaneMember* member;  // null once it is removed
  const Ref<LaneFeed> feed;
  const uint32_t index;
  // A reader's cursor; for a sink of a shared lane: the newest entry before its last read.
  pulse_event_id after{0, 0};
  bool tip_known = false;    // sinks: `after` is valid
  bool tip_by_text = false;  // sinks: asked for with the script's text
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
  bool dirty = true;       // wants() is to be asked
  bool greeted = false;    // it knows that the lane is connected
  bool announced = false;  // readers: reading() was called
  size_t room = 0;         // events that it takes, as of the last look
  size_t rotation = 0;     // readers: where the next read of its own begins
  bool has_news = true;    // sinks of a shared lane: to be read
  bool read_out = false;   // sinks
  bool quiesce = false;    // sinks: quiesced() is owed
  int64_t retry_at = 0;    // sinks: after an error
  int64_t backoff_ms = 0;

  bool gone() const { return cursor == nullptr && group == nullptr; }
};

class ReadLane final : public RefCounted, ConnectionListener {
 public:
  ReadLane(Engine& engine, const Ref<CreditBell>& bell);
  // The connection and the timers go.  The lane is of no use afterwards.
  void shut_down() noexcept;

  void add(Ref<LaneMember> member);
  void remove(LaneMember& member) noexcept;
  // Asks everybody at the end of the turn what is wanted.
  void wake() noexcept;
  // Begins a round or wakes the read that blocks, where that is needed; sends.
  void flush() noexcept;

  size_t member_count() const { return member_count_; }

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

  void look();
  void purge() noexcept;
  void refresh_members();
  void sync(LaneMember& member);
  LaneFeed& feed_for(const String& key);
  bool needs_change() const;
  void begin_round();
  void unblock();
  void unblocked(const Error& error, Reply* reply);
  // Every command on the lane calls it first when it ends; false if its connection is a former one.
  bool ended(LaneCommand& command);
  void submit(Ref<LaneCommand> command);
  void retry_in(int64_t ms) noexcept;
  void pause_all(const Error& error);
  int64_t reply_deadline(int64_t block_ms) const;
  size_t limited(size_t count) const;
  void count_worked();

  // Readers (read_lane_cursors.cc)
  bool begin_behind(LaneMember& member, int64_t now, size_t* budget);
  void begin_union(bool blocking);
  bool collect_union(int64_t now);
  void begin_check(LaneTrack& track);
  void checked(Check& check, Reply* reply, const Error& error);
  void cursor_replied(CursorRead& read, Reply& reply);
  void cursor_failed(CursorRead& read, const Error& error);
  void nothing_came(CursorRead& read);
  void look_around();
  void give(LaneTrack& track, const Part& part, const Reply& entries, size_t count, bool full);
  void refresh(LaneTrack& track);

  // Sinks (read_lane_groups.cc)
  bool dedicated() const;
  bool begin_group(LaneMember& member, bool blocking);
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
  size_t first_member_ = 0;  // whose turn it is
  size_t count_limit_ = 65536;
  size_t last_count_ = 1;
  size_t last_streams_ = 1;  // in the last union reply

  // The union read: its streams, and their keys as RESP as long as they stay the same.
  Vector<Part> union_parts_;
  Vector<Ref<LaneFeed>> union_feeds_;
  String union_keys_;
  int64_t union_block_ms_ = 0;
  size_t union_count_ = 0;

  bool unblock_out_ = false;
  bool unblock_allowed_ = true;
  bool woken_ = false;  // the read that blocks was to be woken
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
