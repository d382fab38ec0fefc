/* map.h: how a replica stays in step, and says when it does not. */
#include "fixture.h"

static bool has(pulse_map *map, const char *key, const char *expected) {
  char buffer[256];
  size_t size = 0;
  pulse_status status = pulse_map_get_copy(map, key, strlen(key), buffer, sizeof buffer, &size);
  if (expected == NULL) return status == PULSE_ERR_NOT_FOUND;
  return status == PULSE_OK && size == strlen(expected) && memcmp(buffer, expected, size) == 0;
}

static pulse_map_info info_of(pulse_map *map) {
  pulse_map_info info = {.size = sizeof info};
  assert_ok(pulse_map_get_info(map, &info));
  return info;
}

static void set(pulse_map *map, const char *key, const char *value) {
  assert_ok(pulse_map_set_wait(map, key, strlen(key), value, strlen(value), NULL, TS_DEADLINE_MS,
                               fx_err()));
}

/* Probes fifty times as often as by default. */
static pulse_map *quick_map(fixture *fx, collector *c) {
  pulse_map_options options = PULSE_MAP_OPTIONS_INIT;
  options.max_unnoticed_ms = 100;
  return fx_map(fx, "m", &options, c);
}

/* The states told, from the nth on: each as expected, in order. */
static void check_states(collector *c, size_t nth, const int *states, const int *reasons,
                         size_t count) {
  for (size_t i = 0; i < count; ++i) {
    const ev *e = col_wait(c, PULSE_EVENT_MAP_STATE, nth + i);
    assert_int_equal(e->state, states[i]);
    assert_int_equal(e->count, reasons[i]);
  }
}

static void a_join_tells_its_states(void **state) {
  fixture *fx = *state;
  fx_redis(fx, "HSET map:m:content a 1 =rev 3 =kind set");
  collector *c = fx_collector(fx);
  pulse_map *map = fx_map(fx, "m", NULL, c);
  const ev *e = col_wait(c, PULSE_EVENT_MAP_STATE, 0);
  assert_int_equal(e->state, PULSE_MAP_SYNCED);
  assert_int_equal(e->revision, 3);
  assert_text(e, stream, "m");
  assert_ok(pulse_map_close_wait(map, TS_DEADLINE_MS, fx_err()));
  col_wait(c, PULSE_EVENT_CLOSED, 0);
  assert_int_equal(info_of(map).state, PULSE_MAP_CLOSED);
  pulse_bytes *value = NULL;
  assert_int_equal(pulse_map_get(map, "a", 1, &value), PULSE_ERR_CLOSED);
}

static void another_engines_writes_arrive(void **state) {
  fixture *fx = *state;
  pulse_map *here = fx_map(fx, "m", NULL, NULL);
  pulse_engine *engine = fx_ready(fx, NULL);
  pulse_map *there = NULL;
  assert_ok(pulse_map_join_wait(engine, "m", 1, NULL, NULL, TS_DEADLINE_MS, &there, fx_err()));
  for (int i = 0; i < 500; ++i) {
    char value[16];
    snprintf(value, sizeof value, "%d", i);
    assert_ok(
        pulse_map_set(i % 2 ? here : there, "k", 1, value, strlen(value), NULL, NULL, fx_err()));
  }
  fx_until(fx, info_of(here).revision == 500 && info_of(there).revision == 500);
  pulse_bytes *a = NULL, *b = NULL;
  assert_ok(pulse_map_get(here, "k", 1, &a));
  assert_ok(pulse_map_get(there, "k", 1, &b));
  assert_int_equal(pulse_bytes_size(a), pulse_bytes_size(b));
  assert_memory_equal(pulse_bytes_data(a), pulse_bytes_data(b), pulse_bytes_size(a));
  pulse_bytes_unref(a);
  pulse_bytes_unref(b);
  pulse_map_unref(there);
}

static void a_lost_subscription_is_told_and_made_good(void **state) {
  fixture *fx = *state;
  collector *c = fx_collector(fx);
  pulse_map *map = fx_map(fx, "m", NULL, c);
  set(map, "a", "1");
  fx_redis(fx, "MULTI");
  fx_redis(fx, "CLIENT KILL TYPE pubsub");
  fx_redis(fx, "HSET map:m:content a 2 b 1 =rev 2 =kind set");
  fx_redis(fx, "EXEC");
  check_states(c, 1, (int[]){PULSE_MAP_STALE, PULSE_MAP_SYNCING, PULSE_MAP_SYNCED},
               (int[]){PULSE_MAP_REASON_DISCONNECTED, PULSE_MAP_REASON_DISCONNECTED, 0}, 3);
  assert_true(has(map, "a", "2") && has(map, "b", "1"));
  assert_int_equal(info_of(map).disconnects, 1);
  assert_int_equal(info_of(map).resyncs, 2);
}

static void a_missing_revision_is_noticed(void **state) {
  fixture *fx = *state;
  collector *c = fx_collector(fx);
  pulse_map *map = fx_map(fx, "m", NULL, c);
  set(map, "a", "1");
  fx_redis(fx, "HSET map:m:content a 2 b 1 =rev 2 =kind set"); /* nobody is told */
  set(map, "c", "3");
  check_states(c, 1, (int[]){PULSE_MAP_STALE, PULSE_MAP_SYNCING, PULSE_MAP_SYNCED},
               (int[]){PULSE_MAP_REASON_MISSED, PULSE_MAP_REASON_MISSED, 0}, 3);
  assert_true(has(map, "a", "2") && has(map, "b", "1") && has(map, "c", "3"));
}

static void a_silent_change_is_noticed_by_the_probe(void **state) {
  fixture *fx = *state;
  collector *c = fx_collector(fx);
  pulse_map *map = quick_map(fx, c);
  set(map, "a", "1");
  fx_redis(fx, "HSET map:m:content a 2 =rev 2 =kind set");
  check_states(c, 1, (int[]){PULSE_MAP_STALE, PULSE_MAP_SYNCING, PULSE_MAP_SYNCED},
               (int[]){PULSE_MAP_REASON_DISAGREES, PULSE_MAP_REASON_DISAGREES, 0}, 3);
  assert_true(has(map, "a", "2"));
}

static void messages_that_make_no_sense_do_no_harm(void **state) {
  fixture *fx = *state;
  collector *c = fx_collector(fx);
  pulse_map *map = fx_map(fx, "m", NULL, c);
  static const char *forged[] = {
      "x", "set:", "del:zzzz", "reset:", "reset:9223372036854775808", "unknown:1"};
  for (size_t i = 0; i < sizeof forged / sizeof forged[0]; ++i) {
    char value[8];
    snprintf(value, sizeof value, "%zu", i);
    fx_redis(fx, "PUBLISH map:m:updates %s", forged[i]);
    fx_until(fx, info_of(map).malformed == i + 1);
    set(map, "k", value);
    fx_until(fx, has(map, "k", value));
    fx_until(fx, info_of(map).state == PULSE_MAP_SYNCED);
  }
  check_states(c, 1, (int[]){PULSE_MAP_STALE}, (int[]){PULSE_MAP_REASON_MALFORMED}, 1);
  /* A reset that never was. */
  fx_redis(fx, "PUBLISH map:m:updates reset:77");
  fx_until(fx, info_of(map).state == PULSE_MAP_SYNCED && has(map, "k", "5") &&
                   info_of(map).revision == 6);
}

/* The time to live ends while the content is on its way. */
static void a_copy_may_last_longer_than_the_map(void **state) {
  fixture *fx = *state;
  ts_fault *fault = ts_fault_start();
  assert_non_null(fault);
  ts_fault_answer_text(fault, "PTTL", ":20\r\n", 1);
  ts_fault_answer_text(fault, "HGETALL", "*2\r\n$1\r\nk\r\n$1\r\nv\r\n", 0);
  ts_fault_delay(fault, "HGETALL", 300);
  pulse_engine_options options = fx_options(fx);
  options.url = ts_fault_url(fault);
  fx_ready(fx, &options);
  pulse_map *map = fx_map(fx, "m", NULL, NULL);
  assert_true(has(map, "k", "v"));
  assert_ok(pulse_engine_close_wait(fx->engine, TS_DEADLINE_MS, fx_err()));
  ts_fault_free(fault);
}

static void lost_data_is_told(void **state) {
  fixture *fx = *state;
  collector *c = fx_collector(fx);
  pulse_map *map = quick_map(fx, c);
  for (int i = 0; i < 10; ++i) set(map, "a", "1");
  assert_ok(pulse_map_wait_revision(map, 10, TS_DEADLINE_MS, fx_err()));
  fx_redis(fx, "FLUSHALL");
  const ev *e = col_wait(c, PULSE_EVENT_MAP_REWOUND, 0);
  assert_int_equal(e->count, 10);
  assert_int_equal(e->revision, 0);
  fx_until(fx, pulse_map_size(map) == 0);
  assert_int_equal(info_of(map).rewinds, 1);
  set(map, "b", "2");
  fx_until(fx, has(map, "b", "2"));
  assert_int_equal(info_of(map).revision, 1);
}

static void a_key_of_another_type_is_told(void **state) {
  fixture *fx = *state;
  collector *c = fx_collector(fx);
  pulse_map *map = quick_map(fx, c);
  set(map, "a", "1");
  fx_until(fx, has(map, "a", "1"));
  fx_redis(fx, "SET map:m:content x");
  check_states(c, 1, (int[]){PULSE_MAP_STALE}, (int[]){PULSE_MAP_REASON_WRONG_TYPE}, 1);
  assert_true(has(map, "a", "1")); /* what is there is answered */
  assert_status(PULSE_ERR_WRONG_TYPE,
                pulse_map_set_wait(map, "a", 1, "2", 1, NULL, TS_DEADLINE_MS, fx_err()));
  fx_redis(fx, "DEL map:m:content");
  fx_until(fx, info_of(map).state == PULSE_MAP_SYNCED && pulse_map_size(map) == 0);
}

static void a_map_that_is_too_large_is_told(void **state) {
  fixture *fx = *state;
  collector *c = fx_collector(fx);
  pulse_map_options options = PULSE_MAP_OPTIONS_INIT;
  options.max_keys = 3;
  pulse_map *map = fx_map(fx, "m", &options, c);
  set(map, "a", "1");
  set(map, "b", "1");
  set(map, "c", "1");
  set(map, "d", "1");
  check_states(c, 1, (int[]){PULSE_MAP_STALE}, (int[]){PULSE_MAP_REASON_LIMIT}, 1);
  assert_int_equal(pulse_map_size(map), 3);
  assert_true(has(map, "a", "1"));
  assert_ok(pulse_map_delete_wait(map, "a", 1, NULL, TS_DEADLINE_MS, fx_err()));
  fx_until(fx, info_of(map).state == PULSE_MAP_SYNCED && has(map, "d", "1") && has(map, "a", NULL));
}

static void a_write_that_the_limit_hides_completes(void **state) {
  fixture *fx = *state;
  pulse_map_options options = PULSE_MAP_OPTIONS_INIT;
  options.max_keys = 1;
  options.read_your_writes = 1;
  pulse_map *map = fx_map(fx, "m", &options, NULL);
  set(map, "a", "1");
  assert_true(has(map, "a", "1"));
  /* The one that passes the limit itself, and others while it is passed. */
  pulse_map_result result = PULSE_MAP_RESULT_INIT;
  assert_ok(pulse_map_set_wait(map, "b", 1, "2", 1, &result, TS_DEADLINE_MS, fx_err()));
  assert_int_equal(result.updated, 1);
  assert_int_equal(result.revision, 2);
  fx_until(fx, info_of(map).reason == PULSE_MAP_REASON_LIMIT);
  for (uint64_t revision = 3; revision < 6; ++revision) {
    assert_ok(pulse_map_set_and_wait_wait(map, "c", 1, "3", 1, &result, TS_DEADLINE_MS, fx_err()));
    assert_int_equal(result.revision, revision);
    pulse_bytes_unref(result.value);
  }
  assert_true(has(map, "b", NULL) && has(map, "c", NULL));
  /* Back within the limit they wait again. */
  pulse_map_batch_item items[] = {{.op = PULSE_MAP_OP_DELETE, .key = "a", .key_len = 1},
                                  {.op = PULSE_MAP_OP_DELETE, .key = "b", .key_len = 1}};
  assert_ok(pulse_map_batch_wait(map, items, sizeof *items, 2, NULL, TS_DEADLINE_MS, fx_err()));
  assert_ok(pulse_map_wait_synced(map, TS_DEADLINE_MS, fx_err()));
  set(map, "c", "4");
  assert_true(has(map, "c", "4"));
}

static void a_map_may_be_larger_than_any_reply(void **state) {
  fixture *fx = *state;
  pulse_map *there = fx_map(fx, "m", NULL, NULL);
  char value[1000];
  memset(value, 'v', sizeof value);
  enum { KEYS = 4000 };
  pulse_map_batch_item items[KEYS];
  char keys[KEYS][8];
  for (int i = 0; i < KEYS; ++i) {
    int n = snprintf(keys[i], sizeof *keys, "k%d", i);
    items[i] = (pulse_map_batch_item){.op = PULSE_MAP_OP_SET,
                                      .key = keys[i],
                                      .key_len = (size_t)n,
                                      .value = value,
                                      .value_len = sizeof value};
  }
  assert_ok(
      pulse_map_batch_wait(there, items, sizeof *items, KEYS, NULL, TS_DEADLINE_MS, fx_err()));
  assert_ok(pulse_map_wait_revision(there, KEYS, TS_DEADLINE_MS, fx_err()));
  pulse_engine_options options = fx_options(fx);
  options.max_reply_bytes = 1 << 20;
  pulse_engine *engine = fx_ready(fx, &options);
  pulse_map *map = NULL;
  assert_ok(pulse_map_join_wait(engine, "m", 1, NULL, NULL, TS_DEADLINE_MS, &map, fx_err()));
  assert_int_equal(pulse_map_size(map), KEYS);
  assert_int_equal(info_of(map).bytes, info_of(there).bytes);
  assert_int_equal(info_of(map).revision, KEYS);
  for (int i = 0; i < KEYS; ++i) {
    pulse_bytes *copy = NULL;
    assert_ok(pulse_map_get(map, keys[i], strlen(keys[i]), &copy));
    assert_int_equal(pulse_bytes_size(copy), sizeof value);
    assert_memory_equal(pulse_bytes_data(copy), value, sizeof value);
    pulse_bytes_unref(copy);
  }
  pulse_map_unref(map);
}

/* However long the server takes for it. */
static void a_copy_holds_up_nothing_else(void **state) {
  fixture *fx = *state;
  ts_fault *fault = ts_fault_start();
  assert_non_null(fault);
  ts_fault_silence(fault, "HGETALL", 0);
  pulse_engine_options options = fx_options(fx);
  options.url = ts_fault_url(fault);
  pulse_engine *engine = fx_ready(fx, &options);
  pulse_map *map = NULL;
  assert_ok(pulse_map_join(engine, "m", 1, NULL, NULL, &map, fx_err()));
  fx_until(fx, ts_fault_count(fault, "HGETALL") == 1);
  assert_ok(pulse_engine_ping_wait(engine, NULL, TS_DEADLINE_MS, fx_err()));
  assert_int_equal(info_of(map).state, PULSE_MAP_SYNCING);
  pulse_map_unref(map);
  assert_ok(pulse_engine_close_wait(engine, TS_DEADLINE_MS, fx_err()));
  ts_fault_free(fault);
}

static void keys_are_forgotten_when_the_map_expires(void **state) {
  fixture *fx = *state;
  collector *c = fx_collector(fx), *w = fx_collector(fx);
  pulse_map_options options = PULSE_MAP_OPTIONS_INIT;
  options.ttl_ms = 300;
  pulse_map *map = fx_map(fx, "m", &options, c);
  fx_watch(fx, map, NULL, w);
  set(map, "a", "1");
  int64_t ttl = fx_redis_int(fx, "PTTL map:m:content");
  assert_true(ttl > 0 && ttl <= 300);
  fx_until(fx, has(map, "a", "1"));
  /* Another write does not make it live longer. */
  set(map, "b", "1");
  assert_true(fx_redis_int(fx, "PTTL map:m:content") <= ttl);
  fx_until(fx, pulse_map_size(map) == 0);
  assert_int_equal(fx_redis_int(fx, "EXISTS map:m:content"), 0);
  fx_until(fx, info_of(map).state == PULSE_MAP_SYNCED);
  assert_int_equal(info_of(map).rewinds, 0);
  fx_until(fx, col_count_kind(w, PULSE_EVENT_MAP_CHANGED) > 0);
  set(map, "c", "1");
  fx_until(fx, has(map, "c", "1"));
}

/* Whoever follows a map knows its time to live, whoever gave it one. */
static void a_time_to_live_that_others_gave_is_known(void **state) {
  fixture *fx = *state;
  pulse_map_options options = PULSE_MAP_OPTIONS_INIT;
  options.max_unnoticed_ms = 3600000; /* no probe tells */
  pulse_map *following = fx_map(fx, "m", &options, NULL);
  options = (pulse_map_options)PULSE_MAP_OPTIONS_INIT;
  options.ttl_ms = 3600000;
  pulse_map *writing = fx_map(fx, "m", &options, NULL);
  set(writing, "a", "1");
  fx_until(fx, info_of(following).ttl_ms > 0);
  set(writing, "a", "2");
  assert_ok(pulse_map_reset_wait(following, NULL, TS_DEADLINE_MS, fx_err()));
  fx_until(fx, info_of(following).revision == 3 && info_of(following).ttl_ms < 0);
  set(writing, "a", "3");
  assert_ok(pulse_map_reset_wait(writing, NULL, TS_DEADLINE_MS, fx_err()));
  fx_until(fx, info_of(following).revision == 5 && info_of(following).ttl_ms > 0);
}

/* Lost long before its time to live was over. */
static void a_map_that_would_expire_can_be_lost_too(void **state) {
  fixture *fx = *state;
  collector *c = fx_collector(fx);
  pulse_map_options options = PULSE_MAP_OPTIONS_INIT;
  options.max_unnoticed_ms = 100;
  options.ttl_ms = 3600000;
  pulse_map *map = fx_map(fx, "m", &options, c);
  set(map, "a", "1");
  assert_ok(pulse_map_wait_revision(map, 1, TS_DEADLINE_MS, fx_err()));
  fx_redis(fx, "FLUSHALL");
  assert_int_equal(col_wait(c, PULSE_EVENT_MAP_REWOUND, 0)->count, 1);
}

static void a_sliding_ttl_is_renewed_by_writes(void **state) {
  fixture *fx = *state;
  pulse_map_options options = PULSE_MAP_OPTIONS_INIT;
  options.sliding_ttl_ms = 60000;
  pulse_map *map = fx_map(fx, "m", &options, NULL);
  set(map, "a", "1");
  fx_redis(fx, "PEXPIRE map:m:content 5000");
  set(map, "a", "2");
  assert_true(fx_redis_int(fx, "PTTL map:m:content") > 50000);
}

/* A watch's differences after a resynchronisation. */
static void a_watch_is_told_what_was_missed(void **state) {
  fixture *fx = *state;
  pulse_map *map = fx_map(fx, "m", NULL, NULL);
  collector *c = fx_collector(fx), *k = fx_collector(fx);
  set(map, "a", "1");
  set(map, "b", "1");
  fx_until(fx, has(map, "b", "1"));
  pulse_map_watch_options options = PULSE_MAP_WATCH_OPTIONS_INIT;
  options.mode = PULSE_WATCH_DELTAS;
  options.old_values = 1;
  fx_watch(fx, map, &options, c);
  fx_watch(fx, map, NULL, k);
  col_wait(c, PULSE_EVENT_WATCH_CAUGHT_UP, 0);
  fx_redis(fx, "MULTI");
  fx_redis(fx, "CLIENT KILL TYPE pubsub");
  fx_redis(fx, "HSET map:m:content a 2 =rev 4 =kind set");
  fx_redis(fx, "HDEL map:m:content b");
  fx_redis(fx, "EXEC");
  const ev *e = col_wait(c, PULSE_EVENT_WATCH_RESYNC, 0);
  assert_int_equal(e->count, 2);
  assert_int_equal(e->revision, 4);
  assert_int_equal(col_wait(c, PULSE_EVENT_WATCH_CAUGHT_UP, 1)->revision, 4);
  size_t seen = 0;
  for (size_t i = 2; i < 4; ++i) {
    e = col_wait(c, PULSE_EVENT_MAP_CHANGE, i);
    assert_int_equal(e->revision, 4);
    if (strcmp(e->name, "a") == 0) {
      assert_int_equal(e->state, PULSE_MAP_OP_SET);
      assert_text(e, payload, "2");
      assert_text(e, old_value, "1");
      seen |= 1;
    } else {
      assert_text(e, name, "b");
      assert_int_equal(e->state, PULSE_MAP_OP_DELETE);
      seen |= 2;
    }
  }
  assert_int_equal(seen, 3);
  assert_int_equal(col_count_kind(c, PULSE_EVENT_MAP_CHANGE), 4);
  /* One notification, of the strongest kind. */
  assert_int_equal(col_wait(k, PULSE_EVENT_MAP_CHANGED, 0)->state, PULSE_MAP_KIND_DELETE);
  assert_int_equal(col_count_kind(k, PULSE_EVENT_MAP_CHANGED), 1);
}

static void repeated_losses_of_the_subscription_name_the_likely_cause(void **state) {
  fixture *fx = *state;
  collector *c = fx_collector(fx);
  fx_map(fx, "m", NULL, c);
  for (size_t losses = 0; losses < 3; ++losses) {
    assert_int_equal(col_wait(c, PULSE_EVENT_MAP_STATE, 3 * losses)->state, PULSE_MAP_SYNCED);
    fx_redis(fx, "CLIENT KILL TYPE pubsub");
    const ev *e = col_wait(c, PULSE_EVENT_MAP_STATE, 3 * losses + 1);
    assert_int_equal(e->state, PULSE_MAP_STALE);
    const bool reported = strstr(e->message, "client-output-buffer-limit") != NULL;
    assert_int_equal(reported, losses == 2);
  }
}

static void a_write_cut_off_says_so(void **state) {
  fixture *fx = *state;
  ts_proxy *proxy = ts_proxy_start(fx->server);
  pulse_engine_options options = fx_options(fx);
  options.url = ts_proxy_url(proxy);
  options.reconnect_max_ms = 20;
  pulse_engine *engine = fx_ready(fx, &options);
  pulse_map *map = NULL;
  assert_ok(pulse_map_join_wait(engine, "m", 1, NULL, NULL, TS_DEADLINE_MS, &map, fx_err()));
  collector *c = fx_collector(fx);
  ts_proxy_stall(proxy, TS_TO_CLIENT);
  assert_ok(pulse_map_set(map, "k", 1, "v", 1, col_target(c, 0), NULL, fx_err()));
  fx_until(fx, fx_redis_int(fx, "EXISTS map:m:content") == 1);
  ts_proxy_cut_all(proxy);
  const ev *e = col_wait(c, PULSE_EVENT_MAP_WRITTEN, 0);
  assert_int_equal(e->status, PULSE_ERR_DISCONNECTED);
  assert_true((e->flags & PULSE_ERROR_OUTCOME_UNKNOWN) != 0);
  ts_proxy_resume(proxy, TS_TO_CLIENT);
  assert_ok(pulse_map_set_wait(map, "k", 1, "w", 1, NULL, TS_DEADLINE_MS, fx_err()));
  fx_until(fx, has(map, "k", "w"));
  pulse_map_unref(map);
  assert_ok(pulse_engine_close_wait(engine, TS_DEADLINE_MS, fx_err()));
  ts_proxy_free(proxy);
}

/* --- behind a proxy --------------------------------------------------------------- */

typedef struct behind_proxy {
  ts_proxy *proxy;
  pulse_engine *engine;
  pulse_map *map;     /* behind the proxy; probes often */
  pulse_map *writing; /* not behind it */
} behind_proxy;

static behind_proxy behind_proxy_open(fixture *fx) {
  behind_proxy p = {ts_proxy_start(fx->server), NULL, NULL, NULL};
  pulse_engine_options options = fx_options(fx);
  options.url = ts_proxy_url(p.proxy);
  p.engine = fx_ready(fx, &options);
  pulse_map_options map_options = PULSE_MAP_OPTIONS_INIT;
  map_options.max_unnoticed_ms = 100;
  assert_ok(
      pulse_map_join_wait(p.engine, "m", 1, &map_options, NULL, TS_DEADLINE_MS, &p.map, fx_err()));
  pulse_engine *other = fx_ready(fx, NULL);
  assert_ok(pulse_map_join_wait(other, "m", 1, NULL, NULL, TS_DEADLINE_MS, &p.writing, fx_err()));
  return p;
}

static void behind_proxy_close(behind_proxy *p) {
  pulse_map_unref(p->map);
  pulse_map_unref(p->writing);
  assert_ok(pulse_engine_close_wait(p->engine, TS_DEADLINE_MS, fx_err()));
  ts_proxy_free(p->proxy);
}

/* How often the server has executed it. */
static int64_t calls(fixture *fx, const char *command) {
  char name[64];
  snprintf(name, sizeof name, "cmdstat_%s:calls=", command);
  const char *text = ts_reply_text(fx_redis(fx, "INFO commandstats"));
  const char *at = strstr(text, name);
  return at == NULL ? 0 : strtoll(at + strlen(name), NULL, 10);
}

/* Back in step although there is always another message. */
static void check_back_in_step(fixture *fx, behind_proxy *p) {
  fx_until(fx, pulse_map_increment_wait(p->writing, "n", 1, 1, NULL, TS_DEADLINE_MS, fx_err()) ==
                       PULSE_OK &&
                   info_of(p->map).state == PULSE_MAP_SYNCED);
  set(p->writing, "end", "1");
  fx_until(fx, has(p->map, "end", "1"));
}

static void swallowed_pongs_are_noticed(void **state) {
  fixture *fx = *state;
  behind_proxy p = behind_proxy_open(fx);
  ts_proxy_drop_published(p.proxy, 1);
  /* One of a probe, and one that is to bring a copy. */
  const int64_t before = calls(fx, "ping");
  fx_until(fx, calls(fx, "ping") >= before + 2);
  fx_until(fx, info_of(p.map).state == PULSE_MAP_STALE);
  ts_proxy_drop_published(p.proxy, 0);
  check_back_in_step(fx, &p);
  behind_proxy_close(&p);
}

static void a_swallowed_confirmation_is_noticed(void **state) {
  fixture *fx = *state;
  behind_proxy p = behind_proxy_open(fx);
  ts_proxy_drop_published(p.proxy, 1);
  fx_redis(fx, "CLIENT KILL TYPE pubsub");
  const char *name = "map:m:updates";
  fx_until(fx, ts_reply_integer(ts_reply_at(fx_redis(fx, "PUBSUB NUMSUB %s", name), 1)) == 2);
  fx_redis(fx, "PING"); /* the confirmation has left before */
  ts_proxy_drop_published(p.proxy, 1);
  ts_proxy_drop_published(p.proxy, 0);
  check_back_in_step(fx, &p);
  behind_proxy_close(&p);
}

/* A copy of a hash that is no more when it comes, behind the first updates of the next one. */
static void a_copy_of_a_hash_before_is_not_continued(void **state) {
  fixture *fx = *state;
  behind_proxy p = behind_proxy_open(fx);
  for (int i = 0; i < 3; i++) set(p.writing, "old", "1");
  fx_until(fx, info_of(p.map).revision == 3);
  const int64_t copies = calls(fx, "hgetall");
  fx_redis(fx, "PUBLISH map:m:updates x");
  while (info_of(p.map).state != PULSE_MAP_SYNCING) {
    assert_true(pulse_engine_run_once(p.engine, 0, 0) >= 0);
  }
  /* The copy was asked for; its answer, and what follows, waits until the loop runs again. */
  const int64_t end = ts_now_ms() + TS_DEADLINE_MS;
  while (calls(fx, "hgetall") == copies) assert_true(ts_now_ms() < end);
  ts_proxy_stall(p.proxy, TS_TO_SERVER);
  fx_redis(fx, "DEL map:m:content");
  for (int i = 0; i < 4; i++) set(p.writing, "new", "1");
  fx_until(fx, info_of(p.map).revision == 4 || info_of(p.map).state == PULSE_MAP_STALE);
  ts_proxy_resume(p.proxy, TS_TO_SERVER);
  fx_until(fx, info_of(p.map).state == PULSE_MAP_SYNCED && info_of(p.map).revision == 4);
  assert_true(has(p.map, "old", NULL) && has(p.map, "new", "1"));
  behind_proxy_close(&p);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      BOTH_DRIVERS(a_join_tells_its_states),
      BOTH_DRIVERS(another_engines_writes_arrive),
      BOTH_DRIVERS(a_lost_subscription_is_told_and_made_good),
      BOTH_DRIVERS(a_missing_revision_is_noticed),
      BOTH_DRIVERS(a_silent_change_is_noticed_by_the_probe),
      BOTH_DRIVERS(messages_that_make_no_sense_do_no_harm),
      BOTH_DRIVERS(a_copy_may_last_longer_than_the_map),
      BOTH_DRIVERS(lost_data_is_told),
      BOTH_DRIVERS(a_key_of_another_type_is_told),
      BOTH_DRIVERS(a_map_that_is_too_large_is_told),
      BOTH_DRIVERS(a_write_that_the_limit_hides_completes),
      BOTH_DRIVERS(a_map_may_be_larger_than_any_reply),
      BOTH_DRIVERS(a_copy_holds_up_nothing_else),
      BOTH_DRIVERS(keys_are_forgotten_when_the_map_expires),
      BOTH_DRIVERS(a_time_to_live_that_others_gave_is_known),
      BOTH_DRIVERS(a_map_that_would_expire_can_be_lost_too),
      BOTH_DRIVERS(a_sliding_ttl_is_renewed_by_writes),
      BOTH_DRIVERS(a_watch_is_told_what_was_missed),
      BOTH_DRIVERS(repeated_losses_of_the_subscription_name_the_likely_cause),
      BOTH_DRIVERS(a_write_cut_off_says_so),
      BOTH_DRIVERS(swallowed_pongs_are_noticed),
      BOTH_DRIVERS(a_swallowed_confirmation_is_noticed),
      MANUAL_ONLY(a_copy_of_a_hash_before_is_not_continued),
  };
  return cmocka_run_group_tests_name("map sync", tests, fx_group_setup, fx_group_teardown);
}
