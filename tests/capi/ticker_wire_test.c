/* What tickers and schedules publish, against the recordings of a Go peer (tests/wire/tickers.txt).
 */
#include <inttypes.h>

#include "fixture.h"
#include "message.h"
#include "vectors.h"

static const int64_t kMs = 1000000;

static void messages_are_built_as_recorded(void **state) {
  (void)state;
  vectors *recorded = vectors_load("tickers.txt");
  size_t seen = 0;
  for (size_t i = 0; i < recorded->count; ++i) {
    const vector_line *line = &recorded->lines[i];
    wire_message t;
    if (strcmp(line->words[0], "set") == 0) {
      t = message_of_map("set", line->words[1], line->words[2], line->words[3]);
    } else if (strcmp(line->words[0], "del") == 0) {
      t = message_of_map("del", line->words[1], NULL, line->words[2]);
    } else {
      continue;
    }
    fx_check_text(t.data, t.size, line->words[line->count - 1], line->sizes[line->count - 1],
                  "message", __FILE__, __LINE__);
    ++seen;
  }
  assert_int_equal(seen, 10);
  vectors_free(recorded);
}

/* Who follows a channel. */
static ts_connection *listen_to(fixture *fx, const char *channel) {
  ts_connection *listener = ts_connection_open(fx->server);
  ts_reply_free(ts_connection_command(listener, "SUBSCRIBE", channel, NULL));
  return listener;
}

static ts_reply *next_message(ts_connection *listener) {
  ts_reply *reply = ts_connection_read(listener, TS_DEADLINE_MS);
  assert_int_equal(ts_reply_size(reply), 3);
  return reply;
}

/* The next message sets the ticker: its point; `interval` gets the text behind that. */
static int64_t next_set(ts_connection *listener, const char *key, int revision, char *interval) {
  ts_reply *reply = next_message(listener);
  const ts_reply *message = ts_reply_at(reply, 2);
  const char *bytes = ts_reply_text(message);
  const size_t at = 4 + 4 + strlen(key) + 4;
  assert_true(ts_reply_size(message) > at);
  char value[64], number[16];
  const size_t size = (unsigned char)bytes[at - 4];
  assert_true(size < sizeof value && at + size < ts_reply_size(message));
  memcpy(value, bytes + at, size);
  value[size] = '\0';
  snprintf(number, sizeof number, "%d", revision);
  const wire_message expected = message_of_map("set", key, value, number);
  fx_check_text(bytes, ts_reply_size(message), expected.data, expected.size, "message", __FILE__,
                __LINE__);
  ts_reply_free(reply);
  int64_t point = 0;
  assert_int_equal(sscanf(value, "%" SCNd64 "|%31s", &point, interval), 2);
  return point;
}

static void expect_message(ts_connection *listener, const char *bytes, size_t size) {
  ts_reply *reply = next_message(listener);
  fx_check_text(ts_reply_text(ts_reply_at(reply, 2)), ts_reply_size(ts_reply_at(reply, 2)), bytes,
                size, "message", __FILE__, __LINE__);
  ts_reply_free(reply);
}

static void tickers_publish_as_recorded(void **state) {
  fixture *fx = *state;
  pulse_node *node = fx_node(fx, "jobs", NULL, NULL);
  ts_connection *listener = listen_to(fx, "map:jobs:tickers:updates");
  collector *c = fx_collector(fx), *again = fx_collector(fx);
  fx_ticker(fx, node, "beat", 500 * kMs, NULL, c);
  char interval[32];
  int revision = 0;
  int64_t point = next_set(listener, "jobs:beat", ++revision, interval);
  assert_string_equal(interval, "500ms");
  col_wait(c, PULSE_EVENT_TICK, 1);
  fx_ticker(fx, node, "beat", 1500 * kMs, NULL, again);
  assert_int_equal(col_wait(again, PULSE_EVENT_READY, 0)->state, PULSE_TICKER_REPLACED);
  for (;;) {
    const int64_t next = next_set(listener, "jobs:beat", ++revision, interval);
    if (strcmp(interval, "1.5s") == 0) {
      assert_true(next > point + 500000); /* a whole interval from then on */
      point = next;
      break;
    }
    assert_string_equal(interval, "500ms");
    assert_true(next > point);
    assert_int_equal((next - point) % 500000, 0);
    point = next;
  }
  assert_true(revision >= 4);
  fx_until(fx, col_count_kind(c, PULSE_EVENT_TICK) + col_count_kind(again, PULSE_EVENT_TICK) >= 3);
  const int64_t next = next_set(listener, "jobs:beat", ++revision, interval);
  assert_int_equal((next - point) % 1500000, 0);
  assert_ok(pulse_node_stop_ticker_wait(node, "beat", 4, TS_DEADLINE_MS, fx_err()));
  char number[16];
  snprintf(number, sizeof number, "%d", ++revision);
  const wire_message expected = message_of_map("del", "jobs:beat", NULL, number);
  expect_message(listener, expected.data, expected.size);
  ts_connection_free(listener);
}

static void schedules_stop_as_recorded(void **state) {
  fixture *fx = *state;
  vectors *recorded = vectors_load("tickers.txt");
  collector *c = fx_collector(fx), *requests = fx_collector(fx);
  requests->answer = true;
  pulse_node *node = fx_node(fx, "jobs", NULL, NULL);
  fx_worker(fx, node, NULL, requests);
  ts_connection *tickers = listen_to(fx, "map:jobs:tickers:updates");
  ts_connection *jobs = listen_to(fx, "map:jobs:prod:updates");
  fx_schedule(fx, node, "prod", 700 * kMs, NULL, c);
  static const char *const starts[4] = {"k1 k2", "", "k3", ""};
  static const char *const stops[4] = {"", "k1", "k2", ""};
  for (size_t i = 0; i < 4; ++i) {
    pulse_plan *plan = col_wait(c, PULSE_EVENT_PLAN, i)->plan;
    for (size_t k = 0; k < strlen(starts[i]); k += 3) {
      assert_ok(pulse_plan_start(plan, starts[i] + k, 2, "p", 1, fx_err()));
    }
    if (stops[i][0] != '\0') assert_ok(pulse_plan_stop(plan, stops[i], 2, fx_err()));
    if (i == 3) assert_ok(pulse_plan_stop_schedule(plan, fx_err()));
    assert_ok(pulse_plan_answer(plan, PULSE_OK, NULL, 0));
    if (i < 3) assert_int_equal(col_wait(c, PULSE_EVENT_PLANNED, i)->status, PULSE_OK);
  }
  col_wait(c, PULSE_EVENT_CLOSED, 0);
  char interval[32];
  int64_t point = 0;
  for (int revision = 1; revision <= 4; ++revision) {
    const int64_t next = next_set(tickers, "jobs:prod", revision, interval);
    assert_string_equal(interval, "700ms");
    if (revision > 1) assert_int_equal((next - point) % 700000, 0);
    point = next;
  }
  const vector_line *line = vectors_find(recorded, "del", 0);
  expect_message(tickers, line->words[3], line->sizes[3]);
  for (int i = 0; i < 5; ++i) ts_reply_free(next_message(jobs)); /* k1 k2, -k1, k3, -k2 */
  line = vectors_find(recorded, "reset", 0);
  expect_message(jobs, line->words[2], line->sizes[2]);
  ts_connection_free(jobs);
  ts_connection_free(tickers);
  vectors_free(recorded);
}

/* What the recorded peer has left: its grid goes on. */
static void an_entry_of_a_peer_is_adopted(void **state) {
  fixture *fx = *state;
  pulse_node *node = fx_node(fx, "jobs", NULL, NULL);
  fx_redis(fx, "HSET map:jobs:tickers:content jobs:beat 1495426156197211|500ms =rev 3 =kind set");
  collector *c = fx_collector(fx);
  fx_ticker(fx, node, "beat", 500 * kMs, NULL, c);
  assert_int_equal(col_wait(c, PULSE_EVENT_READY, 0)->state, PULSE_TICKER_ADOPTED);
  const ev *tick = col_wait(c, PULSE_EVENT_TICK, 0);
  const int64_t point = (int64_t)tick->id.ms * 1000 + (int64_t)tick->id.seq;
  assert_int_equal((point - INT64_C(1495426156197211)) % 500000, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      MANUAL_ONLY(messages_are_built_as_recorded),
      BOTH_DRIVERS(tickers_publish_as_recorded),
      BOTH_DRIVERS(schedules_stop_as_recorded),
      BOTH_DRIVERS(an_entry_of_a_peer_is_adopted),
  };
  return cmocka_run_group_tests_name("ticker_wire", tests, fx_group_setup, fx_group_teardown);
}
