#include "pool/schedule.h"

#include "capi/ticker_call.h"
#include "pool/plan.h"

using namespace pulseengine;

struct pulse_schedule : ObjectHandle<pulse_schedule, pulse_node, PoolSchedule> {
  using ObjectHandle::ObjectHandle;
  static constexpr std::string_view kName = "schedule";
};

namespace {

Error take_schedule_name(const PoolNode& node, const char* name, size_t name_len,
                         std::string_view* out) {
  Error error = take_ticker_name(name, name_len, out);
  if (error.ok()) error = check_name("a schedule's name", *out);
  if (!error.ok()) return error;
  if (is_map_of_pools(*out)) {
    return Error::make(PULSE_ERR_INVALID, 0,
                       "a schedule must not be called {}: so is a map of pools", *out);
  }
  String whole = node.names().map(":");
  whole.append(out->data(), out->size());
  return check_name("the name of the schedule's jobs", std::string_view(whole));
}

Error open(pulse_node* node, const char* name, size_t name_len, int64_t interval_ns,
           const pulse_schedule_options* options, Target target, Ref<pulse_schedule>* out) {
  Error error = check_takes_part(node);
  std::string_view text;
  if (error.ok()) error = take_schedule_name(*node->core, name, name_len, &text);
  TickerConfig config;
  if (error.ok()) error = take_interval(interval_ns, &config);
  pulse_schedule_options o;
  if (error.ok()) error = take_options(options, &o, "pulse_schedule_options");
  int64_t plan_timeout_ms = 0;
  if (error.ok()) {
    error =
        take_number("plan_timeout_ms", o.plan_timeout_ms, 60000, 1, kMaxMs, true, &plan_timeout_ms);
  }
  if (error.ok()) error = take_catch_up(o.catch_up, o.reserved, "pulse_schedule_options", &config);
  if (!error.ok()) return error;
  auto core = make_ref<PoolSchedule>(node->core, text, config, plan_timeout_ms, std::move(target));
  auto handle = make_ref<pulse_schedule>(Ref<pulse_node>::share(node), core);
  error = add_or_forget(*core, [&] { return node->core->add_ticker(core); });
  if (error.ok()) *out = std::move(handle);
  return error;
}

PoolPlan* plan_of(pulse_plan* plan) { return reinterpret_cast<PoolPlan*>(plan); }

}  // namespace

extern "C" {

void pulse_schedule_options_init(pulse_schedule_options* options) noexcept {
  if (options != nullptr) *options = PULSE_SCHEDULE_OPTIONS_INIT;
}

pulse_status pulse_schedule_open(pulse_node* node, const char* name, size_t name_len,
                                 int64_t interval_ns, const pulse_schedule_options* options,
                                 const pulse_target* target, pulse_schedule** schedule,
                                 pulse_error* error) noexcept {
  return open_handle(
      take_required_target, target, schedule, error, [&](Target to, Ref<pulse_schedule>* handle) {
        return open(node, name, name_len, interval_ns, options, std::move(to), handle);
      });
}
pulse_status pulse_schedule_open_wait(pulse_node* node, const char* name, size_t name_len,
                                      int64_t interval_ns, const pulse_schedule_options* options,
                                      const pulse_target* target, int64_t timeout_ms,
                                      pulse_schedule** schedule, pulse_error* error) noexcept {
  return open_handle_wait(node, take_required_target, target, timeout_ms, schedule, error,
                          kNotOpenYet, [&](Target to, Ref<pulse_schedule>* handle) {
                            return open(node, name, name_len, interval_ns, options, std::move(to),
                                        handle);
                          });
}

pulse_status pulse_schedule_get_info(pulse_schedule* schedule, pulse_ticker_info* info) noexcept {
  return get_ticker_info(schedule, info);
}

pulse_status pulse_schedule_stop(pulse_schedule* schedule, const pulse_target* target,
                                 uint64_t* operation, pulse_error* error) noexcept {
  return stop_ticker(schedule, target, operation, error);
}
pulse_status pulse_schedule_stop_wait(pulse_schedule* schedule, int64_t timeout_ms,
                                      pulse_error* error) noexcept {
  return stop_ticker_wait(schedule, timeout_ms, error);
}

pulse_status pulse_schedule_close(pulse_schedule* schedule) noexcept {
  return close_handle(schedule);
}
pulse_status pulse_schedule_close_wait(pulse_schedule* schedule, int64_t timeout_ms,
                                       pulse_error* error) noexcept {
  return close_handle_wait(schedule, timeout_ms, error);
}
pulse_schedule* pulse_schedule_ref(pulse_schedule* schedule) noexcept {
  return ref_handle(schedule);
}
void pulse_schedule_unref(pulse_schedule* schedule) noexcept { unref_handle(schedule); }

// --- plans --------------------------------------------------------------------------------------

pulse_status pulse_plan_start(pulse_plan* plan, const char* key, size_t key_len,
                              const void* payload, size_t payload_len,
                              pulse_error* error) noexcept {
  return guard(error, [&]() -> Error {
    if (plan == nullptr) return null_argument("plan");
    std::string_view name, content;
    Error problem = take_job_key(key, key_len, &name);
    if (problem.ok()) {
      problem = take_payload(plan_of(plan)->schedule().node(), payload, payload_len, &content);
    }
    return problem.ok() ? plan_of(plan)->start(name, content) : problem;
  });
}

pulse_status pulse_plan_stop(pulse_plan* plan, const char* key, size_t key_len,
                             pulse_error* error) noexcept {
  return guard(error, [&]() -> Error {
    if (plan == nullptr) return null_argument("plan");
    std::string_view name;
    Error problem = take_job_key(key, key_len, &name);
    return problem.ok() ? plan_of(plan)->stop(name) : problem;
  });
}

pulse_status pulse_plan_stop_others(pulse_plan* plan, pulse_error* error) noexcept {
  return guard(error, [&]() -> Error {
    return plan == nullptr ? null_argument("plan") : plan_of(plan)->stop_others();
  });
}

pulse_status pulse_plan_stop_schedule(pulse_plan* plan, pulse_error* error) noexcept {
  return guard(error, [&]() -> Error {
    return plan == nullptr ? null_argument("plan") : plan_of(plan)->stop_schedule();
  });
}

pulse_status pulse_plan_answer(pulse_plan* plan, pulse_status status, const char* text,
                               size_t text_len) noexcept {
  return guard(nullptr, [&]() -> Error {
    if (plan == nullptr) return null_argument("plan");
    std::string_view view;
    Error error = take_text("text", text, text_len, &view);
    if (!error.ok()) return error;
    const pulse_status result = plan_of(plan)->answer(status, view);
    return result == PULSE_OK ? Error() : Error(result, "the plan is not open");
  });
}

pulse_plan* pulse_plan_ref(pulse_plan* plan) noexcept {
  if (plan != nullptr) plan_of(plan)->ref();
  return plan;
}
void pulse_plan_unref(pulse_plan* plan) noexcept {
  if (plan != nullptr) plan_of(plan)->unref();
}

}  // extern "C"
