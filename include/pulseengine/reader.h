/* Readers: every event of one or more streams, from a cursor of their own.
 *
 * A reader delivers PULSE_EVENT_READY, then PULSE_EVENT_MESSAGE in the order of each
 * stream, notices, and PULSE_EVENT_CLOSED at last.  It stops reading when the
 * host does not take what was delivered (credit), and never drops.  After a lost connection it
 * goes on where it was: no event twice, none missed that still exists.
 */
#ifndef PULSEENGINE_READER_H
#define PULSEENGINE_READER_H

#include <pulseengine/stream.h>

PULSE_BEGIN_DECLS

typedef struct pulse_reader pulse_reader;

typedef int32_t pulse_start;
enum {
  PULSE_START_NEWEST = 0, /* what is added after the reader was opened */
  PULSE_START_OLDEST = 1,
  PULSE_START_AFTER = 2, /* after start_id */
  PULSE_START_TIME = 3   /* on or after start_id.ms (Unix ms) */
};

typedef struct pulse_reader_options {
  size_t size;
  pulse_start start;
  int32_t reserved;
  pulse_event_id start_id;
  int64_t block_ms;     /* 5000 (-1: 60000); how long one read waits at the server.  New streams and
                           closing end it with CLIENT UNBLOCK; where an ACL forbids that, they wait */
  int64_t max_polled;   /* 1000 events per read; at most 65536 */
  int64_t buffer;       /* 1000 events delivered and not taken by the host; -1 = unlimited */
  int64_t buffer_bytes; /* 16 MiB of them; -1 = unlimited */
  const char *topic;    /* only events with exactly this topic */
  size_t topic_len;
  const char *topic_pattern; /* or whose topic matches (RE2, not anchored); not with topic */
  size_t topic_pattern_len;
} pulse_reader_options;

#define PULSE_READER_OPTIONS_INIT \
  { sizeof(pulse_reader_options), 0, 0, {0, 0}, 0, 0, 0, 0, NULL, 0, NULL, 0 }

/* Sets *options to PULSE_READER_OPTIONS_INIT.  Since 0.1. */
PULSE_API void pulse_reader_options_init(pulse_reader_options *options) PULSE_NOEXCEPT;

/* Opens a reader on `stream` (more with pulse_reader_add_stream).  Returns at
 * once.  `target` receives everything and must name a queue or a callback.  The
 * start "newest" is resolved once, when the server is first reached.
 * PULSE_ERR_INVALID (options, bad pattern), PULSE_ERR_CLOSED.  The reader keeps
 * the engine alive.  Since 0.1. */
PULSE_API pulse_status pulse_reader_open(pulse_stream *stream, const pulse_reader_options *options,
                                         const pulse_target *target, pulse_reader **reader,
                                         pulse_error *error) PULSE_NOEXCEPT;

/* Blocks until the reader receives (its start is fixed).  timeout_ms as in
 * pulse_engine_ready_wait; PULSE_ERR_TIMEOUT, PULSE_ERR_CLOSED, PULSE_ERR_REENTRANT.  Since 0.1. */
PULSE_API pulse_status pulse_reader_ready_wait(pulse_reader *reader, int64_t timeout_ms,
                                               pulse_error *error) PULSE_NOEXCEPT;

/* Reads one more stream of the same engine, from a position of its own
 * (start_id as in the options; NULL for newest and oldest).  No effect if it is read
 * already.  Completion PULSE_EVENT_STREAM_ADDED.  Since 0.1. */
PULSE_API pulse_status pulse_reader_add_stream(pulse_reader *reader, pulse_stream *stream,
                                               pulse_start start, const pulse_event_id *start_id,
                                               const pulse_target *target, uint64_t *operation,
                                               pulse_error *error) PULSE_NOEXCEPT;
PULSE_API pulse_status pulse_reader_add_stream_wait(pulse_reader *reader, pulse_stream *stream,
                                                    pulse_start start,
                                                    const pulse_event_id *start_id,
                                                    int64_t timeout_ms,
                                                    pulse_error *error) PULSE_NOEXCEPT;

/* Stops reading a stream; after the completion, PULSE_EVENT_STREAM_REMOVED, no event of it
 * comes.  PULSE_ERR_NOT_FOUND if it is not read.  Since 0.1. */
PULSE_API pulse_status pulse_reader_remove_stream(pulse_reader *reader, pulse_stream *stream,
                                                  const pulse_target *target, uint64_t *operation,
                                                  pulse_error *error) PULSE_NOEXCEPT;
PULSE_API pulse_status pulse_reader_remove_stream_wait(pulse_reader *reader, pulse_stream *stream,
                                                       int64_t timeout_ms,
                                                       pulse_error *error) PULSE_NOEXCEPT;

/* Stops and resumes reading; what was delivered stays.  Idempotent, any
 * thread.  Since 0.1. */
PULSE_API pulse_status pulse_reader_pause(pulse_reader *reader) PULSE_NOEXCEPT;
PULSE_API pulse_status pulse_reader_resume(pulse_reader *reader) PULSE_NOEXCEPT;

typedef struct pulse_reader_metrics {
  size_t size;
  uint64_t delivered; /* events handed to the target */
  uint64_t filtered;  /* events that topic or pattern turned down */
  uint64_t malformed; /* entries without name or payload */
  uint64_t gaps;      /* gap notices */
  uint64_t reads;     /* replies with events */
  uint64_t buffered;  /* delivered, not taken */
  uint64_t buffered_bytes;
  uint64_t streams;
  uint64_t reconnects;
} pulse_reader_metrics;

/* Counters since the reader was opened, of this moment; also of a closed one.  metrics->size must
 * be set.  Any thread, does not block.  Since 0.1. */
PULSE_API pulse_status pulse_reader_get_metrics(pulse_reader *reader,
                                                pulse_reader_metrics *metrics) PULSE_NOEXCEPT;

/* Starts closing; PULSE_EVENT_CLOSED is the last event.  Idempotent, any thread, does not block.
 * Since 0.1. */
PULSE_API pulse_status pulse_reader_close(pulse_reader *reader) PULSE_NOEXCEPT;
/* Closes and waits until it is closed (not until the host took all events).  PULSE_ERR_TIMEOUT
 * leaves it closing; PULSE_ERR_REENTRANT.  Since 0.1. */
PULSE_API pulse_status pulse_reader_close_wait(pulse_reader *reader, int64_t timeout_ms,
                                               pulse_error *error) PULSE_NOEXCEPT;

/* One more reference.  NULL-safe, any thread.  Since 0.1. */
PULSE_API pulse_reader *pulse_reader_ref(pulse_reader *reader) PULSE_NOEXCEPT;
/* One reference less; the last one closes.  NULL-safe.  Since 0.1. */
PULSE_API void pulse_reader_unref(pulse_reader *reader) PULSE_NOEXCEPT;

PULSE_END_DECLS

#endif
