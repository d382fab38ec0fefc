/* ticker.h, schedules: of each tick one host is asked for a plan, and jobs start and stop. */
#include "fixture.h"

static const int64_t kMs = 1000000;
static const int64_t kHour = INT64_C(3600000000000);

static pulse_node_options quick(void) {
  pulse_node_options options = PULSE_NODE_OPTIONS_INIT;
  options.worker_ttl_ms = 1000;
  options.ack_grace_ms = 1000;
  options.close_timeout_ms = 200;
  return options;
}

static pulse_node *first_node(fixture *fx) {
  pulse_node_options options = quick();
  return fx_node(fx, "p", &options, NULL);
}

/* A node with an engine of its own. */
static pulse_node *other_node(fixture *fx) {
  pulse_engine *first = fx->engine;
  fx->engine = fx_ready(fx, NULL);
  pulse_node *node = first_node(fx);
  fx->engine = first;
  return node;
}

static pulse_plan *plan(collector *c, size_t nth) {
  const ev *e = col_wait(c, PULSE_EVENT_PLAN, nth);
  assert_non_null(e->plan);
  assert_text(e, name, "prod");
  return e->plan;
}

static void start(pulse_plan *plan, const char *key) {
  char payload[32];
  snprintf(payload, sizeof payload, "of %s", key);
  assert_ok(pulse_plan_start(plan, key, strlen(key), payload, strlen(payload), fx_err()));
}

static void answer(pulse_plan *plan) { assert_ok(pulse_plan_answer(plan, PULSE_OK, NULL, 0)); }

/* What came of the nth plan. */
static const ev *planned(collector *c, size_t nth, uint64_t started, uint64_t stopped,
                         uint64_t failures) {
  const ev *e = col_wait(c, PULSE_EVENT_PLANNED, nth);
  assert_text(e, name, "prod");
  assert_int_equal(e->count, started);
  assert_int_equal(e->id.ms, stopped);
  assert_int_equal(e->id.seq, failures);
  assert_int_equal(e->status == PULSE_OK, failures == 0);
  return e;
}

static bool has(fixture *fx, const char *key) {
  return fx_redis_int(fx, "HEXISTS map:p:prod:content %s", key) == 1;
}
static bool exists(fixture *fx, const char *key) {
  return fx_redis_int(fx, "HEXISTS map:p:job-payloads:content %s", key) == 1;
}

/* --- plans ------------------------------------------------------------------------------- */

/* As the recording `schedule`: what the peer's map looks like after each plan. */
static void plans_are_carried_out(void **state) {
  fixture *fx = *state;
  collector *c = fx_collector(fx), *requests = fx_accepting(fx);
  pulse_node *node = first_node(fx);
  fx_worker(fx, node, NULL, requests);
  fx_schedule(fx, node, "prod", 100 * kMs, NULL, c);
  assert_int_equal(col_wait(c, PULSE_EVENT_READY, 0)->state, PULSE_TICKER_NEW);
  pulse_plan *p = plan(c, 0);
  start(p, "k1");
  start(p, "k2");
  answer(p);
  planned(c, 0, 2, 0, 0);
  const ev *job = col_wait(requests, PULSE_EVENT_JOB_START, 0);
  assert_true(strcmp(job->payload, "of k1") == 0 || strcmp(job->payload, "of k2") == 0);
  assert_true(has(fx, "k1") && has(fx, "k2"));
  assert_true(fx_redis_is(fx, "2", "HGET map:p:prod:content =rev"));

  p = plan(c, 1);
  assert_ok(pulse_plan_stop(p, "k1", 2, fx_err()));
  answer(p);
  planned(c, 1, 0, 1, 0);
  assert_false(has(fx, "k1"));
  assert_text(col_wait(requests, PULSE_EVENT_JOB_STOP, 0), name, "k1");
  fx_until(fx, !exists(fx, "k1"));
  assert_true(exists(fx, "k2"));

  p = plan(c, 2);
  start(p, "k3");
  assert_ok(pulse_plan_stop_others(p, fx_err()));
  answer(p);
  planned(c, 2, 1, 1, 0);
  assert_true(has(fx, "k3"));
  assert_false(has(fx, "k2"));
  fx_until(fx, !exists(fx, "k2"));
  assert_true(exists(fx, "k3"));

  p = plan(c, 3);
  assert_ok(pulse_plan_stop_schedule(p, fx_err()));
  answer(p);
  const ev *closed = col_wait(c, PULSE_EVENT_CLOSED, 0);
  assert_int_equal(closed->status, PULSE_OK);
  assert_int_equal(closed->state, PULSE_TICKER_STOPPED);
  assert_int_equal(fx_redis_int(fx, "HLEN map:p:prod:content"), 2);
  assert_true(fx_redis_is(fx, "6", "HGET map:p:prod:content =rev"));
  assert_true(fx_redis_is(fx, "reset", "HGET map:p:prod:content =kind"));
  assert_int_equal(fx_redis_int(fx, "HEXISTS map:p:tickers:content p:prod"), 0);
  assert_true(exists(fx, "k3")); /* jobs run on */
}

static void what_a_stopped_schedule_left_stops_no_other(void **state) {
  fixture *fx = *state;
  pulse_node *node = first_node(fx);
  for (int i = 0; i < 3; ++i) {
    collector *c = fx_collector(fx);
    pulse_schedule *schedule = fx_schedule(fx, node, "prod", 20 * kMs, NULL, c);
    for (size_t k = 0; k < 4; ++k) answer(plan(c, k));
    assert_int_equal(col_count_kind(c, PULSE_EVENT_CLOSED), 0);
    assert_ok(pulse_schedule_stop_wait(schedule, TS_DEADLINE_MS, fx_err()));
    assert_int_equal(col_wait(c, PULSE_EVENT_CLOSED, 0)->state, PULSE_TICKER_STOPPED);
    assert_true(fx_redis_is(fx, "reset", "HGET map:p:prod:content =kind"));
  }
}

static void one_host_is_asked_at_a_time(void **state) {
  fixture *fx = *state;
  collector *a = fx_collector(fx), *b = fx_collector(fx);
  fx_schedule(fx, first_node(fx), "prod", 20 * kMs, NULL, a);
  pulse_plan *open = plan(a, 0);
  pulse_schedule *second = fx_schedule(fx, other_node(fx), "prod", 20 * kMs, NULL, b);
  assert_int_equal(col_wait(b, PULSE_EVENT_READY, 0)->state, PULSE_TICKER_ADOPTED);
  /* While its plan is open, the first one is not asked again. */
  pulse_event_id last = {0, 0};
  for (size_t i = 0; i < 5; ++i) {
    const ev *e = col_wait(b, PULSE_EVENT_PLAN, i);
    assert_true(pulse_event_id_compare(&e->id, &last) > 0);
    last = e->id;
    answer(e->plan);
  }
  assert_int_equal(col_count_kind(a, PULSE_EVENT_PLAN), 1);
  answer(open);
  assert_ok(pulse_schedule_close_wait(second, TS_DEADLINE_MS, fx_err()));
  answer(plan(a, 1));
}

static void answer_later(void *arg) {
  pulse_plan *plan = arg;
  pulse_plan_start(plan, "k", 1, "x", 1, NULL);
  pulse_plan_answer(plan, PULSE_OK, NULL, 0);
  pulse_plan_unref(plan);
}

static void a_plan_may_be_answered_on_another_thread(void **state) {
  fixture *fx = *state;
  collector *c = fx_collector(fx);
  pulse_node *node = first_node(fx);
  fx_worker(fx, node, NULL, fx_accepting(fx));
  fx_schedule(fx, node, "prod", kHour, NULL, c);
  fx_on_thread(fx, answer_later, pulse_plan_ref(plan(c, 0)));
  planned(c, 0, 1, 0, 0);
  assert_true(has(fx, "k"));
}

static void a_plan_is_answered_once(void **state) {
  fixture *fx = *state;
  collector *c = fx_collector(fx);
  fx_schedule(fx, first_node(fx), "prod", 20 * kMs, NULL, c);
  pulse_plan *p = plan(c, 0);
  assert_ok(pulse_plan_answer(p, PULSE_ERR_BUSY, "not now", 7));
  assert_status(PULSE_ERR_INVALID, pulse_plan_answer(p, PULSE_OK, NULL, 0));
  assert_status(PULSE_ERR_INVALID, pulse_plan_start(p, "k", 1, "x", 1, fx_err()));
  assert_status(PULSE_ERR_INVALID, pulse_plan_stop(p, "k", 1, fx_err()));
  assert_status(PULSE_ERR_INVALID, pulse_plan_stop_others(p, fx_err()));
  assert_status(PULSE_ERR_INVALID, pulse_plan_stop_schedule(p, fx_err()));
  const ev *e = planned(c, 0, 0, 0, 1);
  assert_int_equal(e->status, PULSE_ERR_BUSY);
  assert_text(e, message, "not now");
  answer(plan(c, 1));
}

static void a_plan_without_an_answer_holds_nothing_up(void **state) {
  fixture *fx = *state;
  collector *c = fx_collector(fx);
  pulse_schedule_options options = PULSE_SCHEDULE_OPTIONS_INIT;
  options.plan_timeout_ms = 100;
  fx_schedule(fx, first_node(fx), "prod", 20 * kMs, &options, c);
  pulse_plan *late = plan(c, 0);
  assert_int_equal(planned(c, 0, 0, 0, 1)->status, PULSE_ERR_TIMEOUT);
  pulse_plan *next = plan(c, 1);
  assert_status(PULSE_ERR_INVALID, pulse_plan_answer(late, PULSE_OK, NULL, 0));
  answer(next);
  planned(c, 1, 0, 0, 0);
}

static void a_plan_that_is_dropped_is_given_up(void **state) {
  fixture *fx = *state;
  collector *c = fx_collector(fx);
  fx_schedule(fx, first_node(fx), "prod", 20 * kMs, NULL, c);
  pulse_plan *dropped = plan(c, 0);
  ((ev *)col_find(c, PULSE_EVENT_PLAN, 0))->plan = NULL;
  pulse_plan_unref(dropped);
  assert_int_equal(planned(c, 0, 0, 0, 1)->status, PULSE_ERR_CANCELLED);
  answer(plan(c, 1));
}

/* --- jobs ------------------------------------------------------------------------------------ */

static void a_job_that_exists_is_fine(void **state) {
  fixture *fx = *state;
  collector *c = fx_collector(fx);
  pulse_node *node = first_node(fx);
  fx_worker(fx, node, NULL, fx_accepting(fx));
  collector *done = fx_collector(fx);
  assert_ok(pulse_node_dispatch(node, "k", 1, "x", 1, col_target(done, 0), NULL, fx_err()));
  assert_int_equal(col_wait(done, PULSE_EVENT_JOB_DISPATCHED, 0)->status, PULSE_OK);
  fx_schedule(fx, node, "prod", 50 * kMs, NULL, c);
  pulse_plan *p = plan(c, 0);
  start(p, "k");
  answer(p);
  planned(c, 0, 0, 0, 0);
  assert_true(has(fx, "k"));
  p = plan(c, 1);
  assert_ok(pulse_plan_stop_others(p, fx_err()));
  answer(p);
  planned(c, 1, 0, 1, 0);
  fx_until(fx, !exists(fx, "k"));
}

static void refused_jobs_are_told(void **state) {
  fixture *fx = *state;
  collector *c = fx_collector(fx), *requests = fx_collector(fx);
  pulse_node *node = first_node(fx);
  fx_worker(fx, node, NULL, requests);
  fx_schedule(fx, node, "prod", kHour, NULL, c);
  pulse_plan *p = plan(c, 0);
  start(p, "k");
  answer(p);
  pulse_job *job = col_wait(requests, PULSE_EVENT_JOB_START, 0)->job;
  assert_ok(pulse_job_started(job, PULSE_ERR_BUSY, "no room", 7));
  const ev *e = planned(c, 0, 0, 0, 1);
  assert_int_equal(e->status, PULSE_ERR_REFUSED);
  assert_text(e, message, "no room");
  assert_false(has(fx, "k"));
}

static void many_jobs_start_and_stop(void **state) {
  fixture *fx = *state;
  enum { kJobs = 450 };
  collector *c = fx_collector(fx);
  pulse_node *node = first_node(fx);
  fx_worker(fx, node, NULL, fx_accepting(fx));
  fx_schedule(fx, node, "prod", 50 * kMs, NULL, c);
  pulse_plan *p = plan(c, 0);
  char key[16];
  for (int i = 0; i < kJobs; ++i) {
    snprintf(key, sizeof key, "k%d", i);
    start(p, key);
  }
  answer(p);
  planned(c, 0, kJobs, 0, 0);
  assert_int_equal(fx_redis_int(fx, "HLEN map:p:prod:content"), kJobs + 2);
  p = plan(c, 1);
  start(p, "k7");
  assert_ok(pulse_plan_stop_others(p, fx_err()));
  answer(p);
  planned(c, 1, 0, kJobs - 1, 0);
  assert_int_equal(fx_redis_int(fx, "HLEN map:p:prod:content"), 1 + 2);
  fx_until(fx, fx_redis_int(fx, "HLEN map:p:job-payloads:content") == 1 + 2);
  assert_true(exists(fx, "k7"));
}

/* --- what others do to the map ------------------------------------------------------------------
 */

static void peer_resets(fixture *fx) {
  ts_reply *reply = ts_command(fx->server, "EVAL",
                               "local rev = redis.call('HINCRBY', KEYS[1], '=rev', 1) "
                               "redis.call('DEL', KEYS[1]) "
                               "redis.call('HSET', KEYS[1], '=rev', rev, '=kind', 'reset') "
                               "redis.call('PUBLISH', KEYS[2], 'reset:' .. rev) return 1",
                               "2", "map:p:prod:content", "map:p:prod:updates", NULL);
  assert_int_equal(ts_reply_integer(reply), 1);
  ts_reply_free(reply);
}

static void a_reset_by_a_peer_stops_the_schedule(void **state) {
  fixture *fx = *state;
  collector *c = fx_collector(fx);
  fx_schedule(fx, first_node(fx), "prod", kHour, NULL, c);
  answer(plan(c, 0));
  /* What was there when it began to listen does not count: so again, until it is heard. */
  fx_until(fx, (peer_resets(fx), col_count_kind(c, PULSE_EVENT_CLOSED) == 1));
  assert_int_equal(col_wait(c, PULSE_EVENT_CLOSED, 0)->state, PULSE_TICKER_STOPPED);
  assert_int_equal(fx_redis_int(fx, "HEXISTS map:p:tickers:content p:prod"), 0);
}

static void lost_jobs_do_not_stop_the_schedule(void **state) {
  fixture *fx = *state;
  collector *c = fx_collector(fx);
  pulse_node *node = first_node(fx);
  fx_worker(fx, node, NULL, fx_accepting(fx));
  fx_schedule(fx, node, "prod", 50 * kMs, NULL, c);
  pulse_plan *p = plan(c, 0);
  start(p, "a");
  start(p, "b");
  answer(p);
  planned(c, 0, 2, 0, 0);
  fx_redis(fx, "DEL map:p:prod:content");
  for (size_t i = 1; i < 60; ++i) { /* longer than the replica needs to find out */
    p = plan(c, i);
    start(p, "a");
    answer(p);
  }
  assert_int_equal(col_count_kind(c, PULSE_EVENT_CLOSED), 0);
  fx_until(fx, has(fx, "a"));
}

static void a_shutdown_ends_schedules(void **state) {
  fixture *fx = *state;
  collector *a = fx_collector(fx), *b = fx_collector(fx);
  pulse_node *node = first_node(fx);
  fx_worker(fx, node, NULL, fx_accepting(fx));
  fx_schedule(fx, node, "prod", kHour, NULL, a);
  pulse_plan *p = plan(a, 0);
  start(p, "k");
  answer(p);
  planned(a, 0, 1, 0, 0);
  pulse_node *second = other_node(fx);
  fx_schedule(fx, second, "prod", kHour, NULL, b);
  collector *done = fx_collector(fx);
  assert_ok(pulse_node_shutdown(second, col_target(done, 0), NULL, fx_err()));
  assert_int_equal(col_wait(done, PULSE_EVENT_POOL_SHUT_DOWN, 0)->status, PULSE_OK);
  assert_int_equal(col_wait(a, PULSE_EVENT_CLOSED, 0)->status, PULSE_ERR_SHUTTING_DOWN);
  assert_int_equal(col_wait(b, PULSE_EVENT_CLOSED, 0)->status, PULSE_ERR_SHUTTING_DOWN);
  assert_int_equal(fx_redis_int(fx, "HLEN map:p:prod:content"), 2);
  assert_int_equal(fx_redis_int(fx, "HEXISTS map:p:tickers:content p:prod"), 0);
}

static void close_is_here(void **state) {
  fixture *fx = *state;
  collector *c = fx_collector(fx);
  pulse_schedule *schedule = fx_schedule(fx, first_node(fx), "prod", kHour, NULL, c);
  pulse_plan *p = plan(c, 0);
  pulse_ticker_info info = {.size = sizeof info};
  assert_ok(pulse_schedule_get_info(schedule, &info));
  assert_int_equal(info.interval_ns, kHour);
  assert_ok(pulse_schedule_close_wait(schedule, TS_DEADLINE_MS, fx_err()));
  assert_int_equal(col_wait(c, PULSE_EVENT_CLOSED, 0)->state, 0);
  assert_status(PULSE_ERR_INVALID, pulse_plan_answer(p, PULSE_OK, NULL, 0));
  assert_int_equal(fx_redis_int(fx, "HEXISTS map:p:tickers:content p:prod"), 1);
}

/* --- arguments ---------------------------------------------------------------------------------
 */

static void wrong_arguments_are_refused(void **state) {
  fixture *fx = *state;
  pulse_node *node = first_node(fx);
  collector *c = fx_collector(fx);
  pulse_schedule *schedule = NULL;
  static const char *const names[] = {"",        "a=b",          "a b",     "a*",      "workers",
                                      "jobs",    "tickers",      "cleanup", "routing", "shutdown",
                                      "rv:jobs", "pending-jobs", "a?"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; ++i) {
    assert_status(PULSE_ERR_INVALID,
                  pulse_schedule_open(node, names[i], strlen(names[i]), kHour, NULL,
                                      col_target(c, 0), &schedule, fx_err()));
  }
  assert_status(PULSE_ERR_INVALID, pulse_schedule_open(node, "prod", 4, 999999, NULL,
                                                       col_target(c, 0), &schedule, fx_err()));
  assert_status(PULSE_ERR_INVALID,
                pulse_schedule_open(node, "prod", 4, kHour, NULL, NULL, &schedule, fx_err()));
  assert_status(PULSE_ERR_INVALID, pulse_schedule_open(node, "prod", 4, kHour, NULL,
                                                       col_target(c, 0), NULL, fx_err()));
  pulse_schedule_options options = PULSE_SCHEDULE_OPTIONS_INIT;
  options.plan_timeout_ms = -2;
  assert_status(PULSE_ERR_INVALID, pulse_schedule_open(node, "prod", 4, kHour, &options,
                                                       col_target(c, 0), &schedule, fx_err()));
  assert_null(schedule);
  fx_schedule(fx, node, "prod", kHour, NULL, c);
  pulse_plan *p = plan(c, 0);
  assert_status(PULSE_ERR_INVALID, pulse_plan_start(p, "", 0, "x", 1, fx_err()));
  assert_status(PULSE_ERR_INVALID, pulse_plan_start(p, "a=b", 3, "x", 1, fx_err()));
  assert_status(PULSE_ERR_INVALID, pulse_plan_stop(p, "", 0, fx_err()));
  assert_status(PULSE_ERR_INVALID, pulse_plan_start(NULL, "k", 1, "x", 1, fx_err()));
  assert_status(PULSE_ERR_INVALID, pulse_plan_stop_others(NULL, fx_err()));
  assert_status(PULSE_ERR_INVALID, pulse_plan_answer(NULL, PULSE_OK, NULL, 0));
  answer(p);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      ALL_WAYS(plans_are_carried_out),
      BOTH_DRIVERS(what_a_stopped_schedule_left_stops_no_other),
      BOTH_DRIVERS(one_host_is_asked_at_a_time),
      BOTH_DRIVERS(a_plan_may_be_answered_on_another_thread),
      BOTH_DRIVERS(a_plan_is_answered_once),
      BOTH_DRIVERS(a_plan_without_an_answer_holds_nothing_up),
      BOTH_DRIVERS(a_plan_that_is_dropped_is_given_up),
      BOTH_DRIVERS(a_job_that_exists_is_fine),
      BOTH_DRIVERS(refused_jobs_are_told),
      BOTH_DRIVERS(many_jobs_start_and_stop),
      BOTH_DRIVERS(a_reset_by_a_peer_stops_the_schedule),
      BOTH_DRIVERS(lost_jobs_do_not_stop_the_schedule),
      BOTH_DRIVERS(a_shutdown_ends_schedules),
      BOTH_DRIVERS(close_is_here),
      BOTH_DRIVERS(wrong_arguments_are_refused),
  };
  return cmocka_run_group_tests_name("schedule", tests, fx_group_setup, fx_group_teardown);
}
