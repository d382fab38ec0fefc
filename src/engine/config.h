// The engine's options, checked and with their defaults filled in.
#ifndef PULSE_ENGINE_CONFIG_H
#define PULSE_ENGINE_CONFIG_H

#include "engine/delivery.h"
#include "pulseengine/engine.h"
#include "redis/config.h"

namespace pulseengine {

struct EngineConfig {
  ServerConfig server;
  pulse_driver driver = PULSE_DRIVER_THREAD;
  int64_t command_timeout_ms = 10000;
  int64_t max_inflight = 65536;
  int64_t max_buffer_bytes = 64 << 20;
  int64_t max_payload_bytes = 64 << 20;
  int command_connections = 1;
  int max_read_connections = 8;
  String key_prefix;
  Ref<SharedTarget> state_target;
  pulse_log_level log_level = PULSE_LOG_WARNING;
  pulse_log_fn log = nullptr;
  void* log_user_data = nullptr;
  pulse_destroy_fn log_destroy = nullptr;  // run by the Engine's destructor
  void (*thread_start)(void*) = nullptr;
  void* thread_start_user_data = nullptr;
};

}  // namespace pulseengine

#endif
