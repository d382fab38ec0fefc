// The pool as a node saw it at one moment, for the host.
#ifndef PULSE_POOL_SNAPSHOT_H
#define PULSE_POOL_SNAPSHOT_H

#include "base/ref.h"
#include "pulseengine/pool.h"

namespace pulseengine {

class PoolSnapshot final : public RefCounted, private LiveObject {
 public:
  struct Node {
    String id;
    bool local = false;
    int64_t silent_ms = 0;
  };
  struct Worker {
    String id, node;
    bool local = false, active = false;
    int64_t created_ns = 0, silent_ms = 0;
  };
  struct Job {
    String key, worker, node;
    int64_t since_ms = 0;
  };
  Vector<Node> nodes;
  Vector<Worker> workers;
  Vector<Job> jobs;
};

}  // namespace pulseengine

#endif
