/* sink.h: groups and streams that vanish, lost connections, a consumer that
 * was deleted by others. */
#include "fixture.h"

static pulse_sink_options with_grace(int64_t grace_ms) {
  pulse_sink_options options = PULSE_SINK_OPTIONS_INIT;
  options.ack_grace_ms = grace_ms;
  return options;
}

static const ev *message(collector *c, size_t nth) { return col_wait(c, PULSE_EVENT_MESSAGE, nth); }

static pulse_stream *quick_stream(fixture *fx) {
  pulse_engine_options options = fx_options(fx);
  options.reconnect_max_ms = 20;
  return fx_stream_on(fx, fx_ready(fx, &options), "s", NULL);
}

/* Names of messages that came at least once. */
static bool has_name(collector *c, const char *name) {
  for (size_t i = 0; i < col_count(c); ++i) {
    const ev *e = col_at(c, i);
    if (e->kind == PULSE_EVENT_MESSAGE && strcmp(e->name, name) == 0) return true;
  }
  return false;
}

static int64_t scripts_run(fixture *fx) {
  ts_reply *reply = ts_command(fx->server, "INFO", "commandstats", NULL);
  const char *at = strstr(ts_reply_text(reply), "cmdstat_evalsha:calls=");
  int64_t calls = at == NULL ? 0 : atoll(at + strlen("cmdstat_evalsha:calls="));
  ts_reply_free(reply);
  return calls;
}

/* What a sink knows of its group is as old as its last sweep: two of them, and
 * it knows what is acked. */
static void wait_for_sweeps(fixture *fx) {
  int64_t before = scripts_run(fx);
  fx_until(fx, scripts_run(fx) >= before + 2);
}

/* --- group and stream gone ------------------------------------------------- */

static void a_destroyed_group_is_made_anew_and_nothing_is_missed(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = quick_stream(fx);
  collector *c = fx_collector(fx);
  pulse_sink *sink = fx_sink(fx, stream, "g", NULL, c);
  fx_add(stream, "acked", "p");
  fx_add(stream, "held", "p");
  fx_ack(sink, message(c, 0));
  const ev *held = message(c, 1);
  wait_for_sweeps(fx);
  fx_redis(fx, "XGROUP DESTROY pulse:stream:s g");
  fx_add(stream, "later", "p"); /* perhaps before the group is there again */
  const ev *e = col_wait(c, PULSE_EVENT_RECREATED, 0);
  assert_text(e, stream, "s");
  fx_until(fx, has_name(c, "later"));
  /* It put its own unacked event back, so the ack is good. */
  pulse_result result;
  assert_ok(pulse_sink_ack_wait(sink, &held->ack, 1, &result, TS_DEADLINE_MS, fx_err()));
  for (size_t i = 2; i < col_count_kind(c, PULSE_EVENT_MESSAGE); ++i) {
    pulse_sink_ack_wait(sink, &message(c, i)->ack, 1, NULL, TS_DEADLINE_MS, NULL);
  }
  fx_until(fx, fx_pending(fx, "s", "g") == 0);
  pulse_sink_metrics metrics = {.size = sizeof metrics};
  assert_ok(pulse_sink_get_metrics(sink, &metrics));
  assert_true(metrics.recreated >= 1);
  /* What was acked before stays done. */
  size_t acked_again = 0;
  for (size_t i = 1; i < col_count_kind(c, PULSE_EVENT_MESSAGE); ++i) {
    acked_again += strcmp(message(c, i)->name, "acked") == 0;
  }
  assert_int_equal(acked_again, 0);
}

static void an_idle_sink_notices_that_its_group_is_gone(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = quick_stream(fx);
  collector *c = fx_collector(fx);
  fx_sink(fx, stream, "g", NULL, c);
  fx_redis(fx, "XGROUP DESTROY pulse:stream:s g");
  fx_until(fx, fx_pending(fx, "s", "g") == 0);
  col_wait(c, PULSE_EVENT_RECREATED, 0);
  fx_add(stream, "n", "p");
  message(c, 0);
}

static void a_deleted_stream_is_made_anew(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = quick_stream(fx);
  collector *c = fx_collector(fx);
  pulse_sink *sink = fx_sink(fx, stream, "g", NULL, c);
  fx_add(stream, "first", "p");
  fx_ack(sink, message(c, 0));
  assert_ok(pulse_stream_destroy_wait(stream, TS_DEADLINE_MS, fx_err()));
  fx_add(stream, "second", "p");
  fx_until(fx, has_name(c, "second"));
  col_wait(c, PULSE_EVENT_RECREATED, 0);
  assert_int_equal(message(c, 1)->deliveries, 1);
}

static void flushall_is_survived(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = quick_stream(fx);
  collector *c = fx_collector(fx);
  pulse_sink *sink = fx_sink(fx, stream, "g", NULL, c);
  for (size_t round = 0; round < 3; ++round) {
    fx_redis(fx, "FLUSHALL");
    char name[16];
    snprintf(name, sizeof name, "round %zu", round);
    fx_add(stream, name, "p");
    fx_until(fx, has_name(c, name));
    col_wait(c, PULSE_EVENT_RECREATED, round);
  }
  /* All that a sink needs is back, for the others to see. */
  fx_until(fx, fx_redis_int(fx, "HEXISTS map:stream:s:sinks:content g") == 1);
  char consumer[27];
  assert_int_equal(pulse_sink_get_consumer(sink, consumer, sizeof consumer), 26);
  fx_until(fx, fx_redis_int(fx, "HEXISTS map:sink:g:keepalive:content %s", consumer) == 1);
}

static void script_flush_is_survived(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = quick_stream(fx);
  collector *c = fx_collector(fx);
  pulse_sink_options options = with_grace(1000);
  pulse_sink *sink = fx_sink(fx, stream, "g", &options, c);
  fx_add(stream, "n", "p");
  const ev *e = message(c, 0);
  pulse_sink_metrics metrics = {.size = sizeof metrics};
  for (uint64_t i = 1; i <= 3; ++i) {
    /* Renewals are scripts: they go on. */
    fx_redis(fx, "SCRIPT FLUSH");
    fx_until(fx, pulse_sink_get_metrics(sink, &metrics) == PULSE_OK && metrics.renewed >= 2 * i);
  }
  fx_redis(fx, "SCRIPT FLUSH");
  fx_ack(sink, e);
  assert_int_equal(fx_pending(fx, "s", "g"), 0);
  fx_redis(fx, "SCRIPT FLUSH");
  assert_ok(pulse_sink_close_wait(sink, TS_DEADLINE_MS, fx_err()));
  assert_int_equal(col_count_kind(c, PULSE_EVENT_MESSAGE), 1);
}

/* No busy loop while it cannot read. */
static void what_cannot_be_read_is_told_and_tried_calmly(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = quick_stream(fx);
  collector *c = fx_collector(fx);
  pulse_sink_options options = PULSE_SINK_OPTIONS_INIT;
  options.block_ms = 50;
  fx_sink(fx, stream, "g", &options, c);
  fx_redis(fx, "SET pulse:stream:s x");
  const ev *e = col_wait(c, PULSE_EVENT_READ_ERROR, 0);
  assert_int_equal(e->status, PULSE_ERR_WRONG_TYPE);
  pulse_engine_metrics before = {.size = sizeof before}, after = {.size = sizeof after};
  assert_ok(pulse_engine_get_metrics(fx->engine, &before));
  int64_t end = ts_now_ms() + 500;
  fx_until(fx, ts_now_ms() >= end);
  assert_ok(pulse_engine_get_metrics(fx->engine, &after));
  assert_true(after.commands_sent - before.commands_sent < 200);
  fx_redis(fx, "DEL pulse:stream:s");
  fx_until(fx, fx_pending(fx, "s", "g") == 0);
  fx_add(stream, "n", "p");
  fx_until(fx, has_name(c, "n"));
}

/* The same, when the first thing that meets it is not the read. */
static void what_cannot_be_recovered_from_is_told(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = quick_stream(fx);
  collector *c = fx_collector(fx);
  fx_sink(fx, stream, "g", NULL, c);
  fx_redis(fx, "MULTI");
  fx_redis(fx, "SET pulse:stream:s x");
  fx_redis(fx, "CLIENT KILL TYPE normal SKIPME yes");
  fx_redis(fx, "EXEC");
  const ev *e = col_wait(c, PULSE_EVENT_READ_ERROR, 0);
  assert_int_equal(e->status, PULSE_ERR_WRONG_TYPE);
  fx_redis(fx, "DEL pulse:stream:s");
  fx_until(fx, fx_redis_int(fx, "EXISTS pulse:stream:s") == 1);
  fx_add(stream, "n", "p");
  fx_until(fx, has_name(c, "n"));
}

/* --- gaps ------------------------------------------------------------------ */

static const ev *gap(collector *c) { return col_wait(c, PULSE_EVENT_GAP, 0); }

static void raw_add(fixture *fx, int from, int to) {
  for (int i = from; i <= to; ++i) fx_redis_int(fx, "XADD pulse:stream:s %d-0 n x p x", i);
}

/* Room for one event, made by an ack, does not let it read on before it has looked. */
static void what_was_trimmed_while_the_buffer_was_full_is_counted(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = quick_stream(fx);
  collector *c = fx_collector_by(fx, BY_POLL);
  c->hold = true;
  pulse_sink_options options = PULSE_SINK_OPTIONS_INIT;
  options.buffer = 10;
  options.max_polled = 5; /* full batches */
  pulse_sink *sink = fx_sink(fx, stream, "g", &options, c);
  raw_add(fx, 1, 30);
  pulse_sink_metrics metrics = {.size = sizeof metrics};
  fx_until(fx, pulse_sink_get_metrics(sink, &metrics) == PULSE_OK && metrics.buffered == 10);
  for (int i = 0; i < 3; ++i) { /* by then it knows that it is full */
    assert_ok(pulse_engine_ping_wait(fx->engine, NULL, TS_DEADLINE_MS, fx_err()));
  }
  fx_redis_int(fx, "XTRIM pulse:stream:s MAXLEN 5"); /* leaves 26 to 30 */
  pulse_event taken = {.size = sizeof taken};
  while (taken.kind != PULSE_EVENT_MESSAGE) {
    assert_int_equal(pulse_queue_poll(c->queue, &taken, sizeof taken, 1, TS_DEADLINE_MS), 1);
  }
  assert_ok(pulse_sink_ack_wait(sink, &taken.ack, 1, NULL, TS_DEADLINE_MS, fx_err()));
  for (int i = 0; i < 3; ++i) {
    assert_ok(pulse_engine_ping_wait(fx->engine, NULL, TS_DEADLINE_MS, fx_err()));
  }
  c->hold = false;
  assert_int_equal(gap(c)->id.ms, 10);
  assert_int_equal(gap(c)->id_end.ms, 26);
  assert_int_equal(gap(c)->count, ts_server_version(fx->server) >= 70000 ? 15 : 0);
  assert_int_equal(message(c, 9 + 4)->id.ms, 30);
  assert_ok(pulse_sink_get_metrics(sink, &metrics));
  assert_int_equal(metrics.gaps, 1);
}

/* Nothing could be looked up before the read: it waited at the server. */
static void what_was_trimmed_before_a_waiting_read_saw_it_is_a_gap(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = quick_stream(fx);
  collector *c = fx_collector(fx);
  pulse_sink_options options = PULSE_SINK_OPTIONS_INIT;
  options.max_polled = 5;
  fx_sink(fx, stream, "g", &options, c);
  raw_add(fx, 1, 1);
  message(c, 0);
  ts_reply *reply =
      ts_command(fx->server, "EVAL",
                 "for i = 2, 101 do redis.call('XADD', KEYS[1], i .. '-0', 'n', 'x', 'p', 'x') end "
                 "return redis.call('XTRIM', KEYS[1], 'MAXLEN', 5)",
                 "1", "pulse:stream:s", NULL);
  assert_int_equal(ts_reply_integer(reply), 96);
  ts_reply_free(reply);
  assert_int_equal(message(c, 1 + 4)->id.ms, 101);
  assert_int_equal(gap(c)->id.ms, 1);
  assert_int_equal(gap(c)->id_end.ms, 97);
  /* Redis 7.2 and newer count what a group passed by as read. */
  int version = ts_server_version(fx->server);
  assert_int_equal(gap(c)->count, version >= 70000 && version < 70200 ? 95 : 0);
}

/* --- lost connections ------------------------------------------------------ */

static void killed_clients_lose_no_event_and_no_ack(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = quick_stream(fx);
  collector *c = fx_collector(fx), *done = fx_collector(fx);
  pulse_sink *sink = fx_sink(fx, stream, "g", NULL, c);
  fx_add(stream, "first", "p");
  message(c, 0); /* its connection for reading is there, so that it can be lost */
  enum { kRounds = 15, kEach = 20 };
  size_t acked = 0;
  fx_add(stream, "first", "p");
  message(c, 0); /* READY comes before the connection that it reads on */
  for (int round = 0; round < kRounds; ++round) {
    for (int i = 0; i < kEach; ++i) {
      char name[16];
      snprintf(name, sizeof name, "%d", round * kEach + i);
      fx_redis_int(fx, "XADD pulse:stream:s * n %s p x", name);
    }
    ts_reply_free(
        ts_command(fx->server, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes", NULL));
    ts_reply_free(ts_command(fx->server, "CLIENT", "KILL", "TYPE", "pubsub", NULL));
    for (; acked < col_count_kind(c, PULSE_EVENT_MESSAGE); ++acked) {
      assert_ok(
          pulse_sink_ack(sink, &message(c, acked)->ack, 1, col_target(done, 0), NULL, fx_err()));
    }
    if (round % 3 == 2) col_wait(c, PULSE_EVENT_RECONNECTED, (size_t)round / 3);
  }
  for (int i = 0; i < kRounds * kEach; ++i) {
    char name[16];
    snprintf(name, sizeof name, "%d", i);
    fx_until(fx, has_name(c, name));
  }
  for (; acked < col_count_kind(c, PULSE_EVENT_MESSAGE); ++acked) {
    assert_ok(
        pulse_sink_ack(sink, &message(c, acked)->ack, 1, col_target(done, 0), NULL, fx_err()));
  }
  fx_until(fx, col_count_kind(done, PULSE_EVENT_ACKED) == acked);
  fx_until(fx, fx_pending(fx, "s", "g") == 0);
  pulse_sink_metrics metrics = {.size = sizeof metrics};
  assert_ok(pulse_sink_get_metrics(sink, &metrics));
  assert_true(metrics.reconnects >= 3);
  assert_int_equal(metrics.lost, 0);
  assert_true(col_count_kind(c, PULSE_EVENT_DISCONNECTED) >= 3);
}

/* An ack whose answer was cut off is sent again. */
static void an_ack_is_sent_again_after_a_lost_connection(void **state) {
  fixture *fx = *state;
  ts_proxy *proxy = ts_proxy_start(fx->server);
  assert_non_null(proxy);
  pulse_engine_options options = fx_options(fx);
  options.url = ts_proxy_url(proxy);
  options.reconnect_max_ms = 20;
  pulse_engine *engine = fx_ready(fx, &options);
  pulse_stream *stream = fx_stream_on(fx, engine, "s", NULL);
  collector *c = fx_collector(fx), *done = fx_collector(fx);
  pulse_sink *sink = fx_sink(fx, stream, "g", NULL, c);
  for (int i = 0; i < 10; ++i) fx_add(stream, "n", "p");
  message(c, 9);
  ts_proxy_stall(proxy, TS_TO_CLIENT);
  for (size_t i = 0; i < 10; ++i) {
    assert_ok(pulse_sink_ack(sink, &message(c, i)->ack, 1, col_target(done, 0), NULL, fx_err()));
  }
  fx_until(fx, fx_pending(fx, "s", "g") == 0); /* Redis has them, we do not know */
  assert_int_equal(col_count_kind(done, PULSE_EVENT_ACKED), 0);
  ts_proxy_cut_all(proxy);
  ts_proxy_resume(proxy, TS_TO_CLIENT);
  for (size_t i = 0; i < 10; ++i) {
    assert_int_equal(col_wait(done, PULSE_EVENT_ACKED, i)->status, PULSE_OK);
  }
  assert_int_equal(col_count_kind(c, PULSE_EVENT_MESSAGE), 10);
  assert_ok(pulse_engine_close_wait(engine, TS_DEADLINE_MS, fx_err()));
  ts_proxy_free(proxy);
}

static void a_restarted_server_keeps_what_is_pending(void **state) {
  fixture *fx = *state;
  const ts_server_options server_options = {.append_only = 1};
  ts_server *server = ts_server_start(&server_options);
  assert_non_null(server);
  pulse_engine_options options = fx_options(fx);
  options.url = ts_server_url(server);
  options.reconnect_max_ms = 20;
  options.command_timeout_ms = TS_DEADLINE_MS;
  pulse_engine *engine = fx_ready(fx, &options);
  pulse_stream *stream = fx_stream_on(fx, engine, "s", NULL);
  collector *c = fx_collector(fx);
  pulse_sink *sink = fx_sink(fx, stream, "g", NULL, c);
  for (int i = 0; i < 5; ++i) fx_add(stream, "n", "p");
  message(c, 4);
  assert_int_equal(ts_server_kill(server), 1);
  assert_int_equal(ts_server_restart(server), 1);
  for (size_t i = 0; i < 5; ++i) fx_ack(sink, message(c, i));
  fx_add(stream, "after", "p");
  fx_until(fx, has_name(c, "after"));
  ts_reply *reply = ts_command(server, "XPENDING", "pulse:stream:s", "g", NULL);
  int64_t pending = ts_reply_integer(ts_reply_at(reply, 0));
  ts_reply_free(reply);
  assert_int_equal(pending, 1);
  assert_ok(pulse_engine_close_wait(engine, TS_DEADLINE_MS, fx_err()));
  ts_server_free(server);
}

/* --- declared dead --------------------------------------------------------- */

/* What a Go peer does to a consumer that it believes to be dead. */
static void a_deleted_consumer_starts_over_under_a_new_name(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = quick_stream(fx);
  collector *c = fx_collector(fx);
  pulse_sink_options options = with_grace(300);
  pulse_sink *sink = fx_sink(fx, stream, "g", &options, c);
  fx_add(stream, "held", "p");
  const ev *held = message(c, 0);
  char before[27], after[27];
  assert_int_equal(pulse_sink_get_consumer(sink, before, sizeof before), 26);
  fx_redis(fx, "XGROUP DELCONSUMER pulse:stream:s g %s", before);
  fx_redis(fx, "HDEL map:sink:g:keepalive:content %s", before);
  fx_redis(fx, "HDEL map:stream:s:sinks:content g");
  col_wait(c, PULSE_EVENT_OWNERSHIP_LOST, 0);
  assert_int_equal(pulse_sink_get_consumer(sink, after, sizeof after), 26);
  assert_string_not_equal(before, after);
  assert_status(PULSE_ERR_NOT_OWNER,
                pulse_sink_ack_wait(sink, &held->ack, 1, NULL, TS_DEADLINE_MS, fx_err()));
  fx_add(stream, "next", "p");
  fx_until(fx, has_name(c, "next"));
  fx_until(fx, fx_redis_int(fx, "HEXISTS map:sink:g:keepalive:content %s", after) == 1);
  fx_until(fx, fx_redis_int(fx, "HEXISTS map:stream:s:sinks:content g") == 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      BOTH_DRIVERS(a_destroyed_group_is_made_anew_and_nothing_is_missed),
      BOTH_DRIVERS(an_idle_sink_notices_that_its_group_is_gone),
      BOTH_DRIVERS(a_deleted_stream_is_made_anew),
      BOTH_DRIVERS(flushall_is_survived),
      BOTH_DRIVERS(script_flush_is_survived),
      BOTH_DRIVERS(what_cannot_be_read_is_told_and_tried_calmly),
      BOTH_DRIVERS(what_cannot_be_recovered_from_is_told),
      BOTH_DRIVERS(what_was_trimmed_while_the_buffer_was_full_is_counted),
      BOTH_DRIVERS(what_was_trimmed_before_a_waiting_read_saw_it_is_a_gap),
      BOTH_DRIVERS(killed_clients_lose_no_event_and_no_ack),
      BOTH_DRIVERS(an_ack_is_sent_again_after_a_lost_connection),
      BOTH_DRIVERS(a_restarted_server_keeps_what_is_pending),
      BOTH_DRIVERS(a_deleted_consumer_starts_over_under_a_new_name),
  };
  return cmocka_run_group_tests_name("sink faults", tests, fx_group_setup, fx_group_teardown);
}
