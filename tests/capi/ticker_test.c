/* ticker.h: one tick per interval in the whole pool. */
#include <inttypes.h>

#include "fixture.h"

static const int64_t kMs = 1000000;
static const int64_t kHour = INT64_C(3600000000000);
#define ENTRY "HGET map:p:tickers:content p:beat"

static pulse_node_options quick(void) {
  pulse_node_options options = PULSE_NODE_OPTIONS_INIT;
  options.worker_ttl_ms = 1000;
  options.ack_grace_ms = 1000;
  options.close_timeout_ms = 200;
  return options;
}

static pulse_node *first_node(fixture *fx, collector *to) {
  pulse_node_options options = quick();
  return fx_node(fx, "p", &options, to);
}

/* A node with an engine of its own. */
static pulse_node *other_node(fixture *fx, const pulse_node_options *options) {
  pulse_engine *first = fx->engine;
  fx->engine = fx_ready(fx, NULL);
  pulse_node_options standard = quick();
  pulse_node *node = fx_node(fx, "p", options == NULL ? &standard : options, NULL);
  if (first != NULL) fx->engine = first;
  return node;
}

static int64_t point_us(const ev *e) { return (int64_t)e->id.ms * 1000 + (int64_t)e->id.seq; }

static int64_t tick_us(collector *c, size_t nth) {
  return point_us(col_wait(c, PULSE_EVENT_TICK, nth));
}

static size_t ticks(collector *c) { return col_count_kind(c, PULSE_EVENT_TICK); }

/* The entry in Redis; 0 without one. */
static int64_t next_us(fixture *fx, char *interval) {
  ts_reply *reply = ts_commandf(fx->server, ENTRY);
  int64_t next = 0;
  if (ts_reply_get_type(reply) == TS_TEXT) {
    char rest[64];
    assert_int_equal(sscanf(ts_reply_text(reply), "%" SCNd64 "|%63s", &next, rest), 2);
    if (interval != NULL) memcpy(interval, rest, sizeof rest);
  }
  ts_reply_free(reply);
  return next;
}

static int64_t server_us(fixture *fx) {
  ts_reply *now = ts_commandf(fx->server, "TIME");
  int64_t us = atoll(ts_reply_text(ts_reply_at(now, 0))) * 1000000 +
               atoll(ts_reply_text(ts_reply_at(now, 1)));
  ts_reply_free(now);
  return us;
}

/* What a peer does to the map: one script. */
static void peer_writes(fixture *fx, const char *value) {
  ts_reply *reply =
      ts_command(fx->server, "EVAL",
                 "local p = function(s) return struct.pack('<i4', #s) .. s end "
                 "redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) "
                 "local rev = tostring(redis.call('HINCRBY', KEYS[1], '=rev', 1)) "
                 "redis.call('HSET', KEYS[1], '=kind', 'set') "
                 "redis.call('PUBLISH', KEYS[2], 'set:' .. p(ARGV[1]) .. p(ARGV[2]) .. p(rev)) "
                 "return 1",
                 "2", "map:p:tickers:content", "map:p:tickers:updates", "p:beat", value, NULL);
  assert_int_equal(ts_reply_integer(reply), 1);
  ts_reply_free(reply);
}
static void peer_deletes(fixture *fx) {
  ts_reply *reply =
      ts_command(fx->server, "EVAL",
                 "local p = function(s) return struct.pack('<i4', #s) .. s end "
                 "redis.call('HDEL', KEYS[1], ARGV[1]) "
                 "local rev = tostring(redis.call('HINCRBY', KEYS[1], '=rev', 1)) "
                 "redis.call('HSET', KEYS[1], '=kind', 'del') "
                 "redis.call('PUBLISH', KEYS[2], 'del:' .. p(ARGV[1]) .. p(rev)) "
                 "return 1",
                 "2", "map:p:tickers:content", "map:p:tickers:updates", "p:beat", NULL);
  assert_int_equal(ts_reply_integer(reply), 1);
  ts_reply_free(reply);
}

static void stop(pulse_node *node) {
  assert_ok(pulse_node_stop_ticker_wait(node, "beat", 4, TS_DEADLINE_MS, fx_err()));
}

/* --- the grid ----------------------------------------------------------------------- */

static void ticks_lie_on_the_grid(void **state) {
  fixture *fx = *state;
  collector *c = fx_collector(fx);
  pulse_node *node = first_node(fx, NULL);
  pulse_ticker *ticker = fx_ticker(fx, node, "beat", 20 * kMs, NULL, c);
  const ev *ready = col_wait(c, PULSE_EVENT_READY, 0);
  assert_int_equal(ready->state, PULSE_TICKER_NEW);
  assert_int_equal(ready->count, 20 * kMs);
  assert_text(ready, name, "beat");
  const int64_t first = tick_us(c, 0);
  int64_t last = first;
  for (size_t i = 1; i < 10; ++i) {
    const ev *e = col_wait(c, PULSE_EVENT_TICK, i);
    assert_text(e, name, "beat");
    assert_int_equal(point_us(e), last + 20000 * (1 + (int64_t)e->count));
    assert_true(point_us(e) <= server_us(fx));
    last = point_us(e);
  }
  char interval[64];
  const int64_t next = next_us(fx, interval);
  assert_string_equal(interval, "20ms");
  assert_true(next > last);
  assert_int_equal((next - first) % 20000, 0);
  pulse_ticker_info info = {.size = sizeof info};
  assert_ok(pulse_ticker_get_info(ticker, &info));
  assert_int_equal(info.interval_ns, 20 * kMs);
  assert_true(info.ticks >= 10);
  assert_true(info.next_us >= next);
}

static void the_first_tick_comes_after_an_interval(void **state) {
  fixture *fx = *state;
  collector *c = fx_collector(fx);
  pulse_node *node = first_node(fx, NULL);
  const int64_t before = server_us(fx);
  fx_ticker(fx, node, "beat", 300 * kMs, NULL, c);
  const int64_t after = server_us(fx);
  const int64_t tick = tick_us(c, 0);
  assert_in_range(tick, before + 300000, after + 300000);
  assert_true(server_us(fx) >= tick);
}

static void fractions_of_microseconds_do_not_drift(void **state) {
  fixture *fx = *state;
  collector *c = fx_collector(fx);
  pulse_node *node = first_node(fx, NULL);
  fx_ticker(fx, node, "beat", 2000400, NULL, c);
  tick_us(c, 4);
  char interval[64];
  next_us(fx, interval);
  assert_string_equal(interval, "2.0004ms");
}

/* --- many nodes ------------------------------------------------------------------------ */

static int compare(const void *a, const void *b) {
  const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

static void a_tick_is_for_one_node(void **state) {
  fixture *fx = *state;
  enum { kNodes = 3, kTicks = 40 };
  collector *to[kNodes];
  for (size_t i = 0; i < kNodes; ++i) {
    to[i] = fx_collector(fx);
    pulse_node *node = i == 0 ? first_node(fx, NULL) : other_node(fx, NULL);
    fx_ticker(fx, node, "beat", 20 * kMs, NULL, to[i]);
    assert_int_equal(col_wait(to[i], PULSE_EVENT_READY, 0)->state,
                     i == 0 ? PULSE_TICKER_NEW : PULSE_TICKER_ADOPTED);
  }
  fx_until(fx, ticks(to[0]) + ticks(to[1]) + ticks(to[2]) >= kTicks);
  stop(other_node(fx, NULL));
  int64_t points[10 * kTicks];
  size_t count = 0;
  for (size_t i = 0; i < kNodes; ++i) {
    assert_int_equal(col_wait(to[i], PULSE_EVENT_CLOSED, 0)->state, PULSE_TICKER_STOPPED);
    for (size_t k = 0; k < ticks(to[i]) && count < 10 * kTicks; ++k) {
      points[count++] = tick_us(to[i], k);
    }
  }
  qsort(points, count, sizeof points[0], compare);
  for (size_t i = 1; i < count; ++i) {
    assert_true(points[i] > points[i - 1]);
    assert_int_equal((points[i] - points[i - 1]) % 20000, 0);
  }
}

static void another_interval_is_for_all(void **state) {
  fixture *fx = *state;
  collector *a = fx_collector(fx), *b = fx_collector(fx);
  pulse_ticker *first = fx_ticker(fx, first_node(fx, NULL), "beat", kHour, NULL, a);
  const int64_t before = server_us(fx);
  fx_ticker(fx, other_node(fx, NULL), "beat", 30 * kMs, NULL, b);
  assert_int_equal(col_wait(b, PULSE_EVENT_READY, 0)->state, PULSE_TICKER_REPLACED);
  const ev *changed = col_wait(a, PULSE_EVENT_TICKER_CHANGED, 0);
  assert_int_equal(changed->count, 30 * kMs);
  assert_text(changed, name, "beat");
  fx_until(fx, ticks(a) + ticks(b) >= 5);
  const int64_t tick = ticks(a) > 0 ? tick_us(a, 0) : tick_us(b, 0);
  assert_true(tick >= before + 30000);
  pulse_ticker_info info = {.size = sizeof info};
  assert_ok(pulse_ticker_get_info(first, &info));
  assert_int_equal(info.interval_ns, 30 * kMs);
}

static void who_does_not_take_ticks_leaves_them_to_others(void **state) {
  fixture *fx = *state;
  collector *busy = fx_collector_by(fx, BY_POLL), *c = fx_collector(fx);
  busy->hold = true;
  fx_ticker(fx, first_node(fx, NULL), "beat", 20 * kMs, NULL, busy);
  fx_until(fx, pulse_queue_size(busy->queue) == 2); /* READY and a tick */
  fx_ticker(fx, other_node(fx, NULL), "beat", 20 * kMs, NULL, c);
  int64_t last = tick_us(c, 0);
  for (size_t i = 1; i < 10; ++i) {
    const ev *e = col_wait(c, PULSE_EVENT_TICK, i);
    assert_int_equal(point_us(e), last + 20000 * (1 + (int64_t)e->count));
    last = point_us(e);
  }
  assert_int_equal(pulse_queue_size(busy->queue), 2);
  /* When it takes its tick, it gets others. */
  busy->hold = false;
  fx_until(fx, ticks(busy) >= 2);
}

/* --- stop and close ---------------------------------------------------------------------- */

static void stop_is_everywhere(void **state) {
  fixture *fx = *state;
  collector *a = fx_collector(fx), *b = fx_collector(fx), *done = fx_collector(fx);
  pulse_ticker *ticker = fx_ticker(fx, first_node(fx, NULL), "beat", 20 * kMs, NULL, a);
  fx_ticker(fx, other_node(fx, NULL), "beat", 20 * kMs, NULL, b);
  fx_until(fx, ticks(a) + ticks(b) > 0);
  assert_ok(pulse_ticker_stop(ticker, col_target(done, 0), NULL, fx_err()));
  const ev *stopped = col_wait(done, PULSE_EVENT_TICKER_STOPPED, 0);
  assert_int_equal(stopped->status, PULSE_OK);
  assert_int_equal(stopped->count, 1);
  assert_int_equal(next_us(fx, NULL), 0);
  for (size_t i = 0; i < 2; ++i) {
    const ev *closed = col_wait(i == 0 ? a : b, PULSE_EVENT_CLOSED, 0);
    assert_int_equal(closed->status, PULSE_OK);
    assert_int_equal(closed->state, PULSE_TICKER_STOPPED);
  }
  assert_status(PULSE_ERR_CLOSED, pulse_ticker_stop_wait(ticker, TS_DEADLINE_MS, fx_err()));
  assert_int_equal(next_us(fx, NULL), 0);
}

static void close_is_here(void **state) {
  fixture *fx = *state;
  collector *a = fx_collector(fx), *b = fx_collector(fx);
  pulse_ticker *ticker = fx_ticker(fx, first_node(fx, NULL), "beat", 20 * kMs, NULL, a);
  fx_ticker(fx, other_node(fx, NULL), "beat", 20 * kMs, NULL, b);
  assert_ok(pulse_ticker_close_wait(ticker, TS_DEADLINE_MS, fx_err()));
  const ev *closed = col_wait(a, PULSE_EVENT_CLOSED, 0);
  assert_int_equal(closed->status, PULSE_OK);
  assert_int_equal(closed->state, 0);
  const size_t before = ticks(b);
  tick_us(b, before + 3);
  assert_status(PULSE_ERR_CLOSED, pulse_ticker_stop_wait(ticker, TS_DEADLINE_MS, fx_err()));
}

static void a_client_may_stop_a_ticker(void **state) {
  fixture *fx = *state;
  collector *c = fx_collector(fx);
  fx_ticker(fx, first_node(fx, NULL), "beat", 20 * kMs, NULL, c);
  pulse_node_options options = quick();
  options.client_only = 1;
  stop(other_node(fx, &options));
  assert_int_equal(col_wait(c, PULSE_EVENT_CLOSED, 0)->state, PULSE_TICKER_STOPPED);
}

static void a_stop_does_not_reach_what_is_opened_later(void **state) {
  fixture *fx = *state;
  pulse_node *node = first_node(fx, NULL);
  for (int i = 0; i < 10; ++i) {
    collector *c = fx_collector(fx);
    fx_ticker(fx, node, "beat", 5 * kMs, NULL, c);
    assert_int_equal(col_wait(c, PULSE_EVENT_READY, 0)->state, PULSE_TICKER_NEW);
    tick_us(c, 0);
    stop(node);
  }
}

static void tickers_close_with_their_node(void **state) {
  fixture *fx = *state;
  collector *a = fx_collector(fx), *b = fx_collector(fx);
  pulse_node *first = first_node(fx, NULL), *second = other_node(fx, NULL);
  fx_ticker(fx, first, "beat", 20 * kMs, NULL, a);
  fx_ticker(fx, second, "beat", 20 * kMs, NULL, b);
  assert_ok(pulse_node_close_wait(first, TS_DEADLINE_MS, fx_err()));
  const ev *closed = col_wait(a, PULSE_EVENT_CLOSED, 0);
  assert_int_equal(closed->status, PULSE_OK);
  assert_int_equal(closed->state, 0);
  tick_us(b, ticks(b) + 1);
  pulse_ticker *ticker = NULL;
  assert_status(PULSE_ERR_CLOSED, pulse_ticker_open(first, "beat", 4, kHour, NULL, col_target(a, 0),
                                                    &ticker, fx_err()));
  collector *done = fx_collector(fx);
  assert_ok(pulse_node_shutdown(second, col_target(done, 0), NULL, fx_err()));
  assert_int_equal(col_wait(done, PULSE_EVENT_POOL_SHUT_DOWN, 0)->status, PULSE_OK);
  assert_int_equal(col_wait(b, PULSE_EVENT_CLOSED, 0)->status, PULSE_ERR_SHUTTING_DOWN);
  assert_int_equal(next_us(fx, NULL), 0);
}

/* --- what was missed ---------------------------------------------------------------------- */

static void missed_points_are_passed_over(void **state) {
  fixture *fx = *state;
  collector *c = fx_collector(fx);
  pulse_node *node = first_node(fx, NULL);
  peer_writes(fx, "1600000000000123|1h0m0s");
  pulse_ticker *ticker = fx_ticker(fx, node, "beat", kHour, NULL, c);
  assert_int_equal(col_wait(c, PULSE_EVENT_READY, 0)->state, PULSE_TICKER_ADOPTED);
  fx_until(fx, next_us(fx, NULL) > server_us(fx));
  char interval[64];
  const int64_t next = next_us(fx, interval);
  assert_string_equal(interval, "1h0m0s");
  assert_int_equal((next - INT64_C(1600000000000123)) % (kHour / 1000), 0);
  assert_true(next - server_us(fx) <= kHour / 1000);
  pulse_ticker_info info = {.size = sizeof info};
  fx_until(fx, pulse_ticker_get_info(ticker, &info) == PULSE_OK && info.missed > 0);
  assert_int_equal(info.missed, (next - INT64_C(1600000000000123)) / (kHour / 1000));
  assert_int_equal(info.ticks, 0);
  assert_ok(pulse_ticker_close_wait(ticker, TS_DEADLINE_MS, fx_err()));
  col_wait(c, PULSE_EVENT_CLOSED, 0);
  assert_int_equal(ticks(c), 0);
}

static void missed_points_may_be_made_up_for_once(void **state) {
  fixture *fx = *state;
  collector *c = fx_collector(fx);
  pulse_node *node = first_node(fx, NULL);
  peer_writes(fx, "1600000000000123|1h0m0s");
  pulse_ticker_options options = PULSE_TICKER_OPTIONS_INIT;
  options.catch_up = 1;
  pulse_ticker *ticker = fx_ticker(fx, node, "beat", kHour, &options, c);
  const ev *tick = col_wait(c, PULSE_EVENT_TICK, 0);
  assert_int_equal((point_us(tick) - INT64_C(1600000000000123)) / (kHour / 1000), tick->count);
  assert_int_equal(next_us(fx, NULL), point_us(tick) + kHour / 1000);
  assert_ok(pulse_ticker_close_wait(ticker, TS_DEADLINE_MS, fx_err()));
  col_wait(c, PULSE_EVENT_CLOSED, 0);
  assert_int_equal(ticks(c), 1);
}

static void a_server_whose_clock_went_back_does_not_stop_it(void **state) {
  fixture *fx = *state;
  collector *c = fx_collector(fx);
  pulse_node *node = first_node(fx, NULL);
  char entry[64];
  const int64_t far = server_us(fx) + kHour;
  snprintf(entry, sizeof entry, "%" PRId64 "|20ms", far);
  peer_writes(fx, entry);
  fx_ticker(fx, node, "beat", 20 * kMs, NULL, c);
  assert_int_equal(col_wait(c, PULSE_EVENT_READY, 0)->state, PULSE_TICKER_ADOPTED);
  assert_int_equal((far - tick_us(c, 1)) % 20000, 0);
}

/* --- what others do to the map ---------------------------------------------------------------- */

static void peers_may_change_it(void **state) {
  fixture *fx = *state;
  collector *c = fx_collector(fx);
  fx_ticker(fx, first_node(fx, NULL), "beat", kHour, NULL, c);
  char entry[64];
  const int64_t at = server_us(fx) + 50000;
  snprintf(entry, sizeof entry, "%" PRId64 "|20ms", at);
  peer_writes(fx, entry);
  assert_int_equal(col_wait(c, PULSE_EVENT_TICKER_CHANGED, 0)->count, 20 * kMs);
  const int64_t tick = tick_us(c, 0);
  assert_true(tick >= at);
  assert_int_equal((tick - at) % 20000, 0);
  peer_deletes(fx);
  assert_int_equal(col_wait(c, PULSE_EVENT_CLOSED, 0)->state, PULSE_TICKER_STOPPED);
  assert_int_equal(next_us(fx, NULL), 0);
}

static void what_cannot_be_read_is_waited_out(void **state) {
  fixture *fx = *state;
  collector *c = fx_collector(fx), *again = fx_collector(fx);
  pulse_node *node = first_node(fx, NULL);
  fx_ticker(fx, node, "beat", kHour, NULL, c);
  static const char *const bad[] = {"x",        "1|",     "|1s",     "12|0s",
                                    "12|-1s",   "12|1s|", "12.5|1s", "99999999999999999999|1s",
                                    "12|999ns", "12|1"};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; ++i) {
    peer_writes(fx, bad[i]);
    assert_true(fx_redis_is(fx, bad[i], ENTRY));
  }
  char entry[64];
  snprintf(entry, sizeof entry, "%" PRId64 "|20ms", server_us(fx));
  peer_writes(fx, entry);
  tick_us(c, 0);
  peer_writes(fx, "");
  fx_until(fx, !fx_redis_is(fx, "", ENTRY));
  tick_us(c, ticks(c));
  /* Opening takes its place. */
  peer_writes(fx, "rubbish");
  fx_ticker(fx, node, "beat", 30 * kMs, NULL, again);
  assert_int_equal(col_wait(again, PULSE_EVENT_READY, 0)->state, PULSE_TICKER_REPLACED);
  tick_us(again, 0);
}

static void a_lost_entry_is_made_anew(void **state) {
  fixture *fx = *state;
  collector *a = fx_collector(fx), *b = fx_collector(fx);
  fx_ticker(fx, first_node(fx, NULL), "beat", 20 * kMs, NULL, a);
  fx_ticker(fx, other_node(fx, NULL), "beat", 20 * kMs, NULL, b);
  fx_until(fx, ticks(a) + ticks(b) >= 10);
  const int64_t known = next_us(fx, NULL);
  fx_redis(fx, "DEL map:p:tickers:content");
  fx_until(fx, next_us(fx, NULL) > known);
  assert_int_equal((next_us(fx, NULL) - known) % 20000, 0);
  const size_t before = ticks(a) + ticks(b);
  fx_until(fx, ticks(a) + ticks(b) >= before + 5);
  assert_int_equal(col_count_kind(a, PULSE_EVENT_CLOSED), 0);
  assert_int_equal(col_count_kind(b, PULSE_EVENT_CLOSED), 0);
  /* It still can be stopped. */
  stop(other_node(fx, NULL));
  col_wait(a, PULSE_EVENT_CLOSED, 0);
  col_wait(b, PULSE_EVENT_CLOSED, 0);
}

static void connections_may_be_lost(void **state) {
  fixture *fx = *state;
  collector *c = fx_collector(fx);
  fx_ticker(fx, first_node(fx, NULL), "beat", 20 * kMs, NULL, c);
  int64_t last = tick_us(c, 2);
  for (int i = 0; i < 3; ++i) {
    fx_redis(fx, "CLIENT KILL TYPE normal SKIPME yes");
    fx_redis(fx, "CLIENT KILL TYPE pubsub SKIPME yes");
    const int64_t tick = tick_us(c, ticks(c) + 1);
    assert_true(tick > last);
    assert_int_equal((tick - last) % 20000, 0);
    last = tick;
  }
  assert_int_equal(col_count_kind(c, PULSE_EVENT_CLOSED), 0);
}

/* --- arguments ------------------------------------------------------------------------------- */

static void wrong_arguments_are_refused(void **state) {
  fixture *fx = *state;
  pulse_node *node = first_node(fx, NULL);
  collector *c = fx_collector(fx);
  pulse_ticker *ticker = NULL;
  static const int64_t intervals[] = {0, -1, 999, 999999, INT64_MIN, INT64_MAX};
  for (size_t i = 0; i < sizeof intervals / sizeof intervals[0]; ++i) {
    assert_status(PULSE_ERR_INVALID, pulse_ticker_open(node, "beat", 4, intervals[i], NULL,
                                                       col_target(c, 0), &ticker, fx_err()));
  }
  assert_status(PULSE_ERR_INVALID,
                pulse_ticker_open(node, "", 0, kHour, NULL, col_target(c, 0), &ticker, fx_err()));
  assert_status(PULSE_ERR_INVALID, pulse_ticker_open(node, "a=b", 3, kHour, NULL, col_target(c, 0),
                                                     &ticker, fx_err()));
  assert_status(PULSE_ERR_INVALID, pulse_ticker_open(NULL, "beat", 4, kHour, NULL, col_target(c, 0),
                                                     &ticker, fx_err()));
  assert_status(PULSE_ERR_INVALID,
                pulse_ticker_open(node, "beat", 4, kHour, NULL, NULL, &ticker, fx_err()));
  assert_status(PULSE_ERR_INVALID,
                pulse_ticker_open(node, "beat", 4, kHour, NULL, col_target(c, 0), NULL, fx_err()));
  char name[PULSE_TICKER_MAX_NAME_BYTES + 1];
  memset(name, 'n', sizeof name);
  assert_status(PULSE_ERR_TOO_LARGE, pulse_ticker_open(node, name, sizeof name, kHour, NULL,
                                                       col_target(c, 0), &ticker, fx_err()));
  pulse_ticker_options options = PULSE_TICKER_OPTIONS_INIT;
  options.catch_up = 2;
  assert_status(PULSE_ERR_INVALID, pulse_ticker_open(node, "beat", 4, kHour, &options,
                                                     col_target(c, 0), &ticker, fx_err()));
  options.catch_up = 0;
  options.reserved = 1;
  assert_status(PULSE_ERR_UNKNOWN_OPTION, pulse_ticker_open(node, "beat", 4, kHour, &options,
                                                            col_target(c, 0), &ticker, fx_err()));
  assert_status(PULSE_ERR_INVALID, pulse_ticker_get_info(NULL, NULL));
  assert_status(PULSE_ERR_INVALID, pulse_ticker_close(NULL));
  pulse_node_options client = quick();
  client.client_only = 1;
  assert_status(PULSE_ERR_INVALID, pulse_ticker_open(other_node(fx, &client), "beat", 4, kHour,
                                                     NULL, col_target(c, 0), &ticker, fx_err()));
  assert_null(ticker);
  assert_int_equal(fx_redis_int(fx, "EXISTS map:p:tickers:content"), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      ALL_WAYS(ticks_lie_on_the_grid),
      BOTH_DRIVERS(the_first_tick_comes_after_an_interval),
      BOTH_DRIVERS(fractions_of_microseconds_do_not_drift),
      ALL_WAYS(a_tick_is_for_one_node),
      BOTH_DRIVERS(another_interval_is_for_all),
      BOTH_DRIVERS(who_does_not_take_ticks_leaves_them_to_others),
      ALL_WAYS(stop_is_everywhere),
      BOTH_DRIVERS(close_is_here),
      BOTH_DRIVERS(a_client_may_stop_a_ticker),
      BOTH_DRIVERS(a_stop_does_not_reach_what_is_opened_later),
      BOTH_DRIVERS(tickers_close_with_their_node),
      BOTH_DRIVERS(missed_points_are_passed_over),
      BOTH_DRIVERS(missed_points_may_be_made_up_for_once),
      BOTH_DRIVERS(a_server_whose_clock_went_back_does_not_stop_it),
      BOTH_DRIVERS(peers_may_change_it),
      BOTH_DRIVERS(what_cannot_be_read_is_waited_out),
      BOTH_DRIVERS(a_lost_entry_is_made_anew),
      BOTH_DRIVERS(connections_may_be_lost),
      BOTH_DRIVERS(wrong_arguments_are_refused),
  };
  return cmocka_run_group_tests_name("ticker", tests, fx_group_setup, fx_group_teardown);
}
