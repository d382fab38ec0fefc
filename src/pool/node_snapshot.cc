// The pool as the host sees it.
#include <charconv>

#include "base/hash.h"
#include "pool/node.h"
#include "pool/snapshot.h"
#include "rmap/map_list.h"

namespace pulseengine {
namespace {

String node_of(std::string_view worker, const Vector<PoolSnapshot::Node>& nodes) {
  for (const PoolSnapshot::Node& node : nodes) {
    if (is_worker_of(worker, std::string_view(node.id))) return node.id;
  }
  return String();
}

}  // namespace

Error PoolNode::snapshot(Ref<PoolSnapshot>* out) const {
  if (config_.client_only) {
    return Error(PULSE_ERR_INVALID, "a client-only node does not know the pool");
  }
  if (!ready_signal_->is_set() || !jobs_ || !payloads_) {
    return Error(PULSE_ERR_AGAIN, "the node does not take part in its pool yet",
                 PULSE_ERROR_RETRIABLE);
  }
  auto snapshot = make_ref<PoolSnapshot>();
  const int64_t now = monotonic_ms();
  std::lock_guard<std::mutex> lock(members_mutex_);
  for (const auto& [id, beat] : members_.entries(Membership::kNodeBeats)) {
    snapshot->nodes.push_back({id, id == id_, now - beat.changed_ms});
  }
  for (const auto& [id, created] : members_.entries(Membership::kWorkers)) {
    PoolSnapshot::Worker worker;
    worker.id = id;
    worker.node = node_of(std::string_view(id), snapshot->nodes);
    worker.local = worker.node == id_;
    worker.active = members_.is_active(std::string_view(id));
    const char* text = created.value.data();
    std::from_chars(text, text + created.value.size(), worker.created_ns);
    worker.silent_ms = members_.silent_ms(Membership::kWorkerBeats, std::string_view(id), now);
    snapshot->workers.push_back(std::move(worker));
  }
  HashMap<String, String> owners;
  // Owners are published before payloads, so the owner of each job that is seen here is there.
  Ref<MapVersion> payloads = payloads_->take_version();
  Ref<MapVersion> jobs = jobs_->take_version();
  MapCursor cursor;
  visit(*jobs, &cursor, [&](const MapEntry& entry) {
    Ref<StringList> list = StringList::parse(entry.view());
    for (size_t i = 0; i < list->size(); i++) owners[String(list->at(i))] = String(entry.key());
    return true;
  });
  MapCursor at;
  visit(*payloads, &at, [&](const MapEntry& entry) {
    PoolSnapshot::Job job;
    job.key = String(entry.key());
    auto owner = owners.find(job.key);
    if (owner != owners.end()) job.worker = owner->second;
    job.node = node_of(std::string_view(job.worker), snapshot->nodes);
    auto seen = seen_.find(job.key);
    if (seen != seen_.end() && seen->second.owner == job.worker) {
      job.since_ms = now - seen->second.since_ms;
    }
    snapshot->jobs.push_back(std::move(job));
    return true;
  });
  *out = std::move(snapshot);
  return {};
}

Error PoolNode::payload(std::string_view key, Ref<MapEntry>* out) const {
  if (config_.client_only) {
    return Error(PULSE_ERR_INVALID, "a client-only node does not know the pool");
  }
  if (ready_signal_->is_set() && payloads_) {
    Ref<MapVersion> version = payloads_->take_version();
    const MapEntry* entry = version->find(key, hash_bytes(key));
    if (entry != nullptr) {
      *out = entry->hold();
      return {};
    }
  }
  return Error(PULSE_ERR_NOT_FOUND, "no such job");
}

void PoolNode::metrics(pulse_node_metrics* m) const {
  m->size = sizeof *m;
  const Counters& c = counters;
  m->dispatched = c.dispatched.load(std::memory_order_relaxed);
  m->started = c.started.load(std::memory_order_relaxed);
  m->refused = c.refused.load(std::memory_order_relaxed);
  m->routed = c.routed.load(std::memory_order_relaxed);
  m->rerouted = c.rerouted.load(std::memory_order_relaxed);
  m->held = c.held.load(std::memory_order_relaxed);
  m->unanswered = c.unanswered.load(std::memory_order_relaxed);
  m->malformed = c.malformed.load(std::memory_order_relaxed);
  m->dropped = c.dropped.load(std::memory_order_relaxed);
  m->jobs = c.jobs.load(std::memory_order_relaxed);
  m->moved_in = c.moved_in.load(std::memory_order_relaxed);
  m->moved_out = c.moved_out.load(std::memory_order_relaxed);
  m->finished = c.finished.load(std::memory_order_relaxed);
  m->cleaned = c.cleaned.load(std::memory_order_relaxed);
  m->requeued = c.requeued.load(std::memory_order_relaxed);
  m->lost_owners = c.lost_owners.load(std::memory_order_relaxed);
}

}  // namespace pulseengine
