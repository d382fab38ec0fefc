/* Worker pools: jobs with a key go to one worker of a fleet, stay there, and move when workers come
 * and go.
 *
 * A process joins a pool as a node (pulse_node_join) and adds workers to it; any node dispatches
 * jobs, stops and notifies them by key.  A job lives from the dispatch that was answered "started"
 * until it is stopped, or finishes by itself (pulse_job_finish).  While it lives it runs on exactly
 * one worker, the one that consistent hashing picks among all active workers.  Workers of a process
 * that died are noticed after worker_ttl_ms and their jobs start elsewhere.
 *
 * The handler of a worker is its target.  It gets requests about jobs, each of which it answers
 * once, at any time and from any thread:
 *
 *   PULSE_EVENT_JOB_START    start this job         pulse_job_started(event->job, status, text)
 *   PULSE_EVENT_JOB_STOP     stop it (state: why)   pulse_job_stopped(event->job, status, text)
 *   PULSE_EVENT_JOB_NOTIFY   a notification         pulse_job_notified(event->job, status, text)
 *
 * A job has one request at a time: the next one comes when the last one was answered.  Requests of
 * different jobs do not wait for each other.  `name` is the key, `payload` the payload of the job
 * or of the notification.  event->job is valid during the event; take a reference to keep it.
 *
 * Nodes of this engine and of the Go library may share a pool (see docs/worker-pools.md for what
 * only holds without the latter).
 */
#ifndef PULSEENGINE_POOL_H
#define PULSEENGINE_POOL_H

#include <pulseengine/engine.h>

PULSE_BEGIN_DECLS

typedef struct pulse_node pulse_node;
typedef struct pulse_worker pulse_worker;
typedef struct pulse_job pulse_job;
typedef struct pulse_pool_snapshot pulse_pool_snapshot;

enum { PULSE_POOL_MAX_KEY_BYTES = 65536 };

typedef int32_t pulse_routing;
enum {
  PULSE_ROUTING_JUMP = 0,      /* as the Go library: needed while a Go node is in the pool */
  PULSE_ROUTING_RENDEZVOUS = 1 /* moves fewer jobs when workers change; this engine only.  All
                                  keys of such a pool are under the name "<pool>:rv" */
};

typedef int32_t pulse_pool_member;
enum { /* state of PULSE_EVENT_POOL_MEMBER */
       PULSE_POOL_NODE_JOINED = 1,
       PULSE_POOL_NODE_LEFT = 2,
       PULSE_POOL_WORKER_JOINED = 3,
       PULSE_POOL_WORKER_LEFT = 4
};

typedef struct pulse_node_options {
  size_t size;
  int64_t worker_ttl_ms; /* 30000; a worker or node that is silent so long is dead; >= 200 */
  int64_t worker_shutdown_ttl_ms; /* 120000; how long a shutdown waits for the other nodes */
  int64_t job_sink_block_ms;      /* 5000; how long one read of the pool's stream waits */
  int64_t max_queued_jobs;        /* 1000 dispatches without an answer in the whole pool */
  int64_t ack_grace_ms;     /* 20000; a router that died is replaced after this; a dispatch is given
                               up after twice as long; >= 100 */
  int64_t close_timeout_ms; /* 30000; how long closing waits for handlers */
  int32_t client_only;      /* 1: dispatches only; no workers, routes nothing */
  pulse_routing routing;
} pulse_node_options;

#define PULSE_NODE_OPTIONS_INIT \
  { sizeof(pulse_node_options), 0, 0, 0, 0, 0, 0, 0, 0 }

/* Sets *options to PULSE_NODE_OPTIONS_INIT.  Since 0.1. */
PULSE_API void pulse_node_options_init(pulse_node_options *options) PULSE_NOEXCEPT;

/* Joins a pool as a new node.  Returns at once; `target` (may be NULL) gets PULSE_EVENT_READY when
 * it takes part, PULSE_EVENT_POOL_MEMBER when nodes and workers come and go, notices, and
 * PULSE_EVENT_CLOSED at last: status PULSE_ERR_SHUTTING_DOWN when the pool was shut down,
 * PULSE_ERR_INVALID when the pool is routed otherwise, PULSE_ERR_PERMISSION or PULSE_ERR_WRONG_TYPE
 * when the server does not let it join.  Name: as a stream's, without '='.  All
 * nodes of a pool must agree on worker_ttl_ms and ack_grace_ms.  The node keeps the engine alive.
 * PULSE_ERR_INVALID, PULSE_ERR_CLOSED.  Since 0.1. */
PULSE_API pulse_status pulse_node_join(pulse_engine *engine, const char *pool, size_t pool_len,
                                       const pulse_node_options *options,
                                       const pulse_target *target, pulse_node **node,
                                       pulse_error *error) PULSE_NOEXCEPT;
/* The same, and waits until the node takes part.  On failure nothing is left behind. */
PULSE_API pulse_status pulse_node_join_wait(pulse_engine *engine, const char *pool, size_t pool_len,
                                            const pulse_node_options *options,
                                            const pulse_target *target, int64_t timeout_ms,
                                            pulse_node **node, pulse_error *error) PULSE_NOEXCEPT;

/* Writes the node's id (a ULID of 26 characters) and a NUL to text, returns 26, or 0 when
 * capacity < 27.  Since 0.1. */
PULSE_API size_t pulse_node_get_id(pulse_node *node, char *text, size_t capacity) PULSE_NOEXCEPT;

/* --- jobs, by key; from any node ------------------------------------------------------ */

/* Dispatches a job.  Key: 1 to 64 KiB without '='.  Completion PULSE_EVENT_JOB_DISPATCHED with the
 * status:
 *   PULSE_OK                 its worker has started it
 *   PULSE_ERR_REFUSED        the handler refused it; the message is the handler's text
 *   PULSE_ERR_EXISTS         a job with this key exists, or is being dispatched
 *   PULSE_ERR_QUEUE_FULL     max_queued_jobs dispatches are without an answer
 *   PULSE_ERR_NO_POOL        no node that routes jobs has ever joined
 *   PULSE_ERR_SHUTTING_DOWN  the pool is being shut down
 *   PULSE_ERR_TIMEOUT        no answer within 2 * ack_grace_ms; with PULSE_ERROR_OUTCOME_UNKNOWN
 *                            the job may still start: pulse_node_get_job_state tells
 * and those of every command.  What was answered PULSE_OK, or is queued, survives the death of any
 * node.  PULSE_ERR_INVALID, PULSE_ERR_TOO_LARGE, PULSE_ERR_AGAIN.  Since 0.1. */
PULSE_API pulse_status pulse_node_dispatch(pulse_node *node, const char *key, size_t key_len,
                                           const void *payload, size_t payload_len,
                                           const pulse_target *target, uint64_t *operation,
                                           pulse_error *error) PULSE_NOEXCEPT;
PULSE_API pulse_status pulse_node_dispatch_wait(pulse_node *node, const char *key, size_t key_len,
                                                const void *payload, size_t payload_len,
                                                int64_t timeout_ms,
                                                pulse_error *error) PULSE_NOEXCEPT;

/* Asks that a job be stopped.  Completion PULSE_EVENT_JOB_REQUESTED when the request is in the
 * pool's stream, from where it reaches the job's worker; requests for jobs that do not exist, or
 * older than two minutes, are dropped.  PULSE_ERR_NO_POOL.  Since 0.1. */
PULSE_API pulse_status pulse_node_stop_job(pulse_node *node, const char *key, size_t key_len,
                                           const pulse_target *target, uint64_t *operation,
                                           pulse_error *error) PULSE_NOEXCEPT;
PULSE_API pulse_status pulse_node_stop_job_wait(pulse_node *node, const char *key, size_t key_len,
                                                int64_t timeout_ms,
                                                pulse_error *error) PULSE_NOEXCEPT;

/* Sends a notification to the worker that has the job; as pulse_node_stop_job.  Since 0.1. */
PULSE_API pulse_status pulse_node_notify(pulse_node *node, const char *key, size_t key_len,
                                         const void *payload, size_t payload_len,
                                         const pulse_target *target, uint64_t *operation,
                                         pulse_error *error) PULSE_NOEXCEPT;
PULSE_API pulse_status pulse_node_notify_wait(pulse_node *node, const char *key, size_t key_len,
                                              const void *payload, size_t payload_len,
                                              int64_t timeout_ms,
                                              pulse_error *error) PULSE_NOEXCEPT;

typedef int32_t pulse_job_state;
enum {
  PULSE_JOB_ABSENT = 0,  /* no such job */
  PULSE_JOB_QUEUED = 1,  /* a dispatch is under way, and no worker has it yet */
  PULSE_JOB_WAITING = 2, /* it exists and no worker has it: it is moving, or its worker is gone */
  PULSE_JOB_OWNED = 3    /* a worker has it: starting, running or stopping */
};

/* Asks the server what has become of a job: completion PULSE_EVENT_JOB_STATE with the state, and in
 * `name` the id of the worker that has it.  Since 0.1. */
PULSE_API pulse_status pulse_node_get_job_state(pulse_node *node, const char *key, size_t key_len,
                                                const pulse_target *target, uint64_t *operation,
                                                pulse_error *error) PULSE_NOEXCEPT;
PULSE_API pulse_status pulse_node_get_job_state_wait(pulse_node *node, const char *key,
                                                     size_t key_len, pulse_job_state *state,
                                                     int64_t timeout_ms,
                                                     pulse_error *error) PULSE_NOEXCEPT;

/* The payload of a job, from the node's replica; the caller releases it with pulse_bytes_unref.
 * PULSE_ERR_NOT_FOUND: no such job; PULSE_ERR_INVALID: the node is client_only.  Since 0.1. */
PULSE_API pulse_status pulse_node_get_job_payload(pulse_node *node, const char *key, size_t key_len,
                                                  pulse_bytes **payload) PULSE_NOEXCEPT;

/* --- the pool as this node sees it ------------------------------------------------------ */

typedef struct pulse_node_info {
  const char *id;
  size_t id_len;
  int32_t local; /* 1: the node that was asked */
  int32_t reserved;
  int64_t silent_ms; /* since its keep-alive changed last, as seen from here */
} pulse_node_info;

typedef struct pulse_worker_info {
  const char *id;
  size_t id_len;
  const char *node; /* empty: not known (a worker of the Go library) */
  size_t node_len;
  int32_t local;  /* 1: of the node that was asked */
  int32_t active; /* 1: jobs are routed to it */
  int64_t created_ns;
  int64_t silent_ms;
} pulse_worker_info;

typedef struct pulse_job_info {
  const char *key;
  size_t key_len;
  pulse_job_state state; /* WAITING or OWNED */
  int32_t reserved;
  const char *worker; /* empty while no worker has it */
  size_t worker_len;
  const char *node; /* of that worker; empty: not known */
  size_t node_len;
  int64_t since_ms; /* how long it is so, as seen from here */
} pulse_job_info;

/* A picture of this moment, immutable; nothing goes to the server.  Release with
 * pulse_pool_snapshot_unref.  PULSE_ERR_INVALID: the node is client_only.  Since 0.1. */
PULSE_API pulse_status pulse_node_take_snapshot(pulse_node *node, pulse_pool_snapshot **snapshot,
                                                pulse_error *error) PULSE_NOEXCEPT;
PULSE_API size_t pulse_pool_snapshot_node_count(const pulse_pool_snapshot *snapshot) PULSE_NOEXCEPT;
PULSE_API size_t pulse_pool_snapshot_worker_count(const pulse_pool_snapshot *snapshot)
    PULSE_NOEXCEPT;
PULSE_API size_t pulse_pool_snapshot_job_count(const pulse_pool_snapshot *snapshot) PULSE_NOEXCEPT;
/* Fill *info, of info_size bytes (sizeof), for an index below the count.  The texts live as long as
 * the snapshot.  PULSE_ERR_NOT_FOUND beyond the count.  Since 0.1. */
PULSE_API pulse_status pulse_pool_snapshot_get_node(const pulse_pool_snapshot *snapshot,
                                                    size_t index, pulse_node_info *info,
                                                    size_t info_size) PULSE_NOEXCEPT;
PULSE_API pulse_status pulse_pool_snapshot_get_worker(const pulse_pool_snapshot *snapshot,
                                                      size_t index, pulse_worker_info *info,
                                                      size_t info_size) PULSE_NOEXCEPT;
PULSE_API pulse_status pulse_pool_snapshot_get_job(const pulse_pool_snapshot *snapshot,
                                                   size_t index, pulse_job_info *info,
                                                   size_t info_size) PULSE_NOEXCEPT;
PULSE_API pulse_pool_snapshot *pulse_pool_snapshot_ref(pulse_pool_snapshot *snapshot)
    PULSE_NOEXCEPT;
PULSE_API void pulse_pool_snapshot_unref(pulse_pool_snapshot *snapshot) PULSE_NOEXCEPT;

/* --- workers ------------------------------------------------------------------------------ */

typedef struct pulse_worker_options {
  size_t size;
  int64_t start_concurrency; /* starts that wait for their answer at a time; 0 = unlimited */
} pulse_worker_options;

#define PULSE_WORKER_OPTIONS_INIT \
  { sizeof(pulse_worker_options), 0 }

/* Sets *options to PULSE_WORKER_OPTIONS_INIT.  Since 0.1. */
PULSE_API void pulse_worker_options_init(pulse_worker_options *options) PULSE_NOEXCEPT;

/* Adds a worker.  Returns at once; `target` is its handler and must name a queue or a callback: it
 * gets PULSE_EVENT_READY when jobs may come, requests (see above), PULSE_EVENT_OWNERSHIP_LOST when
 * the worker was declared dead (its process was suspended or cut off for longer than
 * worker_ttl_ms): then all of its jobs are stopped first (reason LOST), and it goes on under a new
 * id; and PULSE_EVENT_CLOSED at last.  PULSE_ERR_INVALID (client_only, no target),
 * PULSE_ERR_CLOSED.  Since 0.1. */
PULSE_API pulse_status pulse_node_add_worker(pulse_node *node, const pulse_worker_options *options,
                                             const pulse_target *target, pulse_worker **worker,
                                             pulse_error *error) PULSE_NOEXCEPT;
/* Blocks until jobs may come.  Since 0.1. */
PULSE_API pulse_status pulse_worker_ready_wait(pulse_worker *worker, int64_t timeout_ms,
                                               pulse_error *error) PULSE_NOEXCEPT;
/* As pulse_node_get_id. */
PULSE_API size_t pulse_worker_get_id(pulse_worker *worker, char *text,
                                     size_t capacity) PULSE_NOEXCEPT;
/* How many jobs it has: starting, running and stopping.  Since 0.1. */
PULSE_API size_t pulse_worker_job_count(pulse_worker *worker) PULSE_NOEXCEPT;
/* Takes the worker out of its pool: its jobs are stopped (reason MOVED) and given to others, then
 * CLOSED comes; count = how many were handed over.  Handlers that have not answered after the
 * node's close_timeout_ms are not waited for: their jobs move as those of a dead worker.
 * Idempotent.  Since 0.1. */
PULSE_API pulse_status pulse_worker_close(pulse_worker *worker) PULSE_NOEXCEPT;
PULSE_API pulse_status pulse_worker_close_wait(pulse_worker *worker, int64_t timeout_ms,
                                               pulse_error *error) PULSE_NOEXCEPT;
/* One more reference.  NULL-safe, any thread.  Since 0.1. */
PULSE_API pulse_worker *pulse_worker_ref(pulse_worker *worker) PULSE_NOEXCEPT;
/* One reference less; the last one closes.  NULL-safe.  Since 0.1. */
PULSE_API void pulse_worker_unref(pulse_worker *worker) PULSE_NOEXCEPT;

/* --- handlers ------------------------------------------------------------------------------ */

typedef int32_t pulse_stop_reason;
enum {
  PULSE_STOP_REQUESTED = 1, /* somebody stopped the job: it ends */
  PULSE_STOP_MOVED = 2,     /* it goes on with another worker, once this is answered */
  PULSE_STOP_SHUTDOWN = 3,  /* the pool is being shut down: it ends */
  PULSE_STOP_LOST = 4       /* this worker was declared dead: it may run elsewhere already */
};

/* Answer a request.  Each request is answered once: PULSE_ERR_INVALID if no such one is open.
 * Any thread, does not block, never fails for lack of memory.  `text` (at most 4 KiB) explains a
 * status other than PULSE_OK.
 *
 * started: PULSE_OK, the job runs.  PULSE_ERR_AGAIN: not now; the start is asked for again after a
 * pause of 100 ms, doubled each time up to ack_grace_ms.  Any other status refuses the job: its
 * dispatcher gets PULSE_ERR_REFUSED and the text; a job that was moved here goes to the queue
 * again after a pause.
 * stopped: the job has stopped, whatever the status is; a status other than PULSE_OK is logged.
 * notified: the status is logged if it is not PULSE_OK.  Since 0.1. */
PULSE_API pulse_status pulse_job_started(pulse_job *job, pulse_status status, const char *text,
                                         size_t text_len) PULSE_NOEXCEPT;
PULSE_API pulse_status pulse_job_stopped(pulse_job *job, pulse_status status, const char *text,
                                         size_t text_len) PULSE_NOEXCEPT;
PULSE_API pulse_status pulse_job_notified(pulse_job *job, pulse_status status, const char *text,
                                          size_t text_len) PULSE_NOEXCEPT;
/* A job that runs ends by itself: its key and payload are removed in one step, and the key may be
 * dispatched again.  No stop follows; a request that is open counts as answered.  A status other
 * than PULSE_OK is logged with the text.  PULSE_ERR_INVALID when it is not running.  Since 0.1. */
PULSE_API pulse_status pulse_job_finish(pulse_job *job, pulse_status status, const char *text,
                                        size_t text_len) PULSE_NOEXCEPT;

/* What a job is.  The texts live as long as the job; *size gets their length.  Since 0.1. */
PULSE_API const char *pulse_job_key(const pulse_job *job, size_t *size) PULSE_NOEXCEPT;
PULSE_API const void *pulse_job_payload(const pulse_job *job, size_t *size) PULSE_NOEXCEPT;
PULSE_API const char *pulse_job_worker(const pulse_job *job, size_t *size) PULSE_NOEXCEPT;
PULSE_API int64_t pulse_job_created_ns(const pulse_job *job) PULSE_NOEXCEPT; /* of the dispatch */
/* 1: it ran elsewhere before. */
PULSE_API int32_t pulse_job_requeued(const pulse_job *job) PULSE_NOEXCEPT;
PULSE_API pulse_job *pulse_job_ref(pulse_job *job) PULSE_NOEXCEPT;
PULSE_API void pulse_job_unref(pulse_job *job) PULSE_NOEXCEPT;

/* --- the end --------------------------------------------------------------------------------- */

/* Shuts the pool down: on every node all jobs are stopped (reason SHUTDOWN) and end, and the node
 * closes with PULSE_ERR_SHUTTING_DOWN; then what the pool has in Redis is removed.  Completion
 * PULSE_EVENT_POOL_SHUT_DOWN, with count = nodes that did not answer within worker_shutdown_ttl_ms.
 * The node is closed then.  PULSE_ERR_INVALID: client_only.  Since 0.1. */
PULSE_API pulse_status pulse_node_shutdown(pulse_node *node, const pulse_target *target,
                                           uint64_t *operation, pulse_error *error) PULSE_NOEXCEPT;
PULSE_API pulse_status pulse_node_shutdown_wait(pulse_node *node, int64_t timeout_ms,
                                                pulse_error *error) PULSE_NOEXCEPT;

typedef struct pulse_node_metrics {
  size_t size;
  uint64_t dispatched;  /* dispatches that were accepted */
  uint64_t started;     /* of them, answered PULSE_OK */
  uint64_t refused;     /* answered otherwise */
  uint64_t routed;      /* events sent on to workers */
  uint64_t rerouted;    /* of them, once more as the worker was gone */
  uint64_t held;        /* pool events that wait for a worker now */
  uint64_t unanswered;  /* routed events without an answer now */
  uint64_t malformed;   /* events that could not be read */
  uint64_t dropped;     /* stop requests and notifications for nobody, or too old */
  uint64_t jobs;        /* of the local workers now */
  uint64_t moved_in;    /* jobs that came from elsewhere */
  uint64_t moved_out;   /* jobs that went elsewhere */
  uint64_t finished;    /* jobs that ended here */
  uint64_t cleaned;     /* dead workers whose jobs this node put back */
  uint64_t requeued;    /* jobs that this node put back for dead workers, or for nobody */
  uint64_t lost_owners; /* local workers that were declared dead */
} pulse_node_metrics;

/* Counters and gauges.  Any thread.  Since 0.1. */
PULSE_API pulse_status pulse_node_get_metrics(pulse_node *node,
                                              pulse_node_metrics *metrics) PULSE_NOEXCEPT;

/* Leaves the pool: all workers close and hand their jobs over, what this node routes is given back
 * (starts that are with workers of the Go library are waited for, up to close_timeout_ms and
 * ack_grace_ms), then PULSE_EVENT_CLOSED: count = jobs that were handed over, id.ms = jobs whose
 * handler did not answer within close_timeout_ms (they move as those of a dead worker).
 * Idempotent.  Since 0.1. */
PULSE_API pulse_status pulse_node_close(pulse_node *node) PULSE_NOEXCEPT;
PULSE_API pulse_status pulse_node_close_wait(pulse_node *node, int64_t timeout_ms,
                                             pulse_error *error) PULSE_NOEXCEPT;
/* One more reference.  NULL-safe, any thread.  Since 0.1. */
PULSE_API pulse_node *pulse_node_ref(pulse_node *node) PULSE_NOEXCEPT;
/* One reference less; the last one closes.  NULL-safe.  Since 0.1. */
PULSE_API void pulse_node_unref(pulse_node *node) PULSE_NOEXCEPT;

PULSE_END_DECLS

#endif
