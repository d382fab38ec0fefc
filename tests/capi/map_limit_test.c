/* map.h: what the server could not tell all subscribers of is refused before it is written.
 *
 * Each test has a server of its own, with a small `client-output-buffer-limit pubsub`. */
#include "fixture.h"

enum { LIMIT = 1000000, LARGE = 2 * LIMIT };

static char large[LARGE];

typedef struct scene {
  ts_server *server;
  pulse_engine *engine;
  pulse_map *map;
} scene;

static void limit(scene *s) {
  char text[64];
  snprintf(text, sizeof text, "pubsub %d 0 0", LIMIT);
  ts_reply *reply =
      ts_command(s->server, "CONFIG", "SET", "client-output-buffer-limit", text, NULL);
  assert_false(ts_reply_is_error(reply));
  ts_reply_free(reply);
}

static pulse_map *join(pulse_engine *engine) {
  pulse_map_options options = PULSE_MAP_OPTIONS_INIT;
  options.max_value_bytes = 64 << 20;
  pulse_map *map = NULL;
  assert_ok(pulse_map_join(engine, "m", 1, &options, NULL, &map, fx_err()));
  return map;
}

static scene begin(fixture *fx) {
  memset(large, 'v', sizeof large);
  scene s = {.server = ts_server_start(NULL)};
  assert_non_null(s.server);
  limit(&s);
  pulse_engine_options options = fx_options(fx);
  options.url = ts_server_url(s.server);
  options.reconnect_max_ms = 20;
  s.engine = fx_ready(fx, &options);
  s.map = join(s.engine);
  assert_ok(pulse_map_wait_synced(s.map, TS_DEADLINE_MS, fx_err()));
  return s;
}

static void end(scene *s) {
  pulse_map_unref(s->map);
  assert_ok(pulse_engine_close_wait(s->engine, TS_DEADLINE_MS, fx_err()));
  ts_server_free(s->server);
}

static pulse_status set(pulse_map *map, size_t size) {
  return pulse_map_set_wait(map, "k", 1, large, size, NULL, TS_DEADLINE_MS, fx_err());
}

static uint64_t revision_of(scene *s) {
  ts_reply *reply = ts_command(s->server, "HGET", "map:m:content", "=rev", NULL);
  const uint64_t revision =
      ts_reply_size(reply) == 0 ? 0 : strtoull(ts_reply_text(reply), NULL, 10);
  ts_reply_free(reply);
  return revision;
}

/* Nobody was cut off, and the map is at this revision. */
static void check_followed(scene *s, uint64_t revision) {
  assert_int_equal(revision_of(s), revision);
  assert_ok(pulse_map_wait_revision(s->map, revision, TS_DEADLINE_MS, fx_err()));
  pulse_map_info info = {.size = sizeof info};
  assert_ok(pulse_map_get_info(s->map, &info));
  assert_int_equal(info.disconnects, 0);
  assert_int_equal(info.revision, revision);
}

static void values_that_cut_off_subscribers_are_refused(void **state) {
  fixture *fx = *state;
  scene s = begin(fx);
  /* The server counts the memory that it takes for a message, which is more than the message. */
  for (size_t size = LARGE; size > LIMIT * 4 / 5; size -= 25000) {
    assert_status(PULSE_ERR_TOO_LARGE, set(s.map, size));
  }
  assert_int_equal(revision_of(&s), 0);
  assert_ok(set(s.map, LIMIT * 7 / 10));
  check_followed(&s, 1);
  end(&s);
}

/* Before the server was asked, too. */
static void so_are_those_of_a_map_that_was_joined_just_now(void **state) {
  fixture *fx = *state;
  scene s = begin(fx);
  for (uint64_t i = 0; i < 5; ++i) {
    pulse_map *map = join(s.engine);
    assert_status(PULSE_ERR_TOO_LARGE, set(map, LARGE));
    /* What is small enough waits for nothing, in order. */
    assert_ok(set(map, 10));
    pulse_map_unref(map);
    check_followed(&s, i + 1);
  }
  end(&s);
}

static void lists_do_not_grow_beyond_it(void **state) {
  fixture *fx = *state;
  scene s = begin(fx);
  pulse_map_item item = {large, LIMIT / 2};
  assert_ok(pulse_map_append_wait(s.map, "l", 1, &item, 1, NULL, TS_DEADLINE_MS, fx_err()));
  assert_status(PULSE_ERR_TOO_LARGE,
                pulse_map_append_wait(s.map, "l", 1, &item, 1, NULL, TS_DEADLINE_MS, fx_err()));
  check_followed(&s, 1);
  end(&s);
}

static pulse_status set_batch(scene *s, size_t count, size_t size) {
  char keys[32][8];
  pulse_map_batch_item items[32];
  for (size_t i = 0; i < count; ++i) {
    const int length = snprintf(keys[i], sizeof keys[i], "k%zu", i);
    items[i] = (pulse_map_batch_item){.op = PULSE_MAP_OP_SET,
                                      .key = keys[i],
                                      .key_len = (size_t)length,
                                      .value = large,
                                      .value_len = size};
  }
  return pulse_map_batch_wait(s->map, items, sizeof items[0], count, NULL, TS_DEADLINE_MS,
                              fx_err());
}

/* Its messages leave the server together. */
static void a_batch_counts_as_a_whole(void **state) {
  fixture *fx = *state;
  scene s = begin(fx);
  assert_status(PULSE_ERR_TOO_LARGE, set_batch(&s, 32, LIMIT / 16));
  assert_int_equal(revision_of(&s), 0);
  assert_ok(set_batch(&s, 32, LIMIT / 64));
  check_followed(&s, 32);
  end(&s);
}

static void a_server_that_comes_back_is_asked_again(void **state) {
  fixture *fx = *state;
  scene s = begin(fx);
  assert_status(PULSE_ERR_TOO_LARGE, set(s.map, LARGE));
  ts_server_stop(s.server);
  assert_int_equal(ts_server_restart(s.server), 1); /* with its usual limit */
  fx_until(fx, pulse_map_set_wait(s.map, "k", 1, large, LARGE, NULL, TS_DEADLINE_MS, NULL) == 0);
  fx_until(fx, pulse_map_size(s.map) == 1);
  end(&s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      BOTH_DRIVERS(values_that_cut_off_subscribers_are_refused),
      BOTH_DRIVERS(so_are_those_of_a_map_that_was_joined_just_now),
      BOTH_DRIVERS(lists_do_not_grow_beyond_it),
      BOTH_DRIVERS(a_batch_counts_as_a_whole),
      BOTH_DRIVERS(a_server_that_comes_back_is_asked_again),
  };
  return cmocka_run_group_tests_name("map limits", tests, fx_group_setup, fx_group_teardown);
}
