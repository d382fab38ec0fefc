// pulseengine jobs|workers|nodes: what is in a pool.

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "failure.h"
#include "pool.h"

namespace cli {
namespace {

// How often a watch looks: the node's own picture, nothing goes to the server.
constexpr int64_t kLookMs = 100;

PoolSnapshotHandle take_snapshot(pulse_node* node) {
  pulse_error error = PULSE_ERROR_INIT;
  pulse_pool_snapshot* snapshot = nullptr;
  check(pulse_node_take_snapshot(node, &snapshot, &error), error, "pool");
  return PoolSnapshotHandle(snapshot);
}

struct Job {
  bool owned;
  std::string worker;
  std::string node;
  bool operator==(const Job& other) const {
    return owned == other.owned && worker == other.worker && node == other.node;
  }
};

// By key.
using Jobs = std::map<std::string, Job>;

Jobs jobs_of(pulse_node* node) {
  const PoolSnapshotHandle snapshot = take_snapshot(node);
  Jobs jobs;
  for (size_t i = 0; i < pulse_pool_snapshot_job_count(snapshot.get()); ++i) {
    pulse_job_info info = {};
    pulse_pool_snapshot_get_job(snapshot.get(), i, &info, sizeof info);
    jobs[std::string(info.key, info.key_len)] = {info.state == PULSE_JOB_OWNED,
                                                 text_of(info.worker, info.worker_len),
                                                 text_of(info.node, info.node_len)};
  }
  return jobs;
}

Json job_json(const char* change, const std::string& key, const Job* job) {
  Json json;
  if (change) json["change"] = change;
  put_text(&json, "key", key);
  if (!job) return json;
  json["state"] = job->owned ? "owned" : "waiting";
  json["worker"] = text_or_null(job->worker);
  json["node"] = text_or_null(job->node);
  return json;
}

// Prints how `now` differs from `before`.
void put_changes(Output* out, const Jobs& before, const Jobs& now) {
  for (const auto& [key, job] : before) {
    if (now.find(key) == now.end()) out->line(job_json("removed", key, nullptr));
  }
  for (const auto& [key, job] : now) {
    const auto known = before.find(key);
    if (known == before.end()) {
      out->line(job_json("added", key, &job));
    } else if (!(known->second == job)) {
      out->line(job_json("changed", key, &job));
    }
  }
}

// Until a stop, the end of the output, or the pool's.
void watch_jobs(Session* session, pulse_node* node) {
  Output out;
  Jobs known;
  for (;;) {
    Jobs now = jobs_of(node);
    put_changes(&out, known, now);
    known = std::move(now);
    out.flush();
    if (out.ended()) return;
    switch (session->wait(-1, kLookMs)) {
      case Wake::kQueue: {
        pulse_event event = {};
        const int64_t n = pulse_queue_poll(session->queue(), &event, sizeof event, 1, 0);
        if (n < 1 || event.kind != PULSE_EVENT_CLOSED) break;
        if (event.status != PULSE_ERR_SHUTTING_DOWN) check(event, "jobs");
        put_changes(&out, known, {});
        out.flush();
        return;
      }
      case Wake::kStop:
      case Wake::kOutputEnded:
        return;
      case Wake::kInput:
      case Wake::kTimeout:
        break;
    }
  }
}

Json node_json(const pulse_node_info& info) {
  Json json;
  json["node"] = std::string(info.id, info.id_len);
  json["silent_ms"] = info.silent_ms;
  return json;
}

Json worker_json(const pulse_worker_info& info) {
  Json json;
  json["worker"] = std::string(info.id, info.id_len);
  json["node"] = text_or_null({info.node, info.node_len});
  json["active"] = info.active != 0;
  json["created_ms"] = info.created_ns / 1000000;
  json["silent_ms"] = info.silent_ms;
  return json;
}

// Leaves the pool, rather than be found dead by the others.
void leave(Session* session, pulse_node* node) {
  pulse_error error = PULSE_ERROR_INIT;
  check(pulse_node_close_wait(node, session->timeout_ms(), &error), error, "pool");
  session->close();
}

}  // namespace

int pool_jobs(const GlobalOptions& global, const PoolArguments& arguments) {
  Session session(global);
  const pulse_target target = session.target();
  const NodeHandle node = join_pool(&session, arguments, &target);
  if (arguments.watch) {
    watch_jobs(&session, node.get());
  } else {
    Output out;
    for (const auto& [key, job] : jobs_of(node.get())) out.line(job_json(nullptr, key, &job));
    out.flush();
  }
  leave(&session, node.get());
  return kExitOk;
}

int pool_workers(const GlobalOptions& global, const PoolArguments& arguments) {
  Session session(global);
  const NodeHandle node = join_pool(&session, arguments);
  const PoolSnapshotHandle snapshot = take_snapshot(node.get());
  Output out;
  for (size_t i = 0; i < pulse_pool_snapshot_worker_count(snapshot.get()); ++i) {
    pulse_worker_info info = {};
    pulse_pool_snapshot_get_worker(snapshot.get(), i, &info, sizeof info);
    out.line(worker_json(info));
  }
  out.flush();
  leave(&session, node.get());
  return kExitOk;
}

int pool_nodes(const GlobalOptions& global, const PoolArguments& arguments) {
  Session session(global);
  const NodeHandle node = join_pool(&session, arguments);
  const PoolSnapshotHandle snapshot = take_snapshot(node.get());
  Output out;
  for (size_t i = 0; i < pulse_pool_snapshot_node_count(snapshot.get()); ++i) {
    pulse_node_info info = {};
    pulse_pool_snapshot_get_node(snapshot.get(), i, &info, sizeof info);
    if (!info.local) out.line(node_json(info));  // we are here only to look
  }
  out.flush();
  leave(&session, node.get());
  return kExitOk;
}

}  // namespace cli
