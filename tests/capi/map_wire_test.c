/* Every operation on maps, against the recording of a Go peer (tests/wire/map-steps.txt): what it
 * gives, what it publishes, what it leaves, and what a watcher is told. */
#include "fixture.h"
#include "vectors.h"

enum { kHourMs = 3600000, kMaps = 3 };

/* --- the maps of the recording ---------------------------------------------- */

typedef struct scene {
  fixture *fx;
  vectors *recorded;
  ts_connection *listener;
  struct {
    const char *name;
    pulse_map *map;
  } maps[kMaps];
  collector *watched; /* a KINDS watch of "m" */
  size_t notified;    /* so many of its events were compared */
} scene;

static ts_connection *listen_to(fixture *fx, const char *const *channels, size_t count) {
  ts_connection *listener = ts_connection_open(fx->server);
  for (size_t i = 0; i < count; ++i) {
    ts_reply_free(ts_connection_command(listener, "SUBSCRIBE", channels[i], NULL));
  }
  return listener;
}

static void begin(scene *s, fixture *fx) {
  static const char *const channels[] = {"map:m:updates", "map:t:updates", "map:t2:updates"};
  memset(s, 0, sizeof *s);
  s->fx = fx;
  s->recorded = vectors_load("map-steps.txt");
  s->listener = listen_to(fx, channels, kMaps);
  pulse_map_options absolute = PULSE_MAP_OPTIONS_INIT, sliding = PULSE_MAP_OPTIONS_INIT;
  absolute.ttl_ms = kHourMs;
  sliding.sliding_ttl_ms = kHourMs;
  s->maps[0].name = "m";
  s->maps[0].map = fx_map(fx, "m", NULL, NULL);
  s->maps[1].name = "t";
  s->maps[1].map = fx_map(fx, "t", &absolute, NULL);
  s->maps[2].name = "t2";
  s->maps[2].map = fx_map(fx, "t2", &sliding, NULL);
  s->watched = fx_collector(fx);
  fx_watch(fx, s->maps[0].map, NULL, s->watched);
}

static void end(scene *s) {
  ts_connection_free(s->listener);
  vectors_free(s->recorded);
}

static pulse_map *map_of(const scene *s, const char *name) {
  for (size_t i = 0; i < kMaps; ++i) {
    if (strcmp(s->maps[i].name, name) == 0) return s->maps[i].map;
  }
  fail_msg("no map %s", name);
  return NULL;
}

/* --- the operations ----------------------------------------------------------- */

static pulse_map_result run(pulse_map *map, const vector_line *line) {
  pulse_map_result r = PULSE_MAP_RESULT_INIT;
  const char *op = line->words[3];
  const char *key = line->words[4], *a = line->words[5], *b = line->words[6];
  const size_t key_len = line->sizes[4], a_len = line->sizes[5], b_len = line->sizes[6];
  const int64_t wait = TS_DEADLINE_MS;
  pulse_map_item items[VECTOR_MAX_WORDS];
  size_t count = 0;
  for (size_t i = 5; i < line->count; ++i) {
    items[count++] = (pulse_map_item){line->words[i], line->sizes[i]};
  }
  if (strcmp(op, "set") == 0) {
    assert_ok(pulse_map_set_wait(map, key, key_len, a, a_len, &r, wait, fx_err()));
  } else if (strcmp(op, "setwait") == 0) {
    assert_ok(pulse_map_set_and_wait_wait(map, key, key_len, a, a_len, &r, wait, fx_err()));
    pulse_map_info info = {.size = sizeof info};
    assert_ok(pulse_map_get_info(map, &info));
    assert_true(info.revision >= r.revision);
  } else if (strcmp(op, "setnx") == 0) {
    assert_ok(pulse_map_set_if_absent_wait(map, key, key_len, a, a_len, &r, wait, fx_err()));
  } else if (strcmp(op, "tas") == 0) {
    assert_ok(
        pulse_map_test_and_set_wait(map, key, key_len, a, a_len, b, b_len, &r, wait, fx_err()));
  } else if (strcmp(op, "inc") == 0) {
    assert_ok(pulse_map_increment_wait(map, key, key_len, atoll(a), &r, wait, fx_err()));
  } else if (strcmp(op, "append") == 0) {
    assert_ok(pulse_map_append_wait(map, key, key_len, items, count, &r, wait, fx_err()));
  } else if (strcmp(op, "appendunique") == 0) {
    assert_ok(pulse_map_append_unique_wait(map, key, key_len, items, count, &r, wait, fx_err()));
  } else if (strcmp(op, "remove") == 0) {
    assert_ok(pulse_map_remove_values_wait(map, key, key_len, items, count, &r, wait, fx_err()));
  } else if (strcmp(op, "tad") == 0) {
    assert_ok(pulse_map_test_and_delete_wait(map, key, key_len, a, a_len, &r, wait, fx_err()));
  } else if (strcmp(op, "del") == 0) {
    assert_ok(pulse_map_delete_wait(map, key, key_len, &r, wait, fx_err()));
  } else if (strcmp(op, "reset") == 0) {
    assert_ok(pulse_map_reset_wait(map, &r, wait, fx_err()));
  } else if (strcmp(op, "destroy") == 0) {
    assert_ok(pulse_map_destroy_wait(map, &r, wait, fx_err()));
  } else {
    assert_string_equal(op, "dump"); /* compared by its line "dumped" */
  }
  return r;
}

/* --- comparing ------------------------------------------------------------------ */

static void check_bytes(const pulse_bytes *value, const char *expected, size_t size) {
  assert_non_null(value);
  fx_check_text(pulse_bytes_data(value), pulse_bytes_size(value), expected, size, "value", __FILE__,
                __LINE__);
}

static void check_result(const pulse_map_result *r, const vector_line *line) {
  for (size_t i = 1; i + 1 < line->count; i += 2) {
    const char *name = line->words[i], *expected = line->words[i + 1];
    if (strcmp(name, "existed") == 0) {
      assert_int_equal(r->existed, atoi(expected));
    } else if (strcmp(name, "value") == 0) {
      assert_int_equal(r->number, atoll(expected));
      check_bytes(r->value, expected, line->sizes[i + 1]);
    } else if (strcmp(name, "prev") == 0 && !r->existed) {
      assert_null(r->value);
      assert_string_equal(expected, ""); /* Go has no "none" */
    } else if (strcmp(name, "prev") == 0) {
      check_bytes(r->value, expected, line->sizes[i + 1]);
    } else { /* set, updated, deleted, removed, reset, destroyed */
      assert_int_equal(r->updated, atoi(expected));
    }
  }
}

static void check_values(const pulse_map_result *r, const vector_line *line) {
  if (strcmp(line->words[1], "null") == 0) {
    assert_null(r->value);
    return;
  }
  assert_non_null(r->value);
  pulse_list *list = NULL;
  assert_ok(
      pulse_list_parse(pulse_bytes_data(r->value), pulse_bytes_size(r->value), &list, fx_err()));
  assert_int_equal(pulse_list_size(list), line->count - 2);
  for (size_t i = 2; i < line->count; ++i) {
    size_t size = 0;
    const char *item = pulse_list_at(list, i - 2, &size);
    fx_check_text(item, size, line->words[i], line->sizes[i], "item", __FILE__, __LINE__);
  }
  pulse_list_unref(list);
}

/* Keys and values from word `first` on. */
static void check_content(pulse_map *map, const vector_line *line, size_t first) {
  pulse_map_snapshot *snapshot = NULL;
  assert_ok(pulse_map_take_snapshot(map, &snapshot, fx_err()));
  assert_int_equal(pulse_map_snapshot_size(snapshot), (line->count - first) / 2);
  for (size_t i = first; i + 1 < line->count; i += 2) {
    pulse_bytes *value = NULL;
    assert_int_equal(pulse_map_snapshot_get(snapshot, line->words[i], line->sizes[i], &value),
                     PULSE_OK);
    check_bytes(value, line->words[i + 1], line->sizes[i + 1]);
    pulse_bytes_unref(value);
  }
  pulse_map_snapshot_unref(snapshot);
}

/* The message must be the very next one; its revision is what the write gave. */
static void check_published(scene *s, const vector_line *line, const pulse_map_result *r) {
  ts_reply *message = ts_connection_read(s->listener, TS_DEADLINE_MS);
  assert_int_equal(ts_reply_get_type(message), TS_ARRAY);
  assert_string_equal(ts_reply_text(ts_reply_at(message, 1)), line->words[1]);
  const ts_reply *bytes = ts_reply_at(message, 2);
  fx_check_text(ts_reply_text(bytes), ts_reply_size(bytes), line->words[2], line->sizes[2],
                line->words[1], __FILE__, __LINE__);
  char revision[24];
  int size = snprintf(revision, sizeof revision, "%llu", (unsigned long long)r->revision);
  assert_true(line->sizes[2] > (size_t)size);
  assert_string_equal(line->words[2] + line->sizes[2] - size, revision);
  ts_reply_free(message);
}

static void check_watched(scene *s, const vector_line *line) {
  static const char *const kinds[] = {
      [PULSE_MAP_KIND_CHANGE] = "change",
      [PULSE_MAP_KIND_DELETE] = "delete",
      [PULSE_MAP_KIND_RESET] = "reset",
  };
  const ev *e = col_wait(s->watched, PULSE_EVENT_MAP_CHANGED, s->notified++);
  assert_in_range(e->state, PULSE_MAP_KIND_CHANGE, PULSE_MAP_KIND_RESET);
  assert_string_equal(kinds[e->state], line->words[1]);
  assert_text(e, stream, "m");
  check_content(map_of(s, "m"), line, 2);
}

static void check_hash(fixture *fx, const vector_line *line) {
  const ts_reply *hash = fx_redis(fx, "HGETALL %s", line->words[1]);
  assert_int_equal(ts_reply_size(hash), line->count - 2);
  for (size_t i = 2; i + 1 < line->count; i += 2) {
    const ts_reply *value = ts_reply_field(hash, line->words[i]);
    assert_non_null(value);
    fx_check_text(ts_reply_text(value), ts_reply_size(value), line->words[i + 1],
                  line->sizes[i + 1], line->words[i], __FILE__, __LINE__);
  }
}

/* --- the tests ------------------------------------------------------------------- */

static void every_operation_is_as_recorded(void **state) {
  scene s;
  begin(&s, *state);
  pulse_map *map = NULL;
  pulse_map_result r = PULSE_MAP_RESULT_INIT;
  size_t runs = 0, published = 0, published_by_this = 0, watched = 0, snapshots = 0;
  for (size_t i = 0; i < s.recorded->count; ++i) {
    const vector_line *line = &s.recorded->lines[i];
    const char *what = line->words[0];
    if (strcmp(what, "run") == 0) {
      if (published_by_this == 0) assert_int_equal(r.revision, 0);
      pulse_bytes_unref(r.value);
      map = map_of(&s, line->words[1]);
      r = run(map, line);
      ++runs;
      published_by_this = 0;
    } else if (strcmp(what, "result") == 0) {
      check_result(&r, line);
    } else if (strcmp(what, "values") == 0) {
      check_values(&r, line);
    } else if (strcmp(what, "dumped") == 0) {
      check_content(map, line, 1);
    } else if (strcmp(what, "published") == 0) {
      check_published(&s, line, &r);
      ++published_by_this;
      ++published;
    } else if (strcmp(what, "watched") == 0) {
      check_watched(&s, line);
      ++watched;
    } else {
      assert_string_equal(what, "snapshot");
      check_hash(s.fx, line);
      ++snapshots;
    }
  }
  pulse_bytes_unref(r.value);
  assert_int_equal(runs, 32);
  assert_int_equal(published, 23);
  assert_int_equal(watched, 21);
  assert_int_equal(snapshots, 6);
  /* Nothing else was published, and nobody was told of anything else. */
  fx_redis(s.fx, "PUBLISH map:t:updates end");
  ts_reply *last = ts_connection_read(s.listener, TS_DEADLINE_MS);
  assert_true(ts_reply_equals(ts_reply_at(last, 2), "end"));
  ts_reply_free(last);
  assert_int_equal(col_count_kind(s.watched, PULSE_EVENT_MAP_CHANGED), watched);
  assert_in_range(fx_redis_int(s.fx, "PTTL map:t:content"), kHourMs - 100000, kHourMs);
  assert_in_range(fx_redis_int(s.fx, "PTTL map:t2:content"), kHourMs - 100000, kHourMs);
  assert_int_equal(fx_redis_int(s.fx, "PTTL map:m:content"), -1);
  assert_int_equal(fx_redis_int(s.fx, "DBSIZE"), 3);
  end(&s);
}

/* An absolute time to live is set once, a sliding one by each write; what only reads sets none. */
static void the_time_to_live_is_set_as_go_sets_it(void **state) {
  fixture *fx = *state;
  pulse_map_options absolute = PULSE_MAP_OPTIONS_INIT, sliding = PULSE_MAP_OPTIONS_INIT;
  absolute.ttl_ms = kHourMs;
  sliding.sliding_ttl_ms = kHourMs;
  pulse_map *t = fx_map(fx, "t", &absolute, NULL), *t2 = fx_map(fx, "t2", &sliding, NULL);
  for (int i = 0; i < 2; ++i) {
    assert_ok(pulse_map_set_wait(t, "k", 1, "v", 1, NULL, TS_DEADLINE_MS, fx_err()));
    assert_ok(pulse_map_set_wait(t2, "k", 1, "v", 1, NULL, TS_DEADLINE_MS, fx_err()));
    if (i > 0) break;
    fx_redis(fx, "PEXPIRE map:t:content 1000000");
    fx_redis(fx, "PEXPIRE map:t2:content 1000000");
  }
  assert_in_range(fx_redis_int(fx, "PTTL map:t:content"), 900000, 1000000);
  assert_in_range(fx_redis_int(fx, "PTTL map:t2:content"), kHourMs - 100000, kHourMs);
  fx_redis(fx, "PEXPIRE map:t2:content 1000000");
  assert_ok(pulse_map_append_wait(t2, "l", 1, NULL, 0, NULL, TS_DEADLINE_MS, fx_err()));
  assert_ok(pulse_map_delete_wait(t2, "none", 4, NULL, TS_DEADLINE_MS, fx_err()));
  assert_in_range(fx_redis_int(fx, "PTTL map:t2:content"), 900000, 1000000);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      BOTH_DRIVERS(every_operation_is_as_recorded),
      BOTH_DRIVERS(the_time_to_live_is_set_as_go_sets_it),
  };
  return cmocka_run_group_tests_name("map_wire", tests, fx_group_setup, fx_group_teardown);
}
