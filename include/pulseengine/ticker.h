/* Tickers: one tick per interval in a whole pool.
 *
 * Every node that opens a ticker of a name takes part in it; of each tick one of them gets a
 * PULSE_EVENT_TICK.  Ticks lie on a grid: the first one an interval after the ticker was opened
 * first, the next ones whole intervals later, whichever nodes die or come meanwhile.  event->id is
 * the point of the grid in time of the server: `ms` since 1970 and, in `seq`, the microseconds
 * beyond.  No two nodes get the same point.
 *
 * A tick is for a node whose host waits for it: until the last one was taken from the queue, the
 * node leaves further ones to the others.  A point that no node took in time is missed: it is taken
 * late as long as the next one has not come (or for one second, with shorter intervals); then it is
 * passed over, and the next point is the next tick.  With catch_up one tick comes at once instead.
 * A node that dies with a tick takes that one with it.
 *
 * A ticker lives in Redis until it is stopped or its pool is shut down, also when no node takes
 * part any more.  Nodes of the Go library share tickers of the same name; their clocks count for
 * what they do.
 */
#ifndef PULSEENGINE_TICKER_H
#define PULSEENGINE_TICKER_H

#include <pulseengine/pool.h>

PULSE_BEGIN_DECLS

typedef struct pulse_ticker pulse_ticker;

enum {
  PULSE_TICKER_MAX_NAME_BYTES = 512,
  PULSE_TICKER_MIN_INTERVAL_NS = 1000000 /* a millisecond */
};

typedef int32_t pulse_ticker_origin;
enum {                           /* state of a ticker's PULSE_EVENT_READY */
       PULSE_TICKER_NEW = 1,     /* there was none */
       PULSE_TICKER_ADOPTED = 2, /* it was there, with this interval: its grid goes on */
       PULSE_TICKER_REPLACED = 3 /* it was there with another one: its nodes use this one now */
};
enum { PULSE_TICKER_STOPPED = 1 }; /* state of PULSE_EVENT_CLOSED: it was stopped on all nodes */

typedef struct pulse_ticker_options {
  size_t size;
  int32_t catch_up; /* 1: after missed points one tick comes at once, with their count */
  int32_t reserved;
} pulse_ticker_options;

#define PULSE_TICKER_OPTIONS_INIT \
  { sizeof(pulse_ticker_options), 0, 0 }

/* Sets *options to PULSE_TICKER_OPTIONS_INIT.  Since 0.1. */
PULSE_API void pulse_ticker_options_init(pulse_ticker_options *options) PULSE_NOEXCEPT;

/* Takes part in a ticker of the node's pool.  Name: 1 to 512 bytes without '='.  Interval: from 1
 * ms to some 35 years.  If there is a ticker of this name with another interval, it gets this one,
 * on all nodes, and its next tick is a whole interval from now.  Returns at once; `target` must
 * name a queue or a callback.  It gets PULSE_EVENT_READY (state: PULSE_TICKER_NEW ..., count: the
 * interval in ns), PULSE_EVENT_TICK, PULSE_EVENT_TICKER_CHANGED when another node sets another
 * interval, and PULSE_EVENT_CLOSED at last: state PULSE_TICKER_STOPPED when the ticker was stopped;
 * PULSE_ERR_SHUTTING_DOWN.  The ticker closes with its node.
 * PULSE_ERR_INVALID (client_only, no target), PULSE_ERR_TOO_LARGE, PULSE_ERR_CLOSED.  Since 0.1. */
PULSE_API pulse_status pulse_ticker_open(pulse_node *node, const char *name, size_t name_len,
                                         int64_t interval_ns, const pulse_ticker_options *options,
                                         const pulse_target *target, pulse_ticker **ticker,
                                         pulse_error *error) PULSE_NOEXCEPT;
/* The same, and waits until the ticker is in Redis.  On failure nothing is left behind but,
 * perhaps, that. */
PULSE_API pulse_status pulse_ticker_open_wait(pulse_node *node, const char *name, size_t name_len,
                                              int64_t interval_ns,
                                              const pulse_ticker_options *options,
                                              const pulse_target *target, int64_t timeout_ms,
                                              pulse_ticker **ticker,
                                              pulse_error *error) PULSE_NOEXCEPT;

typedef struct pulse_ticker_info {
  size_t size;
  int64_t interval_ns;
  int64_t next_us; /* the next point of its grid, Unix time of the server; 0: not known yet */
  uint64_t ticks;  /* points that this node got */
  uint64_t missed; /* points that were missed, as far as this node found out */
} pulse_ticker_info;

/* The ticker as this node knows it.  Any thread.  Since 0.1. */
PULSE_API pulse_status pulse_ticker_get_info(pulse_ticker *ticker,
                                             pulse_ticker_info *info) PULSE_NOEXCEPT;

/* Stops the ticker on all nodes: completion PULSE_EVENT_TICKER_STOPPED, count = 1 if there was one.
 * From then on no node gets a tick; everywhere the ticker closes.  Since 0.1. */
PULSE_API pulse_status pulse_ticker_stop(pulse_ticker *ticker, const pulse_target *target,
                                         uint64_t *operation, pulse_error *error) PULSE_NOEXCEPT;
PULSE_API pulse_status pulse_ticker_stop_wait(pulse_ticker *ticker, int64_t timeout_ms,
                                              pulse_error *error) PULSE_NOEXCEPT;
/* The same for a ticker that is not open here; any node, client_only too.  Since 0.1. */
PULSE_API pulse_status pulse_node_stop_ticker(pulse_node *node, const char *name, size_t name_len,
                                              const pulse_target *target, uint64_t *operation,
                                              pulse_error *error) PULSE_NOEXCEPT;
PULSE_API pulse_status pulse_node_stop_ticker_wait(pulse_node *node, const char *name,
                                                   size_t name_len, int64_t timeout_ms,
                                                   pulse_error *error) PULSE_NOEXCEPT;

/* Takes part no more, here; ticks that wait in a queue are dropped.  Others go on.  Idempotent.
 * Since 0.1. */
PULSE_API pulse_status pulse_ticker_close(pulse_ticker *ticker) PULSE_NOEXCEPT;
PULSE_API pulse_status pulse_ticker_close_wait(pulse_ticker *ticker, int64_t timeout_ms,
                                               pulse_error *error) PULSE_NOEXCEPT;
/* One more reference.  NULL-safe, any thread.  Since 0.1. */
PULSE_API pulse_ticker *pulse_ticker_ref(pulse_ticker *ticker) PULSE_NOEXCEPT;
/* One reference less; the last one closes.  NULL-safe.  Since 0.1. */
PULSE_API void pulse_ticker_unref(pulse_ticker *ticker) PULSE_NOEXCEPT;

/* --- schedules ---------------------------------------------------------------------------------
 *
 * A schedule is a ticker that starts and stops jobs of its pool.  Of each tick one node's host is
 * asked for a plan (PULSE_EVENT_PLAN): which jobs there should be, and which no more.  The plan is
 * answered once, at any time and from any thread:
 *
 *   pulse_plan_start(event->plan, key, ...)    for each job to start; one that exists goes on
 *   pulse_plan_stop(event->plan, key, ...)     for each job to stop; or all that are not to start:
 *   pulse_plan_stop_others(event->plan)
 *   pulse_plan_answer(event->plan, PULSE_OK, NULL, 0)
 *
 * Then jobs are dispatched, after that the others are stopped.  Which jobs a schedule has is in
 * Redis, so that whichever node is asked next can stop them.  event->plan is valid during the
 * event; take a reference to keep it.  A plan whose last reference goes without an answer is given
 * up, as is one that was not answered for plan_timeout_ms: nothing is started or stopped then, and
 * the next tick asks again.  While a plan of this node is open or is carried out, it leaves ticks
 * to others.
 *
 * The node that opens a schedule first is asked at once, later it is the ticks' turn.  A schedule
 * and a ticker of one name are the same ticker. */

typedef struct pulse_schedule pulse_schedule;
typedef struct pulse_plan pulse_plan;

enum { PULSE_PLAN_MAX_JOBS = 100000 };

typedef struct pulse_schedule_options {
  size_t size;
  int64_t plan_timeout_ms; /* 60000; how long a plan is waited for; -1 = for ever */
  int32_t catch_up;        /* as of a ticker */
  int32_t reserved;
} pulse_schedule_options;

#define PULSE_SCHEDULE_OPTIONS_INIT \
  { sizeof(pulse_schedule_options), 0, 0, 0 }

/* Sets *options to PULSE_SCHEDULE_OPTIONS_INIT.  Since 0.1. */
PULSE_API void pulse_schedule_options_init(pulse_schedule_options *options) PULSE_NOEXCEPT;

/* Takes part in a schedule of the node's pool.  All as pulse_ticker_open, but: a name is as a
 * stream's, without '=', and not that of one of the pool's own maps ("jobs", "workers" ...);
 * `target` gets PULSE_EVENT_PLAN instead of PULSE_EVENT_TICK, and PULSE_EVENT_PLANNED when a plan
 * was carried out: count = jobs that were started, id.ms = jobs that were asked to stop, id.seq =
 * failures; status and message of the first failure.  What failed is not tried again: the next
 * plan may name it.  Since 0.1. */
PULSE_API pulse_status pulse_schedule_open(pulse_node *node, const char *name, size_t name_len,
                                           int64_t interval_ns,
                                           const pulse_schedule_options *options,
                                           const pulse_target *target, pulse_schedule **schedule,
                                           pulse_error *error) PULSE_NOEXCEPT;
PULSE_API pulse_status pulse_schedule_open_wait(pulse_node *node, const char *name, size_t name_len,
                                                int64_t interval_ns,
                                                const pulse_schedule_options *options,
                                                const pulse_target *target, int64_t timeout_ms,
                                                pulse_schedule **schedule,
                                                pulse_error *error) PULSE_NOEXCEPT;
/* As pulse_ticker_get_info. */
PULSE_API pulse_status pulse_schedule_get_info(pulse_schedule *schedule,
                                               pulse_ticker_info *info) PULSE_NOEXCEPT;

/* Stops the schedule on all nodes and forgets which jobs it has: they run on.  Completion
 * PULSE_EVENT_TICKER_STOPPED, as pulse_ticker_stop.  Since 0.1. */
PULSE_API pulse_status pulse_schedule_stop(pulse_schedule *schedule, const pulse_target *target,
                                           uint64_t *operation, pulse_error *error) PULSE_NOEXCEPT;
PULSE_API pulse_status pulse_schedule_stop_wait(pulse_schedule *schedule, int64_t timeout_ms,
                                                pulse_error *error) PULSE_NOEXCEPT;

/* As those of tickers.  A plan that is carried out is not gone on with.  Since 0.1. */
PULSE_API pulse_status pulse_schedule_close(pulse_schedule *schedule) PULSE_NOEXCEPT;
PULSE_API pulse_status pulse_schedule_close_wait(pulse_schedule *schedule, int64_t timeout_ms,
                                                 pulse_error *error) PULSE_NOEXCEPT;
PULSE_API pulse_schedule *pulse_schedule_ref(pulse_schedule *schedule) PULSE_NOEXCEPT;
PULSE_API void pulse_schedule_unref(pulse_schedule *schedule) PULSE_NOEXCEPT;

/* What to do.  Any thread; PULSE_ERR_INVALID once the plan was answered, PULSE_ERR_TOO_LARGE beyond
 * PULSE_PLAN_MAX_JOBS keys; keys and payloads as for pulse_node_dispatch.  Since 0.1. */
PULSE_API pulse_status pulse_plan_start(pulse_plan *plan, const char *key, size_t key_len,
                                        const void *payload, size_t payload_len,
                                        pulse_error *error) PULSE_NOEXCEPT;
PULSE_API pulse_status pulse_plan_stop(pulse_plan *plan, const char *key, size_t key_len,
                                       pulse_error *error) PULSE_NOEXCEPT;
/* All jobs of the schedule stop that are not to start; pulse_plan_stop is not needed then. */
PULSE_API pulse_status pulse_plan_stop_others(pulse_plan *plan, pulse_error *error) PULSE_NOEXCEPT;
/* The schedule stops on all nodes, as with pulse_schedule_stop; nothing else is done. */
PULSE_API pulse_status pulse_plan_stop_schedule(pulse_plan *plan,
                                                pulse_error *error) PULSE_NOEXCEPT;
/* The plan is complete; with a status other than PULSE_OK there is none this time, and `text` (at
 * most 255 bytes) comes with PULSE_EVENT_PLANNED.  PULSE_ERR_INVALID when it was answered or given
 * up. Never fails for lack of memory.  Since 0.1. */
PULSE_API pulse_status pulse_plan_answer(pulse_plan *plan, pulse_status status, const char *text,
                                         size_t text_len) PULSE_NOEXCEPT;
PULSE_API pulse_plan *pulse_plan_ref(pulse_plan *plan) PULSE_NOEXCEPT;
PULSE_API void pulse_plan_unref(pulse_plan *plan) PULSE_NOEXCEPT;

PULSE_END_DECLS

#endif
