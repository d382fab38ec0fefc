/* A stream that is full of events, for all who read. */
#ifndef PULSEENGINE_BENCH_EVENTS_H
#define PULSEENGINE_BENCH_EVENTS_H

#include <string>
#include <vector>

#include "engine.h"

namespace bench {

struct Events {
  std::string stream;
  std::string key;                  // of the stream in Redis
  std::vector<pulse_event_id> ids;  // in order
  std::vector<std::string> id_texts;
};

// With names and payloads as those of adds.
Events fill_stream(Place& place, const std::string& stream, size_t count);

}  // namespace bench

#endif
