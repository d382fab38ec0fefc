/* sink.h: deliveries, acks, limits, filters, streams. */
#include "fixture.h"

static pulse_sink_options from_oldest(void) {
  pulse_sink_options options = PULSE_SINK_OPTIONS_INIT;
  options.start = PULSE_START_OLDEST;
  return options;
}

static const ev *message(collector *c, size_t nth) { return col_wait(c, PULSE_EVENT_MESSAGE, nth); }

/* --- deliveries and acks --------------------------------------------------- */

static void a_message_is_delivered_and_acked(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  collector *c = fx_collector(fx), *done = fx_collector(fx);
  pulse_sink *sink = fx_sink(fx, stream, "g", NULL, c);
  assert_int_equal(col_wait(c, PULSE_EVENT_READY, 0)->status, PULSE_OK);
  pulse_event_id id = fx_add_topic(stream, "name", "payload", "topic");
  const ev *e = message(c, 0);
  assert_id_equal(e->id, id);
  assert_text(e, stream, "s");
  assert_text(e, name, "name");
  assert_text(e, payload, "payload");
  assert_text(e, topic, "topic");
  assert_int_equal(e->deliveries, 1);
  assert_id_equal(e->ack.id, id);
  assert_int_equal(fx_pending(fx, "s", "g"), 1);
  uint64_t operation = 0;
  assert_ok(pulse_sink_ack(sink, &e->ack, 1, col_target(done, 3), &operation, fx_err()));
  const ev *acked = col_wait(done, PULSE_EVENT_ACKED, 0);
  /* The completion comes when Redis has it. */
  assert_int_equal(fx_pending(fx, "s", "g"), 0);
  assert_int_equal(acked->status, PULSE_OK);
  assert_int_equal(acked->operation, operation);
  assert_int_equal(acked->count, 1);
  assert_int_equal(acked->result_count, 1);
  assert_int_equal(acked->results[0].status, PULSE_OK);
  assert_id_equal(acked->results[0].id, id);
}

static void many_are_acked_with_one_call(void **state) {
  fixture *fx = *state;
  enum { kCount = 500 };
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  collector *c = fx_collector(fx);
  pulse_sink *sink = fx_sink(fx, stream, "g", NULL, c);
  for (int i = 0; i < kCount; ++i) fx_add(stream, "n", "p");
  message(c, kCount - 1);
  pulse_ack_handle handles[kCount];
  for (size_t i = 0; i < kCount; ++i) handles[i] = message(c, i)->ack;
  pulse_result results[kCount];
  memset(results, 0x5a, sizeof results);
  assert_ok(pulse_sink_ack_wait(sink, handles, kCount, results, TS_DEADLINE_MS, fx_err()));
  for (size_t i = 0; i < kCount; ++i) {
    assert_int_equal(results[i].status, PULSE_OK);
    assert_id_equal(results[i].id, handles[i].id);
  }
  assert_int_equal(fx_pending(fx, "s", "g"), 0);
  pulse_sink_metrics metrics = {.size = sizeof metrics};
  assert_ok(pulse_sink_get_metrics(sink, &metrics));
  assert_int_equal(metrics.delivered, kCount);
  assert_int_equal(metrics.acked, kCount);
  assert_int_equal(metrics.pending, 0);
  assert_int_equal(metrics.redelivered + metrics.not_owner + metrics.lost, 0);
  assert_int_equal(metrics.streams, 1);
}

/* Hosts whose header has less of the struct, or more, than the library. */
static void events_fit_arrays_of_any_version(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  collector *c = fx_collector_by(fx, BY_POLL);
  c->hold = true;
  fx_sink(fx, stream, "g", NULL, c);
  enum { kCount = 10, kMost = sizeof(pulse_event) + 24 };
  pulse_event_id ids[kCount];
  const size_t strides[] = {offsetof(pulse_event, results), sizeof(pulse_event), kMost};
  for (size_t s = 0; s < sizeof strides / sizeof strides[0]; ++s) {
    for (int i = 0; i < kCount; ++i) ids[i] = fx_add_topic(stream, "name", "payload", "topic");
    static char array[kCount * kMost];
    size_t taken = 0;
    while (taken < kCount) {
      fx_until(fx, pulse_queue_size(c->queue) > 0);
      memset(array, 0x5a, sizeof array);
      const int64_t got = pulse_queue_poll(c->queue, (pulse_event *)array, strides[s], kCount, 0);
      assert_true(got >= 0);
      for (size_t i = 0; i < (size_t)got; ++i) {
        pulse_event e;
        memset(&e, 0, sizeof e);
        const char *at = array + i * strides[s];
        memcpy(&e, at, strides[s] < sizeof e ? strides[s] : sizeof e);
        assert_int_equal(e.size, strides[s] < sizeof e ? strides[s] : sizeof e);
        for (size_t b = sizeof e; b < strides[s]; ++b) assert_int_equal(at[b], 0x5a);
        if (e.kind != PULSE_EVENT_MESSAGE) continue;
        assert_id_equal(e.id, ids[taken]);
        assert_id_equal(e.ack.id, ids[taken]);
        assert_text(&e, name, "name");
        assert_text(&e, payload, "payload");
        assert_text(&e, topic, "topic");
        assert_text(&e, stream, "s");
        assert_int_equal(e.result_count, 0);
        taken++;
      }
    }
  }
}

static void bad_acks_are_refused(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  collector *c = fx_collector(fx), *other = fx_collector(fx), *done = fx_collector(fx);
  pulse_sink *sink = fx_sink(fx, stream, "g", NULL, c);
  fx_sink(fx, stream, "h", NULL, other);
  fx_add(stream, "n", "p");
  const ev *mine = message(c, 0);
  const ev *theirs = message(other, 0);
  pulse_ack_handle *many = calloc(65537, sizeof *many);
  for (int i = 0; i < 65537; ++i) many[i] = mine->ack;
#define ACK(handles, count) \
  pulse_sink_ack(sink, handles, count, col_target(done, 0), NULL, fx_err())
#define RELEASE(handles, count) \
  pulse_sink_release(sink, handles, count, col_target(done, 0), NULL, fx_err())
  assert_status(PULSE_ERR_INVALID, ACK(&theirs->ack, 1));
  assert_status(PULSE_ERR_INVALID, RELEASE(&theirs->ack, 1));
  assert_status(PULSE_ERR_INVALID, ACK(many, 0));
  assert_status(PULSE_ERR_INVALID, ACK(many, 65537));
  assert_status(PULSE_ERR_INVALID, RELEASE(many, 0));
  pulse_ack_handle zero;
  memset(&zero, 0, sizeof zero);
  assert_status(PULSE_ERR_INVALID, ACK(&zero, 1));
#undef ACK
#undef RELEASE
  free(many);
  assert_int_equal(col_destroyed(done), 6);
  assert_int_equal(fx_pending(fx, "s", "g"), 1);
  assert_int_equal(fx_pending(fx, "s", "h"), 1);
}

typedef struct late_ack {
  pulse_sink *sink;
  pulse_ack_handle handle;
  pulse_status status;
} late_ack;

static void ack_elsewhere(void *arg) {
  late_ack *a = arg;
  a->status = pulse_sink_ack_wait(a->sink, &a->handle, 1, NULL, TS_DEADLINE_MS, NULL);
}

static void a_handle_is_good_on_any_thread_after_the_event(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  collector *c = fx_collector(fx);
  late_ack a = {.sink = fx_sink(fx, stream, "g", NULL, c)};
  fx_add(stream, "n", "p");
  a.handle = message(c, 0)->ack;
  for (int i = 0; i < 5; ++i) fx_add(stream, "n", "p");
  message(c, 5);
  fx_on_thread(fx, ack_elsewhere, &a);
  assert_int_equal(a.status, PULSE_OK);
  assert_int_equal(fx_pending(fx, "s", "g"), 5);
}

static int64_t calls_of(fixture *fx, const char *command) {
  char needle[64];
  snprintf(needle, sizeof needle, "cmdstat_%s:calls=", command);
  ts_reply *reply = ts_command(fx->server, "INFO", "commandstats", NULL);
  const char *at = strstr(ts_reply_text(reply), needle);
  int64_t calls = at == NULL ? 0 : atoll(at + strlen(needle));
  ts_reply_free(reply);
  return calls;
}

static void ack_each(fixture *fx, const pulse_sink_options *options, const char *group, int count) {
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  collector *c = fx_collector(fx), *done = fx_collector(fx);
  pulse_sink *sink = fx_sink(fx, stream, group, options, c);
  for (int i = 0; i < count; ++i) fx_add(stream, "n", "p");
  message(c, (size_t)count - 1);
  for (size_t i = 0; i < (size_t)count; ++i) {
    assert_ok(pulse_sink_ack(sink, &message(c, i)->ack, 1, col_target(done, 0), NULL, fx_err()));
  }
  col_wait(done, PULSE_EVENT_ACKED, (size_t)count - 1);
  for (size_t i = 0; i < (size_t)count; ++i) {
    assert_int_equal(col_wait(done, PULSE_EVENT_ACKED, i)->status, PULSE_OK);
    assert_int_equal(col_wait(done, PULSE_EVENT_ACKED, i)->count, 1);
  }
  assert_int_equal(fx_pending(fx, "s", group), 0);
}

static void acks_coalesce_unless_told_otherwise(void **state) {
  fixture *fx = *state;
  enum { kCount = 200 };
  pulse_sink_options options = PULSE_SINK_OPTIONS_INIT;
  ack_each(fx, &options, "g1", kCount);
  int64_t coalesced = calls_of(fx, "xack");
  /* In the manual driver all calls were made between two turns of the loop. */
  assert_in_range(coalesced, 1, fx->driver == PULSE_DRIVER_MANUAL ? 2 : kCount - 1);
  options.no_ack_coalescing = 1;
  ack_each(fx, &options, "g2", kCount);
  assert_int_equal(calls_of(fx, "xack") - coalesced, kCount);
}

static void no_ack_leaves_nothing_pending(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  collector *c = fx_collector(fx);
  pulse_sink_options options = PULSE_SINK_OPTIONS_INIT;
  options.no_ack = 1;
  fx_sink(fx, stream, "g", &options, c);
  for (int i = 0; i < 5; ++i) fx_add(stream, "n", "p");
  assert_int_equal(message(c, 4)->deliveries, 1);
  assert_int_equal(fx_pending(fx, "s", "g"), 0);
}

/* --- groups ---------------------------------------------------------------- */

static void sinks_of_other_names_get_everything(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  collector *one = fx_collector(fx), *two = fx_collector(fx);
  fx_sink(fx, stream, "g1", NULL, one);
  fx_sink(fx, stream, "g2", NULL, two);
  for (int i = 0; i < 10; ++i) fx_add(stream, "n", "p");
  message(one, 9);
  message(two, 9);
}

/* max_pending makes sure that neither can have it all. */
static void sinks_of_one_name_share(void **state) {
  fixture *fx = *state;
  enum { kCount = 60 };
  pulse_stream *s1 = fx_stream_on(fx, fx_ready(fx, NULL), "s", NULL);
  pulse_stream *s2 = fx_stream_on(fx, fx_ready(fx, NULL), "s", NULL);
  pulse_sink_options options = PULSE_SINK_OPTIONS_INIT;
  options.max_pending = 40;
  collector *c[2] = {fx_collector(fx), fx_collector(fx)};
  pulse_sink *sinks[2] = {fx_sink(fx, s1, "g", &options, c[0]),
                          fx_sink(fx, s2, "g", &options, c[1])};
  pulse_event_id ids[kCount];
  for (int i = 0; i < kCount; ++i) ids[i] = fx_add(s1, "n", "p");
  fx_until(fx,
           col_count_kind(c[0], PULSE_EVENT_MESSAGE) + col_count_kind(c[1], PULSE_EVENT_MESSAGE) ==
               kCount);
  int seen[kCount] = {0};
  for (int k = 0; k < 2; ++k) {
    size_t count = col_count_kind(c[k], PULSE_EVENT_MESSAGE);
    assert_in_range(count, kCount - 40, 40);
    for (size_t i = 0; i < count; ++i) {
      const ev *e = message(c[k], i);
      for (int m = 0; m < kCount; ++m) seen[m] += pulse_event_id_compare(&ids[m], &e->id) == 0;
      fx_ack(sinks[k], e);
    }
  }
  for (int m = 0; m < kCount; ++m) assert_int_equal(seen[m], 1);
  assert_int_equal(fx_pending(fx, "s", "g"), 0);
}

static void the_start_counts_only_for_a_new_group(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  fx_add(stream, "before", "p");
  collector *newest = fx_collector(fx), *oldest = fx_collector(fx), *again = fx_collector(fx);
  pulse_sink_options options = from_oldest();
  fx_sink(fx, stream, "newest", NULL, newest);
  pulse_sink *sink = fx_sink(fx, stream, "oldest", &options, oldest);
  assert_text(message(oldest, 0), name, "before");
  fx_ack(sink, message(oldest, 0));
  assert_ok(pulse_sink_close_wait(sink, TS_DEADLINE_MS, fx_err()));
  fx_add(stream, "between", "p");
  fx_sink(fx, stream, "oldest", NULL, again); /* "newest", but the group exists */
  assert_text(message(again, 0), name, "between");
  assert_text(message(newest, 0), name, "between");
}

static void start_positions(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  static const char *const ids[] = {"1000-0", "1999-0", "1999-7", "2000-0", "2001-3"};
  for (size_t i = 0; i < 5; ++i) fx_redis(fx, "XADD pulse:stream:s %s n %s p x", ids[i], ids[i]);
  const struct {
    pulse_start start;
    pulse_event_id id;
    const char *first; /* name of the first event that comes */
  } cases[] = {
      {PULSE_START_OLDEST, {0, 0}, "1000-0"},   {PULSE_START_AFTER, {0, 0}, "1000-0"},
      {PULSE_START_AFTER, {1999, 0}, "1999-7"}, {PULSE_START_AFTER, {1999, UINT64_MAX}, "2000-0"},
      {PULSE_START_TIME, {0, 0}, "1000-0"},     {PULSE_START_TIME, {1001, 0}, "1999-0"},
      {PULSE_START_TIME, {2000, 0}, "2000-0"},  {PULSE_START_TIME, {2002, 0}, "later"},
      {PULSE_START_NEWEST, {0, 0}, "later"},
  };
  enum { kCases = sizeof cases / sizeof cases[0] };
  collector *c[kCases];
  for (size_t i = 0; i < kCases; ++i) {
    pulse_sink_options options = PULSE_SINK_OPTIONS_INIT;
    options.start = cases[i].start;
    options.start_id = cases[i].id;
    c[i] = fx_collector(fx);
    char group[8];
    snprintf(group, sizeof group, "g%zu", i);
    fx_sink(fx, stream, group, &options, c[i]);
  }
  fx_add(stream, "later", "p");
  for (size_t i = 0; i < kCases; ++i) {
    if (strcmp(message(c[i], 0)->name, cases[i].first) != 0) {
      fail_msg("case %zu began with %s", i, message(c[i], 0)->name);
    }
  }
}

static void the_consumer_is_a_ulid(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  collector *c = fx_collector(fx);
  pulse_sink *sink = fx_sink(fx, stream, "g", NULL, c);
  char text[27] = "x", other[27];
  assert_int_equal(pulse_sink_get_consumer(sink, text, 26), 0);
  assert_int_equal(pulse_sink_get_consumer(sink, text, 27), 26);
  assert_int_equal(strlen(text), 26);
  assert_int_equal(strspn(text, "0123456789ABCDEFGHJKMNPQRSTVWXYZ"), 26);
  if (ts_server_version(fx->server) < 60200) { /* it is listed from its first event on */
    fx_add(stream, "n", "p");
    message(c, 0);
  }
  const ts_reply *consumers = fx_redis(fx, "XINFO CONSUMERS pulse:stream:s g");
  assert_string_equal(ts_reply_text(ts_reply_field(ts_reply_at(consumers, 0), "name")), text);
  pulse_sink *second = fx_sink(fx, stream, "g", NULL, c);
  assert_int_equal(pulse_sink_get_consumer(second, other, sizeof other), 26);
  assert_string_not_equal(text, other);
}

static void sink_names_follow_the_rule(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  collector *c = fx_collector(fx);
  char longest[513];
  memset(longest, 'n', sizeof longest);
  pulse_sink *sink = NULL;
#define OPEN(name, len) pulse_sink_open(stream, name, len, NULL, col_target(c, 0), &sink, fx_err())
  static const char *const bad[] = {"", "a b", "a*", "a?", "[a", "a]"};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; ++i) {
    assert_status(PULSE_ERR_INVALID, OPEN(bad[i], strlen(bad[i])));
  }
  assert_status(PULSE_ERR_INVALID, OPEN("a\0b", 3));
  assert_status(PULSE_ERR_INVALID, OPEN(longest, 513));
  assert_null(sink);
  assert_ok(OPEN(longest, 512));
#undef OPEN
  pulse_sink_unref(sink);
}

/* --- limits ---------------------------------------------------------------- */

static void max_pending_pauses_reading(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  collector *c = fx_collector(fx);
  pulse_sink_options options = PULSE_SINK_OPTIONS_INIT;
  options.max_pending = 5;
  pulse_sink *sink = fx_sink(fx, stream, "g", &options, c);
  for (int i = 0; i < 30; ++i) fx_add(stream, "n", "p");
  for (size_t i = 0; i < 30; ++i) {
    const ev *e = message(c, i);
    assert_ok(pulse_engine_ping_wait(fx->engine, NULL, TS_DEADLINE_MS, fx_err()));
    assert_in_range(fx_pending(fx, "s", "g"), 1, 5);
    assert_true(col_count_kind(c, PULSE_EVENT_MESSAGE) <= i + 5);
    fx_ack(sink, e);
  }
  assert_int_equal(fx_pending(fx, "s", "g"), 0);
}

static void a_full_buffer_stops_reading(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  collector *c = fx_collector_by(fx, BY_POLL);
  c->hold = true;
  pulse_sink_options options = PULSE_SINK_OPTIONS_INIT;
  options.buffer = 10;
  pulse_sink *sink = fx_sink(fx, stream, "g", &options, c);
  for (int i = 0; i < 100; ++i) fx_add(stream, "n", "p");
  size_t taken = 0;
  while (taken < 100) {
    fx_until(fx, pulse_queue_size(c->queue) > 0);
    for (int i = 0; i < 3; ++i) {
      assert_ok(pulse_engine_ping_wait(fx->engine, NULL, TS_DEADLINE_MS, fx_err()));
    }
    pulse_sink_metrics metrics = {.size = sizeof metrics};
    assert_ok(pulse_sink_get_metrics(sink, &metrics));
    assert_true(metrics.buffered <= 10);
    assert_true(fx_pending(fx, "s", "g") <= (int64_t)taken + 10);
    pulse_event events[4];
    int64_t got = pulse_queue_poll(c->queue, events, sizeof events[0], 4, 0);
    for (int64_t i = 0; i < got; ++i) taken += events[i].kind == PULSE_EVENT_MESSAGE;
  }
}

static void pause_stops_and_resume_goes_on(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  collector *c = fx_collector(fx), *other = fx_collector(fx);
  pulse_sink *sink = fx_sink(fx, stream, "g", NULL, c);
  fx_sink(fx, stream, "h", NULL, other);
  assert_ok(pulse_sink_pause(sink));
  assert_ok(pulse_sink_pause(sink));
  assert_ok(pulse_engine_ping_wait(fx->engine, NULL, TS_DEADLINE_MS, fx_err()));
  for (int i = 0; i < 50; ++i) fx_add(stream, "n", "p");
  message(other, 49);
  assert_true(col_count_kind(c, PULSE_EVENT_MESSAGE) < 50);
  assert_ok(pulse_sink_resume(sink));
  message(c, 49);
}

/* --- filters --------------------------------------------------------------- */

static void what_the_filter_turns_down_is_acked(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  collector *c = fx_collector(fx), *d = fx_collector(fx);
  pulse_sink_options options = PULSE_SINK_OPTIONS_INIT;
  options.topic = "t1";
  options.topic_len = 2;
  pulse_sink *sink = fx_sink(fx, stream, "g", &options, c);
  pulse_sink_options pattern = PULSE_SINK_OPTIONS_INIT;
  pattern.topic_pattern = "^.1$";
  pattern.topic_pattern_len = 4;
  pulse_sink *by_pattern = fx_sink(fx, stream, "h", &pattern, d);
  fx_add_topic(stream, "0", "p", "t0");
  fx_add_topic(stream, "1", "p", "t1");
  fx_add(stream, "2", "p");
  fx_add_topic(stream, "3", "p",
               "\xff"
               "1");
  fx_add_topic(stream, "4", "p", "t1");
  assert_text(message(c, 0), name, "1");
  assert_text(message(c, 1), name, "4");
  fx_until(fx, fx_pending(fx, "s", "g") == 2);
  assert_text(message(d, 0), name, "1");
  assert_text(message(d, 1), name, "3");
  assert_text(message(d, 2), name, "4");
  fx_until(fx, fx_pending(fx, "s", "h") == 3);
  pulse_sink_metrics metrics = {.size = sizeof metrics};
  assert_ok(pulse_sink_get_metrics(sink, &metrics));
  assert_int_equal(metrics.filtered, 3);
  assert_int_equal(metrics.delivered, 2);
  assert_int_equal(metrics.pending, 2);
  assert_ok(pulse_sink_get_metrics(by_pattern, &metrics));
  assert_int_equal(metrics.filtered, 2);
}

static void what_the_filter_leaves_goes_to_others(void **state) {
  fixture *fx = *state;
  pulse_stream *s1 = fx_stream_on(fx, fx_ready(fx, NULL), "s", NULL);
  pulse_stream *s2 = fx_stream_on(fx, fx_ready(fx, NULL), "s", NULL);
  collector *c1 = fx_collector(fx), *c2 = fx_collector(fx);
  pulse_sink_options options = PULSE_SINK_OPTIONS_INIT;
  options.topic = "t1";
  options.topic_len = 2;
  options.leave_filtered = 1;
  options.ack_grace_ms = 200;
  fx_sink(fx, s1, "g", &options, c1);
  for (int i = 0; i < 4; ++i) fx_add_topic(s1, "n", "p", i % 2 == 0 ? "t0" : "t1");
  message(c1, 1);
  assert_int_equal(fx_pending(fx, "s", "g"), 4);
  /* It was the first to be handed these two, and did not keep them. */
  options.topic = NULL;
  options.topic_len = 0;
  fx_sink(fx, s2, "g", &options, c2);
  assert_text(message(c2, 0), topic, "t0");
  assert_text(message(c2, 1), topic, "t0");
  assert_true(message(c2, 0)->deliveries >= 2);
}

/* --- malformed entries ----------------------------------------------------- */

static void malformed_entries_are_reported_and_acked(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  collector *c = fx_collector(fx);
  pulse_sink *sink = fx_sink(fx, stream, "g", NULL, c);
  const ts_reply *bad = fx_redis(fx, "XADD pulse:stream:s * x y");
  fx_redis(fx, "XADD pulse:stream:s * p without-a-name");
  fx_add(stream, "good", "p");
  const ev *e = col_wait(c, PULSE_EVENT_MALFORMED, 0);
  pulse_event_id id;
  assert_ok(pulse_event_id_parse(ts_reply_text(bad), -1, &id));
  assert_id_equal(e->id, id);
  assert_text(message(c, 0), name, "good");
  assert_int_equal(col_count_kind(c, PULSE_EVENT_MALFORMED), 2);
  fx_until(fx, fx_pending(fx, "s", "g") == 1);
  pulse_sink_metrics metrics = {.size = sizeof metrics};
  assert_ok(pulse_sink_get_metrics(sink, &metrics));
  assert_int_equal(metrics.malformed, 2);
}

/* --- streams --------------------------------------------------------------- */

static void streams_are_added_and_removed(void **state) {
  fixture *fx = *state;
  pulse_stream *s1 = fx_stream(fx, "s1", NULL);
  pulse_stream *s2 = fx_stream(fx, "s2", NULL);
  fx_add(s2, "s2-a", "p");
  collector *c = fx_collector(fx), *done = fx_collector(fx);
  pulse_sink *sink = fx_sink(fx, s1, "g", NULL, c);
  assert_ok(pulse_sink_add_stream(sink, s2, PULSE_START_OLDEST, NULL, col_target(done, 0), NULL,
                                  fx_err()));
  assert_int_equal(col_wait(done, PULSE_EVENT_STREAM_ADDED, 0)->status, PULSE_OK);
  const ev *e = message(c, 0);
  assert_text(e, stream, "s2");
  assert_text(e, name, "s2-a");
  fx_ack(sink, e);
  assert_int_equal(fx_pending(fx, "s2", "g"), 0);
  assert_int_equal(fx_redis_int(fx, "HEXISTS map:stream:s2:sinks:content g"), 1);
  /* No effect when it is read already. */
  assert_ok(
      pulse_sink_add_stream_wait(sink, s2, PULSE_START_OLDEST, NULL, TS_DEADLINE_MS, fx_err()));
  assert_ok(pulse_sink_remove_stream(sink, s2, col_target(done, 0), NULL, fx_err()));
  assert_int_equal(col_wait(done, PULSE_EVENT_STREAM_REMOVED, 0)->status, PULSE_OK);
  /* No other consumer is left: the group is gone, and so is the map's entry. */
  assert_int_equal(fx_pending(fx, "s2", "g"), -1);
  assert_int_equal(fx_redis_int(fx, "HEXISTS map:stream:s2:sinks:content g"), 0);
  fx_add(s2, "s2-b", "p");
  fx_add(s1, "s1-a", "p");
  assert_text(message(c, 1), name, "s1-a");
  assert_status(PULSE_ERR_NOT_FOUND,
                pulse_sink_remove_stream_wait(sink, s2, TS_DEADLINE_MS, fx_err()));
}

/* With another consumer the group stays, and gets back what was pending. */
static void a_removed_stream_gives_its_pending_events_back(void **state) {
  fixture *fx = *state;
  pulse_stream *s1 = fx_stream_on(fx, fx_ready(fx, NULL), "s", NULL);
  pulse_stream *s2 = fx_stream_on(fx, fx_ready(fx, NULL), "s", NULL);
  collector *c1 = fx_collector(fx), *c2 = fx_collector(fx);
  pulse_sink_options options = PULSE_SINK_OPTIONS_INIT;
  options.ack_grace_ms = 3600000; /* nothing is taken over because it is old */
  pulse_sink *first = fx_sink(fx, s1, "g", &options, c1);
  for (int i = 0; i < 5; ++i) fx_add(s1, "n", "p");
  message(c1, 4);
  fx_sink(fx, s2, "g", &options, c2);
  assert_ok(pulse_sink_remove_stream_wait(first, s1, TS_DEADLINE_MS, fx_err()));
  assert_int_equal(fx_pending(fx, "s", "g"), 5);
  assert_int_equal(message(c2, 4)->deliveries, 2);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      ALL_WAYS(a_message_is_delivered_and_acked),
      ALL_WAYS(many_are_acked_with_one_call),
      BOTH_DRIVERS(events_fit_arrays_of_any_version),
      BOTH_DRIVERS(bad_acks_are_refused),
      BOTH_DRIVERS(a_handle_is_good_on_any_thread_after_the_event),
      BOTH_DRIVERS(acks_coalesce_unless_told_otherwise),
      BOTH_DRIVERS(no_ack_leaves_nothing_pending),
      BOTH_DRIVERS(sinks_of_other_names_get_everything),
      ALL_WAYS(sinks_of_one_name_share),
      BOTH_DRIVERS(the_start_counts_only_for_a_new_group),
      BOTH_DRIVERS(start_positions),
      BOTH_DRIVERS(the_consumer_is_a_ulid),
      BOTH_DRIVERS(sink_names_follow_the_rule),
      ALL_WAYS(max_pending_pauses_reading),
      BOTH_DRIVERS(a_full_buffer_stops_reading),
      BOTH_DRIVERS(pause_stops_and_resume_goes_on),
      BOTH_DRIVERS(what_the_filter_turns_down_is_acked),
      BOTH_DRIVERS(what_the_filter_leaves_goes_to_others),
      ALL_WAYS(malformed_entries_are_reported_and_acked),
      ALL_WAYS(streams_are_added_and_removed),
      BOTH_DRIVERS(a_removed_stream_gives_its_pending_events_back),
  };
  return cmocka_run_group_tests_name("sinks", tests, fx_group_setup, fx_group_teardown);
}
