// The calls on a stream: add, add_batch, remove, destroy, info.
//
// Any thread.  Each takes up an operation that was made for it and submits its
// commands; when it answers an error, nothing was accepted.
#ifndef PULSE_STREAMING_STREAM_OPS_H
#define PULSE_STREAMING_STREAM_OPS_H

#include "streaming/stream.h"

namespace pulseengine {

struct AddItem {
  std::string_view name, payload;
  const Ref<Bytes>* payload_bytes = nullptr;  // instead of payload
  bool has_topic = false;
  std::string_view topic;
  const pulse_header* headers = nullptr;
  size_t header_count = 0;

  std::string_view payload_view() const {
    return payload_bytes != nullptr ? (*payload_bytes)->view() : payload;
  }
};

// What is wrong with an event, before anything is accepted.
Error check_any_item(const Engine& engine, const AddItem& item);
inline Error check_item(const Engine& engine, const AddItem& item) {
  // Nearly always.
  if (!item.name.empty() && item.name.size() <= PULSE_MAX_NAME_BYTES &&
      item.topic.size() <= PULSE_MAX_NAME_BYTES && item.header_count == 0 &&
      item.payload_view().size() <= static_cast<size_t>(engine.config().max_payload_bytes)) {
    return {};
  }
  return check_any_item(engine, item);
}

// Each returns the operation, accepted.  A signal, if given, is for a blocking twin.  Of an add its
// id is told as well, for those who do not need the operation.
Error add_event(Stream& stream, const AddItem& item, bool only_if_exists, int64_t timeout_ms,
                Target&& target, Ref<Signal> signal, Ref<Operation>* out, uint64_t* id);
Error add_batch(Stream& stream, const AddItem* items, size_t count, bool only_if_exists,
                int64_t timeout_ms, Target target, Ref<Signal> signal, Ref<Operation>* out);
Error remove_events(Stream& stream, const pulse_event_id* ids, size_t count, int64_t timeout_ms,
                    Target target, Ref<Signal> signal, Ref<Operation>* out);
Error destroy_stream(Stream& stream, int64_t timeout_ms, Target target, Ref<Signal> signal,
                     Ref<Operation>* out);
Error stream_info(Stream& stream, int64_t timeout_ms, Target target, Ref<Signal> signal,
                  Ref<Operation>* out);
Error ping(Engine& engine, int64_t timeout_ms, Target target, Ref<Signal> signal,
           Ref<Operation>* out);

}  // namespace pulseengine

#endif
