/* map.h: reads, every write and its results, batches, snapshots, lists. */
#include <pthread.h>

#include "fixture.h"

static bool has(pulse_map *map, const char *key, const char *expected) {
  char buffer[256];
  size_t size = 0;
  pulse_status status = pulse_map_get_copy(map, key, strlen(key), buffer, sizeof buffer, &size);
  if (expected == NULL) return status == PULSE_ERR_NOT_FOUND;
  return status == PULSE_OK && size == strlen(expected) && memcmp(buffer, expected, size) == 0;
}

/* What a write gave, `value` as text. */
typedef struct outcome {
  pulse_map_result result;
  char value[256]; /* "(none)" without one */
} outcome;

static outcome take(pulse_map_result given) {
  outcome o = {.result = given, .value = "(none)"};
  if (given.value != NULL) {
    snprintf(o.value, sizeof o.value, "%.*s", (int)pulse_bytes_size(given.value),
             (const char *)pulse_bytes_data(given.value));
    pulse_bytes_unref(given.value);
  }
  return o;
}

#define EXPECT(o, existed_, updated_, value_)            \
  do {                                                   \
    assert_int_equal((o).result.status, PULSE_OK);       \
    assert_int_equal((o).result.existed, existed_);      \
    assert_int_equal((o).result.updated, updated_);      \
    assert_string_equal((o).value, value_);              \
    assert_int_equal((o).result.revision > 0, updated_); \
  } while (0)

/* The call under test fills this. */
static pulse_map_result result;

static void fresh(void) { result = (pulse_map_result)PULSE_MAP_RESULT_INIT; }

#define WAIT(call) (fresh(), assert_ok(call), take(result))

static outcome set(pulse_map *map, const char *key, const char *value) {
  return WAIT(pulse_map_set_wait(map, key, strlen(key), value, strlen(value), &result,
                                 TS_DEADLINE_MS, fx_err()));
}

static outcome change_list(pulse_map *map, const char *what, const char *key, const char *a,
                           const char *b) {
  pulse_map_item items[2] = {{a, a == NULL ? 0 : strlen(a)}, {b, b == NULL ? 0 : strlen(b)}};
  size_t count = a == NULL ? 0 : b == NULL ? 1 : 2;
  size_t len = strlen(key);
  if (strcmp(what, "append") == 0) {
    return WAIT(
        pulse_map_append_wait(map, key, len, items, count, &result, TS_DEADLINE_MS, fx_err()));
  }
  if (strcmp(what, "unique") == 0) {
    return WAIT(pulse_map_append_unique_wait(map, key, len, items, count, &result, TS_DEADLINE_MS,
                                             fx_err()));
  }
  return WAIT(
      pulse_map_remove_values_wait(map, key, len, items, count, &result, TS_DEADLINE_MS, fx_err()));
}

static outcome test_and_set(pulse_map *map, const char *key, const char *test, const char *value) {
  return WAIT(pulse_map_test_and_set_wait(map, key, strlen(key), test, strlen(test), value,
                                          strlen(value), &result, TS_DEADLINE_MS, fx_err()));
}

static outcome increment(pulse_map *map, const char *key, int64_t delta) {
  return WAIT(
      pulse_map_increment_wait(map, key, strlen(key), delta, &result, TS_DEADLINE_MS, fx_err()));
}

static outcome erase(pulse_map *map, const char *key) {
  return WAIT(pulse_map_delete_wait(map, key, strlen(key), &result, TS_DEADLINE_MS, fx_err()));
}

/* --- writes ---------------------------------------------------------------- */

static void writes_give_their_results(void **state) {
  fixture *fx = *state;
  pulse_map *map = fx_map(fx, "m", NULL, NULL);
  outcome o = set(map, "k", "v");
  EXPECT(o, 0, 1, "(none)");
  assert_int_equal(o.result.revision, 1);
  o = set(map, "k", "v2");
  EXPECT(o, 1, 1, "v");
  assert_int_equal(o.result.revision, 2);
  o = WAIT(pulse_map_set_if_absent_wait(map, "k", 1, "x", 1, &result, TS_DEADLINE_MS, fx_err()));
  EXPECT(o, 1, 0, "v2");
  o = WAIT(pulse_map_set_if_absent_wait(map, "n", 1, "x", 1, &result, TS_DEADLINE_MS, fx_err()));
  EXPECT(o, 0, 1, "(none)");
  o = test_and_set(map, "k", "v2", "v3");
  EXPECT(o, 1, 1, "v2");
  o = test_and_set(map, "k", "no", "v4");
  EXPECT(o, 1, 0, "v3");
  /* A key that is not there never matches. */
  o = test_and_set(map, "absent", "", "v");
  EXPECT(o, 0, 0, "(none)");
  o = increment(map, "i", 5);
  EXPECT(o, 0, 1, "5");
  assert_int_equal(o.result.number, 5);
  o = increment(map, "i", -7);
  assert_int_equal(o.result.number, -2);
  o = increment(map, "big", INT64_MAX);
  assert_int_equal(o.result.number, INT64_MAX);
  o = erase(map, "k");
  EXPECT(o, 1, 1, "v3");
  o = erase(map, "k");
  EXPECT(o, 0, 0, "(none)");
  o = WAIT(pulse_map_test_and_delete_wait(map, "n", 1, "no", 2, &result, TS_DEADLINE_MS, fx_err()));
  EXPECT(o, 1, 0, "x");
  o = WAIT(pulse_map_test_and_delete_wait(map, "n", 1, "x", 1, &result, TS_DEADLINE_MS, fx_err()));
  EXPECT(o, 1, 1, "x");
  assert_true(fx_redis_is(fx, "9223372036854775807", "HGET map:m:content big"));
  assert_int_equal(fx_redis_int(fx, "HLEN map:m:content"), 4); /* i, big, =rev, =kind */
  fx_until(fx, has(map, "n", NULL) && has(map, "k", NULL) && has(map, "i", "-2"));
}

static void lists_change_as_go_changes_them(void **state) {
  fixture *fx = *state;
  pulse_map *map = fx_map(fx, "m", NULL, NULL);
  outcome o = change_list(map, "append", "l", "a", "b/c");
  EXPECT(o, 0, 1, "[\"a\",\"b\\/c\"]");
  o = change_list(map, "append", "l", "a", NULL);
  EXPECT(o, 1, 1, "[\"a\",\"b\\/c\",\"a\"]");
  o = change_list(map, "unique", "l", "a", "d");
  EXPECT(o, 1, 1, "[\"a\",\"b\\/c\",\"a\",\"d\"]");
  o = change_list(map, "unique", "l", "a", NULL);
  EXPECT(o, 1, 0, "[\"a\",\"b\\/c\",\"a\",\"d\"]");
  o = change_list(map, "remove", "l", "a", "zz");
  EXPECT(o, 1, 1, "[\"b\\/c\",\"d\"]");
  o = change_list(map, "remove", "l", "zz", NULL);
  EXPECT(o, 1, 0, "[\"b\\/c\",\"d\"]");
  set(map, "csv", "x,y");
  o = change_list(map, "append", "csv", "z", NULL);
  EXPECT(o, 1, 1, "[\"x\",\"y\",\"z\"]");
  o = change_list(map, "remove", "l", "b/c", "d");
  EXPECT(o, 1, 1, "(none)");
  o = change_list(map, "append", "e", NULL, NULL);
  EXPECT(o, 0, 0, "(none)");
  fx_until(fx, has(map, "l", NULL));
  /* A JSON object is no list. */
  set(map, "o", "{\"a\":1}");
  pulse_map_item item = {"x", 1};
  assert_status(PULSE_ERR_WRONG_TYPE,
                pulse_map_append_wait(map, "o", 1, &item, 1, NULL, TS_DEADLINE_MS, fx_err()));
  assert_status(PULSE_ERR_WRONG_TYPE, pulse_map_remove_values_wait(map, "o", 1, &item, 1, NULL,
                                                                   TS_DEADLINE_MS, fx_err()));
  assert_status(PULSE_ERR_WRONG_TYPE,
                pulse_map_increment_wait(map, "csv", 3, 1, NULL, TS_DEADLINE_MS, fx_err()));
}

static void resets_keep_the_revision(void **state) {
  fixture *fx = *state;
  pulse_map *map = fx_map(fx, "m", NULL, NULL);
  set(map, "a", "1");
  set(map, "b", "2");
  pulse_map_entry tests[2] = {{"a", 1, "1", 1}, {"b", 1, "no", 2}};
  outcome o = WAIT(pulse_map_test_and_reset_wait(map, tests, 2, &result, TS_DEADLINE_MS, fx_err()));
  EXPECT(o, 0, 0, "(none)");
  tests[1] = (pulse_map_entry){"b", 1, "2", 1};
  o = WAIT(pulse_map_test_and_reset_wait(map, tests, 2, &result, TS_DEADLINE_MS, fx_err()));
  EXPECT(o, 0, 1, "(none)");
  assert_int_equal(o.result.revision, 3);
  fx_until(fx, pulse_map_size(map) == 0);
  assert_true(fx_redis_is(fx, "reset", "HGET map:m:content =kind"));
  set(map, "a", "1");
  o = WAIT(pulse_map_reset_wait(map, &result, TS_DEADLINE_MS, fx_err()));
  assert_int_equal(o.result.revision, 5);
  /* After close as well. */
  assert_ok(pulse_map_close_wait(map, TS_DEADLINE_MS, fx_err()));
  o = WAIT(pulse_map_destroy_wait(map, &result, TS_DEADLINE_MS, fx_err()));
  assert_int_equal(o.result.revision, 6);
  assert_true(fx_redis_is(fx, "destroy", "HGET map:m:content =kind"));
  assert_true(fx_redis_is(fx, "6", "HGET map:m:content =rev"));
  assert_status(PULSE_ERR_CLOSED,
                pulse_map_set_wait(map, "a", 1, "1", 1, NULL, TS_DEADLINE_MS, fx_err()));
}

static void completions_carry_results(void **state) {
  fixture *fx = *state;
  pulse_map *map = fx_map(fx, "m", NULL, NULL);
  collector *c = fx_collector(fx);
  uint64_t operation = 0;
  assert_ok(pulse_map_set(map, "k", 1, "v", 1, col_target(c, 7), &operation, fx_err()));
  assert_ok(pulse_map_set(map, "k", 1, "w", 1, col_target(c, 8), NULL, fx_err()));
  const ev *e = col_wait(c, PULSE_EVENT_MAP_WRITTEN, 1);
  assert_int_equal(e->token, 8);
  assert_int_equal(e->map_result_count, 1);
  assert_int_equal(e->map_results[0].existed, 1);
  assert_int_equal(e->map_results[0].revision, 2);
  assert_memory_equal(pulse_bytes_data(e->map_results[0].value), "v", 1);
  e = col_wait(c, PULSE_EVENT_MAP_WRITTEN, 0);
  assert_int_equal(e->operation, operation);
  assert_int_equal(e->map_results[0].existed, 0);
  assert_null(e->map_results[0].value);
}

/* Keeps the order of the thread, and needs far fewer script runs than writes. */
static void writes_that_wait_leave_together(void **state) {
  fixture *fx = *state;
  enum { kCount = 2000 };
  pulse_map *map = fx_map(fx, "m", NULL, NULL);
  collector *c = fx_collector(fx);
  pulse_engine_metrics before = {.size = sizeof before}, after = {.size = sizeof after};
  assert_ok(pulse_engine_get_metrics(fx->engine, &before));
  for (int i = 0; i < kCount; ++i) {
    char value[16];
    snprintf(value, sizeof value, "%d", i);
    assert_ok(pulse_map_set(map, "k", 1, value, strlen(value), col_target(c, (uint64_t)i), NULL,
                            fx_err()));
  }
  col_wait(c, PULSE_EVENT_MAP_WRITTEN, kCount - 1);
  assert_ok(pulse_engine_get_metrics(fx->engine, &after));
  assert_true(after.commands_sent - before.commands_sent < kCount / 2);
  for (int i = 0; i < kCount; ++i) {
    const ev *e = col_wait(c, PULSE_EVENT_MAP_WRITTEN, (size_t)i);
    assert_int_equal(e->token, i);
    assert_int_equal(e->map_results[0].revision, i + 1);
  }
  fx_until(fx, has(map, "k", "1999"));
}

static void a_write_that_is_refused_fails_alone(void **state) {
  fixture *fx = *state;
  pulse_map *map = fx_map(fx, "m", NULL, NULL);
  collector *c = fx_collector(fx);
  set(map, "text", "abc");
  assert_ok(pulse_map_set(map, "a", 1, "1", 1, col_target(c, 0), NULL, fx_err()));
  assert_ok(pulse_map_increment(map, "text", 4, 1, col_target(c, 1), NULL, fx_err()));
  assert_ok(pulse_map_set(map, "b", 1, "2", 1, col_target(c, 2), NULL, fx_err()));
  const ev *e = col_wait(c, PULSE_EVENT_MAP_WRITTEN, 1);
  assert_int_equal(e->status, PULSE_ERR_WRONG_TYPE);
  assert_true((e->flags & PULSE_ERROR_SERVER) != 0);
  assert_int_equal(col_wait(c, PULSE_EVENT_MAP_WRITTEN, 2)->status, PULSE_OK);
  fx_until(fx, has(map, "a", "1") && has(map, "b", "2") && has(map, "text", "abc"));
}

static void a_map_can_show_writes_before_they_complete(void **state) {
  fixture *fx = *state;
  pulse_map_options options = PULSE_MAP_OPTIONS_INIT;
  options.read_your_writes = 1;
  pulse_map *map = fx_map(fx, "m", &options, NULL);
  for (int i = 0; i < 200; ++i) {
    char value[16];
    snprintf(value, sizeof value, "%d", i);
    set(map, "k", value);
    assert_true(has(map, "k", value));
  }
  pulse_map *other = fx_map(fx, "m", NULL, NULL);
  for (int i = 0; i < 200; ++i) {
    char value[16];
    snprintf(value, sizeof value, "x%d", i);
    assert_ok(pulse_map_set_and_wait_wait(other, "k", 1, value, strlen(value), NULL, TS_DEADLINE_MS,
                                          fx_err()));
    assert_true(has(other, "k", value));
  }
}

/* More than the script writes in one call, with keys that come again, near and far. */
static void a_batch_of_many_sets_is_as_if_one_after_the_other(void **state) {
  fixture *fx = *state;
  enum { SETS = 2500, KEYS = 1100 };
  pulse_map *map = fx_map(fx, "m", NULL, NULL);
  assert_ok(pulse_map_set_wait(map, "k3", 2, "", 0, NULL, TS_DEADLINE_MS, fx_err()));
  static pulse_map_batch_item items[SETS];
  static pulse_map_result results[SETS];
  static char keys[SETS][8], values[SETS][8];
  for (int i = 0; i < SETS; ++i) {
    const int key = i % 7 == 1 ? (i - 1) % KEYS : i % KEYS; /* each seventh is the one before */
    snprintf(keys[i], sizeof keys[i], "k%d", key);
    snprintf(values[i], sizeof values[i], "v%d", i);
    items[i] = (pulse_map_batch_item){.op = PULSE_MAP_OP_SET,
                                      .key = keys[i],
                                      .key_len = strlen(keys[i]),
                                      .value = values[i],
                                      .value_len = strlen(values[i])};
    results[i].size = sizeof results[i];
  }
  assert_ok(
      pulse_map_batch_wait(map, items, sizeof items[0], SETS, results, TS_DEADLINE_MS, fx_err()));
  for (int i = 0; i < SETS; ++i) {
    const char *before = strcmp(keys[i], "k3") == 0 ? "" : NULL;
    for (int j = 0; j < i; ++j) {
      if (strcmp(keys[j], keys[i]) == 0) before = values[j];
    }
    assert_int_equal(results[i].revision, i + 2);
    assert_int_equal(results[i].updated, 1);
    assert_int_equal(results[i].existed, before != NULL);
    assert_int_equal(results[i].value != NULL, before != NULL);
    if (before == NULL) continue;
    assert_int_equal(pulse_bytes_size(results[i].value), strlen(before));
    assert_memory_equal(pulse_bytes_data(results[i].value), before, strlen(before));
    pulse_bytes_unref(results[i].value);
  }
  assert_ok(pulse_map_wait_revision(map, SETS + 1, TS_DEADLINE_MS, fx_err()));
  assert_string_equal(ts_reply_text(fx_redis(fx, "HGET map:m:content =rev")), "2501");
  /* What was published, and what the hash has. */
  pulse_map *maps[] = {map, fx_map(fx, "m", NULL, NULL)};
  assert_int_equal(pulse_map_size(maps[0]), pulse_map_size(maps[1]));
  for (int i = 0; i < SETS; ++i) {
    int last = i;
    for (int j = i + 1; j < SETS; ++j) {
      if (strcmp(keys[j], keys[i]) == 0) last = j;
    }
    for (size_t j = 0; j < 2; ++j) {
      char buffer[8];
      size_t size = 0;
      assert_int_equal(
          pulse_map_get_copy(maps[j], keys[i], strlen(keys[i]), buffer, sizeof buffer, &size),
          PULSE_OK);
      assert_int_equal(size, strlen(values[last]));
      assert_memory_equal(buffer, values[last], size);
    }
  }
}

static void a_batch_is_all_or_nothing(void **state) {
  fixture *fx = *state;
  pulse_map *map = fx_map(fx, "m", NULL, NULL);
  set(map, "text", "abc");
  pulse_map_batch_item items[4] = {
      {PULSE_MAP_OP_SET, 0, "a", 1, "5", 1, 0},
      {PULSE_MAP_OP_INCREMENT, 0, "a", 1, NULL, 0, 3},
      {PULSE_MAP_OP_DELETE, 0, "text", 4, NULL, 0, 0},
      {PULSE_MAP_OP_INCREMENT, 0, "a", 1, NULL, 0, 1},
  };
  pulse_map_result results[4];
  for (int i = 0; i < 4; ++i) results[i] = (pulse_map_result)PULSE_MAP_RESULT_INIT;
  assert_ok(
      pulse_map_batch_wait(map, items, sizeof items[0], 4, results, TS_DEADLINE_MS, fx_err()));
  for (int i = 0; i < 4; ++i) assert_int_equal(results[i].revision, 2 + i);
  assert_int_equal(results[1].number, 8);
  assert_int_equal(results[3].number, 9);
  assert_int_equal(results[2].existed, 1);
  for (int i = 0; i < 4; ++i) pulse_bytes_unref(results[i].value);
  set(map, "text", "abc");
  items[1].key = "text";
  items[1].key_len = 4;
  items[2].key = "a";
  items[2].key_len = 1;
  items[3].key = "text";
  items[3].key_len = 4;
  assert_status(PULSE_ERR_WRONG_TYPE, pulse_map_batch_wait(map, items, sizeof items[0], 4, NULL,
                                                           TS_DEADLINE_MS, fx_err()));
  assert_non_null(strstr(fx_message(), "item 1"));
  assert_true(fx_redis_is(fx, "6", "HGET map:m:content =rev"));
  assert_true(fx_redis_is(fx, "9", "HGET map:m:content a"));
  assert_true(fx_redis_is(fx, "abc", "HGET map:m:content text"));
}

static void what_cannot_be_written_is_refused(void **state) {
  fixture *fx = *state;
  pulse_map_options options = PULSE_MAP_OPTIONS_INIT;
  options.max_value_bytes = 10;
  pulse_map *map = fx_map(fx, "m", &options, NULL);
  static char key[PULSE_MAP_MAX_KEY_BYTES + 1];
  memset(key, 'k', sizeof key);
  assert_status(PULSE_ERR_INVALID, pulse_map_set(map, "", 0, "v", 1, NULL, NULL, fx_err()));
  assert_status(PULSE_ERR_INVALID, pulse_map_set(map, "a=b", 3, "v", 1, NULL, NULL, fx_err()));
  assert_status(PULSE_ERR_TOO_LARGE,
                pulse_map_set(map, key, sizeof key, "v", 1, NULL, NULL, fx_err()));
  assert_ok(pulse_map_set_wait(map, key, sizeof key - 1, "v", 1, NULL, TS_DEADLINE_MS, fx_err()));
  assert_status(PULSE_ERR_TOO_LARGE,
                pulse_map_set(map, "k", 1, "12345678901", 11, NULL, NULL, fx_err()));
  set(map, "k", "1234567890");
  /* A list that grows too long. */
  pulse_map_item item = {"12345", 5};
  assert_ok(pulse_map_append_wait(map, "l", 1, &item, 1, NULL, TS_DEADLINE_MS, fx_err()));
  assert_status(PULSE_ERR_TOO_LARGE,
                pulse_map_append_wait(map, "l", 1, &item, 1, NULL, TS_DEADLINE_MS, fx_err()));
}

/* --- reads ----------------------------------------------------------------- */

static void add_size(const void *value, size_t size, void *user_data) {
  (void)value;
  *(size_t *)user_data += size;
}

static void a_replica_answers_reads(void **state) {
  fixture *fx = *state;
  fx_redis(fx, "HSET map:m:content a 1 bb 22 =rev 7 =kind set =foreign x");
  pulse_map *map = fx_map(fx, "m", NULL, NULL);
  assert_int_equal(pulse_map_size(map), 2);
  assert_true(has(map, "a", "1") && has(map, "bb", "22"));
  pulse_bytes *value = NULL;
  assert_ok(pulse_map_get(map, "bb", 2, &value));
  fx_redis(fx, "PUBLISH map:m:updates x"); /* whatever happens to the map: */
  set(map, "bb", "333");
  fx_until(fx, has(map, "bb", "333"));
  assert_int_equal(pulse_bytes_size(value), 2);
  assert_memory_equal(pulse_bytes_data(value), "22", 2);
  pulse_bytes_unref(value);
  char buffer[2];
  size_t size = 0;
  assert_int_equal(pulse_map_get_copy(map, "bb", 2, buffer, 2, &size), PULSE_ERR_TOO_LARGE);
  assert_int_equal(size, 3);
  assert_int_equal(pulse_map_get(map, "zz", 2, &value), PULSE_ERR_NOT_FOUND);
  assert_int_equal(pulse_map_get(map, "=rev", 4, &value), PULSE_ERR_NOT_FOUND);
  size = 0;
  assert_ok(pulse_map_read(map, "bb", 2, add_size, &size));
  assert_int_equal(size, 3);
  assert_int_equal(pulse_map_read(map, "zz", 2, add_size, &size), PULSE_ERR_NOT_FOUND);
  pulse_list *keys = NULL;
  assert_ok(pulse_map_keys(map, &keys, fx_err()));
  assert_int_equal(pulse_list_size(keys), 2);
  pulse_list_unref(keys);
  pulse_map_info info = {.size = sizeof info};
  assert_ok(pulse_map_get_info(map, &info));
  assert_int_equal(info.state, PULSE_MAP_SYNCED);
  assert_int_equal(info.revision, 8);
  assert_int_equal(info.keys, 2);
  assert_int_equal(info.bytes, 2 + 5);
}

static void a_snapshot_stays_as_it_is(void **state) {
  fixture *fx = *state;
  pulse_map *map = fx_map(fx, "m", NULL, NULL);
  for (int i = 0; i < 1000; ++i) {
    char key[16];
    snprintf(key, sizeof key, "%d", i);
    assert_ok(pulse_map_set(map, key, strlen(key), key, strlen(key), NULL, NULL, fx_err()));
  }
  fx_until(fx, pulse_map_size(map) == 1000);
  pulse_map_snapshot *snapshot = NULL;
  assert_ok(pulse_map_take_snapshot(map, &snapshot, fx_err()));
  assert_ok(pulse_map_reset_wait(map, NULL, TS_DEADLINE_MS, fx_err()));
  fx_until(fx, pulse_map_size(map) == 0);
  assert_int_equal(pulse_map_snapshot_revision(snapshot), 1000);
  assert_int_equal(pulse_map_snapshot_size(snapshot), 1000);
  pulse_map_cursor cursor = {0, 0, 0};
  pulse_map_entry entries[7];
  bool seen[1000] = {false};
  int64_t got, total = 0;
  while ((got = pulse_map_snapshot_next(snapshot, &cursor, entries, sizeof entries[0], 7)) > 0) {
    for (int64_t i = 0; i < got; ++i) {
      char text[16];
      snprintf(text, sizeof text, "%.*s", (int)entries[i].key_len, entries[i].key);
      int n = atoi(text);
      assert_false(seen[n]);
      seen[n] = true;
      assert_int_equal(entries[i].value_len, entries[i].key_len);
      assert_memory_equal(entries[i].value, entries[i].key, entries[i].key_len);
    }
    total += got;
  }
  assert_int_equal(total, 1000);
  pulse_bytes *value = NULL;
  assert_int_equal(pulse_map_snapshot_get(snapshot, "77", 2, &value), PULSE_OK);
  pulse_bytes_unref(value);
  pulse_map_snapshot_unref(snapshot);
}

/* --- snapshots while the map is reset and filled, again and again ------------ */

enum { kFilled = 200 };

typedef struct iteration {
  pulse_map *map;
  int stop;     /* atomic */
  int started;  /* atomic: snapshots with something in them */
  int mistakes; /* atomic */
} iteration;

/* Keys are set in their order, with the number of the round: so a snapshot has the first ones, all
 * of one round. */
static int count_mistakes(pulse_map_snapshot *snapshot) {
  const size_t size = pulse_map_snapshot_size(snapshot);
  int mistakes = size > kFilled, round = -1;
  bool seen[kFilled] = {false};
  size_t total = 0;
  pulse_map_cursor cursor = {0, 0, 0};
  pulse_map_entry entry;
  while (pulse_map_snapshot_next(snapshot, &cursor, &entry, sizeof entry, 1) == 1) {
    char key[16], value[16];
    snprintf(key, sizeof key, "%.*s", (int)entry.key_len, entry.key);
    snprintf(value, sizeof value, "%.*s", (int)entry.value_len, (const char *)entry.value);
    const size_t n = (size_t)atoi(key);
    mistakes += n >= size || seen[n];
    if (n < kFilled) seen[n] = true;
    if (round < 0) round = atoi(value);
    mistakes += atoi(value) != round;
    ++total;
  }
  return mistakes + (total != size);
}

static void *iterate(void *arg) {
  iteration *it = arg;
  while (__atomic_load_n(&it->stop, __ATOMIC_SEQ_CST) == 0) {
    pulse_map_snapshot *snapshot = NULL;
    if (pulse_map_take_snapshot(it->map, &snapshot, NULL) != PULSE_OK) {
      __atomic_add_fetch(&it->mistakes, 1, __ATOMIC_SEQ_CST);
      continue;
    }
    __atomic_add_fetch(&it->mistakes, count_mistakes(snapshot), __ATOMIC_SEQ_CST);
    if (pulse_map_snapshot_size(snapshot) > 0) {
      __atomic_add_fetch(&it->started, 1, __ATOMIC_SEQ_CST);
    }
    pulse_map_snapshot_unref(snapshot);
  }
  return NULL;
}

static void snapshots_are_of_one_revision_while_the_map_is_reset(void **state) {
  fixture *fx = *state;
  iteration it = {fx_map(fx, "m", NULL, NULL), 0, 0, 0};
  pthread_t threads[2];
  for (int i = 0; i < 2; ++i) assert_int_equal(pthread_create(&threads[i], NULL, iterate, &it), 0);
  static char keys[kFilled][8];
  pulse_map_batch_item items[kFilled] = {0};
  int64_t end = ts_now_ms() + TS_DEADLINE_MS;
  for (int round = 0; round < 30 || __atomic_load_n(&it.started, __ATOMIC_SEQ_CST) < 10; ++round) {
    assert_true(ts_now_ms() < end);
    char value[16];
    snprintf(value, sizeof value, "%d", round);
    for (int i = 0; i < kFilled; ++i) {
      snprintf(keys[i], sizeof keys[i], "%d", i);
      items[i].op = PULSE_MAP_OP_SET;
      items[i].key = keys[i];
      items[i].key_len = strlen(keys[i]);
      items[i].value = value;
      items[i].value_len = strlen(value);
    }
    assert_ok(pulse_map_batch_wait(it.map, items, sizeof items[0], kFilled, NULL, TS_DEADLINE_MS,
                                   fx_err()));
    assert_ok(pulse_map_reset_wait(it.map, NULL, TS_DEADLINE_MS, fx_err()));
  }
  __atomic_store_n(&it.stop, 1, __ATOMIC_SEQ_CST);
  for (int i = 0; i < 2; ++i) pthread_join(threads[i], NULL);
  assert_int_equal(it.mistakes, 0);
}

static void check_list(const char *text, size_t count, const char **items) {
  pulse_list *list = NULL;
  assert_ok(pulse_list_parse(text, strlen(text), &list, fx_err()));
  assert_int_equal(pulse_list_size(list), count);
  for (size_t i = 0; i < count; ++i) {
    size_t size = 0;
    const char *at = pulse_list_at(list, i, &size);
    fx_check_text(at, size, items[i], strlen(items[i]), text, __FILE__, __LINE__);
  }
  assert_null(pulse_list_at(list, count, NULL));
  pulse_list_unref(list);
}

static void lists_are_parsed_leniently(void **state) {
  (void)state;
  check_list("", 0, NULL);
  check_list("[]", 0, NULL);
  check_list("[\"a\", \"b\\/c\"]", 2, (const char *[]){"a", "b/c"});
  check_list("[\"\\u00e9\\ud83d\\ude00\\n\"]", 1, (const char *[]){"\xc3\xa9\xf0\x9f\x98\x80\n"});
  check_list("x,y,,z", 3, (const char *[]){"x", "y", "z"});
  check_list("[1]", 1, (const char *[]){"[1]"});
  check_list("[\"a\"", 1, (const char *[]){"[\"a\""});
  check_list("plain", 1, (const char *[]){"plain"});
}

static void waiting_for_revisions(void **state) {
  fixture *fx = *state;
  pulse_map *map = fx_map(fx, "m", NULL, NULL);
  outcome o = set(map, "k", "v");
  assert_ok(pulse_map_wait_revision(map, o.result.revision, TS_DEADLINE_MS, fx_err()));
  assert_true(has(map, "k", "v"));
  assert_status(PULSE_ERR_TIMEOUT, pulse_map_wait_revision(map, 1000, 1, fx_err()));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      BOTH_DRIVERS(writes_give_their_results),
      BOTH_DRIVERS(lists_change_as_go_changes_them),
      BOTH_DRIVERS(resets_keep_the_revision),
      ALL_WAYS(completions_carry_results),
      BOTH_DRIVERS(writes_that_wait_leave_together),
      BOTH_DRIVERS(a_write_that_is_refused_fails_alone),
      BOTH_DRIVERS(a_map_can_show_writes_before_they_complete),
      BOTH_DRIVERS(a_batch_of_many_sets_is_as_if_one_after_the_other),
      BOTH_DRIVERS(a_batch_is_all_or_nothing),
      BOTH_DRIVERS(what_cannot_be_written_is_refused),
      BOTH_DRIVERS(a_replica_answers_reads),
      BOTH_DRIVERS(a_snapshot_stays_as_it_is),
      BOTH_DRIVERS(snapshots_are_of_one_revision_while_the_map_is_reset),
      THREAD_ONLY(lists_are_parsed_leniently),
      BOTH_DRIVERS(waiting_for_revisions),
  };
  return cmocka_run_group_tests_name("maps", tests, fx_group_setup, fx_group_teardown);
}
