/* pool.h: jobs, their workers, and the nodes that they belong to. */
#include "fixture.h"

/* Notices the dead after a second, and waits for nobody when it closes. */
static pulse_node_options quick(void) {
  pulse_node_options options = PULSE_NODE_OPTIONS_INIT;
  options.worker_ttl_ms = 1000;
  options.ack_grace_ms = 1000;
  options.close_timeout_ms = 200;
  return options;
}

static pulse_node *quick_node(fixture *fx, collector *to) {
  pulse_node_options options = quick();
  return fx_node(fx, "p", &options, to);
}

/* A node with an engine of its own. */
static pulse_node *other_node(fixture *fx, const pulse_node_options *options, collector *to) {
  pulse_engine *first = fx->engine;
  fx->engine = fx_ready(fx, NULL);
  pulse_node_options standard = quick();
  pulse_node *node = fx_node(fx, "p", options == NULL ? &standard : options, to);
  if (first != NULL) fx->engine = first;
  return node;
}

static void dispatch(pulse_node *node, const char *key, const char *payload, collector *to) {
  assert_ok(pulse_node_dispatch(node, key, strlen(key), payload, strlen(payload), col_target(to, 0),
                                NULL, fx_err()));
}

static void dispatch_now(fixture *fx, pulse_node *node, const char *key) {
  collector *c = fx_collector(fx);
  dispatch(node, key, "payload", c);
  const ev *e = col_wait(c, PULSE_EVENT_JOB_DISPATCHED, 0);
  assert_int_equal(e->status, PULSE_OK);
}

static pulse_job_state state_of(pulse_node *node, const char *key) {
  pulse_job_state state = -1;
  assert_ok(
      pulse_node_get_job_state_wait(node, key, strlen(key), &state, TS_DEADLINE_MS, fx_err()));
  return state;
}

static pulse_node_metrics metrics_of(pulse_node *node) {
  pulse_node_metrics m = {.size = sizeof m};
  assert_ok(pulse_node_get_metrics(node, &m));
  return m;
}

/* --- a job's life ------------------------------------------------------------------ */

static void a_job_is_started_on_a_worker(void **state) {
  fixture *fx = *state;
  collector *member = fx_collector(fx), *requests = fx_collector(fx), *done = fx_collector(fx);
  pulse_node *node = quick_node(fx, member);
  col_wait(member, PULSE_EVENT_READY, 0);
  pulse_worker *worker = fx_worker(fx, node, NULL, requests);
  col_wait(requests, PULSE_EVENT_READY, 0);
  dispatch(node, "k", "what to do", done);
  const ev *e = col_wait(requests, PULSE_EVENT_JOB_START, 0);
  assert_text(e, name, "k");
  assert_text(e, payload, "what to do");
  size_t size = 0;
  assert_memory_equal(pulse_job_key(e->job, &size), "k", 1);
  assert_int_equal(size, 1);
  assert_memory_equal(pulse_job_payload(e->job, &size), "what to do", 10);
  assert_int_equal(size, 10);
  char id[27];
  assert_int_equal(pulse_worker_get_id(worker, id, sizeof id), 26);
  assert_memory_equal(pulse_job_worker(e->job, &size), id, 26);
  assert_int_equal(pulse_job_requeued(e->job), 0);
  assert_true(pulse_job_created_ns(e->job) > INT64_C(1600000000000000000));
  assert_int_equal(state_of(node, "k"), PULSE_JOB_OWNED);
  assert_int_equal(col_count(done), 0);
  assert_int_equal(pulse_worker_job_count(worker), 1);

  assert_ok(pulse_job_started(e->job, PULSE_OK, NULL, 0));
  assert_int_equal(col_wait(done, PULSE_EVENT_JOB_DISPATCHED, 0)->status, PULSE_OK);
  assert_status(PULSE_ERR_INVALID, pulse_job_started(e->job, PULSE_OK, NULL, 0));
  assert_status(PULSE_ERR_INVALID, pulse_job_stopped(e->job, PULSE_OK, NULL, 0));

  fx_until(fx, fx_redis_int(fx, "HLEN map:p:pending-jobs:content") == 2); /* =rev, =kind */
  assert_true(fx_redis_is(fx, "what to do", "HGET map:p:job-payloads:content k"));
  fx_until(fx, fx_pending(fx, "p:pool", "events") == 0);
  pulse_node_metrics m = metrics_of(node);
  assert_int_equal(m.dispatched, 1);
  assert_int_equal(m.started, 1);
  assert_int_equal(m.routed, 1);
  assert_int_equal(m.jobs, 1);
}

static void a_start_may_be_refused(void **state) {
  fixture *fx = *state;
  collector *requests = fx_collector(fx), *done = fx_collector(fx);
  pulse_node *node = quick_node(fx, NULL);
  fx_worker(fx, node, NULL, requests);
  dispatch(node, "k", "x", done);
  assert_ok(pulse_job_started(col_wait(requests, PULSE_EVENT_JOB_START, 0)->job, PULSE_ERR_INVALID,
                              "not today", 9));
  const ev *e = col_wait(done, PULSE_EVENT_JOB_DISPATCHED, 0);
  assert_int_equal(e->status, PULSE_ERR_REFUSED);
  assert_text(e, message, "not today");
  assert_int_equal(state_of(node, "k"), PULSE_JOB_ABSENT);
  /* The key is free again. */
  dispatch(node, "k", "y", done);
  assert_ok(
      pulse_job_started(col_wait(requests, PULSE_EVENT_JOB_START, 1)->job, PULSE_OK, NULL, 0));
  assert_int_equal(col_wait(done, PULSE_EVENT_JOB_DISPATCHED, 1)->status, PULSE_OK);
}

static void a_start_may_be_put_off(void **state) {
  fixture *fx = *state;
  collector *requests = fx_collector(fx), *done = fx_collector(fx);
  pulse_node *node = quick_node(fx, NULL);
  fx_worker(fx, node, NULL, requests);
  dispatch(node, "k", "x", done);
  for (size_t i = 0; i < 3; ++i) {
    assert_ok(pulse_job_started(col_wait(requests, PULSE_EVENT_JOB_START, i)->job,
                                i < 2 ? PULSE_ERR_AGAIN : PULSE_OK, NULL, 0));
  }
  assert_int_equal(col_wait(done, PULSE_EVENT_JOB_DISPATCHED, 0)->status, PULSE_OK);
}

static void start_later(void *job) {
  pulse_job_started(job, PULSE_OK, NULL, 0);
  pulse_job_unref(job);
}

static void a_start_may_be_answered_on_another_thread(void **state) {
  fixture *fx = *state;
  collector *requests = fx_collector(fx), *done = fx_collector(fx);
  pulse_node *node = quick_node(fx, NULL);
  fx_worker(fx, node, NULL, requests);
  dispatch(node, "k", "x", done);
  fx_on_thread(fx, start_later, pulse_job_ref(col_wait(requests, PULSE_EVENT_JOB_START, 0)->job));
  assert_int_equal(col_wait(done, PULSE_EVENT_JOB_DISPATCHED, 0)->status, PULSE_OK);
}

static void a_key_is_dispatched_once(void **state) {
  fixture *fx = *state;
  collector *requests = fx_collector(fx), *done = fx_collector(fx), *more = fx_collector(fx);
  pulse_node *node = quick_node(fx, NULL);
  fx_worker(fx, node, NULL, requests);
  dispatch(node, "k", "x", done);
  const ev *start = col_wait(requests, PULSE_EVENT_JOB_START, 0);
  dispatch(node, "k", "y", more); /* is being dispatched */
  assert_int_equal(col_wait(more, PULSE_EVENT_JOB_DISPATCHED, 0)->status, PULSE_ERR_EXISTS);
  assert_ok(pulse_job_started(start->job, PULSE_OK, NULL, 0));
  assert_int_equal(col_wait(done, PULSE_EVENT_JOB_DISPATCHED, 0)->status, PULSE_OK);
  dispatch(node, "k", "y", more); /* runs */
  assert_int_equal(col_wait(more, PULSE_EVENT_JOB_DISPATCHED, 1)->status, PULSE_ERR_EXISTS);
  assert_int_equal(col_count_kind(requests, PULSE_EVENT_JOB_START), 1);
}

static void a_job_is_notified_and_stopped(void **state) {
  fixture *fx = *state;
  collector *requests = fx_collector(fx);
  pulse_node *node = quick_node(fx, NULL);
  fx_worker(fx, node, NULL, requests);
  collector *done = fx_collector(fx);
  dispatch(node, "k", "x", done);
  const ev *start = col_wait(requests, PULSE_EVENT_JOB_START, 0);
  assert_ok(pulse_job_started(start->job, PULSE_OK, NULL, 0));
  col_wait(done, PULSE_EVENT_JOB_DISPATCHED, 0);

  assert_ok(pulse_node_notify_wait(node, "k", 1, "one", 3, TS_DEADLINE_MS, fx_err()));
  assert_ok(pulse_node_notify_wait(node, "k", 1, "two", 3, TS_DEADLINE_MS, fx_err()));
  const ev *one = col_wait(requests, PULSE_EVENT_JOB_NOTIFY, 0);
  assert_text(one, name, "k");
  assert_text(one, payload, "one");
  assert_ok(pulse_node_stop_job_wait(node, "k", 1, TS_DEADLINE_MS, fx_err()));
  assert_ok(pulse_job_notified(one->job, PULSE_OK, NULL, 0));
  const ev *two = col_wait(requests, PULSE_EVENT_JOB_NOTIFY, 1);
  assert_text(two, payload, "two");
  /* One request at a time. */
  assert_int_equal(col_count_kind(requests, PULSE_EVENT_JOB_STOP), 0);
  assert_ok(pulse_job_notified(two->job, PULSE_OK, NULL, 0));
  const ev *stop = col_wait(requests, PULSE_EVENT_JOB_STOP, 0);
  assert_int_equal(stop->state, PULSE_STOP_REQUESTED);
  assert_int_equal(state_of(node, "k"), PULSE_JOB_OWNED);
  assert_ok(pulse_job_stopped(stop->job, PULSE_OK, NULL, 0));
  fx_until(fx, state_of(node, "k") == PULSE_JOB_ABSENT);
  fx_until(fx, fx_pending(fx, "p:pool", "events") == 0);
  assert_int_equal(fx_redis_int(fx, "HEXISTS map:p:jobs:content k"), 0);
}

static void a_job_may_end_by_itself(void **state) {
  fixture *fx = *state;
  collector *requests = fx_accepting(fx);
  pulse_node *node = quick_node(fx, NULL);
  pulse_worker *worker = fx_worker(fx, node, NULL, requests);
  dispatch_now(fx, node, "k");
  const ev *start = col_wait(requests, PULSE_EVENT_JOB_START, 0);
  assert_ok(pulse_job_finish(start->job, PULSE_OK, NULL, 0));
  assert_status(PULSE_ERR_INVALID, pulse_job_finish(start->job, PULSE_OK, NULL, 0));
  fx_until(fx, state_of(node, "k") == PULSE_JOB_ABSENT);
  fx_until(fx, pulse_worker_job_count(worker) == 0);
  assert_int_equal(col_count_kind(requests, PULSE_EVENT_JOB_STOP), 0);
  dispatch_now(fx, node, "k");
  assert_int_equal(metrics_of(node).finished, 1);
}

static void a_job_may_end_as_soon_as_it_has_started(void **state) {
  fixture *fx = *state;
  collector *requests = fx_collector(fx), *done = fx_collector(fx);
  pulse_node *node = quick_node(fx, NULL);
  fx_worker(fx, node, NULL, requests);
  for (size_t i = 0; i < 20; ++i) {
    dispatch(node, "k", "x", done);
    pulse_job *job = col_wait(requests, PULSE_EVENT_JOB_START, i)->job;
    assert_status(PULSE_ERR_INVALID, pulse_job_finish(job, PULSE_OK, NULL, 0));
    assert_ok(pulse_job_started(job, PULSE_OK, NULL, 0));
    assert_ok(pulse_job_finish(job, PULSE_OK, NULL, 0));
    assert_int_equal(col_wait(done, PULSE_EVENT_JOB_DISPATCHED, i)->status, PULSE_OK);
    fx_until(fx, state_of(node, "k") == PULSE_JOB_ABSENT);
  }
}

static void requests_for_nobody_are_dropped(void **state) {
  fixture *fx = *state;
  pulse_node *node = quick_node(fx, NULL);
  fx_worker(fx, node, NULL, fx_accepting(fx));
  assert_ok(pulse_node_stop_job_wait(node, "none", 4, TS_DEADLINE_MS, fx_err()));
  assert_ok(pulse_node_notify_wait(node, "none", 4, "x", 1, TS_DEADLINE_MS, fx_err()));
  fx_until(fx, metrics_of(node).dropped == 2);
  fx_until(fx, fx_pending(fx, "p:pool", "events") == 0);
}

/* A start, a stop and a notification that nobody answers, for longer than a worker may be silent.
 */
static void a_stuck_handler_delays_no_other_job(void **state) {
  fixture *fx = *state;
  collector *requests = fx_collector(fx), *done = fx_collector(fx);
  pulse_node *node = quick_node(fx, NULL);
  fx_worker(fx, node, NULL, requests);
  const ev *start = NULL;
  for (size_t i = 0; i < 2; ++i) {
    dispatch(node, i == 0 ? "stop" : "notify", "x", done);
    start = col_wait(requests, PULSE_EVENT_JOB_START, i);
    assert_ok(pulse_job_started(start->job, PULSE_OK, NULL, 0));
    col_wait(done, PULSE_EVENT_JOB_DISPATCHED, i);
  }
  assert_ok(pulse_node_stop_job_wait(node, "stop", 4, TS_DEADLINE_MS, fx_err()));
  const ev *stop = col_wait(requests, PULSE_EVENT_JOB_STOP, 0);
  assert_ok(pulse_node_notify_wait(node, "notify", 6, "x", 1, TS_DEADLINE_MS, fx_err()));
  const ev *notification = col_wait(requests, PULSE_EVENT_JOB_NOTIFY, 0);
  dispatch(node, "start", "x", fx_collector(fx));
  const ev *stuck = col_wait(requests, PULSE_EVENT_JOB_START, 2);
  assert_text(stuck, name, "start");

  const int64_t end = ts_now_ms() + 2 * quick().worker_ttl_ms;
  size_t others = 0;
  for (; ts_now_ms() < end; ++others) {
    char key[32];
    snprintf(key, sizeof key, "other%zu", others);
    dispatch(node, key, "x", done);
    start = col_wait(requests, PULSE_EVENT_JOB_START, 3 + others);
    assert_text(start, name, key);
    assert_ok(pulse_job_started(start->job, PULSE_OK, NULL, 0));
    assert_int_equal(col_wait(done, PULSE_EVENT_JOB_DISPATCHED, 2 + others)->status, PULSE_OK);
    const int64_t next = ts_now_ms() + 100;
    fx_until(fx, ts_now_ms() >= next);
  }
  assert_int_equal(metrics_of(node).lost_owners, 0);
  assert_int_equal(metrics_of(node).jobs, 3 + others);
  assert_ok(pulse_job_stopped(stop->job, PULSE_OK, NULL, 0));
  assert_ok(pulse_job_notified(notification->job, PULSE_OK, NULL, 0));
  assert_ok(pulse_job_started(stuck->job, PULSE_OK, NULL, 0));
  fx_until(fx, metrics_of(node).jobs == 2 + others && metrics_of(node).unanswered == 0);
}

static void starts_may_be_few_at_a_time(void **state) {
  fixture *fx = *state;
  collector *requests = fx_collector(fx), *done = fx_collector(fx);
  pulse_node *node = quick_node(fx, NULL);
  pulse_worker_options options = PULSE_WORKER_OPTIONS_INIT;
  options.start_concurrency = 1;
  fx_worker(fx, node, &options, requests);
  dispatch(node, "a", "x", done);
  dispatch(node, "b", "x", done);
  const ev *first = col_wait(requests, PULSE_EVENT_JOB_START, 0);
  fx_until(fx, state_of(node, "a") == PULSE_JOB_OWNED && state_of(node, "b") == PULSE_JOB_OWNED);
  assert_int_equal(col_count_kind(requests, PULSE_EVENT_JOB_START), 1);
  assert_ok(pulse_job_started(first->job, PULSE_OK, NULL, 0));
  assert_ok(
      pulse_job_started(col_wait(requests, PULSE_EVENT_JOB_START, 1)->job, PULSE_OK, NULL, 0));
  col_wait(done, PULSE_EVENT_JOB_DISPATCHED, 1);
}

/* --- dispatch tells the truth -------------------------------------------------------- */

static void a_full_queue_is_told_at_once(void **state) {
  fixture *fx = *state;
  collector *requests = fx_collector(fx), *done = fx_collector(fx);
  pulse_node_options options = quick();
  options.max_queued_jobs = 3;
  pulse_node *node = fx_node(fx, "p", &options, NULL);
  fx_worker(fx, node, NULL, requests);
  for (int i = 0; i < 5; ++i) {
    char key[8];
    snprintf(key, sizeof key, "k%d", i);
    dispatch(node, key, "x", done);
  }
  for (size_t i = 0; i < 2; ++i) {
    const ev *e = col_wait(done, PULSE_EVENT_JOB_DISPATCHED, i);
    assert_int_equal(e->status, PULSE_ERR_QUEUE_FULL);
    assert_true((e->flags & PULSE_ERROR_RETRIABLE) != 0);
  }
  for (size_t i = 0; i < 3; ++i) {
    pulse_job_started(col_wait(requests, PULSE_EVENT_JOB_START, i)->job, PULSE_OK, NULL, 0);
  }
  for (size_t i = 2; i < 5; ++i) {
    assert_int_equal(col_wait(done, PULSE_EVENT_JOB_DISPATCHED, i)->status, PULSE_OK);
  }
  fx_until(fx, fx_redis_int(fx, "HLEN map:p:pending-jobs:content") == 2);
  dispatch(node, "k9", "x", done);
  col_wait(requests, PULSE_EVENT_JOB_START, 3);
}

/* What is dispatched in one turn of the loop goes to the server together. */
static void a_key_is_dispatched_once_in_a_turn(void **state) {
  fixture *fx = *state;
  collector *first = fx_collector(fx), *second = fx_collector(fx), *again = fx_collector(fx);
  pulse_node *node = quick_node(fx, NULL);
  fx_worker(fx, node, NULL, fx_accepting(fx));
  dispatch_now(fx, node, "there");
  dispatch(node, "a", "x", first);
  dispatch(node, "a", "y", second);
  dispatch(node, "there", "z", again);
  dispatch(node, "b", "x", first);
  assert_int_equal(col_wait(second, PULSE_EVENT_JOB_DISPATCHED, 0)->status, PULSE_ERR_EXISTS);
  assert_int_equal(col_wait(again, PULSE_EVENT_JOB_DISPATCHED, 0)->status, PULSE_ERR_EXISTS);
  for (size_t i = 0; i < 2; ++i) {
    assert_int_equal(col_wait(first, PULSE_EVENT_JOB_DISPATCHED, i)->status, PULSE_OK);
  }
  assert_true(fx_redis_is(fx, "x", "HGET map:p:job-payloads:content a"));
  assert_true(fx_redis_is(fx, "payload", "HGET map:p:job-payloads:content there"));
}

/* Nobody, wherever he is, finds the guard of a dispatch that was answered; and what was read of the
 * streams between is not kept. */
static void nothing_is_left_of_a_dispatch_that_was_answered(void **state) {
  fixture *fx = *state;
  pulse_node_options options = quick();
  pulse_node *router = other_node(fx, NULL, NULL);
  pulse_worker *worker = fx_worker(fx, router, NULL, fx_accepting(fx));
  options.client_only = 1;
  pulse_node *node = other_node(fx, &options, NULL);
  for (int i = 0; i < 20; ++i) {
    char key[8];
    snprintf(key, sizeof key, "k%d", i);
    dispatch_now(fx, node, key);
    assert_int_equal(fx_redis_int(fx, "HEXISTS map:p:pending-jobs:content %s", key), 0);
  }
  char worker_id[27], router_id[27], node_id[27];
  pulse_worker_get_id(worker, worker_id, sizeof worker_id);
  pulse_node_get_id(router, router_id, sizeof router_id);
  pulse_node_get_id(node, node_id, sizeof node_id);
  fx_until(fx, fx_redis_int(fx, "XLEN pulse:stream:worker:%s", worker_id) == 0 &&
                   fx_redis_int(fx, "XLEN pulse:stream:p:node:%s", router_id) == 0 &&
                   fx_redis_int(fx, "XLEN pulse:stream:p:node:%s", node_id) == 0);
}

static void without_an_answer_the_outcome_is_unknown(void **state) {
  fixture *fx = *state;
  collector *requests = fx_collector(fx);
  pulse_node *node = quick_node(fx, NULL);
  fx_worker(fx, node, NULL, requests);
  pulse_error *error = fx_err();
  assert_status(PULSE_ERR_TIMEOUT, pulse_node_dispatch_wait(node, "k", 1, "x", 1, 50, error));
  assert_true((error->flags & PULSE_ERROR_OUTCOME_UNKNOWN) != 0);
  const ev *start = col_wait(requests, PULSE_EVENT_JOB_START, 0);
  assert_int_equal(state_of(node, "k"), PULSE_JOB_OWNED);
  assert_ok(pulse_job_started(start->job, PULSE_OK, NULL, 0));
  assert_int_equal(state_of(node, "k"), PULSE_JOB_OWNED);
}

static void there_may_be_no_pool(void **state) {
  fixture *fx = *state;
  pulse_node_options options = quick();
  options.client_only = 1;
  pulse_node *node = fx_node(fx, "p", &options, NULL);
  assert_status(PULSE_ERR_NO_POOL,
                pulse_node_dispatch_wait(node, "k", 1, "x", 1, TS_DEADLINE_MS, fx_err()));
  assert_status(PULSE_ERR_NO_POOL,
                pulse_node_stop_job_wait(node, "k", 1, TS_DEADLINE_MS, fx_err()));
  pulse_target *target = col_target(fx_collector(fx), 0);
  pulse_worker *worker = NULL;
  assert_status(PULSE_ERR_INVALID, pulse_node_add_worker(node, NULL, target, &worker, fx_err()));
  pulse_pool_snapshot *snapshot = NULL;
  assert_status(PULSE_ERR_INVALID, pulse_node_take_snapshot(node, &snapshot, fx_err()));
  assert_status(PULSE_ERR_INVALID, pulse_node_shutdown_wait(node, TS_DEADLINE_MS, fx_err()));
}

static void a_client_dispatches(void **state) {
  fixture *fx = *state;
  collector *requests = fx_accepting(fx);
  pulse_node *node = quick_node(fx, NULL);
  fx_worker(fx, node, NULL, requests);
  pulse_node_options options = quick();
  options.client_only = 1;
  pulse_node *client = other_node(fx, &options, NULL);
  dispatch_now(fx, client, "k");
  assert_int_equal(state_of(client, "k"), PULSE_JOB_OWNED);
}

static void a_job_waits_for_a_worker(void **state) {
  fixture *fx = *state;
  collector *requests = fx_accepting(fx), *done = fx_collector(fx);
  pulse_node *node = quick_node(fx, NULL);
  dispatch(node, "k", "x", done);
  fx_until(fx, metrics_of(node).held == 1);
  assert_int_equal(state_of(node, "k"), PULSE_JOB_QUEUED);
  fx_worker(fx, node, NULL, requests);
  assert_int_equal(col_wait(done, PULSE_EVENT_JOB_DISPATCHED, 0)->status, PULSE_OK);
}

/* --- workers come and go -------------------------------------------------------------- */

static void jobs_follow_the_workers(void **state) {
  fixture *fx = *state;
  collector *a = fx_accepting(fx), *b = fx_accepting(fx), *c = fx_accepting(fx);
  collector *member = fx_collector(fx);
  pulse_node *node = quick_node(fx, member);
  fx_worker(fx, node, NULL, a);
  fx_worker(fx, node, NULL, b);
  static const char *const keys[] = {"job0", "job1", "job2", "job3"};
  for (size_t i = 0; i < 4; ++i) dispatch_now(fx, node, keys[i]);
  /* As recorded of the Go library: all four belong to the first of two workers, and to the first,
   * third, first and third of three. */
  assert_int_equal(col_count_kind(a, PULSE_EVENT_JOB_START), 4);
  pulse_node *other = other_node(fx, NULL, NULL);
  pulse_worker *third = fx_worker(fx, other, NULL, c);
  for (size_t i = 0; i < 2; ++i) {
    const ev *e = col_wait(c, PULSE_EVENT_JOB_START, i);
    assert_int_equal(pulse_job_requeued(e->job), 1);
    assert_text(e, payload, "payload");
    assert_int_equal(col_wait(a, PULSE_EVENT_JOB_STOP, i)->state, PULSE_STOP_MOVED);
  }
  fx_until(fx, metrics_of(node).moved_out == 2 && metrics_of(other).moved_in == 2);
  assert_int_equal(col_count_kind(b, PULSE_EVENT_JOB_START), 0);
  /* And back. */
  assert_ok(pulse_worker_close(third));
  col_wait(a, PULSE_EVENT_JOB_START, 5);
  assert_int_equal(col_wait(c, PULSE_EVENT_CLOSED, 0)->count, 2);
  assert_int_equal(col_count_kind(a, PULSE_EVENT_JOB_STOP), 2);
  /* What went to the third one is no part of what is handed over at the end. */
  assert_ok(pulse_node_close(node));
  assert_int_equal(col_wait(a, PULSE_EVENT_CLOSED, 0)->count, 4);
  assert_int_equal(col_wait(b, PULSE_EVENT_CLOSED, 0)->count, 0);
  assert_int_equal(col_wait(member, PULSE_EVENT_CLOSED, 0)->count, 4);
}

static void a_node_that_closes_hands_its_jobs_over(void **state) {
  fixture *fx = *state;
  collector *here = fx_accepting(fx), *there = fx_accepting(fx), *member = fx_collector(fx);
  pulse_node *node = quick_node(fx, member);
  fx_worker(fx, node, NULL, here);
  for (int i = 0; i < 20; ++i) {
    char key[8];
    snprintf(key, sizeof key, "k%d", i);
    dispatch_now(fx, node, key);
  }
  pulse_node *other = other_node(fx, NULL, NULL);
  pulse_worker *worker = fx_worker(fx, other, NULL, there);
  assert_ok(pulse_node_close(node));
  fx_until(fx, pulse_worker_job_count(worker) == 20);
  const ev *closed = col_wait(member, PULSE_EVENT_CLOSED, 0);
  assert_int_equal(closed->status, PULSE_OK);
  assert_int_equal(closed->id.ms, 0); /* nobody was left behind */
  col_wait(here, PULSE_EVENT_CLOSED, 0);
  assert_int_equal(col_count_kind(here, PULSE_EVENT_JOB_STOP), 20);
  fx_until(fx, metrics_of(other).jobs == 20 && metrics_of(other).unanswered == 0);
}

static void a_handler_that_does_not_answer_is_left_behind(void **state) {
  fixture *fx = *state;
  collector *requests = fx_collector(fx), *done = fx_collector(fx), *member = fx_collector(fx);
  pulse_node *node = quick_node(fx, member);
  fx_worker(fx, node, NULL, requests);
  dispatch(node, "k", "x", done);
  const ev *start = col_wait(requests, PULSE_EVENT_JOB_START, 0);
  assert_ok(pulse_job_started(start->job, PULSE_OK, NULL, 0));
  col_wait(done, PULSE_EVENT_JOB_DISPATCHED, 0);
  assert_ok(pulse_node_close_wait(node, TS_DEADLINE_MS, fx_err()));
  const ev *closed = col_wait(member, PULSE_EVENT_CLOSED, 0);
  assert_int_equal(closed->count, 0);
  assert_int_equal(closed->id.ms, 1);
  /* Others find it. */
  collector *there = fx_accepting(fx);
  pulse_node *other = other_node(fx, NULL, NULL);
  fx_worker(fx, other, NULL, there);
  assert_int_equal(pulse_job_requeued(col_wait(there, PULSE_EVENT_JOB_START, 0)->job), 1);
}

/* What a Go process leaves behind that was killed. */
static void jobs_of_the_dead_are_taken_over(void **state) {
  fixture *fx = *state;
  collector *requests = fx_accepting(fx);
  fx_redis(fx,
           "HSET map:p:node-keepalive:content 01M83VSCR6SKTSQ87JMRBGHBAF 1795426136846982986 "
           "=rev 1 =kind set");
  fx_redis(fx,
           "HSET map:p:workers:content 01M83VSCS3GK8JREXRDK1J0KZR 1795426136867688564 =rev 1 "
           "=kind set");
  fx_redis(fx,
           "HSET map:p:worker-keepalive:content 01M83VSCS3GK8JREXRDK1J0KZR "
           "1795426136868018947 =rev 1 =kind set");
  fx_redis(fx,
           "HSET map:p:jobs:content 01M83VSCS3GK8JREXRDK1J0KZR [\"a\",\"b\",\"gone\"] =rev 3 "
           "=kind set");
  fx_redis(fx, "HSET map:p:job-payloads:content a 1 b 2 =rev 2 =kind set");
  fx_redis(fx, "XADD pulse:stream:worker:01M83VSCS3GK8JREXRDK1J0KZR * n i p x");
  fx_redis(fx, "XADD pulse:stream:p:node:01M83VSCR6SKTSQ87JMRBGHBAF * n i p x");
  pulse_node *node = quick_node(fx, NULL);
  fx_worker(fx, node, NULL, requests);
  assert_int_equal(pulse_job_requeued(col_wait(requests, PULSE_EVENT_JOB_START, 1)->job), 1);
  fx_until(fx, fx_redis_int(fx, "EXISTS pulse:stream:worker:01M83VSCS3GK8JREXRDK1J0KZR") == 0);
  fx_until(fx, fx_redis_int(fx, "EXISTS pulse:stream:p:node:01M83VSCR6SKTSQ87JMRBGHBAF") == 0);
  assert_int_equal(fx_redis_int(fx, "HEXISTS map:p:workers:content 01M83VSCS3GK8JREXRDK1J0KZR"), 0);
  assert_int_equal(
      fx_redis_int(fx, "HEXISTS map:p:worker-keepalive:content 01M83VSCS3GK8JREXRDK1J0KZR"), 0);
  assert_int_equal(fx_redis_int(fx, "HEXISTS map:p:jobs:content 01M83VSCS3GK8JREXRDK1J0KZR"), 0);
  assert_int_equal(metrics_of(node).cleaned, 1);
  assert_int_equal(metrics_of(node).requeued, 2);
  fx_until(fx, metrics_of(node).jobs == 2);
}

/* The worker died after it had taken the job and before it said so: the dispatch is routed again,
 * and that is enough. */
static void what_was_not_answered_goes_back_once(void **state) {
  fixture *fx = *state;
  collector *requests = fx_collector(fx), *done = fx_collector(fx);
  pulse_node *node = quick_node(fx, NULL);
  dispatch(node, "k", "x", done);
  fx_until(fx, fx_redis_int(fx, "HEXISTS map:p:pending-jobs:content k") == 1);
  fx_redis(fx, "XADD pulse:stream:worker:01M83VSCS3GK8JREXRDK1J0KZR * n i p x");
  fx_redis(fx, "HSET map:p:jobs:content 01M83VSCS3GK8JREXRDK1J0KZR [\"k\"] =rev 1 =kind set");
  fx_redis(fx, "HSET map:p:job-payloads:content k x =rev 1 =kind set");
  fx_redis(fx,
           "HSET map:p:workers:content 01M83VSCS3GK8JREXRDK1J0KZR 1795426136867688564 =rev 1 "
           "=kind set");
  fx_until(fx, metrics_of(node).cleaned == 1);
  fx_worker(fx, node, NULL, requests);
  const ev *start = col_wait(requests, PULSE_EVENT_JOB_START, 0);
  assert_int_equal(pulse_job_requeued(start->job), 0);
  assert_ok(pulse_job_started(start->job, PULSE_OK, NULL, 0));
  assert_ok(pulse_job_finish(start->job, PULSE_OK, NULL, 0));
  assert_int_equal(col_wait(done, PULSE_EVENT_JOB_DISPATCHED, 0)->status, PULSE_OK);
  assert_int_equal(metrics_of(node).requeued, 0);
  /* Whatever else was in the queue comes before this one. */
  dispatch(node, "other", "x", done);
  start = col_wait(requests, PULSE_EVENT_JOB_START, 1);
  assert_text(start, name, "other");
  assert_ok(pulse_job_started(start->job, PULSE_OK, NULL, 0));
}

/* The router died after it had sent a dispatch on: the worker's answer reaches the dispatcher all
 * the same, and nobody routes it again. */
static void answers_do_not_need_the_router(void **state) {
  static const char forward[] =
      "local function sized(text) return struct.pack('<I4', #text) .. text end\n"
      "local event = redis.call('XRANGE', KEYS[1], '-', '+')[1]\n"
      "return redis.call('XADD', KEYS[2], '*', 'n', 'j', 'p',\n"
      "                  sized('dead') .. sized(event[2][4]), 'h:event', event[1])";
  fixture *fx = *state;
  collector *requests = fx_accepting(fx), *done = fx_collector(fx);
  pulse_node_options options = quick();
  options.ack_grace_ms = 10 * TS_DEADLINE_MS;
  fx_redis(fx, "XGROUP CREATE pulse:stream:p:pool events 0 MKSTREAM");
  pulse_node_options client = options;
  client.client_only = 1;
  pulse_node *dispatcher = fx_node(fx, "p", &client, NULL);
  dispatch(dispatcher, "k", "x", done);
  fx_until(fx, fx_redis_int(fx, "XLEN pulse:stream:p:pool") == 1);
  fx_redis(fx, "XREADGROUP GROUP events dead STREAMS pulse:stream:p:pool >");
  pulse_worker *worker = fx_worker(fx, other_node(fx, &options, NULL), NULL, requests);
  char id[27], stream[64];
  pulse_worker_get_id(worker, id, sizeof id);
  snprintf(stream, sizeof stream, "pulse:stream:worker:%s", id);
  ts_reply_free(ts_command(fx->server, "EVAL", forward, "2", "pulse:stream:p:pool", stream, NULL));
  assert_int_equal(col_wait(done, PULSE_EVENT_JOB_DISPATCHED, 0)->status, PULSE_OK);
  assert_int_equal(fx_pending(fx, "p:pool", "events"), 0);
  assert_int_equal(col_count_kind(requests, PULSE_EVENT_JOB_START), 1);
}

/* Puts the start of a job "a", which ran before, into the queue. */
static const char kStartA[] =
    "return(redis.call('XADD',KEYS[1],'*','n','j','p','\\1\\0\\0\\0a\\1\\0\\0\\0n"
    "\\1\\0\\0\\0001\\0\\0\\0\\0\\0\\0\\0\\0\\1'))";

static bool is_silent(pulse_node *node, int64_t milliseconds) {
  pulse_pool_snapshot *snapshot = NULL;
  assert_ok(pulse_node_take_snapshot(node, &snapshot, fx_err()));
  bool silent = false;
  for (size_t i = 0; i < pulse_pool_snapshot_worker_count(snapshot); ++i) {
    pulse_worker_info info;
    assert_ok(pulse_pool_snapshot_get_worker(snapshot, i, &info, sizeof info));
    if (info.local == 0 && info.silent_ms > milliseconds) silent = true;
  }
  pulse_pool_snapshot_unref(snapshot);
  return silent;
}

static const char kSilent[] = "01M83VSCS3GK8JREXRDK1J0KZR";

/* A worker of this engine gets a job that a silent one has, which may come back as long as nobody
 * has buried it.  Returns the node. */
static pulse_node *hold_a_job(fixture *fx, collector *requests, pulse_worker **worker) {
  fx_redis(fx, "HSET map:p:workers:content %s 1795426136867688564 =rev 1 =kind set", kSilent);
  fx_redis(fx, "HSET map:p:worker-keepalive:content %s 1795426136868018947 =rev 1 =kind set",
           kSilent);
  fx_redis(fx, "HSET map:p:jobs:content %s [\"a\"] =rev 3 =kind set", kSilent);
  fx_redis(fx, "HSET map:p:job-payloads:content a 1 =rev 1 =kind set");
  /* Somebody seems to be at it, in all eternity. */
  fx_redis(fx, "HSET map:p:cleanup:content %s 9795426136868018947 =rev 1 =kind set", kSilent);
  pulse_node *node = quick_node(fx, NULL);
  *worker = fx_worker(fx, node, NULL, requests);
  fx_until(fx, is_silent(node, 1000));
  fx_redis(fx, "EVAL %s 1 pulse:stream:p:pool", kStartA);
  char id[27];
  pulse_worker_get_id(*worker, id, sizeof id);
  fx_until(fx, fx_redis_int(fx, "HEXISTS map:p:jobs:content %s", id) == 1);
  /* So much for what the server has answered. */
  assert_ok(pulse_engine_ping_wait(fx->engine, NULL, TS_DEADLINE_MS, fx_err()));
  fx_pump(fx);
  return node;
}

static void a_job_of_a_silent_worker_is_not_taken_before_that_is_buried(void **state) {
  fixture *fx = *state;
  collector *requests = fx_accepting(fx);
  pulse_worker *worker = NULL;
  hold_a_job(fx, requests, &worker);
  assert_int_equal(col_count_kind(requests, PULSE_EVENT_JOB_START), 0);
  fx_redis(fx, "HDEL map:p:jobs:content %s", kSilent);
  assert_text(col_wait(requests, PULSE_EVENT_JOB_START, 0), name, "a");
}

/* Else it would go on without a payload where it may still run. */
static void a_job_of_a_silent_worker_is_not_ended_before_that_is_buried(void **state) {
  fixture *fx = *state;
  collector *requests = fx_accepting(fx);
  pulse_worker *worker = NULL;
  pulse_node *node = hold_a_job(fx, requests, &worker);
  char id[27];
  pulse_worker_get_id(worker, id, sizeof id);
  const uint64_t routed = metrics_of(node).routed;
  assert_ok(pulse_node_stop_job_wait(node, "a", 1, TS_DEADLINE_MS, fx_err()));
  /* Of the two that have the job the router takes either. */
  fx_until(
      fx, metrics_of(node).held == 1 || (metrics_of(node).routed > routed &&
                                         fx_redis_int(fx, "XLEN pulse:stream:worker:%s", id) == 0));
  assert_int_equal(fx_redis_int(fx, "HEXISTS map:p:job-payloads:content a"), 1);
  fx_redis(fx, "HDEL map:p:jobs:content %s", kSilent);
  fx_redis(fx, "HINCRBY map:p:jobs:content =rev 1");
  fx_until(fx, fx_redis_int(fx, "HEXISTS map:p:job-payloads:content a") == 0);
  assert_int_equal(col_count_kind(requests, PULSE_EVENT_JOB_START),
                   col_count_kind(requests, PULSE_EVENT_JOB_STOP));
}

static void payloads_without_an_owner_are_started(void **state) {
  fixture *fx = *state;
  collector *requests = fx_accepting(fx);
  fx_redis(fx, "HSET map:p:job-payloads:content a 1 =rev 1 =kind set");
  pulse_node *node = quick_node(fx, NULL);
  fx_worker(fx, node, NULL, requests);
  const ev *e = col_wait(requests, PULSE_EVENT_JOB_START, 0);
  assert_text(e, name, "a");
  assert_int_equal(pulse_job_requeued(e->job), 1);
  fx_until(fx, metrics_of(node).requeued == 1);
}

/* However long the queue takes: it must not grow by itself. */
static void a_job_in_the_queue_is_not_put_there_again(void **state) {
  fixture *fx = *state;
  fx_redis(fx, "HSET map:p:job-payloads:content a 1 b 1 =rev 1 =kind set");
  pulse_node *node = quick_node(fx, NULL);
  fx_redis(fx, "EVAL %s 1 pulse:stream:p:pool", kStartA);
  /* Nobody can start it, or the other one, which has to be put there. */
  fx_until(fx, metrics_of(node).requeued == 1);
  fx_until(fx, metrics_of(node).held == 2);
  assert_int_equal(fx_redis_int(fx, "XLEN pulse:stream:p:pool"), 2);
  collector *requests = fx_accepting(fx);
  fx_worker(fx, node, NULL, requests);
  col_wait(requests, PULSE_EVENT_JOB_START, 1);
}

static void a_worker_that_was_declared_dead_stops_its_jobs(void **state) {
  fixture *fx = *state;
  collector *requests = fx_collector(fx), *done = fx_collector(fx);
  pulse_node *node = quick_node(fx, NULL);
  pulse_worker *worker = fx_worker(fx, node, NULL, requests);
  char before[27], after[27];
  pulse_worker_get_id(worker, before, sizeof before);
  dispatch(node, "k", "x", done);
  const ev *start = col_wait(requests, PULSE_EVENT_JOB_START, 0);
  assert_ok(pulse_job_started(start->job, PULSE_OK, NULL, 0));
  col_wait(done, PULSE_EVENT_JOB_DISPATCHED, 0);
  fx_redis(fx, "HDEL map:p:workers:content %s", before);
  assert_int_equal(col_wait(requests, PULSE_EVENT_OWNERSHIP_LOST, 0)->count, 1);
  const ev *stop = col_wait(requests, PULSE_EVENT_JOB_STOP, 0);
  assert_int_equal(stop->state, PULSE_STOP_LOST);
  assert_ok(pulse_job_stopped(stop->job, PULSE_OK, NULL, 0));
  /* It goes on under another name, and takes over what it had. */
  start = col_wait(requests, PULSE_EVENT_JOB_START, 1);
  pulse_worker_get_id(worker, after, sizeof after);
  assert_string_not_equal(before, after);
  assert_int_equal(pulse_job_requeued(start->job), 1);
  assert_int_equal(metrics_of(node).lost_owners, 1);
}

/* What it answers about a job that it has lost is in nobody's way. */
static void a_worker_that_was_declared_dead_may_have_answers_left(void **state) {
  fixture *fx = *state;
  collector *requests = fx_collector(fx), *done = fx_collector(fx);
  pulse_node *node = quick_node(fx, NULL);
  pulse_worker *worker = fx_worker(fx, node, NULL, requests);
  char before[27];
  pulse_worker_get_id(worker, before, sizeof before);
  dispatch(node, "k", "x", done);
  const ev *start = col_wait(requests, PULSE_EVENT_JOB_START, 0);
  assert_ok(pulse_job_started(start->job, PULSE_OK, NULL, 0));
  col_wait(done, PULSE_EVENT_JOB_DISPATCHED, 0);
  assert_ok(pulse_node_notify_wait(node, "k", 1, "n", 1, TS_DEADLINE_MS, fx_err()));
  const ev *notification = col_wait(requests, PULSE_EVENT_JOB_NOTIFY, 0);
  fx_redis(fx, "HDEL map:p:workers:content %s", before);
  col_wait(requests, PULSE_EVENT_OWNERSHIP_LOST, 0);
  assert_ok(pulse_job_notified(notification->job, PULSE_OK, NULL, 0));
  const ev *stop = col_wait(requests, PULSE_EVENT_JOB_STOP, 0);
  assert_ok(pulse_job_stopped(stop->job, PULSE_OK, NULL, 0));
  start = col_wait(requests, PULSE_EVENT_JOB_START, 1);
  assert_ok(pulse_job_started(start->job, PULSE_OK, NULL, 0));
  fx_until(fx, metrics_of(node).moved_in == 1);
  dispatch(node, "l", "x", done);
  assert_text(col_wait(requests, PULSE_EVENT_JOB_START, 2), name, "l");
}

/* What it had read of its stream, and not told the server, is about its former name. */
static void a_worker_that_was_declared_dead_while_it_read_goes_on(void **state) {
  fixture *fx = *state;
  collector *requests = fx_collector(fx), *done = fx_collector(fx);
  pulse_node *node = quick_node(fx, NULL);
  pulse_worker *worker = fx_worker(fx, node, NULL, requests);
  char before[27];
  pulse_worker_get_id(worker, before, sizeof before);
  dispatch(node, "k", "x", done);
  const ev *start = col_wait(requests, PULSE_EVENT_JOB_START, 0);
  assert_ok(pulse_job_started(start->job, PULSE_OK, NULL, 0));
  col_wait(done, PULSE_EVENT_JOB_DISPATCHED, 0);
  fx_redis(fx, "MULTI");
  fx_redis(fx, "HDEL map:p:workers:content %s", before);
  fx_redis(fx, "XADD pulse:stream:worker:%s * n i p x", before);
  fx_redis(fx, "EXEC");
  const ev *stop = col_wait(requests, PULSE_EVENT_JOB_STOP, 0);
  assert_int_equal(stop->state, PULSE_STOP_LOST);
  /* Its host takes time to stop the job. */
  const int64_t enough = ts_now_ms() + 500;
  while (ts_now_ms() < enough) fx_pump(fx);
  assert_ok(pulse_job_stopped(stop->job, PULSE_OK, NULL, 0));
  start = col_wait(requests, PULSE_EVENT_JOB_START, 1);
  assert_ok(pulse_job_started(start->job, PULSE_OK, NULL, 0));
  dispatch(node, "l", "x", done);
  start = col_wait(requests, PULSE_EVENT_JOB_START, 2);
  assert_text(start, name, "l");
}

static void events_that_cannot_be_read_are_acked(void **state) {
  fixture *fx = *state;
  pulse_node *node = quick_node(fx, NULL);
  pulse_worker *worker = fx_worker(fx, node, NULL, fx_accepting(fx));
  fx_redis(fx, "XADD pulse:stream:p:pool * n j p xx");
  fx_redis(fx, "XADD pulse:stream:p:pool * n ? p xx");
  char id[27];
  pulse_node_get_id(node, id, sizeof id);
  fx_redis(fx, "XADD pulse:stream:p:node:%s * n a p xx", id);
  pulse_worker_get_id(worker, id, sizeof id);
  fx_redis(fx, "XADD pulse:stream:worker:%s * n j p xx", id);
  fx_redis(fx, "XADD pulse:stream:worker:%s * n ? p xx", id);
  fx_until(fx, metrics_of(node).malformed == 5);
  fx_until(fx, fx_pending(fx, "p:pool", "events") == 0);
  dispatch_now(fx, node, "k");
}

/* --- the pool ------------------------------------------------------------------------- */

static bool is_text(const char *text, size_t size, const char *expected) {
  return size == strlen(expected) && memcmp(text, expected, size) == 0;
}

static void a_snapshot_shows_the_pool(void **state) {
  fixture *fx = *state;
  collector *requests = fx_accepting(fx);
  pulse_node *node = quick_node(fx, NULL);
  pulse_worker *worker = fx_worker(fx, node, NULL, requests);
  pulse_node *other = other_node(fx, NULL, NULL);
  char here[27], there[27], id[27];
  pulse_node_get_id(node, here, sizeof here);
  pulse_node_get_id(other, there, sizeof there);
  pulse_worker_get_id(worker, id, sizeof id);
  dispatch_now(fx, node, "k");
  pulse_pool_snapshot *s = NULL;
  bool complete = false;
  while (!complete) {
    fx_pump(fx);
    pulse_pool_snapshot_unref(s);
    assert_ok(pulse_node_take_snapshot(other, &s, fx_err()));
    complete = pulse_pool_snapshot_node_count(s) == 2 && pulse_pool_snapshot_job_count(s) == 1 &&
               pulse_pool_snapshot_worker_count(s) == 1;
  }
  size_t local = 0;
  for (size_t i = 0; i < 2; ++i) {
    pulse_node_info info;
    assert_ok(pulse_pool_snapshot_get_node(s, i, &info, sizeof info));
    assert_true(is_text(info.id, info.id_len, info.local ? there : here));
    local += info.local;
  }
  assert_int_equal(local, 1);
  pulse_worker_info w;
  assert_ok(pulse_pool_snapshot_get_worker(s, 0, &w, sizeof w));
  assert_true(is_text(w.id, w.id_len, id) && is_text(w.node, w.node_len, here));
  assert_int_equal(w.local, 0);
  assert_int_equal(w.active, 1);
  pulse_job_info job;
  assert_ok(pulse_pool_snapshot_get_job(s, 0, &job, sizeof job));
  assert_true(is_text(job.key, job.key_len, "k") && is_text(job.worker, job.worker_len, id) &&
              is_text(job.node, job.node_len, here));
  assert_int_equal(job.state, PULSE_JOB_OWNED);
  assert_status(PULSE_ERR_NOT_FOUND, pulse_pool_snapshot_get_job(s, 1, &job, sizeof job));
  pulse_pool_snapshot_unref(s);
  pulse_bytes *payload = NULL;
  assert_ok(pulse_node_get_job_payload(other, "k", 1, &payload));
  assert_int_equal(pulse_bytes_size(payload), 7);
  pulse_bytes_unref(payload);
  assert_status(PULSE_ERR_NOT_FOUND, pulse_node_get_job_payload(other, "none", 4, &payload));
}

/* What is left are maps that say that they are no more. */
static void check_nothing_is_left(fixture *fx) {
  const ts_reply *keys = fx_redis(fx, "KEYS *");
  for (size_t i = 0; i < ts_reply_size(keys); ++i) {
    const char *key = ts_reply_text(ts_reply_at(keys, i));
    if (strncmp(key, "map:p:", 6) != 0) {
      const bool sinks = strncmp(key, "map:sink:", 9) == 0 || strncmp(key, "map:stream:", 11) == 0;
      if (!sinks && fx_redis_int(fx, "PTTL %s", key) < 0) fail_msg("%s is left", key);
      continue;
    }
    assert_true(fx_redis_is(fx, "destroy", "HGET %s =kind", key));
    assert_int_equal(fx_redis_int(fx, "HLEN %s", key), 2);
  }
}

static void a_shutdown_ends_all_jobs_on_all_nodes(void **state) {
  fixture *fx = *state;
  collector *a = fx_accepting(fx), *b = fx_accepting(fx), *member = fx_collector(fx);
  pulse_node *node = quick_node(fx, NULL);
  fx_worker(fx, node, NULL, a);
  pulse_node *other = other_node(fx, NULL, member);
  fx_worker(fx, other, NULL, b);
  for (int i = 0; i < 10; ++i) {
    char key[8];
    snprintf(key, sizeof key, "k%d", i);
    dispatch_now(fx, node, key);
  }
  collector *done = fx_collector(fx);
  assert_ok(pulse_node_shutdown(node, col_target(done, 0), NULL, fx_err()));
  const ev *e = col_wait(done, PULSE_EVENT_POOL_SHUT_DOWN, 0);
  assert_int_equal(e->status, PULSE_OK);
  assert_int_equal(e->count, 0);
  assert_int_equal(col_wait(member, PULSE_EVENT_CLOSED, 0)->status, PULSE_ERR_SHUTTING_DOWN);
  size_t stops = 0;
  for (collector **c = (collector *[]){a, b, NULL}; *c != NULL; ++c) {
    col_wait(*c, PULSE_EVENT_CLOSED, 0);
    for (size_t i = 0; i < col_count_kind(*c, PULSE_EVENT_JOB_STOP); ++i, ++stops) {
      assert_int_equal(col_find(*c, PULSE_EVENT_JOB_STOP, i)->state, PULSE_STOP_SHUTDOWN);
    }
  }
  assert_true(stops >= 10);
  assert_status(PULSE_ERR_CLOSED, pulse_node_dispatch(node, "k", 1, "x", 1, NULL, NULL, fx_err()));
  check_nothing_is_left(fx);
  /* A pool of the same name may begin anew. */
  pulse_node *again = other_node(fx, NULL, NULL);
  fx_worker(fx, again, NULL, fx_accepting(fx));
  dispatch_now(fx, again, "k");
}

static void a_node_that_was_suspended_during_a_shutdown_leaves_nothing_behind(void **state) {
  fixture *fx = *state;
  pulse_node *node = quick_node(fx, NULL);
  collector *c = fx_collector(fx), *jobs = fx_accepting(fx);
  pulse_engine *first = fx->engine;
  pulse_engine *suspended = fx->engine = fx_ready(fx, NULL);
  pulse_node_options options = quick();
  fx_worker(fx, fx_node(fx, "p", &options, c), NULL, jobs);
  fx->engine = first;
  dispatch_now(fx, node, "k");
  fx_forget(fx, suspended);
  fx_until(fx, metrics_of(node).cleaned == 1);
  assert_ok(pulse_node_shutdown_wait(node, TS_DEADLINE_MS, fx_err()));
  fx_drive(fx, suspended);
  col_wait(jobs, PULSE_EVENT_JOB_STOP, 0);
  assert_int_equal(col_wait(c, PULSE_EVENT_CLOSED, 0)->status, PULSE_ERR_SHUTTING_DOWN);
  assert_ok(pulse_engine_close_wait(suspended, TS_DEADLINE_MS, fx_err()));
  check_nothing_is_left(fx);
}

static void nobody_joins_a_pool_that_is_being_shut_down(void **state) {
  fixture *fx = *state;
  fx_redis(fx, "HSET map:p:shutdown:content shutdown x =rev 1 =kind set");
  fx_ready(fx, NULL);
  pulse_node_options options = quick();
  pulse_node *node = NULL;
  assert_status(PULSE_ERR_SHUTTING_DOWN, pulse_node_join_wait(fx->engine, "p", 1, &options, NULL,
                                                              TS_DEADLINE_MS, &node, fx_err()));
}

/* Rather than to try for ever, without a word. */
static void a_node_that_the_server_refuses_is_told_why(void **state) {
  fixture *fx = *state;
  fx_redis(fx, "SET map:p:node-keepalive:content text");
  fx_ready(fx, NULL);
  pulse_node_options options = quick();
  pulse_node *node = NULL;
  assert_status(PULSE_ERR_WRONG_TYPE, pulse_node_join_wait(fx->engine, "p", 1, &options, NULL,
                                                           TS_DEADLINE_MS, &node, fx_err()));
  assert_null(node);
}

static void all_nodes_of_a_pool_route_alike(void **state) {
  fixture *fx = *state;
  quick_node(fx, NULL);
  pulse_node_options options = quick();
  options.routing = PULSE_ROUTING_RENDEZVOUS;
  pulse_node *node = NULL;
  assert_status(PULSE_ERR_INVALID, pulse_node_join_wait(fx->engine, "p", 1, &options, NULL,
                                                        TS_DEADLINE_MS, &node, fx_err()));
  assert_non_null(strstr(fx_message(), "rendezvous"));
}

static void rendezvous_routing_works(void **state) {
  fixture *fx = *state;
  collector *a = fx_accepting(fx), *b = fx_accepting(fx);
  pulse_node_options options = quick();
  options.routing = PULSE_ROUTING_RENDEZVOUS;
  pulse_node *node = fx_node(fx, "p", &options, NULL);
  fx_worker(fx, node, NULL, a);
  fx_worker(fx, node, NULL, b);
  for (int i = 0; i < 20; ++i) {
    char key[8];
    snprintf(key, sizeof key, "k%d", i);
    dispatch_now(fx, node, key);
  }
  assert_true(col_count_kind(a, PULSE_EVENT_JOB_START) > 0);
  assert_true(col_count_kind(b, PULSE_EVENT_JOB_START) > 0);
  assert_int_equal(fx_redis_int(fx, "HLEN map:p:rv:job-payloads:content"), 22);
  /* Nodes that route otherwise do not meet them. */
  pulse_node_options plain = quick();
  pulse_node *refused = NULL;
  assert_status(PULSE_ERR_INVALID, pulse_node_join_wait(fx->engine, "p", 1, &plain, NULL,
                                                        TS_DEADLINE_MS, &refused, fx_err()));
}

static void members_are_told(void **state) {
  fixture *fx = *state;
  collector *member = fx_collector(fx);
  pulse_node *node = quick_node(fx, member);
  char id[27];
  pulse_node_get_id(node, id, sizeof id);
  const ev *e = col_wait(member, PULSE_EVENT_POOL_MEMBER, 0);
  assert_int_equal(e->state, PULSE_POOL_NODE_JOINED);
  assert_text(e, name, id);
  pulse_worker *worker = fx_worker(fx, node, NULL, fx_accepting(fx));
  pulse_worker_get_id(worker, id, sizeof id);
  e = col_wait(member, PULSE_EVENT_POOL_MEMBER, 1);
  assert_int_equal(e->state, PULSE_POOL_WORKER_JOINED);
  assert_text(e, name, id);
  assert_ok(pulse_worker_close_wait(worker, TS_DEADLINE_MS, fx_err()));
  e = col_wait(member, PULSE_EVENT_POOL_MEMBER, 2);
  assert_int_equal(e->state, PULSE_POOL_WORKER_LEFT);
  assert_text(e, name, id);
}

/* --- arguments --------------------------------------------------------------------------- */

static void wrong_arguments_are_refused(void **state) {
  fixture *fx = *state;
  pulse_node *node = quick_node(fx, NULL);
  assert_status(PULSE_ERR_INVALID, pulse_node_dispatch(node, "", 0, "x", 1, NULL, NULL, fx_err()));
  assert_status(PULSE_ERR_INVALID,
                pulse_node_dispatch(node, "a=b", 3, "x", 1, NULL, NULL, fx_err()));
  assert_status(PULSE_ERR_INVALID, pulse_node_dispatch(NULL, "k", 1, "x", 1, NULL, NULL, fx_err()));
  assert_status(PULSE_ERR_INVALID,
                pulse_node_dispatch(node, "k", 1, NULL, 1, NULL, NULL, fx_err()));
  char *long_key = malloc(PULSE_POOL_MAX_KEY_BYTES + 1);
  memset(long_key, 'k', PULSE_POOL_MAX_KEY_BYTES + 1);
  assert_status(PULSE_ERR_TOO_LARGE,
                pulse_node_dispatch(node, long_key, PULSE_POOL_MAX_KEY_BYTES + 1, "x", 1, NULL,
                                    NULL, fx_err()));
  free(long_key);
  pulse_worker *worker = NULL;
  assert_status(PULSE_ERR_INVALID, pulse_node_add_worker(node, NULL, NULL, &worker, fx_err()));
  assert_status(PULSE_ERR_INVALID, pulse_job_started(NULL, PULSE_OK, NULL, 0));
  assert_status(PULSE_ERR_INVALID, pulse_job_finish(NULL, PULSE_OK, NULL, 0));
  static const struct {
    size_t offset;
    int64_t value;
  } numbers[] = {{offsetof(pulse_node_options, worker_ttl_ms), 199},
                 {offsetof(pulse_node_options, worker_ttl_ms), -1},
                 {offsetof(pulse_node_options, worker_shutdown_ttl_ms), -1},
                 {offsetof(pulse_node_options, job_sink_block_ms), -1},
                 {offsetof(pulse_node_options, max_queued_jobs), -1},
                 {offsetof(pulse_node_options, ack_grace_ms), 99},
                 {offsetof(pulse_node_options, close_timeout_ms), -1}};
  for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; ++i) {
    pulse_node_options options = PULSE_NODE_OPTIONS_INIT;
    memcpy((char *)&options + numbers[i].offset, &numbers[i].value, sizeof numbers[i].value);
    pulse_node *refused = NULL;
    assert_status(PULSE_ERR_INVALID,
                  pulse_node_join(fx->engine, "p", 1, &options, NULL, &refused, fx_err()));
    assert_null(refused);
  }
  pulse_node_options options = PULSE_NODE_OPTIONS_INIT;
  options.routing = 2;
  pulse_node *refused = NULL;
  assert_status(PULSE_ERR_INVALID,
                pulse_node_join(fx->engine, "p", 1, &options, NULL, &refused, fx_err()));
  assert_status(PULSE_ERR_INVALID,
                pulse_node_join(fx->engine, "a=b", 3, NULL, NULL, &refused, fx_err()));
  assert_status(PULSE_ERR_INVALID,
                pulse_node_join(fx->engine, "a b", 3, NULL, NULL, &refused, fx_err()));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      ALL_WAYS(a_job_is_started_on_a_worker),
      BOTH_DRIVERS(a_start_may_be_refused),
      BOTH_DRIVERS(a_start_may_be_put_off),
      BOTH_DRIVERS(a_start_may_be_answered_on_another_thread),
      BOTH_DRIVERS(a_key_is_dispatched_once),
      ALL_WAYS(a_job_is_notified_and_stopped),
      BOTH_DRIVERS(a_job_may_end_by_itself),
      BOTH_DRIVERS(a_job_may_end_as_soon_as_it_has_started),
      BOTH_DRIVERS(requests_for_nobody_are_dropped),
      BOTH_DRIVERS(a_stuck_handler_delays_no_other_job),
      BOTH_DRIVERS(starts_may_be_few_at_a_time),
      BOTH_DRIVERS(a_full_queue_is_told_at_once),
      BOTH_DRIVERS(a_key_is_dispatched_once_in_a_turn),
      BOTH_DRIVERS(nothing_is_left_of_a_dispatch_that_was_answered),
      BOTH_DRIVERS(without_an_answer_the_outcome_is_unknown),
      BOTH_DRIVERS(there_may_be_no_pool),
      BOTH_DRIVERS(a_client_dispatches),
      BOTH_DRIVERS(a_job_waits_for_a_worker),
      ALL_WAYS(jobs_follow_the_workers),
      BOTH_DRIVERS(a_node_that_closes_hands_its_jobs_over),
      BOTH_DRIVERS(a_handler_that_does_not_answer_is_left_behind),
      BOTH_DRIVERS(jobs_of_the_dead_are_taken_over),
      BOTH_DRIVERS(what_was_not_answered_goes_back_once),
      BOTH_DRIVERS(answers_do_not_need_the_router),
      BOTH_DRIVERS(a_job_of_a_silent_worker_is_not_taken_before_that_is_buried),
      BOTH_DRIVERS(a_job_of_a_silent_worker_is_not_ended_before_that_is_buried),
      BOTH_DRIVERS(payloads_without_an_owner_are_started),
      BOTH_DRIVERS(a_job_in_the_queue_is_not_put_there_again),
      BOTH_DRIVERS(a_worker_that_was_declared_dead_stops_its_jobs),
      BOTH_DRIVERS(a_worker_that_was_declared_dead_may_have_answers_left),
      BOTH_DRIVERS(a_worker_that_was_declared_dead_while_it_read_goes_on),
      BOTH_DRIVERS(events_that_cannot_be_read_are_acked),
      BOTH_DRIVERS(a_snapshot_shows_the_pool),
      BOTH_DRIVERS(a_shutdown_ends_all_jobs_on_all_nodes),
      MANUAL_ONLY(a_node_that_was_suspended_during_a_shutdown_leaves_nothing_behind),
      BOTH_DRIVERS(nobody_joins_a_pool_that_is_being_shut_down),
      BOTH_DRIVERS(a_node_that_the_server_refuses_is_told_why),
      BOTH_DRIVERS(all_nodes_of_a_pool_route_alike),
      BOTH_DRIVERS(rendezvous_routing_works),
      BOTH_DRIVERS(members_are_told),
      BOTH_DRIVERS(wrong_arguments_are_refused),
  };
  return cmocka_run_group_tests_name("pool", tests, fx_group_setup, fx_group_teardown);
}
