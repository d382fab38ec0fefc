// The engine's options, checked and with their defaults filled in.
#ifndef PULSE_ENGINE_CONFIG_H
#define PULSE_ENGINE_CONFIG_H

#include "engine/delivery.h"
#include "pulseengine/engine.h"
#include "redis/config.h"

namespace pulseengine {

// The host's log function, taken over: destroy runs once, when the holder goes.
class LogTarget {
 public:
  LogTarget() = default;
  LogTarget(pulse_log_fn log, void* user_data, pulse_destroy_fn destroy)
      : log_(log), user_data_(user_data), destroy_(destroy) {}
  LogTarget(LogTarget&& other) noexcept
      : log_(other.log_),
        user_data_(other.user_data_),
        destroy_(std::exchange(other.destroy_, nullptr)) {}
  LogTarget& operator=(LogTarget&& other) noexcept {
    std::swap(log_, other.log_);
    std::swap(user_data_, other.user_data_);
    std::swap(destroy_, other.destroy_);
    return *this;
  }
  ~LogTarget() {
    if (destroy_ != nullptr) destroy_(user_data_);
  }

  void write(pulse_log_level level, std::string_view text) const noexcept {
    if (log_ != nullptr) log_(level, text.data(), text.size(), user_data_);
  }

 private:
  pulse_log_fn log_ = nullptr;
  void* user_data_ = nullptr;
  pulse_destroy_fn destroy_ = nullptr;
};

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
  LogTarget log;
  void (*thread_start)(void*) = nullptr;
  void* thread_start_user_data = nullptr;
  int64_t wait_spin_us = 0;
};

}  // namespace pulseengine

#endif
