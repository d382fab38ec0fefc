// What the workers of a node tell the server: all that have news share a script run.
#include "pool/node.h"
#include "pool/worker.h"
#include "scripts.h"

namespace pulseengine {

// Batches of several workers on their way.
class PoolNode::UpdateRun final : public RefCounted {
 public:
  struct Part {
    Ref<PoolWorker> worker;
    Ref<UpdateBatch> batch;
  };
  Vector<Part> parts;

  void format(const PoolNode& node, CommandWriter& w, bool eval) const {
    const PoolNames& names = node.names_;
    size_t keys = 7, arguments = 3;
    for (const Part& part : parts) {
      keys++;
      arguments += 4 + arguments_of(part);
      for (const JobUpdate& update : part.batch->updates) keys += update.keys();
    }
    w.begin_script(scripts::pool_update, eval, keys, arguments);
    for (const String* key : {&names.workers, &names.jobs, &names.payloads, &names.worker_keepalive,
                              &names.cleanup, &names.pending, &names.pool_stream}) {
      w.arg(std::string_view(*key));
    }
    for (const Part& part : parts) {
      w.arg(std::string_view(part.batch->stream));
      for (const JobUpdate& update : part.batch->updates) update.append_keys(w);
    }
    w.arg(kRouters);
    w.arg(node.trims());
    w.arg(static_cast<int64_t>(parts.size()));
    for (const Part& part : parts) {
      w.arg(std::string_view(part.batch->worker));
      w.arg(std::string_view(part.batch->again ? "1" : "0"));
      w.arg(std::string_view(part.batch->unread));
      w.arg(static_cast<int64_t>(arguments_of(part)));
      for (const JobUpdate& update : part.batch->updates) update.append_arguments(w);
      part.batch->again = true;  // whenever it is formatted once more
    }
  }

 private:
  static size_t arguments_of(const Part& part) {
    size_t count = 0;
    for (const JobUpdate& update : part.batch->updates) count += update.arguments();
    return count;
  }
};

void PoolNode::flush_updates() {
  const int64_t now = monotonic_ms();
  for (size_t at = 0; at < workers_.size();) {
    auto run = make_ref<UpdateRun>();
    UpdateRoom room;
    for (; at < workers_.size() && !room.empty(); at++) {
      reserve_one_more(run->parts);
      Ref<UpdateBatch> batch = workers_[at]->next_updates(now, &room);
      if (batch) run->parts.push_back({workers_[at], std::move(batch)});
    }
    if (!run->parts.empty()) send_updates(std::move(run));
  }
}

void PoolNode::send_updates(Ref<UpdateRun> run) {
  auto format = [this, run](CommandWriter& w, bool eval) { run->format(*this, w, eval); };
  auto done = [this, run](const Error& error, Reply* reply) {
    if (reply != nullptr) reply->next();
    for (const UpdateRun::Part& part : run->parts) {
      try {
        if (reply != nullptr) {
          Reply own = *reply;
          reply->skip();
          part.worker->updated(*part.batch, error, &own);
        } else {
          part.worker->updated(*part.batch, error, nullptr);
        }
      } catch (const std::bad_alloc&) {
        retry_soon();
      }
    }
  };
  for (const UpdateRun::Part& part : run->parts) part.worker->set_sending(true);
  try {
    // Sent twice, each of them does what it did before.
    send(&scripts::pool_update, true, std::move(format), std::move(done));
  } catch (const std::bad_alloc&) {
    for (const UpdateRun::Part& part : run->parts) part.worker->set_sending(false);
    throw;
  }
}

}  // namespace pulseengine
