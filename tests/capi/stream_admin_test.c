/* stream.h: batches, remove, destroy, info. */
#include "fixture.h"

static pulse_add_item item(const char *name, const char *payload) {
  pulse_add_item i = {name, strlen(name), payload, strlen(payload), NULL, 0, NULL, 0};
  return i;
}

/* --- batches --------------------------------------------------------------- */

static void a_batch_completes_once_with_a_result_each(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  collector *c = fx_collector(fx);
  const pulse_header header = {"k", 1, "v", 1};
  pulse_add_item items[3] = {item("a", "1"), item("b", "2"), item("c", "3")};
  items[1].topic = "t";
  items[1].topic_len = 1;
  items[2].headers = &header;
  items[2].header_count = 1;
  uint64_t operation = 0;
  assert_ok(pulse_stream_add_batch(stream, items, sizeof items[0], 3, NULL, col_target(c, 0),
                                   &operation, fx_err()));
  const ev *e = col_wait(c, PULSE_EVENT_BATCH_ADDED, 0);
  assert_int_equal(e->status, PULSE_OK);
  assert_int_equal(e->operation, operation);
  assert_int_equal(e->result_count, 3);
  for (size_t i = 0; i < 3; ++i) {
    assert_int_equal(e->results[i].status, PULSE_OK);
    assert_true(e->results[i].id.ms > 0);
    if (i > 0) {
      assert_int_equal(pulse_event_id_compare(&e->results[i - 1].id, &e->results[i].id), -1);
    }
  }
  const ts_reply *entries = fx_redis(fx, "XRANGE pulse:stream:s - +");
  assert_int_equal(ts_reply_size(entries), 3);
  const ts_reply *second = ts_reply_at(ts_reply_at(entries, 1), 1);
  assert_string_equal(ts_reply_text(ts_reply_field(second, "n")), "b");
  assert_string_equal(ts_reply_text(ts_reply_field(second, "t")), "t");
  const ts_reply *third = ts_reply_at(ts_reply_at(entries, 2), 1);
  assert_string_equal(ts_reply_text(ts_reply_field(third, "h:k")), "v");
  assert_null(ts_reply_field(third, "t"));
}

static void a_batch_counts_as_one_operation(void **state) {
  fixture *fx = *state;
  pulse_engine_options options = fx_options(fx);
  options.max_inflight = 1;
  pulse_engine *engine = fx_ready(fx, &options);
  pulse_stream *stream = fx_stream_on(fx, engine, "s", NULL);
  pulse_add_item items[5];
  for (int i = 0; i < 5; ++i) items[i] = item("n", "p");
  collector *c = fx_collector(fx);
  assert_ok(pulse_stream_add_batch(stream, items, sizeof items[0], 5, NULL, col_target(c, 0), NULL,
                                   fx_err()));
  assert_int_equal(col_wait(c, PULSE_EVENT_BATCH_ADDED, 0)->result_count, 5);
}

static void a_waiting_batch_fills_the_results(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  /* A stride larger than the item, as a newer caller's would be. */
  struct wide {
    pulse_add_item item;
    char more[24];
  } items[100];
  pulse_result results[100];
  memset(items, 0, sizeof items);
  for (int i = 0; i < 100; ++i) items[i].item = item("n", "p");
  assert_ok(pulse_stream_add_batch_wait(stream, &items[0].item, sizeof items[0], 100, NULL, results,
                                        TS_DEADLINE_MS, fx_err()));
  for (int i = 0; i < 100; ++i) {
    assert_int_equal(results[i].status, PULSE_OK);
    assert_true(results[i].id.ms > 0);
  }
  assert_ok(pulse_stream_add_batch_wait(stream, &items[0].item, sizeof items[0], 2, NULL, NULL,
                                        TS_DEADLINE_MS, fx_err()));
  assert_int_equal(fx_redis_int(fx, "XLEN pulse:stream:s"), 102);
}

static void a_batch_is_refused_as_a_whole(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  collector *c = fx_collector(fx);
  pulse_add_item items[2] = {item("a", "1"), item("", "2")};
  const size_t size = sizeof items[0];
#define BATCH(array, step, count, opts) \
  pulse_stream_add_batch(stream, array, step, count, opts, col_target(c, 0), NULL, fx_err())
  assert_status(PULSE_ERR_INVALID, BATCH(items, size, 2, NULL)); /* the second has no name */
  assert_status(PULSE_ERR_INVALID, BATCH(items, size, 0, NULL));
  assert_status(PULSE_ERR_STRUCT_SIZE, BATCH(items, 0, 1, NULL));
  assert_status(PULSE_ERR_INVALID, BATCH(items, size, 65537, NULL));
  pulse_add_options options = PULSE_ADD_OPTIONS_INIT;
  options.topic = "t";
  options.topic_len = 1;
  assert_status(PULSE_ERR_INVALID, BATCH(items, size, 1, &options));
#undef BATCH
  assert_int_equal(fx_redis_int(fx, "EXISTS pulse:stream:s"), 0);
  assert_int_equal(col_destroyed(c), 5);
}

static void the_largest_batch_passes(void **state) {
  fixture *fx = *state;
  enum { kCount = 65536 };
  pulse_stream_options options = PULSE_STREAM_OPTIONS_INIT;
  options.max_len = PULSE_UNLIMITED;
  pulse_stream *stream = fx_stream(fx, "s", &options);
  pulse_add_item *items = calloc(kCount, sizeof *items);
  for (int i = 0; i < kCount; ++i) items[i] = item("n", "p");
  pulse_status status = pulse_stream_add_batch_wait(stream, items, sizeof *items, kCount, NULL,
                                                    NULL, TS_DEADLINE_MS, fx_err());
  free(items);
  assert_ok(status);
  assert_int_equal(fx_redis_int(fx, "XLEN pulse:stream:s"), kCount);
}

/* Its status is the first failure's. */
static void a_batch_that_the_server_refuses_says_so(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  fx_redis(fx, "SET pulse:stream:s x");
  const pulse_add_item items[2] = {item("a", "1"), item("b", "2")};
  pulse_result results[2];
  assert_status(PULSE_ERR_WRONG_TYPE,
                pulse_stream_add_batch_wait(stream, items, sizeof items[0], 2, NULL, results,
                                            TS_DEADLINE_MS, fx_err()));
  for (int i = 0; i < 2; ++i) {
    assert_int_equal(results[i].status, PULSE_ERR_WRONG_TYPE);
    assert_true(results[i].flags & PULSE_ERROR_SERVER);
    assert_int_equal(results[i].id.ms, 0);
  }
}

static void a_batch_only_if_exists(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  pulse_add_options options = PULSE_ADD_OPTIONS_INIT;
  options.only_if_exists = 1;
  const pulse_add_item items[2] = {item("a", "1"), item("b", "2")};
  pulse_result results[2];
  memset(results, 0x5a, sizeof results);
  assert_ok(pulse_stream_add_batch_wait(stream, items, sizeof items[0], 2, &options, results,
                                        TS_DEADLINE_MS, fx_err()));
  assert_int_equal(results[0].status, PULSE_OK);
  assert_int_equal(results[0].id.ms, 0);
  assert_int_equal(results[1].id.ms, 0);
  assert_int_equal(fx_redis_int(fx, "EXISTS pulse:stream:s"), 0);
}

/* --- remove ---------------------------------------------------------------- */

static void remove_counts_what_existed(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  pulse_event_id ids[3] = {fx_add(stream, "a", "1"), fx_add(stream, "b", "2"), {1, 1}};
  fx_add(stream, "c", "3");
  collector *c = fx_collector(fx);
  uint64_t operation = 0;
  assert_ok(pulse_stream_remove(stream, ids, 3, col_target(c, 0), &operation, fx_err()));
  const ev *e = col_wait(c, PULSE_EVENT_REMOVED, 0);
  assert_int_equal(e->status, PULSE_OK);
  assert_int_equal(e->operation, operation);
  assert_int_equal(e->count, 2);
  assert_int_equal(fx_redis_int(fx, "XLEN pulse:stream:s"), 1);
  uint64_t removed = 99;
  assert_ok(pulse_stream_remove_wait(stream, ids, 3, &removed, TS_DEADLINE_MS, fx_err()));
  assert_int_equal(removed, 0);
  assert_ok(pulse_stream_remove_wait(stream, ids, 1, NULL, TS_DEADLINE_MS, fx_err()));
}

static void remove_takes_1_to_65536_ids(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  pulse_event_id *ids = calloc(65537, sizeof *ids);
  for (uint64_t i = 0; i < 65537; ++i) ids[i].ms = i + 1;
  ids[65535] = fx_add(stream, "a", "1");
  uint64_t removed = 0;
  assert_status(PULSE_ERR_INVALID,
                pulse_stream_remove_wait(stream, ids, 0, &removed, TS_DEADLINE_MS, fx_err()));
  assert_status(PULSE_ERR_INVALID,
                pulse_stream_remove_wait(stream, ids, 65537, &removed, TS_DEADLINE_MS, fx_err()));
  assert_ok(pulse_stream_remove_wait(stream, ids, 65536, &removed, TS_DEADLINE_MS, fx_err()));
  assert_int_equal(removed, 1);
  free(ids);
}

/* --- destroy --------------------------------------------------------------- */

static void destroy_deletes_the_stream(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  fx_add(stream, "a", "1");
  collector *c = fx_collector(fx);
  assert_ok(pulse_stream_destroy(stream, col_target(c, 0), NULL, fx_err()));
  const ev *e = col_wait(c, PULSE_EVENT_DESTROYED, 0);
  assert_int_equal(e->status, PULSE_OK);
  assert_int_equal(e->count, 1);
  assert_int_equal(fx_redis_int(fx, "EXISTS pulse:stream:s"), 0);
  /* No consumers map was there, and none is made. */
  assert_int_equal(fx_redis_int(fx, "EXISTS map:stream:s:sinks:content"), 0);
  assert_ok(pulse_stream_destroy(stream, col_target(c, 0), NULL, fx_err()));
  e = col_wait(c, PULSE_EVENT_DESTROYED, 1);
  assert_int_equal(e->status, PULSE_OK);
  assert_int_equal(e->count, 0);
  fx_add(stream, "a", "2");
  assert_int_equal(fx_redis_int(fx, "XLEN pulse:stream:s"), 1);
  assert_ok(pulse_stream_destroy_wait(stream, TS_DEADLINE_MS, fx_err()));
  assert_int_equal(fx_redis_int(fx, "EXISTS pulse:stream:s"), 0);
}

/* WIRE.md, section 2: then the rmap *destroy* of the consumers map. */
static void destroy_tells_the_sinks_through_their_map(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  fx_add(stream, "a", "1");
  fx_redis(fx,
           "HSET map:stream:s:sinks:content g [\"01M83VS7NEB4BQJW3YR36K2YQE\"] =rev 7 =kind set");
  ts_connection *listener = ts_connection_open(fx->server);
  ts_reply_free(ts_connection_command(listener, "SUBSCRIBE", "map:stream:s:sinks:updates", NULL));
  assert_ok(pulse_stream_destroy_wait(stream, TS_DEADLINE_MS, fx_err()));
  ts_reply *message = ts_connection_read(listener, TS_DEADLINE_MS);
  assert_int_equal(ts_reply_size(message), 3);
  assert_string_equal(ts_reply_text(ts_reply_at(message, 2)), "destroy:8");
  ts_reply_free(message);
  ts_connection_free(listener);
  const ts_reply *map = fx_redis(fx, "HGETALL map:stream:s:sinks:content");
  assert_int_equal(ts_reply_size(map), 4);
  assert_string_equal(ts_reply_text(ts_reply_field(map, "=rev")), "8");
  assert_string_equal(ts_reply_text(ts_reply_field(map, "=kind")), "destroy");
}

/* --- info ------------------------------------------------------------------ */

static void info_of_nothing_is_no_error(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  collector *c = fx_collector(fx);
  assert_ok(pulse_stream_info_get(stream, col_target(c, 0), NULL, fx_err()));
  const ev *e = col_wait(c, PULSE_EVENT_INFO, 0);
  assert_int_equal(e->status, PULSE_OK);
  assert_true(e->info.size >= sizeof e->info);
  assert_int_equal(e->info.exists, 0);
  assert_int_equal(e->info.length, 0);
}

static void info_says_what_is_there(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  pulse_event_id first = fx_add(stream, "a", "1");
  pulse_event_id second = fx_add(stream, "b", "2");
  pulse_event_id third = fx_add(stream, "c", "3");
  assert_ok(pulse_stream_remove_wait(stream, &third, 1, NULL, TS_DEADLINE_MS, fx_err()));
  fx_redis(fx, "XGROUP CREATE pulse:stream:s g1 0");
  fx_redis(fx, "XGROUP CREATE pulse:stream:s g2 0");
  fx_redis(fx, "PEXPIRE pulse:stream:s 3600000");
  collector *c = fx_collector(fx);
  assert_ok(pulse_stream_info_get(stream, col_target(c, 0), NULL, fx_err()));
  pulse_stream_info by_event = col_wait(c, PULSE_EVENT_INFO, 0)->info;
  pulse_stream_info by_wait = {.size = sizeof by_wait};
  assert_ok(pulse_stream_info_wait(stream, &by_wait, TS_DEADLINE_MS, fx_err()));
  const pulse_stream_info *both[] = {&by_event, &by_wait};
  for (int i = 0; i < 2; ++i) {
    const pulse_stream_info *info = both[i];
    assert_int_equal(info->exists, 1);
    assert_int_equal(info->length, 2);
    assert_int_equal(info->groups, 2);
    assert_in_range(info->ttl_ms, 3500000, 3600000);
    assert_id_equal(info->first_id, first);
    assert_id_equal(info->last_id, second);
    assert_id_equal(info->last_generated_id, third);
    assert_int_equal(info->entries_added, ts_server_version(fx->server) >= 70000 ? 3 : 0);
  }
}

static void info_of_an_empty_stream(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  fx_redis(fx, "XGROUP CREATE pulse:stream:s g 0 MKSTREAM");
  pulse_stream_info info = {.size = sizeof info};
  assert_ok(pulse_stream_info_wait(stream, &info, TS_DEADLINE_MS, fx_err()));
  assert_int_equal(info.exists, 1);
  assert_int_equal(info.length, 0);
  assert_int_equal(info.groups, 1);
  assert_int_equal(info.ttl_ms, -1);
  assert_int_equal(info.first_id.ms, 0);
  assert_int_equal(info.last_id.ms, 0);
}

/* The first and the last entry are looked at by the server, and stay there. */
static void info_of_large_entries_is_small(void **state) {
  fixture *fx = *state;
  pulse_engine *engine = fx_ready(fx, NULL);
  pulse_stream *stream = fx_stream_on(fx, engine, "s", NULL);
  enum { SIZE = 1 << 20 };
  char *payload = calloc(1, SIZE);
  assert_non_null(payload);
  pulse_event_id id;
  assert_ok(
      pulse_stream_add_wait(stream, "n", 1, payload, SIZE, NULL, &id, TS_DEADLINE_MS, fx_err()));
  free(payload);
  pulse_engine_metrics before = {.size = sizeof before}, after = {.size = sizeof after};
  assert_ok(pulse_engine_get_metrics(engine, &before));
  pulse_stream_info info = {.size = sizeof info};
  assert_ok(pulse_stream_info_wait(stream, &info, TS_DEADLINE_MS, fx_err()));
  assert_ok(pulse_engine_get_metrics(engine, &after));
  assert_id_equal(info.first_id, id);
  assert_id_equal(info.last_id, id);
  assert_in_range(after.bytes_received - before.bytes_received, 1, 4096);
}

static void info_needs_a_size(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  pulse_stream_info info;
  memset(&info, 0, sizeof info);
  assert_status(PULSE_ERR_STRUCT_SIZE,
                pulse_stream_info_wait(stream, &info, TS_DEADLINE_MS, fx_err()));
}

/* --- a server that has become a replica ------------------------------------- */

static void a_replica_refuses_and_says_so(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  pulse_event_id id, other;
  pulse_error error = PULSE_ERROR_INIT;
  assert_ok(pulse_stream_add_wait(stream, "n", 1, "p", 1, NULL, &id, TS_DEADLINE_MS, fx_err()));
  fx_redis(fx, "CONFIG SET replica-serve-stale-data yes");
  fx_redis(fx, "REPLICAOF 127.0.0.1 1"); /* nobody is there */
  assert_status(PULSE_ERR_READONLY, pulse_stream_add_wait(stream, "n", 1, "p", 1, NULL, &other,
                                                          TS_DEADLINE_MS, &error));
  assert_true(error.flags & PULSE_ERROR_RETRIABLE);
  assert_status(PULSE_ERR_READONLY,
                pulse_stream_remove_wait(stream, &id, 1, NULL, TS_DEADLINE_MS, fx_err()));
  assert_status(PULSE_ERR_READONLY, pulse_stream_destroy_wait(stream, TS_DEADLINE_MS, fx_err()));
  pulse_stream_info info = {.size = sizeof info};
  assert_ok(pulse_stream_info_wait(stream, &info, TS_DEADLINE_MS, fx_err()));
  assert_int_equal(info.length, 1);

  fx_redis(fx, "CONFIG SET replica-serve-stale-data no");
  assert_status(PULSE_ERR_MASTERDOWN,
                pulse_stream_info_wait(stream, &info, TS_DEADLINE_MS, &error));
  assert_true(error.flags & PULSE_ERROR_RETRIABLE);

  fx_redis(fx, "REPLICAOF NO ONE");
  assert_ok(pulse_stream_add_wait(stream, "n", 1, "p", 1, NULL, &other, TS_DEADLINE_MS, fx_err()));
  assert_ok(pulse_stream_destroy_wait(stream, TS_DEADLINE_MS, fx_err()));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      ALL_WAYS(a_batch_completes_once_with_a_result_each),
      BOTH_DRIVERS(a_batch_counts_as_one_operation),
      BOTH_DRIVERS(a_waiting_batch_fills_the_results),
      BOTH_DRIVERS(a_batch_is_refused_as_a_whole),
      BOTH_DRIVERS(the_largest_batch_passes),
      BOTH_DRIVERS(a_batch_that_the_server_refuses_says_so),
      BOTH_DRIVERS(a_batch_only_if_exists),
      ALL_WAYS(remove_counts_what_existed),
      BOTH_DRIVERS(remove_takes_1_to_65536_ids),
      ALL_WAYS(destroy_deletes_the_stream),
      BOTH_DRIVERS(destroy_tells_the_sinks_through_their_map),
      ALL_WAYS(info_of_nothing_is_no_error),
      ALL_WAYS(info_says_what_is_there),
      BOTH_DRIVERS(info_of_an_empty_stream),
      BOTH_DRIVERS(info_of_large_entries_is_small),
      BOTH_DRIVERS(info_needs_a_size),
      BOTH_DRIVERS(a_replica_refuses_and_says_so),
  };
  return cmocka_run_group_tests_name("stream administration", tests, fx_group_setup,
                                     fx_group_teardown);
}
