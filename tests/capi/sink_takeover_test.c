/* sink.h: what becomes of events whose consumer died, let go, or is slow. */
#include <signal.h>

#include "fixture.h"

/* After the long one nobody is taken for dead who is only slow, on a busy machine. */
enum { kShortGraceMs = 300, kLongGraceMs = 2000, kNeverMs = 3600000 };

static pulse_sink_options with_grace(int64_t grace_ms) {
  pulse_sink_options options = PULSE_SINK_OPTIONS_INIT;
  options.start = PULSE_START_OLDEST;
  options.ack_grace_ms = grace_ms;
  return options;
}

static const ev *message(collector *c, size_t nth) { return col_wait(c, PULSE_EVENT_MESSAGE, nth); }

/* Two engines, as in two processes. */
typedef struct two {
  pulse_stream *s1, *s2;
  collector *c1, *c2;
} two;

static two open_two(fixture *fx) {
  two t;
  t.s1 = fx_stream_on(fx, fx_ready(fx, NULL), "s", NULL);
  t.s2 = fx_stream_on(fx, fx_ready(fx, NULL), "s", NULL);
  t.c1 = fx_collector(fx);
  t.c2 = fx_collector(fx);
  return t;
}

static bool consumer_exists(fixture *fx, const char *name) {
  ts_reply *list = ts_command(fx->server, "XINFO", "CONSUMERS", "pulse:stream:s", "g", NULL);
  bool found = false;
  for (size_t i = 0; i < ts_reply_size(list); ++i) {
    found = found || ts_reply_equals(ts_reply_field(ts_reply_at(list, i), "name"), name);
  }
  ts_reply_free(list);
  return found;
}

/* Who holds the oldest pending event. */
static void assert_owner(fixture *fx, pulse_sink *sink) {
  char consumer[27];
  assert_int_equal(pulse_sink_get_consumer(sink, consumer, sizeof consumer), 26);
  const ts_reply *pending = fx_redis(fx, "XPENDING pulse:stream:s g - + 1");
  assert_string_equal(ts_reply_text(ts_reply_at(ts_reply_at(pending, 0), 1)), consumer);
}

/* --- dead consumers -------------------------------------------------------- */

/* A consumer made by raw commands, which took events and is never heard of. */
static void events_of_a_dead_consumer_are_delivered_again(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  pulse_event_id ids[3];
  for (int i = 0; i < 3; ++i) ids[i] = fx_add(stream, "n", "p");
  fx_redis(fx, "XGROUP CREATE pulse:stream:s g 0");
  fx_redis(fx, "XREADGROUP GROUP g dead COUNT 3 STREAMS pulse:stream:s >");
  assert_int_equal(fx_pending(fx, "s", "g"), 3);
  collector *c = fx_collector(fx);
  pulse_sink_options options = with_grace(kLongGraceMs);
  pulse_sink *sink = fx_sink(fx, stream, "g", &options, c);
  for (size_t i = 0; i < 3; ++i) {
    const ev *e = message(c, i);
    assert_id_equal(e->id, ids[i]);
    assert_int_equal(e->deliveries, 2);
    fx_ack(sink, e);
  }
  assert_int_equal(fx_pending(fx, "s", "g"), 0);
  /* Nothing is pending on it and it gives no sign of life: it goes. */
  fx_until(fx, !consumer_exists(fx, "dead"));
  pulse_sink_metrics metrics = {.size = sizeof metrics};
  assert_ok(pulse_sink_get_metrics(sink, &metrics));
  assert_int_equal(metrics.claimed, 3);
  assert_int_equal(metrics.redelivered, 3);
  assert_int_equal(metrics.acked, 3);
}

/* More than one page of the claiming command. */
static void many_events_of_a_dead_consumer(void **state) {
  fixture *fx = *state;
  enum { kCount = 2500 };
  pulse_stream_options stream_options = PULSE_STREAM_OPTIONS_INIT;
  stream_options.max_len = PULSE_UNLIMITED;
  pulse_stream *stream = fx_stream(fx, "s", &stream_options);
  pulse_add_item *items = calloc(kCount, sizeof *items);
  for (int i = 0; i < kCount; ++i) items[i] = (pulse_add_item){"n", 1, "p", 1, NULL, 0, NULL, 0};
  pulse_status status = pulse_stream_add_batch_wait(stream, items, sizeof *items, kCount, NULL,
                                                    NULL, TS_DEADLINE_MS, fx_err());
  free(items);
  assert_ok(status);
  fx_redis(fx, "XGROUP CREATE pulse:stream:s g 0");
  fx_redis(fx, "XREADGROUP GROUP g dead COUNT %d STREAMS pulse:stream:s >", kCount);
  collector *c = fx_collector(fx);
  pulse_sink_options options = with_grace(kShortGraceMs);
  options.buffer = PULSE_UNLIMITED;
  fx_sink(fx, stream, "g", &options, c);
  message(c, kCount - 1);
  for (size_t i = 1; i < kCount; ++i) {
    assert_int_equal(pulse_event_id_compare(&message(c, i - 1)->id, &message(c, i)->id), -1);
  }
}

/* The role of the other process: takes events, prints their ids, never acks. */
static int be_a_consumer(const char *url) {
  pulse_engine_options options = PULSE_ENGINE_OPTIONS_INIT;
  options.url = url;
  pulse_engine *engine = NULL;
  pulse_stream *stream = NULL;
  pulse_queue *queue = NULL;
  pulse_sink *sink = NULL;
  pulse_sink_options sink_options = with_grace(kShortGraceMs);
  pulse_target target = PULSE_TARGET_INIT;
  if (pulse_queue_new(&queue, NULL) != PULSE_OK) return 1;
  target.queue = queue;
  if (pulse_engine_open(&options, &engine, NULL) != PULSE_OK) return 2;
  if (pulse_stream_open(engine, "s", 1, NULL, &stream, NULL) != PULSE_OK) return 3;
  if (pulse_sink_open(stream, "g", 1, &sink_options, &target, &sink, NULL) != PULSE_OK) return 4;
  for (;;) {
    pulse_event event;
    if (pulse_queue_poll(queue, &event, sizeof event, 1, TS_DEADLINE_MS) != 1) return 5;
    if (event.kind != PULSE_EVENT_MESSAGE) continue;
    char text[PULSE_EVENT_ID_TEXT_BYTES];
    pulse_event_id_format(&event.id, text, sizeof text);
    printf("%s\n", text);
    fflush(stdout);
  }
}

static void events_of_a_killed_process_are_delivered_again(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  const char *const argv[] = {ts_self_path(), "consumer", ts_server_url(fx->server), NULL};
  ts_process *process = ts_process_start(argv, NULL, TS_PIPE_OUT);
  assert_non_null(process);
  enum { kCount = 20 };
  pulse_event_id ids[kCount];
  for (int i = 0; i < kCount; ++i) ids[i] = fx_add(stream, "n", "p");
  for (int i = 0; i < kCount; ++i) {
    char *line = ts_process_read_line(process, TS_DEADLINE_MS);
    pulse_event_id id;
    assert_non_null(line);
    assert_ok(pulse_event_id_parse(line, -1, &id));
    assert_id_equal(id, ids[i]);
    free(line);
  }
  ts_process_signal(process, SIGKILL);
  assert_int_equal(ts_process_wait(process, TS_DEADLINE_MS), 128 + SIGKILL);
  ts_process_free(process);
  collector *c = fx_collector(fx);
  pulse_sink_options options = with_grace(kShortGraceMs);
  pulse_sink *sink = fx_sink(fx, stream, "g", &options, c);
  for (size_t i = 0; i < kCount; ++i) {
    const ev *e = message(c, i);
    assert_id_equal(e->id, ids[i]);
    assert_true(e->deliveries >= 2);
    fx_ack(sink, e);
  }
  assert_int_equal(fx_pending(fx, "s", "g"), 0);
  fx_until(fx, fx_redis_int(fx, "XINFO CONSUMERS pulse:stream:s g") == 1);
}

/* --- slow, but alive ------------------------------------------------------- */

/* Renewed three times per grace period; nobody takes it meanwhile. */
static void a_slow_host_keeps_its_events(void **state) {
  fixture *fx = *state;
  two t = open_two(fx);
  pulse_sink_options options = with_grace(kLongGraceMs);
  pulse_sink *slow = fx_sink(fx, t.s1, "g", &options, t.c1);
  fx_add(t.s1, "n", "p");
  const ev *e = message(t.c1, 0);
  fx_sink(fx, t.s2, "g", &options, t.c2);
  pulse_sink_metrics metrics = {.size = sizeof metrics};
  fx_until(fx, pulse_sink_get_metrics(slow, &metrics) == PULSE_OK && metrics.renewed >= 4);
  assert_int_equal(col_count_kind(t.c2, PULSE_EVENT_MESSAGE), 0);
  assert_owner(fx, slow);
  fx_ack(slow, e);
  assert_int_equal(fx_pending(fx, "s", "g"), 0);
}

/* As the above, but the events wait in the host's queue, not taken at all. */
static void what_waits_in_the_queue_is_kept_too(void **state) {
  fixture *fx = *state;
  two t = open_two(fx);
  collector *held = fx_collector_by(fx, BY_POLL);
  held->hold = true;
  pulse_sink_options options = with_grace(kLongGraceMs);
  pulse_sink *slow = fx_sink(fx, t.s1, "g", &options, held);
  for (int i = 0; i < 5; ++i) fx_add(t.s1, "n", "p");
  fx_until(fx, pulse_queue_size(held->queue) == 6); /* READY too */
  fx_sink(fx, t.s2, "g", &options, t.c2);
  pulse_sink_metrics metrics = {.size = sizeof metrics};
  fx_until(fx, pulse_sink_get_metrics(slow, &metrics) == PULSE_OK && metrics.renewed >= 4);
  assert_int_equal(col_count_kind(t.c2, PULSE_EVENT_MESSAGE), 0);
  col_drain(held);
  for (size_t i = 0; i < 5; ++i) fx_ack(slow, message(held, i));
  assert_int_equal(fx_pending(fx, "s", "g"), 0);
}

/* Beyond max_handling_ms it is not renewed; the late ack takes nothing away. */
static void a_late_ack_says_not_owner(void **state) {
  fixture *fx = *state;
  two t = open_two(fx);
  pulse_sink_options options = with_grace(kShortGraceMs);
  options.max_handling_ms = 1;
  pulse_sink *late = fx_sink(fx, t.s1, "g", &options, t.c1);
  pulse_event_id id = fx_add(t.s1, "n", "p");
  pulse_ack_handle handle = message(t.c1, 0)->ack;
  assert_ok(pulse_sink_pause(late)); /* or its own sweep might be the next to take it */
  pulse_sink_options forever = with_grace(kShortGraceMs);
  pulse_sink *next = fx_sink(fx, t.s2, "g", &forever, t.c2);
  const ev *again = message(t.c2, 0);
  assert_id_equal(again->id, id);
  assert_true(again->deliveries >= 2);
  pulse_result result;
  assert_status(PULSE_ERR_NOT_OWNER,
                pulse_sink_ack_wait(late, &handle, 1, &result, TS_DEADLINE_MS, fx_err()));
  assert_int_equal(result.status, PULSE_ERR_NOT_OWNER);
  assert_id_equal(result.id, id);
  assert_int_equal(fx_pending(fx, "s", "g"), 1);
  assert_owner(fx, next);
  collector *done = fx_collector(fx);
  assert_ok(pulse_sink_ack(late, &handle, 1, col_target(done, 0), NULL, fx_err()));
  const ev *e = col_wait(done, PULSE_EVENT_ACKED, 0);
  assert_int_equal(e->status, PULSE_ERR_NOT_OWNER);
  assert_int_equal(e->count, 0);
  assert_int_equal(e->results[0].status, PULSE_ERR_NOT_OWNER);
  fx_ack(next, again);
  assert_int_equal(fx_pending(fx, "s", "g"), 0);
  pulse_sink_metrics metrics = {.size = sizeof metrics};
  assert_ok(pulse_sink_get_metrics(late, &metrics));
  assert_int_equal(metrics.not_owner, 2);
  assert_int_equal(metrics.acked, 0);
}

/* An event that came back to the same sink has a new handle; the old is stale. */
static void an_ack_of_an_older_delivery_is_not_taken_for_the_newer(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  collector *c = fx_collector(fx);
  pulse_sink_options options = with_grace(kNeverMs);
  pulse_sink *sink = fx_sink(fx, stream, "g", &options, c);
  fx_add(stream, "n", "p");
  pulse_ack_handle old = message(c, 0)->ack;
  assert_ok(pulse_sink_release_wait(sink, &old, 1, TS_DEADLINE_MS, fx_err()));
  const ev *again = message(c, 1);
  assert_int_equal(again->deliveries, 2);
  assert_int_not_equal(again->ack.delivery, old.delivery);
  pulse_result result;
  assert_status(PULSE_ERR_NOT_OWNER,
                pulse_sink_ack_wait(sink, &old, 1, &result, TS_DEADLINE_MS, fx_err()));
  assert_int_equal(fx_pending(fx, "s", "g"), 1);
  fx_ack(sink, again);
  assert_int_equal(fx_pending(fx, "s", "g"), 0);
}

/* --- letting go ------------------------------------------------------------ */

static void released_events_are_delivered_again(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  collector *c = fx_collector(fx), *done = fx_collector(fx);
  pulse_sink_options options = with_grace(kNeverMs);
  pulse_sink *sink = fx_sink(fx, stream, "g", &options, c);
  fx_add(stream, "a", "p");
  fx_add(stream, "b", "p");
  const pulse_ack_handle both[2] = {message(c, 0)->ack, message(c, 1)->ack};
  uint64_t operation = 0;
  assert_ok(pulse_sink_release(sink, both, 2, col_target(done, 0), &operation, fx_err()));
  const ev *e = col_wait(done, PULSE_EVENT_RELEASED, 0);
  assert_int_equal(e->status, PULSE_OK);
  assert_int_equal(e->operation, operation);
  assert_int_equal(e->count, 2);
  for (size_t i = 2; i < 4; ++i) {
    assert_int_equal(message(c, i)->deliveries, 2);
    fx_ack(sink, message(c, i));
  }
  assert_int_equal(fx_pending(fx, "s", "g"), 0);
}

static void close_hands_back_at_once(void **state) {
  fixture *fx = *state;
  two t = open_two(fx);
  collector *held = fx_collector_by(fx, BY_POLL);
  held->hold = true;
  pulse_sink_options options = with_grace(kNeverMs);
  options.buffer = 10;
  pulse_sink *first = fx_sink(fx, t.s1, "g", &options, held);
  for (int i = 0; i < 10; ++i) fx_add(t.s1, "n", "p");
  fx_until(fx, pulse_queue_size(held->queue) == 11);
  col_drain(held);
  fx_ack(first, message(held, 0)); /* one is done, nine are not */
  fx_sink(fx, t.s2, "g", &options, t.c2);
  assert_ok(pulse_sink_close_wait(first, TS_DEADLINE_MS, fx_err()));
  for (size_t i = 0; i < 9; ++i) {
    assert_id_equal(message(t.c2, i)->id, message(held, i + 1)->id);
    assert_int_equal(message(t.c2, i)->deliveries, 2);
  }
  col_drain(held);
  assert_int_equal(col_count_kind(held, PULSE_EVENT_CLOSED), 1);
}

static void closing_the_engine_hands_back_too(void **state) {
  fixture *fx = *state;
  two t = open_two(fx);
  pulse_sink_options options = with_grace(kNeverMs);
  fx_sink(fx, t.s1, "g", &options, t.c1);
  for (int i = 0; i < 5; ++i) fx_add(t.s1, "n", "p");
  message(t.c1, 4);
  fx_sink(fx, t.s2, "g", &options, t.c2);
  assert_ok(pulse_engine_close_wait(fx->engine, TS_DEADLINE_MS, fx_err()));
  assert_int_equal(message(t.c2, 4)->deliveries, 2);
}

/* The last unref of a sink closes it. */
static void the_last_unref_hands_back_too(void **state) {
  fixture *fx = *state;
  two t = open_two(fx);
  pulse_sink_options options = with_grace(kNeverMs);
  pulse_sink *first = NULL;
  assert_ok(pulse_sink_open(t.s1, "g", 1, &options, col_target(t.c1, 0), &first, fx_err()));
  for (int i = 0; i < 5; ++i) fx_add(t.s1, "n", "p");
  message(t.c1, 4);
  fx_sink(fx, t.s2, "g", &options, t.c2);
  pulse_sink_unref(first);
  assert_int_equal(message(t.c2, 4)->deliveries, 2);
  col_wait(t.c1, PULSE_EVENT_CLOSED, 0);
}

/* --- lost ------------------------------------------------------------------ */

static void a_pending_event_that_was_removed_is_told_as_lost(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  pulse_event_id ids[3];
  for (int i = 0; i < 3; ++i) ids[i] = fx_add(stream, "n", "p");
  fx_redis(fx, "XGROUP CREATE pulse:stream:s g 0");
  fx_redis(fx, "XREADGROUP GROUP g dead COUNT 3 STREAMS pulse:stream:s >");
  assert_ok(pulse_stream_remove_wait(stream, &ids[1], 1, NULL, TS_DEADLINE_MS, fx_err()));
  collector *c = fx_collector(fx);
  pulse_sink_options options = with_grace(kShortGraceMs);
  pulse_sink *sink = fx_sink(fx, stream, "g", &options, c);
  assert_id_equal(message(c, 0)->id, ids[0]);
  assert_id_equal(message(c, 1)->id, ids[2]);
  const ev *lost = col_wait(c, PULSE_EVENT_LOST, 0);
  assert_id_equal(lost->id, ids[1]);
  assert_text(lost, stream, "s");
  fx_until(fx, fx_pending(fx, "s", "g") == 2);
  pulse_sink_metrics metrics = {.size = sizeof metrics};
  assert_ok(pulse_sink_get_metrics(sink, &metrics));
  assert_int_equal(metrics.lost, 1);
}

static int run_all(void) {
  const struct CMUnitTest tests[] = {
      ALL_WAYS(events_of_a_dead_consumer_are_delivered_again),
      BOTH_DRIVERS(many_events_of_a_dead_consumer),
      BOTH_DRIVERS(events_of_a_killed_process_are_delivered_again),
      BOTH_DRIVERS(a_slow_host_keeps_its_events),
      BOTH_DRIVERS(what_waits_in_the_queue_is_kept_too),
      BOTH_DRIVERS(a_late_ack_says_not_owner),
      BOTH_DRIVERS(an_ack_of_an_older_delivery_is_not_taken_for_the_newer),
      ALL_WAYS(released_events_are_delivered_again),
      BOTH_DRIVERS(close_hands_back_at_once),
      BOTH_DRIVERS(closing_the_engine_hands_back_too),
      BOTH_DRIVERS(the_last_unref_hands_back_too),
      BOTH_DRIVERS(a_pending_event_that_was_removed_is_told_as_lost),
  };
  return cmocka_run_group_tests_name("sink take-over", tests, fx_group_setup, fx_group_teardown);
}

int main(int argc, char **argv) {
  if (argc == 3 && strcmp(argv[1], "consumer") == 0) return be_a_consumer(argv[2]);
  return run_all();
}
