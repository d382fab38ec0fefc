// Leaving the pool, and shutting it down.
#include <algorithm>

#include "pool/node_call.h"
#include "pool/worker.h"
#include "scripts.h"

namespace pulseengine {
namespace {

// Without a connection there is little hope to hand anything over.
constexpr int64_t kOfflineCloseMs = 1000;

}  // namespace

void PoolNode::close() noexcept {
  if (closing_.exchange(true, std::memory_order_acq_rel)) return;
  try {
    engine_->post_call([node = Ref<PoolNode>::share(this)] { node->begin_close(Error()); });
  } catch (const std::bad_alloc&) {
    // tick() sees it.
  }
}

// `error`: why, for the host; none when it asked for it.
void PoolNode::begin_close(const Error& error) noexcept {
  closing_.store(true, std::memory_order_release);
  if (phase_ >= Phase::leaving) return;
  if (close_error_.ok()) close_error_ = error;
  if (phase_ == Phase::starting || !in_pool_) {
    const bool shut_down = error.code() == PULSE_ERR_SHUTTING_DOWN;
    if (phase_ == Phase::starting || workers_.empty() || !shut_down) {
      end(error);
      return;
    }
  }
  phase_ = Phase::leaving;
  tickers_.end_all(error);
  const int64_t patience =
      error.code() == PULSE_ERR_SHUTTING_DOWN ? config_.shutdown_ttl_ms : config_.close_timeout_ms;
  close_deadline_ms_ = deadline_after(engine_->server_is_ready() ? patience : kOfflineCloseMs);
  leave_workers(error.code() == PULSE_ERR_SHUTTING_DOWN ? PULSE_STOP_SHUTDOWN : PULSE_STOP_MOVED);
  timer_.start(0);
}

void PoolNode::leave_workers(pulse_stop_reason reason) {
  for (size_t i = workers_.size(); i-- > 0;) workers_[i]->leave(reason);
}

// The workers are gone: what this node routes is given back, and it goes itself.
void PoolNode::depart_if_done() {
  if (phase_ != Phase::leaving || !workers_.empty()) return;
  flush_forwards();
  flush_acks();
  flush_answered();
  if (forwarding_ > 0 && engine_->server_is_ready()) return;  // answers of ours are under way
  if (awaits_go_workers(monotonic_ms())) return;
  phase_ = Phase::departing;
  try {
    depart();
  } catch (const std::bad_alloc&) {
    phase_ = Phase::leaving;  // the next tick tries again
    throw;
  }
}

// Workers of the Go library tell this node only that they have started a job, and start it again
// when another router sends it to them.
bool PoolNode::awaits_go_workers(int64_t now_ms) {
  if (close_error_.code() == PULSE_ERR_SHUTTING_DOWN || !engine_->server_is_ready()) return false;
  if (awaited_below_ == 0) {
    awaited_below_ = next_serial_;
    await_until_ms_ = now_ms + config_.grace_ms;
  }
  if (now_ms >= std::min(await_until_ms_, close_deadline_ms_)) return false;
  return std::any_of(routed_.begin(), routed_.lower_bound(awaited_below_),
                     [this](const auto& entry) {
                       const Routed& r = *entry.second;
                       return r.name == 'j' && members_.is_active(r.worker) &&
                              !is_ours(std::string_view(r.worker));
                     });
}

void PoolNode::depart() {
  if (sink_) sink_->close();
  if (reader_) reader_->close();
  auto format = [this](CommandWriter& w, bool eval) {
    w.begin_script(scripts::pool_bury_node, eval, 2, 2);
    w.arg(std::string_view(names_.node_keepalive));
    w.arg(std::string_view(node_stream_->key()));
    w.arg(std::string_view(id_));
    w.arg(std::string_view());
  };
  // Behind the sink's hand-back, which goes the same way.
  send(&scripts::pool_bury_node, true, std::move(format), [this](const Error&, Reply*) {
    departed_ = true;
    if (!asked_for_shutdown_) end(close_error_);
  });
}

// --- shutting down ----------------------------------------------------------------------------

Error PoolNode::shutdown(int64_t timeout_ms, Target target, Ref<Signal> signal,
                         Ref<Operation>* out) {
  if (config_.client_only) {
    return Error(PULSE_ERR_INVALID, "a client-only node cannot shut the pool down");
  }
  auto call = make_ref<PoolCall>(PULSE_EVENT_POOL_SHUT_DOWN, std::move(target), std::string_view());
  auto format = [this](CommandWriter& w, bool eval) {
    w.begin_script(scripts::pool_shutdown, eval, 1, 1);
    w.arg(std::string_view(names_.shutdown));
    w.arg(std::string_view(id_));
  };
  auto done = [this](PoolCall& c, const Error& error, Reply*) {
    if (!error.ok()) return;
    if (phase_ == Phase::closed) {
      c.complete(Error(PULSE_ERR_CLOSED, "the node is closed"));
      return;
    }
    asked_for_shutdown_ = true;
    shutdown_call_ = Ref<PoolCall>::share(&c);
    shutdown_deadline_ms_ = deadline_after(config_.shutdown_ttl_ms);
    pool_shut_down();
  };
  return start_call(std::move(call), timeout_ms == 0 ? 2 * config_.shutdown_ttl_ms : timeout_ms,
                    std::move(signal), &scripts::pool_shutdown, true, 512, std::move(format),
                    std::move(done), out);
}

void PoolNode::pool_shut_down() {
  begin_close(Error(PULSE_ERR_SHUTTING_DOWN, "the pool was shut down"));
}

// `remains`: only what came back after the pool went, if it went.
template <class Done>
void PoolNode::send_destroy(bool remains, Vector<String> streams, Done done) {
  auto format = [this, remains, streams = std::move(streams)](CommandWriter& w, bool eval) {
    const String* maps[] = {&names_.node_keepalive, &names_.workers, &names_.worker_keepalive,
                            &names_.cleanup,        &names_.jobs,    &names_.payloads,
                            &names_.pending,        &names_.tickers, &names_.routing,
                            &names_.shutdown};
    w.begin_script(scripts::pool_destroy, eval, 5 + std::size(maps) + streams.size(), 3);
    for (const String* key : {&names_.pool_stream, &names_.consumers, &names_.routers_alive,
                              &names_.routers_lease, &names_.routers_restart}) {
      w.arg(std::string_view(*key));
    }
    for (const String* map : maps) w.arg(std::string_view(*map));
    for (const String& stream : streams) w.arg(std::string_view(stream));
    w.arg(kRouters);
    w.arg(static_cast<int64_t>(std::size(maps)));
    w.arg(std::string_view(remains ? "1" : "0"));
  };
  send(&scripts::pool_destroy, true, std::move(format), std::move(done));
}

// Waits for the other nodes, then removes what the pool has.
void PoolNode::finish_shutdown(int64_t now_ms) {
  if (destroying_ || !departed_) return;
  uint64_t others = 0;
  for (const auto& [id, beat] : members_.entries(Membership::kNodeBeats)) {
    if (id != id_ && now_ms - beat.changed_ms <= config_.ttl_ms) others++;
  }
  if (others > 0 && now_ms < shutdown_deadline_ms_ && engine_->server_is_ready()) return;
  shutdown_missing_ = others;
  // Of workers and nodes that nobody has buried yet, too.
  Vector<String> streams;
  for (const auto& [id, worker] : members_.entries(Membership::kWorkers)) {
    streams.push_back(
        engine_->key("pulse:stream:", PoolNames::worker_stream(std::string_view(id))));
  }
  for (const auto& [id, beat] : members_.entries(Membership::kNodeBeats)) {
    streams.push_back(engine_->key("pulse:stream:", names_.node_stream(std::string_view(id))));
  }
  auto done = [this](const Error& error, Reply*) {
    if (!error.ok() && engine_->server_is_ready() && phase_ != Phase::closed) {
      destroying_ = false;
      return;  // the next tick tries again
    }
    end(close_error_);
  };
  destroying_ = true;
  try {
    send_destroy(false, std::move(streams), std::move(done));
  } catch (const std::bad_alloc&) {
    destroying_ = false;
    throw;
  }
}

// While this node was suspended the pool was shut down; its sink may have made the stream anew
// before it learned that.
void PoolNode::remove_remains() noexcept {
  try {
    send_destroy(true, {}, [](const Error&, Reply*) {});
  } catch (const std::bad_alloc&) {
    log(PULSE_LOG_ERROR, "no memory to remove the stream of a pool that was shut down");
  }
}

}  // namespace pulseengine
