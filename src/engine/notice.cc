#include "engine/notice.h"

namespace pulseengine {

Notice::Notice(Ref<SharedTarget> target, pulse_event_kind kind, std::string_view source)
    : target_(std::move(target)), kind_(kind), source_(source.data(), source.size()) {}

bool Notice::next_event(pulse_event* event) {
  if (remaining() == 0) return false;
  taken_ = true;
  event->kind = kind_;
  event->status = error.code();
  event->flags = error.flags();
  event->state = state;
  event->count = count;
  event->revision = revision;
  event->id = id;
  event->id_end = id_end;
  if (!source_.empty()) {
    event->stream = source_.data();
    event->stream_len = source_.size();
  }
  if (!error.message().empty()) {
    event->message = error.message().data();
    event->message_len = error.message().size();
  }
  return true;
}

}  // namespace pulseengine
