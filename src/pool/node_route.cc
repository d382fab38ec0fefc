// From the pool's stream to workers, and their answers back to dispatchers.
#include <algorithm>
#include <cstring>

#include "base/hash.h"
#include "pool/node.h"
#include "pool/pool_message.h"
#include "pool/worker.h"
#include "rmap/map_list.h"
#include "scripts.h"

namespace pulseengine {
namespace {

// Requests for jobs that cannot be found are not kept for ever; starts are.
constexpr int64_t kRequestTtlMs = 120000;
// How long a request waits for the answer of a worker until its owner is looked up again.
constexpr int64_t kAskAgainMs = 1000;
// How long an event that cannot be sent waits for the next try.
constexpr int64_t kHeldPauseMs = 20;
constexpr size_t kForwardsPerRun = 500;

String worker_event_key(std::string_view worker, std::string_view event) {
  String key(worker);
  key += ' ';
  key.append(event.data(), event.size());
  return key;
}

}  // namespace

bool PoolNode::owns(std::string_view worker, std::string_view key) const {
  Ref<MapVersion> version = jobs_->take_version();
  const MapEntry* entry = version->find(worker, hash_bytes(worker));
  return entry != nullptr && list_holds(entry->view(), key);
}

// The worker that has the job, alive or not; empty: none.
String PoolNode::owner_of(std::string_view key) const {
  Ref<MapVersion> version = jobs_->take_version();
  String owner;
  MapCursor cursor;
  visit(*version, &cursor, [&](const MapEntry& entry) {
    if (!list_holds(entry.view(), key)) return true;
    owner = String(entry.key());
    return !members_.is_active(owner);
  });
  return owner;
}

// --- the pool's stream ------------------------------------------------------------------------

void PoolNode::on_pool_event(const pulse_event* event, void* p) {
  static_cast<PoolNode*>(p)->take_pool_event(*event);
}

void PoolNode::take_pool_event(const pulse_event& event) {
  if (phase_ == Phase::closed) return;
  if (event.kind == PULSE_EVENT_READY) {
    sink_ready_ = true;
    check_ready();
    return;
  }
  if (event.kind == PULSE_EVENT_OWNERSHIP_LOST) {
    // What this router answers for is others' by now.
    routed_.clear();
    by_worker_event_.clear();
    return;
  }
  if (event.kind == PULSE_EVENT_MALFORMED) counters.malformed.fetch_add(1);
  if (event.kind != PULSE_EVENT_MESSAGE) return;

  auto routed = make_owned<Routed>();
  routed->handle = event.ack;
  const std::string_view name(event.name, event.name_len);
  const std::string_view payload(event.payload, event.payload_len);
  JobMessage job;
  PoolNotification notification;
  std::string_view key;
  bool known = name.size() == 1;
  if (known && name == pool_event::kStart) {
    known = parse_message(payload, &job);
    key = job.key;
    routed->dispatcher = String(job.node);
    routed->guard = String(header_of(event, pool_header::kGuard).value_or(std::string_view()));
  } else if (known && name == pool_event::kStop) {
    known = parse_job_key(payload, &key);
  } else if (known && name == pool_event::kNotify) {
    known = parse_message(payload, &notification);
    key = notification.key;
  } else {
    known = false;
  }
  if (!known || key.empty()) {
    counters.malformed.fetch_add(1, std::memory_order_relaxed);
    log(PULSE_LOG_WARNING, "an event of a pool's stream that cannot be read was acked");
    ack(event.ack);
    return;
  }
  // Delivered to us once more: the first one was given up.
  routed->name = name[0];
  routed->key = String(key);
  routed->payload = String(payload);
  routed->since_ms = monotonic_ms();
  const uint64_t serial = next_serial_++;
  routed_.emplace(serial, std::move(routed));
  try {
    try_route(serial);
  } catch (const std::bad_alloc&) {
    retry_soon();  // it is held until then
  }
}

// Sends an event to the worker that it is for, or holds it until there is one.
void PoolNode::try_route(uint64_t serial) {
  Routed& r = *routed_.find(serial)->second;
  if (r.name == 'j') {
    const std::string_view worker = route(std::string_view(r.key));
    if (!worker.empty()) forward_to(serial, worker);
    return;
  }
  const String owner = owner_of(std::string_view(r.key));
  if (!owner.empty()) {
    if (members_.is_active(owner)) forward_to(serial, std::string_view(owner));
    return;
  }
  ask_server(serial);
}

void PoolNode::forward_to(uint64_t serial, std::string_view worker) {
  Routed& r = *routed_.find(serial)->second;
  engine_->at_end_of_turn(*this);
  String envelope, to(worker), old_event;
  append_message(PoolEnvelope{std::string_view(id_), std::string_view(r.payload)}, &envelope);
  const String stream = engine_->key("pulse:stream:", PoolNames::worker_stream(worker));
  if (!r.worker_event.empty()) {
    old_event = worker_event_key(std::string_view(r.worker), std::string_view(r.worker_event));
  }
  forwards_.push_back(
      {stream, r.name, std::move(envelope), serial, String(worker), id_text(r.handle.id), r.guard});
  // Nothing from here on needs memory.
  if (!r.worker_event.empty()) {
    by_worker_event_.erase(old_event);
    r.worker_event.clear();
  }
  (r.worker.empty() ? counters.routed : counters.rerouted).fetch_add(1, std::memory_order_relaxed);
  r.worker = std::move(to);
  r.since_ms = r.sent_ms = monotonic_ms();
}

// No worker has the job, as far as the replica shows: the server knows better.
void PoolNode::ask_server(uint64_t serial) {
  Routed& r = *routed_.find(serial)->second;
  if (r.asking) return;
  auto format = [this, key = r.key](CommandWriter& w, bool) {
    w.command("HEXISTS", std::string_view(names_.payloads), std::string_view(key));
  };
  auto done = [this, serial](const Error& error, Reply* reply) {
    auto found = routed_.find(serial);
    if (found == routed_.end()) return;
    found->second->asking = false;
    // No such job, and none on its way as far as this router knows.
    if (error.ok() && reply->next().integer == 0) drop(serial);
  };
  r.asking = true;
  r.since_ms = monotonic_ms();
  try {
    send(nullptr, true, std::move(format), std::move(done));
  } catch (const std::bad_alloc&) {
    r.asking = false;
    throw;
  }
}

void PoolNode::drop(uint64_t serial) {
  auto found = routed_.find(serial);
  Routed& r = *found->second;
  // A start of the same key that is under way comes first.
  const bool starting = std::any_of(routed_.begin(), routed_.end(), [&](const auto& other) {
    return other.second->name == 'j' && other.second->key == r.key;
  });
  if (starting) return;
  counters.dropped.fetch_add(1, std::memory_order_relaxed);
  ack(r.handle);
  routed_.erase(found);
}

// Time has passed, or other workers are active.
void PoolNode::route_again(int64_t now_ms) {
  const int64_t server_ms = server_now_ns() / 1000000;
  uint64_t held = 0;
  for (auto at = routed_.begin(); at != routed_.end();) {
    const uint64_t serial = at->first;
    Routed& r = *at->second;
    ++at;  // try_route may take it away
    const bool request = r.name != 'j';
    const bool lost = !r.worker.empty() && !members_.is_active(r.worker);
    if (request && server_ms - static_cast<int64_t>(r.handle.id.ms) > kRequestTtlMs) {
      counters.dropped.fetch_add(1, std::memory_order_relaxed);
      ack(r.handle);
      routed_.erase(serial);
      continue;
    }
    if (lost && request && !r.worker_event.empty()) {
      by_worker_event_.erase(
          worker_event_key(std::string_view(r.worker), std::string_view(r.worker_event)));
      r.worker_event.clear();
    }
    const bool again = request && now_ms - r.since_ms > kAskAgainMs;
    if (r.worker.empty() || lost) {
      held++;
      if (lost || now_ms - r.since_ms >= kHeldPauseMs) try_route(serial);
    } else if (again) {
      // A worker that had lost the job when it got the request, and has it again, has not taken it.
      // A job may be stopped twice, but is not told anything twice.
      const bool forgotten = r.name == 's' && now_ms - r.sent_ms > config_.grace_ms;
      const String owner = owner_of(std::string_view(r.key));
      if (owner != r.worker || forgotten) {
        try_route(serial);
      } else {
        r.since_ms = now_ms;
      }
    }
  }
  counters.held.store(held, std::memory_order_relaxed);
  counters.unanswered.store(routed_.size() - std::min<size_t>(held, routed_.size()),
                            std::memory_order_relaxed);
}

// Answers were lost with the node's stream: all is sent once more.
void PoolNode::route_anew() {
  for (auto& [serial, r] : routed_) {
    r->worker.clear();
    r->worker_event.clear();
  }
  by_worker_event_.clear();
}

// --- the node's own stream
// -------------------------------------------------------------------------

void PoolNode::on_node_event(const pulse_event* event, void* p) {
  static_cast<PoolNode*>(p)->take_node_event(*event);
}

void PoolNode::take_node_event(const pulse_event& event) {
  if (phase_ == Phase::closed) return;
  if (event.kind == PULSE_EVENT_READY) {
    reader_ready_ = true;
    check_ready();
    return;
  }
  if (event.kind != PULSE_EVENT_MESSAGE) return;
  const std::string_view name(event.name, event.name_len);
  const std::string_view payload(event.payload, event.payload_len);
  PoolEnvelope envelope;
  PoolAck answer;
  bool known = true;
  if (name == pool_event::kAck) {
    known = parse_message(payload, &envelope) && parse_message(envelope.payload, &answer);
    if (known)
      worker_answered(envelope.sender, answer.event, answer.error,
                      header_of(event, pool_header::kSettled).has_value());
  } else if (name == pool_event::kDispatched) {
    known = parse_message(payload, &answer);
    if (known) {
      dispatch_answered(answer.event, answer.error,
                        header_of(event, pool_header::kReleased).has_value());
    }
  } else if (name != pool_event::kInit) {
    known = false;
  }
  if (!known) {
    counters.malformed.fetch_add(1, std::memory_order_relaxed);
    log(PULSE_LOG_WARNING, "an event of a node's stream cannot be read");
  }
  read_ = event.id;
  engine_->at_end_of_turn(*this);
}

// `settled`: the worker has told the dispatcher itself.
void PoolNode::worker_answered(std::string_view worker, std::string_view event,
                               std::string_view error, bool settled) {
  const String key = worker_event_key(worker, event);
  auto found = by_worker_event_.find(key);
  if (found == by_worker_event_.end()) {
    // The reply that tells the event's id is on its way, or it was sent elsewhere since.
    if (forwarding_ > 0) early_acks_[key] = {String(error), settled};
    return;
  }
  const uint64_t serial = found->second;
  Routed& r = *routed_.find(serial)->second;
  if (r.name == 'j' && !settled) {
    String answer;
    const String event_id = id_text(r.handle.id);
    append_message(PoolAck{std::string_view(event_id), error}, &answer);
    const String stream =
        engine_->key("pulse:stream:", names_.node_stream(std::string_view(r.dispatcher)));
    forwards_.push_back({stream, 'd', std::move(answer), 0, String(), String(), String()});
  }
  ack(r.handle);
  by_worker_event_.erase(found);
  routed_.erase(serial);
}

// --- what leaves at the end of a turn
// --------------------------------------------------------------

void PoolNode::flush_forwards() {
  while (!forwards_.empty() || id_less(dropped_, read_)) {
    const size_t count = std::min(forwards_.size(), kForwardsPerRun);
    auto batch = make_ref<Forwards>();
    batch->forwards.assign(
        std::make_move_iterator(forwards_.begin()),
        std::make_move_iterator(forwards_.begin() + static_cast<ptrdiff_t>(count)));
    if (id_less(dropped_, read_)) batch->unread = id_text(id_after(read_));
    auto format = [this, batch](CommandWriter& w, bool eval) {
      const Vector<Forward>& list = batch->forwards;
      w.begin_script(scripts::pool_forward, eval, 1 + list.size(), 2 + 4 * list.size());
      w.arg(std::string_view(node_stream_->key()));
      for (const Forward& f : list) w.arg(std::string_view(f.stream));
      w.arg(std::string_view(batch->unread));
      w.arg(trims());
      for (const Forward& f : list) {
        w.arg(std::string_view(&f.name, 1));
        w.arg(std::string_view(f.payload));
        w.arg(std::string_view(f.pool_event));
        w.arg(std::string_view(f.guard));
      }
    };
    auto done = [this, batch](const Error& error, Reply* reply) {
      forwarding_--;
      try {
        forwarded(error, reply, *batch);
      } catch (const std::bad_alloc&) {
        forward_anew(*batch);
        throw;
      }
      if (forwarding_ == 0) early_acks_.clear();
    };
    // An event that is sent twice does no harm: workers know what they run, routers and
    // dispatchers what they wait for.
    forwarding_++;
    try {
      send(&scripts::pool_forward, true, std::move(format), std::move(done));
    } catch (const std::bad_alloc&) {
      forwarding_--;
      std::move(batch->forwards.begin(), batch->forwards.end(), forwards_.begin());
      throw;
    }
    dropped_ = read_;
    forwards_.erase(forwards_.begin(), forwards_.begin() + static_cast<ptrdiff_t>(count));
  }
}

// What became of them is not known: those that have no answer are held, and sent once more.
void PoolNode::forward_anew(const Forwards& batch) noexcept {
  for (const Forward& f : batch.forwards) {
    auto found = routed_.find(f.serial);
    if (found == routed_.end()) continue;
    Routed& r = *found->second;
    if (r.worker == f.worker && r.worker_event.empty()) r.worker.clear();
  }
}

void PoolNode::forwarded(const Error& error, Reply* reply, Forwards& batch) {
  if (phase_ == Phase::closed) return;
  if (error.ok()) reply->next();
  for (Forward& f : batch.forwards) {
    const ReplyNode* node = error.ok() ? &reply->next() : nullptr;
    if (f.serial == 0) {
      // An answer to a dispatcher: again, unless it is gone.
      if (node == nullptr) forwards_.push_back(std::move(f));
      continue;
    }
    auto found = routed_.find(f.serial);
    if (found == routed_.end()) continue;
    Routed& r = *found->second;
    if (r.worker != f.worker) continue;  // sent elsewhere meanwhile
    if (node == nullptr || !node->is_text()) {
      r.worker.clear();  // no such stream: held until the pool has settled
      r.since_ms = monotonic_ms();
      continue;
    }
    String event(node->text);
    const String key = worker_event_key(std::string_view(f.worker), node->text);
    by_worker_event_[key] = f.serial;
    r.worker_event = std::move(event);
    auto early = early_acks_.find(key);
    if (early != early_acks_.end()) {
      const EarlyAck ack = std::move(early->second);
      early_acks_.erase(early);
      worker_answered(std::string_view(f.worker), node->text, std::string_view(ack.error),
                      ack.settled);
    }
  }
  engine_->at_end_of_turn(*this);
}

void PoolNode::ack(const pulse_ack_handle& handle) {
  engine_->at_end_of_turn(*this);
  acks_.push_back(handle);
}

// Acks that fail (an outage) are made again: else the event would stay ours for ever.
void PoolNode::flush_acks() {
  if (acks_.empty() || !sink_) return;
  constexpr size_t kPerCall = 1000;
  while (!acks_.empty()) {
    const size_t count = std::min(acks_.size(), kPerCall);
    auto acked = make_ref<AckBatch>();
    acked->node = Ref<PoolNode>::share(this);
    acked->handles.assign(acks_.end() - static_cast<ptrdiff_t>(count), acks_.end());
    Target target(
        [](const pulse_event* event, void* p) {
          auto* batch = static_cast<AckBatch*>(p);
          // Each for itself: the status of all is only the first failure.
          for (size_t i = 0; i < batch->handles.size(); i++) {
            const pulse_status status =
                i < event->result_count ? event->results[i].status : event->status;
            if (status == PULSE_OK || status == PULSE_ERR_NOT_OWNER) continue;
            if (status == PULSE_ERR_CLOSED) continue;
            batch->node->acks_.push_back(batch->handles[i]);
          }
        },
        acked.get(), acked);
    Ref<Operation> operation;
    Error error =
        sink_->ack(acked->handles.data(), count, 0, std::move(target), nullptr, &operation);
    if (!error.ok()) return;  // the next tick tries again
    acks_.resize(acks_.size() - count);
  }
}

}  // namespace pulseengine
