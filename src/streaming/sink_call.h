// An ack or release on its way to the loop.  Included by sink*.cc only.
#ifndef PULSE_STREAMING_SINK_CALL_H
#define PULSE_STREAMING_SINK_CALL_H

#include "streaming/sink.h"

namespace pulseengine {

struct Sink::Call {
  Ref<Operation> operation;
  Vector<pulse_ack_handle> handles;
  bool ack = true;
};

}  // namespace pulseengine

#endif
