// What a worker tells the server of its jobs (pool_update.lua).
#ifndef PULSE_POOL_JOB_UPDATE_H
#define PULSE_POOL_JOB_UPDATE_H

#include "pool/job.h"
#include "redis/writer.h"

namespace pulseengine {

struct JobUpdate {
  enum class What : uint8_t { own, take, end, drop, move, ack, leaving, gone };
  What what = What::ack;
  String text;  // move: the event; ack: the answer
  Ref<PoolJob> job;
  // ack only:
  String router, dispatcher;  // keys of their streams
  String pool_event;          // empty: the router did not say
  String dispatched;          // the answer to the dispatcher
  String key, guard;          // of the dispatch; empty: the router did not say

  bool claims() const { return what == What::own || what == What::take; }
  size_t keys() const { return what == What::ack ? 2 : 0; }
  size_t arguments() const;
  // What the server has to handle for it, payloads above all.
  size_t bytes() const;
  void append_keys(CommandWriter& w) const;
  void append_arguments(CommandWriter& w) const;
};

// Those of one worker that are sent together; they stay as they are until they were answered.
class UpdateBatch final : public RefCounted {
 public:
  UpdateBatch(const String& worker, const String& stream, uint64_t incarnation)
      : worker(worker), stream(stream), incarnation(incarnation) {}
  const String worker, stream;  // its id, the key of its stream
  const uint64_t incarnation;   // of the worker
  bool again = false;           // may have been done before
  Vector<JobUpdate> updates;
  pulse_event_id taken{0, 0};  // the last event of the stream that all this comes from
  String unread;               // the id after it; empty: the stream stays as it is
};

// How much a script run may still take up.
struct UpdateRoom {
  size_t updates = 1000;
  size_t bytes = size_t{1} << 20;
  bool empty() const { return updates == 0 || bytes == 0; }
  void take(const JobUpdate& update) {
    updates -= updates > 0 ? 1 : 0;
    bytes -= update.bytes() < bytes ? update.bytes() : bytes;
  }
};

}  // namespace pulseengine

#endif
