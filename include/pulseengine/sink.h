/* Sinks: consumers that share the events of a stream, at least once.
 *
 * All sinks of one name on a stream form one group; each event goes to one of
 * them and must be acked.  What is not acked within the grace period, because
 * its consumer died, is delivered again, here or elsewhere.  While the consumer
 * lives, its events are kept for it (renewed) for up to max_handling_ms.
 */
#ifndef PULSEENGINE_SINK_H
#define PULSEENGINE_SINK_H

#include <pulseengine/reader.h>

PULSE_BEGIN_DECLS

typedef struct pulse_sink pulse_sink;

typedef struct pulse_sink_options {
  size_t size;
  pulse_start start; /* where the group starts if it does not exist yet */
  int32_t no_ack;    /* 1: events count as handled once delivered; no acks */
  pulse_event_id start_id;
  int64_t block_ms;        /* 5000; as the reader's */
  int64_t max_polled;      /* 1000; at most 65536 */
  int64_t buffer;          /* 1000 events delivered and not taken; -1 = unlimited */
  int64_t buffer_bytes;    /* 16 MiB; -1 = unlimited */
  int64_t max_pending;     /* 10000 events delivered and not acked; beyond it reading pauses; -1 =
                              unlimited */
  int64_t ack_grace_ms;    /* 20000; at least 100 */
  int64_t max_handling_ms; /* -1 = as long as the consumer lives: how long ownership is renewed */
  const char *topic;
  size_t topic_len;
  const char *topic_pattern;
  size_t topic_pattern_len;
  int32_t
      leave_filtered; /* 1: events that the filter turns down stay pending for others; 0: acked */
  int32_t no_ack_coalescing; /* 1: each ack call is a command of its own */
} pulse_sink_options;

#define PULSE_SINK_OPTIONS_INIT \
  { sizeof(pulse_sink_options), 0, 0, {0, 0}, 0, 0, 0, 0, 0, 0, 0, NULL, 0, NULL, 0, 0, 0 }

/* Sets *options to PULSE_SINK_OPTIONS_INIT.  Since 0.1. */
PULSE_API void pulse_sink_options_init(pulse_sink_options *options) PULSE_NOEXCEPT;

/* Joins the group `name` on `stream` as a new consumer (creating stream and
 * group where needed).  Returns at once; `target` receives READY, messages, notices, CLOSED
 * and must name a queue or a callback.  Errors as pulse_reader_open; the name
 * follows the rule of stream names.  Since 0.1. */
PULSE_API pulse_status pulse_sink_open(pulse_stream *stream, const char *name, size_t name_len,
                                       const pulse_sink_options *options,
                                       const pulse_target *target, pulse_sink **sink,
                                       pulse_error *error) PULSE_NOEXCEPT;

/* Blocks until the sink receives; as pulse_reader_ready_wait.  Since 0.1. */
PULSE_API pulse_status pulse_sink_ready_wait(pulse_sink *sink, int64_t timeout_ms,
                                             pulse_error *error) PULSE_NOEXCEPT;

/* The consumer's name in Redis (a ULID of 26 characters), which changes after
 * PULSE_EVENT_OWNERSHIP_LOST.  Servers before 6.2 list it from its first event on.  Writes it and
 * a NUL into text, returns 26, or 0 when capacity < 27.  Since 0.1. */
PULSE_API size_t pulse_sink_get_consumer(pulse_sink *sink, char *text,
                                         size_t capacity) PULSE_NOEXCEPT;

/* As the reader's.  A stream that is removed gives its pending events back;
 * where no other consumer is left its group is destroyed.  Since 0.1. */
PULSE_API pulse_status pulse_sink_add_stream(pulse_sink *sink, pulse_stream *stream,
                                             pulse_start start, const pulse_event_id *start_id,
                                             const pulse_target *target, uint64_t *operation,
                                             pulse_error *error) PULSE_NOEXCEPT;
PULSE_API pulse_status pulse_sink_add_stream_wait(pulse_sink *sink, pulse_stream *stream,
                                                  pulse_start start, const pulse_event_id *start_id,
                                                  int64_t timeout_ms,
                                                  pulse_error *error) PULSE_NOEXCEPT;
PULSE_API pulse_status pulse_sink_remove_stream(pulse_sink *sink, pulse_stream *stream,
                                                const pulse_target *target, uint64_t *operation,
                                                pulse_error *error) PULSE_NOEXCEPT;
PULSE_API pulse_status pulse_sink_remove_stream_wait(pulse_sink *sink, pulse_stream *stream,
                                                     int64_t timeout_ms,
                                                     pulse_error *error) PULSE_NOEXCEPT;

/* Acknowledges events.  The completion, PULSE_EVENT_ACKED, comes when Redis has
 * them off the list; its count is how many were.  An event that belongs to
 * another consumer by now is not taken from it: status (and its result) is
 * PULSE_ERR_NOT_OWNER, as for one that was acked or given back before.  1 to 65536 handles,
 * of this sink (else PULSE_ERR_INVALID, as for every ack on a sink with no_ack).  Any
 * thread, does not block.  Sent again after a lost connection.  Since 0.1. */
PULSE_API pulse_status pulse_sink_ack(pulse_sink *sink, const pulse_ack_handle *handles,
                                      size_t count, const pulse_target *target, uint64_t *operation,
                                      pulse_error *error) PULSE_NOEXCEPT;
/* The same, waiting; results: an array of `count`, or NULL.  Since 0.1. */
PULSE_API pulse_status pulse_sink_ack_wait(pulse_sink *sink, const pulse_ack_handle *handles,
                                           size_t count, pulse_result *results, int64_t timeout_ms,
                                           pulse_error *error) PULSE_NOEXCEPT;

/* Gives events back without acking them: they are delivered again by the next sweep, here or
 * elsewhere: within about half a second; where more than a hundred sinks share an engine it may be
 * 5 ms for each of them, up to a quarter of the grace period.  PULSE_EVENT_RELEASED, with results
 * as for acks.  Since 0.1. */
PULSE_API pulse_status pulse_sink_release(pulse_sink *sink, const pulse_ack_handle *handles,
                                          size_t count, const pulse_target *target,
                                          uint64_t *operation, pulse_error *error) PULSE_NOEXCEPT;
PULSE_API pulse_status pulse_sink_release_wait(pulse_sink *sink, const pulse_ack_handle *handles,
                                               size_t count, int64_t timeout_ms,
                                               pulse_error *error) PULSE_NOEXCEPT;

/* Stops and resumes reading; sweeps for abandoned events pause too.
 * Idempotent, any thread.  Since 0.1. */
PULSE_API pulse_status pulse_sink_pause(pulse_sink *sink) PULSE_NOEXCEPT;
PULSE_API pulse_status pulse_sink_resume(pulse_sink *sink) PULSE_NOEXCEPT;

typedef struct pulse_sink_metrics {
  size_t size;
  uint64_t delivered;   /* events handed to the target, redeliveries included */
  uint64_t redelivered; /* of them, events that another delivery came before */
  uint64_t acked;       /* confirmed by Redis */
  uint64_t not_owner;   /* acks that came too late */
  uint64_t filtered;
  uint64_t malformed;
  uint64_t lost; /* pending entries that were trimmed or removed */
  uint64_t gaps;
  uint64_t pending;  /* delivered and not acked */
  uint64_t buffered; /* delivered and not taken */
  uint64_t buffered_bytes;
  uint64_t claimed;   /* taken over from other consumers */
  uint64_t renewed;   /* renewals of ownership */
  uint64_t recreated; /* group or stream made anew */
  uint64_t streams;
  uint64_t reconnects;
} pulse_sink_metrics;

/* As pulse_reader_get_metrics.  Since 0.1. */
PULSE_API pulse_status pulse_sink_get_metrics(pulse_sink *sink,
                                              pulse_sink_metrics *metrics) PULSE_NOEXCEPT;

/* Starts closing: reading stops, what was delivered and not acked is handed back for others at
 * once, acks under way complete, then PULSE_EVENT_CLOSED.  Idempotent, any thread, does not block.
 * Since 0.1. */
PULSE_API pulse_status pulse_sink_close(pulse_sink *sink) PULSE_NOEXCEPT;
/* The same, and waits for the end of it; as pulse_reader_close_wait.  Since 0.1. */
PULSE_API pulse_status pulse_sink_close_wait(pulse_sink *sink, int64_t timeout_ms,
                                             pulse_error *error) PULSE_NOEXCEPT;

/* One more reference.  NULL-safe, any thread.  Since 0.1. */
PULSE_API pulse_sink *pulse_sink_ref(pulse_sink *sink) PULSE_NOEXCEPT;
/* One reference less; the last one closes.  NULL-safe.  Since 0.1. */
PULSE_API void pulse_sink_unref(pulse_sink *sink) PULSE_NOEXCEPT;

PULSE_END_DECLS

#endif
