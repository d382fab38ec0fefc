/* reader.h: positions, filters, streams, credit, pause. */
#include "fixture.h"

static pulse_event_id raw_add(fixture *fx, const char *stream, const char *fields) {
  const ts_reply *reply = fx_redis(fx, "XADD pulse:stream:%s * %s", stream, fields);
  pulse_event_id id = {0, 0};
  assert_ok(pulse_event_id_parse(ts_reply_text(reply), -1, &id));
  return id;
}

static void add_numbers(pulse_stream *stream, int from, int to) {
  for (int i = from; i < to; ++i) {
    char text[16];
    snprintf(text, sizeof text, "%d", i);
    fx_add(stream, text, "p");
  }
}

/* The messages are `first`, `first` + 1, ... `count` of them, in order. */
static void assert_numbers(collector *c, int first, size_t count) {
  col_wait(c, PULSE_EVENT_MESSAGE, count - 1);
  assert_int_equal(col_count_kind(c, PULSE_EVENT_MESSAGE), count);
  for (size_t i = 0; i < count; ++i) {
    assert_int_equal(atoi(col_find(c, PULSE_EVENT_MESSAGE, i)->name), first + (int)i);
  }
}

/* --- deliveries ------------------------------------------------------------ */

static void ready_comes_first_and_closed_last(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  collector *c = fx_collector(fx);
  pulse_reader *reader = NULL;
  assert_ok(pulse_reader_open(stream, NULL, col_target(c, 31), &reader, fx_err()));
  assert_ok(pulse_reader_ready_wait(reader, TS_DEADLINE_MS, fx_err()));
  assert_ok(pulse_reader_ready_wait(reader, 0, fx_err()));
  fx_add(stream, "n", "p");
  col_wait(c, PULSE_EVENT_MESSAGE, 0);
  assert_ok(pulse_reader_close(reader));
  assert_ok(pulse_reader_close(reader));
  col_wait(c, PULSE_EVENT_CLOSED, 0);
  assert_ok(pulse_reader_close_wait(reader, TS_DEADLINE_MS, fx_err()));
  fx_until(fx, col_destroyed(c) == 1);
  fx_add(stream, "n", "p");
  assert_int_equal(col_count(c), 3);
  const pulse_event_kind kinds[] = {PULSE_EVENT_READY, PULSE_EVENT_MESSAGE, PULSE_EVENT_CLOSED};
  for (size_t i = 0; i < 3; ++i) {
    assert_int_equal(col_at(c, i)->kind, kinds[i]);
    assert_int_equal(col_at(c, i)->status, PULSE_OK);
    if (c->delivery == BY_POLL) assert_int_equal(col_at(c, i)->token, 31);
  }
  pulse_reader_unref(reader);
}

static void a_message_has_all_parts(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "the-stream", NULL);
  collector *c = fx_collector(fx);
  fx_reader(fx, stream, NULL, c);
  const pulse_header headers[] = {{"k1", 2, "v1", 2}, {"k2", 2, "", 0}};
  pulse_add_options options = PULSE_ADD_OPTIONS_INIT;
  options.topic = "topic";
  options.topic_len = 5;
  options.headers = headers;
  options.header_count = 2;
  pulse_event_id id;
  assert_ok(pulse_stream_add_wait(stream, "name", 4, "payload", 7, &options, &id, TS_DEADLINE_MS,
                                  fx_err()));
  const ev *e = col_wait(c, PULSE_EVENT_MESSAGE, 0);
  assert_id_equal(e->id, id);
  assert_text(e, stream, "the-stream");
  assert_text(e, name, "name");
  assert_text(e, payload, "payload");
  assert_text(e, topic, "topic");
  assert_int_equal(e->header_count, 2);
  assert_text(&e->headers[0], name, "k1");
  assert_text(&e->headers[0], value, "v1");
  assert_text(&e->headers[1], name, "k2");
  assert_int_equal(e->headers[1].value_len, 0);
  assert_int_equal(e->deliveries, 0); /* sinks only */
  assert_int_equal(e->operation, 0);
  fx_add(stream, "bare", "");
  e = col_wait(c, PULSE_EVENT_MESSAGE, 1);
  assert_null(e->topic);
  assert_int_equal(e->payload_len, 0);
  assert_int_equal(e->header_count, 0);
  fx_add_topic(stream, "with an empty topic", "", "");
  e = col_wait(c, PULSE_EVENT_MESSAGE, 2);
  assert_non_null(e->topic);
  assert_int_equal(e->topic_len, 0);
}

static void two_readers_see_everything_each(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  collector *one = fx_collector(fx), *two = fx_collector(fx);
  fx_reader(fx, stream, NULL, one);
  add_numbers(stream, 0, 10);
  pulse_reader_options oldest = PULSE_READER_OPTIONS_INIT;
  oldest.start = PULSE_START_OLDEST;
  fx_reader(fx, stream, &oldest, two);
  add_numbers(stream, 10, 20);
  assert_numbers(one, 0, 20);
  assert_numbers(two, 0, 20);
}

/* An entry without name or payload, by strangers; fields in another order. */
static void malformed_entries_are_reported_and_skipped(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  collector *c = fx_collector(fx);
  pulse_reader *reader = fx_reader(fx, stream, NULL, c);
  pulse_event_id bad[3] = {raw_add(fx, "s", "x y"), raw_add(fx, "s", "n only-a-name"),
                           raw_add(fx, "s", "p only-a-payload")};
  pulse_event_id good = raw_add(fx, "s", "z unknown t topic p payload n name");
  const ev *e = col_wait(c, PULSE_EVENT_MESSAGE, 0);
  assert_id_equal(e->id, good);
  assert_text(e, name, "name");
  assert_text(e, payload, "payload");
  assert_text(e, topic, "topic");
  assert_int_equal(col_count_kind(c, PULSE_EVENT_MALFORMED), 3);
  for (size_t i = 0; i < 3; ++i) {
    e = col_find(c, PULSE_EVENT_MALFORMED, i);
    assert_id_equal(e->id, bad[i]);
    assert_text(e, stream, "s");
  }
  pulse_reader_metrics metrics = {.size = sizeof metrics};
  assert_ok(pulse_reader_get_metrics(reader, &metrics));
  assert_int_equal(metrics.malformed, 3);
  assert_int_equal(metrics.delivered, 1);
}

/* --- start positions ------------------------------------------------------- */

static void start_positions(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  for (int i = 1; i <= 3; ++i) {
    fx_redis(fx, "XADD pulse:stream:s %d-0 n %d p x", i * 1000, i);
    fx_redis(fx, "XADD pulse:stream:s %d-5 n %d5 p x", i * 1000, i);
  }
  const struct {
    pulse_start start;
    pulse_event_id id;
    const char *first; /* name of the first event that is seen */
  } cases[] = {
      {PULSE_START_OLDEST, {0, 0}, "1"},      {PULSE_START_AFTER, {0, 0}, "1"},
      {PULSE_START_AFTER, {1000, 0}, "15"},   {PULSE_START_AFTER, {2000, 5}, "3"},
      {PULSE_START_AFTER, {1500, 7}, "2"},    {PULSE_START_TIME, {2000, 0}, "2"},
      {PULSE_START_TIME, {0, 0}, "1"},        {PULSE_START_TIME, {2001, 0}, "3"},
      {PULSE_START_NEWEST, {0, 0}, "later"},  {PULSE_START_AFTER, {3000, 5}, "later"},
      {PULSE_START_TIME, {3001, 0}, "later"},
  };
  enum { kCases = sizeof cases / sizeof cases[0] };
  collector *c[kCases];
  for (size_t i = 0; i < kCases; ++i) {
    pulse_reader_options options = PULSE_READER_OPTIONS_INIT;
    options.start = cases[i].start;
    options.start_id = cases[i].id;
    c[i] = fx_collector(fx);
    fx_reader(fx, stream, &options, c[i]);
  }
  fx_add(stream, "later", "p");
  for (size_t i = 0; i < kCases; ++i) {
    if (strcmp(col_wait(c[i], PULSE_EVENT_MESSAGE, 0)->name, cases[i].first) != 0) {
      fail_msg("case %zu began with %s", i, col_find(c[i], PULSE_EVENT_MESSAGE, 0)->name);
    }
  }
}

/* Whatever comes right before the position, and however little is read at once. */
static void a_start_behind_many_events_of_a_millisecond(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  for (int i = 0; i < 20; ++i) fx_redis(fx, "XADD pulse:stream:s 1999-%d n before p x", i);
  fx_redis(fx, "XADD pulse:stream:s 2000-0 n first p x");
  static const pulse_event_id ids[2] = {{1999, UINT64_MAX}, {2000, 0}};
  for (size_t i = 0; i < 2; ++i) {
    pulse_reader_options options = PULSE_READER_OPTIONS_INIT;
    options.start = i == 0 ? PULSE_START_AFTER : PULSE_START_TIME;
    options.start_id = ids[i];
    options.max_polled = 3;
    collector *c = fx_collector(fx);
    fx_reader(fx, stream, &options, c);
    assert_string_equal(col_wait(c, PULSE_EVENT_MESSAGE, 0)->name, "first");
  }
}

/* --- filters --------------------------------------------------------------- */

static pulse_reader *open_filtered(fixture *fx, pulse_stream *stream, const char *topic,
                                   const char *pattern, collector *c) {
  pulse_reader_options options = PULSE_READER_OPTIONS_INIT;
  options.topic = topic;
  options.topic_len = topic == NULL ? 0 : strlen(topic);
  options.topic_pattern = pattern;
  options.topic_pattern_len = pattern == NULL ? 0 : strlen(pattern);
  return fx_reader(fx, stream, &options, c);
}

static void topics_and_patterns_choose(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  /* names: the topics; the last event is for all */
  static const char *const topics[] = {"order",
                                       "order.new",
                                       "preorder",
                                       "Order",
                                       "a\xff"
                                       "b",
                                       "end"};
  const struct {
    const char *topic;
    const char *pattern;
    const char *seen; /* indexes into topics */
  } cases[] = {
      {"order", NULL, "0"},     {"nothing", NULL, ""},
      {NULL, "order", "012"}, /* not anchored */
      {NULL, "^order$", "0"},   {NULL, "(?i)^order", "013"},
      {NULL, "^order\\.", "1"}, {NULL, "^a.b$", "4"}, /* bytes that are no UTF-8 count as U+FFFD */
      {NULL, "\\x{FFFD}", "4"}, {NULL, "[^a-z.O]", "4"},
  };
  enum { kCases = sizeof cases / sizeof cases[0] };
  collector *c[kCases];
  collector *all = fx_collector(fx);
  pulse_reader *readers[kCases];
  for (size_t i = 0; i < kCases; ++i) {
    c[i] = fx_collector(fx);
    readers[i] = open_filtered(fx, stream, cases[i].topic, cases[i].pattern, c[i]);
  }
  fx_reader(fx, stream, NULL, all);
  for (int i = 0; i < 6; ++i) {
    char name[2] = {(char)('0' + i), '\0'};
    fx_add_topic(stream, name, "p", topics[i]);
  }
  fx_add(stream, "without", "p");
  col_wait(all, PULSE_EVENT_MESSAGE, 6);
  for (size_t i = 0; i < kCases; ++i) {
    pulse_reader_metrics metrics = {.size = sizeof metrics};
    size_t expected = strlen(cases[i].seen);
    /* Each has seen all seven, and handed on or turned down. */
    fx_until(fx, pulse_reader_get_metrics(readers[i], &metrics) == PULSE_OK &&
                     metrics.delivered + metrics.filtered == 7);
    fx_until(fx, col_count_kind(c[i], PULSE_EVENT_MESSAGE) >= metrics.delivered);
    if (metrics.delivered != expected) {
      fail_msg("case %zu: %d events", i, (int)metrics.delivered);
    }
    for (size_t k = 0; k < expected; ++k) {
      assert_int_equal(col_find(c[i], PULSE_EVENT_MESSAGE, k)->name[0], cases[i].seen[k]);
    }
  }
}

/* --- streams --------------------------------------------------------------- */

static void one_reader_reads_many_streams(void **state) {
  fixture *fx = *state;
  enum { kStreams = 100, kEach = 20 };
  pulse_stream *streams[kStreams];
  collector *c = fx_collector(fx);
  pulse_reader *reader = NULL;
  for (int i = 0; i < kStreams; ++i) {
    char name[16];
    snprintf(name, sizeof name, "s%d", i);
    streams[i] = fx_stream(fx, name, NULL);
    if (i == 0) reader = fx_reader(fx, streams[0], NULL, c);
    if (i > 0) {
      assert_ok(pulse_reader_add_stream_wait(reader, streams[i], PULSE_START_NEWEST, NULL,
                                             TS_DEADLINE_MS, fx_err()));
    }
  }
  for (int k = 0; k < kEach; ++k) {
    for (int i = 0; i < kStreams; ++i) add_numbers(streams[i], k, k + 1);
  }
  col_wait(c, PULSE_EVENT_MESSAGE, kStreams * kEach - 1);
  int next[kStreams] = {0};
  for (size_t i = 0; i < kStreams * kEach; ++i) {
    const ev *e = col_find(c, PULSE_EVENT_MESSAGE, i);
    int which = atoi(e->stream + 1);
    assert_int_equal(atoi(e->name), next[which]++);
  }
  pulse_reader_metrics metrics = {.size = sizeof metrics};
  assert_ok(pulse_reader_get_metrics(reader, &metrics));
  assert_int_equal(metrics.streams, kStreams);
}

/* Connections do not grow with readers. */
static void many_readers_share_few_connections(void **state) {
  fixture *fx = *state;
  enum { kReaders = 40, kConnections = 3 };
  pulse_engine_options options = fx_options(fx);
  options.max_read_connections = kConnections;
  options.client_name = "shared";
  pulse_engine *engine = fx_ready(fx, &options);
  collector *c = fx_collector(fx);
  for (int i = 0; i < kReaders; ++i) {
    char name[16];
    snprintf(name, sizeof name, "s%d", i);
    pulse_stream *stream = fx_stream_on(fx, engine, name, NULL);
    fx_reader(fx, stream, NULL, c);
    fx_add(stream, name, "p");
  }
  fx_until(fx, col_count_kind(c, PULSE_EVENT_MESSAGE) == kReaders);
  pulse_engine_metrics metrics = {.size = sizeof metrics};
  assert_ok(pulse_engine_get_metrics(engine, &metrics));
  /* Commands, control and pub/sub have connections of their own. */
  assert_in_range(metrics.connections, 2, kConnections + 3);
}

static void added_streams_start_where_told(void **state) {
  fixture *fx = *state;
  pulse_stream *s1 = fx_stream(fx, "s1", NULL);
  pulse_stream *s2 = fx_stream(fx, "s2", NULL);
  pulse_stream *s3 = fx_stream(fx, "s3", NULL);
  pulse_stream *s4 = fx_stream(fx, "s4", NULL);
  fx_add(s2, "s2-a", "p");
  fx_add(s2, "s2-b", "p");
  pulse_event_id first = fx_add(s3, "s3-a", "p");
  fx_add(s3, "s3-b", "p");
  fx_add(s4, "s4-a", "p");
  collector *c = fx_collector(fx), *done = fx_collector(fx);
  pulse_reader *reader = fx_reader(fx, s1, NULL, c);
  uint64_t operation = 0;
  assert_ok(pulse_reader_add_stream(reader, s2, PULSE_START_OLDEST, NULL, col_target(done, 1),
                                    &operation, fx_err()));
  const ev *e = col_wait(done, PULSE_EVENT_STREAM_ADDED, 0);
  assert_int_equal(e->status, PULSE_OK);
  assert_int_equal(e->operation, operation);
  assert_ok(pulse_reader_add_stream_wait(reader, s3, PULSE_START_AFTER, &first, TS_DEADLINE_MS,
                                         fx_err()));
  assert_ok(
      pulse_reader_add_stream_wait(reader, s4, PULSE_START_NEWEST, NULL, TS_DEADLINE_MS, fx_err()));
  fx_add(s4, "s4-b", "p");
  fx_add(s1, "s1-a", "p");
  fx_until(fx, col_count_kind(c, PULSE_EVENT_MESSAGE) == 5);
  bool seen[5] = {false};
  static const char *const expected[] = {"s2-a", "s2-b", "s3-b", "s4-b", "s1-a"};
  for (size_t i = 0; i < 5; ++i) {
    for (size_t k = 0; k < 5; ++k) {
      if (strcmp(col_find(c, PULSE_EVENT_MESSAGE, i)->name, expected[k]) == 0) seen[k] = true;
    }
  }
  for (size_t k = 0; k < 5; ++k) assert_true(seen[k]);
  /* What is read already is not read again. */
  assert_ok(
      pulse_reader_add_stream_wait(reader, s2, PULSE_START_OLDEST, NULL, TS_DEADLINE_MS, fx_err()));
  fx_add(s2, "s2-c", "p");
  assert_text(col_wait(c, PULSE_EVENT_MESSAGE, 5), name, "s2-c");
}

static void a_removed_stream_is_silent(void **state) {
  fixture *fx = *state;
  pulse_stream *s1 = fx_stream(fx, "s1", NULL);
  pulse_stream *s2 = fx_stream(fx, "s2", NULL);
  collector *c = fx_collector(fx), *done = fx_collector(fx);
  pulse_reader *reader = fx_reader(fx, s1, NULL, c);
  assert_ok(
      pulse_reader_add_stream_wait(reader, s2, PULSE_START_NEWEST, NULL, TS_DEADLINE_MS, fx_err()));
  fx_add(s2, "seen", "p");
  col_wait(c, PULSE_EVENT_MESSAGE, 0);
  assert_ok(pulse_reader_remove_stream(reader, s2, col_target(done, 0), NULL, fx_err()));
  assert_int_equal(col_wait(done, PULSE_EVENT_STREAM_REMOVED, 0)->status, PULSE_OK);
  fx_add(s2, "unseen", "p");
  fx_add(s1, "other", "p");
  assert_text(col_wait(c, PULSE_EVENT_MESSAGE, 1), name, "other");
  assert_status(PULSE_ERR_NOT_FOUND,
                pulse_reader_remove_stream_wait(reader, s2, TS_DEADLINE_MS, fx_err()));
  assert_ok(
      pulse_reader_add_stream_wait(reader, s2, PULSE_START_OLDEST, NULL, TS_DEADLINE_MS, fx_err()));
  col_wait(c, PULSE_EVENT_MESSAGE, 3);
  assert_text(col_find(c, PULSE_EVENT_MESSAGE, 3), name, "unseen");
}

/* --- credit and pause ------------------------------------------------------ */

static void take_all_within(fixture *fx, pulse_reader *reader, collector *c, uint64_t total,
                            uint64_t max_events, uint64_t max_bytes) {
  int next = 0;
  while ((uint64_t)next < total) {
    pulse_reader_metrics metrics = {.size = sizeof metrics};
    fx_until(fx, pulse_queue_size(c->queue) > 0);
    /* Give it all chances to read too much. */
    for (int i = 0; i < 3; ++i) {
      assert_ok(pulse_engine_ping_wait(fx->engine, NULL, TS_DEADLINE_MS, fx_err()));
    }
    assert_ok(pulse_reader_get_metrics(reader, &metrics));
    assert_true(metrics.buffered <= max_events);
    assert_true(metrics.buffered_bytes <= max_bytes);
    assert_true(metrics.delivered <= (uint64_t)next + max_events);
    pulse_event events[3];
    int64_t got = pulse_queue_poll(c->queue, events, sizeof events[0], 3, 0);
    assert_true(got >= 1);
    for (int64_t i = 0; i < got; ++i) {
      if (events[i].kind == PULSE_EVENT_READY) continue;
      assert_int_equal(events[i].kind, PULSE_EVENT_MESSAGE);
      char name[16];
      snprintf(name, sizeof name, "%d", next++);
      assert_text(&events[i], name, name);
    }
  }
}

static void a_full_buffer_stops_reading_and_nothing_is_dropped(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  collector *c = fx_collector_by(fx, BY_POLL);
  c->hold = true;
  pulse_reader_options options = PULSE_READER_OPTIONS_INIT;
  options.buffer = 10;
  pulse_reader *reader = fx_reader(fx, stream, &options, c);
  add_numbers(stream, 0, 200);
  take_all_within(fx, reader, c, 200, 10, UINT64_MAX);
}

static void a_buffer_full_of_bytes_stops_reading_too(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  collector *c = fx_collector_by(fx, BY_POLL);
  c->hold = true;
  pulse_reader_options options = PULSE_READER_OPTIONS_INIT;
  options.buffer_bytes = 1000000;
  static char payload[100000];
  for (int i = 0; i < 60; ++i) {
    char name[16];
    int length = snprintf(name, sizeof name, "%d", i);
    assert_ok(pulse_stream_add_wait(stream, name, (size_t)length, payload, sizeof payload, NULL,
                                    NULL, TS_DEADLINE_MS, fx_err()));
  }
  options.start = PULSE_START_OLDEST;
  pulse_reader *reader = fx_reader(fx, stream, &options, c);
  /* The first read does not know yet how large events are; one read more may be under way. */
  take_all_within(fx, reader, c, 60, 60, 4000000);
}

/* An event larger than the whole buffer still passes. */
static void an_event_larger_than_the_buffer_passes(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  collector *c = fx_collector(fx);
  pulse_reader_options options = PULSE_READER_OPTIONS_INIT;
  options.buffer_bytes = 1000;
  fx_reader(fx, stream, &options, c);
  static char payload[100000];
  for (size_t i = 0; i < 5; ++i) {
    assert_ok(pulse_stream_add_wait(stream, "n", 1, payload, sizeof payload, NULL, NULL,
                                    TS_DEADLINE_MS, fx_err()));
    assert_int_equal(col_wait(c, PULSE_EVENT_MESSAGE, i)->payload_len, sizeof payload);
  }
}

static void pause_stops_and_resume_goes_on(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  collector *c = fx_collector(fx), *other = fx_collector(fx);
  pulse_reader *reader = fx_reader(fx, stream, NULL, c);
  fx_reader(fx, stream, NULL, other);
  add_numbers(stream, 0, 5);
  assert_numbers(c, 0, 5);
  assert_ok(pulse_reader_pause(reader));
  assert_ok(pulse_reader_pause(reader));
  /* A read that is under way may still bring what was there; then silence. */
  fx_until(fx, pulse_engine_ping_wait(fx->engine, NULL, TS_DEADLINE_MS, NULL) == PULSE_OK);
  add_numbers(stream, 5, 50);
  assert_numbers(other, 0, 50);
  assert_true(col_count_kind(c, PULSE_EVENT_MESSAGE) < 50);
  assert_ok(pulse_reader_resume(reader));
  assert_ok(pulse_reader_resume(reader));
  assert_numbers(c, 0, 50);
}

static void metrics_count(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  collector *c = fx_collector_by(fx, BY_POLL);
  pulse_reader *reader = fx_reader(fx, stream, NULL, c);
  add_numbers(stream, 0, 7);
  assert_numbers(c, 0, 7);
  pulse_event none;
  assert_int_equal(pulse_queue_poll(c->queue, &none, sizeof none, 1, 0), 0); /* ends the batch */
  pulse_reader_metrics metrics = {.size = sizeof metrics};
  assert_ok(pulse_reader_get_metrics(reader, &metrics));
  assert_int_equal(metrics.delivered, 7);
  assert_int_equal(metrics.streams, 1);
  assert_int_equal(metrics.buffered, 0);
  assert_int_equal(metrics.buffered_bytes, 0);
  assert_in_range(metrics.reads, 1, 7);
  assert_int_equal(metrics.filtered + metrics.malformed + metrics.gaps + metrics.reconnects, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      ALL_WAYS(ready_comes_first_and_closed_last),
      ALL_WAYS(a_message_has_all_parts),
      ALL_WAYS(two_readers_see_everything_each),
      ALL_WAYS(malformed_entries_are_reported_and_skipped),
      BOTH_DRIVERS(start_positions),
      BOTH_DRIVERS(a_start_behind_many_events_of_a_millisecond),
      BOTH_DRIVERS(topics_and_patterns_choose),
      BOTH_DRIVERS(one_reader_reads_many_streams),
      BOTH_DRIVERS(many_readers_share_few_connections),
      ALL_WAYS(added_streams_start_where_told),
      ALL_WAYS(a_removed_stream_is_silent),
      BOTH_DRIVERS(a_full_buffer_stops_reading_and_nothing_is_dropped),
      BOTH_DRIVERS(a_buffer_full_of_bytes_stops_reading_too),
      ALL_WAYS(an_event_larger_than_the_buffer_passes),
      BOTH_DRIVERS(pause_stops_and_resume_goes_on),
      BOTH_DRIVERS(metrics_count),
  };
  return cmocka_run_group_tests_name("readers", tests, fx_group_setup, fx_group_teardown);
}
