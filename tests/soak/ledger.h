// What became of each event of one stream: whether its add was confirmed, whether the reader has
// seen it, whether the sink has.  Events are numbered from 1 on; what all is known of is forgotten.
#ifndef PULSE_TESTS_SOAK_LEDGER_H
#define PULSE_TESTS_SOAK_LEDGER_H

#include <pulseengine/event.h>

#include <cstddef>
#include <cstdint>
#include <map>

namespace soak {

class Ledger {
 public:
  // The number of an event that is about to be added.
  uint64_t begin(int64_t now_ms);
  void confirmed(uint64_t number);
  void failed(uint64_t number, bool unknown);
  // False if the reader sees it out of order, or twice.
  bool read(uint64_t number, const pulse_event_id& id);
  // True if it had been handled before.
  bool handled(uint64_t number);

  // Forgets adds with an unknown outcome of before `ms` that nobody has seen.
  void give_up_before(int64_t ms);
  // Confirmed, and not seen by both.
  size_t outstanding() const;
  // Since when the longest of them is.
  int64_t oldest_ms(int64_t now_ms) const;
  uint64_t confirmations() const { return confirmations_; }

 private:
  struct Event {
    int64_t begun_ms = 0;
    bool confirmed = false, unknown = false, read = false, handled = false;
  };
  void settle(std::map<uint64_t, Event>::iterator at);

  std::map<uint64_t, Event> events_;
  uint64_t next_ = 1, confirmations_ = 0;
  pulse_event_id last_read_{};
};

}  // namespace soak

#endif
