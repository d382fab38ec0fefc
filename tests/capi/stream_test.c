/* stream.h: publishing and administration, against what is in Redis. */
#include "fixture.h"

/* The fields of the index-th entry of pulse:stream:<name>. */
static const ts_reply *entry_fields(fixture *fx, const char *name, size_t index) {
  const ts_reply *entries = fx_redis(fx, "XRANGE pulse:stream:%s - +", name);
  return ts_reply_at(ts_reply_at(entries, index), 1);
}

static void assert_fields(const ts_reply *fields, size_t count, const char *const *expected) {
  assert_int_equal(ts_reply_size(fields), count);
  for (size_t i = 0; i < count; ++i) {
    assert_string_equal(ts_reply_text(ts_reply_at(fields, i)), expected[i]);
  }
}

#define ASSERT_FIELDS(fields, ...)                                            \
  do {                                                                        \
    const char *const expected_[] = {__VA_ARGS__};                            \
    assert_fields(fields, sizeof expected_ / sizeof expected_[0], expected_); \
  } while (0)

static char *id_text(pulse_event_id id) {
  static char texts[4][PULSE_EVENT_ID_TEXT_BYTES];
  static unsigned next;
  char *text = texts[next++ % 4];
  pulse_event_id_format(&id, text, PULSE_EVENT_ID_TEXT_BYTES);
  return text;
}

/* --- names ----------------------------------------------------------------- */

static void stream_names_follow_the_rule(void **state) {
  fixture *fx = *state;
  pulse_engine *engine = fx_open(fx, NULL);
  char longest[513];
  memset(longest, 'n', sizeof longest);
  pulse_stream *stream = NULL;
  assert_ok(pulse_stream_open(engine, longest, 512, NULL, &stream, fx_err()));
  pulse_stream_unref(stream);
  const char *const good[] = {"a", ":", "a:b{c}", "\xff\x01", "caf\xc3\xa9", "-"};
  for (size_t i = 0; i < sizeof good / sizeof good[0]; ++i) {
    assert_ok(pulse_stream_open(engine, good[i], strlen(good[i]), NULL, &stream, fx_err()));
    pulse_stream_unref(stream);
  }
  const char *const bad[] = {"a b", "a*", "a?", "[a", "a]", " "};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; ++i) {
    stream = NULL;
    assert_status(PULSE_ERR_INVALID,
                  pulse_stream_open(engine, bad[i], strlen(bad[i]), NULL, &stream, fx_err()));
    assert_null(stream);
  }
  assert_status(PULSE_ERR_INVALID, pulse_stream_open(engine, "", 0, NULL, &stream, fx_err()));
  assert_status(PULSE_ERR_INVALID, pulse_stream_open(engine, "a\0b", 3, NULL, &stream, fx_err()));
  assert_status(PULSE_ERR_INVALID,
                pulse_stream_open(engine, longest, 513, NULL, &stream, fx_err()));
}

static void open_sends_nothing(void **state) {
  fixture *fx = *state;
  fx_stream(fx, "s", NULL);
  assert_ok(pulse_engine_ping_wait(fx->engine, NULL, TS_DEADLINE_MS, fx_err()));
  assert_int_equal(fx_redis_int(fx, "EXISTS pulse:stream:s"), 0);
}

/* --- add ------------------------------------------------------------------- */

static void add_completes_with_the_id(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  collector *c = fx_collector(fx);
  uint64_t operation = 0;
  assert_ok(pulse_stream_add(stream, "name", 4, "payload", 7, NULL, col_target(c, 21), &operation,
                             fx_err()));
  const ev *e = col_wait(c, PULSE_EVENT_ADDED, 0);
  assert_int_equal(e->status, PULSE_OK);
  assert_int_equal(e->flags, 0);
  assert_true(operation != 0);
  assert_int_equal(e->operation, operation);
  if (c->delivery == BY_POLL) assert_int_equal(e->token, 21);
  const ts_reply *entries = fx_redis(fx, "XRANGE pulse:stream:s - +");
  assert_int_equal(ts_reply_size(entries), 1);
  assert_string_equal(ts_reply_text(ts_reply_at(ts_reply_at(entries, 0), 0)), id_text(e->id));
  ASSERT_FIELDS(entry_fields(fx, "s", 0), "n", "name", "p", "payload");
}

static void add_wait_gives_the_id(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  pulse_event_id first = fx_add(stream, "a", "1");
  pulse_event_id second = fx_add(stream, "b", "2");
  assert_true(first.ms > 0);
  assert_int_equal(pulse_event_id_compare(&first, &second), -1);
  assert_ok(pulse_stream_add_wait(stream, "c", 1, "3", 1, NULL, NULL, TS_DEADLINE_MS, fx_err()));
  assert_int_equal(fx_redis_int(fx, "XLEN pulse:stream:s"), 3);
}

static void topics_and_headers_follow_the_payload(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  pulse_add_options options = PULSE_ADD_OPTIONS_INIT;
  const pulse_header headers[] = {{"traceparent", 11, "00-ab-cd-01", 11}, {"empty", 5, "", 0}};
  options.topic = "t1";
  options.topic_len = 2;
  options.headers = headers;
  options.header_count = 2;
  assert_ok(
      pulse_stream_add_wait(stream, "n", 1, "p", 1, &options, NULL, TS_DEADLINE_MS, fx_err()));
  ASSERT_FIELDS(entry_fields(fx, "s", 0), "n", "n", "p", "p", "t", "t1", "h:traceparent",
                "00-ab-cd-01", "h:empty", "");
  options.topic = NULL;
  options.topic_len = 0;
  assert_ok(
      pulse_stream_add_wait(stream, "n", 1, "p", 1, &options, NULL, TS_DEADLINE_MS, fx_err()));
  ASSERT_FIELDS(entry_fields(fx, "s", 1), "n", "n", "p", "p", "h:traceparent", "00-ab-cd-01",
                "h:empty", "");
}

static void an_empty_topic_and_payload_are_kept(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  fx_add_topic(stream, "n", "", "");
  ASSERT_FIELDS(entry_fields(fx, "s", 0), "n", "n", "p", "", "t", "");
  assert_ok(pulse_stream_add_wait(stream, "n", 1, NULL, 0, NULL, NULL, TS_DEADLINE_MS, fx_err()));
  ASSERT_FIELDS(entry_fields(fx, "s", 1), "n", "n", "p", "");
}

static void any_byte_passes(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  collector *c = fx_collector(fx);
  fx_reader(fx, stream, NULL, c);
  char all[256];
  for (int i = 0; i < 256; ++i) all[i] = (char)i;
  const pulse_header header = {all, 256, all, 256};
  pulse_add_options options = PULSE_ADD_OPTIONS_INIT;
  options.topic = all;
  options.topic_len = 256;
  options.headers = &header;
  options.header_count = 1;
  assert_ok(
      pulse_stream_add_wait(stream, all, 256, all, 256, &options, NULL, TS_DEADLINE_MS, fx_err()));
  const ev *e = col_wait(c, PULSE_EVENT_MESSAGE, 0);
  assert_int_equal(e->name_len, 256);
  assert_memory_equal(e->name, all, 256);
  assert_int_equal(e->payload_len, 256);
  assert_memory_equal(e->payload, all, 256);
  assert_int_equal(e->topic_len, 256);
  assert_memory_equal(e->topic, all, 256);
  assert_int_equal(e->header_count, 1);
  assert_int_equal(e->headers[0].name_len, 256);
  assert_memory_equal(e->headers[0].name, all, 256);
  assert_int_equal(e->headers[0].value_len, 256);
  assert_memory_equal(e->headers[0].value, all, 256);
}

static void arguments_are_copied(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  collector *c = fx_collector(fx);
  char name[] = "name", payload[] = "payload", topic[] = "topic", hname[] = "h", hvalue[] = "v";
  pulse_header header = {hname, 1, hvalue, 1};
  pulse_add_options options = PULSE_ADD_OPTIONS_INIT;
  options.topic = topic;
  options.topic_len = 5;
  options.headers = &header;
  options.header_count = 1;
  assert_ok(
      pulse_stream_add(stream, name, 4, payload, 7, &options, col_target(c, 0), NULL, fx_err()));
  memset(name, 'x', 4);
  memset(payload, 'x', 7);
  memset(topic, 'x', 5);
  hname[0] = hvalue[0] = 'x';
  memset(&header, 0, sizeof header);
  memset(&options, 0xff, sizeof options);
  col_wait(c, PULSE_EVENT_ADDED, 0);
  ASSERT_FIELDS(entry_fields(fx, "s", 0), "n", "name", "p", "payload", "t", "topic", "h:h", "v");
}

static void destroyed_flag(void *user_data) {
  __atomic_add_fetch((int *)user_data, 1, __ATOMIC_SEQ_CST);
}

/* Small or large, the byte string is released in the end, and not before its
 * bytes were sent. */
static void add_bytes_sends_and_releases(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  static char data[300000];
  for (size_t i = 0; i < sizeof data; ++i) data[i] = (char)('a' + i % 23);
  const size_t sizes[] = {0, 10, 16 * 1024 - 1, 16 * 1024, sizeof data};
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; ++i) {
    int destroyed = 0;
    pulse_bytes *bytes = pulse_bytes_new_static(data, sizes[i], &destroyed, destroyed_flag);
    collector *c = fx_collector(fx);
    assert_ok(
        pulse_stream_add_bytes(stream, "n", 1, bytes, NULL, col_target(c, 0), NULL, fx_err()));
    assert_int_equal(__atomic_load_n(&destroyed, __ATOMIC_SEQ_CST), 0);
    pulse_bytes_unref(bytes);
    assert_int_equal(col_wait(c, PULSE_EVENT_ADDED, 0)->status, PULSE_OK);
    fx_until(fx, __atomic_load_n(&destroyed, __ATOMIC_SEQ_CST) == 1);
    const ts_reply *payload = ts_reply_at(entry_fields(fx, "s", i), 3);
    assert_int_equal(ts_reply_size(payload), sizes[i]);
    assert_memory_equal(ts_reply_text(payload), data, sizes[i]);
  }
}

static void limits_of_an_add(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  static char big[PULSE_MAX_NAME_BYTES + 1];
  memset(big, 'b', sizeof big);
  static pulse_header headers[PULSE_MAX_HEADERS + 1];
  for (int i = 0; i <= PULSE_MAX_HEADERS; ++i) headers[i] = (pulse_header){big, 1, big, 1};
  pulse_add_options options = PULSE_ADD_OPTIONS_INIT;
#define ADD(name_len) \
  pulse_stream_add_wait(stream, big, name_len, "p", 1, &options, NULL, TS_DEADLINE_MS, fx_err())
  assert_ok(ADD(PULSE_MAX_NAME_BYTES));
  assert_status(PULSE_ERR_TOO_LARGE, ADD(PULSE_MAX_NAME_BYTES + 1));
  assert_status(PULSE_ERR_INVALID, ADD(0));
  options.topic = big;
  options.topic_len = PULSE_MAX_NAME_BYTES;
  assert_ok(ADD(1));
  options.topic_len = PULSE_MAX_NAME_BYTES + 1;
  assert_status(PULSE_ERR_TOO_LARGE, ADD(1));
  options.topic = NULL;
  assert_status(PULSE_ERR_INVALID, ADD(1)); /* a length without a topic */
  options.topic_len = 0;
  options.headers = headers;
  options.header_count = PULSE_MAX_HEADERS;
  assert_ok(ADD(1));
  options.header_count = PULSE_MAX_HEADERS + 1;
  assert_status(PULSE_ERR_INVALID, ADD(1));
  options.header_count = 1;
  headers[0].value_len = PULSE_MAX_NAME_BYTES + 1;
  assert_status(PULSE_ERR_TOO_LARGE, ADD(1));
  headers[0].value_len = 1;
  headers[0].name_len = PULSE_MAX_NAME_BYTES + 1;
  assert_status(PULSE_ERR_TOO_LARGE, ADD(1));
  headers[0] = (pulse_header){NULL, 1, "v", 1};
  assert_status(PULSE_ERR_INVALID, ADD(1));
  options.headers = NULL;
  assert_status(PULSE_ERR_INVALID, ADD(1));
#undef ADD
  assert_int_equal(fx_redis_int(fx, "XLEN pulse:stream:s"), 3);
}

static void only_if_exists_creates_nothing(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  pulse_add_options options = PULSE_ADD_OPTIONS_INIT;
  options.only_if_exists = 1;
  pulse_event_id id = {9, 9};
  assert_ok(pulse_stream_add_wait(stream, "n", 1, "p", 1, &options, &id, TS_DEADLINE_MS, fx_err()));
  assert_int_equal(id.ms, 0);
  assert_int_equal(id.seq, 0);
  collector *c = fx_collector(fx);
  assert_ok(pulse_stream_add(stream, "n", 1, "p", 1, &options, col_target(c, 0), NULL, fx_err()));
  const ev *e = col_wait(c, PULSE_EVENT_ADDED, 0);
  assert_int_equal(e->status, PULSE_OK);
  assert_int_equal(e->id.ms, 0);
  assert_int_equal(fx_redis_int(fx, "EXISTS pulse:stream:s"), 0);
  fx_add(stream, "n", "p");
  assert_ok(pulse_stream_add_wait(stream, "n", 1, "p", 1, &options, &id, TS_DEADLINE_MS, fx_err()));
  assert_true(id.ms > 0);
  assert_int_equal(fx_redis_int(fx, "XLEN pulse:stream:s"), 2);
}

static void a_key_of_another_type_is_reported(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  fx_redis(fx, "SET pulse:stream:s x");
  pulse_error error = PULSE_ERROR_INIT;
  assert_int_equal(
      pulse_stream_add_wait(stream, "n", 1, "p", 1, NULL, NULL, TS_DEADLINE_MS, &error),
      PULSE_ERR_WRONG_TYPE);
  assert_true(error.flags & PULSE_ERROR_SERVER);
  assert_non_null(strstr(error.message, "WRONGTYPE"));
  collector *c = fx_collector(fx);
  assert_ok(pulse_stream_add(stream, "n", 1, "p", 1, NULL, col_target(c, 0), NULL, fx_err()));
  const ev *e = col_wait(c, PULSE_EVENT_ADDED, 0);
  assert_int_equal(e->status, PULSE_ERR_WRONG_TYPE);
  assert_true(e->flags & PULSE_ERROR_SERVER);
  assert_non_null(strstr(e->message, "WRONGTYPE"));
}

/* --- order and volume ------------------------------------------------------ */

static void order_of_one_thread_is_kept(void **state) {
  fixture *fx = *state;
  enum { kCount = 10000 };
  pulse_engine_options engine_options = fx_options(fx);
  engine_options.command_connections = 4;
  pulse_engine *engine = fx_ready(fx, &engine_options);
  pulse_stream_options options = PULSE_STREAM_OPTIONS_INIT;
  options.max_len = PULSE_UNLIMITED;
  pulse_stream *stream = fx_stream_on(fx, engine, "s", &options);
  collector *c = fx_collector(fx);
  for (int i = 0; i < kCount; ++i) {
    char text[16];
    int length = snprintf(text, sizeof text, "%d", i);
    assert_ok(pulse_stream_add(stream, "n", 1, text, (size_t)length, NULL,
                               col_target(c, (uint64_t)i), NULL, fx_err()));
  }
  fx_until(fx, col_count(c) == kCount);
  for (size_t i = 0; i < kCount; ++i) {
    const ev *e = col_at(c, i);
    assert_int_equal(e->status, PULSE_OK);
    if (c->delivery == BY_POLL) assert_int_equal(e->token, i);
    if (i > 0) assert_int_equal(pulse_event_id_compare(&col_at(c, i - 1)->id, &e->id), -1);
  }
  const ts_reply *entries = fx_redis(fx, "XRANGE pulse:stream:s - +");
  assert_int_equal(ts_reply_size(entries), kCount);
  for (size_t i = 0; i < kCount; ++i) {
    const ts_reply *fields = ts_reply_at(ts_reply_at(entries, i), 1);
    assert_int_equal(atoi(ts_reply_text(ts_reply_at(fields, 3))), i);
  }
}

/* --- trimming and expiry --------------------------------------------------- */

static void add_many(fixture *fx, pulse_stream *stream, int count) {
  collector *c = fx_collector(fx);
  for (int i = 0; i < count; ++i) {
    assert_ok(pulse_stream_add(stream, "n", 1, "p", 1, NULL, col_target(c, 0), NULL, fx_err()));
  }
  fx_until(fx, col_count(c) == (size_t)count);
}

static void length_stays_bounded(void **state) {
  fixture *fx = *state;
  const int64_t max_lens[] = {1, 300, 1000};
  const char *const names[] = {"one", "three", "default"};
  for (int i = 0; i < 3; ++i) {
    pulse_stream_options options = PULSE_STREAM_OPTIONS_INIT;
    options.max_len = max_lens[i] == 1000 ? 0 : max_lens[i];
    pulse_stream *stream = fx_stream(fx, names[i], &options);
    int64_t slack = max_lens[i] / 5 > 200 ? max_lens[i] / 5 : 200;
    for (int round = 0; round < 10; ++round) {
      add_many(fx, stream, 397);
      int64_t length = fx_redis_int(fx, "XLEN pulse:stream:%s", names[i]);
      int64_t added = 397 * (round + 1);
      assert_true(length <= max_lens[i] + slack + 100);
      assert_true(length >= (added < max_lens[i] ? added : max_lens[i]));
    }
  }
}

/* Also when each add comes from a handle of its own. */
static void length_stays_bounded_for_short_lived_handles(void **state) {
  fixture *fx = *state;
  fx_ready(fx, NULL);
  pulse_stream_options options = PULSE_STREAM_OPTIONS_INIT;
  options.max_len = 50;
  for (int i = 0; i < 1000; ++i) {
    pulse_stream *stream = NULL;
    assert_ok(pulse_stream_open(fx->engine, "s", 1, &options, &stream, fx_err()));
    fx_add(stream, "n", "p");
    pulse_stream_unref(stream);
  }
  assert_true(fx_redis_int(fx, "XLEN pulse:stream:s") <= 50 + 200 + 100);
}

static void unbounded_is_never_trimmed(void **state) {
  fixture *fx = *state;
  pulse_stream_options options = PULSE_STREAM_OPTIONS_INIT;
  options.max_len = PULSE_UNLIMITED;
  pulse_stream *stream = fx_stream(fx, "s", &options);
  add_many(fx, stream, 3000);
  assert_int_equal(fx_redis_int(fx, "XLEN pulse:stream:s"), 3000);
}

static void no_ttl_unless_asked(void **state) {
  fixture *fx = *state;
  fx_add(fx_stream(fx, "s", NULL), "n", "p");
  assert_int_equal(fx_redis_int(fx, "PTTL pulse:stream:s"), -1);
}

static void an_absolute_ttl_is_set_once(void **state) {
  fixture *fx = *state;
  pulse_stream_options options = PULSE_STREAM_OPTIONS_INIT;
  options.ttl_ms = 3600000;
  pulse_stream *stream = fx_stream(fx, "s", &options);
  fx_add(stream, "n", "p");
  assert_in_range(fx_redis_int(fx, "PTTL pulse:stream:s"), 3500000, 3600000);
  fx_redis(fx, "PEXPIRE pulse:stream:s 100000");
  fx_add(stream, "n", "p");
  assert_in_range(fx_redis_int(fx, "PTTL pulse:stream:s"), 1, 100000);
  /* A stream that was made anew gets a new one. */
  fx_redis(fx, "DEL pulse:stream:s");
  fx_add(stream, "n", "p");
  assert_in_range(fx_redis_int(fx, "PTTL pulse:stream:s"), 3500000, 3600000);
}

static void a_sliding_ttl_is_set_by_each_add(void **state) {
  fixture *fx = *state;
  pulse_stream_options options = PULSE_STREAM_OPTIONS_INIT;
  options.sliding_ttl_ms = 3600000;
  pulse_stream *stream = fx_stream(fx, "s", &options);
  for (int i = 0; i < 3; ++i) {
    fx_add(stream, "n", "p");
    assert_in_range(fx_redis_int(fx, "PTTL pulse:stream:s"), 3500000, 3600000);
    fx_redis(fx, "PEXPIRE pulse:stream:s 100000");
  }
}

/* --- tenants --------------------------------------------------------------- */

static void key_prefix_goes_before_every_key(void **state) {
  fixture *fx = *state;
  pulse_engine_options options = fx_options(fx);
  options.key_prefix = "tenant:";
  pulse_engine *engine = fx_ready(fx, &options);
  pulse_stream *stream = fx_stream_on(fx, engine, "s", NULL);
  collector *c = fx_collector(fx);
  fx_sink(fx, stream, "g", NULL, c);
  fx_add(stream, "n", "p");
  const ev *e = col_wait(c, PULSE_EVENT_MESSAGE, 0);
  assert_text(e, stream, "s"); /* names are without it */
  const ts_reply *keys = fx_redis(fx, "KEYS *");
  assert_true(ts_reply_size(keys) >= 3);
  for (size_t i = 0; i < ts_reply_size(keys); ++i) {
    const char *key = ts_reply_text(ts_reply_at(keys, i));
    if (strncmp(key, "tenant:", 7) != 0) fail_msg("key %s", key);
  }
  const ts_reply *channels = fx_redis(fx, "PUBSUB CHANNELS");
  for (size_t i = 0; i < ts_reply_size(channels); ++i) {
    const char *channel = ts_reply_text(ts_reply_at(channels, i));
    if (strncmp(channel, "tenant:", 7) != 0) fail_msg("channel %s", channel);
  }
  assert_int_equal(fx_redis_int(fx, "XLEN tenant:pulse:stream:s"), 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      BOTH_DRIVERS(stream_names_follow_the_rule),
      BOTH_DRIVERS(open_sends_nothing),
      ALL_WAYS(add_completes_with_the_id),
      BOTH_DRIVERS(add_wait_gives_the_id),
      BOTH_DRIVERS(topics_and_headers_follow_the_payload),
      BOTH_DRIVERS(an_empty_topic_and_payload_are_kept),
      ALL_WAYS(any_byte_passes),
      ALL_WAYS(arguments_are_copied),
      BOTH_DRIVERS(add_bytes_sends_and_releases),
      BOTH_DRIVERS(limits_of_an_add),
      ALL_WAYS(only_if_exists_creates_nothing),
      ALL_WAYS(a_key_of_another_type_is_reported),
      ALL_WAYS(order_of_one_thread_is_kept),
      BOTH_DRIVERS(length_stays_bounded),
      BOTH_DRIVERS(length_stays_bounded_for_short_lived_handles),
      BOTH_DRIVERS(unbounded_is_never_trimmed),
      BOTH_DRIVERS(no_ttl_unless_asked),
      BOTH_DRIVERS(an_absolute_ttl_is_set_once),
      BOTH_DRIVERS(a_sliding_ttl_is_set_by_each_add),
      BOTH_DRIVERS(key_prefix_goes_before_every_key),
  };
  return cmocka_run_group_tests_name("streams", tests, fx_group_setup, fx_group_teardown);
}
