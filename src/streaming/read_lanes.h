// Blocking reads on few connections, whatever the number of readers and sinks.
//
// Lane 0 serves all readers: one XREAD over the union of their streams.  A reader that is behind
// the others reads by itself, without blocking, on the same connection until it has caught up, so
// nobody waits for the slowest.  Beyond some thousand streams more readers go to other lanes, up to
// half of them (max_read_connections in all).
// Each of the other lanes serves one sink with its own XREADGROUP BLOCK as long as there are lanes
// left.  While more waits for it than it reads at a time, it reads without BLOCK, and the next read
// is on its way before the one before is answered: the server need not wait until a reply has been
// looked at.  (The next read of a reader depends on the reply.)  Beyond that sinks share lanes:
// such a lane waits with XREAD BLOCK for news on the union of their streams and then runs their
// XREADGROUPs without BLOCK. With a single lane everybody shares it.
//
// A lane that must change what it waits for while it is blocked is woken with CLIENT UNBLOCK from
// a command connection; where that is not allowed it changes after block_ms.
#ifndef PULSE_STREAMING_READ_LANES_H
#define PULSE_STREAMING_READ_LANES_H

#include "streaming/message.h"

namespace pulseengine {

// A sink as a lane sees it.  Loop thread.
//
// The lane calls read(), read_failed(), lane_ready(), lane_lost() and quiesced() from its own
// work; all of ReadLanes may be called back from there.
class GroupReads {
 public:
  // One stream that it wants to read now.
  struct Want {
    const String* key;
    uint32_t index;  // of the sink's stream, given back with the reply
  };
  virtual const String& group() const = 0;
  virtual const String& consumer() const = 0;  // of this moment
  virtual bool no_ack() const = 0;
  virtual int64_t block_ms() const = 0;
  // How many events it takes now; 0 = it does not want to read.  With several streams COUNT is a
  // share of it for each, at least 1.  `on_the_way`: so many may come of reads without BLOCK that
  // are out; then it may also be 0 because more is not worth a read of its own.
  virtual size_t wanted(size_t on_the_way) const = 0;
  virtual void wants(Vector<Want>* out) const = 0;
  // The [id, fields] entries of one stream: `reply` stands at the array of entries.  `count`: the
  // COUNT that was sent.  The lane steps over the entries itself, whatever read() has consumed.
  // A bad_alloc that it throws is caught: the lane calls lane_ready() soon after, as the entries
  // are pending under the consumer.
  virtual void read(uint32_t index, Reply& reply, size_t count) = 0;
  // How many events the reads without BLOCK that are out may bring: their replies come soon.  Told
  // whenever such a read begins or ends.
  virtual void reading_ahead(size_t on_the_way) = 0;
  // An error reply (NOGROUP ...).  The lane waits for changed() or a back-off before it reads
  // again for this sink.
  virtual void read_failed(const Error& error) = 0;
  // The lane's connection came (back): what was read and not answered before may be pending
  // under the consumer without being known here.
  virtual void lane_ready() = 0;
  virtual void lane_lost(const Error& error) = 0;
  // See ReadLanes::quiesce.
  virtual void quiesced() = 0;

 protected:
  ~GroupReads() = default;
};

// A reader as a lane sees it.  Loop thread.
class CursorReads {
 public:
  struct Want {
    const String* key;
    uint32_t index;
    pulse_event_id after;
    bool check;  // its checked() is to be called before the next read()
  };
  virtual int64_t block_ms() const = 0;
  virtual size_t wanted() const = 0;  // 0 = it does not want to read
  virtual void wants(Vector<Want>* out) const = 0;
  // What it wants of one stream now; false if the stream is not read (any more).
  virtual bool want(uint32_t index, Want* out) const = 0;
  // Entries, as for GroupReads; they may hold ids <= after.  False if it did not take all.
  // `after`: where the read began; when the cursor is behind that by now, nothing may be taken.
  virtual bool read(uint32_t index, const pulse_event_id& after, Reply& reply, size_t count) = 0;
  // The reply to ask_stream_state(), which was sent right before the read, or null if it failed.
  virtual void checked(uint32_t index, Reply* reply, const Error& error) = 0;
  // One stream cannot be read, or nothing at all can; it is tried again after a back-off.
  virtual void read_failed(uint32_t index, const Error& error) = 0;
  virtual void reads_failed(const Error& error) = 0;
  // A read that includes all wants of this moment was handed to the connection.
  virtual void reading() = 0;
  // Now and then: time to look at streams from which nothing comes.
  virtual void look_around() = 0;
  virtual void lane_ready() = 0;
  virtual void lane_lost(const Error& error) = 0;

 protected:
  ~CursorReads() = default;
};

// How readers and sinks tell, from any thread and without allocating, that they may take events
// again: ring(), then Engine::want_turn().  In that turn every lane asks the clients that it does
// not read for at the moment what they want.
class CreditBell : public RefCounted {
 public:
  void ring() noexcept { rung_.store(true, std::memory_order_release); }
  bool answer() noexcept {
    return rung_.load(std::memory_order_relaxed) &&
           rung_.exchange(false, std::memory_order_acq_rel);
  }

 private:
  std::atomic<bool> rung_{false};
};

class ReadLane;
struct LaneMember;

// One per engine, made when the first reader or sink is opened.  Loop thread.
class ReadLanes final : public EngineAttachment {
 public:
  // Throws bad_alloc when it has to be made.
  static ReadLanes& of(Engine& engine);

  // Takes up a client; throws bad_alloc, with no effect then.
  void add(GroupReads& client);
  void add(CursorReads& client);
  // Nothing of it is called any more.  A read for it that is out goes on until it ends by itself:
  // quiesce first where that matters.  No effect for strangers.
  void remove(GroupReads& client) noexcept;
  void remove(CursorReads& client) noexcept;
  // What it wants has changed: looked at once more, at the end of the turn.
  void changed(GroupReads& client) noexcept;
  void changed(CursorReads& client) noexcept;
  // Calls client.quiesced() once no read for it is out that began before this call: at the end of
  // this turn, or when the read has been ended with CLIENT UNBLOCK or its connection was lost.
  // What such reads bring is given to read() before.  New reads go on meanwhile as far as wanted()
  // and wants() ask for them.
  void quiesce(GroupReads& client) noexcept;

  size_t lane_count() const;
  size_t group_count() const;   // sinks
  size_t stream_count() const;  // that somebody reads
  // Keep a reference where events are taken.
  const Ref<CreditBell>& bell() const { return bell_; }

  void flush() noexcept override;

  explicit ReadLanes(Engine& engine);
  ~ReadLanes() override;

 private:
  struct Entry {
    Ref<ReadLane> lane;
    Ref<LaneMember> member;
  };

  ReadLane& lane_at(size_t i);
  ReadLane& lane_for_group();
  ReadLane& lane_for_cursors();
  void add_member(const void* client, Ref<LaneMember> member);
  void remove_member(const void* client) noexcept;
  void member_changed(const void* client) noexcept;

  Engine& engine_;
  const Ref<CreditBell> bell_;
  Vector<Ref<ReadLane>> lanes_;  // max_read_connections, null where nobody reads
  HashMap<const void*, Entry> members_;
};

}  // namespace pulseengine

#endif
