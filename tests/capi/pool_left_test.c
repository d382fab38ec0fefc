/* What nodes of the Go library left when they were killed at any moment, taken over by ours. */
#include "pool_steps.h"

/* The dead are noticed soon. */
static pulse_node_options quick(void) {
  pulse_node_options options = PULSE_NODE_OPTIONS_INIT;
  options.worker_ttl_ms = 500;
  options.ack_grace_ms = 300;
  options.job_sink_block_ms = 200;
  return options;
}

static pulse_status dispatch(fixture *fx, pulse_node *node, const char *key, const char *payload) {
  collector *c = fx_collector(fx);
  assert_ok(pulse_node_dispatch(node, key, strlen(key), payload, strlen(payload), col_target(c, 0),
                                NULL, fx_err()));
  return col_wait(c, PULSE_EVENT_JOB_DISPATCHED, 0)->status;
}

/* `member` is what the node was joined with. */
static void close_node(pulse_node *node, collector *member) {
  assert_ok(pulse_node_close(node));
  const ev *closed = col_wait(member, PULSE_EVENT_CLOSED, 0);
  assert_int_equal(closed->status, PULSE_OK);
  assert_int_equal(closed->id.ms, 0); /* all handlers have answered */
}

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
  /* Servers before 6.2 know of ours when it has got an event. */
  if (fx_redis_int(fx, "XINFO CONSUMERS pulse:stream:jobs:pool events") > 1) return "consumers";
  ts_reply *streams = ts_commandf(fx->server, "KEYS pulse:stream:*");
  const int count = (int)ts_reply_size(streams);
  ts_reply_free(streams);
  snprintf(wrong, sizeof wrong, "%d streams", count);
  return count == 3 + l->forgotten ? NULL : wrong; /* the pool's, the node's, the worker's */
}

/* Whether a job runs by what its handler was told: never started while it runs, or stopped while it
 * does not.  A process that is slow may hold the dead for alive, and move jobs to and fro. */
static bool runs(collector *c, const char *key, const char *moment) {
  bool running = false;
  for (size_t i = 0; i < col_count(c); ++i) {
    const ev *e = col_at(c, i);
    if (e->kind != PULSE_EVENT_JOB_START && e->kind != PULSE_EVENT_JOB_STOP) continue;
    if (strcmp(e->name, key) != 0) continue;
    if (running == (e->kind == PULSE_EVENT_JOB_START)) {
      fail_msg("\"%s\": %s was %s twice", moment, key, running ? "started" : "stopped");
    }
    running = !running;
  }
  return running;
}

static void take_over(fixture *fx, const left *l, int64_t age_ms) {
  fx_redis(fx, "FLUSHALL");
  pool_load(fx, l->moment, age_ms);
  const pulse_node_options options = quick();
  collector *requests = fx_accepting(fx), *member = fx_collector(fx);
  pulse_node *node = fx_node(fx, "jobs", &options, member);
  pulse_worker *worker = fx_worker(fx, node, NULL, requests);
  char node_id[27], worker_id[27];
  pulse_node_get_id(node, node_id, sizeof node_id);
  pulse_worker_get_id(worker, worker_id, sizeof worker_id);
  const int64_t end = ts_now_ms() + TS_DEADLINE_MS;
  const char *wrong;
  while ((wrong = unsettled(fx, l, node_id, worker_id)) != NULL ||
         pulse_worker_job_count(worker) != word_count(l->jobs)) {
    if (ts_now_ms() > end) fail_msg("\"%s\": %s", l->moment, wrong == NULL ? "jobs" : wrong);
    fx_pump(fx);
  }
  for (const char *const *key =
           (const char *const[]){"job0", "job1", "job2", "job3", "bad1", "good", NULL};
       *key != NULL; ++key) {
    const bool expected = strstr(l->jobs, *key) != NULL;
    if (runs(requests, *key, l->moment) != expected) {
      fail_msg("\"%s\": %s %s", l->moment, *key, expected ? "does not run" : "runs");
    }
  }
  /* What was told to Go nodes went nowhere; the pool goes on. */
  assert_int_equal(dispatch(fx, node, "more", "x"), PULSE_OK);
  close_node(node, member);
}

/* All nodes of the Go library were killed, and ours comes ten seconds later.  Where loops are
 * scaled down only some of the moments are tried. */
static void take_over_all(fixture *fx, const left *list) {
  const int64_t most = 10, scaled = ts_scaled(most);
  const int64_t step = scaled >= most ? 1 : scaled < 1 ? most : most / scaled;
  for (int64_t i = 0; list[i].moment != NULL; ++i) {
    if (i % step == 0) take_over(fx, &list[i], 10000);
  }
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
      BOTH_DRIVERS(a_pool_that_was_left_while_dispatching_goes_on),
      BOTH_DRIVERS(a_pool_that_was_left_while_jobs_ran_goes_on),
      BOTH_DRIVERS(a_pool_that_was_left_while_jobs_moved_goes_on),
      BOTH_DRIVERS(a_pool_that_was_left_while_closing_goes_on),
  };
  return cmocka_run_group_tests_name("pool_left", tests, fx_group_setup, fx_group_teardown);
}
