/* What every test of the C API needs: a Redis of its own, engines under a given
 * driver, and collectors that receive events in a given way.
 *
 * A test runs once per variant (driver and delivery).  It never sleeps: it
 * waits for conditions with fx_until(), which drives manual engines and drains
 * the queues meanwhile. */
#ifndef PULSE_TESTS_CAPI_FIXTURE_H
#define PULSE_TESTS_CAPI_FIXTURE_H

/* cmocka.h needs these before it, and includes none of them. */
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on

#include <pulseengine/pulse.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

typedef enum delivery { BY_CALLBACK, BY_DISPATCH, BY_POLL } delivery;

typedef struct variant {
  pulse_driver driver;
  delivery delivery;
} variant;

/* A pulse_event with copies of all that it points to. */
typedef struct ev {
  pulse_event_kind kind;
  pulse_status status;
  uint32_t flags;
  int32_t state;
  uint64_t token;
  uint64_t operation;
  uint64_t count;
  pulse_event_id id;
  pulse_event_id id_end;
  char *stream; /* NULL when the event's pointer was NULL; always NUL-terminated */
  char *name;
  char *payload;
  char *topic;
  char *message;
  size_t stream_len, name_len, payload_len, topic_len, message_len;
  pulse_header *headers; /* name and value NUL-terminated */
  size_t header_count;
  uint64_t deliveries;
  pulse_ack_handle ack;
  pulse_result *results;
  size_t result_count;
  pulse_stream_info info; /* size 0 when there was none */
  uint64_t revision;
  char *old_value;
  size_t old_value_len;
  pulse_map_result *map_results; /* with values of their own */
  size_t map_result_count;
  pulse_job *job;   /* a reference of its own */
  pulse_plan *plan; /* the same */
} ev;

struct fixture;

typedef struct collector {
  struct fixture *fx;
  delivery delivery;
  pulse_queue *queue; /* NULL for BY_CALLBACK */
  bool hold;          /* fx_pump leaves the queue alone */
  bool answer;        /* requests about jobs are answered PULSE_OK at once */
  /* Use the functions below: other threads may be at it. */
  uint64_t targets;   /* made with col_target */
  uint64_t destroyed; /* calls of destroy */
  ev **events;
  size_t count;
  size_t capacity;
} collector;

typedef struct fixture {
  pulse_driver driver;
  delivery delivery;
  ts_server *server;    /* shared by the tests of one program, empty at the start of each */
  pulse_engine *engine; /* the first that fx_open opened */
  struct fx_lists *lists;
} fixture;

/* --- the table of tests ---------------------------------------------------- */

int fx_group_setup(void **state);
int fx_group_teardown(void **state);
int fx_setup(void **state);
int fx_teardown(void **state);
/* For main: says that the tests of this program are skipped, and why.  (cmocka's own skip()
 * counts as a failure for the runner.) */
int fx_skip_all(const char *why);

/* Indexed by driver and delivery. */
extern variant fx_variants[2][3];

#define FX_TEST(test, driver_, delivery_, label) \
  { #test " [" label "]", test, fx_setup, fx_teardown, &fx_variants[driver_][delivery_] }

/* Under both drivers; events are polled. */
#define BOTH_DRIVERS(test) \
  FX_TEST(test, 0, BY_POLL, "thread, polled"), FX_TEST(test, 1, BY_POLL, "manual, polled")

/* Under both drivers and all three deliveries. */
#define ALL_WAYS(test)                                                 \
  BOTH_DRIVERS(test), FX_TEST(test, 0, BY_CALLBACK, "thread, inline"), \
      FX_TEST(test, 0, BY_DISPATCH, "thread, dispatched"),             \
      FX_TEST(test, 1, BY_CALLBACK, "manual, inline"),                 \
      FX_TEST(test, 1, BY_DISPATCH, "manual, dispatched")

#define THREAD_ONLY(test) FX_TEST(test, 0, BY_POLL, "thread, polled")
#define MANUAL_ONLY(test) FX_TEST(test, 1, BY_POLL, "manual, polled")

/* --- errors ---------------------------------------------------------------- */

/* A fresh pulse_error for the call that is checked next; assert_ok and
 * assert_status then check it against the status as well. */
pulse_error *fx_err(void);
/* The message of the error that was checked last. */
const char *fx_message(void);

void fx_check_status(pulse_status got, pulse_status expected, const char *call, const char *file,
                     int line);
#define assert_ok(call) fx_check_status((call), PULSE_OK, #call, __FILE__, __LINE__)
#define assert_status(expected, call) fx_check_status((call), expected, #call, __FILE__, __LINE__)

/* The bytes of an event's text. */
void fx_check_text(const char *got, size_t got_len, const char *expected, size_t expected_len,
                   const char *what, const char *file, int line);
#define assert_text(event, field, expected)                                               \
  fx_check_text((event)->field, (event)->field##_len, expected, strlen(expected), #field, \
                __FILE__, __LINE__)

#define assert_id_equal(a, b)           \
  do {                                  \
    assert_int_equal((a).ms, (b).ms);   \
    assert_int_equal((a).seq, (b).seq); \
  } while (0)

/* --- waiting --------------------------------------------------------------- */

/* Drives manual engines, drains queues, waits a moment if nothing happened. */
void fx_pump(fixture *fx);

#define fx_until(fx, condition)                                              \
  do {                                                                       \
    int64_t fx_end_ = ts_now_ms() + TS_DEADLINE_MS;                          \
    while (!(condition)) {                                                   \
      if (ts_now_ms() > fx_end_) fail_msg("never happened: %s", #condition); \
      fx_pump(fx);                                                           \
    }                                                                        \
  } while (0)

/* Runs fn(arg) on another thread, pumping on this one until it has returned. */
void fx_on_thread(fixture *fx, void (*fn)(void *arg), void *arg);

/* --- objects that the fixture releases ------------------------------------- */

/* Defaults for this variant: url, driver. */
pulse_engine_options fx_options(fixture *fx);
/* Opens with these options (NULL = fx_options), keeps it for pumping and
 * closes it in teardown.  The first one is fx->engine. */
pulse_engine *fx_open(fixture *fx, const pulse_engine_options *options);
/* As fx_open, and waits until it is ready. */
pulse_engine *fx_ready(fixture *fx, const pulse_engine_options *options);
/* Lets pump drive an engine that the test opened and releases by itself. */
void fx_drive(fixture *fx, pulse_engine *engine);
void fx_forget(fixture *fx, pulse_engine *engine);

pulse_stream *fx_stream(fixture *fx, const char *name, const pulse_stream_options *options);
pulse_stream *fx_stream_on(fixture *fx, pulse_engine *engine, const char *name,
                           const pulse_stream_options *options);
/* Opens from the given options (NULL = defaults) and waits until it receives. */
pulse_reader *fx_reader(fixture *fx, pulse_stream *stream, const pulse_reader_options *options,
                        collector *to);
pulse_sink *fx_sink(fixture *fx, pulse_stream *stream, const char *name,
                    const pulse_sink_options *options, collector *to);

/* --- collectors ------------------------------------------------------------ */

/* One of the variant's delivery, or of a given one. */
collector *fx_collector(fixture *fx);
collector *fx_collector_by(fixture *fx, delivery by);
/* One that answers each request of a job with success. */
collector *fx_accepting(fixture *fx);
/* A target that delivers to the collector.  Each must be passed to exactly one
 * call: teardown checks that each was destroyed exactly once. */
pulse_target *col_target(collector *c, uint64_t token);
/* Takes what waits in the queue, held or not. */
void col_drain(collector *c);
size_t col_count(collector *c);
const ev *col_at(collector *c, size_t index);
size_t col_count_kind(collector *c, pulse_event_kind kind);
/* The nth (from 0) event of that kind, or NULL. */
const ev *col_find(collector *c, pulse_event_kind kind, size_t nth);
/* The same, waiting for it. */
#define col_wait(c, kind, nth) col_wait_at(c, kind, nth, __FILE__, __LINE__)
const ev *col_wait_at(collector *c, pulse_event_kind kind, size_t nth, const char *file, int line);
uint64_t col_destroyed(collector *c);
uint64_t col_targets(collector *c);

/* Joins on fx->engine and waits until it is synced; events go to `to` if given. */
pulse_map *fx_map(fixture *fx, const char *name, const pulse_map_options *options, collector *to);
pulse_map_watch *fx_watch(fixture *fx, pulse_map *map, const pulse_map_watch_options *options,
                          collector *to);

/* Joins on fx->engine and waits until it takes part; events go to `to` if given. */
pulse_node *fx_node(fixture *fx, const char *pool, const pulse_node_options *options,
                    collector *to);
/* Adds a worker whose requests go to `to`, and waits until jobs may come. */
pulse_worker *fx_worker(fixture *fx, pulse_node *node, const pulse_worker_options *options,
                        collector *to);
/* Opens a ticker and waits until it is in Redis; events go to `to`. */
pulse_ticker *fx_ticker(fixture *fx, pulse_node *node, const char *name, int64_t interval_ns,
                        const pulse_ticker_options *options, collector *to);
/* The same for a schedule. */
pulse_schedule *fx_schedule(fixture *fx, pulse_node *node, const char *name, int64_t interval_ns,
                            const pulse_schedule_options *options, collector *to);

/* --- short forms ----------------------------------------------------------- */

/* Adds and waits. */
pulse_event_id fx_add(pulse_stream *stream, const char *name, const char *payload);
pulse_event_id fx_add_topic(pulse_stream *stream, const char *name, const char *payload,
                            const char *topic);
/* Acks one event and waits. */
void fx_ack(pulse_sink *sink, const ev *event);

/* A command to the fixture's server, words separated by spaces, freed in teardown; an error reply
 * fails the test. */
const ts_reply *fx_redis(fixture *fx, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The same, just the number (an integer, or the count of an array). */
int64_t fx_redis_int(fixture *fx, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same, whether it answers this text. */
bool fx_redis_is(fixture *fx, const char *expected, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* How many events are pending in the group "pulse:stream:<stream>", "group"; -1 without the group.
 */
int64_t fx_pending(fixture *fx, const char *stream, const char *group);

#endif
