// What calls on tickers and on schedules have in common.
#ifndef PULSE_CAPI_TICKER_CALL_H
#define PULSE_CAPI_TICKER_CALL_H

#include "capi/pool_call.h"
#include "pool/ticker.h"

namespace pulseengine {

Error take_ticker_name(const char* name, size_t name_len, std::string_view* out);
Error take_interval(int64_t interval_ns, TickerConfig* config);
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

}  // namespace pulseengine

#endif
