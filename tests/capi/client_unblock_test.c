/* reader.h, sink.h: block_ms.  Where an ACL forbids CLIENT UNBLOCK, readers and sinks work all the
 * same; changes wait until a read has ended by itself.  Readers work without scripts, too. */
#include "sink_worker.h"

static const ev *message(collector *c, size_t nth) { return col_wait(c, PULSE_EVENT_MESSAGE, nth); }

static ts_server *g_guarded; /* with a user "limited" */

static int start_servers(void **state) {
  ts_server_options options = {.tcp = 1};
  g_guarded = ts_server_start(&options);
  return g_guarded == NULL ? -1 : fx_group_setup(state);
}

static int stop_servers(void **state) {
  ts_server_free(g_guarded);
  return fx_group_teardown(state);
}

/* `may`: what of CLIENT is allowed, each with its blank before. */
static pulse_engine *as_limited_user(fixture *fx, const char *may, int32_t connections) {
  fx->server = g_guarded;
  fx_redis(fx, "FLUSHALL");
  fx_redis(fx, "ACL SETUSER limited reset on >secret ~* +@all -client%s", may);
  /* Channels are guarded from Redis 6.2 on. */
  ts_reply_free(ts_command(fx->server, "ACL", "SETUSER", "limited", "&*", NULL));
  fx_redis(fx, "ACL LOG RESET");
  char url[64];
  snprintf(url, sizeof url, "redis://limited:secret@127.0.0.1:%d", ts_server_port(fx->server));
  pulse_engine_options options = fx_options(fx);
  options.url = url;
  options.max_read_connections = connections;
  return fx_ready(fx, &options);
}

/* The limited user has tried CLIENT UNBLOCK, and was refused. */
static bool was_refused(fixture *fx) {
  ts_reply *log = ts_command(fx->server, "ACL", "LOG", NULL);
  bool found = false;
  for (size_t i = 0; i < ts_reply_size(log); ++i) {
    const ts_reply *entry = ts_reply_at(log, i);
    const char *object = ts_reply_text(ts_reply_field(entry, "object"));
    /* Before Redis 7 without the second word. */
    found = found || strcmp(object, "client|unblock") == 0 || strcmp(object, "client") == 0;
  }
  ts_reply_free(log);
  return found;
}

enum { kShortMs = 300 };

static const char kAllButUnblock[] = " +client|setname +client|id";

static void readers_change_when_a_read_ends_by_itself(void **state) {
  fixture *fx = *state;
  pulse_engine *engine = as_limited_user(fx, kAllButUnblock, 2);
  pulse_stream *one = fx_stream_on(fx, engine, "one", NULL);
  pulse_stream *two = fx_stream_on(fx, engine, "two", NULL);
  pulse_reader_options options = PULSE_READER_OPTIONS_INIT;
  options.block_ms = kShortMs;
  collector *c = fx_collector(fx);
  pulse_reader *reader = fx_reader(fx, one, &options, c);
  fx_add(one, "of one", "p");
  assert_string_equal(message(c, 0)->name, "of one");
  assert_ok(pulse_reader_add_stream_wait(reader, two, PULSE_START_NEWEST, NULL, TS_DEADLINE_MS,
                                         fx_err()));
  fx_add(two, "of two", "p");
  assert_string_equal(message(c, 1)->name, "of two");
  collector *late = fx_collector(fx);
  fx_reader(fx, two, &options, late);
  fx_add(two, "again", "p");
  assert_string_equal(message(late, 0)->name, "again");
  assert_string_equal(message(c, 2)->name, "again");
  assert_ok(pulse_reader_remove_stream_wait(reader, one, TS_DEADLINE_MS, fx_err()));
  assert_ok(pulse_reader_close_wait(reader, TS_DEADLINE_MS, fx_err()));
  fx_until(fx, was_refused(fx));
  assert_int_equal(col_count_kind(c, PULSE_EVENT_READ_ERROR), 0);
  assert_int_equal(col_count_kind(c, PULSE_EVENT_DISCONNECTED), 0);
}

static void sinks_change_when_a_read_ends_by_itself(fixture *fx, const char *may,
                                                    int32_t connections) {
  pulse_engine *engine = as_limited_user(fx, may, connections);
  pulse_sink_options options = blocking(kShortMs);
  worker first = start_worker(fx, engine, 1, &options);
  one_more(fx, &first, 0);
  worker second = start_worker(fx, engine, 2, &options);
  one_more(fx, &second, 0);
  one_more(fx, &first, 1);
  pulse_stream *more = fx_stream_on(fx, engine, "more", NULL);
  assert_ok(pulse_sink_add_stream_wait(first.sink, more, PULSE_START_NEWEST, NULL, TS_DEADLINE_MS,
                                       fx_err()));
  fx_add(more, "of more", "p");
  assert_string_equal(message(first.c, 2)->name, "of more");
  fx_ack(first.sink, message(first.c, 2));
  assert_ok(pulse_sink_remove_stream_wait(first.sink, more, TS_DEADLINE_MS, fx_err()));
  /* Closing hands back, also what a read brings that is out meanwhile. */
  collector *heir_c = fx_collector(fx);
  pulse_sink *heir = fx_sink(fx, first.stream, "g", &options, heir_c);
  fx_add(first.stream, "held", "p");
  fx_until(fx, fx_pending(fx, "s1", "g") == 1);
  assert_ok(pulse_sink_close(first.sink));
  fx_add(first.stream, "added while it closes", "p");
  assert_ok(pulse_sink_close_wait(first.sink, TS_DEADLINE_MS, fx_err()));
  /* "held" came to either, the other one as well. */
  fx_until(fx, col_count_kind(heir_c, PULSE_EVENT_MESSAGE) == 2);
  for (size_t i = 0; i < 2; ++i) fx_ack(heir, message(heir_c, i));
  assert_int_equal(fx_pending(fx, "s1", "g"), 0);
  one_more(fx, &second, 1);
  if (strstr(may, "id") != NULL) fx_until(fx, was_refused(fx));
  assert_int_equal(col_count_kind(first.c, PULSE_EVENT_READ_ERROR), 0);
  assert_int_equal(col_count_kind(second.c, PULSE_EVENT_DISCONNECTED), 0);
}

static void sinks_with_connections_of_their_own_need_no_unblock(void **state) {
  sinks_change_when_a_read_ends_by_itself(*state, kAllButUnblock, 8);
}
static void sinks_that_share_need_no_unblock(void **state) {
  sinks_change_when_a_read_ends_by_itself(*state, kAllButUnblock, 1);
}
static void nothing_of_client_is_needed(void **state) {
  sinks_change_when_a_read_ends_by_itself(*state, "", 1);
}

/* Gaps come before what follows them, and "newest" is fixed, as if scripts were allowed. */
static void readers_need_no_scripts(void **state) {
  fixture *fx = *state;
  pulse_engine *engine = as_limited_user(fx, " -@scripting", 2);
  pulse_stream *stream = fx_stream_on(fx, engine, "s", NULL);
  for (int i = 1; i <= 10; ++i) fx_redis(fx, "XADD pulse:stream:s %d-0 n n%d p x", i, i);
  fx_redis(fx, "XTRIM pulse:stream:s MAXLEN 3");
  collector *c = fx_collector(fx), *newest = fx_collector(fx);
  pulse_reader_options options = PULSE_READER_OPTIONS_INIT;
  fx_reader(fx, stream, &options, newest);
  options.start = PULSE_START_AFTER;
  options.start_id.ms = 2;
  fx_reader(fx, stream, &options, c);
  message(c, 2);
  fx_redis(fx, "XADD pulse:stream:s 11-0 n n11 p x");
  assert_string_equal(message(newest, 0)->name, "n11");
  assert_string_equal(message(c, 3)->name, "n11");
  assert_string_equal(message(c, 0)->name, "n8");
  assert_int_equal(col_at(c, 1)->kind, PULSE_EVENT_GAP);
  assert_int_equal(col_count_kind(c, PULSE_EVENT_READ_ERROR), 0);
}

/* Where not even XINFO is allowed there are no gaps; all else works. */
static void readers_need_no_info(void **state) {
  fixture *fx = *state;
  pulse_engine *engine = as_limited_user(fx, " -xinfo", 2);
  pulse_stream *stream = fx_stream_on(fx, engine, "s", NULL);
  fx_redis(fx, "XADD pulse:stream:s 1-0 n n1 p x");
  collector *c = fx_collector(fx), *oldest = fx_collector(fx);
  pulse_reader_options options = PULSE_READER_OPTIONS_INIT;
  fx_reader(fx, stream, &options, c);
  options.start = PULSE_START_OLDEST;
  fx_reader(fx, stream, &options, oldest);
  fx_redis(fx, "XADD pulse:stream:s 2-0 n n2 p x");
  assert_string_equal(message(c, 0)->name, "n2");
  assert_string_equal(message(oldest, 0)->name, "n1");
  assert_string_equal(message(oldest, 1)->name, "n2");
  assert_int_equal(col_count_kind(c, PULSE_EVENT_READ_ERROR), 0);
}

static bool server_has_acl(void) {
  ts_server *server = ts_server_start(NULL);
  bool has = server != NULL && ts_server_has_command(server, "ACL");
  ts_server_free(server);
  return has;
}

int main(void) {
  if (!server_has_acl()) return fx_skip_all("the server has no ACL (before Redis 6)");
  const struct CMUnitTest tests[] = {
      BOTH_DRIVERS(readers_change_when_a_read_ends_by_itself),
      BOTH_DRIVERS(sinks_with_connections_of_their_own_need_no_unblock),
      BOTH_DRIVERS(sinks_that_share_need_no_unblock),
      BOTH_DRIVERS(nothing_of_client_is_needed),
      BOTH_DRIVERS(readers_need_no_scripts),
      BOTH_DRIVERS(readers_need_no_info),
  };
  return cmocka_run_group_tests_name("client_unblock", tests, start_servers, stop_servers);
}
