// Entries of one stream in one reply, on their way to the host.  Included by sink*.cc only.
#ifndef PULSE_STREAMING_SINK_INTAKE_H
#define PULSE_STREAMING_SINK_INTAKE_H

#include "streaming/sink.h"

namespace pulseengine {

class Sink::Intake {
 public:
  Intake(Sink& sink, SinkStream& s, Source source, const Ref<Slab>& slab);

  // Reads the array of entries at which the reply stands.
  void take_entries(Reply& reply);
  // Reads the array of delivery counts that belong to the entries.
  void take_counts(Reply& reply);

  size_t entries() const { return batch_->messages.size(); }
  const pulse_event_id& first() const { return batch_->messages.front().id; }
  const pulse_event_id& last() const { return batch_->messages.back().id; }
  int64_t largest() const;  // event, in bytes

  // Hands over what the host is to see.  When it throws bad_alloc all is as before: the events
  // are still pending under our consumer.
  void deliver();

 private:
  void sort_out();
  bool overdue(const PendingEntry& e, int64_t now) const;

  Sink& sink_;
  SinkStream& s_;
  const Source source_;
  Ref<MessageBatch> batch_;
  Vector<EntryKind> kinds_;
  size_t out_ = 0;  // how many the host is to see
};

}  // namespace pulseengine

#endif
