// Whatever stands in the events of a pool: what can be read lies within the text, and is written
// the same way again.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "pool/pool_message.h"

using namespace pulseengine;

namespace {

void check_within(std::string_view text, std::string_view part) {
  if (part.data() < text.data() || part.data() + part.size() > text.data() + text.size()) abort();
}

// The text begins with what was written.
void check_written(std::string_view text, const String& written) {
  if (text.substr(0, written.size()) != std::string_view(written.data(), written.size())) abort();
}

template <class Message>
bool check_pair(std::string_view text, std::string_view Message::*first,
                std::string_view Message::*second) {
  Message message;
  if (!parse_message(text, &message)) return false;
  check_within(text, message.*first);
  check_within(text, message.*second);
  String written;
  append_message(message, &written);
  check_written(text, written);
  return true;
}

void check_job(std::string_view text) {
  PoolJob job;
  if (!parse_message(text, &job)) return;
  for (std::string_view part : {job.key, job.node, job.payload}) check_within(text, part);
  String written;
  append_message(job, &written);
  // The last byte may be absent, and is not always 0 or 1.
  const bool requeued = written.back() != 0;
  written.pop_back();
  check_written(text, written);
  const char last = text.size() > written.size() ? text[written.size()] : 0;
  if (requeued != (last != 0)) abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  check_job(text);
  const bool pair = check_pair(text, &PoolNotification::key, &PoolNotification::payload);
  if (check_pair(text, &PoolEnvelope::sender, &PoolEnvelope::payload) != pair) abort();
  if (check_pair(text, &PoolAck::event, &PoolAck::error) != pair) abort();
  std::string_view key;
  if (parse_job_key(text, &key)) {
    check_within(text, key);
    String written;
    append_job_key(key, &written);
    check_written(text, written);
  } else if (pair) {
    abort();
  }
  return 0;
}
