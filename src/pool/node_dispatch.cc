// Calls of the host: dispatch, stop, notify, and what has become of a job.
#include <algorithm>

#include "pool/node_call.h"
#include "pool/pool_message.h"
#include "scripts.h"

namespace pulseengine {
namespace {

// The error texts that all peers use.
constexpr std::string_view kExists = "job already exists";

Error no_pool(std::string_view pool) {
  return Error::make(PULSE_ERR_NO_POOL, PULSE_ERROR_RETRIABLE | PULSE_ERROR_NEVER_SENT,
                     "no node of the pool {} routes jobs", pool);
}

}  // namespace

bool PoolCall::next_event(pulse_event* event) {
  if (!Operation::next_event(event)) return false;
  event->state = job_state;
  event->name = worker.data();
  event->name_len = worker.size();
  return true;
}

// --- dispatch ---------------------------------------------------------------------------------

Error PoolNode::dispatch(std::string_view key, std::string_view payload, int64_t timeout_ms,
                         Target target, Ref<Signal> signal, Ref<Operation>* out) {
  if (!ready_signal_->is_set()) {
    return Error(PULSE_ERR_AGAIN, "the node does not take part in its pool yet",
                 PULSE_ERROR_RETRIABLE | PULSE_ERROR_NEVER_SENT);
  }
  String job;
  append_message(JobMessage{key, std::string_view(id_), payload, server_now_ns(), false}, &job);
  auto call = make_ref<PoolCall>(PULSE_EVENT_JOB_DISPATCHED, std::move(target), key);
  const size_t bytes = job.size() + 1024;
  auto format = [this, key = String(key), job = std::move(job)](CommandWriter& w, bool eval) {
    w.begin_script(scripts::pool_dispatch, eval, 4, 5);
    w.arg(std::string_view(names_.payloads));
    w.arg(std::string_view(names_.pending));
    w.arg(std::string_view(names_.shutdown));
    w.arg(std::string_view(names_.pool_stream));
    w.arg(std::string_view(key));
    w.arg(std::string_view(job));
    w.arg(2 * config_.grace_ms * 1000);
    w.arg(config_.max_queued);
    w.arg(kRouters);
  };
  auto done = [this](PoolCall& c, const Error& error, Reply* reply) {
    const bool last = dispatching_.fetch_sub(1, std::memory_order_relaxed) == 1;
    if (error.ok()) dispatch_sent(c, *reply);
    if (last) early_answers_.clear();
  };
  dispatching_.fetch_add(1, std::memory_order_relaxed);
  Error error;
  try {
    error = start_call(std::move(call), timeout_ms == 0 ? 2 * config_.grace_ms : timeout_ms,
                       std::move(signal), &scripts::pool_dispatch, false, bytes, std::move(format),
                       std::move(done), out);
  } catch (const std::bad_alloc&) {
    dispatching_.fetch_sub(1, std::memory_order_relaxed);
    throw;
  }
  if (error.ok()) {
    counters.dispatched.fetch_add(1, std::memory_order_relaxed);
  } else {
    dispatching_.fetch_sub(1, std::memory_order_relaxed);
  }
  return error;
}

void PoolNode::dispatch_sent(PoolCall& call, Reply& reply) {
  const ReplyNode& head = reply.next();
  const std::string_view result = reply.next().text;
  if (result == "ok") {
    String event(reply.next().text);
    call.guard = String(reply.next().text);
    auto early = early_answers_.find(event);
    if (early != early_answers_.end()) {
      String text = std::move(early->second);
      early_answers_.erase(early);
      settle_dispatch(call, std::string_view(text));
      return;
    }
    if (phase_ == Phase::closed) {
      call.complete(Error(PULSE_ERR_CLOSED, "the node is closed", PULSE_ERROR_OUTCOME_UNKNOWN));
      return;
    }
    dispatches_.emplace(std::move(event), Ref<PoolCall>::share(&call));
    return;
  }
  if (result == "exists" || result == "pending") {
    call.complete(Error::make(PULSE_ERR_EXISTS, 0, "the job {} {}", call.key,
                              result == "exists" ? "exists" : "is being dispatched"));
  } else if (result == "full") {
    call.complete(Error::make(PULSE_ERR_QUEUE_FULL, PULSE_ERROR_RETRIABLE,
                              "{} dispatches have no answer yet", config_.max_queued));
  } else if (result == "no_pool") {
    call.complete(no_pool(names_.plain));
  } else if (result == "shutting_down") {
    call.complete(Error(PULSE_ERR_SHUTTING_DOWN, "the pool is being shut down"));
  } else {
    call.complete(unexpected_reply("the dispatch script", head));
  }
}

// `error` empty: the job was started.
void PoolNode::dispatch_answered(std::string_view event, std::string_view error) {
  auto found = dispatches_.find(String(event));
  if (found == dispatches_.end()) {
    // Of a dispatch whose own reply is on its way; else of one that was given up, or of a job that
    // we put back.
    if (dispatching_.load(std::memory_order_relaxed) > 0) {
      early_answers_[String(event)] = String(error);
    }
    return;
  }
  settle_dispatch(*found->second, error);
  dispatches_.erase(found);
}

void PoolNode::settle_dispatch(PoolCall& call, std::string_view error) {
  engine_->at_end_of_turn(*this);
  answered_.push_back({Ref<PoolCall>::share(&call), String(error)});
}

// The guards go first: whoever is told may dispatch the key again.
void PoolNode::flush_answered() {
  constexpr size_t kPerRun = 500;
  for (size_t first = 0; first < answered_.size(); first += kPerRun) {
    const size_t count = std::min(answered_.size() - first, kPerRun);
    Vector<Ref<PoolCall>> some;
    some.reserve(count);
    for (size_t i = 0; i < count; i++) some.push_back(answered_[first + i].call);
    auto format = [this, some = std::move(some)](CommandWriter& w, bool eval) {
      w.begin_script(scripts::pool_release, eval, 1, 2 * some.size());
      w.arg(std::string_view(names_.pending));
      for (const Ref<PoolCall>& call : some) {
        w.arg(std::string_view(call->key));
        w.arg(std::string_view(call->guard));
      }
    };
    // What fails expires.
    send(&scripts::pool_release, true, std::move(format), [](const Error&, Reply*) {});
  }
  Vector<Answered> answered;
  answered.swap(answered_);
  for (const Answered& a : answered) {
    const std::string_view error(a.error);
    if (error.empty()) {
      counters.started.fetch_add(1, std::memory_order_relaxed);
      a.call->complete();
    } else {
      counters.refused.fetch_add(1, std::memory_order_relaxed);
      const bool exists = error.substr(0, kExists.size()) == kExists;
      a.call->complete(Error(exists ? PULSE_ERR_EXISTS : PULSE_ERR_REFUSED, error));
    }
  }
}

// Dispatches that the host does not wait for any more: their guards expire.
void PoolNode::sweep_dispatches() {
  for (auto at = dispatches_.begin(); at != dispatches_.end();) {
    at = at->second->completed() ? dispatches_.erase(at) : std::next(at);
  }
}

// --- the rest -----------------------------------------------------------------------------------

Error PoolNode::request(char name, std::string_view key, std::string_view payload,
                        int64_t timeout_ms, Target target, Ref<Signal> signal,
                        Ref<Operation>* out) {
  String message;
  if (name == 'n') {
    append_message(PoolNotification{key, payload}, &message);
  } else {
    append_job_key(key, &message);
  }
  auto call = make_ref<PoolCall>(PULSE_EVENT_JOB_REQUESTED, std::move(target), key);
  const size_t bytes = message.size() + 512;
  auto format = [this, name, message = std::move(message)](CommandWriter& w, bool eval) {
    w.begin_script(scripts::pool_post, eval, 1, 3);
    w.arg(std::string_view(names_.pool_stream));
    w.arg(kRouters);
    w.arg(std::string_view(&name, 1));
    w.arg(std::string_view(message));
  };
  auto done = [this](PoolCall& c, const Error& error, Reply* reply) {
    if (!error.ok()) return;
    c.complete(reply->next().is_text() ? Error() : no_pool(names_.plain));
  };
  return start_call(std::move(call), timeout_ms, std::move(signal), &scripts::pool_post, false,
                    bytes, std::move(format), std::move(done), out);
}

Error PoolNode::job_state(std::string_view key, int64_t timeout_ms, Target target,
                          Ref<Signal> signal, Ref<Operation>* out) {
  auto call = make_ref<PoolCall>(PULSE_EVENT_JOB_STATE, std::move(target), key);
  auto format = [this, key = String(key)](CommandWriter& w, bool eval) {
    w.begin_script(scripts::pool_job_state, eval, 3, 1);
    w.arg(std::string_view(names_.payloads));
    w.arg(std::string_view(names_.pending));
    w.arg(std::string_view(names_.jobs));
    w.arg(std::string_view(key));
  };
  auto done = [](PoolCall& c, const Error& error, Reply* reply) {
    if (!error.ok()) return;
    const ReplyNode& head = reply->next();
    if (head.elements() != 2) {
      c.complete(unexpected_reply("the job state script", head));
      return;
    }
    // The host may be looking at a call that was cut short.
    if (c.completed()) return;
    c.job_state = static_cast<int32_t>(reply->next().integer);
    c.worker = String(reply->next().text);
    c.complete();
  };
  return start_call(std::move(call), timeout_ms, std::move(signal), &scripts::pool_job_state, true,
                    key.size() + 512, std::move(format), std::move(done), out);
}

}  // namespace pulseengine
