// pulseengine worker: takes part in a pool, and runs its jobs by printing them or with a command.

#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "failure.h"
#include "job_processes.h"
#include "pool.h"

namespace cli {
namespace {

// One run of the verb.
class Fleet {
 public:
  // `processes` is null where nothing is to be run.
  Fleet(Session* session, const PoolArguments& arguments, JobProcesses* processes)
      : session_(*session), arguments_(arguments), processes_(processes) {
    const pulse_target target = session_.target(kNode);
    node_ = join_pool(&session_, arguments, &target);
    id_ = node_id(node_.get());
    if (processes_) processes_->set_node(id_);
    for (uint64_t i = 0; i < arguments.workers; ++i) add_worker(i);
  }

  // Returns when the node has closed, because a stop was asked for, nobody reads the output any
  // more, or the pool was shut down.
  int run() {
    while (!closed_) {
      out_.flush();
      if (out_.ended()) begin_close();
      switch (session_.wait(-1, processes_ ? processes_->wait_ms() : -1)) {
        case Wake::kQueue:
          take();
          break;
        case Wake::kStop:
        case Wake::kOutputEnded:
          begin_close();
          break;
        case Wake::kInput:
        case Wake::kTimeout:
          break;
      }
      if (processes_) {
        for (const ProcessEnd& end : processes_->take_ends()) use(end);
      }
    }
    out_.flush();
    if (left_ == 0) return kExitOk;
    throw Failure(kExitFailed, "worker: " + std::to_string(left_) + " jobs did not stop in time");
  }

 private:
  // Workers have the tokens from kWorkers on.
  enum Token : uint64_t { kNode = 0, kWorkers = 1 };

  void add_worker(uint64_t index) {
    const pulse_target target = session_.target(kWorkers + index);
    pulse_error error = PULSE_ERROR_INIT;
    pulse_worker* worker = nullptr;
    check(pulse_node_add_worker(node_.get(), nullptr, &target, &worker, &error), error, "worker");
    workers_.emplace_back(worker);
  }

  void begin_close() {
    if (closing_) return;
    closing_ = true;
    session_.begin_end();
    if (processes_) processes_->expect_stops();
    pulse_node_close(node_.get());
  }

  void take() {
    pulse_event events[64];
    const int64_t n = pulse_queue_poll(session_.queue(), events, sizeof events[0], 64, 0);
    for (int64_t i = 0; i < n; ++i) use(events[i]);
  }

  void use(const pulse_event& event) {
    switch (event.kind) {
      case PULSE_EVENT_JOB_START:
        start(event);
        break;
      case PULSE_EVENT_JOB_STOP:
        stop(event);
        break;
      case PULSE_EVENT_JOB_NOTIFY:
        out_.line(job_json("notify", event));
        pulse_job_notified(event.job, PULSE_OK, nullptr, 0);
        break;
      case PULSE_EVENT_READY:
        if (event.token >= kWorkers) out_.line(own_json("ready", worker_id(event.token)));
        break;
      case PULSE_EVENT_CLOSED:
        closed(event);
        break;
      default:
        notice(event);
        break;
    }
  }

  void start(const pulse_event& event) {
    if (processes_) {
      std::string why;
      if (!processes_->start(event.job, &why)) {
        // Out of processes or memory: later it may work.
        std::fprintf(stderr, "pulseengine: --exec: %s\n", why.c_str());
        pulse_job_started(event.job, PULSE_ERR_AGAIN, why.data(), why.size());
        return;
      }
    }
    out_.line(job_json("start", event));
    pulse_job_started(event.job, PULSE_OK, nullptr, 0);
  }

  void stop(const pulse_event& event) {
    Json json = job_json(event.state == PULSE_STOP_MOVED ? "moved" : "stop", event);
    if (event.state == PULSE_STOP_SHUTDOWN) json["reason"] = "shutdown";
    if (event.state == PULSE_STOP_LOST) json["reason"] = "lost";
    out_.line(json);
    // With a command it is answered when that has ended.
    if (processes_ && processes_->stop(event.job)) return;
    pulse_job_stopped(event.job, PULSE_OK, nullptr, 0);
  }

  void use(const ProcessEnd& end) {
    pulse_job* job = end.job.get();
    switch (end.kind) {
      case ProcessEnd::kStopped:
        pulse_job_stopped(job, PULSE_OK, nullptr, 0);
        break;
      case ProcessEnd::kFinished:
        out_.line(notice_json("exec_finished", job));
        pulse_job_finish(job, PULSE_OK, nullptr, 0);
        break;
      case ProcessEnd::kFailed:
      case ProcessEnd::kGivenUp: {
        const bool again = end.kind == ProcessEnd::kFailed;
        Json json = notice_json("exec_failed", job);
        json["exit_status"] = end.exit_status >= 0 ? Json(end.exit_status) : Json(nullptr);
        if (end.signal_number) json["signal"] = end.signal_number;
        json["failures"] = end.failures;
        json["retry_ms"] = again ? Json(end.retry_ms) : Json(nullptr);
        out_.line(json);
        static const std::string kText = "its command failed too often";
        if (!again) pulse_job_finish(job, PULSE_ERR_REFUSED, kText.data(), kText.size());
        break;
      }
    }
  }

  void closed(const pulse_event& event) {
    if (event.token >= kWorkers) {
      out_.line(own_json("closed", worker_id(event.token)));
      return;
    }
    closed_ = true;
    left_ = event.id.ms;
    Json json = own_json("closed", "");
    json["handed_over"] = event.count;
    if (event.status == PULSE_ERR_SHUTTING_DOWN) json["reason"] = "shutdown";
    out_.line(json);
    if (event.status == PULSE_ERR_SHUTTING_DOWN) return;
    out_.flush();
    check(event, "worker");
  }

  void notice(const pulse_event& event) {
    Json json = cli::notice_json(event);
    if (json.is_null()) return;
    if (event.token >= kWorkers) json["worker"] = worker_id(event.token);
    out_.line(json);
  }

  // An event about a job.
  Json job_json(const char* name, const pulse_event& event) const {
    Json json;
    json["event"] = name;
    put_text(&json, "key", {event.name, event.name_len});
    put_bytes(
        &json, "payload",
        event.payload ? std::string_view(event.payload, event.payload_len) : std::string_view());
    json["worker"] = worker_of(event.job);
    json["node"] = id_;
    return json;
  }

  // An event about one of our workers, or about the node where that is empty.
  Json own_json(const char* name, const std::string& worker) const {
    Json json;
    json["event"] = name;
    json["key"] = nullptr;
    json["payload"] = nullptr;
    json["worker"] = text_or_null(worker);
    json["node"] = id_;
    return json;
  }

  Json notice_json(const char* name, const pulse_job* job) const {
    Json json;
    json["notice"] = name;
    size_t size = 0;
    const char* key = pulse_job_key(job, &size);
    put_text(&json, "key", {key, size});
    json["worker"] = worker_of(job);
    json["node"] = id_;
    return json;
  }

  static std::string worker_of(const pulse_job* job) {
    size_t size = 0;
    const char* id = pulse_job_worker(job, &size);
    return std::string(id, size);
  }

  // It changes when a worker was declared dead.
  std::string worker_id(uint64_t token) const {
    char text[27];
    return std::string(text,
                       pulse_worker_get_id(workers_[token - kWorkers].get(), text, sizeof text));
  }

  Session& session_;
  const PoolArguments& arguments_;
  JobProcesses* const processes_;
  NodeHandle node_;
  std::string id_;
  std::vector<WorkerHandle> workers_;
  Output out_;
  bool closing_ = false;
  bool closed_ = false;
  uint64_t left_ = 0;
};

}  // namespace

int pool_worker(const GlobalOptions& global, const PoolArguments& arguments) {
  pulse_node_options options = node_options(arguments);
  if (options.worker_ttl_ms == 0) options.worker_ttl_ms = 30000;
  std::unique_ptr<JobProcesses> processes;
  if (!arguments.command.empty()) {
    // Gone before the jobs can start elsewhere.
    processes = std::make_unique<JobProcesses>(arguments.command, arguments.pool, arguments.retries,
                                               options.worker_ttl_ms / 2);
  }
  Session session(global);
  const int code = Fleet(&session, arguments, processes.get()).run();
  session.close();
  return code;
}

}  // namespace cli
