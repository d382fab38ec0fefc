/* sink.h: sinks that have more to read than they take at a time, with replies on their way. */
#include "fixture.h"

enum { kEvents = 1000, kPolled = 10, kBuffer = 100 };

/* Nothing but handing back makes events come again in time. */
static const int64_t kLongGraceMs = 600000;

static void add_backlog(fixture *fx) {
  for (int i = 0; i < kEvents; ++i) fx_redis_int(fx, "XADD pulse:stream:s * n %d p x", i);
}

static pulse_sink_options small_reads(void) {
  pulse_sink_options options = PULSE_SINK_OPTIONS_INIT;
  options.start = PULSE_START_OLDEST;
  options.max_polled = kPolled;
  options.buffer = kBuffer;
  options.ack_grace_ms = kLongGraceMs;
  return options;
}

static size_t delivered(collector *c) { return col_count_kind(c, PULSE_EVENT_MESSAGE); }

/* Each event came once, in order. */
static void assert_all_in_order(collector *c) {
  fx_until(c->fx, delivered(c) == kEvents);
  for (int i = 0; i < kEvents; ++i) {
    char name[16];
    snprintf(name, sizeof name, "%d", i);
    assert_string_equal(col_find(c, PULSE_EVENT_MESSAGE, (size_t)i)->name, name);
  }
}

/* A sink behind a proxy that has taken some of a backlog, and the rest of what it has asked for is
 * at the proxy. */
typedef struct busy_sink {
  ts_proxy *proxy;
  pulse_engine *engine;
  pulse_stream *stream;
  collector *c;
  pulse_sink *sink;
} busy_sink;

/* More than one read has been executed for it whose reply it has not got. */
static bool two_on_the_way(fixture *fx, const busy_sink *busy) {
  return fx_pending(fx, "s", "g") > (int64_t)delivered(busy->c) + kPolled;
}

static busy_sink start_busy(fixture *fx) {
  add_backlog(fx);
  busy_sink busy = {.proxy = ts_proxy_start(fx->server)};
  assert_non_null(busy.proxy);
  pulse_engine_options options = fx_options(fx);
  options.url = ts_proxy_url(busy.proxy);
  options.reconnect_max_ms = 20;
  busy.engine = fx_ready(fx, &options);
  busy.stream = fx_stream_on(fx, busy.engine, "s", NULL);
  busy.c = fx_collector(fx);
  const pulse_sink_options small = small_reads();
  busy.sink = fx_sink(fx, busy.stream, "g", &small, busy.c);
  fx_until(fx, delivered(busy.c) >= 2 * kPolled);
  ts_proxy_stall(busy.proxy, TS_TO_CLIENT);
  fx_until(fx, two_on_the_way(fx, &busy));
  assert_true(delivered(busy.c) < kEvents / 2);
  return busy;
}

static void end_busy(busy_sink *busy) {
  assert_ok(pulse_engine_close_wait(busy->engine, TS_DEADLINE_MS, fx_err()));
  ts_proxy_free(busy->proxy);
}

static void the_server_reads_on_while_a_reply_is_on_its_way(void **state) {
  fixture *fx = *state;
  busy_sink busy = start_busy(fx);
  assert_true(fx_pending(fx, "s", "g") <= (int64_t)delivered(busy.c) + kBuffer);
  ts_proxy_resume(busy.proxy, TS_TO_CLIENT);
  assert_all_in_order(busy.c);
  end_busy(&busy);
}

static void replies_that_are_lost_are_delivered_all_the_same(void **state) {
  fixture *fx = *state;
  busy_sink busy = start_busy(fx);
  collector *done = fx_collector(fx);
  const size_t acked = delivered(busy.c);
  for (size_t i = 0; i < acked; ++i) {
    const ev *e = col_find(busy.c, PULSE_EVENT_MESSAGE, i);
    assert_ok(pulse_sink_ack(busy.sink, &e->ack, 1, col_target(done, 0), NULL, fx_err()));
  }
  ts_proxy_cut_all(busy.proxy);
  ts_proxy_resume(busy.proxy, TS_TO_CLIENT);
  fx_until(fx, delivered(busy.c) == kEvents);
  bool came[kEvents] = {false};
  for (size_t i = 0; i < kEvents; ++i) {
    const int name = atoi(col_find(busy.c, PULSE_EVENT_MESSAGE, i)->name);
    assert_false(came[name]);
    came[name] = true;
  }
  for (size_t i = 0; i < acked; ++i) {
    assert_int_equal(col_wait(done, PULSE_EVENT_ACKED, i)->status, PULSE_OK);
  }
  assert_int_equal(fx_pending(fx, "s", "g"), kEvents - (int64_t)acked);
  end_busy(&busy);
}

static void assert_another_sink_gets_all(fixture *fx, pulse_stream *stream) {
  collector *other = fx_collector(fx);
  pulse_sink_options options = small_reads();
  options.buffer = kEvents;
  fx_sink(fx, stream, "g", &options, other);
  fx_until(fx, delivered(other) == kEvents);
}

/* What is on its way to a sink that closes goes to others with the rest. */
static void a_close_hands_back_what_is_on_its_way(void **state) {
  fixture *fx = *state;
  busy_sink busy = start_busy(fx);
  assert_ok(pulse_sink_close(busy.sink));
  ts_proxy_resume(busy.proxy, TS_TO_CLIENT);
  assert_int_equal(col_wait(busy.c, PULSE_EVENT_CLOSED, 0)->status, PULSE_OK);
  assert_another_sink_gets_all(fx, fx_stream_on(fx, busy.engine, "s", NULL));
  end_busy(&busy);
}

static void a_removed_stream_hands_back_what_is_on_its_way(void **state) {
  fixture *fx = *state;
  busy_sink busy = start_busy(fx);
  collector *done = fx_collector(fx);
  assert_ok(pulse_sink_remove_stream(busy.sink, busy.stream, col_target(done, 0), NULL, fx_err()));
  ts_proxy_resume(busy.proxy, TS_TO_CLIENT);
  assert_int_equal(col_wait(done, PULSE_EVENT_STREAM_REMOVED, 0)->status, PULSE_OK);
  assert_another_sink_gets_all(fx, busy.stream);
  end_busy(&busy);
}

static void a_stream_is_added_to_a_busy_sink(void **state) {
  fixture *fx = *state;
  busy_sink busy = start_busy(fx);
  collector *done = fx_collector(fx);
  pulse_stream *more = fx_stream_on(fx, busy.engine, "t", NULL);
  fx_redis_int(fx, "XADD pulse:stream:t * n more p x");
  assert_ok(pulse_sink_add_stream(busy.sink, more, PULSE_START_OLDEST, NULL, col_target(done, 0),
                                  NULL, fx_err()));
  ts_proxy_resume(busy.proxy, TS_TO_CLIENT);
  assert_int_equal(col_wait(done, PULSE_EVENT_STREAM_ADDED, 0)->status, PULSE_OK);
  fx_until(fx, delivered(busy.c) == kEvents + 1);
  end_busy(&busy);
}

static void a_pause_ends_with_what_is_on_its_way(void **state) {
  fixture *fx = *state;
  busy_sink busy = start_busy(fx);
  assert_ok(pulse_sink_pause(busy.sink));
  ts_proxy_resume(busy.proxy, TS_TO_CLIENT);
  const int64_t read = fx_pending(fx, "s", "g");
  fx_until(fx, (int64_t)delivered(busy.c) == read);
  for (int i = 0; i < 3; ++i) {
    assert_ok(pulse_engine_ping_wait(busy.engine, NULL, TS_DEADLINE_MS, fx_err()));
  }
  assert_int_equal(fx_pending(fx, "s", "g"), read);
  assert_ok(pulse_sink_resume(busy.sink));
  assert_all_in_order(busy.c);
  end_busy(&busy);
}

/* An ack does not wait for a reply that does not come. */
static void acks_pass_a_reply_that_does_not_come(void **state) {
  fixture *fx = *state;
  busy_sink busy = start_busy(fx);
  collector *done = fx_collector(fx);
  const int64_t pending = fx_pending(fx, "s", "g");
  const ev *e = col_find(busy.c, PULSE_EVENT_MESSAGE, 0);
  assert_ok(pulse_sink_ack(busy.sink, &e->ack, 1, col_target(done, 0), NULL, fx_err()));
  fx_until(fx, fx_pending(fx, "s", "g") == pending - 1);
  ts_proxy_resume(busy.proxy, TS_TO_CLIENT);
  assert_int_equal(col_wait(done, PULSE_EVENT_ACKED, 0)->status, PULSE_OK);
  end_busy(&busy);
}

/* Taken in small portions, never more than the limits at the host's side. */
static void limits_hold_with_a_backlog(void **state) {
  fixture *fx = *state;
  add_backlog(fx);
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  collector *c = fx_collector_by(fx, BY_POLL);
  c->hold = true;
  enum { kMaxPending = 150 };
  pulse_sink_options options = small_reads();
  options.max_polled = kBuffer;
  options.max_pending = kMaxPending;
  pulse_sink *sink = fx_sink(fx, stream, "g", &options, c);
  int64_t taken = 0, acked = 0;
  pulse_ack_handle handles[kEvents];
  while (taken < kEvents) {
    fx_until(fx, pulse_queue_size(c->queue) > 0);
    pulse_sink_metrics metrics = {.size = sizeof metrics};
    assert_ok(pulse_sink_get_metrics(sink, &metrics));
    assert_true(metrics.buffered <= kBuffer);
    const int64_t pending = fx_pending(fx, "s", "g");
    assert_true(pending <= taken - acked + kBuffer);
    assert_true(pending <= kMaxPending);
    pulse_event events[7];
    const int64_t got = pulse_queue_poll(c->queue, events, sizeof events[0], 7, 0);
    for (int64_t i = 0; i < got; ++i) {
      if (events[i].kind == PULSE_EVENT_MESSAGE) handles[taken++] = events[i].ack;
    }
    if (taken - acked < 50 && taken < kEvents) continue;
    assert_ok(pulse_sink_ack_wait(sink, handles + acked, (size_t)(taken - acked), NULL,
                                  TS_DEADLINE_MS, fx_err()));
    acked = taken;
  }
  assert_int_equal(fx_pending(fx, "s", "g"), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      MANUAL_ONLY(the_server_reads_on_while_a_reply_is_on_its_way),
      MANUAL_ONLY(replies_that_are_lost_are_delivered_all_the_same),
      MANUAL_ONLY(a_close_hands_back_what_is_on_its_way),
      MANUAL_ONLY(a_removed_stream_hands_back_what_is_on_its_way),
      MANUAL_ONLY(a_stream_is_added_to_a_busy_sink),
      MANUAL_ONLY(a_pause_ends_with_what_is_on_its_way),
      MANUAL_ONLY(acks_pass_a_reply_that_does_not_come),
      BOTH_DRIVERS(limits_hold_with_a_backlog),
  };
  return cmocka_run_group_tests_name("sinks with a backlog", tests, fx_group_setup,
                                     fx_group_teardown);
}
