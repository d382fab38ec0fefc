#include "streaming/message.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <new>

namespace pulseengine {
namespace {

constexpr std::string_view kHeaderPrefix = "h:";

bool parse_number(const char*& at, const char* end, uint64_t& number) {
  auto [next, problem] = std::from_chars(at, end, number);
  if (problem != std::errc() || next == at) return false;
  at = next;
  return true;
}

}  // namespace

bool parse_id(std::string_view text, pulse_event_id* id) {
  const char* at = text.data();
  const char* end = at + text.size();
  uint64_t ms = 0, seq = 0;
  if (!parse_number(at, end, ms) || at == end || *at++ != '-' || !parse_number(at, end, seq) ||
      at != end) {
    return false;
  }
  // One by one: what was just written in halves is slow to copy as a whole.
  id->ms = ms;
  id->seq = seq;
  return true;
}

String id_text(const pulse_event_id& id) {
  IdText text;
  return String(text.of(id));
}

std::string_view IdText::of(const pulse_event_id& id) {
  if (ms_size_ == 0 || id.ms != ms_) {
    char* end = std::to_chars(text_, text_ + 20, id.ms).ptr;  // the digits of 2^64
    *end++ = '-';
    ms_ = id.ms;
    ms_size_ = static_cast<size_t>(end - text_);
  }
  const char* end = std::to_chars(text_ + ms_size_, text_ + sizeof text_, id.seq).ptr;
  return {text_, static_cast<size_t>(end - text_)};
}

EntryKind parse_entry(Reply& reply, Message* message, Vector<pulse_header>* headers) {
  const ReplyNode entry = reply.peek();
  if (entry.is_nil()) {  // Redis 6.2 in XAUTOCLAIM and XCLAIM: the whole entry
    reply.next();
    return EntryKind::deleted;
  }
  if (entry.elements() < 2) {
    reply.skip();
    return EntryKind::malformed;
  }
  reply.next();
  bool has_id = false;
  if (reply.peek().is_text()) {
    has_id = parse_id(reply.next().text, &message->id);
  } else {
    reply.skip();
  }
  EntryKind kind = EntryKind::malformed;
  if (reply.peek().is_nil()) {
    reply.next();
    kind = EntryKind::deleted;
  } else if (reply.peek().is_array()) {
    bool has_name = false, has_payload = false;
    size_t bytes = sizeof(Message);
    message->first_header = static_cast<uint32_t>(headers->size());
    message->header_count = 0;
    const size_t texts = reply.next().elements();
    size_t i = 0;
    for (; i + 1 < texts; i += 2) {
      if (!reply.peek().is_text()) break;
      std::string_view field = reply.next().text;
      if (!reply.peek().is_text()) {
        reply.skip();
        continue;
      }
      std::string_view value = reply.next().text;
      bytes += value.size();
      if (field == "n") {
        message->name = value;
        has_name = true;
      } else if (field == "p") {
        message->payload = value;
        has_payload = true;
      } else if (field == "t") {
        message->topic = value;
        message->has_topic = true;
      } else if (field.substr(0, kHeaderPrefix.size()) == kHeaderPrefix) {
        field.remove_prefix(kHeaderPrefix.size());
        headers->push_back({field.data(), field.size(), value.data(), value.size()});
        message->header_count++;
        bytes += field.size() + sizeof(pulse_header);
      }
    }
    for (; i < texts; i++) reply.skip();
    message->bytes = static_cast<uint32_t>(std::min<size_t>(bytes, UINT32_MAX));
    if (has_name && has_payload) kind = EntryKind::message;
  } else {
    reply.skip();
  }
  for (size_t more = 2; more < entry.elements(); more++) reply.skip();
  if (kind == EntryKind::message && !has_id) kind = EntryKind::malformed;
  if (kind != EntryKind::message) {
    headers->resize(headers->size() - message->header_count);
    message->header_count = 0;
  }
  return kind;
}

// --- MessageBatch --------------------------------------------------------

void MessageBatch::fit() {
  constexpr size_t kSmall = 4096;
  size_t used = 0;
  for (const Message& m : messages) used += m.name.size() + m.payload.size() + m.topic.size();
  for (const pulse_header& h : headers) used += h.name_len + h.value_len;
  if (slab_->used() <= kSmall || used * 4 >= slab_->used()) return;
  Ref<Slab> own = make_ref<Slab>();
  for (Message& m : messages) {
    m.name = own->add(m.name);
    m.payload = own->add(m.payload);
    if (m.has_topic) m.topic = own->add(m.topic);
  }
  for (pulse_header& h : headers) {
    h.name = own->add({h.name, h.name_len}).data();
    h.value = own->add({h.value, h.value_len}).data();
  }
  slab_ = std::move(own);
}

MessageBatch::~MessageBatch() {
  if (!gate_ || !gate_->is_shut()) return;
  for (; next_ < messages.size(); next_++) owner_->events_taken(1, messages[next_].bytes);
}

size_t MessageBatch::remaining() const {
  return owner_->withdrawn() || (gate_ && gate_->is_shut()) ? 0 : messages.size() - next_;
}

// What all of them have in common.
void MessageBatch::fill_common(pulse_event* event) const {
  event->kind = PULSE_EVENT_MESSAGE;
  event->stream = stream_->name().data();
  event->stream_len = stream_->name().size();
  event->owner = slab_.get();
  event->ack.sink = owner_->handle_id();
  if (event->ack.sink != 0) event->ack.stream = stream_index_;
}

void MessageBatch::fill(const Message& m, pulse_event* event) const {
  event->id = m.id;
  event->name = m.name.data();
  event->name_len = m.name.size();
  event->payload = m.payload.data();
  event->payload_len = m.payload.size();
  if (m.has_topic) {
    event->topic = m.topic.data() == nullptr ? "" : m.topic.data();  // empty is not "none"
    event->topic_len = m.topic.size();
  }
  if (m.header_count > 0) {
    event->headers = headers.data() + m.first_header;
    event->header_count = m.header_count;
  }
  event->deliveries = m.deliveries;
  if (event->ack.sink != 0) {
    event->ack.delivery = m.delivery;
    event->ack.id = m.id;
  }
}

bool MessageBatch::next_event(pulse_event* event) {
  if (remaining() == 0) return false;
  const Message& m = messages[next_++];
  fill_common(event);
  fill(m, event);
  owner_->events_taken(1, m.bytes);
  return true;
}

size_t MessageBatch::next_events(char* array, size_t stride, size_t max) {
  const size_t count = std::min(remaining(), max);
  if (count == 0) return 0;
  pulse_event common = blank_event(stride);
  fill_common(&common);
  // A host that was made for another version of the struct gets a part of it, or more.
  const bool same =
      stride == sizeof common && reinterpret_cast<uintptr_t>(array) % alignof(pulse_event) == 0;
  uint64_t bytes = 0;
  for (size_t i = 0; i < count; i++) {
    const Message& m = messages[next_++];
    if (same) {
      auto* event = new (array + i * stride) pulse_event(common);
      fill(m, event);
    } else {
      pulse_event event = common;
      fill(m, &event);
      std::memcpy(array + i * stride, &event, event.size);
    }
    bytes += m.bytes;
  }
  owner_->events_taken(count, bytes);
  return count;
}

}  // namespace pulseengine
