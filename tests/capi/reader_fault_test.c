/* reader.h: lost connections, gaps, and streams that vanish. */
#include "fixture.h"

/* An engine behind a proxy that the test cuts; the server itself stays. */
static ts_proxy *g_proxy;

static int proxy_setup(void **state) {
  if (fx_setup(state) != 0) return -1;
  fixture *fx = *state;
  g_proxy = ts_proxy_start(fx->server);
  return g_proxy == NULL ? -1 : 0;
}

static int proxy_teardown(void **state) {
  int result = fx_teardown(state);
  ts_proxy_free(g_proxy);
  g_proxy = NULL;
  return result;
}

#define PROXY_TEST(test, driver, delivery, label) \
  { #test " [" label "]", test, proxy_setup, proxy_teardown, &fx_variants[driver][delivery] }
#define PROXY_BOTH(test) \
  PROXY_TEST(test, 0, BY_POLL, "thread, polled"), PROXY_TEST(test, 1, BY_POLL, "manual, polled")

static pulse_stream *stream_behind_proxy(fixture *fx) {
  pulse_engine_options options = fx_options(fx);
  options.url = ts_proxy_url(g_proxy);
  options.reconnect_max_ms = 20;
  return fx_stream_on(fx, fx_ready(fx, &options), "s", NULL);
}

static void raw_add(fixture *fx, int from, int to) {
  for (int i = from; i < to; ++i) fx_redis_int(fx, "XADD pulse:stream:s %d-0 n %d p x", i + 1, i);
}

static void cut_off(void) {
  ts_proxy_refuse(g_proxy, 1);
  ts_proxy_cut_all(g_proxy);
}

static void assert_numbers(collector *c, int first, size_t from, size_t count) {
  col_wait(c, PULSE_EVENT_MESSAGE, from + count - 1);
  assert_int_equal(col_count_kind(c, PULSE_EVENT_MESSAGE), from + count);
  for (size_t i = 0; i < count; ++i) {
    assert_int_equal(atoi(col_find(c, PULSE_EVENT_MESSAGE, from + i)->name), first + (int)i);
  }
}

/* "newest" is fixed when the reader gets ready, not anew with each read. */
static void newest_is_resolved_once(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = stream_behind_proxy(fx);
  raw_add(fx, 0, 3);
  collector *c = fx_collector(fx);
  fx_reader(fx, stream, NULL, c);
  cut_off();
  raw_add(fx, 3, 10);
  ts_proxy_refuse(g_proxy, 0);
  assert_numbers(c, 3, 0, 7);
}

static void the_host_hears_of_lost_connections(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = stream_behind_proxy(fx);
  collector *c = fx_collector(fx);
  pulse_reader *reader = fx_reader(fx, stream, NULL, c);
  for (size_t i = 0; i < 3; ++i) {
    cut_off();
    const ev *e = col_wait(c, PULSE_EVENT_DISCONNECTED, i);
    assert_true(e->message_len > 0);
    ts_proxy_refuse(g_proxy, 0);
    col_wait(c, PULSE_EVENT_RECONNECTED, i);
  }
  raw_add(fx, 0, 1);
  assert_numbers(c, 0, 0, 1);
  assert_int_equal(col_count_kind(c, PULSE_EVENT_GAP), 0);
  assert_int_equal(col_count_kind(c, PULSE_EVENT_DISCONNECTED), 3);
  pulse_reader_metrics metrics = {.size = sizeof metrics};
  assert_ok(pulse_reader_get_metrics(reader, &metrics));
  assert_int_equal(metrics.reconnects, 3);
}

static void an_end_in_the_middle_of_a_reply_doubles_and_loses_nothing(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = stream_behind_proxy(fx);
  collector *c = fx_collector(fx);
  fx_reader(fx, stream, NULL, c);
  int total = 0;
  for (uint64_t at = 1; at < 400; at += 37) {
    ts_proxy_cut_after(g_proxy, TS_TO_CLIENT, at);
    raw_add(fx, total, total + 10);
    total += 10;
    assert_numbers(c, 0, 0, (size_t)total);
  }
  assert_true(ts_proxy_cuts(g_proxy) >= 5);
}

/* All connections are killed again and again while events arrive. */
static void killed_clients_double_and_lose_nothing(void **state) {
  fixture *fx = *state;
  pulse_engine_options options = fx_options(fx);
  options.reconnect_max_ms = 20;
  pulse_stream *stream = fx_stream_on(fx, fx_ready(fx, &options), "s", NULL);
  collector *c = fx_collector(fx);
  pulse_reader *reader = fx_reader(fx, stream, NULL, c);
  int total = 0;
  for (int round = 0; round < 20; ++round) {
    raw_add(fx, total, total + 25);
    ts_reply_free(
        ts_command(fx->server, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes", NULL));
    raw_add(fx, total + 25, total + 50);
    total += 50;
    if (round % 4 == 3) col_wait(c, PULSE_EVENT_MESSAGE, (size_t)total - 1);
  }
  assert_numbers(c, 0, 0, (size_t)total);
  pulse_reader_metrics metrics = {.size = sizeof metrics};
  assert_ok(pulse_reader_get_metrics(reader, &metrics));
  assert_true(metrics.reconnects >= 5);
  assert_int_equal(col_count_kind(c, PULSE_EVENT_GAP), 0);
}

static void a_silent_connection_is_noticed(void **state) {
  fixture *fx = *state;
  pulse_engine_options options = fx_options(fx);
  options.url = ts_proxy_url(g_proxy);
  options.reconnect_max_ms = 20;
  options.command_timeout_ms = 300;
  options.connect_timeout_ms = 300;
  pulse_stream *stream = fx_stream_on(fx, fx_ready(fx, &options), "s", NULL);
  pulse_reader_options reader_options = PULSE_READER_OPTIONS_INIT;
  reader_options.block_ms = 100;
  collector *c = fx_collector(fx);
  fx_reader(fx, stream, &reader_options, c);
  ts_proxy_stall(g_proxy, TS_BOTH);
  raw_add(fx, 0, 5);
  col_wait(c, PULSE_EVENT_DISCONNECTED, 0);
  ts_proxy_resume(g_proxy, TS_BOTH);
  assert_numbers(c, 0, 0, 5);
}

/* --- gaps ------------------------------------------------------------------ */

static void what_was_trimmed_unread_is_a_gap(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = stream_behind_proxy(fx);
  collector *c = fx_collector(fx);
  pulse_reader_options options = PULSE_READER_OPTIONS_INIT;
  options.start = PULSE_START_OLDEST;
  raw_add(fx, 0, 5);
  pulse_reader *reader = fx_reader(fx, stream, &options, c);
  assert_numbers(c, 0, 0, 5);
  cut_off();
  raw_add(fx, 5, 15);
  fx_redis(fx, "XTRIM pulse:stream:s MAXLEN 3"); /* leaves 12, 13, 14 */
  ts_proxy_refuse(g_proxy, 0);
  assert_numbers(c, 12, 5, 3);
  assert_int_equal(col_count_kind(c, PULSE_EVENT_GAP), 1);
  const ev *gap = col_find(c, PULSE_EVENT_GAP, 0);
  assert_text(gap, stream, "s");
  assert_int_equal(gap->id.ms, 5); /* the last that was seen: number 4 */
  assert_int_equal(gap->id_end.ms, 13);
  assert_int_equal(gap->count, ts_server_version(fx->server) >= 70000 ? 7 : 0);
  /* It comes before what follows it. */
  for (size_t i = 0; i < col_count(c); ++i) {
    if (col_at(c, i) == gap) assert_int_equal(col_at(c, i + 1)->id.ms, 13);
  }
  pulse_reader_metrics metrics = {.size = sizeof metrics};
  assert_ok(pulse_reader_get_metrics(reader, &metrics));
  assert_int_equal(metrics.gaps, 1);
}

/* Before Redis 7, with the last that was seen gone nobody can tell what else is. */
static void trimming_of_what_was_seen_is_no_gap(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = stream_behind_proxy(fx);
  collector *c = fx_collector(fx);
  fx_reader(fx, stream, NULL, c);
  raw_add(fx, 0, 5);
  assert_numbers(c, 0, 0, 5);
  cut_off();
  raw_add(fx, 5, 8);
  fx_redis(fx, "XTRIM pulse:stream:s MAXLEN 3");
  ts_proxy_refuse(g_proxy, 0);
  assert_numbers(c, 5, 5, 3);
  if (ts_server_version(fx->server) >= 70000) {
    assert_int_equal(col_count_kind(c, PULSE_EVENT_GAP), 0);
    return;
  }
  assert_int_equal(col_count_kind(c, PULSE_EVENT_GAP), 1);
  const ev *gap = col_find(c, PULSE_EVENT_GAP, 0);
  assert_int_equal(gap->id.ms, 5);
  assert_int_equal(gap->id_end.ms, 6);
  assert_int_equal(gap->count, 0);
}

/* --- what an idle reader costs --------------------------------------------- */

/* How often the server has executed a command, within scripts too. */
static int64_t calls_of(fixture *fx, const char *command) {
  ts_reply *reply = ts_command(fx->server, "INFO", "commandstats", NULL);
  char field[48];
  int64_t calls = 0;
  snprintf(field, sizeof field, "cmdstat_%s", command);
  for (const char *at = ts_reply_text(reply); (at = strstr(at, field)) != NULL; at++) {
    at += strlen(field);
    /* From Redis 7 on with its second word. */
    if (*at == ':' || *at == '|') calls += atoll(strchr(at, '=') + 1);
  }
  ts_reply_free(reply);
  return calls;
}

/* A reader that has nothing to read looks at its streams now and then, and leaves their payloads
 * on the server. */
static void looks_of_an_idle_reader_are_small(void **state) {
  fixture *fx = *state;
  pulse_engine *engine = fx_ready(fx, NULL);
  pulse_stream *stream = fx_stream_on(fx, engine, "s", NULL);
  enum { kSize = 1 << 20, kLooks = 3 };
  char *payload = calloc(1, kSize);
  assert_non_null(payload);
  assert_ok(
      pulse_stream_add_wait(stream, "n", 1, payload, kSize, NULL, NULL, TS_DEADLINE_MS, fx_err()));
  free(payload);
  pulse_engine_metrics before = {.size = sizeof before}, after = {.size = sizeof after};
  assert_ok(pulse_engine_get_metrics(engine, &before));
  fx_redis(fx, "CONFIG RESETSTAT");
  pulse_reader_options options = PULSE_READER_OPTIONS_INIT;
  options.block_ms = 50;
  fx_reader(fx, stream, &options, fx_collector(fx));
  fx_until(fx, calls_of(fx, "xinfo") >= kLooks);
  assert_ok(pulse_engine_get_metrics(engine, &after));
  assert_in_range(after.bytes_received - before.bytes_received, 1, 65536);
}

/* Reads that find nothing may be many; looks are one a second. */
static void an_idle_reader_looks_seldom(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  fx_add(stream, "n", "p");
  fx_redis(fx, "CONFIG RESETSTAT");
  int64_t begin = ts_now_ms();
  pulse_reader_options options = PULSE_READER_OPTIONS_INIT;
  options.block_ms = 1;
  fx_reader(fx, stream, &options, fx_collector(fx));
  fx_until(fx, calls_of(fx, "xread") >= 100);
  int64_t looks = calls_of(fx, "xinfo");
  /* One for the start, one that is due at once. */
  assert_in_range(looks, 1, 3 + (ts_now_ms() - begin) / 1000);
}

/* Without a look, a stream that begins anew with lower ids would be silent for ever. */
static void lower_ids_are_found_while_connected(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  collector *c = fx_collector(fx);
  pulse_reader_options options = PULSE_READER_OPTIONS_INIT;
  options.block_ms = 50;
  raw_add(fx, 100, 103);
  fx_reader(fx, stream, &options, c);
  raw_add(fx, 103, 105);
  assert_numbers(c, 103, 0, 2);
  fx_redis(fx, "DEL pulse:stream:s");
  raw_add(fx, 10, 12);
  col_wait(c, PULSE_EVENT_RECREATED, 0);
  assert_numbers(c, 10, 2, 2);
  fx_redis(fx, "FLUSHALL");
  raw_add(fx, 0, 1);
  col_wait(c, PULSE_EVENT_RECREATED, 1);
  assert_numbers(c, 0, 4, 1);
  assert_int_equal(col_count_kind(c, PULSE_EVENT_GAP), 0);
}

/* Also when others, who share the connection, always have something to read. */
static void lower_ids_are_found_beside_a_busy_reader(void **state) {
  fixture *fx = *state;
  pulse_stream *busy = fx_stream(fx, "busy", NULL);
  collector *c = fx_collector(fx), *others = fx_collector(fx);
  pulse_reader_options options = PULSE_READER_OPTIONS_INIT;
  options.block_ms = -1;
  fx_reader(fx, busy, &options, others);
  fx_reader(fx, fx_stream(fx, "s", NULL), &options, c);
  raw_add(fx, 100, 101);
  assert_numbers(c, 100, 0, 1);
  fx_redis(fx, "DEL pulse:stream:s");
  raw_add(fx, 0, 1);
  size_t added = 0;
  int64_t end = ts_now_ms() + TS_DEADLINE_MS;
  while (col_count_kind(c, PULSE_EVENT_RECREATED) == 0) {
    if (ts_now_ms() > end) fail_msg("never found");
    fx_add(busy, "n", "p");
    col_wait(others, PULSE_EVENT_MESSAGE, added++);
  }
  assert_numbers(c, 0, 1, 1);
}

/* The server has forgotten the script when the look is to come before what is read. */
static void a_gap_is_told_after_script_flush(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  pulse_stream_info info = {.size = sizeof info};
  assert_ok(pulse_stream_info_wait(stream, &info, TS_DEADLINE_MS, fx_err()));
  raw_add(fx, 0, 10);
  fx_redis(fx, "XTRIM pulse:stream:s MAXLEN 3");
  pulse_reader_options options = PULSE_READER_OPTIONS_INIT;
  options.start = PULSE_START_AFTER;
  options.start_id.ms = 2;
  for (int i = 0; i < 3; ++i) {
    collector *c = fx_collector(fx);
    if (i > 0) fx_redis(fx, "SCRIPT FLUSH");
    fx_reader(fx, stream, &options, c);
    assert_numbers(c, 7, 0, 3);
    assert_int_equal(col_count_kind(c, PULSE_EVENT_GAP), 1);
    assert_int_equal(col_at(c, 0)->kind, PULSE_EVENT_READY);
    assert_int_equal(col_at(c, 1)->kind, PULSE_EVENT_GAP);
    assert_int_equal(col_at(c, 1)->id_end.ms, 8);
  }
}

/* --- streams that vanish --------------------------------------------------- */

static int64_t server_ms(fixture *fx) {
  ts_reply *time = ts_command(fx->server, "TIME", NULL);
  int64_t ms = atoll(ts_reply_text(ts_reply_at(time, 0))) * 1000 +
               atoll(ts_reply_text(ts_reply_at(time, 1))) / 1000;
  ts_reply_free(time);
  return ms;
}

/* Ids begin with the server's milliseconds: a stream that is made anew within
 * one would begin with an id that was there before. */
static void wait_for_the_next_millisecond(fixture *fx) {
  int64_t first = server_ms(fx);
  while (server_ms(fx) == first) {
  }
}

static void a_deleted_stream_is_read_when_it_comes_back(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  collector *c = fx_collector(fx);
  fx_reader(fx, stream, NULL, c);
  fx_add(stream, "0", "p");
  assert_numbers(c, 0, 0, 1);
  wait_for_the_next_millisecond(fx);
  fx_redis(fx, "DEL pulse:stream:s");
  fx_add(stream, "1", "p");
  assert_numbers(c, 1, 1, 1);
  wait_for_the_next_millisecond(fx);
  fx_redis(fx, "FLUSHALL");
  fx_add(stream, "2", "p");
  assert_numbers(c, 2, 2, 1);
}

static void reading_errors_are_told_and_tried_again(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  collector *c = fx_collector(fx);
  pulse_reader_options options = PULSE_READER_OPTIONS_INIT;
  options.block_ms = 50; /* the next read finds the wrong type */
  fx_reader(fx, stream, &options, c);
  fx_redis(fx, "SET pulse:stream:s x");
  const ev *e = col_wait(c, PULSE_EVENT_READ_ERROR, 0);
  assert_int_equal(e->status, PULSE_ERR_WRONG_TYPE);
  assert_true(e->message_len > 0);
  fx_redis(fx, "DEL pulse:stream:s");
  fx_add(stream, "0", "p");
  assert_numbers(c, 0, 0, 1);
}

/* Whoever waits for a reader that cannot begin is told why. */
static void a_reader_that_cannot_begin_says_why(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  collector *c = fx_collector(fx);
  fx_redis(fx, "SET pulse:stream:s x");
  pulse_reader *reader;
  assert_ok(pulse_reader_open(stream, NULL, col_target(c, 0), &reader, fx_err()));
  col_wait(c, PULSE_EVENT_READ_ERROR, 0);
  assert_status(PULSE_ERR_TIMEOUT, pulse_reader_ready_wait(reader, 0, fx_err()));
  if (strstr(fx_message(), "WRONGTYPE") == NULL) fail_msg("message: %s", fx_message());
  fx_redis(fx, "DEL pulse:stream:s");
  assert_ok(pulse_reader_ready_wait(reader, TS_DEADLINE_MS, fx_err()));
  pulse_reader_unref(reader);
}

/* A server killed and restarted from its append-only file. */
static void a_restarted_server_is_read_on(void **state) {
  fixture *fx = *state;
  const ts_server_options server_options = {.append_only = 1};
  ts_server *server = ts_server_start(&server_options);
  assert_non_null(server);
  pulse_engine_options options = fx_options(fx);
  options.url = ts_server_url(server);
  options.reconnect_max_ms = 20;
  pulse_engine *engine = fx_ready(fx, &options);
  pulse_stream *stream = fx_stream_on(fx, engine, "s", NULL);
  collector *c = fx_collector(fx);
  fx_reader(fx, stream, NULL, c);
  fx_add(stream, "0", "p");
  fx_add(stream, "1", "p");
  assert_numbers(c, 0, 0, 2);
  assert_int_equal(ts_server_kill(server), 1);
  assert_int_equal(ts_server_restart(server), 1);
  fx_add(stream, "2", "p");
  assert_numbers(c, 0, 0, 3);
  assert_ok(pulse_engine_close_wait(engine, TS_DEADLINE_MS, fx_err()));
  ts_server_free(server);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      PROXY_BOTH(newest_is_resolved_once),
      PROXY_BOTH(the_host_hears_of_lost_connections),
      PROXY_BOTH(an_end_in_the_middle_of_a_reply_doubles_and_loses_nothing),
      BOTH_DRIVERS(killed_clients_double_and_lose_nothing),
      PROXY_BOTH(a_silent_connection_is_noticed),
      PROXY_BOTH(what_was_trimmed_unread_is_a_gap),
      PROXY_BOTH(trimming_of_what_was_seen_is_no_gap),
      BOTH_DRIVERS(looks_of_an_idle_reader_are_small),
      BOTH_DRIVERS(an_idle_reader_looks_seldom),
      BOTH_DRIVERS(lower_ids_are_found_while_connected),
      BOTH_DRIVERS(lower_ids_are_found_beside_a_busy_reader),
      BOTH_DRIVERS(a_gap_is_told_after_script_flush),
      BOTH_DRIVERS(a_deleted_stream_is_read_when_it_comes_back),
      BOTH_DRIVERS(reading_errors_are_told_and_tried_again),
      BOTH_DRIVERS(a_reader_that_cannot_begin_says_why),
      BOTH_DRIVERS(a_restarted_server_is_read_on),
  };
  return cmocka_run_group_tests_name("reader faults", tests, fx_group_setup, fx_group_teardown);
}
