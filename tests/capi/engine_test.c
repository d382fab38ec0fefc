/* engine.h: life cycle, states, limits, deadlines, cancelling. */
#include <pthread.h>

#include "fixture.h"

/* A directory entry that nobody listens on. */
static const char kNoServer[] = "unix:///nonexistent/pulse-test.sock";

static pulse_engine_options nowhere(fixture *fx) {
  pulse_engine_options options = fx_options(fx);
  options.url = kNoServer;
  return options;
}

static const ev *wait_state(collector *c, pulse_engine_state state) {
  const ev *found = NULL;
  int64_t end = ts_now_ms() + TS_DEADLINE_MS;
  while (found == NULL) {
    for (size_t i = 0; i < col_count(c); ++i) {
      if (col_at(c, i)->kind == PULSE_EVENT_ENGINE_STATE && col_at(c, i)->state == state) {
        found = col_at(c, i);
      }
    }
    if (ts_now_ms() > end) fail_msg("state %d never came", state);
    if (found == NULL) fx_pump(c->fx);
  }
  return found;
}

/* --- opening and closing --------------------------------------------------- */

static void open_needs_no_server(void **state) {
  fixture *fx = *state;
  pulse_engine_options options = nowhere(fx);
  pulse_engine *engine = fx_open(fx, &options);
  assert_status(PULSE_ERR_TIMEOUT, pulse_engine_ready_wait(engine, 0, fx_err()));
  assert_status(PULSE_ERR_TIMEOUT, pulse_engine_ready_wait(engine, 50, fx_err()));
  /* The reason of the last attempt. */
  if (strstr(fx_message(), "No such file") == NULL) fail_msg("message: %s", fx_message());
  assert_status(PULSE_ERR_TIMEOUT, pulse_engine_ping_wait(engine, NULL, 1, fx_err()));
}

static void it_connects_when_the_server_comes(void **state) {
  fixture *fx = *state;
  ts_server *server = ts_server_start(NULL);
  assert_non_null(server);
  ts_server_stop(server);
  collector *c = fx_collector(fx);
  pulse_engine_options options = fx_options(fx);
  options.url = ts_server_url(server);
  options.reconnect_max_ms = 20;
  options.state_target = col_target(c, 5);
  pulse_engine *engine = fx_open(fx, &options);
  wait_state(c, PULSE_ENGINE_CONNECTING);
  assert_status(PULSE_ERR_TIMEOUT, pulse_engine_ready_wait(engine, 20, fx_err()));
  ts_server_restart(server);
  assert_ok(pulse_engine_ready_wait(engine, TS_DEADLINE_MS, fx_err()));
  wait_state(c, PULSE_ENGINE_READY);
  assert_ok(pulse_engine_close_wait(engine, TS_DEADLINE_MS, fx_err()));
  ts_server_free(server);
}

static void count_lines(pulse_log_level level, const char *text, size_t size, void *count) {
  (void)level, (void)text, (void)size;
  __atomic_add_fetch((uint64_t *)count, 1, __ATOMIC_SEQ_CST);
}

/* The last CONNECTING event, once it has this status. */
static const ev *wait_connecting(fixture *fx, collector *c, pulse_status status) {
  fx_until(fx, col_count(c) > 0 && col_at(c, col_count(c) - 1)->status == status);
  const ev *last = col_at(c, col_count(c) - 1);
  assert_int_equal(last->state, PULSE_ENGINE_CONNECTING);
  return last;
}

static void a_first_connection_that_fails_is_told_reason_by_reason(void **state) {
  fixture *fx = *state;
  static const ts_server_options server_options = {.tcp = 1, .password = "right"};
  ts_server *server = ts_server_start(&server_options);
  assert_non_null(server);
  assert_int_equal(ts_server_kill(server), 1);
  char url[64];
  snprintf(url, sizeof url, "redis://:wr0ng@127.0.0.1:%d", ts_server_port(server));
  uint64_t attempts = 0; /* that have failed; each leaves a line in the log */
  collector *c = fx_collector(fx);
  pulse_engine_options options = fx_options(fx);
  options.url = url;
  options.reconnect_max_ms = 20;
  options.state_target = col_target(c, 5);
  options.log = count_lines;
  options.log_user_data = &attempts;
  options.log_level = PULSE_LOG_INFO;
  pulse_engine *engine = fx_open(fx, &options);
  const ev *e = wait_connecting(fx, c, PULSE_ERR_CONNECT);
  if (strstr(e->message, "refused") == NULL) fail_msg("message: %s", e->message);
  fx_until(fx, __atomic_load_n(&attempts, __ATOMIC_SEQ_CST) >= 5);
  assert_int_equal(col_count(c), 2); /* connecting; refused */
  assert_int_equal(col_at(c, 0)->state, PULSE_ENGINE_CONNECTING);
  assert_int_equal(col_at(c, 0)->status, PULSE_OK);

  assert_int_equal(ts_server_restart(server), 1);
  e = wait_connecting(fx, c, PULSE_ERR_AUTH);
  assert_true(e->message_len > 0);
  assert_null(strstr(e->message, "wr0ng"));
  size_t told = col_count(c);
  uint64_t before = __atomic_load_n(&attempts, __ATOMIC_SEQ_CST);
  fx_until(fx, __atomic_load_n(&attempts, __ATOMIC_SEQ_CST) >= before + 5);
  assert_int_equal(col_count(c), told);
  assert_int_equal(pulse_engine_ready_wait(engine, 0, NULL), PULSE_ERR_AUTH);

  ts_reply_free(ts_command(server, "CONFIG", "SET", "requirepass", "wr0ng", NULL));
  wait_state(c, PULSE_ENGINE_READY);
  assert_ok(pulse_engine_close_wait(engine, TS_DEADLINE_MS, fx_err()));
  ts_server_free(server);
}

static void ready_wait_answers_again_and_again(void **state) {
  fixture *fx = *state;
  pulse_engine *engine = fx_ready(fx, NULL);
  assert_ok(pulse_engine_ready_wait(engine, 0, fx_err()));
  assert_ok(pulse_engine_ready_wait(engine, PULSE_FOREVER, fx_err()));
}

static void states_come_in_order_and_closed_is_last(void **state) {
  fixture *fx = *state;
  ts_server *server = ts_server_start(NULL);
  assert_non_null(server);
  collector *c = fx_collector(fx);
  pulse_engine_options options = fx_options(fx);
  options.url = ts_server_url(server);
  options.reconnect_max_ms = 20;
  options.state_target = col_target(c, 5);
  pulse_engine *engine = fx_open(fx, &options);
  wait_state(c, PULSE_ENGINE_READY);
  assert_int_equal(ts_server_kill(server), 1);
  const ev *lost = wait_state(c, PULSE_ENGINE_LOST);
  assert_true(lost->message_len > 0);
  assert_int_equal(ts_server_restart(server), 1);
  assert_ok(pulse_engine_ready_wait(engine, TS_DEADLINE_MS, fx_err()));
  assert_ok(pulse_engine_close(engine));
  wait_state(c, PULSE_ENGINE_CLOSED);
  assert_ok(pulse_engine_close_wait(engine, TS_DEADLINE_MS, fx_err()));
  fx_until(fx, col_destroyed(c) == 1);
  assert_int_equal(col_at(c, 0)->state, PULSE_ENGINE_CONNECTING);
  size_t count = col_count(c);
  assert_int_equal(col_at(c, count - 1)->state, PULSE_ENGINE_CLOSED);
  for (size_t i = 0; i < count; ++i) {
    const ev *e = col_at(c, i);
    assert_int_equal(e->kind, PULSE_EVENT_ENGINE_STATE);
    if (c->delivery == BY_POLL) assert_int_equal(e->token, 5);
    if (i > 0) assert_int_not_equal(e->state, col_at(c, i - 1)->state);
  }
  ts_server_free(server);
}

static void close_is_idempotent_and_completes_what_is_under_way(void **state) {
  fixture *fx = *state;
  pulse_engine_options options = nowhere(fx);
  pulse_engine *engine = fx_open(fx, &options);
  pulse_stream *stream = fx_stream_on(fx, engine, "s", NULL);
  collector *c = fx_collector(fx);
  for (int i = 0; i < 10; ++i) {
    assert_ok(
        pulse_stream_add(stream, "n", 1, "p", 1, NULL, col_target(c, (uint64_t)i), NULL, fx_err()));
  }
  assert_ok(pulse_engine_close(engine));
  assert_ok(pulse_engine_close(engine));
  assert_ok(pulse_engine_close_wait(engine, TS_DEADLINE_MS, fx_err()));
  assert_ok(pulse_engine_close_wait(engine, TS_DEADLINE_MS, fx_err()));
  fx_until(fx, col_count(c) == 10);
  for (size_t i = 0; i < 10; ++i) {
    assert_int_equal(col_at(c, i)->kind, PULSE_EVENT_ADDED);
    assert_int_equal(col_at(c, i)->status, PULSE_ERR_CLOSED);
    assert_true(col_at(c, i)->flags & PULSE_ERROR_NEVER_SENT);
  }
  fx_until(fx, col_destroyed(c) == 10);
  assert_int_equal(col_count(c), 10);
}

static void two_engines_do_not_know_of_each_other(void **state) {
  fixture *fx = *state;
  pulse_engine *one = fx_ready(fx, NULL);
  pulse_engine *two = fx_ready(fx, NULL);
  pulse_stream *s1 = fx_stream_on(fx, one, "s", NULL);
  pulse_stream *s2 = fx_stream_on(fx, two, "s", NULL);
  collector *c = fx_collector(fx);
  fx_reader(fx, s2, NULL, c);
  fx_add(s1, "from one", "p");
  const ev *e = col_wait(c, PULSE_EVENT_MESSAGE, 0);
  assert_text(e, name, "from one");
  assert_ok(pulse_engine_close_wait(one, TS_DEADLINE_MS, fx_err()));
  fx_add(s2, "from two", "p");
  e = col_wait(c, PULSE_EVENT_MESSAGE, 1);
  assert_text(e, name, "from two");
  /* An object of one engine is none of the other. */
  collector *c2 = fx_collector(fx);
  pulse_engine *three = fx_ready(fx, NULL);
  pulse_stream *s3 = fx_stream_on(fx, three, "s", NULL);
  pulse_reader *reader = fx_reader(fx, s3, NULL, c2);
  assert_status(PULSE_ERR_INVALID, pulse_reader_add_stream(reader, s2, PULSE_START_OLDEST, NULL,
                                                           NULL, NULL, fx_err()));
}

static void cycle(fixture *fx) {
  pulse_engine_options options = fx_options(fx);
  pulse_engine *engine = NULL;
  assert_ok(pulse_engine_open(&options, &engine, fx_err()));
  assert_ok(pulse_engine_ping_wait(engine, NULL, TS_DEADLINE_MS, fx_err()));
  assert_ok(pulse_engine_close_wait(engine, TS_DEADLINE_MS, fx_err()));
  pulse_engine_unref(engine);
}

static void cycles_leak_nothing(void **state) {
  fixture *fx = *state;
  for (int i = 0; i < 50; ++i) cycle(fx); /* what is allocated once is there now */
  int descriptors = ts_descriptor_count();
  int threads = ts_thread_count();
  int64_t resident = ts_resident_bytes();
  int64_t rounds = ts_scaled(1000);
  for (int64_t i = 0; i < rounds; ++i) cycle(fx);
  assert_int_equal(ts_descriptor_count(), descriptors);
  assert_int_equal(ts_thread_count(), threads);
  /* A kilobyte leaked per round would show; quarantines of sanitizers would too. */
  if (!ts_is_sanitized() && rounds >= 1000) {
    assert_true(ts_resident_bytes() - resident < rounds * 1024);
  }
}

static void unref_without_close_leaks_nothing(void **state) {
  fixture *fx = *state;
  cycle(fx);
  int descriptors = ts_descriptor_count();
  int threads = ts_thread_count();
  for (int64_t i = 0; i < ts_scaled(50); ++i) {
    pulse_engine_options options = fx_options(fx);
    pulse_engine *engine = NULL;
    assert_ok(pulse_engine_open(&options, &engine, fx_err()));
    if (i % 2 == 0) assert_ok(pulse_engine_ready_wait(engine, TS_DEADLINE_MS, fx_err()));
    pulse_engine_unref(engine);
  }
  fx_until(fx, ts_thread_count() <= threads && ts_descriptor_count() <= descriptors);
}

/* --- ping ------------------------------------------------------------------ */

static void ping_makes_a_round_trip(void **state) {
  fixture *fx = *state;
  pulse_engine *engine = fx_ready(fx, NULL);
  collector *c = fx_collector(fx);
  uint64_t first = 0, second = 0, microseconds = 0;
  assert_ok(pulse_engine_ping(engine, col_target(c, 11), &first, fx_err()));
  assert_ok(pulse_engine_ping(engine, col_target(c, 12), &second, fx_err()));
  assert_true(first != 0 && second != 0 && first != second);
  const ev *pong = col_wait(c, PULSE_EVENT_PONG, 0);
  assert_int_equal(pong->status, PULSE_OK);
  assert_int_equal(pong->operation, first);
  assert_true(pong->count > 0);
  if (c->delivery == BY_POLL) assert_int_equal(pong->token, 11);
  assert_int_equal(col_wait(c, PULSE_EVENT_PONG, 1)->operation, second);
  assert_ok(pulse_engine_ping_wait(engine, &microseconds, TS_DEADLINE_MS, fx_err()));
  assert_true(microseconds > 0);
  assert_ok(pulse_engine_ping_wait(engine, NULL, PULSE_FOREVER, fx_err()));
}

/* --- offline --------------------------------------------------------------- */

static void accepted_calls_wait_for_the_connection(void **state) {
  fixture *fx = *state;
  ts_server *server = ts_server_start(NULL);
  assert_non_null(server);
  ts_server_stop(server);
  pulse_engine_options options = fx_options(fx);
  options.url = ts_server_url(server);
  options.reconnect_max_ms = 20;
  options.command_timeout_ms = PULSE_FOREVER;
  pulse_engine *engine = fx_open(fx, &options);
  pulse_stream *stream = fx_stream_on(fx, engine, "s", NULL);
  collector *c = fx_collector(fx);
  for (int i = 0; i < 3; ++i) {
    assert_ok(pulse_stream_add(stream, "n", 1, "p", 1, NULL, col_target(c, 0), NULL, fx_err()));
  }
  assert_status(PULSE_ERR_TIMEOUT, pulse_engine_ready_wait(engine, 20, NULL));
  assert_int_equal(col_count(c), 0);
  ts_server_restart(server);
  for (size_t i = 0; i < 3; ++i) {
    assert_int_equal(col_wait(c, PULSE_EVENT_ADDED, i)->status, PULSE_OK);
  }
  assert_ok(pulse_engine_close_wait(engine, TS_DEADLINE_MS, fx_err()));
  ts_server_free(server);
}

static void fail_fast_fails_at_once(void **state) {
  fixture *fx = *state;
  pulse_engine_options options = nowhere(fx);
  options.fail_fast = 1;
  pulse_engine *engine = fx_open(fx, &options);
  pulse_stream *stream = fx_stream_on(fx, engine, "s", NULL);
  collector *c = fx_collector(fx);
  assert_status(PULSE_ERR_DISCONNECTED,
                pulse_stream_add(stream, "n", 1, "p", 1, NULL, col_target(c, 0), NULL, fx_err()));
  assert_int_equal(col_destroyed(c), 1);
  assert_status(PULSE_ERR_DISCONNECTED, pulse_stream_add_wait(stream, "n", 1, "p", 1, NULL, NULL,
                                                              TS_DEADLINE_MS, fx_err()));
  pulse_error error = PULSE_ERROR_INIT;
  assert_int_equal(pulse_engine_ping(engine, NULL, NULL, &error), PULSE_ERR_DISCONNECTED);
  assert_true(error.flags & PULSE_ERROR_RETRIABLE);
  assert_true(error.flags & PULSE_ERROR_NEVER_SENT);
}

/* --- limits ---------------------------------------------------------------- */

static void max_inflight_counts_until_the_completion_is_taken(void **state) {
  fixture *fx = *state;
  pulse_engine_options options = fx_options(fx);
  options.max_inflight = 4;
  pulse_engine *engine = fx_ready(fx, &options);
  collector *c = fx_collector_by(fx, BY_POLL);
  c->hold = true;
  for (uint64_t i = 0; i < 4; ++i) {
    assert_ok(pulse_engine_ping(engine, col_target(c, i), NULL, fx_err()));
  }
  fx_until(fx, pulse_queue_size(c->queue) == 4); /* all are done, none is taken */
  pulse_error error = PULSE_ERROR_INIT;
  assert_int_equal(pulse_engine_ping(engine, col_target(c, 9), NULL, &error), PULSE_ERR_AGAIN);
  assert_true(error.flags & PULSE_ERROR_RETRIABLE);
  pulse_engine_metrics metrics = {.size = sizeof metrics};
  assert_ok(pulse_engine_get_metrics(engine, &metrics));
  assert_int_equal(metrics.inflight, 4);
  assert_int_equal(metrics.rejected, 1);
  pulse_event event;
  assert_int_equal(pulse_queue_poll(c->queue, &event, sizeof event, 1, 0), 1);
  assert_ok(pulse_engine_ping(engine, col_target(c, 10), NULL, fx_err()));
  assert_status(PULSE_ERR_AGAIN, pulse_engine_ping(engine, col_target(c, 11), NULL, fx_err()));
}

static void beyond_max_inflight_wait_forms_wait(void **state) {
  fixture *fx = *state;
  pulse_engine_options options = fx_options(fx);
  options.max_inflight = 1;
  pulse_engine *engine = fx_ready(fx, &options);
  pulse_stream *stream = fx_stream_on(fx, engine, "s", NULL);
  collector *c = fx_collector_by(fx, BY_CALLBACK);
  assert_ok(pulse_engine_ping(engine, col_target(c, 0), NULL, fx_err()));
  fx_add(stream, "n", "p");
  collector *held = fx_collector_by(fx, BY_POLL);
  held->hold = true;
  fx_until(fx, col_count(c) == 1);
  assert_ok(pulse_engine_ping(engine, col_target(held, 0), NULL, fx_err()));
  pulse_error error = PULSE_ERROR_INIT;
  assert_int_equal(pulse_stream_add_wait(stream, "n", 1, "p", 1, NULL, NULL, 30, &error),
                   PULSE_ERR_TIMEOUT);
  assert_true(error.flags & PULSE_ERROR_NEVER_SENT);
  assert_int_equal(fx_redis_int(fx, "XLEN pulse:stream:s"), 1);
}

static void max_buffer_bytes_bounds_what_waits_to_be_sent(void **state) {
  fixture *fx = *state;
  pulse_engine_options options = nowhere(fx);
  options.max_buffer_bytes = 100000;
  pulse_engine *engine = fx_open(fx, &options);
  pulse_stream *stream = fx_stream_on(fx, engine, "s", NULL);
  static char payload[30000];
  int accepted = 0;
  pulse_status status;
  while ((status = pulse_stream_add(stream, "n", 1, payload, sizeof payload, NULL, NULL, NULL,
                                    NULL)) == PULSE_OK) {
    assert_true(++accepted < 10);
  }
  assert_int_equal(status, PULSE_ERR_AGAIN);
  assert_true(accepted == 3 || accepted == 4);
  pulse_engine_metrics metrics = {.size = sizeof metrics};
  assert_ok(pulse_engine_get_metrics(engine, &metrics));
  assert_true(metrics.buffered_bytes >= (uint64_t)accepted * sizeof payload);
}

static void max_payload_bytes_is_exact(void **state) {
  fixture *fx = *state;
  pulse_engine_options options = fx_options(fx);
  options.max_payload_bytes = 1000;
  pulse_engine *engine = fx_ready(fx, &options);
  pulse_stream *stream = fx_stream_on(fx, engine, "s", NULL);
  static char payload[1001];
  assert_ok(
      pulse_stream_add_wait(stream, "n", 1, payload, 1000, NULL, NULL, TS_DEADLINE_MS, fx_err()));
  assert_status(PULSE_ERR_TOO_LARGE,
                pulse_stream_add(stream, "n", 1, payload, 1001, NULL, NULL, NULL, fx_err()));
  pulse_bytes *bytes = pulse_bytes_new(payload, 1001);
  assert_status(PULSE_ERR_TOO_LARGE,
                pulse_stream_add_bytes(stream, "n", 1, bytes, NULL, NULL, NULL, fx_err()));
  pulse_bytes_unref(bytes);
}

/* --- deadlines and cancelling ---------------------------------------------- */

static void a_deadline_offline_says_never_sent(void **state) {
  fixture *fx = *state;
  pulse_engine_options options = nowhere(fx);
  options.command_timeout_ms = 30;
  pulse_engine *engine = fx_open(fx, &options);
  pulse_stream *stream = fx_stream_on(fx, engine, "s", NULL);
  collector *c = fx_collector(fx);
  pulse_add_options add = PULSE_ADD_OPTIONS_INIT;
  assert_ok(pulse_stream_add(stream, "n", 1, "p", 1, &add, col_target(c, 0), NULL, fx_err()));
  add.timeout_ms = 40;
  assert_ok(pulse_stream_add(stream, "n", 1, "p", 1, &add, col_target(c, 1), NULL, fx_err()));
  for (size_t i = 0; i < 2; ++i) {
    const ev *e = col_wait(c, PULSE_EVENT_ADDED, i);
    assert_int_equal(e->status, PULSE_ERR_TIMEOUT);
    assert_true(e->flags & PULSE_ERROR_NEVER_SENT);
    assert_false(e->flags & PULSE_ERROR_OUTCOME_UNKNOWN);
    assert_true(e->message_len > 0);
  }
}

typedef struct patient {
  pulse_engine *engine;
  pulse_stream *stream;
  bool stop; /* atomic */
} patient;

/* Calls that have all the time in the world, one after the other. */
static void *call_and_cancel(void *arg) {
  patient *p = arg;
  pulse_add_options add = PULSE_ADD_OPTIONS_INIT;
  add.timeout_ms = 3600 * 1000;
  while (!__atomic_load_n(&p->stop, __ATOMIC_ACQUIRE)) {
    uint64_t operation = 0;
    if (pulse_stream_add(p->stream, "n", 1, "p", 1, &add, NULL, &operation, NULL) == PULSE_OK) {
      pulse_operation_cancel(p->engine, operation);
    }
  }
  return NULL;
}

/* Nor when it is the next one while an earlier one ends. */
static void a_short_deadline_is_not_lost_among_long_ones(void **state) {
  fixture *fx = *state;
  pulse_engine_options options = nowhere(fx);
  pulse_engine *engine = fx_open(fx, &options);
  patient p = {engine, fx_stream_on(fx, engine, "s", NULL), false};
  collector *c = fx_collector(fx);
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, call_and_cancel, &p), 0);
  pulse_add_options add = PULSE_ADD_OPTIONS_INIT;
  const int64_t rounds = ts_scaled(500);
  bool hangs = false;
  for (int64_t round = 1; round <= rounds && !hangs; ++round) {
    int64_t end = ts_now_ms() + TS_DEADLINE_MS;
    for (add.timeout_ms = 1; add.timeout_ms <= 3; add.timeout_ms += 2) {
      /* The other thread may have used up max_inflight for the moment. */
      while (pulse_stream_add(p.stream, "n", 1, "p", 1, &add, col_target(c, 0), NULL, NULL) !=
                 PULSE_OK &&
             ts_now_ms() < end) {
        fx_pump(fx);
      }
    }
    while (col_count(c) < 2 * (size_t)round && ts_now_ms() < end) fx_pump(fx);
    hangs = col_count(c) < 2 * (size_t)round;
  }
  __atomic_store_n(&p.stop, true, __ATOMIC_RELEASE);
  pthread_join(thread, NULL);
  assert_false(hangs);
  for (size_t i = 0; i < col_count(c); ++i) {
    assert_int_equal(col_at(c, i)->status, PULSE_ERR_TIMEOUT);
  }
}

/* A server that does not answer: what was sent has an unknown outcome. */
static void a_deadline_after_sending_says_outcome_unknown(void **state) {
  fixture *fx = *state;
  ts_fault *fault = ts_fault_start();
  assert_non_null(fault);
  ts_fault_silence(fault, "XADD", 0);
  pulse_engine_options options = fx_options(fx);
  options.url = ts_fault_url(fault);
  pulse_engine *engine = fx_ready(fx, &options);
  pulse_stream *stream = fx_stream_on(fx, engine, "s", NULL);
  collector *c = fx_collector(fx);
  pulse_add_options add = PULSE_ADD_OPTIONS_INIT;
  add.timeout_ms = 1000; /* it is sent before, on a busy machine too */
  assert_ok(pulse_stream_add(stream, "n", 1, "p", 1, &add, col_target(c, 0), NULL, fx_err()));
  const ev *e = col_wait(c, PULSE_EVENT_ADDED, 0);
  assert_int_equal(e->status, PULSE_ERR_TIMEOUT);
  assert_true(e->flags & PULSE_ERROR_OUTCOME_UNKNOWN);
  assert_false(e->flags & PULSE_ERROR_NEVER_SENT);
  assert_ok(pulse_engine_close_wait(engine, TS_DEADLINE_MS, fx_err()));
  ts_fault_free(fault);
}

/* Whoever waits in vain is told what keeps the engine from its server. */
static void time_outs_say_why_there_is_no_connection(void **state) {
  fixture *fx = *state;
  pulse_engine_options options = nowhere(fx);
  pulse_engine *engine = fx_open(fx, &options);
  pulse_stream *stream = fx_stream_on(fx, engine, "s", NULL);
  collector *c = fx_collector(fx), *readers = fx_collector(fx);
  const char *reason = "No such file";
  /* Until the first attempt has failed. */
  int64_t end = ts_now_ms() + TS_DEADLINE_MS;
  do {
    if (ts_now_ms() > end) fail_msg("no attempt has failed");
    assert_status(PULSE_ERR_TIMEOUT, pulse_engine_ready_wait(engine, 10, fx_err()));
  } while (strstr(fx_message(), reason) == NULL);

  assert_status(PULSE_ERR_TIMEOUT,
                pulse_stream_add_wait(stream, "n", 1, "p", 1, NULL, NULL, 20, fx_err()));
  if (strstr(fx_message(), reason) == NULL) fail_msg("add_wait: %s", fx_message());
  pulse_add_options add = PULSE_ADD_OPTIONS_INIT;
  add.timeout_ms = 20;
  assert_ok(pulse_stream_add(stream, "n", 1, "p", 1, &add, col_target(c, 0), NULL, fx_err()));
  const ev *e = col_wait(c, PULSE_EVENT_ADDED, 0);
  assert_int_equal(e->status, PULSE_ERR_TIMEOUT);
  assert_true(e->flags & PULSE_ERROR_NEVER_SENT);
  if (strstr(e->message, reason) == NULL) fail_msg("add: %s", e->message);

  pulse_reader *reader;
  assert_ok(pulse_reader_open(stream, NULL, col_target(readers, 0), &reader, fx_err()));
  assert_status(PULSE_ERR_TIMEOUT, pulse_reader_ready_wait(reader, 20, fx_err()));
  if (strstr(fx_message(), reason) == NULL) fail_msg("reader: %s", fx_message());
  pulse_sink *sink;
  assert_ok(pulse_sink_open(stream, "g", 1, NULL, col_target(readers, 0), &sink, fx_err()));
  assert_status(PULSE_ERR_TIMEOUT, pulse_sink_ready_wait(sink, 20, fx_err()));
  if (strstr(fx_message(), reason) == NULL) fail_msg("sink: %s", fx_message());
  pulse_reader_unref(reader);
  pulse_sink_unref(sink);
  assert_ok(pulse_engine_close_wait(engine, TS_DEADLINE_MS, fx_err()));
}

static void cancel_of_what_was_not_sent(void **state) {
  fixture *fx = *state;
  pulse_engine_options options = nowhere(fx);
  pulse_engine *engine = fx_open(fx, &options);
  pulse_stream *stream = fx_stream_on(fx, engine, "s", NULL);
  collector *c = fx_collector(fx);
  uint64_t operation = 0;
  assert_ok(pulse_stream_add(stream, "n", 1, "p", 1, NULL, col_target(c, 0), &operation, fx_err()));
  assert_ok(pulse_operation_cancel(engine, operation));
  const ev *e = col_wait(c, PULSE_EVENT_ADDED, 0);
  assert_int_equal(e->status, PULSE_ERR_CANCELLED);
  assert_int_equal(e->operation, operation);
  assert_true(e->flags & PULSE_ERROR_NEVER_SENT);
  assert_int_equal(pulse_operation_cancel(engine, operation), PULSE_ERR_NOT_FOUND);
  fx_until(fx, col_destroyed(c) == 1);
  assert_int_equal(col_count(c), 1);
}

/* NEVER_SENT is a promise: nor is it sent when the server comes. */
static void what_was_given_up_is_not_sent_later(void **state) {
  fixture *fx = *state;
  ts_server *server = ts_server_start(NULL);
  assert_non_null(server);
  ts_server_stop(server);
  pulse_engine_options options = fx_options(fx);
  options.url = ts_server_url(server);
  options.reconnect_max_ms = 20;
  options.command_timeout_ms = PULSE_FOREVER;
  pulse_engine *engine = fx_open(fx, &options);
  pulse_stream *stream = fx_stream_on(fx, engine, "s", NULL);
  collector *c = fx_collector(fx), *kept = fx_collector(fx);
  uint64_t operation = 0;
  pulse_add_options add = PULSE_ADD_OPTIONS_INIT;
  assert_ok(pulse_stream_add(stream, "a", 1, "p", 1, &add, col_target(c, 0), &operation, fx_err()));
  assert_ok(pulse_stream_add(stream, "b", 1, "p", 1, &add, col_target(kept, 0), NULL, fx_err()));
  add.timeout_ms = 20;
  assert_ok(pulse_stream_add(stream, "c", 1, "p", 1, &add, col_target(c, 0), NULL, fx_err()));
  assert_ok(pulse_operation_cancel(engine, operation));
  fx_until(fx, col_count(c) == 2);
  for (size_t i = 0; i < 2; ++i) assert_true(col_at(c, i)->flags & PULSE_ERROR_NEVER_SENT);
  ts_server_restart(server);
  assert_int_equal(col_wait(kept, PULSE_EVENT_ADDED, 0)->status, PULSE_OK);
  assert_ok(pulse_engine_ping_wait(engine, NULL, TS_DEADLINE_MS, fx_err()));
  assert_int_equal(ts_command_integer(server, "XLEN", "pulse:stream:s", NULL), 1);
  assert_int_equal(col_count(c), 2);
  assert_ok(pulse_engine_close_wait(engine, TS_DEADLINE_MS, fx_err()));
  ts_server_free(server);
}

static void cancel_of_what_was_sent(void **state) {
  fixture *fx = *state;
  ts_fault *fault = ts_fault_start();
  assert_non_null(fault);
  ts_fault_silence(fault, "XADD", 0);
  pulse_engine_options options = fx_options(fx);
  options.url = ts_fault_url(fault);
  pulse_engine *engine = fx_ready(fx, &options);
  pulse_stream *stream = fx_stream_on(fx, engine, "s", NULL);
  collector *c = fx_collector(fx);
  uint64_t operation = 0;
  assert_ok(pulse_stream_add(stream, "n", 1, "p", 1, NULL, col_target(c, 0), &operation, fx_err()));
  fx_until(fx, ts_fault_count(fault, "XADD") == 1);
  assert_ok(pulse_operation_cancel(engine, operation));
  const ev *e = col_wait(c, PULSE_EVENT_ADDED, 0);
  assert_int_equal(e->status, PULSE_ERR_CANCELLED);
  assert_true(e->flags & PULSE_ERROR_OUTCOME_UNKNOWN);
  assert_ok(pulse_engine_close_wait(engine, TS_DEADLINE_MS, fx_err()));
  ts_fault_free(fault);
}

static void cancel_of_nothing_is_not_found(void **state) {
  fixture *fx = *state;
  pulse_engine *engine = fx_ready(fx, NULL);
  uint64_t operation = 0;
  collector *c = fx_collector(fx);
  assert_int_equal(pulse_operation_cancel(engine, 0), PULSE_ERR_NOT_FOUND);
  assert_int_equal(pulse_operation_cancel(engine, 123456789), PULSE_ERR_NOT_FOUND);
  assert_ok(pulse_engine_ping(engine, col_target(c, 0), &operation, fx_err()));
  assert_int_equal(col_wait(c, PULSE_EVENT_PONG, 0)->status, PULSE_OK);
  assert_int_equal(pulse_operation_cancel(engine, operation), PULSE_ERR_NOT_FOUND);
}

/* --- the server ------------------------------------------------------------ */

static void the_server_is_known_after_connecting(void **state) {
  fixture *fx = *state;
  char text[64] = "x";
  pulse_engine_options options = nowhere(fx);
  pulse_engine *lost = fx_open(fx, &options);
  assert_int_equal(pulse_engine_get_server(lost, text, sizeof text), 0);
  pulse_engine *engine = fx_ready(fx, NULL);
  size_t length = pulse_engine_get_server(engine, text, sizeof text);
  assert_true(length > 0);
  assert_int_equal(strlen(text), length);
  assert_true(strncmp(text, "redis ", 6) == 0 || strncmp(text, "valkey ", 7) == 0);
  assert_int_equal(pulse_engine_get_server(engine, text, length + 1), length);
  assert_int_equal(pulse_engine_get_server(engine, text, length), 0);
  assert_int_equal(pulse_engine_get_server(engine, text, 0), 0);
}

static void the_client_has_a_name(void **state) {
  fixture *fx = *state;
  fx_ready(fx, NULL);
  pulse_engine_options options = fx_options(fx);
  options.client_name = "my-name";
  fx_ready(fx, &options);
  const ts_reply *list = fx_redis(fx, "CLIENT LIST");
  assert_non_null(strstr(ts_reply_text(list), "name=pulseengine"));
  assert_non_null(strstr(ts_reply_text(list), "name=my-name"));
}

static void metrics_count(void **state) {
  fixture *fx = *state;
  pulse_engine *engine = fx_ready(fx, NULL);
  pulse_engine_metrics before = {.size = sizeof before}, after = {.size = sizeof after};
  assert_ok(pulse_engine_get_metrics(engine, &before));
  assert_int_equal(before.state, PULSE_ENGINE_READY);
  assert_true(before.connections >= 1 && before.connects >= 1);
  assert_int_equal(before.disconnects, 0);
  for (int i = 0; i < 3; ++i) {
    assert_ok(pulse_engine_ping_wait(engine, NULL, TS_DEADLINE_MS, fx_err()));
  }
  assert_ok(pulse_engine_get_metrics(engine, &after));
  assert_int_equal(after.operations - before.operations, 3);
  assert_int_equal(after.completions - before.completions, 3);
  assert_int_equal(after.inflight, 0);
  assert_true(after.commands_sent >= before.commands_sent + 3);
  assert_true(after.bytes_sent > before.bytes_sent && after.bytes_received > before.bytes_received);
  assert_true(after.writes > before.writes);
  assert_int_equal(after.timeouts + after.rejected + after.outcome_unknown, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      BOTH_DRIVERS(open_needs_no_server),
      BOTH_DRIVERS(it_connects_when_the_server_comes),
      ALL_WAYS(a_first_connection_that_fails_is_told_reason_by_reason),
      BOTH_DRIVERS(ready_wait_answers_again_and_again),
      ALL_WAYS(states_come_in_order_and_closed_is_last),
      ALL_WAYS(close_is_idempotent_and_completes_what_is_under_way),
      BOTH_DRIVERS(two_engines_do_not_know_of_each_other),
      BOTH_DRIVERS(cycles_leak_nothing),
      BOTH_DRIVERS(unref_without_close_leaks_nothing),
      ALL_WAYS(ping_makes_a_round_trip),
      ALL_WAYS(accepted_calls_wait_for_the_connection),
      ALL_WAYS(fail_fast_fails_at_once),
      BOTH_DRIVERS(max_inflight_counts_until_the_completion_is_taken),
      BOTH_DRIVERS(beyond_max_inflight_wait_forms_wait),
      BOTH_DRIVERS(max_buffer_bytes_bounds_what_waits_to_be_sent),
      BOTH_DRIVERS(max_payload_bytes_is_exact),
      ALL_WAYS(a_deadline_offline_says_never_sent),
      BOTH_DRIVERS(a_short_deadline_is_not_lost_among_long_ones),
      BOTH_DRIVERS(a_deadline_after_sending_says_outcome_unknown),
      BOTH_DRIVERS(time_outs_say_why_there_is_no_connection),
      ALL_WAYS(cancel_of_what_was_not_sent),
      BOTH_DRIVERS(what_was_given_up_is_not_sent_later),
      BOTH_DRIVERS(cancel_of_what_was_sent),
      BOTH_DRIVERS(cancel_of_nothing_is_not_found),
      BOTH_DRIVERS(the_server_is_known_after_connecting),
      BOTH_DRIVERS(the_client_has_a_name),
      BOTH_DRIVERS(metrics_count),
  };
  return cmocka_run_group_tests_name("engine", tests, fx_group_setup, fx_group_teardown);
}
