/* The engine: one event loop, the connections to one server, and all that is
 * opened on it. */
#ifndef PULSEENGINE_ENGINE_H
#define PULSEENGINE_ENGINE_H

#include <pulseengine/event.h>

PULSE_BEGIN_DECLS

typedef struct pulse_engine pulse_engine;

/* In options: 0 = the default, PULSE_FOREVER = unlimited, PULSE_MS_NONE = not at all. */
enum { PULSE_FOREVER = -1, PULSE_UNLIMITED = -1, PULSE_MS_NONE = -2 };

typedef int32_t pulse_driver;
enum {
  PULSE_DRIVER_THREAD = 0, /* a thread of the library runs the loop (default) */
  PULSE_DRIVER_MANUAL = 1  /* the host runs it: pulse_engine_run_once */
};

typedef int32_t pulse_log_level;
enum {
  PULSE_LOG_DEFAULT = 0, /* = warning */
  PULSE_LOG_ERROR = 1,
  PULSE_LOG_WARNING = 2,
  PULSE_LOG_INFO = 3,
  PULSE_LOG_DEBUG = 4,
  PULSE_LOG_NONE = -2
};

typedef int32_t pulse_engine_state;
enum {
  PULSE_ENGINE_CONNECTING = 1, /* again, with status and message, for each new failure */
  PULSE_ENGINE_READY = 2,
  PULSE_ENGINE_LOST = 3, /* it reconnects by itself; message says what happened */
  PULSE_ENGINE_CLOSED = 4
};

/* `text` is not NUL-terminated and never holds a password.  Any thread; must
 * not call the engine. */
typedef void (*pulse_log_fn)(pulse_log_level level, const char *text, size_t text_len,
                             void *user_data);

typedef struct pulse_engine_options {
  size_t size;
  /* redis://[user[:password]@]host[:port][/db]   rediss://... (TLS; parameters
   * ca, cert, key, sni, verify=full|ca|none)   unix:///path (parameters db, user, password)
   * local: or local:///directory (a private server, started when needed).
   * A user (Redis 6.0) that the server does not know: PULSE_ERR_AUTH.
   * NUL-terminated; NULL = "redis://127.0.0.1:6379". */
  const char *url;
  pulse_driver driver;
  pulse_log_level log_level;
  int64_t connect_timeout_ms;   /* 5000; until connected and greeted */
  int64_t command_timeout_ms;   /* 10000; deadline of each call; -1 = for ever */
  int64_t max_inflight;         /* 65536 operations accepted and not yet taken */
  int64_t max_buffer_bytes;     /* 64 MiB of commands that wait to be sent; at most 1 GiB */
  int64_t max_payload_bytes;    /* 64 MiB; at most 512 MiB */
  int64_t max_reply_bytes;      /* 512 MiB */
  int64_t reconnect_min_ms;     /* 10 */
  int64_t reconnect_max_ms;     /* 5000 */
  int32_t command_connections;  /* 1; at most 64 */
  int32_t max_read_connections; /* 8, for blocking reads; at most 256 */
  int32_t fail_fast;            /* 1: calls fail at once while there is no connection */
  int32_t reserved;
  const char *client_name; /* CLIENT SETNAME; NULL = "pulseengine"; no spaces */
  const char *key_prefix;  /* goes before every key and channel; NULL = none; <= 512 bytes */
  const pulse_target *state_target; /* receives PULSE_EVENT_ENGINE_STATE; NULL = nobody */
  pulse_log_fn log;                 /* NULL = no log */
  void *log_user_data;
  pulse_destroy_fn log_destroy;
  void (*thread_start)(void *user_data); /* first call on the loop thread */
  void *thread_start_user_data;
  /* 0 = not at all.  After a blocking call began, the loop's thread looks for work for so long
   * (microseconds, at most 1,000,000) without sleeping, and the caller for his answer where there
   * are more than two processors: less latency, for all that the processor can do.  Thread driver.
   */
  int64_t wait_spin_us;
} pulse_engine_options;

#define PULSE_ENGINE_OPTIONS_INIT                                                             \
  {                                                                                           \
    sizeof(pulse_engine_options), NULL, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, NULL, NULL, \
        NULL, NULL, NULL, NULL, NULL, NULL, 0                                                 \
  }

/* Sets *options to PULSE_ENGINE_OPTIONS_INIT.  Since 0.1. */
PULSE_API void pulse_engine_options_init(pulse_engine_options *options) PULSE_NOEXCEPT;

/* Opens an engine.  Returns at once; it connects in the background and goes on
 * trying for ever.  Calls made before it is connected are accepted and wait up
 * to their deadline.  `options` NULL = all defaults.  On success the caller owns one
 * reference in *engine.  PULSE_ERR_INVALID names the option or the part of the
 * URL that is wrong; PULSE_ERR_TLS a file of rediss:// that cannot be used;
 * PULSE_ERR_UNSUPPORTED for rediss:// without TLS in the build; PULSE_ERR_NO_MEMORY.  Since 0.1. */
PULSE_API pulse_status pulse_engine_open(const pulse_engine_options *options, pulse_engine **engine,
                                         pulse_error *error) PULSE_NOEXCEPT;

/* Blocks until the engine is connected: PULSE_OK, or PULSE_ERR_TIMEOUT with the
 * reason of the last failed attempt in *error, or at once what no retry mends
 * (PULSE_ERR_AUTH, PULSE_ERR_PERMISSION, PULSE_ERR_TLS, PULSE_ERR_NO_SERVER,
 * PULSE_ERR_INVALID: the directory of `local:` cannot be used).
 * timeout_ms: -1 = for ever, 0 = just ask.  Since 0.1. */
PULSE_API pulse_status pulse_engine_ready_wait(pulse_engine *engine, int64_t timeout_ms,
                                               pulse_error *error) PULSE_NOEXCEPT;

/* A round trip to the server: PULSE_EVENT_PONG, count = microseconds.
 * `operation` (may be NULL) gets the id for pulse_operation_cancel.
 * PULSE_ERR_AGAIN at a limit, PULSE_ERR_CLOSED.  Since 0.1. */
PULSE_API pulse_status pulse_engine_ping(pulse_engine *engine, const pulse_target *target,
                                         uint64_t *operation, pulse_error *error) PULSE_NOEXCEPT;

/* The same, blocking; *microseconds may be NULL.  Since 0.1. */
PULSE_API pulse_status pulse_engine_ping_wait(pulse_engine *engine, uint64_t *microseconds,
                                              int64_t timeout_ms,
                                              pulse_error *error) PULSE_NOEXCEPT;

/* Asks to cancel an asynchronous call.  Its completion still comes: with
 * PULSE_ERR_CANCELLED (flags tell whether it was sent), or with its result when
 * that was first.  PULSE_ERR_NOT_FOUND when it has completed.  Any thread.
 * Since 0.1. */
PULSE_API pulse_status pulse_operation_cancel(pulse_engine *engine,
                                              uint64_t operation) PULSE_NOEXCEPT;

/* Starts closing: readers and sinks are closed (sinks hand back what the host
 * has not acked), calls under way complete or fail with PULSE_ERR_CLOSED, within
 * command_timeout_ms (10 s when that is for ever), then the state target gets PULSE_ENGINE_CLOSED
 * as its last event.  Idempotent, any thread, does not block.  Since 0.1. */
PULSE_API pulse_status pulse_engine_close(pulse_engine *engine) PULSE_NOEXCEPT;

/* Closes, waits until it is closed, and joins the thread.  PULSE_ERR_TIMEOUT
 * leaves it closing.  PULSE_ERR_REENTRANT on the loop thread.  In the manual
 * driver it runs the loop itself.  Since 0.1. */
PULSE_API pulse_status pulse_engine_close_wait(pulse_engine *engine, int64_t timeout_ms,
                                               pulse_error *error) PULSE_NOEXCEPT;

/* One more reference; returns `engine`.  NULL-safe, any thread.  Since 0.1. */
PULSE_API pulse_engine *pulse_engine_ref(pulse_engine *engine) PULSE_NOEXCEPT;

/* One reference less.  The last one (objects opened on the engine hold one
 * each) closes it in the background when it is still open; a manual engine is
 * closed on the spot, without handing back.  NULL-safe, any thread, does
 * not block.  Since 0.1. */
PULSE_API void pulse_engine_unref(pulse_engine *engine) PULSE_NOEXCEPT;

/* --- manual driver ---------------------------------------------------------
 * Wait until pulse_engine_poll_fd is readable or pulse_engine_poll_timeout_ms
 * has passed, then call pulse_engine_run_once; ask both anew each time.  A host
 * with ticks just calls run_once on every tick. */

/* The descriptor to wait on; -1 for a thread engine.  Since 0.1. */
PULSE_API int32_t pulse_engine_poll_fd(pulse_engine *engine) PULSE_NOEXCEPT;

/* How long to wait at most: 0 = run now, -1 = until the descriptor is
 * readable.  Since 0.1. */
PULSE_API int64_t pulse_engine_poll_timeout_ms(pulse_engine *engine) PULSE_NOEXCEPT;

/* Does what can be done without waiting: reads, writes, timers, and runs at most
 * `max_events` inline callbacks (0 = no limit) for about `budget_us` microseconds
 * at most (0 = no limit; a callback that runs is not interrupted).  Returns the
 * number of inline callbacks that ran, or a negative status: PULSE_ERR_BUSY when
 * another thread is in it, PULSE_ERR_REENTRANT from inside one,
 * PULSE_ERR_INVALID for a thread engine, PULSE_ERR_CLOSED when it is closed.
 * Since 0.1. */
PULSE_API int64_t pulse_engine_run_once(pulse_engine *engine, size_t max_events,
                                        int64_t budget_us) PULSE_NOEXCEPT;

/* Makes poll_fd readable, from any thread.  Since 0.1. */
PULSE_API pulse_status pulse_engine_wakeup(pulse_engine *engine) PULSE_NOEXCEPT;

/* --- metrics --------------------------------------------------------------- */

typedef struct pulse_engine_metrics {
  size_t size;
  pulse_engine_state state;
  int32_t connections;     /* open sockets */
  uint64_t operations;     /* accepted so far */
  uint64_t completions;    /* completed so far */
  uint64_t inflight;       /* accepted, completion not yet taken */
  uint64_t buffered_bytes; /* commands that wait to be sent */
  uint64_t commands_sent;
  uint64_t bytes_sent;
  uint64_t bytes_received;
  uint64_t writes;          /* system calls that wrote */
  uint64_t connects;        /* connections made */
  uint64_t disconnects;     /* connections lost */
  uint64_t errors_replied;  /* error replies of the server */
  uint64_t timeouts;        /* operations that met their deadline */
  uint64_t outcome_unknown; /* operations that failed with OUTCOME_UNKNOWN */
  uint64_t rejected;        /* calls refused with PULSE_ERR_AGAIN */
} pulse_engine_metrics;

/* Counters since the engine was opened, of this moment.  metrics->size must be
 * set.  Any thread, never blocks on the network.  Since 0.1. */
PULSE_API pulse_status pulse_engine_get_metrics(pulse_engine *engine,
                                                pulse_engine_metrics *metrics) PULSE_NOEXCEPT;

/* What the server is, as far as known after the first connection: writes
 * "redis 7.0.15" or "valkey 8.1.1" and a NUL into text, returns the length; 0
 * when not known or the capacity is too small.  Since 0.1. */
PULSE_API size_t pulse_engine_get_server(pulse_engine *engine, char *text,
                                         size_t capacity) PULSE_NOEXCEPT;

PULSE_END_DECLS

#endif
