/* map.h: lists in values.  Random operations on odd contents, against a plain reference. */
#include "fixture.h"

enum { kMaxItems = 200, kMaxText = 16384 };

/* --- the reference ------------------------------------------------------------ */

typedef struct text {
  char bytes[64];
  size_t len;
} text;

typedef struct list {
  text items[kMaxItems];
  size_t count;
} list;

static bool same(const text *a, const text *b) {
  return a->len == b->len && memcmp(a->bytes, b->bytes, a->len) == 0;
}

static bool holds(const list *l, const text *item) {
  for (size_t i = 0; i < l->count; ++i) {
    if (same(&l->items[i], item)) return true;
  }
  return false;
}

static void push(list *l, const text *item) {
  assert_true(l->count < kMaxItems);
  l->items[l->count++] = *item;
}

/* A JSON array as the server writes it. */
static size_t encode(const list *l, char *out) {
  size_t n = 0;
  out[n++] = '[';
  for (size_t i = 0; i < l->count; ++i) {
    if (i > 0) out[n++] = ',';
    out[n++] = '"';
    for (size_t k = 0; k < l->items[i].len; ++k) {
      static const char special[] = "\"\\/\b\f\n\r\t", names[] = "\"\\/bfnrt";
      unsigned char c = (unsigned char)l->items[i].bytes[k];
      const char *found = c == 0 ? NULL : strchr(special, c);
      if (found != NULL) {
        out[n++] = '\\';
        out[n++] = names[found - special];
      } else if (c < 32 || c == 127) {
        n += (size_t)sprintf(out + n, "\\u%04x", c);
      } else {
        out[n++] = (char)c;
      }
    }
    out[n++] = '"';
    assert_true(n < kMaxText - 512);
  }
  out[n++] = ']';
  return n;
}

/* What is in a key. */
typedef struct model {
  bool exists;
  bool object; /* no list: refused */
  list items;
  char raw[kMaxText];
  size_t raw_len;
} model;

static void write_items(model *m) {
  m->exists = true;
  m->raw_len = encode(&m->items, m->raw);
}

/* --- odd contents ---------------------------------------------------------------- */

static uint64_t g_random;

static unsigned up_to(unsigned most) {
  g_random = g_random * 6364136223846793005u + 1442695040888963407u;
  return (unsigned)(g_random >> 33) % (most + 1);
}

static text random_item(void) {
  static const char *const odd[] = {"",
                                    "a",
                                    "b",
                                    "a/b",
                                    "\"",
                                    "\\",
                                    "\\u0041",
                                    "a,b",
                                    ",",
                                    "[]",
                                    "[1]",
                                    "{}",
                                    "null",
                                    "1",
                                    "\xc3\xa9",
                                    "\xf0\x9f\x98\x80",
                                    " a ",
                                    "\n",
                                    "\t\r",
                                    "\x7f",
                                    "\x01\x1f",
                                    "\b\f",
                                    "\xff\xfe invalid",
                                    "\xed\xa0\x80",
                                    "true",
                                    "'",
                                    "</a>",
                                    "%s",
                                    "1e999",
                                    "[\"a\"]",
                                    "=",
                                    "x y"};
  text item = {.len = 0};
  if (up_to(3) == 0) { /* any bytes, NUL among them */
    item.len = up_to(12);
    for (size_t i = 0; i < item.len; ++i) item.bytes[i] = (char)up_to(255);
    return item;
  }
  const char *chosen = odd[up_to(sizeof odd / sizeof odd[0] - 1)];
  item.len = strlen(chosen);
  memcpy(item.bytes, chosen, item.len);
  return item;
}

static void add_raw(model *m, const char *bytes, size_t len) {
  assert_true(m->raw_len + len < kMaxText);
  memcpy(m->raw + m->raw_len, bytes, len);
  m->raw_len += len;
}

static void add_blanks(model *m) {
  static const char *const blanks[] = {"", "", "", " ", "\n", "\t\r\n  "};
  const char *chosen = blanks[up_to(5)];
  add_raw(m, chosen, strlen(chosen));
}

/* A string as one or another JSON writer would have it. */
static void add_string(model *m, const text *item) {
  add_raw(m, "\"", 1);
  for (size_t i = 0; i < item->len; ++i) {
    unsigned char c = (unsigned char)item->bytes[i];
    char escaped[8];
    if (c < 32 || c == '"' || c == '\\' || (c < 128 && up_to(9) == 0)) {
      snprintf(escaped, sizeof escaped, up_to(1) == 0 ? "\\u%04x" : "\\u%04X", c);
      add_raw(m, escaped, 6);
    } else {
      add_raw(m, item->bytes + i, 1);
    }
  }
  add_raw(m, "\"", 1);
}

static void make_array(model *m) {
  const unsigned count = up_to(6);
  add_blanks(m);
  add_raw(m, "[", 1);
  add_blanks(m);
  for (unsigned i = 0; i < count; ++i) {
    text item = random_item();
    if (up_to(7) == 0) { /* beyond the basic plane, escaped */
      item = (text){"\xf0\x9f\x98\x80", 4};
      add_raw(m, "\"\\ud83d\\uDE00\"", 14);
    } else {
      add_string(m, &item);
    }
    push(&m->items, &item);
    add_blanks(m);
    if (i + 1 < count) add_raw(m, ",", 1);
    add_blanks(m);
  }
  add_raw(m, "]", 1);
  add_blanks(m);
}

/* What is no JSON array: what commas separate, nothing between two of them is nothing. */
static void make_legacy(model *m) {
  static const char *const values[] = {"a",
                                       "a,b,c",
                                       ",a,,b,",
                                       ",",
                                       "a b, c",
                                       "1,2,1",
                                       "12",
                                       "-1.5e3",
                                       "true",
                                       "null",
                                       "\"text\"",
                                       "[\"a\"",
                                       "[\"a\",]",
                                       "['a','b']",
                                       "[\"a\" x",
                                       "[\"a\"]]",
                                       "a:{},b",
                                       "\xc3\xa9,\xff",
                                       "[\"\\ud800\"]",
                                       "x[,]",
                                       "\\"};
  const char *chosen = values[up_to(sizeof values / sizeof values[0] - 1)];
  add_raw(m, chosen, strlen(chosen));
  for (const char *at = chosen; *at != '\0';) {
    size_t len = strcspn(at, ",");
    text item = {.len = len};
    memcpy(item.bytes, at, len);
    if (len > 0) push(&m->items, &item);
    at += len + (at[len] == ',');
  }
}

static void make_object(model *m) {
  static const char *const values[] = {"{}", " {\"a\":1}", "{\"1\":\"a\"}", "\n{\"a\":[\"b\"]}"};
  const char *chosen = values[up_to(3)];
  add_raw(m, chosen, strlen(chosen));
  m->object = true;
}

static void make(model *m) {
  memset(m, 0, sizeof *m);
  const unsigned kind = up_to(9);
  m->exists = kind > 0;
  if (kind >= 1 && kind <= 4) make_array(m);
  if (kind >= 5 && kind <= 7) make_legacy(m);
  if (kind == 8) make_object(m);
  /* 9: the empty value */
}

/* --- comparing --------------------------------------------------------------------- */

static void check_list(const pulse_list *got, const list *expected) {
  assert_int_equal(pulse_list_size(got), expected->count);
  for (size_t i = 0; i < expected->count; ++i) {
    size_t size = 0;
    const char *item = pulse_list_at(got, i, &size);
    fx_check_text(item, size, expected->items[i].bytes, expected->items[i].len, "item", __FILE__,
                  __LINE__);
  }
}

static void check_value(const pulse_bytes *value, const model *m) {
  if (!m->exists) {
    assert_null(value);
    return;
  }
  assert_non_null(value);
  fx_check_text(pulse_bytes_data(value), pulse_bytes_size(value), m->raw, m->raw_len, "value",
                __FILE__, __LINE__);
  if (m->object) return;
  pulse_list *parsed = NULL;
  assert_ok(pulse_list_parse(pulse_bytes_data(value), pulse_bytes_size(value), &parsed, fx_err()));
  check_list(parsed, &m->items);
  pulse_list_unref(parsed);
}

typedef enum operation { APPEND, UNIQUE, REMOVE } operation;

/* Whether it writes. */
static bool apply(model *m, operation what, const text *items, size_t count) {
  if (what == REMOVE) {
    list kept = {.count = 0};
    for (size_t i = 0; i < m->items.count; ++i) {
      bool unwanted = false;
      for (size_t k = 0; k < count; ++k) unwanted |= same(&m->items.items[i], &items[k]);
      if (!unwanted) push(&kept, &m->items.items[i]);
    }
    if (kept.count == m->items.count) return false;
    m->items = kept;
    if (kept.count > 0) {
      write_items(m);
    } else {
      m->exists = false;
      m->raw_len = 0;
    }
    return true;
  }
  size_t before = m->items.count;
  for (size_t i = 0; i < count; ++i) {
    if (what == APPEND || !holds(&m->items, &items[i])) push(&m->items, &items[i]);
  }
  if (m->items.count == before) return false;
  write_items(m);
  return true;
}

static void run(fixture *fx, pulse_map *map, model *m, uint64_t *revision) {
  text items[4];
  pulse_map_item given[4];
  const size_t count = up_to(4);
  for (size_t i = 0; i < count; ++i) {
    /* Often one that is there. */
    bool known = m->items.count > 0 && up_to(1) == 0;
    items[i] = known ? m->items.items[up_to((unsigned)m->items.count - 1)] : random_item();
    given[i] = (pulse_map_item){items[i].bytes, items[i].len};
  }
  const operation what = m->items.count > kMaxItems / 2 ? REMOVE : (operation)up_to(2);
  pulse_map_result r = PULSE_MAP_RESULT_INIT;
  pulse_status status =
      what == APPEND ? pulse_map_append_wait(map, "l", 1, given, count, &r, TS_DEADLINE_MS, NULL)
      : what == UNIQUE
          ? pulse_map_append_unique_wait(map, "l", 1, given, count, &r, TS_DEADLINE_MS, NULL)
          : pulse_map_remove_values_wait(map, "l", 1, given, count, &r, TS_DEADLINE_MS, NULL);
  if (m->object && count > 0) {
    assert_int_equal(status, PULSE_ERR_WRONG_TYPE);
    assert_true(fx_redis_int(fx, "HLEN map:m:content") > 0);
    return;
  }
  assert_int_equal(status, PULSE_OK);
  assert_int_equal(r.existed, m->exists);
  const bool writes = apply(m, what, items, count);
  assert_int_equal(r.updated, writes);
  if (writes) ++*revision;
  assert_int_equal(r.revision, writes ? *revision : 0);
  check_value(r.value, m);
  pulse_bytes_unref(r.value);
}

/* --- the tests ------------------------------------------------------------------------ */

static void lists_are_what_the_reference_says(void **state) {
  fixture *fx = *state;
  const char *seed = getenv("PULSE_FAULT_SEED");
  g_random = seed != NULL ? strtoull(seed, NULL, 10) : (uint64_t)ts_now_ms();
  print_message("# seed %llu (PULSE_FAULT_SEED)\n", (unsigned long long)g_random);
  pulse_map_options options = PULSE_MAP_OPTIONS_INIT;
  options.read_your_writes = 1;
  pulse_map *map = fx_map(fx, "m", &options, NULL);
  uint64_t revision = 0;
  static model m;
  const int64_t rounds = ts_scaled(150);
  for (int64_t round = 0; round < rounds; ++round) {
    make(&m);
    pulse_map_result r = PULSE_MAP_RESULT_INIT;
    assert_ok(m.exists
                  ? pulse_map_set_wait(map, "l", 1, m.raw, m.raw_len, &r, TS_DEADLINE_MS, fx_err())
                  : pulse_map_delete_wait(map, "l", 1, &r, TS_DEADLINE_MS, fx_err()));
    pulse_bytes_unref(r.value);
    revision += (uint64_t)r.updated;
    for (int i = 0; i < 12; ++i) run(fx, map, &m, &revision);
    /* The replica and the hash have it too. */
    pulse_bytes *value = NULL;
    pulse_status status = pulse_map_get(map, "l", 1, &value);
    assert_int_equal(status, m.exists ? PULSE_OK : PULSE_ERR_NOT_FOUND);
    check_value(m.exists ? value : NULL, &m);
    if (m.exists) pulse_bytes_unref(value);
    ts_reply *there = ts_command(fx->server, "HGET", "map:m:content", "l", NULL);
    assert_int_equal(ts_reply_is_nil(there), !m.exists);
    if (m.exists) {
      fx_check_text(ts_reply_text(there), ts_reply_size(there), m.raw, m.raw_len, "hash", __FILE__,
                    __LINE__);
    }
    ts_reply_free(there);
    pulse_list *items = NULL;
    if (m.exists && !m.object) {
      assert_ok(pulse_map_get_list(map, "l", 1, &items, fx_err()));
      check_list(items, &m.items);
      pulse_list_unref(items);
    }
  }
  char text_of_revision[24];
  snprintf(text_of_revision, sizeof text_of_revision, "%llu", (unsigned long long)revision);
  assert_true(revision > 0);
  assert_true(fx_redis_is(fx, text_of_revision, "HGET map:m:content =rev"));
}

/* JSON that can be read and not be written.  It must do no harm to others in the same script run.
 */
static void a_list_that_cannot_be_written_is_refused_alone(void **state) {
  fixture *fx = *state;
  pulse_map *map = fx_map(fx, "m", NULL, NULL);
  collector *c = fx_collector(fx);
  static const char *const values[] = {"[1e999,\"a\"]", "[-1e999,\"a\"]", "[NaN,\"a\"]"};
  pulse_map_item item = {"a", 1}, other = {"b", 1};
  for (size_t i = 0; i < 3; ++i) {
    assert_ok(pulse_map_set_wait(map, "l", 1, values[i], strlen(values[i]), NULL, TS_DEADLINE_MS,
                                 fx_err()));
    size_t done = col_count(c);
    assert_ok(pulse_map_set(map, "k", 1, values[i], 1, col_target(c, 0), NULL, fx_err()));
    assert_ok(pulse_map_append(map, "l", 1, &other, 1, col_target(c, 1), NULL, fx_err()));
    assert_ok(pulse_map_append_unique(map, "l", 1, &other, 1, col_target(c, 2), NULL, fx_err()));
    assert_ok(pulse_map_remove_values(map, "l", 1, &item, 1, col_target(c, 3), NULL, fx_err()));
    assert_ok(pulse_map_set(map, "k2", 2, values[i], 1, col_target(c, 4), NULL, fx_err()));
    for (size_t k = 0; k < 5; ++k) {
      const ev *e = col_wait(c, PULSE_EVENT_MAP_WRITTEN, done + k);
      assert_int_equal(e->token, k);
      assert_int_equal(e->status, k % 4 == 0 ? PULSE_OK : PULSE_ERR_WRONG_TYPE);
    }
  }
  assert_true(fx_redis_is(fx, "9", "HGET map:m:content =rev"));
  assert_true(fx_redis_is(fx, values[2], "HGET map:m:content l"));
  assert_ok(pulse_map_wait_revision(map, 9, TS_DEADLINE_MS, fx_err()));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      BOTH_DRIVERS(lists_are_what_the_reference_says),
      BOTH_DRIVERS(a_list_that_cannot_be_written_is_refused_alone),
  };
  return cmocka_run_group_tests_name("map_lists", tests, fx_group_setup, fx_group_teardown);
}
