#include "pulseengine/pool.h"

#include "base/hash.h"
#include "base/ulid.h"
#include "capi/pool_call.h"
#include "pool/snapshot.h"
#include "pool/worker.h"

using namespace pulseengine;

struct pulse_worker : ObjectHandle<pulse_worker, pulse_node, PoolWorker> {
  using ObjectHandle::ObjectHandle;
  static constexpr std::string_view kName = "worker";
};

namespace pulseengine {

Error take_job_key(const char* key, size_t key_len, std::string_view* out) {
  Error error = take_text("key", key, key_len, out);
  if (!error.ok()) return error;
  if (out->empty()) return Error(PULSE_ERR_INVALID, "a key must not be empty");
  if (out->size() > PULSE_POOL_MAX_KEY_BYTES) {
    return Error::make(PULSE_ERR_TOO_LARGE, 0, "a key of {} bytes is larger than {}", out->size(),
                       int{PULSE_POOL_MAX_KEY_BYTES});
  }
  if (!is_map_key(*out)) return Error(PULSE_ERR_INVALID, "a key must not contain '='");
  return {};
}

Error take_payload(const PoolNode& node, const void* payload, size_t payload_len,
                   std::string_view* out) {
  Error error = take_text("payload", payload, payload_len, out);
  if (!error.ok()) return error;
  const auto limit = static_cast<size_t>(node.engine().config().max_payload_bytes);
  if (out->size() <= limit) return {};
  return Error::make(PULSE_ERR_TOO_LARGE, 0,
                     "a payload of {} bytes is larger than max_payload_bytes ({})", out->size(),
                     limit);
}

}  // namespace pulseengine

namespace {

constexpr int64_t kLeastTtl = 200;
constexpr int64_t kLeastGrace = 100;
constexpr int64_t kMostQueued = 1 << 20;
constexpr int64_t kMostStarts = 1 << 20;

Error take_node_options(const pulse_node_options* given, NodeConfig* c) {
  pulse_node_options o;
  Error e = take_options(given, &o, "pulse_node_options");
  if (e.ok()) {
    e = take_number("worker_ttl_ms", o.worker_ttl_ms, 30000, kLeastTtl, kMaxMs, false, &c->ttl_ms);
  }
  if (e.ok()) {
    e = take_number("worker_shutdown_ttl_ms", o.worker_shutdown_ttl_ms, 120000, 1, kMaxMs, false,
                    &c->shutdown_ttl_ms);
  }
  if (e.ok()) {
    e = take_number("job_sink_block_ms", o.job_sink_block_ms, 5000, 1, kMaxMs, false, &c->block_ms);
  }
  if (e.ok()) {
    e = take_number("max_queued_jobs", o.max_queued_jobs, 1000, 1, kMostQueued, false,
                    &c->max_queued);
  }
  if (e.ok()) {
    e = take_number("ack_grace_ms", o.ack_grace_ms, 20000, kLeastGrace, kMaxMs, false,
                    &c->grace_ms);
  }
  if (e.ok()) {
    e = take_number("close_timeout_ms", o.close_timeout_ms, 30000, 1, kMaxMs, false,
                    &c->close_timeout_ms);
  }
  if (e.ok()) e = take_switch("client_only", o.client_only, &c->client_only);
  if (e.ok() && o.routing != PULSE_ROUTING_JUMP && o.routing != PULSE_ROUTING_RENDEZVOUS) {
    e = Error::make(PULSE_ERR_INVALID, 0, "routing: {} is no kind of routing", o.routing);
  }
  c->rendezvous = o.routing == PULSE_ROUTING_RENDEZVOUS;
  return e;
}

Error start_dispatch(PoolNode& node, const char* key, size_t key_len, const void* payload,
                     size_t payload_len, int64_t timeout_ms, Target target, Ref<Signal> signal,
                     Ref<Operation>* out) {
  std::string_view name, content;
  Error error = take_job_key(key, key_len, &name);
  if (error.ok()) error = take_payload(node, payload, payload_len, &content);
  if (!error.ok()) return error;
  return node.dispatch(name, content, timeout_ms, std::move(target), std::move(signal), out);
}

Error start_request(PoolNode& node, char what, const char* key, size_t key_len, const void* payload,
                    size_t payload_len, int64_t timeout_ms, Target target, Ref<Signal> signal,
                    Ref<Operation>* out) {
  std::string_view name, content;
  Error error = take_job_key(key, key_len, &name);
  if (error.ok()) error = take_payload(node, payload, payload_len, &content);
  if (!error.ok()) return error;
  return node.request(what, name, content, timeout_ms, std::move(target), std::move(signal), out);
}

Error start_job_state(PoolNode& node, const char* key, size_t key_len, int64_t timeout_ms,
                      Target target, Ref<Signal> signal, Ref<Operation>* out) {
  std::string_view name;
  Error error = take_job_key(key, key_len, &name);
  if (!error.ok()) return error;
  return node.job_state(name, timeout_ms, std::move(target), std::move(signal), out);
}

Error join(pulse_engine* engine, const char* pool, size_t pool_len,
           const pulse_node_options* options, Target target, Ref<pulse_node>* out) {
  Error problem = check_handle(engine);
  std::string_view name;
  if (problem.ok()) problem = take_text("a pool's name", pool, pool_len, &name);
  if (problem.ok()) problem = check_name("a pool's name", name);
  if (problem.ok() && name.find('=') != std::string_view::npos) {
    problem = Error(PULSE_ERR_INVALID, "a pool's name must not contain '='");
  }
  NodeConfig config;
  if (problem.ok()) problem = take_node_options(options, &config);
  if (!problem.ok()) return problem;
  Ref<PoolNode> core;
  problem = PoolNode::join(engine->core, name, config, std::move(target), &core);
  if (!problem.ok()) return problem;
  try {
    *out = make_ref<pulse_node>(Ref<pulse_engine>::share(engine), core);
  } catch (const std::bad_alloc&) {
    core->close();
    throw;
  }
  return {};
}

const PoolJob* job_of(const pulse_job* job) { return reinterpret_cast<const PoolJob*>(job); }
PoolJob* job_of(pulse_job* job) { return reinterpret_cast<PoolJob*>(job); }

const char* give_text(const String& text, size_t* size) {
  if (size != nullptr) *size = text.size();
  return text.data();
}

pulse_status answer(pulse_job* job, PoolJob::Request request, pulse_status status, const char* text,
                    size_t text_len) noexcept {
  return guard(nullptr, [&]() -> Error {
    if (job == nullptr) return null_argument("job");
    std::string_view view;
    Error error = take_text("text", text, text_len, &view);
    if (!error.ok()) return error;
    const pulse_status result = request == PoolJob::Request::none
                                    ? job_of(job)->finish(status, view)
                                    : job_of(job)->answer(request, status, view);
    return result == PULSE_OK ? Error() : Error(result, "no such request is open");
  });
}

const PoolSnapshot* snapshot_of(const pulse_pool_snapshot* s) {
  return reinterpret_cast<const PoolSnapshot*>(s);
}

// Copies as much of an info as the caller's struct has room for.
template <class Info>
pulse_status give_info(const Info& from, Info* to, size_t size) {
  if (to == nullptr || size == 0) return PULSE_ERR_INVALID;
  std::memset(to, 0, size);
  std::memcpy(to, &from, std::min(size, sizeof from));
  return PULSE_OK;
}

}  // namespace

extern "C" {

void pulse_node_options_init(pulse_node_options* options) noexcept {
  if (options != nullptr) *options = PULSE_NODE_OPTIONS_INIT;
}
void pulse_worker_options_init(pulse_worker_options* options) noexcept {
  if (options != nullptr) *options = PULSE_WORKER_OPTIONS_INIT;
}

pulse_status pulse_node_join(pulse_engine* engine, const char* pool, size_t pool_len,
                             const pulse_node_options* options, const pulse_target* target,
                             pulse_node** node, pulse_error* error) noexcept {
  return open_handle(take_target, target, node, error, [&](Target to, Ref<pulse_node>* handle) {
    return join(engine, pool, pool_len, options, std::move(to), handle);
  });
}

pulse_status pulse_node_join_wait(pulse_engine* engine, const char* pool, size_t pool_len,
                                  const pulse_node_options* options, const pulse_target* target,
                                  int64_t timeout_ms, pulse_node** node,
                                  pulse_error* error) noexcept {
  return open_handle_wait(engine, take_target, target, timeout_ms, node, error,
                          "the node does not take part in its pool yet",
                          [&](Target to, Ref<pulse_node>* handle) {
                            return join(engine, pool, pool_len, options, std::move(to), handle);
                          });
}

size_t pulse_node_get_id(pulse_node* node, char* text, size_t capacity) noexcept {
  if (node == nullptr || text == nullptr || capacity < kUlidLength + 1) return 0;
  node->core->id().copy(text, kUlidLength);
  text[kUlidLength] = '\0';
  return kUlidLength;
}

pulse_status pulse_node_dispatch(pulse_node* node, const char* key, size_t key_len,
                                 const void* payload, size_t payload_len,
                                 const pulse_target* target, uint64_t* operation,
                                 pulse_error* error) noexcept {
  return start_on(node, target, operation, error,
                  [&](PoolNode& core, Target to, Ref<Operation>* op) {
                    return start_dispatch(core, key, key_len, payload, payload_len, 0,
                                          std::move(to), nullptr, op);
                  });
}

pulse_status pulse_node_dispatch_wait(pulse_node* node, const char* key, size_t key_len,
                                      const void* payload, size_t payload_len, int64_t timeout_ms,
                                      pulse_error* error) noexcept {
  return wait_on(node, timeout_ms, error,
                 [&](PoolNode& core, int64_t left, Ref<Signal> signal, Ref<Operation>* op) {
                   return start_dispatch(core, key, key_len, payload, payload_len, left, Target(),
                                         std::move(signal), op);
                 });
}

pulse_status pulse_node_stop_job(pulse_node* node, const char* key, size_t key_len,
                                 const pulse_target* target, uint64_t* operation,
                                 pulse_error* error) noexcept {
  return start_on(
      node, target, operation, error, [&](PoolNode& core, Target to, Ref<Operation>* op) {
        return start_request(core, 's', key, key_len, nullptr, 0, 0, std::move(to), nullptr, op);
      });
}

pulse_status pulse_node_stop_job_wait(pulse_node* node, const char* key, size_t key_len,
                                      int64_t timeout_ms, pulse_error* error) noexcept {
  return wait_on(node, timeout_ms, error,
                 [&](PoolNode& core, int64_t left, Ref<Signal> signal, Ref<Operation>* op) {
                   return start_request(core, 's', key, key_len, nullptr, 0, left, Target(),
                                        std::move(signal), op);
                 });
}

pulse_status pulse_node_notify(pulse_node* node, const char* key, size_t key_len,
                               const void* payload, size_t payload_len, const pulse_target* target,
                               uint64_t* operation, pulse_error* error) noexcept {
  return start_on(node, target, operation, error,
                  [&](PoolNode& core, Target to, Ref<Operation>* op) {
                    return start_request(core, 'n', key, key_len, payload, payload_len, 0,
                                         std::move(to), nullptr, op);
                  });
}

pulse_status pulse_node_notify_wait(pulse_node* node, const char* key, size_t key_len,
                                    const void* payload, size_t payload_len, int64_t timeout_ms,
                                    pulse_error* error) noexcept {
  return wait_on(node, timeout_ms, error,
                 [&](PoolNode& core, int64_t left, Ref<Signal> signal, Ref<Operation>* op) {
                   return start_request(core, 'n', key, key_len, payload, payload_len, left,
                                        Target(), std::move(signal), op);
                 });
}

pulse_status pulse_node_get_job_state(pulse_node* node, const char* key, size_t key_len,
                                      const pulse_target* target, uint64_t* operation,
                                      pulse_error* error) noexcept {
  return start_on(node, target, operation, error,
                  [&](PoolNode& core, Target to, Ref<Operation>* op) {
                    return start_job_state(core, key, key_len, 0, std::move(to), nullptr, op);
                  });
}

pulse_status pulse_node_get_job_state_wait(pulse_node* node, const char* key, size_t key_len,
                                           pulse_job_state* state, int64_t timeout_ms,
                                           pulse_error* error) noexcept {
  return wait_on(
      node, timeout_ms, error,
      [&](PoolNode& core, int64_t left, Ref<Signal> signal, Ref<Operation>* op) {
        if (state == nullptr) return null_argument("state");
        return start_job_state(core, key, key_len, left, Target(), std::move(signal), op);
      },
      [&](Operation& op) {
        if (op.status() == PULSE_OK) *state = static_cast<PoolCall&>(op).job_state;
      });
}

pulse_status pulse_node_get_job_payload(pulse_node* node, const char* key, size_t key_len,
                                        pulse_bytes** payload) noexcept {
  return guard(nullptr, [&]() -> Error {
    if (node == nullptr) return null_argument("node");
    if (payload == nullptr) return null_argument("payload");
    std::string_view name;
    Error error = take_job_key(key, key_len, &name);
    if (!error.ok()) return error;
    Ref<MapEntry> entry;
    error = node->core->payload(name, &entry);
    if (error.ok()) *payload = reinterpret_cast<pulse_bytes*>(static_cast<Bytes*>(entry.release()));
    return error;
  });
}

// --- snapshots -------------------------------------------------------------------------------

pulse_status pulse_node_take_snapshot(pulse_node* node, pulse_pool_snapshot** snapshot,
                                      pulse_error* error) noexcept {
  return guard(error, [&]() -> Error {
    if (node == nullptr) return null_argument("node");
    if (snapshot == nullptr) return null_argument("snapshot");
    Ref<PoolSnapshot> taken;
    Error problem = node->core->snapshot(&taken);
    if (problem.ok()) *snapshot = reinterpret_cast<pulse_pool_snapshot*>(taken.release());
    return problem;
  });
}

size_t pulse_pool_snapshot_node_count(const pulse_pool_snapshot* snapshot) noexcept {
  return snapshot == nullptr ? 0 : snapshot_of(snapshot)->nodes.size();
}
size_t pulse_pool_snapshot_worker_count(const pulse_pool_snapshot* snapshot) noexcept {
  return snapshot == nullptr ? 0 : snapshot_of(snapshot)->workers.size();
}
size_t pulse_pool_snapshot_job_count(const pulse_pool_snapshot* snapshot) noexcept {
  return snapshot == nullptr ? 0 : snapshot_of(snapshot)->jobs.size();
}

pulse_status pulse_pool_snapshot_get_node(const pulse_pool_snapshot* snapshot, size_t index,
                                          pulse_node_info* info, size_t info_size) noexcept {
  if (snapshot == nullptr) return PULSE_ERR_INVALID;
  const auto& all = snapshot_of(snapshot)->nodes;
  if (index >= all.size()) return PULSE_ERR_NOT_FOUND;
  const PoolSnapshot::Node& n = all[index];
  pulse_node_info i{};
  i.id = give_text(n.id, &i.id_len);
  i.local = n.local;
  i.silent_ms = n.silent_ms;
  return give_info(i, info, info_size);
}

pulse_status pulse_pool_snapshot_get_worker(const pulse_pool_snapshot* snapshot, size_t index,
                                            pulse_worker_info* info, size_t info_size) noexcept {
  if (snapshot == nullptr) return PULSE_ERR_INVALID;
  const auto& all = snapshot_of(snapshot)->workers;
  if (index >= all.size()) return PULSE_ERR_NOT_FOUND;
  const PoolSnapshot::Worker& w = all[index];
  pulse_worker_info i{};
  i.id = give_text(w.id, &i.id_len);
  i.node = give_text(w.node, &i.node_len);
  i.local = w.local;
  i.active = w.active;
  i.created_ns = w.created_ns;
  i.silent_ms = w.silent_ms;
  return give_info(i, info, info_size);
}

pulse_status pulse_pool_snapshot_get_job(const pulse_pool_snapshot* snapshot, size_t index,
                                         pulse_job_info* info, size_t info_size) noexcept {
  if (snapshot == nullptr) return PULSE_ERR_INVALID;
  const auto& all = snapshot_of(snapshot)->jobs;
  if (index >= all.size()) return PULSE_ERR_NOT_FOUND;
  const PoolSnapshot::Job& j = all[index];
  pulse_job_info i{};
  i.key = give_text(j.key, &i.key_len);
  i.state = j.worker.empty() ? PULSE_JOB_WAITING : PULSE_JOB_OWNED;
  i.worker = give_text(j.worker, &i.worker_len);
  i.node = give_text(j.node, &i.node_len);
  i.since_ms = j.since_ms;
  return give_info(i, info, info_size);
}

pulse_pool_snapshot* pulse_pool_snapshot_ref(pulse_pool_snapshot* snapshot) noexcept {
  if (snapshot != nullptr) reinterpret_cast<PoolSnapshot*>(snapshot)->ref();
  return snapshot;
}
void pulse_pool_snapshot_unref(pulse_pool_snapshot* snapshot) noexcept {
  if (snapshot != nullptr) reinterpret_cast<PoolSnapshot*>(snapshot)->unref();
}

// --- workers ------------------------------------------------------------------------------------

pulse_status pulse_node_add_worker(pulse_node* node, const pulse_worker_options* options,
                                   const pulse_target* target, pulse_worker** worker,
                                   pulse_error* error) noexcept {
  return open_handle(take_required_target, target, worker, error,
                     [&](Target to, Ref<pulse_worker>* handle) -> Error {
                       Error problem = check_handle(node);
                       if (problem.ok() && node->core->config().client_only) {
                         problem = Error(PULSE_ERR_INVALID, "a client-only node has no workers");
                       }
                       pulse_worker_options o;
                       if (problem.ok())
                         problem = take_options(options, &o, "pulse_worker_options");
                       int64_t starts = 0;
                       if (problem.ok()) {
                         problem = take_number("start_concurrency", o.start_concurrency, 0, 1,
                                               kMostStarts, false, &starts);
                       }
                       if (!problem.ok()) return problem;
                       auto core = make_ref<PoolWorker>(node->core, starts, std::move(to));
                       *handle = make_ref<pulse_worker>(Ref<pulse_node>::share(node), core);
                       return add_or_forget(*core, [&] { return node->core->add_worker(core); });
                     });
}

pulse_status pulse_worker_ready_wait(pulse_worker* worker, int64_t timeout_ms,
                                     pulse_error* error) noexcept {
  return guard(error, [&]() -> Error {
    Error problem = check_handle(worker);
    if (!problem.ok()) return problem;
    Engine& engine = worker->core->engine();
    problem = check_may_wait(engine);
    if (!problem.ok()) return problem;
    return engine.wait_for(worker->core->ready_signal(), timeout_ms, "the worker is not ready");
  });
}

size_t pulse_worker_get_id(pulse_worker* worker, char* text, size_t capacity) noexcept {
  return worker == nullptr ? 0 : worker->core->id_text_to(text, capacity);
}

size_t pulse_worker_job_count(pulse_worker* worker) noexcept {
  return worker == nullptr ? 0 : worker->core->job_count();
}

pulse_status pulse_worker_close(pulse_worker* worker) noexcept { return close_handle(worker); }
pulse_status pulse_worker_close_wait(pulse_worker* worker, int64_t timeout_ms,
                                     pulse_error* error) noexcept {
  return close_handle_wait(worker, timeout_ms, error);
}
pulse_worker* pulse_worker_ref(pulse_worker* worker) noexcept { return ref_handle(worker); }
void pulse_worker_unref(pulse_worker* worker) noexcept { unref_handle(worker); }

// --- jobs --------------------------------------------------------------------------------------

pulse_status pulse_job_started(pulse_job* job, pulse_status status, const char* text,
                               size_t text_len) noexcept {
  return answer(job, PoolJob::Request::start, status, text, text_len);
}
pulse_status pulse_job_stopped(pulse_job* job, pulse_status status, const char* text,
                               size_t text_len) noexcept {
  return answer(job, PoolJob::Request::stop, status, text, text_len);
}
pulse_status pulse_job_notified(pulse_job* job, pulse_status status, const char* text,
                                size_t text_len) noexcept {
  return answer(job, PoolJob::Request::notify, status, text, text_len);
}
pulse_status pulse_job_finish(pulse_job* job, pulse_status status, const char* text,
                              size_t text_len) noexcept {
  return answer(job, PoolJob::Request::none, status, text, text_len);
}

const char* pulse_job_key(const pulse_job* job, size_t* size) noexcept {
  return job == nullptr ? nullptr : give_text(job_of(job)->key(), size);
}
const void* pulse_job_payload(const pulse_job* job, size_t* size) noexcept {
  return job == nullptr ? nullptr : give_text(job_of(job)->payload(), size);
}
const char* pulse_job_worker(const pulse_job* job, size_t* size) noexcept {
  return job == nullptr ? nullptr : give_text(job_of(job)->worker_id(), size);
}
int64_t pulse_job_created_ns(const pulse_job* job) noexcept {
  return job == nullptr ? 0 : job_of(job)->created_ns();
}
int32_t pulse_job_requeued(const pulse_job* job) noexcept {
  return job != nullptr && job_of(job)->requeued() ? 1 : 0;
}
pulse_job* pulse_job_ref(pulse_job* job) noexcept {
  if (job != nullptr) job_of(job)->ref();
  return job;
}
void pulse_job_unref(pulse_job* job) noexcept {
  if (job != nullptr) job_of(job)->unref();
}

// --- the end
// --------------------------------------------------------------------------------------

pulse_status pulse_node_shutdown(pulse_node* node, const pulse_target* target, uint64_t* operation,
                                 pulse_error* error) noexcept {
  return start_on(node, target, operation, error,
                  [&](PoolNode& core, Target to, Ref<Operation>* op) {
                    return core.shutdown(0, std::move(to), nullptr, op);
                  });
}
pulse_status pulse_node_shutdown_wait(pulse_node* node, int64_t timeout_ms,
                                      pulse_error* error) noexcept {
  return wait_on(node, timeout_ms, error,
                 [&](PoolNode& core, int64_t left, Ref<Signal> signal, Ref<Operation>* op) {
                   return core.shutdown(left, Target(), std::move(signal), op);
                 });
}

pulse_status pulse_node_get_metrics(pulse_node* node, pulse_node_metrics* metrics) noexcept {
  return guard(nullptr, [&]() -> Error {
    if (node == nullptr) return null_argument("node");
    pulse_node_metrics m{};
    node->core->metrics(&m);
    return give_struct(m, metrics, "pulse_node_metrics");
  });
}

pulse_status pulse_node_close(pulse_node* node) noexcept { return close_handle(node); }
pulse_status pulse_node_close_wait(pulse_node* node, int64_t timeout_ms,
                                   pulse_error* error) noexcept {
  return close_handle_wait(node, timeout_ms, error);
}
pulse_node* pulse_node_ref(pulse_node* node) noexcept { return ref_handle(node); }
void pulse_node_unref(pulse_node* node) noexcept { unref_handle(node); }

}  // extern "C"
