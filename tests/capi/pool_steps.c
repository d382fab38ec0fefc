#include "pool_steps.h"

#include <ctype.h>

#include "vectors.h"

/* --- texts without what differs from run to run ------------------------------------------------
 */

static size_t digits_at(const char *text, size_t size) {
  size_t count = 0;
  while (count < size && isdigit((unsigned char)text[count])) ++count;
  return count;
}

static bool is_id_at(const char *text, size_t size) {
  static const char letters[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
  if (size < POOL_ID_SIZE || memcmp(text, "01", 2) != 0) return false;
  for (size_t i = 0; i < POOL_ID_SIZE; ++i) {
    if (text[i] == '\0' || strchr(letters, text[i]) == NULL) return false;
  }
  return true;
}

static size_t name_of(pool_names *known, const char *id) {
  for (size_t i = 0; i < known->count; ++i) {
    if (memcmp(known->ids[i], id, POOL_ID_SIZE) == 0) return i;
  }
  assert_true(known->count < POOL_MAX_NAMES);
  memcpy(known->ids[known->count], id, POOL_ID_SIZE);
  return known->count++;
}

/* Appends a word: ids by their names (all alike without `known`), times and ids of events as such,
 * and what cannot be printed as \xNN. */
static void append_word(char *out, const char *word, size_t size, pool_names *known) {
  size_t at = strlen(out);
  for (size_t i = 0; i < size;) {
    const size_t digits = digits_at(word + i, size - i);
    assert_true(at + 16 < POOL_MAX_TEXT);
    if (is_id_at(word + i, size - i)) {
      if (known == NULL) {
        at += (size_t)sprintf(out + at, "<id>");
      } else {
        at += (size_t)sprintf(out + at, "<id %zu>", name_of(known, word + i));
      }
      i += POOL_ID_SIZE;
    } else if (digits == 19) {
      at += (size_t)sprintf(out + at, "<ns>");
      i += digits;
    } else if (digits == 13 && i + 13 < size && word[i + 13] == '-') {
      at += (size_t)sprintf(out + at, "<event>");
      i += 14 + digits_at(word + i + 14, size - i - 14);
    } else {
      const unsigned char c = (unsigned char)word[i++];
      at += (size_t)sprintf(out + at, isprint(c) ? "%c" : "\\x%02x", c);
    }
  }
  out[at++] = ' ';
  out[at] = '\0';
}

/* --- effects: what peers can see of a node ------------------------------------------- */

/* A message without its last part. */
static size_t without_revision(const char *message, size_t size) {
  if (size > 8 && memcmp(message, "destroy:", 8) == 0) return 8;
  for (size_t digits = 1; digits < 8 && digits + 4 < size; ++digits) {
    const char *length = message + size - digits - 4;
    if (length[0] == (char)digits && memcmp(length + 1, "\0\0", 3) == 0) return size - digits - 4;
  }
  return size;
}

static void append_effect(pool_effects *to, const vector_line *line, const pool_view *how,
                          size_t step) {
  char text[POOL_MAX_TEXT] = "";
  const char *verb = line->words[0];
  if (strcmp(verb, "PUBLISH") == 0) {
    size_t size = line->sizes[2];
    if (how->no_revisions) size = without_revision(line->words[2], size);
    append_word(text, verb, line->sizes[0], NULL);
    append_word(text, line->words[1], line->sizes[1], how->known);
    append_word(text, line->words[2], size, how->known);
  } else if (strcmp(verb, "XADD") == 0) {
    size_t n = 3;
    assert_true(line->count >= n + 4);
    assert_string_equal(line->words[n], "n");
    assert_string_equal(line->words[n + 2], "p");
    char *payload = line->words[n + 3];
    const size_t size = line->sizes[n + 3];
    if (strcmp(line->words[n + 1], "j") == 0) memset(payload + size - 9, 0, 8); /* created */
    append_word(text, verb, line->sizes[0], NULL);
    append_word(text, line->words[1], line->sizes[1], how->known);
    append_word(text, line->words[n + 1], line->sizes[n + 1], NULL);
    append_word(text, payload, size, how->known);
    for (size_t i = n + 4; i < line->count; i += 2) { /* what peers ignore */
      assert_memory_equal(line->words[i], "h:", 2);
    }
  } else if (strcmp(verb, "XACK") == 0 || strcmp(verb, "DEL") == 0) {
    for (size_t i = 0; i < line->count; ++i) {
      append_word(text, line->words[i], line->sizes[i], how->known);
    }
  } else {
    return;
  }
  for (const char *const *without = how->without; *without != NULL; ++without) {
    if (strncmp(text, *without, strlen(*without)) == 0) return;
  }
  assert_true(to->count < POOL_MAX_EFFECTS);
  pool_effect *added = &to->list[to->count++];
  memcpy(added->text, text, sizeof text);
  added->step = step;
}

/* --- what was recorded --------------------------------------------------------------- */

static size_t find_moment(const vectors *v, const char *name) {
  for (size_t i = 0; i < v->count; ++i) {
    if (strcmp(v->lines[i].words[0], "moment") == 0 && strcmp(v->lines[i].words[1], name) == 0) {
      return i;
    }
  }
  fail_msg("no moment \"%s\"", name);
  return 0;
}

static size_t scenario_of(const vectors *v, size_t line) {
  while (strcmp(v->lines[line].words[0], "scenario") != 0) --line;
  return line;
}

/* What happened between two moments; NULL: since the beginning. */
void pool_recorded(const char *after, const char *until, const pool_view *how, pool_effects *out) {
  vectors *v = vectors_load("pool-steps.txt");
  const size_t end = find_moment(v, until);
  const size_t begin = after == NULL ? scenario_of(v, end) : find_moment(v, after);
  out->count = 0;
  for (size_t i = begin + 1; i < end; ++i) append_effect(out, &v->lines[i], how, i);
  vectors_free(v);
}

/* A recorded word as if it had been written `ms` later. */
static size_t shifted(char *out, const char *word, size_t size, int64_t ms) {
  const size_t digits = digits_at(word, size);
  if (digits == 19 && size == 19) return (size_t)sprintf(out, "%lld", atoll(word) + ms * 1000000LL);
  if (digits == 13 && size > 13 && word[13] == '-') {
    return (size_t)sprintf(out, "%lld%s", atoll(word) + (long long)ms, word + 13);
  }
  memcpy(out, word, size);
  return size;
}

/* All that the peers had written until a moment, which is `age_ms` ago. */
void pool_load(fixture *fx, const char *moment, int64_t age_ms) {
  vectors *v = vectors_load("pool-steps.txt");
  const size_t end = find_moment(v, moment);
  const ts_reply *time = fx_redis(fx, "TIME");
  const int64_t now_ms = atoll(ts_reply_text(ts_reply_at(time, 0))) * 1000;
  const int64_t later_ms = now_ms - age_ms - atoll(v->lines[end].words[2]);
  for (size_t i = scenario_of(v, end) + 1; i < end; ++i) {
    const vector_line *line = &v->lines[i];
    if (strcmp(line->words[0], "PUBLISH") == 0 || strcmp(line->words[0], "moment") == 0) continue;
    char words[VECTOR_MAX_WORDS][512];
    const char *command[VECTOR_MAX_WORDS];
    size_t sizes[VECTOR_MAX_WORDS];
    for (size_t k = 0; k < line->count; ++k) {
      assert_true(line->sizes[k] < sizeof words[k]);
      sizes[k] = shifted(words[k], line->words[k], line->sizes[k], later_ms);
      command[k] = words[k];
    }
    ts_reply *reply = ts_command_argv(fx->server, line->count, command, sizes);
    if (ts_reply_is_error(reply)) fail_msg("%s: %s", line->words[0], ts_reply_text(reply));
    ts_reply_free(reply);
  }
  vectors_free(v);
}

/* --- what we do ---------------------------------------------------------------------- */

ts_connection *pool_monitor(fixture *fx) {
  ts_connection *monitor = ts_connection_open(fx->server);
  ts_reply *ok = ts_connection_command(monitor, "MONITOR", NULL);
  assert_true(ts_reply_equals(ok, "OK"));
  ts_reply_free(ok);
  return monitor;
}

static bool has_effects(const char *command) {
  static const char *const verbs[] = {"\"PUBLISH\" ", "\"XADD\" ", "\"XACK\" ", "\"DEL\" "};
  for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; ++i) {
    if (strncmp(command, verbs[i], strlen(verbs[i])) == 0) return true;
  }
  return false;
}

/* One for each event.  A router acks what its worker has acked already: only the first counts. */
static void append_acks(pool_effects *to, const vector_line *line, const pool_view *how,
                        size_t step, char acked[][32]) {
  for (size_t i = 3; i < line->count; ++i) {
    size_t known = 0;
    while (acked[known][0] != '\0' && strcmp(acked[known], line->words[i]) != 0) ++known;
    if (acked[known][0] != '\0') continue;
    assert_true(known + 1 < POOL_MAX_EFFECTS && line->sizes[i] < sizeof acked[0]);
    memcpy(acked[known], line->words[i], line->sizes[i] + 1);
    vector_line one = *line;
    one.count = 4;
    one.words[3] = line->words[i];
    one.sizes[3] = line->sizes[i];
    append_effect(to, &one, how, step);
  }
}

/* Up to now. */
void pool_monitored(fixture *fx, ts_connection *monitor, const pool_view *how, pool_effects *out) {
  static int marks;
  char mark[32], acked[POOL_MAX_EFFECTS][32];
  size_t step = 0;
  memset(acked, 0, sizeof acked);
  snprintf(mark, sizeof mark, "pool-mark-%d", ++marks);
  fx_redis(fx, "ECHO %s", mark);
  out->count = 0;
  for (bool done = false; !done;) {
    ts_reply *reply = ts_connection_read(monitor, TS_DEADLINE_MS);
    assert_int_not_equal(ts_reply_get_type(reply), TS_NONE);
    const char *text = ts_reply_text(reply);
    done = strstr(text, mark) != NULL;
    if (strstr(text, " lua] ") == NULL) ++step;
    const char *command = strstr(text, "] \"");
    if (command != NULL && has_effects(command + 2)) {
      vector_line line;
      vector_line_parse(&line, command + 2);
      if (strcmp(line.words[0], "XACK") == 0) {
        append_acks(out, &line, how, step, acked);
      } else {
        append_effect(out, &line, how, step);
      }
      vector_line_free(&line);
    }
    ts_reply_free(reply);
  }
}

static void print_effects(const char *who, const pool_effects *e) {
  print_error("%s:\n", who);
  for (size_t i = 0; i < e->count; ++i) print_error("  %zu %s\n", e->list[i].step, e->list[i].text);
}

static int by_text(const void *a, const void *b) {
  return strcmp(((const pool_effect *)a)->text, ((const pool_effect *)b)->text);
}

void pool_check_same(const pool_effects *ours, const pool_effects *theirs, bool ordered) {
  pool_effects *left = malloc(sizeof *left), *right = malloc(sizeof *right);
  *left = *ours;
  *right = *theirs;
  /* What we do in one step, peers may have done in any order. */
  for (size_t i = 0, n; i < left->count; i += n) {
    for (n = 1; i + n < left->count; ++n) {
      if (ordered && left->list[i + n].step != left->list[i].step) break;
    }
    qsort(left->list + i, n, sizeof left->list[0], by_text);
    if (i + n <= right->count) qsort(right->list + i, n, sizeof right->list[0], by_text);
  }
  bool same = left->count == right->count;
  for (size_t i = 0; i < left->count && same; ++i) {
    same = strcmp(left->list[i].text, right->list[i].text) == 0;
    if (!same) print_error("differs: %zu\n", i);
  }
  if (!same) {
    print_effects("ours", left);
    print_effects("theirs", right);
    fail_msg("other effects than recorded");
  }
  free(left);
  free(right);
}
