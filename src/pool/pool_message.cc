#include "pool/pool_message.h"

#include <cassert>

namespace pulseengine {
namespace {

// Little endian.
template <class Unsigned>
void append_number(Unsigned number, String* out) {
  for (size_t i = 0; i < sizeof number; i++) {
    out->push_back(static_cast<char>(number >> (8 * i) & 0xFF));
  }
}

void append_text(std::string_view text, String* out) {
  assert(text.size() <= INT32_MAX);
  append_number(static_cast<uint32_t>(text.size()), out);
  out->append(text.data(), text.size());
}

template <class Unsigned>
bool take_number(std::string_view* text, Unsigned* number) {
  if (text->size() < sizeof *number) return false;
  *number = 0;
  for (size_t i = 0; i < sizeof *number; i++) {
    *number |= static_cast<Unsigned>(static_cast<unsigned char>((*text)[i])) << (8 * i);
  }
  text->remove_prefix(sizeof *number);
  return true;
}

bool take_text(std::string_view* text, std::string_view* part) {
  uint32_t size;
  if (!take_number(text, &size) || size > INT32_MAX || size > text->size()) return false;
  *part = text->substr(0, size);
  text->remove_prefix(size);
  return true;
}

void append_pair(std::string_view first, std::string_view second, String* out) {
  out->reserve(out->size() + 8 + first.size() + second.size());
  append_text(first, out);
  append_text(second, out);
}

bool take_pair(std::string_view text, std::string_view* first, std::string_view* second) {
  return take_text(&text, first) && take_text(&text, second);
}

}  // namespace

void append_message(const JobMessage& job, String* out) {
  out->reserve(out->size() + 21 + job.key.size() + job.node.size() + job.payload.size());
  append_text(job.key, out);
  append_text(job.node, out);
  append_text(job.payload, out);
  append_number(static_cast<uint64_t>(job.created_ns), out);
  out->push_back(job.requeued ? 1 : 0);
}

void append_message(const PoolNotification& notification, String* out) {
  append_pair(notification.key, notification.payload, out);
}

void append_message(const PoolEnvelope& envelope, String* out) {
  append_pair(envelope.sender, envelope.payload, out);
}

void append_message(const PoolAck& ack, String* out) { append_pair(ack.event, ack.error, out); }

void append_job_key(std::string_view key, String* out) { append_text(key, out); }

bool parse_message(std::string_view text, JobMessage* out) {
  uint64_t created;
  if (!take_text(&text, &out->key) || !take_text(&text, &out->node) ||
      !take_text(&text, &out->payload) || !take_number(&text, &created)) {
    return false;
  }
  out->created_ns = static_cast<int64_t>(created);
  out->requeued = !text.empty() && text.front() != 0;
  return true;
}

bool parse_message(std::string_view text, PoolNotification* out) {
  return take_pair(text, &out->key, &out->payload);
}

bool parse_message(std::string_view text, PoolEnvelope* out) {
  return take_pair(text, &out->sender, &out->payload);
}

bool parse_message(std::string_view text, PoolAck* out) {
  return take_pair(text, &out->event, &out->error);
}

bool parse_job_key(std::string_view text, std::string_view* key) { return take_text(&text, key); }

std::optional<std::string_view> header_of(const pulse_event& event, std::string_view name) {
  for (size_t i = 0; i < event.header_count; i++) {
    const pulse_header& header = event.headers[i];
    if (std::string_view(header.name, header.name_len) != name) continue;
    return std::string_view(header.value, header.value_len);
  }
  return {};
}

}  // namespace pulseengine
