/* Streams: publishing events.
 *
 * A stream is a named, ordered log of events in Redis.  Its name is 1 to 512
 * bytes without space, NUL, '*', '?', '[' and ']'.  Order is kept from the
 * add calls of one thread to what readers see.
 */
#ifndef PULSEENGINE_STREAM_H
#define PULSEENGINE_STREAM_H

#include <pulseengine/engine.h>

PULSE_BEGIN_DECLS

typedef struct pulse_stream pulse_stream;

enum {
  PULSE_MAX_NAME_BYTES = 65536, /* of an event's name, topic, a header's name or value */
  PULSE_MAX_HEADERS = 64
};

typedef struct pulse_stream_options {
  size_t size;
  /* How many entries are kept, approximately: trimming never makes the stream shorter than this,
   * and it gets longer by at most one server-side node (100 entries by default) and, for each
   * handle that adds, a tenth of this (at least 1, at most 100).  0 = 1000, -1 = unbounded. */
  int64_t max_len;
  int64_t ttl_ms;         /* expires this long after the first add; 0 = never */
  int64_t sliding_ttl_ms; /* expires this long after the last add; not with ttl_ms */
} pulse_stream_options;

#define PULSE_STREAM_OPTIONS_INIT \
  { sizeof(pulse_stream_options), 0, 0, 0 }

/* Sets *options to PULSE_STREAM_OPTIONS_INIT.  Since 0.1. */
PULSE_API void pulse_stream_options_init(pulse_stream_options *options) PULSE_NOEXCEPT;

/* A handle for publishing to and administering the stream `name`.  Sends
 * nothing; the stream appears in Redis with the first add.  The handle keeps
 * the engine alive.  PULSE_ERR_INVALID for a bad name or option,
 * PULSE_ERR_CLOSED.  Since 0.1. */
PULSE_API pulse_status pulse_stream_open(pulse_engine *engine, const char *name, size_t name_len,
                                         const pulse_stream_options *options, pulse_stream **stream,
                                         pulse_error *error) PULSE_NOEXCEPT;

typedef struct pulse_add_options {
  size_t size;
  const char *topic; /* NULL = no topic; an empty topic is not NULL, and is kept */
  size_t topic_len;
  const pulse_header *headers;
  size_t header_count;
  int64_t timeout_ms;     /* deadline; 0 = the engine's command_timeout_ms; -1 = none */
  int32_t only_if_exists; /* 1: do not create the stream */
  int32_t reserved;
} pulse_add_options;

#define PULSE_ADD_OPTIONS_INIT \
  { sizeof(pulse_add_options), NULL, 0, NULL, 0, 0, 0, 0 }

/* Sets *options to PULSE_ADD_OPTIONS_INIT.  Since 0.1. */
PULSE_API void pulse_add_options_init(pulse_add_options *options) PULSE_NOEXCEPT;

/* Publishes one event.  Copies name, payload and all that options name before it
 * returns.  The completion is PULSE_EVENT_ADDED with the event's id (0-0 when
 * only_if_exists found no stream).
 *
 * Does not block.  Once it has returned PULSE_OK the completion comes exactly
 * once.  An add is never sent twice: when the connection is lost after it was sent it
 * fails with PULSE_ERR_DISCONNECTED and PULSE_ERROR_OUTCOME_UNKNOWN.
 * Errors at once: PULSE_ERR_INVALID (empty name, too many headers ...),
 * PULSE_ERR_TOO_LARGE, PULSE_ERR_AGAIN (max_inflight or max_buffer_bytes reached),
 * PULSE_ERR_DISCONNECTED (fail_fast), PULSE_ERR_CLOSED.  `target`, `operation` and
 * `options` may be NULL.  Since 0.1. */
PULSE_API pulse_status pulse_stream_add(pulse_stream *stream, const char *name, size_t name_len,
                                        const void *payload, size_t payload_len,
                                        const pulse_add_options *options,
                                        const pulse_target *target, uint64_t *operation,
                                        pulse_error *error) PULSE_NOEXCEPT;

/* The same with a payload that is referenced instead of copied when it is
 * large (16 KiB and more).  Since 0.1. */
PULSE_API pulse_status pulse_stream_add_bytes(pulse_stream *stream, const char *name,
                                              size_t name_len, pulse_bytes *payload,
                                              const pulse_add_options *options,
                                              const pulse_target *target, uint64_t *operation,
                                              pulse_error *error) PULSE_NOEXCEPT;

/* Publishes and waits for the id.  *id may be NULL.  At a limit it waits for
 * room instead of answering PULSE_ERR_AGAIN.  timeout_ms bounds the whole call;
 * after PULSE_ERR_TIMEOUT error->flags tell whether it was sent.
 * PULSE_ERR_REENTRANT in an inline callback.  Since 0.1. */
PULSE_API pulse_status pulse_stream_add_wait(pulse_stream *stream, const char *name,
                                             size_t name_len, const void *payload,
                                             size_t payload_len, const pulse_add_options *options,
                                             pulse_event_id *id, int64_t timeout_ms,
                                             pulse_error *error) PULSE_NOEXCEPT;

/* One event of a batch. */
typedef struct pulse_add_item {
  const char *name;
  size_t name_len;
  const void *payload;
  size_t payload_len;
  const char *topic;
  size_t topic_len;
  const pulse_header *headers;
  size_t header_count;
} pulse_add_item;

/* Publishes `count` events (1 to 65536) in order; elements are `item_size`
 * bytes apart.  One completion, PULSE_EVENT_BATCH_ADDED, with a result per item; its status is
 * the first failure's, or PULSE_OK.  It counts as one operation.  topic and headers in `options`
 * are not used (PULSE_ERR_INVALID).  Refused as a whole or accepted as a whole.  Since 0.1. */
PULSE_API pulse_status pulse_stream_add_batch(pulse_stream *stream, const pulse_add_item *items,
                                              size_t item_size, size_t count,
                                              const pulse_add_options *options,
                                              const pulse_target *target, uint64_t *operation,
                                              pulse_error *error) PULSE_NOEXCEPT;

/* The same, waiting.  results: an array of `count`, or NULL.  Since 0.1. */
PULSE_API pulse_status pulse_stream_add_batch_wait(pulse_stream *stream,
                                                   const pulse_add_item *items, size_t item_size,
                                                   size_t count, const pulse_add_options *options,
                                                   pulse_result *results, int64_t timeout_ms,
                                                   pulse_error *error) PULSE_NOEXCEPT;

/* Deletes events by id: PULSE_EVENT_REMOVED, count = how many existed.  1 to
 * 65536 ids.  Sent again after a lost connection.  Since 0.1. */
PULSE_API pulse_status pulse_stream_remove(pulse_stream *stream, const pulse_event_id *ids,
                                           size_t count, const pulse_target *target,
                                           uint64_t *operation, pulse_error *error) PULSE_NOEXCEPT;
PULSE_API pulse_status pulse_stream_remove_wait(pulse_stream *stream, const pulse_event_id *ids,
                                                size_t count, uint64_t *removed, int64_t timeout_ms,
                                                pulse_error *error) PULSE_NOEXCEPT;

/* Deletes the stream with all its groups, and tells the sinks of other
 * processes through their consumers map.  PULSE_EVENT_DESTROYED.  The handle
 * stays usable; an add makes the stream anew.  Since 0.1. */
PULSE_API pulse_status pulse_stream_destroy(pulse_stream *stream, const pulse_target *target,
                                            uint64_t *operation, pulse_error *error) PULSE_NOEXCEPT;
PULSE_API pulse_status pulse_stream_destroy_wait(pulse_stream *stream, int64_t timeout_ms,
                                                 pulse_error *error) PULSE_NOEXCEPT;

/* Length, ids, groups, TTL: PULSE_EVENT_INFO.  A stream that does not exist is
 * no error: exists = 0.  Since 0.1. */
PULSE_API pulse_status pulse_stream_info_get(pulse_stream *stream, const pulse_target *target,
                                             uint64_t *operation,
                                             pulse_error *error) PULSE_NOEXCEPT;
PULSE_API pulse_status pulse_stream_info_wait(pulse_stream *stream, pulse_stream_info *info,
                                              int64_t timeout_ms,
                                              pulse_error *error) PULSE_NOEXCEPT;

/* One more reference; returns `stream`.  NULL-safe, any thread.  Since 0.1. */
PULSE_API pulse_stream *pulse_stream_ref(pulse_stream *stream) PULSE_NOEXCEPT;

/* One reference less.  Calls under way still complete.  NULL-safe.  Since 0.1. */
PULSE_API void pulse_stream_unref(pulse_stream *stream) PULSE_NOEXCEPT;

PULSE_END_DECLS

#endif
