#include "pool/pool_message.h"

namespace pulseengine {
namespace {

void put_number(String* out, uint64_t number, int bytes) {
  for (int i = 0; i < bytes; i++) out->push_back(static_cast<char>(number >> (8 * i)));
}

void put(String* out, std::string_view text) {
  put_number(out, text.size(), 4);
  out->append(text.data(), text.size());
}

bool take_number(std::string_view* in, int bytes, uint64_t* number) {
  if (in->size() < static_cast<size_t>(bytes)) return false;
  *number = 0;
  for (int i = 0; i < bytes; i++) {
    *number |= uint64_t{static_cast<unsigned char>((*in)[static_cast<size_t>(i)])} << (8 * i);
  }
  in->remove_prefix(static_cast<size_t>(bytes));
  return true;
}

bool take(std::string_view* in, std::string_view* text) {
  uint64_t size = 0;
  if (!take_number(in, 4, &size) || size > in->size()) return false;
  *text = in->substr(0, size);
  in->remove_prefix(size);
  return true;
}

bool take_two(std::string_view text, std::string_view* first, std::string_view* second) {
  return take(&text, first) && take(&text, second);
}

}  // namespace

void append_job(String* out, const JobMessage& job) {
  put(out, job.key);
  put(out, job.node);
  put(out, job.payload);
  put_number(out, static_cast<uint64_t>(job.created_ns), 8);
  out->push_back(job.requeued ? '\1' : '\0');
}

void append_job_key(String* out, std::string_view key) { put(out, key); }

void append_notification(String* out, std::string_view key, std::string_view payload) {
  put(out, key);
  put(out, payload);
}

void append_envelope(String* out, std::string_view sender, std::string_view payload) {
  put(out, sender);
  put(out, payload);
}

void append_ack(String* out, std::string_view event, std::string_view error) {
  put(out, event);
  put(out, error);
}

bool parse_job(std::string_view text, JobMessage* out) {
  uint64_t created = 0;
  if (!take(&text, &out->key) || !take(&text, &out->node) || !take(&text, &out->payload) ||
      !take_number(&text, 8, &created)) {
    return false;
  }
  out->created_ns = static_cast<int64_t>(created);
  out->requeued = !text.empty() && text[0] != '\0';  // absent in events of older peers
  return true;
}

bool parse_job_key(std::string_view text, std::string_view* key) { return take(&text, key); }

bool parse_notification(std::string_view text, std::string_view* key, std::string_view* payload) {
  return take_two(text, key, payload);
}
bool parse_envelope(std::string_view text, std::string_view* sender, std::string_view* payload) {
  return take_two(text, sender, payload);
}
bool parse_ack(std::string_view text, std::string_view* event, std::string_view* error) {
  return take_two(text, event, error);
}

}  // namespace pulseengine
