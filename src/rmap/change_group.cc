#include "rmap/change_group.h"

#include <algorithm>

namespace pulseengine {

uint32_t MapChange::bytes() const {
  constexpr int64_t kOverhead = 64;
  const int64_t bytes = kOverhead + (now ? now->payload() : 0) + (before ? before->payload() : 0);
  return static_cast<uint32_t>(std::min<int64_t>(bytes, UINT32_MAX));
}

bool ChangeFilter::passes(std::string_view key) const {
  const std::string_view text(text_.data(), text_.size());
  switch (kind_) {
    case Kind::all:
      return true;
    case Kind::key:
      return key == text;
    case Kind::prefix:
      return key.substr(0, text.size()) == text;
  }
  return false;
}

void ChangeBatch::select(const ChangeFilter& filter, int64_t after) {
  for (size_t i = 0; i < group_->changes.size(); i++) {
    const MapChange& change = group_->changes[i];
    if (static_cast<int64_t>(change.revision) <= after || !filter.passes(change)) continue;
    selected_.push_back(static_cast<uint32_t>(i));
    bytes_ += change.bytes();
  }
}

bool ChangeBatch::next_event(pulse_event* event) {
  if (remaining() == 0) return false;
  const MapChange& change = group_->changes[selected_[next_++]];
  event->kind = PULSE_EVENT_MAP_CHANGE;
  event->state = change.op;
  event->revision = change.revision;
  event->stream = map_.data();
  event->stream_len = map_.size();
  const std::string_view key = change.key();
  if (!key.empty()) {
    event->name = key.data();
    event->name_len = key.size();
  }
  if (change.now) {
    event->payload = change.now->view().data();
    event->payload_len = change.now->view().size();
    event->value = reinterpret_cast<pulse_bytes*>(static_cast<Bytes*>(change.now.get()));
  }
  if (old_values_ && change.before) {
    event->old_value = change.before->view().data();
    event->old_value_len = change.before->view().size();
  }
  owner_->events_taken(1, change.bytes());
  return true;
}

}  // namespace pulseengine
