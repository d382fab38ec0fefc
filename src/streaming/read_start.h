// Where reading of a stream begins.
#ifndef PULSE_STREAMING_READ_START_H
#define PULSE_STREAMING_READ_START_H

#include "pulseengine/reader.h"

namespace pulseengine {

struct ReadStart {
  pulse_start start = PULSE_START_NEWEST;
  pulse_event_id id{0, 0};  // for AFTER and TIME
};

}  // namespace pulseengine

#endif
