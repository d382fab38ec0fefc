// How to reach and greet the server; the same for all connections of an engine.
#ifndef PULSE_REDIS_CONFIG_H
#define PULSE_REDIS_CONFIG_H

#include <atomic>

#include "redis/url.h"

namespace pulseengine {

struct ServerConfig {
  Url url;
  String client_name;
  int64_t connect_timeout_ms = 5000;
  int64_t command_timeout_ms = 10000;  // negative: none
  int64_t reconnect_min_ms = 10;
  int64_t reconnect_max_ms = 5000;
  int64_t max_reply_bytes = 512 << 20;
  bool fail_fast = false;
};

// Written by the connections, read by any thread.
struct ConnectionCounters {
  std::atomic<uint64_t> commands_sent{0}, bytes_sent{0}, bytes_received{0}, writes{0}, connects{0},
      disconnects{0}, errors_replied{0};
  std::atomic<int32_t> open{0};
};

}  // namespace pulseengine

#endif
