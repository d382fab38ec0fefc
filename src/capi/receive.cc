#include "capi/receive.h"

#include "capi/guard.h"

namespace pulseengine {

Error take_start(pulse_start start, const pulse_event_id* id, ReadStart* out) {
  if (start < PULSE_START_NEWEST || start > PULSE_START_TIME) {
    return Error::make(PULSE_ERR_INVALID, 0, "start: {} is no start position", start);
  }
  out->start = start;
  if (start == PULSE_START_AFTER || start == PULSE_START_TIME) {
    if (id == nullptr) return null_argument("start_id");
    out->id = *id;
  }
  return {};
}

Error take_filter(const char* topic, size_t topic_len, const char* pattern, size_t pattern_len,
                  Filter* out) {
  if (topic != nullptr && pattern != nullptr) {
    return Error(PULSE_ERR_INVALID, "topic and topic_pattern exclude each other");
  }
  std::string_view text;
  Error error = take_text("topic", topic, topic_len, &text);
  if (error.ok() && topic != nullptr) out->set_topic(text);
  if (error.ok()) error = take_text("topic_pattern", pattern, pattern_len, &text);
  if (error.ok() && pattern != nullptr) error = out->set_pattern(text);
  return error;
}

Error take_block_ms(int64_t given, int64_t* out) {
  // "For ever": read again now and then, to notice a dead server.
  constexpr int64_t kLongBlockMs = 60000;
  Error error = take_number("block_ms", given, 5000, 1, kMaxMs, true, out);
  if (error.ok() && *out < 0) *out = kLongBlockMs;
  return error;
}

Error check_stream(const Engine& engine, const pulse_stream* stream) {
  if (stream == nullptr) return null_argument("stream");
  if (&stream->core->engine() == &engine) return {};
  return Error(PULSE_ERR_INVALID, "the stream belongs to another engine");
}

}  // namespace pulseengine
