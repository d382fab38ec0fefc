#include "pulseengine/ticker.h"

#include "capi/ticker_call.h"

using namespace pulseengine;

struct pulse_ticker : ObjectHandle<pulse_ticker, pulse_node, HostTicker> {
  using ObjectHandle::ObjectHandle;
  static constexpr std::string_view kName = "ticker";
};

namespace pulseengine {

Error take_ticker_name(const char* name, size_t name_len, std::string_view* out) {
  Error error = take_text("a ticker's name", name, name_len, out);
  if (!error.ok()) return error;
  if (out->empty()) return Error(PULSE_ERR_INVALID, "a ticker's name must not be empty");
  if (out->size() > PULSE_TICKER_MAX_NAME_BYTES) {
    return Error::make(PULSE_ERR_TOO_LARGE, 0, "a ticker's name of {} bytes is larger than {}",
                       out->size(), int{PULSE_TICKER_MAX_NAME_BYTES});
  }
  if (is_map_key(*out)) return {};
  return Error(PULSE_ERR_INVALID, "a ticker's name must not contain '='");
}

Error take_interval(int64_t interval_ns, TickerConfig* config) {
  if (interval_ns < PULSE_TICKER_MIN_INTERVAL_NS || interval_ns > kMostTickerNs) {
    return Error::make(PULSE_ERR_INVALID, 0, "interval_ns: {} is not between {} and {}",
                       interval_ns, int{PULSE_TICKER_MIN_INTERVAL_NS}, kMostTickerNs);
  }
  config->interval_ns = interval_ns;
  return {};
}

Error take_catch_up(int32_t catch_up, int32_t reserved, const char* options, TickerConfig* config) {
  Error error = take_switch("catch_up", catch_up, &config->catch_up);
  if (!error.ok() || reserved == 0) return error;
  return Error::make(PULSE_ERR_UNKNOWN_OPTION, 0, "{}: reserved must be 0", options);
}

Error check_takes_part(const pulse_node* node) {
  Error error = check_handle(node);
  if (error.ok() && node->core->config().client_only) {
    error = Error(PULSE_ERR_INVALID, "a client-only node has no tickers");
  }
  return error;
}

}  // namespace pulseengine

namespace {

Error open(pulse_node* node, const char* name, size_t name_len, int64_t interval_ns,
           const pulse_ticker_options* options, Target target, Ref<pulse_ticker>* out) {
  Error error = check_takes_part(node);
  std::string_view text;
  if (error.ok()) error = take_ticker_name(name, name_len, &text);
  TickerConfig config;
  if (error.ok()) error = take_interval(interval_ns, &config);
  pulse_ticker_options o;
  if (error.ok()) error = take_options(options, &o, "pulse_ticker_options");
  if (error.ok()) error = take_catch_up(o.catch_up, o.reserved, "pulse_ticker_options", &config);
  if (!error.ok()) return error;
  auto core = make_ref<HostTicker>(node->core, text, config, std::move(target));
  auto handle = make_ref<pulse_ticker>(Ref<pulse_node>::share(node), core);
  error = add_or_forget(*core, [&] { return node->core->add_ticker(core); });
  if (error.ok()) *out = std::move(handle);
  return error;
}

Error start_stop(PoolNode& node, const char* name, size_t name_len, int64_t timeout_ms,
                 Target target, Ref<Signal> signal, Ref<Operation>* out) {
  std::string_view text;
  Error error = take_ticker_name(name, name_len, &text);
  if (!error.ok()) return error;
  return node.stop_ticker(text, {}, timeout_ms, std::move(target), std::move(signal), out);
}

}  // namespace

extern "C" {

void pulse_ticker_options_init(pulse_ticker_options* options) noexcept {
  if (options != nullptr) *options = PULSE_TICKER_OPTIONS_INIT;
}

pulse_status pulse_ticker_open(pulse_node* node, const char* name, size_t name_len,
                               int64_t interval_ns, const pulse_ticker_options* options,
                               const pulse_target* target, pulse_ticker** ticker,
                               pulse_error* error) noexcept {
  return open_handle(
      take_required_target, target, ticker, error, [&](Target to, Ref<pulse_ticker>* handle) {
        return open(node, name, name_len, interval_ns, options, std::move(to), handle);
      });
}
pulse_status pulse_ticker_open_wait(pulse_node* node, const char* name, size_t name_len,
                                    int64_t interval_ns, const pulse_ticker_options* options,
                                    const pulse_target* target, int64_t timeout_ms,
                                    pulse_ticker** ticker, pulse_error* error) noexcept {
  return open_handle_wait(node, take_required_target, target, timeout_ms, ticker, error,
                          kNotOpenYet, [&](Target to, Ref<pulse_ticker>* handle) {
                            return open(node, name, name_len, interval_ns, options, std::move(to),
                                        handle);
                          });
}

pulse_status pulse_ticker_get_info(pulse_ticker* ticker, pulse_ticker_info* info) noexcept {
  return get_ticker_info(ticker, info);
}

pulse_status pulse_ticker_stop(pulse_ticker* ticker, const pulse_target* target,
                               uint64_t* operation, pulse_error* error) noexcept {
  return stop_ticker(ticker, target, operation, error);
}
pulse_status pulse_ticker_stop_wait(pulse_ticker* ticker, int64_t timeout_ms,
                                    pulse_error* error) noexcept {
  return stop_ticker_wait(ticker, timeout_ms, error);
}

pulse_status pulse_node_stop_ticker(pulse_node* node, const char* name, size_t name_len,
                                    const pulse_target* target, uint64_t* operation,
                                    pulse_error* error) noexcept {
  return start_on(node, target, operation, error,
                  [&](PoolNode& core, Target to, Ref<Operation>* op) {
                    return start_stop(core, name, name_len, 0, std::move(to), nullptr, op);
                  });
}
pulse_status pulse_node_stop_ticker_wait(pulse_node* node, const char* name, size_t name_len,
                                         int64_t timeout_ms, pulse_error* error) noexcept {
  return wait_on(node, timeout_ms, error,
                 [&](PoolNode& core, int64_t left, Ref<Signal> signal, Ref<Operation>* op) {
                   return start_stop(core, name, name_len, left, Target(), std::move(signal), op);
                 });
}

pulse_status pulse_ticker_close(pulse_ticker* ticker) noexcept { return close_handle(ticker); }
pulse_status pulse_ticker_close_wait(pulse_ticker* ticker, int64_t timeout_ms,
                                     pulse_error* error) noexcept {
  return close_handle_wait(ticker, timeout_ms, error);
}
pulse_ticker* pulse_ticker_ref(pulse_ticker* ticker) noexcept { return ref_handle(ticker); }
void pulse_ticker_unref(pulse_ticker* ticker) noexcept { unref_handle(ticker); }

}  // extern "C"
