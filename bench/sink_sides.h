/* Ways of handling a stream's events as one of a group, with acks. */
#ifndef PULSEENGINE_BENCH_SINK_SIDES_H
#define PULSEENGINE_BENCH_SINK_SIDES_H

#include "events.h"
#include "hiredis_connection.h"
#include "measure.h"

namespace bench {

// A sink with its defaults; each event is acked by itself, inline.  Counts confirmed acks, from
// when the sink receives.
class EngineSink : public Side {
 public:
  EngineSink(Place& place, const Events& events);
  Sample run(double seconds) override;

 private:
  Place& place_;
  const Events& events_;
  Handle<pulse_engine> engine_;
  Handle<pulse_stream> stream_;
  int runs_ = 0;
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
