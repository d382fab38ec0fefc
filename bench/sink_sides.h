/* Ways of handling a stream's events as one of a group, with acks. */
#ifndef PULSEENGINE_BENCH_SINK_SIDES_H
#define PULSEENGINE_BENCH_SINK_SIDES_H

#include "events.h"
#include "hiredis_connection.h"
#include "measure.h"

namespace bench {

enum class Acks {
  one_by_one,  // each event is acked by itself, inline
  in_batches   // a thread polls batches of 256 from a queue, and acks each in one call
};

// A sink with its defaults.  Counts confirmed acks, from when the sink receives.
class EngineSink : public Side {
 public:
  EngineSink(Place& place, const Events& events, Acks acks);
  Sample run(double seconds) override;

 private:
  Place& place_;
  const Events& events_;
  Acks acks_;
  Handle<pulse_engine> engine_;
  Handle<pulse_stream> stream_;
};

// XREADGROUP COUNT n and XACK of all of them, in turns.
class HiredisSink : public Side {
 public:
  HiredisSink(Place& place, const Events& events, int count);
  Sample run(double seconds) override;

 private:
  Place& place_;
  const Events& events_;
  int count_;
  HiredisConnection connection_;
};

}  // namespace bench

#endif
