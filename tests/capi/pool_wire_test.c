/* What nodes of a pool write and publish, step by step against the recordings of Go peers
 * (tests/wire/pool-steps.txt), and what such peers left at any moment, taken over by us. */
#include <ctype.h>

#include "fixture.h"
#include "vectors.h"

/* --- texts without what differs from run to run ------------------------------------------------
 */

enum { MAX_TEXT = 2048, MAX_EFFECTS = 256, MAX_NAMES = 64, ID_SIZE = 26 };

/* Ids by the order in which they appeared. */
typedef struct names {
  size_t count;
  char ids[MAX_NAMES][ID_SIZE];
} names;

static size_t digits_at(const char *text, size_t size) {
  size_t count = 0;
  while (count < size && isdigit((unsigned char)text[count])) ++count;
  return count;
}

static bool is_id_at(const char *text, size_t size) {
  static const char letters[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
  if (size < ID_SIZE || memcmp(text, "01", 2) != 0) return false;
  for (size_t i = 0; i < ID_SIZE; ++i) {
    if (text[i] == '\0' || strchr(letters, text[i]) == NULL) return false;
  }
  return true;
}

static size_t name_of(names *known, const char *id) {
  for (size_t i = 0; i < known->count; ++i) {
    if (memcmp(known->ids[i], id, ID_SIZE) == 0) return i;
  }
  assert_true(known->count < MAX_NAMES);
  memcpy(known->ids[known->count], id, ID_SIZE);
  return known->count++;
}

/* Appends a word: ids by their names (all alike without `known`), times and ids of events as such,
 * and what cannot be printed as \xNN. */
static void append_word(char *out, const char *word, size_t size, names *known) {
  size_t at = strlen(out);
  for (size_t i = 0; i < size;) {
    const size_t digits = digits_at(word + i, size - i);
    assert_true(at + 16 < MAX_TEXT);
    if (is_id_at(word + i, size - i)) {
      if (known == NULL) {
        at += (size_t)sprintf(out + at, "<id>");
      } else {
        at += (size_t)sprintf(out + at, "<id %zu>", name_of(known, word + i));
      }
      i += ID_SIZE;
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

/* --- effects: what peers can see of a node
 * -------------------------------------------------------- */

/* "PUBLISH channel message", "XADD stream name payload", "XACK stream group id", "DEL stream". */
typedef struct effect {
  char text[MAX_TEXT];
  size_t step; /* effects of one script have the same */
} effect;

typedef struct effects {
  size_t count;
  effect list[MAX_EFFECTS];
} effects;

/* What is to be compared, and how. */
typedef struct view {
  names *known;               /* NULL: all ids are alike */
  bool no_revisions;          /* messages of maps without theirs */
  const char *const *without; /* beginnings of what is left out; NULL-terminated */
} view;

/* A message without its last part. */
static size_t without_revision(const char *message, size_t size) {
  if (size > 8 && memcmp(message, "destroy:", 8) == 0) return 8;
  for (size_t digits = 1; digits < 8 && digits + 4 < size; ++digits) {
    const char *length = message + size - digits - 4;
    if (length[0] == (char)digits && memcmp(length + 1, "\0\0", 3) == 0) return size - digits - 4;
  }
  return size;
}

static void append_effect(effects *to, const vector_line *line, const view *how, size_t step) {
  char text[MAX_TEXT] = "";
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
  assert_true(to->count < MAX_EFFECTS);
  effect *added = &to->list[to->count++];
  memcpy(added->text, text, sizeof text);
  added->step = step;
}

/* --- what was recorded
 * ---------------------------------------------------------------------------- */

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
static void recorded_effects(const char *after, const char *until, const view *how, effects *out) {
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
static void load(fixture *fx, const char *moment, int64_t age_ms) {
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

/* --- what we do
 * ------------------------------------------------------------------------------------- */

static ts_connection *start_monitor(fixture *fx) {
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
static void append_acks(effects *to, const vector_line *line, const view *how, size_t step,
                        char acked[][32]) {
  for (size_t i = 3; i < line->count; ++i) {
    size_t known = 0;
    while (acked[known][0] != '\0' && strcmp(acked[known], line->words[i]) != 0) ++known;
    if (acked[known][0] != '\0') continue;
    assert_true(known + 1 < MAX_EFFECTS && line->sizes[i] < sizeof acked[0]);
    memcpy(acked[known], line->words[i], line->sizes[i] + 1);
    vector_line one = *line;
    one.count = 4;
    one.words[3] = line->words[i];
    one.sizes[3] = line->sizes[i];
    append_effect(to, &one, how, step);
  }
}

/* Up to now. */
static void monitored_effects(fixture *fx, ts_connection *monitor, const view *how, effects *out) {
  static int marks;
  char mark[32], acked[MAX_EFFECTS][32];
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

static void print_effects(const char *who, const effects *e) {
  print_error("%s:\n", who);
  for (size_t i = 0; i < e->count; ++i) print_error("  %zu %s\n", e->list[i].step, e->list[i].text);
}

static int by_text(const void *a, const void *b) {
  return strcmp(((const effect *)a)->text, ((const effect *)b)->text);
}

static void check_same(const effects *ours, const effects *theirs, bool ordered) {
  effects *left = malloc(sizeof *left), *right = malloc(sizeof *right);
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

/* --- nodes and workers
 * -------------------------------------------------------------------------------- */

/* Nothing happens by itself. */
static pulse_node_options calm(void) {
  pulse_node_options options = PULSE_NODE_OPTIONS_INIT;
  options.worker_ttl_ms = 600000;
  options.ack_grace_ms = 600000;
  return options;
}

/* The dead are noticed soon. */
static pulse_node_options quick(void) {
  pulse_node_options options = PULSE_NODE_OPTIONS_INIT;
  options.worker_ttl_ms = 500;
  options.ack_grace_ms = 300;
  options.job_sink_block_ms = 200;
  return options;
}

static collector *accepting(fixture *fx) {
  collector *c = fx_collector(fx);
  c->answer = true;
  return c;
}

/* A node that only dispatches, with an engine of its own. */
static pulse_node *client(fixture *fx, const pulse_node_options *standard) {
  pulse_engine *first = fx->engine;
  fx->engine = fx_ready(fx, NULL);
  pulse_node_options options = *standard;
  options.client_only = 1;
  pulse_node *node = fx_node(fx, "jobs", &options, NULL);
  if (first != NULL) fx->engine = first;
  return node;
}

static pulse_status dispatch(fixture *fx, pulse_node *node, const char *key, const char *payload) {
  collector *c = fx_collector(fx);
  assert_ok(pulse_node_dispatch(node, key, strlen(key), payload, strlen(payload), col_target(c, 0),
                                NULL, fx_err()));
  return col_wait(c, PULSE_EVENT_JOB_DISPATCHED, 0)->status;
}

static pulse_node_metrics metrics_of(pulse_node *node) {
  pulse_node_metrics m = {.size = sizeof m};
  assert_ok(pulse_node_get_metrics(node, &m));
  return m;
}

/* `member` is what the node was joined with. */
static void close_node(pulse_node *node, collector *member) {
  assert_ok(pulse_node_close(node));
  const ev *closed = col_wait(member, PULSE_EVENT_CLOSED, 0);
  assert_int_equal(closed->status, PULSE_OK);
  assert_int_equal(closed->id.ms, 0); /* all handlers have answered */
}

/* --- the same steps as in the recording
 * ------------------------------------------------------------------ */

static void jobs_are_dispatched_told_and_stopped_as_recorded(void **state) {
  fixture *fx = *state;
  static const char *const without[] = {
      "PUBLISH map:stream:",                           /* the routers' sink: tests of sinks */
      "PUBLISH map:sink:", "PUBLISH map:jobs:routing", /* of this engine only */
      NULL};
  static names our_names, their_names;
  static effects ours, theirs;
  our_names.count = their_names.count = 0;
  const view our_view = {&our_names, false, without}, their_view = {&their_names, false, without};
  fx_ready(fx, NULL);
  ts_connection *monitor = start_monitor(fx);
  const pulse_node_options options = calm();
  collector *requests = accepting(fx);
  pulse_node *node = fx_node(fx, "jobs", &options, NULL);
  fx_worker(fx, node, NULL, requests);
  fx_worker(fx, node, NULL, accepting(fx));
  for (int i = 0; i < 4; ++i) {
    char key[8], payload[16];
    snprintf(key, sizeof key, "job%d", i);
    snprintf(payload, sizeof payload, "payload %d", i);
    assert_int_equal(dispatch(fx, client(fx, &options), key, payload), PULSE_OK);
    fx_until(fx, fx_redis_int(fx, "HEXISTS map:jobs:pending-jobs:content %s", key) == 0);
  }
  assert_int_equal(dispatch(fx, client(fx, &options), "job0", "again"), PULSE_ERR_EXISTS);
  assert_ok(pulse_node_notify_wait(client(fx, &options), "job1", 4, "wake up", 7, TS_DEADLINE_MS,
                                   fx_err()));
  fx_until(fx, fx_pending(fx, "jobs:pool", "events") == 0 &&
                   col_count_kind(requests, PULSE_EVENT_JOB_NOTIFY) == 1);
  assert_ok(pulse_node_stop_job_wait(client(fx, &options), "job0", 4, TS_DEADLINE_MS, fx_err()));
  fx_until(fx, fx_redis_int(fx, "HEXISTS map:jobs:job-payloads:content job0") == 0);
  monitored_effects(fx, monitor, &our_view, &ours);
  recorded_effects(NULL, "stop: done", &their_view, &theirs);
  check_same(&ours, &theirs, true);
  ts_connection_free(monitor);
}

static void a_start_is_refused_as_recorded(void **state) {
  fixture *fx = *state;
  static const char *const without[] = {
      "PUBLISH map:stream:", "PUBLISH map:sink:", "PUBLISH map:jobs:routing", NULL};
  static names our_names, their_names;
  static effects ours, theirs;
  our_names.count = their_names.count = 0;
  const view our_view = {&our_names, false, without}, their_view = {&their_names, false, without};
  fx_ready(fx, NULL);
  ts_connection *monitor = start_monitor(fx);
  const pulse_node_options options = calm();
  collector *requests = fx_collector(fx), *done = fx_collector(fx);
  fx_worker(fx, fx_node(fx, "jobs", &options, NULL), NULL, requests);
  assert_ok(pulse_node_dispatch(client(fx, &options), "bad1", 4, "x", 1, col_target(done, 0), NULL,
                                fx_err()));
  assert_ok(pulse_job_started(col_wait(requests, PULSE_EVENT_JOB_START, 0)->job, PULSE_ERR_INVALID,
                              "told to fail bad1", 17));
  const ev *e = col_wait(done, PULSE_EVENT_JOB_DISPATCHED, 0);
  assert_int_equal(e->status, PULSE_ERR_REFUSED);
  assert_text(e, message, "told to fail bad1");
  fx_until(fx, fx_redis_int(fx, "HEXISTS map:jobs:pending-jobs:content bad1") == 0);
  monitored_effects(fx, monitor, &our_view, &ours);
  recorded_effects(NULL, "refusal: done", &their_view, &theirs);
  check_same(&ours, &theirs, true);
  ts_connection_free(monitor);
}

/* What is the same whatever came first: times to live and what is put off decide about that. */
static const char *const kUnordered[] = {
    "PUBLISH map:stream:",
    "PUBLISH map:sink:",
    "PUBLISH map:jobs:routing",
    "PUBLISH map:jobs:cleanup",           /* ours needs no lock: one script */
    "PUBLISH map:jobs:jobs:updates set:", /* ours may write many keys at once */
    "PUBLISH map:jobs:node-keepalive:updates set:",
    "PUBLISH map:jobs:worker-keepalive:updates set:",
    NULL};

static void the_dead_are_cleaned_up_as_recorded(void **state) {
  fixture *fx = *state;
  static effects ours, theirs;
  const view how = {NULL, true, kUnordered};
  load(fx, "job0 stopped", 0);
  fx_ready(fx, NULL);
  ts_connection *monitor = start_monitor(fx);
  const pulse_node_options options = quick();
  collector *requests = accepting(fx);
  pulse_node *node = fx_node(fx, "jobs", &options, NULL);
  pulse_worker *worker = fx_worker(fx, node, NULL, requests);
  fx_until(fx, pulse_worker_job_count(worker) == 3 && metrics_of(node).cleaned == 2 &&
                   metrics_of(node).moved_in == 3);
  fx_until(fx, fx_pending(fx, "jobs:pool", "events") == 0 && metrics_of(node).unanswered == 0 &&
                   fx_redis_int(fx, "HLEN map:jobs:node-keepalive:content") == 3);
  monitored_effects(fx, monitor, &how, &ours);
  recorded_effects("job0 stopped", "first node killed, its jobs moved", &how, &theirs);
  check_same(&ours, &theirs, false);
  ts_connection_free(monitor);
}

/* --- leaving, and the end
 * ------------------------------------------------------------------------------ */

/* What a node of the Go library gets that comes now: new events, and those that were left unacked
 * for its grace period. */
static size_t read_as_go_node(fixture *fx, const char *const *keys, size_t count) {
  size_t found = 0;
  fx_redis(fx, "XREADGROUP GROUP events go COUNT 100 STREAMS pulse:stream:jobs:pool >");
  const ts_reply *left = fx_redis(fx, "XPENDING pulse:stream:jobs:pool events - + 100");
  for (size_t i = 0; i < ts_reply_size(left); ++i) {
    const ts_reply *entry = ts_reply_at(left, i);
    const char *id = ts_reply_text(ts_reply_at(entry, 0));
    if (!ts_reply_equals(ts_reply_at(entry, 1), "go")) {
      assert_int_equal(fx_redis_int(fx, "XCLAIM pulse:stream:jobs:pool events go 300 %s", id), 1);
    }
    const ts_reply *event =
        ts_reply_at(fx_redis(fx, "XRANGE pulse:stream:jobs:pool %s %s", id, id), 0);
    const ts_reply *payload = ts_reply_field(ts_reply_at(event, 1), "p");
    for (size_t k = 0; k < count; ++k) {
      if (memcmp(ts_reply_text(payload) + 4, keys[k], strlen(keys[k])) == 0) ++found;
    }
    assert_int_equal(ts_reply_text(payload)[ts_reply_size(payload) - 1], 1); /* requeued */
  }
  return found == ts_reply_size(left) ? found : 0;
}

static void a_node_leaves_as_recorded(void **state) {
  fixture *fx = *state;
  static effects ours, theirs;
  static const char *const without[] = {
      "PUBLISH map:stream:",
      "PUBLISH map:sink:",
      "PUBLISH map:jobs:jobs:updates set:",
      "PUBLISH map:jobs:node-keepalive:updates", /* Go leaves the entry to others */
      "PUBLISH map:jobs:worker-keepalive:updates set:",
      "XADD pulse:stream:worker:", /* our router may not have read yet that its worker leaves */
      "XACK ",                     /* of what came before */
      NULL};
  static const char *const keys[] = {"job1", "job2", "job3"};
  const view how = {NULL, true, without};
  pulse_node_options options = quick();
  options.worker_ttl_ms = 600000;
  collector *member = fx_collector(fx);
  pulse_node *node = fx_node(fx, "jobs", &options, member);
  fx_worker(fx, node, NULL, accepting(fx));
  for (int i = 1; i < 4; ++i) {
    char payload[16];
    snprintf(payload, sizeof payload, "payload %d", i);
    assert_int_equal(dispatch(fx, node, keys[i - 1], payload), PULSE_OK);
  }
  fx_until(fx, fx_pending(fx, "jobs:pool", "events") == 0 && metrics_of(node).unanswered == 0 &&
                   fx_redis_int(fx, "HLEN map:jobs:pending-jobs:content") == 2);
  ts_connection *monitor = start_monitor(fx);
  close_node(node, member);
  monitored_effects(fx, monitor, &how, &ours);
  recorded_effects("first node killed, its jobs moved", "second node closed", &how, &theirs);
  check_same(&ours, &theirs, false);
  ts_connection_free(monitor);
  for (int i = 1; i < 4; ++i) {
    char payload[16];
    snprintf(payload, sizeof payload, "payload %d", i);
    assert_true(fx_redis_is(fx, payload, "HGET map:jobs:job-payloads:content job%d", i));
  }
  assert_true(fx_redis_is(fx, "del", "HGET map:jobs:jobs:content =kind"));
  for (const char *const *map = (const char *const[]){"jobs", "workers", "worker-keepalive", NULL};
       *map != NULL; ++map) {
    assert_int_equal(fx_redis_int(fx, "HLEN map:jobs:%s:content", *map), 2);
  }
  assert_int_equal(read_as_go_node(fx, keys, 3), 3);
}

/* Keys of the pool and what their maps say of themselves. */
static void describe_keys(fixture *fx, char *out) {
  const ts_reply *keys = fx_redis(fx, "KEYS *");
  size_t count = 0;
  const char *sorted[64];
  for (size_t i = 0; i < ts_reply_size(keys); ++i) {
    const char *key = ts_reply_text(ts_reply_at(keys, i));
    if (strncmp(key, "map:sink:", 9) == 0) continue;        /* of all pools */
    if (strstr(key, ":routing:") != NULL) continue;         /* of this engine only */
    if (fx_redis_int(fx, "PTTL %s", key) >= 0) continue;    /* goes by itself */
    if (strncmp(key, "pulse:stream:jobs:node:", 23) == 0) { /* Go leaves those of clients */
      assert_true(strncmp(key + 23, "01M83", 5) == 0);
      continue;
    }
    size_t at = count++;
    for (; at > 0 && strcmp(sorted[at - 1], key) > 0; --at) sorted[at] = sorted[at - 1];
    sorted[at] = key;
  }
  out[0] = '\0';
  for (size_t i = 0; i < count; ++i) {
    const ts_reply *kind = fx_redis(fx, "HGET %s =kind", sorted[i]);
    const int64_t fields = fx_redis_int(fx, "HLEN %s", sorted[i]);
    sprintf(out + strlen(out), "%s %s %d\n", sorted[i], ts_reply_text(kind), (int)fields);
  }
}

static void a_pool_is_shut_down_as_recorded(void **state) {
  fixture *fx = *state;
  static effects ours, theirs;
  static const char *const without[] = {
      "PUBLISH map:sink:", "PUBLISH map:stream:jobs:pool:sinks:updates set:",
      "PUBLISH map:jobs:routing", /* of this engine only */
      "PUBLISH map:jobs:node-keepalive:updates set:",
      /* Go finds these destroyed already when it comes to take them away. */
      "PUBLISH map:jobs:node-keepalive:updates del:", "PUBLISH map:jobs:workers:updates del:",
      "PUBLISH map:jobs:worker-keepalive:updates del:",
      "DEL pulse:stream:jobs:pool", /* ours with more keys */
      "XACK ",                      /* of what came before */
      "DEL map:", NULL};
  const view how = {NULL, true, without};
  static char left[MAX_TEXT], recorded[MAX_TEXT];
  const pulse_node_options options = calm();
  collector *requests = accepting(fx), *member = fx_collector(fx);
  pulse_node *node = fx_node(fx, "jobs", &options, member);
  fx_worker(fx, node, NULL, requests);
  assert_int_equal(dispatch(fx, node, "good", "y"), PULSE_OK);
  fx_until(fx, fx_pending(fx, "jobs:pool", "events") == 0 && metrics_of(node).unanswered == 0 &&
                   fx_redis_int(fx, "HLEN map:jobs:pending-jobs:content") == 2);
  ts_connection *monitor = start_monitor(fx);
  pulse_node *asking = fx_node(fx, "jobs", &options, NULL);
  collector *done = fx_collector(fx);
  assert_ok(pulse_node_shutdown(asking, col_target(done, 0), NULL, fx_err()));
  assert_int_equal(col_wait(done, PULSE_EVENT_POOL_SHUT_DOWN, 0)->count, 0);
  assert_int_equal(col_wait(member, PULSE_EVENT_CLOSED, 0)->status, PULSE_ERR_SHUTTING_DOWN);
  assert_int_equal(col_wait(requests, PULSE_EVENT_JOB_STOP, 0)->state, PULSE_STOP_SHUTDOWN);
  monitored_effects(fx, monitor, &how, &ours);
  recorded_effects("one refused, one running", "after shutdown", &how, &theirs);
  check_same(&ours, &theirs, false);
  ts_connection_free(monitor);
  describe_keys(fx, left);
  fx_redis(fx, "FLUSHALL");
  load(fx, "after shutdown", 0);
  describe_keys(fx, recorded);
  assert_string_equal(left, recorded);
}

/* --- what peers left at any moment
 * ------------------------------------------------------------------------ */

typedef struct left {
  const char *moment;
  const char *jobs; /* that run in the end */
  int forgotten;    /* streams that nobody can know of */
} left;

static const left kWhileDispatching[] = {
    {"one node, two workers", "", 0},
    {"dispatch: guarded", "", 0},
    {"dispatch: queued", "job0", 0},
    {"dispatch: read", "job0", 0},
    {"dispatch: forwarded", "job0", 0},
    {"dispatch: listed", "job0", 0},
    {"dispatch: recorded", "job0", 0},
    {"dispatch: answered", "job0", 0},
    {"dispatch: told", "job0", 0},
    {"dispatch: acked", "job0", 0},
    {"dispatch: done", "job0", 0},
    /* Nobody was told that it was refused: it is asked for again. */
    {"refusal: recorded", "bad1", 0},
    {"refusal: off the list", "bad1", 0},
    {"refusal: removed", "bad1", 0},
    {"refusal: done", "", 0},
    {NULL, NULL, 0},
};

static const left kWhileRunning[] = {
    {"four jobs", "job0 job1 job2 job3", 0},
    {"notification: queued", "job0 job1 job2 job3", 0},
    {"stop: queued", "job1 job2 job3", 0},
    {"stop: forwarded", "job1 job2 job3", 0},
    {"stop: off the list", "job1 job2 job3", 0},
    {"stop: recorded", "job1 job2 job3", 0},
    {"job0 stopped", "job1 job2 job3", 0},
    {"second node joined, jobs rebalanced", "job1 job2 job3", 0},
    {"one refused, one running", "good", 0},
    {NULL, NULL, 0},
};

static const left kWhileMoving[] = {
    {"clean-up: locked", "job1 job2 job3", 0},
    {"clean-up: one job requeued", "job1 job2 job3", 0},
    {"clean-up: jobs requeued", "job1 job2 job3", 0},
    {"clean-up: off the list of workers", "job1 job2 job3", 0},
    {"clean-up: unlocked", "job1 job2 job3", 0},
    {"clean-up: off the list of owners", "job1 job2 job3", 1},
    {"first node killed, its jobs moved", "job1 job2 job3", 0},
    {NULL, NULL, 0},
};

static const left kWhileClosing[] = {
    {"close: stream removed", "job1 job2 job3", 0},
    {"close: marked", "job1 job2 job3", 0},
    {"close: one job requeued", "job1 job2 job3", 0},
    {"close: jobs requeued", "job1 job2 job3", 0},
    {"close: off the list of workers", "job1 job2 job3", 0},
    {"second node closed", "job1 job2 job3", 0},
    {"after shutdown", "", 2},
    {NULL, NULL, 0},
};

static size_t word_count(const char *text) {
  size_t count = text[0] != '\0';
  for (const char *at = text; (at = strchr(at, ' ')) != NULL; ++at) ++count;
  return count;
}

/* NULL when a map holds exactly this key (NULL: none), else what is wrong. */
static const char *only_key(fixture *fx, const char *map, const char *key) {
  static char wrong[128];
  ts_reply *fields = ts_commandf(fx->server, "HKEYS map:%s:content", map);
  size_t found = 0;
  bool ours = key == NULL;
  for (size_t i = 0; i < ts_reply_size(fields); ++i) {
    const char *field = ts_reply_text(ts_reply_at(fields, i));
    if (field[0] == '=') continue;
    ++found;
    ours = ours || (key != NULL && strcmp(field, key) == 0);
  }
  ts_reply_free(fields);
  snprintf(wrong, sizeof wrong, "the map %s", map);
  return ours && found == (key != NULL) ? NULL : wrong;
}

/* NULL when nothing but our node and its worker with these jobs is there. */
static const char *unsettled(fixture *fx, const left *l, const char *node, const char *worker) {
  static char wrong[128];
  const size_t jobs = word_count(l->jobs);
  const struct {
    const char *map, *key;
  } maps[] = {{"jobs:node-keepalive", node},
              {"jobs:workers", worker},
              {"jobs:worker-keepalive", worker},
              {"jobs:jobs", jobs == 0 ? NULL : worker},
              {"jobs:cleanup", NULL},
              {"jobs:pending-jobs", NULL},
              {"stream:jobs:pool:sinks", "events"}};
  for (size_t i = 0; i < sizeof maps / sizeof maps[0]; ++i) {
    const char *other = only_key(fx, maps[i].map, maps[i].key);
    if (other != NULL) return other;
  }
  char list[128] = "", keys[128];
  snprintf(keys, sizeof keys, "%s", l->jobs);
  size_t there = 0;
  for (char *key = strtok(keys, " "); key != NULL; key = strtok(NULL, " ")) {
    there += (size_t)fx_redis_int(fx, "HEXISTS map:jobs:job-payloads:content %s", key);
  }
  ts_reply *payloads = ts_commandf(fx->server, "HKEYS map:jobs:job-payloads:content");
  size_t all = 0;
  for (size_t i = 0; i < ts_reply_size(payloads); ++i) {
    all += ts_reply_text(ts_reply_at(payloads, i))[0] != '=';
  }
  ts_reply_free(payloads);
  if (there != jobs || all != jobs) return "the payloads";
  ts_reply *owned = ts_commandf(fx->server, "HGET map:jobs:jobs:content %s", worker);
  snprintf(list, sizeof list, "%s", ts_reply_text(owned));
  ts_reply_free(owned);
  snprintf(keys, sizeof keys, "%s", l->jobs);
  for (char *key = strtok(keys, " "); key != NULL; key = strtok(NULL, " ")) {
    char quoted[32];
    snprintf(quoted, sizeof quoted, "\"%s\"", key);
    if (strstr(list, quoted) == NULL) return "the list of jobs";
  }
  if (fx_pending(fx, "jobs:pool", "events") != 0) return "pending events";
  if (fx_redis_int(fx, "XINFO CONSUMERS pulse:stream:jobs:pool events") != 1) return "consumers";
  ts_reply *streams = ts_commandf(fx->server, "KEYS pulse:stream:*");
  const int count = (int)ts_reply_size(streams);
  ts_reply_free(streams);
  snprintf(wrong, sizeof wrong, "%d streams", count);
  return count == 3 + l->forgotten ? NULL : wrong; /* the pool's, the node's, the worker's */
}

static size_t count_named(collector *c, pulse_event_kind kind, const char *name) {
  size_t count = 0;
  const ev *e;
  for (size_t i = 0; (e = col_find(c, kind, i)) != NULL; ++i) count += strcmp(e->name, name) == 0;
  return count;
}

static void take_over(fixture *fx, const left *l, int64_t age_ms) {
  fx_redis(fx, "FLUSHALL");
  load(fx, l->moment, age_ms);
  const pulse_node_options options = quick();
  collector *requests = accepting(fx), *member = fx_collector(fx);
  pulse_node *node = fx_node(fx, "jobs", &options, member);
  pulse_worker *worker = fx_worker(fx, node, NULL, requests);
  char node_id[27], worker_id[27];
  pulse_node_get_id(node, node_id, sizeof node_id);
  pulse_worker_get_id(worker, worker_id, sizeof worker_id);
  const int64_t end = ts_now_ms() + TS_DEADLINE_MS / 3;
  const char *wrong;
  while ((wrong = unsettled(fx, l, node_id, worker_id)) != NULL ||
         pulse_worker_job_count(worker) != word_count(l->jobs)) {
    if (ts_now_ms() > end) fail_msg("\"%s\": %s", l->moment, wrong == NULL ? "jobs" : wrong);
    fx_pump(fx);
  }
  for (const char *const *key =
           (const char *const[]){"job0", "job1", "job2", "job3", "bad1", "good", NULL};
       *key != NULL; ++key) {
    const size_t starts = count_named(requests, PULSE_EVENT_JOB_START, *key);
    const size_t stops = count_named(requests, PULSE_EVENT_JOB_STOP, *key);
    const bool runs = strstr(l->jobs, *key) != NULL;
    if (runs ? starts != 1 || stops != 0 : starts != stops || starts > 1) {
      fail_msg("\"%s\": %s was started %zu times, and stopped %zu times", l->moment, *key, starts,
               stops);
    }
  }
  /* What was told to Go nodes went nowhere; the pool goes on. */
  assert_int_equal(dispatch(fx, node, "more", "x"), PULSE_OK);
  close_node(node, member);
}

/* All nodes of the Go library were killed, and ours comes ten seconds later. */
static void take_over_all(fixture *fx, const left *list) {
  for (; list->moment != NULL; ++list) take_over(fx, list, 10000);
}

static void a_pool_that_was_left_while_dispatching_goes_on(void **state) {
  take_over_all(*state, kWhileDispatching);
}

static void a_pool_that_was_left_while_jobs_ran_goes_on(void **state) {
  take_over_all(*state, kWhileRunning);
}

static void a_pool_that_was_left_while_jobs_moved_goes_on(void **state) {
  take_over_all(*state, kWhileMoving);
}

static void a_pool_that_was_left_while_closing_goes_on(void **state) {
  take_over_all(*state, kWhileClosing);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      BOTH_DRIVERS(jobs_are_dispatched_told_and_stopped_as_recorded),
      BOTH_DRIVERS(a_start_is_refused_as_recorded),
      BOTH_DRIVERS(the_dead_are_cleaned_up_as_recorded),
      BOTH_DRIVERS(a_node_leaves_as_recorded),
      BOTH_DRIVERS(a_pool_is_shut_down_as_recorded),
      BOTH_DRIVERS(a_pool_that_was_left_while_dispatching_goes_on),
      BOTH_DRIVERS(a_pool_that_was_left_while_jobs_ran_goes_on),
      BOTH_DRIVERS(a_pool_that_was_left_while_jobs_moved_goes_on),
      BOTH_DRIVERS(a_pool_that_was_left_while_closing_goes_on),
  };
  return cmocka_run_group_tests_name("pool_wire", tests, fx_group_setup, fx_group_teardown);
}
