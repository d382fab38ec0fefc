// The dead, and what nobody owns.
#include <algorithm>

#include "base/hash.h"
#include "base/rng.h"
#include "pool/node.h"
#include "pool/worker.h"
#include "rmap/map_list.h"
#include "scripts.h"

namespace pulseengine {
namespace {

constexpr int64_t kJobsPerRun = 200;
constexpr size_t kKeysPerRun = 200;

}  // namespace

// Nodes do it at different times: `ms` and up to half as much again.
int64_t PoolNode::jittered(int64_t ms) {
  return ms + static_cast<int64_t>(random_below(static_cast<uint64_t>(ms / 2 + 1)));
}

void PoolNode::sweep(int64_t now_ms) {
  if (now_ms >= next_sweep_ms_ && !burying_ && deaths_.empty()) {
    const int64_t heard_ms = heard_until_ms(now_ms);
    for (Membership::Dead& dead : members_.dead_workers(owners(), heard_ms)) {
      const bool local = std::any_of(workers_.begin(), workers_.end(),
                                     [&](const auto& worker) { return worker->id() == dead.id; });
      if (!local) deaths_.push_back({std::move(dead.id), std::move(dead.beat), String(), false});
    }
    for (Membership::Dead& dead : members_.dead_nodes(heard_ms)) {
      if (dead.id != id_) {
        deaths_.push_back({std::move(dead.id), std::move(dead.beat), String(), true});
      }
    }
    // Somebody may be about to die: then it is looked at when that is certain.
    next_sweep_ms_ = now_ms + jittered(std::max<int64_t>(config_.ttl_ms / 8, tick_ms_));
  }
  bury_next();
  if (now_ms >= next_adopt_ms_) {
    next_adopt_ms_ = now_ms + jittered(std::max<int64_t>(config_.ttl_ms / 4, tick_ms_));
    adopt(heard_until_ms(now_ms));
  }
  if (now_ms >= next_trim_ms_ && !trimming_) {
    next_trim_ms_ = now_ms + jittered(std::min<int64_t>(config_.grace_ms, 2000));
    trim();
  }
}

// Every worker that is listed as owning jobs.
Vector<String> PoolNode::owners() const {
  Vector<String> ids;
  Ref<MapVersion> version = jobs_->take_version();
  MapCursor cursor;
  visit(*version, &cursor, [&](const MapEntry& entry) {
    ids.push_back(String(entry.key()));
    return true;
  });
  return ids;
}

void PoolNode::bury_next() {
  if (burying_ || deaths_.empty() || !engine_->server_is_ready()) return;
  const Death& death = deaths_.front();
  auto format = [this, death](CommandWriter& w, bool eval) {
    if (death.node) {
      w.begin_script(scripts::pool_bury_node, eval, 2, 2);
      w.arg(std::string_view(names_.node_keepalive));
      w.arg(std::string_view(
          engine_->key("pulse:stream:", names_.node_stream(std::string_view(death.id)))));
      w.arg(std::string_view(death.id));
      w.arg(std::string_view(death.beat));
      return;
    }
    w.begin_script(scripts::pool_bury_worker, eval, 7, 7);
    w.arg(std::string_view(names_.workers));
    w.arg(std::string_view(names_.worker_keepalive));
    w.arg(std::string_view(names_.cleanup));
    w.arg(std::string_view(names_.jobs));
    w.arg(std::string_view(names_.payloads));
    w.arg(std::string_view(names_.pool_stream));
    w.arg(std::string_view(
        engine_->key("pulse:stream:", PoolNames::worker_stream(std::string_view(death.id)))));
    w.arg(std::string_view(death.id));
    w.arg(std::string_view(death.beat));
    w.arg(config_.ttl_ms * 1000);
    w.arg(std::string_view(id_));
    w.arg(kJobsPerRun);
    w.arg(std::string_view(death.lock));
    w.arg(kRouters);
  };
  burying_ = true;
  try {
    send(death.node ? &scripts::pool_bury_node : &scripts::pool_bury_worker, true,
         std::move(format), [this](const Error& e, Reply* r) {
           burying_ = false;
           buried(e, r);
         });
  } catch (const std::bad_alloc&) {
    burying_ = false;
    throw;
  }
}

void PoolNode::buried(const Error& error, Reply* reply) {
  if (phase_ == Phase::closed || deaths_.empty()) return;
  Death death = std::move(deaths_.front());
  deaths_.pop_front();
  if (error.ok() && !death.node) {
    const size_t elements = reply->next().elements();
    const std::string_view result = reply->next().text;
    if (elements >= 2) {
      counters.requeued.fetch_add(static_cast<uint64_t>(reply->next().integer),
                                  std::memory_order_relaxed);
    }
    if (result == "more") {
      death.lock = String(reply->next().text);
      deaths_.push_front(std::move(death));
    } else if (result == "done") {
      counters.cleaned.fetch_add(1, std::memory_order_relaxed);
    }
  }
  bury_next();
}

// Jobs that no worker has, for longer than any hand-over takes.
void PoolNode::adopt(int64_t now_ms) {
  pulse_map_info owned_by{}, existing{};
  owned_by.size = existing.size = sizeof existing;
  jobs_->info(&owned_by);
  payloads_->info(&existing);
  if (owned_by.state != PULSE_MAP_SYNCED || existing.state != PULSE_MAP_SYNCED) return;
  HashMap<String, String> owned;
  Ref<MapVersion> jobs = jobs_->take_version();
  MapCursor cursor;
  visit(*jobs, &cursor, [&](const MapEntry& entry) {
    Ref<StringList> list = StringList::parse(entry.view());
    for (size_t i = 0; i < list->size(); i++) owned[String(list->at(i))] = String(entry.key());
    return true;
  });
  Ref<MapVersion> payloads = payloads_->take_version();
  HashMap<String, Seen> seen;
  Vector<String> lost;
  const int64_t patience = std::max(2 * config_.ttl_ms, config_.grace_ms);
  MapCursor at;
  visit(*payloads, &at, [&](const MapEntry& entry) {
    String key(entry.key());
    auto owner = owned.find(key);
    Seen now{owner == owned.end() ? String() : owner->second, now_ms, now_ms + patience};
    auto known = seen_.find(key);
    if (known != seen_.end() && known->second.owner == now.owner) now = known->second;
    if (now.owner.empty() && now_ms > now.patient_until_ms && lost.size() < kKeysPerRun) {
      lost.push_back(key);
      now.patient_until_ms = now_ms + patience;
    }
    seen.emplace(std::move(key), std::move(now));
    return true;
  });
  {
    std::lock_guard<std::mutex> lock(members_mutex_);
    seen_.swap(seen);
  }
  if (lost.empty()) return;
  auto format = [this, lost = std::move(lost)](CommandWriter& w, bool eval) {
    w.begin_script(scripts::pool_adopt, eval, 3, 3 + lost.size());
    w.arg(std::string_view(names_.payloads));
    w.arg(std::string_view(names_.pending));
    w.arg(std::string_view(names_.pool_stream));
    w.arg(std::string_view(id_));
    w.arg(2 * config_.grace_ms * 1000);
    w.arg(kRouters);
    for (const String& key : lost) w.arg(std::string_view(key));
  };
  send(&scripts::pool_adopt, true, std::move(format), [this](const Error& error, Reply* reply) {
    if (!error.ok()) return;
    counters.requeued.fetch_add(static_cast<uint64_t>(reply->next().integer),
                                std::memory_order_relaxed);
  });
}

// Guards that hold no more, and what all routers have read of the pool's stream.
void PoolNode::trim() {
  auto format = [this](CommandWriter& w, bool eval) {
    w.begin_script(scripts::pool_sweep, eval, 2, 2);
    w.arg(std::string_view(names_.pending));
    w.arg(std::string_view(names_.pool_stream));
    w.arg(kRouters);
    w.arg(trims());
  };
  trimming_ = true;
  try {
    send(&scripts::pool_sweep, true, std::move(format),
         [this](const Error&, Reply*) { trimming_ = false; });
  } catch (const std::bad_alloc&) {
    trimming_ = false;
    throw;
  }
}

}  // namespace pulseengine
