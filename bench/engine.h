/* The engine's objects, owned; and what all workloads do with them. */
#ifndef PULSEENGINE_BENCH_ENGINE_H
#define PULSEENGINE_BENCH_ENGINE_H

#include <pulseengine/pulse.h>

#include <memory>
#include <string>

#include "place.h"

namespace bench {

struct Release {
  void operator()(pulse_stream* it) const { pulse_stream_unref(it); }
  void operator()(pulse_sink* it) const { pulse_sink_unref(it); }
  void operator()(pulse_reader* it) const { pulse_reader_unref(it); }
  void operator()(pulse_queue* it) const { pulse_queue_unref(it); }
  void operator()(pulse_map* it) const { pulse_map_unref(it); }
  void operator()(pulse_map_watch* it) const { pulse_map_watch_unref(it); }
  void operator()(pulse_node* it) const { pulse_node_unref(it); }
  void operator()(pulse_worker* it) const { pulse_worker_unref(it); }
  void operator()(pulse_engine* it) const {
    pulse_engine_close_wait(it, 10000, nullptr);
    pulse_engine_unref(it);
  }
};
template <typename T>
using Handle = std::unique_ptr<T, Release>;

constexpr int64_t kWaitMs = 30000;

// Connected when it returns.
Handle<pulse_engine> open_engine(const char* url, int connections = 1, int64_t wait_spin_us = 0);
// max_len as in pulse_stream_options.
Handle<pulse_stream> open_stream(pulse_engine* engine, const std::string& name, int64_t max_len);
pulse_event_id add_and_wait(pulse_stream* stream, const std::string& name,
                            const std::string& payload);

inline bool operator<(const pulse_event_id& a, const pulse_event_id& b) {
  return a.ms != b.ms ? a.ms < b.ms : a.seq < b.seq;
}

}  // namespace bench

#endif
