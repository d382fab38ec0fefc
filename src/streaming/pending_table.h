// The events that a sink holds: delivered to the host, and not off the server's list yet.
#ifndef PULSE_STREAMING_PENDING_TABLE_H
#define PULSE_STREAMING_PENDING_TABLE_H

#include "base/alloc.h"
#include "streaming/message.h"

namespace pulseengine {

struct PendingEntry {
  enum class State : uint8_t {
    held,       // the host may ack or release it
    acking,     // an ack was accepted and is not confirmed yet
    releasing,  // on its way back
    gone,       // (inside the table only)
  };
  pulse_event_id id{0, 0};
  uint64_t order = 0;     // which of all deliveries of the sink it was
  int64_t since_ms = 0;   // when this delivery came (monotonic)
  int64_t owned_ms = 0;   // when it was certainly ours for the last time
  uint32_t delivery = 0;  // of its ack handle
  State state = State::held;
};

// Ids come mostly in ascending order and go in about the same order: those live in one sorted array
// that is consumed from the front.  Ids that are older than the newest one (taken over from
// other consumers) live in a tree beside it.  Pointers are valid until the next insert or
// erase.  Not synchronised.
class PendingTable {
 public:
  size_t size() const { return live_ + older_.size(); }
  bool empty() const { return size() == 0; }

  PendingEntry* find(const pulse_event_id& id) {
    // Mostly the one beside the last.
    for (size_t at = looked_; at < recent_.size() && at < looked_ + 2; at++) {
      PendingEntry& e = recent_[at];
      if (!id_equal(e.id, id) || e.state == PendingEntry::State::gone) continue;
      looked_ = at;
      return &e;
    }
    return search(id);
  }
  // A new entry, held, with all else zero.  The id must not be in the table.  Throws
  // bad_alloc, with no effect then.
  PendingEntry& insert(const pulse_event_id& id);
  // No effect if it is not there.
  void erase(const pulse_event_id& id) noexcept;
  void erase(PendingEntry& entry) noexcept;
  void clear() noexcept;

  // The entry with the lowest id that is not less than `id`; null if there is none.
  PendingEntry* first_from(const pulse_event_id& id);

 private:
  struct Less {
    bool operator()(const pulse_event_id& a, const pulse_event_id& b) const {
      return id_less(a, b);
    }
  };
  PendingEntry* search(const pulse_event_id& id);
  size_t position_of(const pulse_event_id& id);  // first with an id not less, in recent_
  void tidy() noexcept;

  Vector<PendingEntry> recent_;  // ascending; those with State::gone are holes
  size_t head_ = 0;              // consumed
  size_t live_ = 0;              // in recent_
  size_t looked_ = 0;            // where the last look-up ended: the next one is mostly beside it
  Map<pulse_event_id, PendingEntry, Less> older_;
};

}  // namespace pulseengine

#endif
