// What calls on tickers and on schedules have in common.
#ifndef PULSE_CAPI_TICKER_CALL_H
#define PULSE_CAPI_TICKER_CALL_H

#include "capi/pool_call.h"
#include "pool/ticker.h"

namespace pulseengine {

Error take_ticker_name(const char* name, size_t name_len, std::string_view* out);
Error take_interval(int64_t interval_ns, TickerConfig* config);
Error take_catch_up(int32_t catch_up, int32_t reserved, const char* options, TickerConfig* config);
// The node can have tickers.
Error check_takes_part(const pulse_node* node);

// The bodies of ..._open and ..._open_wait: open(target, &handle).  The target is taken over
// whatever happens.
template <class Handle, class Open>
pulse_status open_handle(const pulse_target* target, Handle** out, pulse_error* error,
                         Open open) noexcept {
  return guard(error, [&]() -> Error {
    Target to;
    Error problem = take_required_target(target, &to);
    if (problem.ok() && out == nullptr) problem = null_argument(Handle::kName);
    if (!problem.ok()) return problem;
    Ref<Handle> handle;
    problem = open(std::move(to), &handle);
    if (problem.ok()) *out = handle.release();
    return problem;
  });
}
template <class Handle, class Open>
pulse_status open_handle_wait(const pulse_node* node, const pulse_target* target,
                              int64_t timeout_ms, Handle** out, pulse_error* error,
                              Open open) noexcept {
  return open_handle(target, out, error, [&](Target to, Ref<Handle>* handle) -> Error {
    Error problem = check_handle(node);
    if (problem.ok()) problem = check_may_wait(node->core->engine());
    if (problem.ok()) problem = open(std::move(to), handle);
    if (!problem.ok()) return problem;
    return node->core->engine().wait_for((*handle)->core->ready_signal(), timeout_ms,
                                         "it is not open yet");
  });
}

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
