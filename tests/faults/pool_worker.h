// A process with a node of a pool: its workers run jobs, and it dispatches some.
//
// A job is run by doing nothing: its start, its stop and its end are written down.  Answers take a
// random time.  Jobs whose keys begin with "f" finish by themselves after a while.
//
// Orders on the standard input:
//   dispatch PREFIX COUNT          COUNT jobs, PREFIX and this worker's name in their keys; what is
//                                  not accepted for now is dispatched again
//   burst PREFIX THREADS COUNT     COUNT dispatches by each of so many threads, each tried once
//   stop KEY                       until the request was accepted
//   hold, release                  starts are not answered until the release
//   add, remove                    another worker; one worker less
//   shutdown                       of the pool
//   tell                           what the node knows
// The end of the input asks it to leave the pool and to finish.
//
// Its journal; times are microseconds of the monotonic clock, which all processes share:
//   Y id                 a worker is ready (again, under another id)
//   M id                 the node takes part
//   B run key worker time requeued   a job is to start; `run` tells starts of this process apart
//   S run time           it was answered "started"
//   T run time reason    it is to stop
//   E run time           it was answered "stopped"
//   F run time           it finishes by itself
//   G run                it cannot, as it is stopping
//   X worker time        a worker was declared dead
//   W from to            this process did not run
//   D key                a job is being dispatched
//   A key, U key status, V key status   accepted; unknown; not accepted
//   P key                a request to stop the job was accepted
//   O status missing     the pool was shut down
//   I text               what the node knows
//   C status             the node has closed
//   ! text               a promise was broken
//   Z status             it has closed
#ifndef PULSE_TESTS_FAULTS_POOL_WORKER_H
#define PULSE_TESTS_FAULTS_POOL_WORKER_H

#include "arguments.h"

namespace faults {

// What every job is told.
inline std::string payload_of(const std::string& key) { return "what " + key + " does"; }

// Settings: those of Program; pool, name, workers, client_only, ttl_ms, grace_ms, block_ms,
// max_queued; handle_ms: answers to requests take up to so long; finish_ms: jobs that finish do so
// within; hold: 1 as if ordered; skew_s: how wrong this process' clock is.
int run_pool_worker(const Arguments& arguments);

}  // namespace faults

#endif
