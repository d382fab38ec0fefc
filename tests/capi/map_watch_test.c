/* map.h: watches. */
#include "fixture.h"

static void set(pulse_map *map, const char *key, const char *value) {
  assert_ok(pulse_map_set_and_wait_wait(map, key, strlen(key), value, strlen(value), NULL,
                                        TS_DEADLINE_MS, fx_err()));
}

static void erase(pulse_map *map, const char *key) {
  pulse_map_result result = PULSE_MAP_RESULT_INIT;
  assert_ok(pulse_map_delete_wait(map, key, strlen(key), &result, TS_DEADLINE_MS, fx_err()));
  pulse_bytes_unref(result.value);
  assert_ok(pulse_map_wait_revision(map, result.revision, TS_DEADLINE_MS, fx_err()));
}

static pulse_map_watch_options deltas(void) {
  pulse_map_watch_options options = PULSE_MAP_WATCH_OPTIONS_INIT;
  options.mode = PULSE_WATCH_DELTAS;
  options.old_values = 1;
  return options;
}

static const ev *change(collector *c, size_t nth) {
  return col_wait(c, PULSE_EVENT_MAP_CHANGE, nth);
}

static void check_change(const ev *e, int op, const char *key, const char *value, const char *old,
                         uint64_t revision) {
  assert_int_equal(e->state, op);
  if (key != NULL) assert_text(e, name, key);
  if (value != NULL) {
    assert_text(e, payload, value);
  } else {
    assert_null(e->payload);
  }
  if (old != NULL) {
    assert_text(e, old_value, old);
  } else {
    assert_null(e->old_value);
  }
  assert_int_equal(e->revision, revision);
  assert_text(e, stream, "m");
}

static void deltas_tell_content_then_changes(void **state) {
  fixture *fx = *state;
  pulse_map *map = fx_map(fx, "m", NULL, NULL);
  collector *c = fx_collector(fx);
  set(map, "a", "1");
  pulse_map_watch_options options = deltas();
  fx_watch(fx, map, &options, c);
  const ev *started = col_wait(c, PULSE_EVENT_WATCH_STARTED, 0);
  assert_int_equal(started->state, 0);
  const ev *up = col_wait(c, PULSE_EVENT_WATCH_CAUGHT_UP, 0);
  assert_int_equal(up->revision, 1);
  check_change(change(c, 0), PULSE_MAP_OP_SET, "a", "1", NULL, 1);
  set(map, "a", "2");
  set(map, "b", "");
  erase(map, "a");
  assert_ok(pulse_map_reset_wait(map, NULL, TS_DEADLINE_MS, fx_err()));
  assert_ok(pulse_map_destroy_wait(map, NULL, TS_DEADLINE_MS, fx_err()));
  check_change(change(c, 1), PULSE_MAP_OP_SET, "a", "2", "1", 2);
  check_change(change(c, 2), PULSE_MAP_OP_SET, "b", "", NULL, 3);
  check_change(change(c, 3), PULSE_MAP_OP_DELETE, "a", NULL, "2", 4);
  check_change(change(c, 4), PULSE_MAP_OP_RESET, NULL, NULL, NULL, 5);
  check_change(change(c, 5), PULSE_MAP_OP_DESTROY, NULL, NULL, NULL, 6);
  assert_int_equal(col_at(c, 0)->kind, PULSE_EVENT_WATCH_STARTED);
  assert_int_equal(col_at(c, 2)->kind, PULSE_EVENT_WATCH_CAUGHT_UP);
}

static void filters_choose_keys(void **state) {
  fixture *fx = *state;
  pulse_map *map = fx_map(fx, "m", NULL, NULL);
  collector *by_key = fx_collector(fx), *by_prefix = fx_collector(fx), *kinds = fx_collector(fx);
  set(map, "user:1", "x");
  set(map, "job:1", "x");
  pulse_map_watch_options options = deltas();
  options.key = "user:2";
  options.key_len = 6;
  fx_watch(fx, map, &options, by_key);
  options.key = NULL;
  options.prefix = "user:";
  options.prefix_len = 5;
  fx_watch(fx, map, &options, by_prefix);
  options.mode = PULSE_WATCH_KINDS;
  fx_watch(fx, map, &options, kinds);
  col_wait(by_key, PULSE_EVENT_WATCH_CAUGHT_UP, 0);
  col_wait(by_prefix, PULSE_EVENT_WATCH_CAUGHT_UP, 0);
  set(map, "job:2", "x");
  set(map, "user:2", "y");
  assert_text(change(by_key, 0), name, "user:2");
  assert_text(change(by_prefix, 0), name, "user:1");
  assert_text(change(by_prefix, 1), name, "user:2");
  col_wait(kinds, PULSE_EVENT_MAP_CHANGED, 0);
  assert_ok(pulse_map_reset_wait(map, NULL, TS_DEADLINE_MS, fx_err()));
  assert_int_equal(change(by_key, 1)->state, PULSE_MAP_OP_RESET);
  assert_int_equal(change(by_prefix, 2)->state, PULSE_MAP_OP_RESET);
  assert_int_equal(col_count_kind(by_prefix, PULSE_EVENT_MAP_CHANGE), 3);
}

static void kinds_are_joined_while_the_host_is_busy(void **state) {
  fixture *fx = *state;
  pulse_map *map = fx_map(fx, "m", NULL, NULL);
  collector *c = fx_collector_by(fx, BY_POLL);
  c->hold = true;
  fx_watch(fx, map, NULL, c);
  set(map, "a", "1");
  set(map, "a", "2");
  erase(map, "a");
  set(map, "b", "1");
  c->hold = false;
  const ev *e = col_wait(c, PULSE_EVENT_MAP_CHANGED, 0);
  assert_int_equal(e->state, PULSE_MAP_KIND_DELETE);
  assert_int_equal(e->revision, 4);
  set(map, "b", "2");
  e = col_wait(c, PULSE_EVENT_MAP_CHANGED, 1);
  assert_int_equal(e->state, PULSE_MAP_KIND_CHANGE);
  assert_ok(pulse_map_reset_wait(map, NULL, TS_DEADLINE_MS, fx_err()));
  assert_int_equal(col_wait(c, PULSE_EVENT_MAP_CHANGED, 2)->state, PULSE_MAP_KIND_RESET);
  assert_int_equal(col_count_kind(c, PULSE_EVENT_MAP_CHANGED), 3);
}

static void a_watch_goes_on_where_the_host_was(void **state) {
  fixture *fx = *state;
  pulse_map_options map_options = PULSE_MAP_OPTIONS_INIT;
  map_options.watch_history = 4;
  pulse_map *map = fx_map(fx, "m", &map_options, NULL);
  for (int i = 1; i <= 10; ++i) {
    char value[8];
    snprintf(value, sizeof value, "%d", i);
    set(map, "k", value);
  }
  collector *near = fx_collector(fx), *far = fx_collector(fx), *now = fx_collector(fx);
  pulse_map_watch_options options = deltas();
  options.revision = 7;
  fx_watch(fx, map, &options, near);
  assert_int_equal(col_wait(near, PULSE_EVENT_WATCH_STARTED, 0)->state, 1);
  for (size_t i = 0; i < 3; ++i) assert_int_equal(change(near, i)->revision, 8 + i);
  assert_int_equal(col_wait(near, PULSE_EVENT_WATCH_CAUGHT_UP, 0)->revision, 10);
  options.revision = 2;
  fx_watch(fx, map, &options, far);
  assert_int_equal(col_wait(far, PULSE_EVENT_WATCH_STARTED, 0)->state, 0);
  check_change(change(far, 0), PULSE_MAP_OP_SET, "k", "10", NULL, 10);
  options.revision = 10;
  fx_watch(fx, map, &options, now);
  assert_int_equal(col_wait(now, PULSE_EVENT_WATCH_STARTED, 0)->state, 1);
  col_wait(now, PULSE_EVENT_WATCH_CAUGHT_UP, 0);
  set(map, "k", "11");
  assert_int_equal(change(near, 3)->revision, 11);
  assert_int_equal(change(far, 1)->revision, 11);
  assert_int_equal(change(now, 0)->revision, 11);
}

/* The host takes nothing; what it then gets leads to the same content. */
static void a_slow_host_gets_differences(void **state) {
  fixture *fx = *state;
  enum { kKeys = 300 };
  pulse_map_options map_options = PULSE_MAP_OPTIONS_INIT;
  map_options.watch_history = 10;
  pulse_map *map = fx_map(fx, "m", &map_options, NULL);
  collector *c = fx_collector_by(fx, BY_POLL);
  pulse_map_watch_options options = deltas();
  options.buffer = 5;
  fx_watch(fx, map, &options, c);
  col_wait(c, PULSE_EVENT_WATCH_CAUGHT_UP, 0);
  c->hold = true;
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < kKeys; ++i) {
      char key[8], value[8];
      snprintf(key, sizeof key, "%d", i);
      snprintf(value, sizeof value, "%d", round);
      if (round == 2 && i % 3 == 0) {
        assert_ok(pulse_map_delete(map, key, strlen(key), NULL, NULL, fx_err()));
      } else {
        assert_ok(pulse_map_set(map, key, strlen(key), value, strlen(value), NULL, NULL, fx_err()));
      }
    }
    /* So that not all of it is one version. */
    assert_ok(
        pulse_map_wait_revision(map, (uint64_t)(kKeys * (round + 1)), TS_DEADLINE_MS, fx_err()));
  }
  set(map, "last", "x");
  c->hold = false;
  int values[kKeys];
  for (int i = 0; i < kKeys; ++i) values[i] = -1;
  col_wait(c, PULSE_EVENT_WATCH_CAUGHT_UP, 1);
  for (size_t next = 0; next < col_count(c); ++next) {
    const ev *e = col_at(c, next);
    if (e->kind != PULSE_EVENT_MAP_CHANGE || strcmp(e->name, "last") == 0) continue;
    values[atoi(e->name)] = e->state == PULSE_MAP_OP_DELETE ? -1 : atoi(e->payload);
  }
  for (int i = 0; i < kKeys; ++i) assert_int_equal(values[i], i % 3 == 0 ? -1 : 2);
  const ev *resync = col_wait(c, PULSE_EVENT_WATCH_RESYNC, 0);
  assert_true(resync->count < resync->revision);
  assert_int_equal(col_wait(c, PULSE_EVENT_WATCH_CAUGHT_UP, 1)->revision, 3 * kKeys + 1);
}

static void a_watch_ends_with_closed(void **state) {
  fixture *fx = *state;
  pulse_map *map = fx_map(fx, "m", NULL, NULL);
  collector *c = fx_collector(fx), *d = fx_collector(fx);
  pulse_map_watch_options options = deltas();
  pulse_map_watch *watch = fx_watch(fx, map, &options, c);
  fx_watch(fx, map, NULL, d);
  assert_ok(pulse_map_watch_close(watch));
  assert_ok(pulse_map_watch_close_wait(watch, TS_DEADLINE_MS, fx_err()));
  col_wait(c, PULSE_EVENT_CLOSED, 0);
  fx_until(fx, col_destroyed(c) == 1);
  assert_ok(pulse_map_close_wait(map, TS_DEADLINE_MS, fx_err()));
  assert_int_equal(col_wait(d, PULSE_EVENT_CLOSED, 0)->status, PULSE_ERR_CLOSED);
  fx_until(fx, col_destroyed(d) == 1);
  assert_status(PULSE_ERR_CLOSED,
                pulse_map_watch_open(map, NULL, col_target(d, 0), &watch, fx_err()));
}

static void wrong_options_are_refused(void **state) {
  fixture *fx = *state;
  pulse_map *map = fx_map(fx, "m", NULL, NULL);
  collector *c = fx_collector(fx);
  pulse_map_watch *watch = NULL;
  pulse_map_watch_options options = PULSE_MAP_WATCH_OPTIONS_INIT;
  assert_status(PULSE_ERR_INVALID, pulse_map_watch_open(map, NULL, NULL, &watch, fx_err()));
  options.mode = 2;
  assert_status(PULSE_ERR_INVALID,
                pulse_map_watch_open(map, &options, col_target(c, 0), &watch, fx_err()));
  options.mode = 0;
  options.key = options.prefix = "x";
  options.key_len = options.prefix_len = 1;
  assert_status(PULSE_ERR_INVALID,
                pulse_map_watch_open(map, &options, col_target(c, 0), &watch, fx_err()));
  options.prefix = NULL;
  options.buffer = -5;
  assert_status(PULSE_ERR_INVALID,
                pulse_map_watch_open(map, &options, col_target(c, 0), &watch, fx_err()));
}

/* The host has not taken its changes when the map begins anew, and comes to the same revisions. */
static void a_slow_watch_is_not_told_the_changes_of_another_map(void **state) {
  fixture *fx = *state;
  pulse_map_options map_options = PULSE_MAP_OPTIONS_INIT;
  map_options.max_unnoticed_ms = 100;
  pulse_map *map = fx_map(fx, "m", &map_options, NULL);
  collector *c = fx_collector(fx);
  pulse_map_watch_options options = deltas();
  options.buffer = 2;
  fx_watch(fx, map, &options, c);
  col_wait(c, PULSE_EVENT_WATCH_CAUGHT_UP, 0);
  c->hold = true;
  for (int i = 0; i < 6; ++i) set(map, "old", "1");
  fx_redis(fx, "FLUSHALL");
  pulse_map_info info = {.size = sizeof info};
  fx_until(fx, pulse_map_get_info(map, &info) == PULSE_OK && info.rewinds == 1);
  for (int i = 0; i < 10; ++i) set(map, "new", "2");
  c->hold = false;
  const ev *resync = col_wait(c, PULSE_EVENT_WATCH_RESYNC, 0);
  assert_in_range(resync->count, 2, 6);
  assert_int_equal(col_wait(c, PULSE_EVENT_WATCH_CAUGHT_UP, 1)->revision, resync->revision);
  /* What they add up to. */
  const ev *last = NULL;
  for (size_t i = 0; last == NULL || last->revision < 10 || strcmp(last->name, "new") != 0; ++i) {
    last = change(c, i);
    if (i > 0 && last->state == PULSE_MAP_OP_DELETE) assert_text(last, name, "old");
  }
  size_t deletions = 0;
  for (size_t i = 0; i < col_count_kind(c, PULSE_EVENT_MAP_CHANGE); ++i) {
    deletions += change(c, i)->state == PULSE_MAP_OP_DELETE;
  }
  assert_int_equal(deletions, 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      BOTH_DRIVERS(a_slow_watch_is_not_told_the_changes_of_another_map),
      ALL_WAYS(deltas_tell_content_then_changes),
      BOTH_DRIVERS(filters_choose_keys),
      BOTH_DRIVERS(kinds_are_joined_while_the_host_is_busy),
      BOTH_DRIVERS(a_watch_goes_on_where_the_host_was),
      BOTH_DRIVERS(a_slow_host_gets_differences),
      BOTH_DRIVERS(a_watch_ends_with_closed),
      BOTH_DRIVERS(wrong_options_are_refused),
  };
  return cmocka_run_group_tests_name("map watches", tests, fx_group_setup, fx_group_teardown);
}
