// An entry of a stream as the host sees it, and batches of them on their way to the host.
#ifndef PULSE_STREAMING_MESSAGE_H
#define PULSE_STREAMING_MESSAGE_H

#include <atomic>

#include "engine/notice.h"
#include "redis/reply.h"
#include "streaming/stream.h"

namespace pulseengine {

struct Message {
  pulse_event_id id{0, 0};
  std::string_view name, payload, topic;  // in the batch's slab
  bool has_topic = false;
  uint32_t first_header = 0, header_count = 0;  // in the batch's headers
  uint32_t bytes = 0;                           // that it counts for in buffers
  uint64_t deliveries = 0;                      // sinks: 1 for a first delivery
  uint32_t delivery = 0;                        // sinks: of the ack handle
};

// Strict order of ids.
inline bool id_less(const pulse_event_id& a, const pulse_event_id& b) {
  return a.ms != b.ms ? a.ms < b.ms : a.seq < b.seq;
}
inline bool id_equal(const pulse_event_id& a, const pulse_event_id& b) {
  return a.ms == b.ms && a.seq == b.seq;
}
// The id right after, and right before (0-0 has none before).
inline pulse_event_id id_after(pulse_event_id id) {
  if (++id.seq == 0) ++id.ms;
  return id;
}
inline pulse_event_id id_before(pulse_event_id id) {
  if (id.ms == 0 && id.seq == 0) return id;
  if (id.seq-- == 0) --id.ms;
  return id;
}
// What to send for "after id".  Redis 5 adds one to the sequence number without a carry: behind the
// greatest one it would begin the millisecond anew.
inline pulse_event_id sent_position(pulse_event_id id) {
  if (id.seq == UINT64_MAX) --id.seq;
  return id;
}
// "ms-seq" as it stands in replies.
bool parse_id(std::string_view text, pulse_event_id* id);
String id_text(const pulse_event_id& id);

// The same for many: those that follow each other are often of one millisecond.
class IdText {
 public:
  // Valid until the next call.
  std::string_view of(const pulse_event_id& id);

 private:
  char text_[48];
  size_t ms_size_ = 0;  // with the dash; 0: none yet
  uint64_t ms_ = 0;
};

enum class EntryKind { message, malformed, deleted };  // deleted: nil fields

// Reads one [id, [field, value, ...]] from the reply.  Headers ("h:<name>") are appended to
// `headers`.  malformed: no `n` or no `p`; the id is set if there is one.
EntryKind parse_entry(Reply& reply, Message* message, Vector<pulse_header>* headers);

// Shut when a stream is not read any more: what is on its way of it is not delivered.
class BatchGate : public RefCounted {
 public:
  void shut() noexcept { shut_.store(true, std::memory_order_release); }
  bool is_shut() const noexcept { return shut_.load(std::memory_order_acquire); }

 private:
  std::atomic<bool> shut_{false};
};

// The messages of one stream in one reply.
class MessageBatch final : public Delivery {
 public:
  MessageBatch(Ref<Deliverer> owner, Ref<SharedTarget> target, Ref<Stream> stream,
               uint32_t stream_index, Ref<Slab> slab, Ref<BatchGate> gate = nullptr)
      : owner_(std::move(owner)),
        target_(std::move(target)),
        stream_(std::move(stream)),
        stream_index_(stream_index),
        slab_(std::move(slab)),
        gate_(std::move(gate)) {}
  // Behind a shut gate, gives the credit of what was not taken back.
  ~MessageBatch() override;

  Vector<Message> messages;
  Vector<pulse_header> headers;

  const Target& target() const override { return target_->target(); }
  bool next_event(pulse_event* event) override;
  size_t next_events(char* array, size_t stride, size_t max) override;
  size_t remaining() const override;
  const Ref<Slab>& slab() const { return slab_; }
  // Before it is delivered: copies what is left when it is but a small part of the slab, so that
  // few events do not keep a large reply alive.
  void fit();

 private:
  void fill_common(pulse_event* event) const;
  void fill(const Message& message, pulse_event* event) const;

  Ref<Deliverer> owner_;
  Ref<SharedTarget> target_;
  Ref<Stream> stream_;
  const uint32_t stream_index_;
  Ref<Slab> slab_;
  Ref<BatchGate> gate_;
  size_t next_ = 0;
};

}  // namespace pulseengine

#endif
