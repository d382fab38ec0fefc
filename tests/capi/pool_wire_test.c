/* What nodes of a pool write and publish, step by step against the recordings of Go peers. */
#include "pool_steps.h"

/* --- nodes and workers --------------------------------------------------------------- */

enum { kGraceMs = 5000 };

/* Nothing happens by itself, and nobody is waited for when the test is over. */
static pulse_node_options calm(void) {
  pulse_node_options options = PULSE_NODE_OPTIONS_INIT;
  options.close_timeout_ms = 200;
  options.worker_ttl_ms = 600000;
  options.ack_grace_ms = 600000;
  return options;
}

/* The dead are noticed soon. */
static pulse_node_options quick(void) {
  pulse_node_options options = calm();
  options.worker_ttl_ms = 2000;
  return options;
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

enum order { IN_ORDER, ANY_ORDER };

/* Frees the monitor.  Without an order ids and revisions do not count either. */
static void check_as_recorded(fixture *fx, ts_connection *monitor, const char *after,
                              const char *until, enum order order, const char *const *without) {
  static pool_names our_names, their_names;
  static pool_effects ours, theirs;
  our_names.count = their_names.count = 0;
  const bool ordered = order == IN_ORDER;
  const pool_view our_view = {ordered ? &our_names : NULL, !ordered, without},
                  their_view = {ordered ? &their_names : NULL, !ordered, without};
  pool_monitored(fx, monitor, &our_view, &ours);
  pool_recorded(after, until, &their_view, &theirs);
  pool_check_same(&ours, &theirs, ordered);
  ts_connection_free(monitor);
}

/* --- the same steps as in the recording ---------------------------------------------- */

static void jobs_are_dispatched_told_and_stopped_as_recorded(void **state) {
  fixture *fx = *state;
  static const char *const without[] = {
      "PUBLISH map:stream:",                           /* the routers' sink: tests of sinks */
      "PUBLISH map:sink:", "PUBLISH map:jobs:routing", /* of this engine only */
      NULL};
  fx_ready(fx, NULL);
  ts_connection *monitor = pool_monitor(fx);
  const pulse_node_options options = calm();
  collector *requests = fx_accepting(fx);
  pulse_node *node = fx_node(fx, "jobs", &options, NULL);
  fx_worker(fx, node, NULL, requests);
  fx_worker(fx, node, NULL, fx_accepting(fx));
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
  check_as_recorded(fx, monitor, NULL, "stop: done", IN_ORDER, without);
}

static void a_start_is_refused_as_recorded(void **state) {
  fixture *fx = *state;
  static const char *const without[] = {
      "PUBLISH map:stream:", "PUBLISH map:sink:", "PUBLISH map:jobs:routing", NULL};
  fx_ready(fx, NULL);
  ts_connection *monitor = pool_monitor(fx);
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
  check_as_recorded(fx, monitor, NULL, "refusal: done", IN_ORDER, without);
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
  pool_load(fx, "job0 stopped", 0);
  fx_ready(fx, NULL);
  ts_connection *monitor = pool_monitor(fx);
  const pulse_node_options options = quick();
  collector *requests = fx_accepting(fx);
  pulse_node *node = fx_node(fx, "jobs", &options, NULL);
  pulse_worker *worker = fx_worker(fx, node, NULL, requests);
  fx_until(fx, pulse_worker_job_count(worker) == 3 && metrics_of(node).cleaned == 2 &&
                   metrics_of(node).moved_in == 3);
  fx_until(fx, fx_pending(fx, "jobs:pool", "events") == 0 && metrics_of(node).unanswered == 0 &&
                   fx_redis_int(fx, "HLEN map:jobs:node-keepalive:content") == 3);
  check_as_recorded(fx, monitor, "job0 stopped", "first node killed, its jobs moved", ANY_ORDER,
                    kUnordered);
}

/* --- leaving, and the end ------------------------------------------------------------ */

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
      assert_int_equal(
          fx_redis_int(fx, "XCLAIM pulse:stream:jobs:pool events go %d %s", kGraceMs, id), 1);
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
  pulse_node_options options = calm();
  options.ack_grace_ms = kGraceMs;
  options.close_timeout_ms = TS_DEADLINE_MS;
  collector *member = fx_collector(fx);
  pulse_node *node = fx_node(fx, "jobs", &options, member);
  fx_worker(fx, node, NULL, fx_accepting(fx));
  for (int i = 1; i < 4; ++i) {
    char payload[16];
    snprintf(payload, sizeof payload, "payload %d", i);
    assert_int_equal(dispatch(fx, node, keys[i - 1], payload), PULSE_OK);
  }
  fx_until(fx, fx_pending(fx, "jobs:pool", "events") == 0 && metrics_of(node).unanswered == 0 &&
                   fx_redis_int(fx, "HLEN map:jobs:pending-jobs:content") == 2);
  ts_connection *monitor = pool_monitor(fx);
  close_node(node, member);
  check_as_recorded(fx, monitor, "first node killed, its jobs moved", "second node closed",
                    ANY_ORDER, without);
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
  static char left[POOL_MAX_TEXT], recorded[POOL_MAX_TEXT];
  const pulse_node_options options = calm();
  collector *requests = fx_accepting(fx), *member = fx_collector(fx);
  pulse_node *node = fx_node(fx, "jobs", &options, member);
  fx_worker(fx, node, NULL, requests);
  assert_int_equal(dispatch(fx, node, "good", "y"), PULSE_OK);
  fx_until(fx, fx_pending(fx, "jobs:pool", "events") == 0 && metrics_of(node).unanswered == 0 &&
                   fx_redis_int(fx, "HLEN map:jobs:pending-jobs:content") == 2);
  ts_connection *monitor = pool_monitor(fx);
  pulse_node *asking = fx_node(fx, "jobs", &options, NULL);
  collector *done = fx_collector(fx);
  assert_ok(pulse_node_shutdown(asking, col_target(done, 0), NULL, fx_err()));
  assert_int_equal(col_wait(done, PULSE_EVENT_POOL_SHUT_DOWN, 0)->count, 0);
  assert_int_equal(col_wait(member, PULSE_EVENT_CLOSED, 0)->status, PULSE_ERR_SHUTTING_DOWN);
  assert_int_equal(col_wait(requests, PULSE_EVENT_JOB_STOP, 0)->state, PULSE_STOP_SHUTDOWN);
  check_as_recorded(fx, monitor, "one refused, one running", "after shutdown", ANY_ORDER, without);
  describe_keys(fx, left);
  fx_redis(fx, "FLUSHALL");
  pool_load(fx, "after shutdown", 0);
  describe_keys(fx, recorded);
  assert_string_equal(left, recorded);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      BOTH_DRIVERS(jobs_are_dispatched_told_and_stopped_as_recorded),
      BOTH_DRIVERS(a_start_is_refused_as_recorded),
      BOTH_DRIVERS(the_dead_are_cleaned_up_as_recorded),
      BOTH_DRIVERS(a_node_leaves_as_recorded),
      BOTH_DRIVERS(a_pool_is_shut_down_as_recorded),
  };
  return cmocka_run_group_tests_name("pool_wire", tests, fx_group_setup, fx_group_teardown);
}
