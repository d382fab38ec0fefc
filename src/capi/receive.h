// What readers and sinks take from the host in the same way.
#ifndef PULSE_CAPI_RECEIVE_H
#define PULSE_CAPI_RECEIVE_H

#include "capi/handle.h"
#include "streaming/filter.h"
#include "streaming/read_start.h"

namespace pulseengine {

// Where reading begins.  The id may be null where the start needs none.
Error take_start(pulse_start start, const pulse_event_id* id, ReadStart* out);
Error take_filter(const char* topic, size_t topic_len, const char* pattern, size_t pattern_len,
                  Filter* out);
// The option block_ms.
Error take_block_ms(int64_t given, int64_t* out);
// A stream that may be added to an object of this engine.
Error check_stream(const Engine& engine, const pulse_stream* stream);

}  // namespace pulseengine

#endif
