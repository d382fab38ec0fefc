// Who is in a pool and who of them is alive, as one node sees it.
#ifndef PULSE_POOL_MEMBERSHIP_H
#define PULSE_POOL_MEMBERSHIP_H

#include "base/alloc.h"
#include "base/clock.h"

namespace pulseengine {

// The values that members write are times of clocks that may be wrong: what counts is that a value
// changed within the time to live, by the monotonic clock, from when the change was seen.
class Membership {
 public:
  explicit Membership(int64_t ttl_ms) : ttl_ms_(ttl_ms) {}

  // The maps that it is told of.
  enum Table : uint8_t { kWorkers, kWorkerBeats, kLocks, kNodeBeats, kTables };
  void set(Table table, std::string_view id, std::string_view value, int64_t now_ms);
  void erase(Table table, std::string_view id);
  void clear(Table table);
  // After an outage nobody can be blamed for silence.
  void forgive(int64_t now_ms);

  // Active workers in the order that routing goes by.  True if it changed.
  bool refresh(int64_t now_ms);
  const Vector<String>& active() const { return active_; }
  bool is_active(std::string_view worker) const;
  // When refresh may bring something else without any news.
  int64_t next_change_ms() const { return next_change_ms_; }

  struct Dead {
    String id;
    String beat;  // as it was seen; empty: none
  };
  // Workers that are known to `workers`, or that `also` names, and have been silent.
  Vector<Dead> dead_workers(const Vector<String>& also, int64_t now_ms);
  Vector<Dead> dead_nodes(int64_t now_ms) const;

  struct Entry {
    String value;
    int64_t changed_ms = 0;
  };
  using Entries = Map<String, Entry>;
  const Entries& entries(Table table) const { return tables_[table]; }
  int64_t silent_ms(Table table, std::string_view id, int64_t now_ms) const;

 private:
  bool alive(const Entry& entry, int64_t now_ms) const {
    return now_ms - entry.changed_ms <= ttl_ms_;
  }
  const Entry* find(Table table, std::string_view id) const;

  const int64_t ttl_ms_;
  Entries tables_[kTables];
  Entries strangers_;  // that own jobs and are not in `workers`: since when
  Vector<String> active_;
  int64_t next_change_ms_ = kNever;
};

}  // namespace pulseengine

#endif
