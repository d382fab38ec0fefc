// One stream of a sink: where it stands, and what the sink holds of it.
#ifndef PULSE_STREAMING_SINK_STREAM_H
#define PULSE_STREAMING_SINK_STREAM_H

#include "engine/operation.h"
#include "streaming/message.h"
#include "streaming/pending_table.h"
#include "streaming/stream.h"

namespace pulseengine {

// One call of ack or release: completes its operation when all of its events are settled.
// Loop thread: each of its events holds a reference, and the count is not for several threads.
class SinkCall : public Allocated {
 public:
  SinkCall(Ref<Operation> operation, size_t count)
      : operation_(std::move(operation)), left_(count) {
    results_.resize(count);
  }
  SinkCall(const SinkCall&) = delete;
  SinkCall& operator=(const SinkCall&) = delete;

  void ref() noexcept { references_++; }
  void unref() noexcept {
    if (--references_ == 0) delete this;
  }

  void set_id(size_t index, const pulse_event_id& id) { results_[index].id = id; }
  // `index` was acked or given back, or `error` says why not.
  void settle(size_t index, const Error& error);
  Operation& operation() { return *operation_; }

 private:
  ~SinkCall() = default;

  uint32_t references_ = 1;
  Ref<Operation> operation_;
  Vector<pulse_result> results_;
  Error first_error_;
  size_t left_;
  uint64_t done_ = 0;
};

// One event on its way to be acked or released.
struct SettleItem {
  pulse_event_id id{0, 0};
  uint32_t delivery = 0;
  uint32_t index = 0;    // in the call
  Ref<SinkCall> call;    // null: the sink's own doing (filtered and malformed events, close)
  bool seen = true;      // release: the host has taken it
  bool refused = false;  // the server says that it is not ours
};

// Items that travel in one command.
class SettleBatch : public RefCounted {
 public:
  Vector<SettleItem> items;
  int formatted = 0;  // how often the command was written
  bool evaluated = false;
  // Whether the command may have been executed before the one that was answered.
  bool may_be_second() const { return formatted > (evaluated ? 2 : 1); }
};

// Loop thread.
class SinkStream : public RefCounted {
 public:
  enum class State : uint8_t {
    waiting,  // for its time to join
    joining,  // the join script is under way
    joined,
    leaving,  // remove_stream
    removed,
  };

  SinkStream(Ref<Stream> of, uint32_t number, std::string_view sink);

  const Ref<Stream> stream;
  const uint32_t index;  // never used again in this sink
  const String consumers_map, consumers_channel, lease_key, marker_key;
  String start;  // for XGROUP CREATE

  State state = State::waiting;
  bool joined_before = false;
  int64_t next_join_ms = 0;
  int64_t joined_ms = 0;
  int64_t backoff_ms = 0;
  Ref<Operation> joining_operation, leaving_operation;
  bool leave_waits = false;  // for the end of the reads under way
  bool leave_sent = false;
  String previous;                 // consumer whose place is taken with the next join
  Vector<pulse_event_id> reclaim;  // to be put back after the next join
  bool reclaim_anew = false;       // they will be delivered once more

  // All entries up to here were acked when it was last looked at.
  pulse_event_id restart{0, 0};
  bool restart_known = false;

  PendingTable pending;
  const Ref<BatchGate> gate = make_ref<BatchGate>();  // shut when the stream is removed

  // What the host settles, gathered in this turn.
  Vector<SettleItem> acks, releases;
  // Acks of events whose ack is under way already: they end as that one does.
  Vector<SettleItem> followers;
  size_t settling = 0;  // commands under way

  pulse_status upkeep_error = PULSE_OK;  // told last, of what goes on beside the reading

  // Own pending events that are not known here are looked for, from `recover_from` on.
  bool recover_needed = false;
  bool recovering = false;
  pulse_event_id recover_from{0, 0};

  // Whether entries were trimmed unread is looked up before the next read.
  bool gap_check_needed = false;
  bool gap_checking = false;
  pulse_event_id last_read{0, 0};  // newest id of the last batch
  pulse_event_id gap_after{0, 0},
      gap_before{0, 0};               // around the first full batch since the last look-up
  pulse_event_id gap_reported{0, 0};  // ends of gaps up to here were told

  bool sweeping = false;
  int64_t next_sweep_ms = 0;
  bool stand_back = false;  // the last sweep took over what the filter leaves to others
  String sweep_cursor = "0-0";

  bool renewing = false;
  int64_t next_renewal_ms = 0;

  // May events be read now?
  bool readable() const {
    return state == State::joined && !recover_needed && !recovering && !gap_check_needed;
  }
};

}  // namespace pulseengine

#endif
