/* Events: what completions and deliveries look like, and where they go.
 *
 * Everything the engine has to say reaches the host as a pulse_event: the end
 * of an asynchronous call, an event of a stream, a notice, a change of state.
 * It is one flat struct; fields that a kind does not use are zero.
 *
 * Where it goes is a pulse_target, given with the call or when the object is opened:
 *
 *   queue == NULL, callback set   inline: on the loop thread (thread driver) or
 *                                 inside pulse_engine_run_once (manual driver).
 *                                 Keep it short; blocking calls answer
 *                                 PULSE_ERR_REENTRANT there.
 *   queue set, callback set       dispatched: by pulse_queue_dispatch(queue), on
 *                                 the thread that calls it.  May block.
 *   queue set, callback NULL      polled: pulse_queue_poll(queue, ...) returns it
 *                                 with `token`.
 *   target NULL, or just a size   nobody is told (not allowed where a stream of
 *                                 events is the purpose: readers and sinks).
 *
 * `destroy(user_data)` runs exactly once, when the target will not be used any
 * more: after the completion of a call, after the CLOSED event of an object, or
 * before the call returns when it fails.
 *
 * Views (pointers in an event) are valid during the callback, or until the next
 * pulse_queue_poll or pulse_queue_close on that queue.  pulse_event_keep makes them last.
 */
#ifndef PULSEENGINE_EVENT_H
#define PULSEENGINE_EVENT_H

#include <pulseengine/bytes.h>

PULSE_BEGIN_DECLS

typedef struct pulse_queue pulse_queue;

/* The id of an event in a stream: milliseconds of the server's clock, and a
 * sequence number within the millisecond. */
typedef struct pulse_event_id {
  uint64_t ms;
  uint64_t seq;
} pulse_event_id;

enum { PULSE_EVENT_ID_TEXT_BYTES = 42 };

/* Parses "ms-seq" or "ms" (seq 0); `text_len` -1 for a NUL-terminated text.
 * PULSE_ERR_INVALID for anything else.  Since 0.1. */
PULSE_API pulse_status pulse_event_id_parse(const char *text, int64_t text_len,
                                            pulse_event_id *id) PULSE_NOEXCEPT;

/* Writes "ms-seq" and a NUL to `text`; returns the length without the NUL.
 * PULSE_EVENT_ID_TEXT_BYTES always suffice; with a smaller `capacity` nothing
 * is written and 0 returned.  Since 0.1. */
PULSE_API size_t pulse_event_id_format(const pulse_event_id *id, char *text,
                                       size_t capacity) PULSE_NOEXCEPT;

/* -1, 0 or 1: the order of two ids.  NULL counts as 0-0.  Since 0.1. */
PULSE_API int32_t pulse_event_id_compare(const pulse_event_id *a,
                                         const pulse_event_id *b) PULSE_NOEXCEPT;

/* A name/value pair that travels with an event.  Binary-safe. */
typedef struct pulse_header {
  const char *name;
  size_t name_len;
  const char *value;
  size_t value_len;
} pulse_header;

/* What pulse_sink_ack needs to know of an event.  Copy it freely; it may be
 * used from any thread, also after the event is gone. */
typedef struct pulse_ack_handle {
  uint64_t sink;     /* which sink handle */
  uint32_t stream;   /* which of its streams */
  uint32_t delivery; /* which take-over of it */
  pulse_event_id id;
} pulse_ack_handle;

/* One result of a batch call. */
typedef struct pulse_result {
  pulse_status status;
  uint32_t flags; /* PULSE_ERROR_... */
  pulse_event_id id;
} pulse_result;

typedef int32_t pulse_event_kind;

enum {
  /* Completions: `operation`, `status`, `flags`, `message` (on failure).  Results are there unless
   * the call was cut short as a whole (cancelled, deadline, closed): then all items ended so. */
  PULSE_EVENT_ADDED = 1,           /* stream add: id; 0-0 when not added (only_if_exists) */
  PULSE_EVENT_BATCH_ADDED = 2,     /* stream add_batch: results */
  PULSE_EVENT_REMOVED = 3,         /* stream remove: count = how many existed */
  PULSE_EVENT_DESTROYED = 4,       /* stream destroy: count = 1 if it existed */
  PULSE_EVENT_INFO = 5,            /* stream info: stream_info */
  PULSE_EVENT_ACKED = 6,           /* sink ack: count, results (status PULSE_ERR_NOT_OWNER ...) */
  PULSE_EVENT_RELEASED = 7,        /* sink release: count */
  PULSE_EVENT_PONG = 8,            /* engine ping: count = microseconds */
  PULSE_EVENT_STREAM_ADDED = 9,    /* reader or sink add_stream */
  PULSE_EVENT_STREAM_REMOVED = 10, /* reader or sink remove_stream */
  PULSE_EVENT_MAP_WRITTEN = 11,    /* a write to a map: map_results */
  PULSE_EVENT_JOB_DISPATCHED = 12, /* pool dispatch */
  PULSE_EVENT_JOB_REQUESTED = 13,  /* pool stop_job, notify: the routers have it */
  PULSE_EVENT_JOB_STATE = 14,      /* pool get_job_state: state = PULSE_JOB_..., name = worker */
  PULSE_EVENT_POOL_SHUT_DOWN = 15, /* pool shutdown: count = nodes that did not leave in time */
  PULSE_EVENT_TICKER_STOPPED = 16, /* ticker or schedule stop: count = 1 if there was one */
  /* Deliveries of readers and sinks. */
  PULSE_EVENT_MESSAGE = 30,     /* an event of a stream */
  PULSE_EVENT_MAP_CHANGE = 31,  /* of a map: state = PULSE_MAP_OP_..., name = key, payload = new
                                   value, old_value, revision, value */
  PULSE_EVENT_MAP_CHANGED = 32, /* something in a map changed: state = PULSE_MAP_KIND_... */
  /* Requests to the handler of a worker (pool.h): name = key, job. */
  PULSE_EVENT_JOB_START = 33,  /* payload */
  PULSE_EVENT_JOB_STOP = 34,   /* payload; state = PULSE_STOP_... */
  PULSE_EVENT_JOB_NOTIFY = 35, /* payload = the notification's */
  /* Of tickers and schedules (ticker.h): name. */
  PULSE_EVENT_TICK = 36, /* id = the point of the grid; count = points missed before it; revision */
  PULSE_EVENT_PLAN = 37, /* the same, of a schedule: a plan is asked for: plan */
  /* States of objects. */
  PULSE_EVENT_READY = 50,          /* reader or sink receives from now on */
  PULSE_EVENT_CLOSED = 51,         /* the last event of an object; status says why */
  PULSE_EVENT_ENGINE_STATE = 52,   /* state, message */
  PULSE_EVENT_MAP_STATE = 53,      /* state, revision; count = PULSE_MAP_REASON_..., message */
  PULSE_EVENT_POOL_MEMBER = 54,    /* state = PULSE_POOL_..., name = id of the node or worker */
  PULSE_EVENT_TICKER_CHANGED = 55, /* another node has set another interval: name, count = ns */
  PULSE_EVENT_PLANNED = 56,        /* a plan was carried out, see pulse_schedule_open */
  /* Notices of readers and sinks: `stream`, and what is named. */
  PULSE_EVENT_GAP = 70, /* entries were trimmed or deleted unread: after id, before id_end;
                           count = how many, or 0 for "possibly some": servers before 7.0 cannot
                           tell whether any were once the last one that was read is gone */
  PULSE_EVENT_RECREATED =
      71, /* stream or group was gone and was made anew, reading goes on after id */
  PULSE_EVENT_DISCONNECTED = 72, /* the connection is lost; reading resumes by itself */
  PULSE_EVENT_RECONNECTED = 73,  /* it is back */
  PULSE_EVENT_MALFORMED = 74,    /* an entry without name or payload was skipped: id */
  PULSE_EVENT_LOST = 75, /* a pending entry was trimmed or removed before it was acked: id */
  PULSE_EVENT_OWNERSHIP_LOST = 76, /* this consumer was declared dead and starts over under a
                                      new name; acks of earlier events answer NOT_OWNER */
  PULSE_EVENT_READ_ERROR = 77,     /* reading fails: status, message; it is tried again */
  /* Notices of maps and their watches: `stream` is the map's name. */
  PULSE_EVENT_MAP_REWOUND = 78,     /* the server had lost data: count = revision before,
                                       revision = the one now */
  PULSE_EVENT_WATCH_STARTED = 79,   /* state 1: goes on after revision; 0: from a copy */
  PULSE_EVENT_WATCH_CAUGHT_UP = 80, /* all up to revision was told */
  PULSE_EVENT_WATCH_RESYNC = 81     /* the changes from revision `count` to `revision` are told as
                                       differences; up to CAUGHT_UP */
};

struct pulse_map_result; /* map.h */
struct pulse_job;        /* pool.h */
struct pulse_plan;       /* ticker.h */

/* What a stream looks like in Redis. */
typedef struct pulse_stream_info {
  size_t size;
  uint64_t length;         /* entries now */
  uint64_t entries_added;  /* ever; 0 where the server cannot tell (before 7.0) */
  uint64_t groups;         /* consumer groups (sinks) */
  int64_t ttl_ms;          /* until it expires; -1 = never */
  pulse_event_id first_id; /* oldest entry, 0-0 when empty */
  pulse_event_id last_id;  /* newest entry that exists, 0-0 when empty */
  pulse_event_id last_generated_id;
  int32_t exists; /* 0: no such key, all else zero */
  int32_t reserved;
} pulse_stream_info;

typedef struct pulse_event {
  size_t size; /* bytes of this struct that the library has filled */
  pulse_event_kind kind;
  pulse_status status;
  uint32_t flags;     /* PULSE_ERROR_... */
  int32_t state;      /* PULSE_ENGINE_..., or as the kind says */
  uint64_t token;     /* of the target */
  uint64_t operation; /* of the call, 0 for none */
  uint64_t count;
  pulse_event_id id;
  pulse_event_id id_end;
  const char *stream; /* name of the stream or map */
  size_t stream_len;
  const char *name;
  size_t name_len;
  const char *payload;
  size_t payload_len;
  const char *topic; /* NULL when the event has none */
  size_t topic_len;
  const pulse_header *headers;
  size_t header_count;
  uint64_t deliveries; /* how often it was handed out so far, 1 = first; sinks only */
  pulse_ack_handle ack;
  const pulse_result *results;
  size_t result_count;
  const pulse_stream_info *stream_info;
  const char *message; /* text for people, not NUL-terminated */
  size_t message_len;
  void *owner;        /* for pulse_event_keep */
  uint64_t revision;  /* of a map */
  pulse_bytes *value; /* the payload as a counted value, not copied; take a reference to keep it */
  const char *old_value; /* NULL when there was none, or when it is not asked for */
  size_t old_value_len;
  const struct pulse_map_result *map_results;
  size_t map_result_count;
  struct pulse_job *job;   /* of a request */
  struct pulse_plan *plan; /* the same */
} pulse_event;

/* A reference that keeps the payload after the event's views have ended:
 * without a copy when it is a good part of the memory that it lives in, else
 * copied, so that a small value never pins a large buffer.  NULL when the event has
 * no payload views or memory is short.  Release with pulse_bytes_unref.  Since 0.1. */
PULSE_API pulse_bytes *pulse_event_keep(const pulse_event *event) PULSE_NOEXCEPT;

typedef void (*pulse_event_fn)(const pulse_event *event, void *user_data);

typedef struct pulse_target {
  size_t size;
  pulse_queue *queue; /* referenced while the target is in use */
  pulse_event_fn callback;
  void *user_data;
  pulse_destroy_fn destroy;
  uint64_t token;
} pulse_target;

#define PULSE_TARGET_INIT \
  { sizeof(pulse_target), NULL, NULL, NULL, NULL, 0 }

/* Sets *target to PULSE_TARGET_INIT.  Since 0.1. */
PULSE_API void pulse_target_init(pulse_target *target) PULSE_NOEXCEPT;

PULSE_END_DECLS

#endif
