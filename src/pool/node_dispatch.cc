// Calls of the host: dispatch, stop, notify, and what has become of a job.
#include <algorithm>

#include "pool/node_call.h"
#include "pool/pool_message.h"
#include "scripts.h"

namespace pulseengine {
namespace {

// The error texts that all peers use.
constexpr std::string_view kExists = "job already exists";

// Of one script run.
constexpr size_t kDispatchesPerRun = 256;
constexpr size_t kBytesPerRun = size_t{256} * 1024;
// What a dispatch takes beside the job itself.
constexpr size_t kBytesBeside = 64;

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
  auto call = make_ref<PoolCall>(PULSE_EVENT_JOB_DISPATCHED, std::move(target), key);
  append_message(JobMessage{key, std::string_view(id_), payload, server_now_ns(), false},
                 &call->message);
  call->set_signal(std::move(signal));
  const size_t bytes = call->message.size() + kBytesBeside;
  // The loop takes them under the same lock, so it finds this one.
  std::lock_guard<std::mutex> lock(dispatch_mutex_);
  if (closed()) return Error(PULSE_ERR_CLOSED, "the node is closed", PULSE_ERROR_NEVER_SENT);
  Error error = engine_->admit(engine_->connection_for(names_.pool_stream), unsent_bytes_ + bytes);
  if (!error.ok()) return error;
  unsent_.reserve(unsent_.size() + 1);
  if (unsent_.empty() &&
      !engine_->post_call([node = Ref<PoolNode>::share(this)] { node->send_dispatches(); })) {
    return Error(PULSE_ERR_CLOSED, "the engine is closed", PULSE_ERROR_NEVER_SENT);
  }
  error = engine_->accept(*call, timeout_ms == 0 ? 2 * config_.grace_ms : timeout_ms);
  if (!error.ok()) return error;
  *out = call;
  unsent_.push_back(std::move(call));
  unsent_bytes_ += bytes;
  counters.dispatched.fetch_add(1, std::memory_order_relaxed);
  return {};
}

Vector<Ref<PoolCall>> PoolNode::take_dispatches() noexcept {
  Vector<Ref<PoolCall>> all;
  std::lock_guard<std::mutex> lock(dispatch_mutex_);
  all.swap(unsent_);
  unsent_bytes_ = 0;
  return all;
}

// A script run's worth of dispatches.
class PoolNode::DispatchRun final : public Command {
 public:
  DispatchRun(Ref<PoolNode> node, Vector<Ref<PoolCall>> calls)
      : node_(std::move(node)), calls_(std::move(calls)) {}

  const Script* script() const override { return &scripts::pool_dispatch; }
  void format(CommandWriter& w) override {
    const PoolNames& names = node_->names_;
    w.begin_script(scripts::pool_dispatch, eval, 4, 3 + 2 * calls_.size());
    for (const String* key : {&names.payloads, &names.pending, &names.shutdown, &names.pool_stream})
      w.arg(std::string_view(*key));
    w.arg(2 * node_->config_.grace_ms * 1000);
    w.arg(node_->config_.max_queued);
    w.arg(kRouters);
    for (const Ref<PoolCall>& call : calls_) {
      w.arg(std::string_view(call->key));
      w.arg(std::string_view(call->message));
    }
  }
  bool abandoned() const override {
    return std::all_of(calls_.begin(), calls_.end(),
                       [](const Ref<PoolCall>& call) { return call->completed(); });
  }
  void sent() override {
    for (const Ref<PoolCall>& call : calls_) call->sent_any = true;
  }
  void replied(Reply& reply) override {
    const bool last = --node_->dispatching_ == 0;
    const ReplyNode& head = reply.next();
    const bool whole = head.elements() == 1 + calls_.size();
    const std::string_view guard = whole ? reply.next().text : std::string_view();
    for (const Ref<PoolCall>& call : calls_) {
      if (!whole) {
        call->complete(unexpected_reply("the dispatch script", head));
        continue;
      }
      const std::string_view result = reply.next().text;
      try {
        node_->dispatch_sent(*call, result, guard);
      } catch (const std::bad_alloc&) {
        call->complete(Error(PULSE_ERR_NO_MEMORY, "out of memory", PULSE_ERROR_OUTCOME_UNKNOWN));
      }
      String().swap(call->message);
    }
    if (last) node_->early_answers_.clear();
  }
  void failed(const Error& error) override {
    if (--node_->dispatching_ == 0) node_->early_answers_.clear();
    for (const Ref<PoolCall>& call : calls_) call->complete(error);
  }

 private:
  const Ref<PoolNode> node_;
  const Vector<Ref<PoolCall>> calls_;
};

// What waits leaves, in order.  While there is no connection it waits here, where what was given up
// can still be taken out.
void PoolNode::send_dispatches() {
  if (!engine_->server_is_ready() && phase_ != Phase::closed) return;
  Vector<Ref<PoolCall>> all = take_dispatches();
  size_t next = 0;
  try {
    while (next < all.size()) {
      Vector<Ref<PoolCall>> run;
      size_t bytes = 0, end = next;
      for (; end < all.size() && run.size() < kDispatchesPerRun && bytes < kBytesPerRun; end++) {
        if (all[end]->completed()) continue;  // cancelled meanwhile
        bytes += all[end]->message.size();
        run.push_back(all[end]);
      }
      if (!run.empty()) submit_dispatches(run);
      next = end;
    }
  } catch (const std::bad_alloc&) {
    const Error error(PULSE_ERR_NO_MEMORY, "out of memory", PULSE_ERROR_NEVER_SENT);
    for (; next < all.size(); next++) all[next]->complete(error);
  }
}

void PoolNode::submit_dispatches(const Vector<Ref<PoolCall>>& calls) {
  // From here on one of them cannot be taken out of the run any more.
  const bool together = calls.size() > 1;
  auto run = make_ref<DispatchRun>(Ref<PoolNode>::share(this), calls);
  dispatching_++;
  try {
    // On the loop thread a closed connection tells the command at once.
    (void)engine_->connection_for(names_.pool_stream).submit(std::move(run));
  } catch (const std::bad_alloc&) {
    dispatching_--;
    throw;
  }
  for (const Ref<PoolCall>& call : calls) {
    if (together) call->sent_any = true;
  }
}

void PoolNode::fail_dispatches(const Error& error) noexcept {
  Error never_sent = error;
  never_sent.add_flags(PULSE_ERROR_NEVER_SENT);
  for (const Ref<PoolCall>& call : take_dispatches()) call->complete(never_sent);
}

// `result`: the id of its event, or a word.
void PoolNode::dispatch_sent(PoolCall& call, std::string_view result, std::string_view guard) {
  if (!result.empty() && result.front() >= '0' && result.front() <= '9') {
    String event(result);
    call.guard = String(guard);
    auto early = early_answers_.find(event);
    if (early != early_answers_.end()) {
      Answer answer = std::move(early->second);
      early_answers_.erase(early);
      settle_dispatch(call, std::move(answer));
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
  } else {
    call.complete(Error(PULSE_ERR_SHUTTING_DOWN, "the pool is being shut down"));
  }
}

void PoolNode::dispatch_answered(std::string_view event, std::string_view error, bool released) {
  auto found = dispatches_.find(String(event));
  if (found == dispatches_.end()) {
    // Of a dispatch whose own reply is on its way; else of one that was given up, or of a job that
    // we put back.
    if (dispatching_ > 0) early_answers_[String(event)] = {String(error), released};
    return;
  }
  settle_dispatch(*found->second, {String(error), released});
  dispatches_.erase(found);
}

void PoolNode::settle_dispatch(PoolCall& call, Answer answer) {
  engine_->at_end_of_turn(*this);
  answered_.push_back({Ref<PoolCall>::share(&call), std::move(answer)});
}

// The guards that are still there go first: whoever is told may dispatch the key again.
void PoolNode::flush_answered() {
  constexpr size_t kPerRun = 500;
  for (size_t next = 0; next < answered_.size();) {
    Vector<Ref<PoolCall>> some;
    for (; next < answered_.size() && some.size() < kPerRun; next++) {
      if (!answered_[next].answer.released) some.push_back(answered_[next].call);
    }
    if (some.empty()) break;
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
    const std::string_view error(a.answer.error);
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
