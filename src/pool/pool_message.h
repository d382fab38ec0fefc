// The payloads of the events that pools, nodes and workers send each other.
//
// Parsing gives views into the text.  It is false for a text that ends too early; bytes behind the
// end are ignored, as peers of other versions may know further fields.
#ifndef PULSE_POOL_POOL_MESSAGE_H
#define PULSE_POOL_POOL_MESSAGE_H

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/alloc.h"
#include "pulseengine/event.h"

namespace pulseengine {

// The names of these events.
namespace pool_event {
constexpr std::string_view kInit = "i";        // to a node: its id, bare; to a worker: an envelope
constexpr std::string_view kStart = "j";       // JobMessage
constexpr std::string_view kStop = "s";        // a key
constexpr std::string_view kNotify = "n";      // PoolNotification
constexpr std::string_view kAck = "a";         // PoolAck, in an envelope
constexpr std::string_view kDispatched = "d";  // PoolAck
}  // namespace pool_event

// Their headers, among nodes of this engine.
namespace pool_header {
constexpr std::string_view kEvent = "event";  // to a worker: the pool's event that this stands for
// To routers and workers: the guard of a dispatch.
constexpr std::string_view kGuard = "guard";
// To a router: the worker has acked the pool's event itself.
constexpr std::string_view kSettled = "settled";
// To a dispatcher: the worker has released the guard.
constexpr std::string_view kReleased = "released";
}  // namespace pool_header
std::optional<std::string_view> header_of(const pulse_event& event, std::string_view name);

struct JobMessage {
  std::string_view key;
  std::string_view node;  // of who dispatched it
  std::string_view payload;
  int64_t created_ns = 0;
  bool requeued = false;  // old peers do not write it: then false
};

struct PoolNotification {
  std::string_view key, payload;
};

// What goes to a worker, and back from it.
struct PoolEnvelope {
  std::string_view sender;   // the node, or the worker
  std::string_view payload;  // of an init: the worker's id
};

struct PoolAck {
  std::string_view event;  // the id of what is acked
  std::string_view error;  // empty: success
};

// No text may be longer than INT32_MAX.
void append_message(const JobMessage& job, String* out);
void append_message(const PoolNotification& notification, String* out);
void append_message(const PoolEnvelope& envelope, String* out);
void append_message(const PoolAck& ack, String* out);
void append_job_key(std::string_view key, String* out);

bool parse_message(std::string_view text, JobMessage* out);
bool parse_message(std::string_view text, PoolNotification* out);
bool parse_message(std::string_view text, PoolEnvelope* out);
bool parse_message(std::string_view text, PoolAck* out);
bool parse_job_key(std::string_view text, std::string_view* key);

}  // namespace pulseengine

#endif
