#include "ledger.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace soak {

uint64_t Ledger::begin(int64_t now_ms) {
  events_[next_].begun_ms = now_ms;
  return next_++;
}

void Ledger::settle(std::map<uint64_t, Event>::iterator at) {
  const Event& event = at->second;
  if ((event.confirmed || event.unknown) && event.read && event.handled) events_.erase(at);
}

void Ledger::confirmed(uint64_t number) {
  confirmations_++;
  const auto at = events_.find(number);
  at->second.confirmed = true;
  settle(at);
}

void Ledger::failed(uint64_t number, bool unknown) {
  const auto at = events_.find(number);
  if (!unknown) {
    events_.erase(at);
    return;
  }
  at->second.unknown = true;
  settle(at);
}

bool Ledger::read(uint64_t number, const pulse_event_id& id) {
  const bool in_order = std::tie(last_read_.ms, last_read_.seq) < std::tie(id.ms, id.seq);
  last_read_ = id;
  const auto at = events_.find(number);
  if (at == events_.end() || std::exchange(at->second.read, true)) return false;
  settle(at);
  return in_order;
}

bool Ledger::handled(uint64_t number) {
  const auto at = events_.find(number);
  if (at == events_.end()) return true;
  const bool before = std::exchange(at->second.handled, true);
  settle(at);
  return before;
}

void Ledger::give_up_before(int64_t ms) {
  for (auto at = events_.begin(); at != events_.end();) {
    const Event& event = at->second;
    const bool nothing_came = event.unknown && !event.read && !event.handled;
    at = nothing_came && event.begun_ms < ms ? events_.erase(at) : std::next(at);
  }
}

size_t Ledger::outstanding() const {
  return static_cast<size_t>(std::count_if(events_.begin(), events_.end(), [](const auto& entry) {
    return entry.second.confirmed || entry.second.read || entry.second.handled;
  }));
}

int64_t Ledger::oldest_ms(int64_t now_ms) const {
  for (const auto& [number, event] : events_) {
    if (event.confirmed) return now_ms - event.begun_ms;
  }
  return 0;
}

}  // namespace soak
