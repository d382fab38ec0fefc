/* engine.h: max_read_connections.  Few connections for blocking reads, whatever the number of
 * readers and sinks. */
#include "sink_worker.h"

/* Reads that block for longer than a test waits: what happens meanwhile was not waited for. */
enum { kLongMs = 10 * TS_DEADLINE_MS };

static const ev *message(collector *c, size_t nth) { return col_wait(c, PULSE_EVENT_MESSAGE, nth); }

static pulse_engine *with_connections(fixture *fx, int32_t connections) {
  pulse_engine_options options = fx_options(fx);
  options.max_read_connections = connections;
  options.reconnect_max_ms = 20;
  return fx_ready(fx, &options);
}

static int32_t connections_of(pulse_engine *engine) {
  pulse_engine_metrics metrics = {.size = sizeof metrics};
  assert_ok(pulse_engine_get_metrics(engine, &metrics));
  return metrics.connections;
}

/* --- connections that are shared ------------------------------------------- */

enum { kSinks = 7, kEvents = 30 };

static void sinks_beyond_the_connections_share_them(fixture *fx, int32_t connections) {
  pulse_engine *engine = with_connections(fx, connections);
  pulse_sink_options options = blocking(kLongMs);
  worker workers[kSinks];
  for (size_t i = 0; i < kSinks; ++i) workers[i] = start_worker(fx, engine, i, &options);
  collector *seen = fx_collector(fx);
  pulse_reader_options reader_options = PULSE_READER_OPTIONS_INIT;
  reader_options.block_ms = kLongMs;
  fx_reader(fx, workers[0].stream, &reader_options, seen);
  for (int n = 0; n < kEvents; ++n) {
    for (size_t i = 0; i < kSinks; ++i) {
      char payload[40];
      snprintf(payload, sizeof payload, "s%zu %d", i, n);
      fx_add(workers[i].stream, "n", payload);
    }
  }
  for (size_t i = 0; i < kSinks; ++i) {
    for (size_t n = 0; n < kEvents; ++n) {
      char payload[40];
      snprintf(payload, sizeof payload, "s%zu %zu", i, n);
      assert_string_equal(message(workers[i].c, n)->payload, payload);
      if (i == 0) assert_string_equal(message(seen, n)->payload, payload);
      fx_ack(workers[i].sink, message(workers[i].c, n));
    }
    assert_int_equal(fx_pending(fx, workers[i].name, "g"), 0);
  }
  assert_true(connections_of(engine) <= 1 + connections);
  /* When all is quiet, too. */
  for (size_t i = 0; i < kSinks; ++i) one_more(fx, &workers[i], kEvents);
  for (size_t i = 0; i < kSinks; ++i) {
    assert_int_equal(col_count_kind(workers[i].c, PULSE_EVENT_MESSAGE), kEvents + 1);
  }
}

static void all_on_one_connection(void **state) {
  sinks_beyond_the_connections_share_them(*state, 1);
}
static void all_sinks_on_one_connection(void **state) {
  sinks_beyond_the_connections_share_them(*state, 2);
}
static void sinks_on_two_connections(void **state) {
  sinks_beyond_the_connections_share_them(*state, 3);
}

static void each_event_goes_to_one_sink_of_a_group(void **state) {
  fixture *fx = *state;
  enum { kMembers = 3, kAdded = 300 };
  pulse_engine *engine = with_connections(fx, 1);
  pulse_stream *stream = fx_stream_on(fx, engine, "s", NULL);
  pulse_sink_options options = blocking(kLongMs);
  options.max_polled = 7;
  pulse_sink *sinks[kMembers];
  collector *c[kMembers];
  for (size_t i = 0; i < kMembers; ++i) {
    c[i] = fx_collector(fx);
    sinks[i] = fx_sink(fx, stream, "g", &options, c[i]);
  }
  pulse_event_id ids[kAdded];
  for (size_t n = 0; n < kAdded; ++n) ids[n] = fx_add(stream, "n", "p");
  size_t got = 0;
  fx_until(fx, (got = col_count_kind(c[0], PULSE_EVENT_MESSAGE) +
                      col_count_kind(c[1], PULSE_EVENT_MESSAGE) +
                      col_count_kind(c[2], PULSE_EVENT_MESSAGE)) >= kAdded);
  assert_int_equal(got, kAdded);
  size_t next[kMembers] = {0};
  for (size_t n = 0; n < kAdded; ++n) {
    size_t holders = 0;
    for (size_t i = 0; i < kMembers; ++i) {
      const ev *e = col_find(c[i], PULSE_EVENT_MESSAGE, next[i]);
      if (e == NULL || pulse_event_id_compare(&e->id, &ids[n]) != 0) continue;
      fx_ack(sinks[i], e);
      ++next[i];
      ++holders;
    }
    assert_int_equal(holders, 1);
  }
  assert_int_equal(fx_pending(fx, "s", "g"), 0);
}

static void a_sink_that_is_full_keeps_nobody_waiting(void **state) {
  fixture *fx = *state;
  pulse_engine *engine = with_connections(fx, 1);
  pulse_sink_options options = blocking(kLongMs);
  options.buffer = 2;
  worker full = {"full", fx_stream_on(fx, engine, "full", NULL), fx_collector_by(fx, BY_POLL),
                 NULL};
  full.sink = fx_sink(fx, full.stream, "g", &options, full.c);
  options.buffer = 0;
  worker other = start_worker(fx, engine, 1, &options);
  full.c->hold = true;
  for (size_t n = 0; n < 20; ++n) fx_add(full.stream, "n", "p");
  fx_until(fx, fx_pending(fx, "full", "g") > 0);
  for (size_t n = 0; n < 20; ++n) one_more(fx, &other, n);
  assert_true(fx_pending(fx, "full", "g") <= 2);
  full.c->hold = false;
  for (size_t n = 0; n < 20; ++n) fx_ack(full.sink, message(full.c, n));
  assert_int_equal(fx_pending(fx, "full", "g"), 0);
}

/* --- changes while a shared read blocks ------------------------------------ */

static void who_comes_and_goes_need_not_wait_for_the_others(void **state) {
  fixture *fx = *state;
  pulse_engine *engine = with_connections(fx, 2);
  pulse_sink_options options = blocking(kLongMs);
  worker first = start_worker(fx, engine, 1, &options);
  one_more(fx, &first, 0);
  worker second = start_worker(fx, engine, 2, &options);
  one_more(fx, &second, 0);
  one_more(fx, &first, 1);
  worker third = start_worker(fx, engine, 3, &options);
  one_more(fx, &third, 0);
  /* One more stream of a sink. */
  pulse_stream *more = fx_stream_on(fx, engine, "more", NULL);
  assert_ok(pulse_sink_add_stream_wait(second.sink, more, PULSE_START_NEWEST, NULL, TS_DEADLINE_MS,
                                       fx_err()));
  fx_add(more, "of more", "p");
  assert_string_equal(message(second.c, 1)->name, "of more");
  fx_ack(second.sink, message(second.c, 1));
  assert_ok(pulse_sink_remove_stream_wait(second.sink, more, TS_DEADLINE_MS, fx_err()));
  fx_add(more, "of more", "p");
  fx_add(second.stream, "of its own", "p");
  assert_string_equal(message(second.c, 2)->name, "of its own");
  /* What a sink holds when it closes is another's at once, and the rest go on. */
  fx_add(first.stream, "handed back", "p");
  assert_string_equal(message(first.c, 2)->name, "handed back");
  collector *heir_c = fx_collector(fx);
  fx_sink(fx, first.stream, "g", &options, heir_c);
  assert_ok(pulse_sink_close_wait(first.sink, TS_DEADLINE_MS, fx_err()));
  assert_string_equal(message(heir_c, 0)->name, "handed back");
  assert_int_equal(message(heir_c, 0)->deliveries, 2);
  one_more(fx, &third, 1);
}

/* The moment at which a connection begins, or ceases, to be shared. */
static void what_comes_while_a_sink_joins_is_not_overlooked(void **state) {
  fixture *fx = *state;
  enum { kRounds = 15 };
  pulse_engine *engine = with_connections(fx, 2);
  pulse_sink_options options = blocking(kLongMs);
  worker first = start_worker(fx, engine, 1, &options);
  for (size_t round = 0; round < kRounds; ++round) {
    worker guest = start_worker(fx, engine, 2, &options);
    one_more(fx, &first, 2 * round);
    assert_ok(pulse_sink_close_wait(guest.sink, TS_DEADLINE_MS, fx_err()));
    one_more(fx, &first, 2 * round + 1);
  }
}

static void a_paused_sink_does_not_stop_the_others(void **state) {
  fixture *fx = *state;
  pulse_engine *engine = with_connections(fx, 2);
  pulse_sink_options options = blocking(kLongMs);
  worker first = start_worker(fx, engine, 1, &options);
  worker second = start_worker(fx, engine, 2, &options);
  one_more(fx, &first, 0);
  assert_ok(pulse_sink_pause(first.sink));
  for (size_t n = 0; n < 5; ++n) one_more(fx, &second, n);
  fx_add(first.stream, "late", "p");
  one_more(fx, &second, 5);
  assert_ok(pulse_sink_resume(first.sink));
  assert_string_equal(message(first.c, 1)->name, "late");
}

/* How often the server has executed a command. */
static int64_t calls_of(fixture *fx, const char *command) {
  ts_reply *reply = ts_command(fx->server, "INFO", "commandstats", NULL);
  char field[48];
  snprintf(field, sizeof field, "cmdstat_%s:calls=", command);
  const char *at = strstr(ts_reply_text(reply), field);
  int64_t calls = at == NULL ? 0 : atoll(at + strlen(field));
  ts_reply_free(reply);
  return calls;
}

/* Before each read for a sink of a shared connection its streams are looked at: their ids. */
static void looks_of_idle_sinks_are_small(void **state) {
  fixture *fx = *state;
  enum { kSize = 1 << 20, kReads = 8 };
  pulse_engine *engine = with_connections(fx, 1);
  pulse_stream *stream = fx_stream_on(fx, engine, "s1", NULL);
  char *payload = calloc(1, kSize);
  assert_non_null(payload);
  assert_ok(
      pulse_stream_add_wait(stream, "n", 1, payload, kSize, NULL, NULL, TS_DEADLINE_MS, fx_err()));
  free(payload);
  pulse_engine_metrics before = {.size = sizeof before}, after = {.size = sizeof after};
  assert_ok(pulse_engine_get_metrics(engine, &before));
  pulse_sink_options options = blocking(50);
  start_worker(fx, engine, 1, &options);
  start_worker(fx, engine, 2, &options);
  int64_t reads = calls_of(fx, "xreadgroup");
  fx_until(fx, calls_of(fx, "xreadgroup") >= reads + kReads);
  assert_ok(pulse_engine_get_metrics(engine, &after));
  assert_in_range(after.bytes_received - before.bytes_received, 1, kSize / 2);
}

/* Also when the server forgets, between two reads, how it is done. */
static void sinks_that_share_outlive_script_flush(void **state) {
  fixture *fx = *state;
  pulse_engine *engine = with_connections(fx, 1);
  pulse_sink_options options = blocking(kLongMs);
  worker first = start_worker(fx, engine, 1, &options);
  worker second = start_worker(fx, engine, 2, &options);
  for (size_t n = 0; n < 20; ++n) {
    fx_redis(fx, "SCRIPT FLUSH");
    one_more(fx, &first, n);
    one_more(fx, &second, n);
  }
}

/* --- what goes wrong for one, and for all ----------------------------------- */

static void a_key_of_another_type_harms_its_own_sink_only(void **state) {
  fixture *fx = *state;
  pulse_engine *engine = with_connections(fx, 2);
  pulse_sink_options options = blocking(kLongMs);
  worker bad = start_worker(fx, engine, 1, &options);
  worker good = start_worker(fx, engine, 2, &options);
  one_more(fx, &bad, 0);
  one_more(fx, &good, 0);
  fx_redis(fx, "SET pulse:stream:s1 text");
  assert_int_equal(col_wait(bad.c, PULSE_EVENT_READ_ERROR, 0)->status, PULSE_ERR_WRONG_TYPE);
  for (size_t n = 1; n < 10; ++n) one_more(fx, &good, n);
  assert_int_equal(col_count_kind(good.c, PULSE_EVENT_READ_ERROR), 0);
  /* And nobody turns in circles: in two seconds of upkeep a loop would read thousands of times. */
  int64_t upkeep = calls_of(fx, "evalsha"), reads = calls_of(fx, "xread");
  fx_until(fx, calls_of(fx, "evalsha") >= upkeep + 6);
  assert_in_range(calls_of(fx, "xread") - reads, 0, 60);
  fx_redis(fx, "DEL pulse:stream:s1");
  col_wait(bad.c, PULSE_EVENT_RECREATED, 0);
  one_more(fx, &bad, 1);
  one_more(fx, &good, 10);
}

static bool has_payload(collector *c, const char *payload) {
  for (size_t i = 0; i < col_count(c); ++i) {
    const ev *e = col_at(c, i);
    if (e->kind == PULSE_EVENT_MESSAGE && strcmp(e->payload, payload) == 0) return true;
  }
  return false;
}

static void a_destroyed_group_is_made_anew_beside_others(void **state) {
  fixture *fx = *state;
  pulse_engine *engine = with_connections(fx, 2);
  pulse_sink_options options = blocking(kLongMs);
  worker first = start_worker(fx, engine, 1, &options);
  worker second = start_worker(fx, engine, 2, &options);
  for (size_t round = 0; round < 3; ++round) {
    fx_redis(fx, "XGROUP DESTROY pulse:stream:s1 g");
    col_wait(first.c, PULSE_EVENT_RECREATED, round);
    char payload[24];
    snprintf(payload, sizeof payload, "round %zu", round);
    fx_add(first.stream, "n", payload);
    fx_until(fx, has_payload(first.c, payload)); /* earlier ones may come again */
    one_more(fx, &second, round);
  }
  assert_int_equal(col_count_kind(second.c, PULSE_EVENT_RECREATED), 0);
  assert_int_equal(col_count_kind(second.c, PULSE_EVENT_MESSAGE), 3);
}

static void lost_connections_are_lost_for_none(void **state) {
  fixture *fx = *state;
  enum { kShared = 4, kRounds = 5 };
  pulse_engine *engine = with_connections(fx, 2);
  pulse_sink_options options = blocking(kLongMs);
  worker workers[kShared];
  for (size_t i = 0; i < kShared; ++i) workers[i] = start_worker(fx, engine, i, &options);
  for (size_t round = 0; round <= kRounds; ++round) {
    if (round > 0) fx_redis(fx, "CLIENT KILL TYPE normal SKIPME yes");
    for (size_t i = 0; i < kShared; ++i) {
      if (round > 0) col_wait(workers[i].c, PULSE_EVENT_RECONNECTED, round - 1);
      /* An add may meet a connection that is not known to be gone. */
      fx_until(fx, pulse_stream_add_wait(workers[i].stream, "n", 1, "p", 1, NULL, NULL,
                                         TS_DEADLINE_MS, NULL) == PULSE_OK);
    }
    for (size_t i = 0; i < kShared; ++i) {
      const ev *e = message(workers[i].c, round);
      fx_until(fx, pulse_sink_ack_wait(workers[i].sink, &e->ack, 1, NULL, TS_DEADLINE_MS, NULL) ==
                       PULSE_OK);
    }
  }
  for (size_t i = 0; i < kShared; ++i) {
    fx_until(fx, fx_pending(fx, workers[i].name, "g") == 0);
    assert_int_equal(col_count_kind(workers[i].c, PULSE_EVENT_MESSAGE), kRounds + 1);
  }
}

/* --- many streams -------------------------------------------------------------------- */

enum { kMany = 80, kBusy = 3 };

static void add_to_busy_ones(fixture *fx, const worker *many) {
  for (size_t i = 0; i < kBusy; ++i) {
    ts_reply_free(
        ts_commandf(fx->server, "XADD pulse:stream:%s MAXLEN ~ 1000 * n b p b", many[i].name));
  }
  fx_pump(fx);
}

/* The first message of a stream that is quiet otherwise, while others never are. */
static const ev *while_others_are_busy(fixture *fx, const worker *many, const worker *quiet) {
  for (int i = 0; i < 20; ++i) add_to_busy_ones(fx, many);
  const pulse_event_id id = fx_add(quiet->stream, "n", "quiet");
  fx_until(fx, (add_to_busy_ones(fx, many), col_find(quiet->c, PULSE_EVENT_MESSAGE, 0) != NULL));
  const ev *e = message(quiet->c, 0);
  assert_true(pulse_event_id_compare(&e->id, &id) == 0);
  return e;
}

static void quiet_streams_are_read_while_others_are_busy(void **state) {
  fixture *fx = *state;
  pulse_engine *engine = with_connections(fx, 2);
  static worker many[kMany];
  pulse_reader_options options = PULSE_READER_OPTIONS_INIT;
  options.block_ms = kLongMs;
  for (size_t i = 0; i < kMany; ++i) {
    snprintf(many[i].name, sizeof many[i].name, "m%zu", i);
    many[i].stream = fx_stream_on(fx, engine, many[i].name, NULL);
    many[i].c = fx_collector(fx);
    fx_reader(fx, many[i].stream, &options, many[i].c);
  }
  for (size_t round = 1; round <= 3; ++round) {
    while_others_are_busy(fx, many, &many[kMany - round]);
  }
  /* One after the other, each after a silence of the others: none is missed. */
  for (size_t i = kBusy; i < kMany - 3; ++i) {
    fx_add(many[i].stream, "n", "one");
    assert_string_equal(message(many[i].c, 0)->payload, "one");
  }
  assert_true(connections_of(engine) <= 3);
}

static void quiet_sinks_are_served_while_others_are_busy(void **state) {
  fixture *fx = *state;
  pulse_engine *engine = with_connections(fx, 2);
  static worker many[kMany];
  pulse_sink_options options = blocking(kLongMs);
  for (size_t i = 0; i < kMany; ++i) many[i] = start_worker(fx, engine, i, &options);
  for (size_t round = 1; round <= 3; ++round) {
    worker *quiet = &many[kMany - round];
    fx_ack(quiet->sink, while_others_are_busy(fx, many, quiet));
    assert_int_equal(fx_pending(fx, quiet->name, "g"), 0);
  }
  for (size_t i = kBusy; i < kMany - 3; ++i) one_more(fx, &many[i], 0);
  assert_true(connections_of(engine) <= 3);
}

/* --- what very many streams cost ----------------------------------------------------- */

enum { kVeryMany = 2000, kBurst = 600 };

static void raw_adds(fixture *fx, int first, int count) {
  ts_connection *connection = ts_connection_open(fx->server);
  assert_non_null(connection);
  for (int i = first; i < first + count; ++i) {
    char key[40];
    snprintf(key, sizeof key, "pulse:stream:m%d", i);
    ts_reply_free(ts_connection_command(connection, "XADD", key, "*", "n", "b", "p", "b", NULL));
  }
  ts_connection_free(connection);
}

static int64_t bytes_received(fixture *fx) {
  ts_reply *reply = ts_command(fx->server, "INFO", "stats", NULL);
  const char *at = strstr(ts_reply_text(reply), "total_net_input_bytes:");
  assert_non_null(at);
  const int64_t bytes = atoll(strchr(at, ':') + 1);
  ts_reply_free(reply);
  return bytes;
}

/* Asking for all streams takes some hundred thousand bytes: not for each event.  Not after a time
 * either in which most streams had some. */
static void streams_without_events_are_asked_for_seldom(void **state) {
  fixture *fx = *state;
  enum { kEach = 100 };
  pulse_engine *engine = with_connections(fx, 1);
  collector *c = fx_collector(fx);
  pulse_reader_options options = PULSE_READER_OPTIONS_INIT;
  options.block_ms = kLongMs;
  pulse_reader *reader = fx_reader(fx, fx_stream_on(fx, engine, "first", NULL), &options, c);
  for (int i = 0; i < kVeryMany; ++i) {
    char name[24];
    pulse_stream *stream = NULL;
    const int length = snprintf(name, sizeof name, "m%d", i);
    assert_ok(pulse_stream_open(engine, name, (size_t)length, NULL, &stream, fx_err()));
    assert_ok(
        pulse_reader_add_stream(reader, stream, PULSE_START_OLDEST, NULL, NULL, NULL, fx_err()));
    pulse_stream_unref(stream);
  }
  pulse_reader_metrics metrics = {.size = sizeof metrics};
  fx_until(fx, (assert_ok(pulse_reader_get_metrics(reader, &metrics)),
                metrics.streams == kVeryMany + 1));
  raw_adds(fx, 0, kBurst);
  fx_until(fx, col_count_kind(c, PULSE_EVENT_MESSAGE) == kBurst);
  for (const int64_t end = ts_now_ms() + 1500; ts_now_ms() < end;) {
    const size_t count = col_count_kind(c, PULSE_EVENT_MESSAGE);
    raw_adds(fx, 0, 1);
    col_wait(c, PULSE_EVENT_MESSAGE, count);
  }
  const int64_t begin = ts_now_ms(), before = bytes_received(fx);
  for (int i = 0; i < kEach; ++i) {
    const size_t count = col_count_kind(c, PULSE_EVENT_MESSAGE);
    raw_adds(fx, 0, 1);
    col_wait(c, PULSE_EVENT_MESSAGE, count);
  }
  const int64_t bytes = bytes_received(fx) - before;
  const int64_t reads_of_all = (ts_now_ms() - begin) / 50 + 3;
  assert_in_range(bytes, 1, kEach * 2000 + reads_of_all * kVeryMany * 70);
  /* The others are heard all the same, and soon. */
  const size_t count = col_count_kind(c, PULSE_EVENT_MESSAGE);
  raw_adds(fx, kBurst + 5, 1);
  const int64_t added = ts_now_ms();
  assert_string_equal(message(c, count)->stream, "m605");
  assert_in_range(ts_now_ms() - added, 0, TS_DEADLINE_MS / 4);
}

enum { kOfOneSink = 100 };

/* An event on each stream of a range; all are handled, each once. */
static void serve(fixture *fx, pulse_sink *sink, collector *c, int first, int count) {
  const size_t before = col_count_kind(c, PULSE_EVENT_MESSAGE);
  raw_adds(fx, first, count);
  bool seen[kOfOneSink] = {false};
  for (size_t i = 0; i < (size_t)count; ++i) {
    const ev *e = message(c, before + i);
    const int stream = atoi(e->stream + 1);
    assert_in_range(stream, first, first + count - 1);
    assert_false(seen[stream]);
    seen[stream] = true;
    fx_ack(sink, e);
  }
  assert_int_equal(col_count_kind(c, PULSE_EVENT_MESSAGE), before + (size_t)count);
}

/* It waits for few of them, or for all, as its streams are quiet or busy. */
static void a_sink_of_many_streams_is_served_quiet_or_busy(void **state) {
  fixture *fx = *state;
  pulse_engine *engine = with_connections(fx, 2);
  collector *c = fx_collector(fx);
  pulse_sink_options options = blocking(kLongMs);
  pulse_stream *streams[kOfOneSink];
  for (int i = 0; i < kOfOneSink; ++i) {
    char name[24];
    snprintf(name, sizeof name, "m%d", i);
    streams[i] = fx_stream_on(fx, engine, name, NULL);
  }
  pulse_sink *sink = fx_sink(fx, streams[0], "g", &options, c);
  for (int i = 1; i < kOfOneSink; ++i) {
    assert_ok(pulse_sink_add_stream_wait(sink, streams[i], PULSE_START_NEWEST, NULL, TS_DEADLINE_MS,
                                         fx_err()));
  }
  for (int round = 0; round < 2; ++round) {
    /* Longer than a stream counts as busy. */
    const int64_t end = ts_now_ms() + 1200;
    for (int i = 0; ts_now_ms() < end; ++i) serve(fx, sink, c, i % 3, 1);
    serve(fx, sink, c, 50 + round, 1);
    for (int i = 0; i < 5; ++i) serve(fx, sink, c, 0, 40);
    serve(fx, sink, c, 90 + round, 1);
  }
  for (int i = 0; i < kOfOneSink; i += 9) {
    char name[24];
    snprintf(name, sizeof name, "m%d", i);
    assert_int_equal(fx_pending(fx, name, "g"), 0);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      BOTH_DRIVERS(all_on_one_connection),
      BOTH_DRIVERS(all_sinks_on_one_connection),
      BOTH_DRIVERS(sinks_on_two_connections),
      BOTH_DRIVERS(each_event_goes_to_one_sink_of_a_group),
      BOTH_DRIVERS(a_sink_that_is_full_keeps_nobody_waiting),
      BOTH_DRIVERS(who_comes_and_goes_need_not_wait_for_the_others),
      BOTH_DRIVERS(what_comes_while_a_sink_joins_is_not_overlooked),
      BOTH_DRIVERS(a_paused_sink_does_not_stop_the_others),
      BOTH_DRIVERS(looks_of_idle_sinks_are_small),
      BOTH_DRIVERS(sinks_that_share_outlive_script_flush),
      BOTH_DRIVERS(a_key_of_another_type_harms_its_own_sink_only),
      BOTH_DRIVERS(a_destroyed_group_is_made_anew_beside_others),
      BOTH_DRIVERS(lost_connections_are_lost_for_none),
      BOTH_DRIVERS(quiet_streams_are_read_while_others_are_busy),
      BOTH_DRIVERS(quiet_sinks_are_served_while_others_are_busy),
      BOTH_DRIVERS(streams_without_events_are_asked_for_seldom),
      BOTH_DRIVERS(a_sink_of_many_streams_is_served_quiet_or_busy),
  };
  return cmocka_run_group_tests_name("read_connections", tests, fx_group_setup, fx_group_teardown);
}
