#include "pulseengine/engine.h"

#include "capi/call.h"
#include "streaming/stream_ops.h"

using namespace pulseengine;

namespace {

constexpr int64_t kMiB = 1 << 20;

Error take_name_option(std::string_view what, const char* given, size_t most, String* out) {
  if (given == nullptr) return {};
  std::string_view text(given);
  if (text.size() > most)
    return Error::make(PULSE_ERR_INVALID, 0, "{} is longer than {} bytes", what, most);
  *out = text;
  return {};
}

Error check_client_name(std::string_view name) {
  for (char c : name) {
    if (c < '!' || c > '~') {
      return Error(PULSE_ERR_INVALID, "client_name: only printable ASCII without spaces");
    }
  }
  return {};
}

// The options, checked.  Everything they hand over is in *config, whatever is wrong.
Error take_engine_options(const pulse_engine_options* given, EngineConfig* config) {
  pulse_engine_options o;
  const Error unfit = take_options(given, &o, "pulse_engine_options");
  Error error;
  config->log = LogTarget(o.log, o.log_user_data, o.log_destroy);
  config->thread_start = o.thread_start;
  config->thread_start_user_data = o.thread_start_user_data;
  if (o.state_target != nullptr) {
    Target target;
    error = take_required_target(o.state_target, &target);
    if (!error.ok()) return error;
    config->state_target = make_ref<SharedTarget>(std::move(target));
  }
  if (!unfit.ok()) return unfit;
  if (o.reserved != 0) {
    return Error(PULSE_ERR_UNKNOWN_OPTION, "pulse_engine_options: reserved must be 0");
  }
  if (o.driver != PULSE_DRIVER_THREAD && o.driver != PULSE_DRIVER_MANUAL) {
    return Error::make(PULSE_ERR_INVALID, 0, "driver {} is not known", o.driver);
  }
  config->driver = o.driver;
  if (o.log_level != PULSE_LOG_NONE && (o.log_level < 0 || o.log_level > PULSE_LOG_DEBUG)) {
    return Error::make(PULSE_ERR_INVALID, 0, "log_level {} is not known", o.log_level);
  }
  config->log_level = o.log_level == PULSE_LOG_DEFAULT ? PULSE_LOG_WARNING : o.log_level;
  ServerConfig& server = config->server;
  int64_t connections = 0, read_connections = 0;
  struct Number {
    const char* name;
    int64_t given, standard, least, most;
    bool forever;
    int64_t* out;
  } numbers[] = {
      {"connect_timeout_ms", o.connect_timeout_ms, 5000, 1, kMaxMs, false,
       &server.connect_timeout_ms},
      {"command_timeout_ms", o.command_timeout_ms, 10000, 1, kMaxMs, true,
       &config->command_timeout_ms},
      {"max_inflight", o.max_inflight, 65536, 1, int64_t{1} << 30, true, &config->max_inflight},
      {"max_buffer_bytes", o.max_buffer_bytes, 64 * kMiB, 1, 1024 * kMiB, false,
       &config->max_buffer_bytes},
      {"max_payload_bytes", o.max_payload_bytes, 64 * kMiB, 1, 512 * kMiB, false,
       &config->max_payload_bytes},
      {"max_reply_bytes", o.max_reply_bytes, 512 * kMiB, 1024, int64_t{1} << 40, false,
       &server.max_reply_bytes},
      {"reconnect_min_ms", o.reconnect_min_ms, 10, 1, kMaxMs, false, &server.reconnect_min_ms},
      {"reconnect_max_ms", o.reconnect_max_ms, 5000, 1, kMaxMs, false, &server.reconnect_max_ms},
      {"wait_spin_us", o.wait_spin_us, 0, 1, 1000000, false, &config->wait_spin_us},
      {"command_connections", o.command_connections, 1, 1, 64, false, &connections},
      {"max_read_connections", o.max_read_connections, 8, 1, 256, false, &read_connections},
  };
  for (const Number& n : numbers) {
    error = take_number(n.name, n.given, n.standard, n.least, n.most, n.forever, n.out);
    if (!error.ok()) return error;
  }
  server.command_timeout_ms = config->command_timeout_ms;
  config->command_connections = static_cast<int>(connections);
  config->max_read_connections = static_cast<int>(read_connections);
  if (server.reconnect_max_ms < server.reconnect_min_ms) {
    if (o.reconnect_max_ms != 0) {
      return Error(PULSE_ERR_INVALID, "reconnect_max_ms is less than reconnect_min_ms");
    }
    server.reconnect_max_ms = server.reconnect_min_ms;
  }
  error = take_switch("fail_fast", o.fail_fast, &server.fail_fast);
  if (!error.ok()) return error;
  server.client_name = "pulseengine";
  error = take_name_option("client_name", o.client_name, 256, &server.client_name);
  if (error.ok()) error = check_client_name(server.client_name);
  if (error.ok()) error = take_name_option("key_prefix", o.key_prefix, 512, &config->key_prefix);
  if (error.ok())
    error = parse_url(o.url == nullptr ? "redis://127.0.0.1:6379" : o.url, &server.url);
  return error;
}

}  // namespace

extern "C" {

void pulse_engine_options_init(pulse_engine_options* options) noexcept {
  if (options != nullptr) *options = PULSE_ENGINE_OPTIONS_INIT;
}

pulse_status pulse_engine_open(const pulse_engine_options* options, pulse_engine** engine,
                               pulse_error* error) noexcept {
  return guard(error, [&]() -> Error {
    EngineConfig config;
    Error problem = take_engine_options(options, &config);
    if (problem.ok() && engine == nullptr) problem = null_argument("engine");
    if (!problem.ok()) return problem;
    Ref<Engine> core;
    problem = Engine::open(std::move(config), &core);
    if (!problem.ok()) return problem;
    try {
      *engine = new pulse_engine(core);
    } catch (const std::bad_alloc&) {
      core->abandon();
      throw;
    }
    return {};
  });
}

pulse_status pulse_engine_ready_wait(pulse_engine* engine, int64_t timeout_ms,
                                     pulse_error* error) noexcept {
  return guard(error, [&]() -> Error {
    if (engine == nullptr) return null_argument("engine");
    Error problem = check_engine(*engine->core);
    if (problem.ok()) problem = check_may_wait(*engine->core);
    return problem.ok() ? engine->core->ready_wait(timeout_ms) : problem;
  });
}

pulse_status pulse_engine_ping(pulse_engine* engine, const pulse_target* target,
                               uint64_t* operation, pulse_error* error) noexcept {
  return start_on(engine, target, operation, error,
                  [](Engine& core, Target to, Ref<Operation>* op) {
                    return ping(core, 0, std::move(to), nullptr, op);
                  });
}

pulse_status pulse_engine_ping_wait(pulse_engine* engine, uint64_t* microseconds,
                                    int64_t timeout_ms, pulse_error* error) noexcept {
  return wait_on(
      engine, timeout_ms, error,
      [](Engine& core, int64_t left, Ref<Signal> signal, Ref<Operation>* op) {
        return ping(core, left, Target(), std::move(signal), op);
      },
      [&](Operation& op) {
        if (op.status() == PULSE_OK && microseconds != nullptr) *microseconds = op.count;
      });
}

pulse_status pulse_operation_cancel(pulse_engine* engine, uint64_t operation) noexcept {
  return guard(nullptr, [&]() -> Error {
    if (engine == nullptr) return null_argument("engine");
    return Error(engine->core->cancel(operation), {});
  });
}

pulse_status pulse_engine_close(pulse_engine* engine) noexcept {
  return guard(nullptr, [&]() -> Error {
    if (engine == nullptr) return null_argument("engine");
    Error problem = check_not_forked(*engine->core);
    if (problem.ok()) engine->core->close();
    return problem;
  });
}

pulse_status pulse_engine_close_wait(pulse_engine* engine, int64_t timeout_ms,
                                     pulse_error* error) noexcept {
  return guard(error, [&]() -> Error {
    if (engine == nullptr) return null_argument("engine");
    Error problem = check_not_forked(*engine->core);
    return problem.ok() ? engine->core->close_wait(timeout_ms) : problem;
  });
}

pulse_engine* pulse_engine_ref(pulse_engine* engine) noexcept { return ref_handle(engine); }
void pulse_engine_unref(pulse_engine* engine) noexcept { unref_handle(engine); }

int32_t pulse_engine_poll_fd(pulse_engine* engine) noexcept {
  return engine == nullptr || engine->core->forked() ? -1 : engine->core->poll_fd();
}

int64_t pulse_engine_poll_timeout_ms(pulse_engine* engine) noexcept {
  return engine == nullptr || engine->core->forked() ? -1 : engine->core->poll_timeout_ms();
}

int64_t pulse_engine_run_once(pulse_engine* engine, size_t max_events, int64_t budget_us) noexcept {
  if (engine == nullptr || budget_us < 0) return PULSE_ERR_INVALID;
  if (engine->core->forked()) return PULSE_ERR_FORKED;
  return engine->core->run_once(max_events, budget_us);
}

pulse_status pulse_engine_wakeup(pulse_engine* engine) noexcept {
  if (engine == nullptr) return PULSE_ERR_INVALID;
  if (engine->core->forked()) return PULSE_ERR_FORKED;
  if (engine->core->closed()) return PULSE_ERR_CLOSED;
  engine->core->wakeup();
  return PULSE_OK;
}

pulse_status pulse_engine_get_metrics(pulse_engine* engine,
                                      pulse_engine_metrics* metrics) noexcept {
  return guard(nullptr, [&]() -> Error {
    if (engine == nullptr) return null_argument("engine");
    pulse_engine_metrics now{};
    now.size = sizeof now;
    engine->core->metrics(&now);
    return give_struct(now, metrics, "pulse_engine_metrics");
  });
}

size_t pulse_engine_get_server(pulse_engine* engine, char* text, size_t capacity) noexcept {
  size_t length = 0;
  guard(nullptr, [&]() -> Error {
    if (engine == nullptr || text == nullptr) return null_argument("engine and text");
    String server = engine->core->server_text();
    if (server.size() >= capacity) return Error(PULSE_ERR_TOO_LARGE, {});
    std::memcpy(text, server.c_str(), server.size() + 1);
    length = server.size();
    return {};
  });
  return length;
}

}  // extern "C"
