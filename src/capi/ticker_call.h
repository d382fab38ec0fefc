// What calls on tickers and on schedules have in common.
#ifndef PULSE_CAPI_TICKER_CALL_H
#define PULSE_CAPI_TICKER_CALL_H

#include "capi/pool_call.h"
#include "pool/ticker.h"

namespace pulseengine {

Error take_ticker_name(const char* name, size_t name_len, std::string_view* out);
Error take_interval(int64_t interval_ns, TickerConfig* config);
Error take_catch_up(int32_t catch_up, int32_t reserved, const char* options, TickerConfig* config);
inline constexpr char kNotOpenYet[] = "it is not open yet";

// The node can have tickers.
Error check_takes_part(const pulse_node* node);

// The bodies of calls that tickers and schedules have alike.
template <class Handle>
pulse_status get_ticker_info(const Handle* handle, pulse_ticker_info* info) noexcept {
  return guard(nullptr, [&]() -> Error {
    if (handle == nullptr) return null_argument(Handle::kName);
    pulse_ticker_info now{};
    handle->core->info(&now);
    return give_struct(now, info, "pulse_ticker_info");
  });
}
template <class Handle>
pulse_status stop_ticker(Handle* handle, const pulse_target* target, uint64_t* operation,
                         pulse_error* error) noexcept {
  return start_on(
      handle, target, operation, error, [](PoolTicker& ticker, Target to, Ref<Operation>* op) {
        return ticker.node().stop_ticker(std::string_view(ticker.name()), ticker.jobs_key(), 0,
                                         std::move(to), nullptr, op);
      });
}
template <class Handle>
pulse_status stop_ticker_wait(Handle* handle, int64_t timeout_ms, pulse_error* error) noexcept {
  return wait_on(handle, timeout_ms, error,
                 [](PoolTicker& ticker, int64_t left, Ref<Signal> signal, Ref<Operation>* op) {
                   return ticker.node().stop_ticker(std::string_view(ticker.name()),
                                                    ticker.jobs_key(), left, Target(),
                                                    std::move(signal), op);
                 });
}

}  // namespace pulseengine

#endif
