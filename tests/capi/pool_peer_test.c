/* Nodes of the Go library that are alive beside ours: the test does what they were recorded doing
 * (tests/wire/pool-steps.txt), and reads what we send to them. */
#include "message.h"
#include "pool_steps.h"

static const char kGoNode[] = "01M83VSCR6SKTSQ87JMRBGHBAF"; /* of "one node, two workers" */
static const char kGoWorkers[2][27] = {"01M83VSCS3GK8JREXRDK1J0KZR", "01M83VSCS41RYHA8J20A1WEA95"};

/* --- messages ------------------------------------------------------------------------ */

enum { OLD = -1 }; /* written before there was a mark for requeued jobs */

static wire_message job_message(const char *key, const char *node, const char *payload,
                                int requeued) {
  static const unsigned char created[8] = {0x6d, 0x87, 0x93, 0x15, 0x8f, 0xa2, 0xea, 0x18};
  wire_message b = {.size = 0};
  message_pack_text(&b, key);
  message_pack_text(&b, node);
  message_pack_text(&b, payload);
  message_put(&b, created, sizeof created);
  const char mark = (char)requeued;
  if (requeued != OLD) message_put(&b, &mark, 1);
  return b;
}

static wire_message key_message(const char *key) {
  wire_message b = {.size = 0};
  message_pack_text(&b, key);
  return b;
}

static wire_message notification_message(const char *key, const char *payload) {
  wire_message b = key_message(key);
  message_pack_text(&b, payload);
  return b;
}

static wire_message ack_message(const char *event, const char *error) {
  wire_message b = {.size = 0};
  message_pack_text(&b, event);
  message_pack_text(&b, error);
  return b;
}

static wire_message envelope(const char *sender, wire_message message) {
  wire_message b = {.size = 0};
  message_pack_text(&b, sender);
  message_pack(&b, message.data, message.size);
  return b;
}

/* --- what a Go peer does ------------------------------------------------------------- */

static void publish(fixture *fx, const char *map, const char *kind, const char *key,
                    const char *value) {
  char channel[64], content[64], revision[24];
  snprintf(content, sizeof content, "map:jobs:%s:content", map);
  snprintf(channel, sizeof channel, "map:jobs:%s:updates", map);
  snprintf(revision, sizeof revision, "%lld",
           (long long)fx_redis_int(fx, "HINCRBY %s =rev 1", content));
  fx_redis_int(fx, "HSET %s =kind %s", content, kind);
  const wire_message b = message_of_map(kind, key, value, revision);
  ts_reply_free(ts_commandf(fx->server, "PUBLISH %s %b", channel, b.data, b.size));
}

static void go_set(fixture *fx, const char *map, const char *key, const char *value) {
  ts_reply_free(ts_commandf(fx->server, "HSET map:jobs:%s:content %s %s", map, key, value));
  publish(fx, map, "set", key, value);
}

static void go_delete(fixture *fx, const char *map, const char *key) {
  fx_redis_int(fx, "HDEL map:jobs:%s:content %s", map, key);
  publish(fx, map, "del", key, NULL);
}

/* The keep-alives of its node and workers, now and then. */
static void go_beats(fixture *fx) {
  static int64_t last_ms;
  if (ts_now_ms() - last_ms < 100) return;
  last_ms = ts_now_ms();
  char now[24];
  snprintf(now, sizeof now, "%lld000000", (long long)last_ms);
  go_set(fx, "node-keepalive", kGoNode, now);
  for (size_t i = 0; i < 2; ++i) go_set(fx, "worker-keepalive", kGoWorkers[i], now);
}

/* `at`: the id that it gets, "*" for one of now.  Its id. */
static const char *go_add_at(fixture *fx, const char *stream, const char *at, const char *name,
                             wire_message payload) {
  ts_reply *reply = ts_commandf(fx->server, "XADD pulse:stream:%s %s n %s p %b", stream, at, name,
                                payload.data, payload.size);
  static char id[32];
  snprintf(id, sizeof id, "%s", ts_reply_text(reply));
  ts_reply_free(reply);
  return id;
}

static const char *go_add(fixture *fx, const char *stream, const char *name, wire_message payload) {
  return go_add_at(fx, stream, "*", name, payload);
}

/* The nth event of a stream (from 0), when it has come: its id. */
static const char *read_event(fixture *fx, const char *stream, size_t nth, const char *name,
                              wire_message *payload) {
  static char id[32];
  const size_t wanted = nth + 1;
  fx_until(fx, fx_redis_int(fx, "XLEN pulse:stream:%s", stream) >= (int64_t)wanted);
  const ts_reply *entry = ts_reply_at(fx_redis(fx, "XRANGE pulse:stream:%s - +", stream), nth);
  const ts_reply *fields = ts_reply_at(entry, 1);
  assert_true(ts_reply_equals(ts_reply_at(fields, 0), "n"));
  assert_true(ts_reply_equals(ts_reply_at(fields, 1), name));
  assert_true(ts_reply_equals(ts_reply_at(fields, 2), "p"));
  for (size_t i = 4; i < ts_reply_size(fields); i += 2) { /* what peers ignore */
    assert_memory_equal(ts_reply_text(ts_reply_at(fields, i)), "h:", 2);
  }
  payload->size = 0;
  message_put(payload, ts_reply_text(ts_reply_at(fields, 3)),
              ts_reply_size(ts_reply_at(fields, 3)));
  snprintf(id, sizeof id, "%s", ts_reply_text(ts_reply_at(entry, 0)));
  return id;
}

static void check_bytes(wire_message got, wire_message expected) {
  fx_check_text(got.data, got.size, expected.data, expected.size, "payload", __FILE__, __LINE__);
}

/* When the job was created is the writer's affair. */
static wire_message without_creation(wire_message b) {
  memset(b.data + b.size - 9, 0, 8);
  return b;
}

/* --- our side ------------------------------------------------------------------------ */

/* Nobody is taken for dead, or waited for when the test is over. */
static pulse_node *calm_node(fixture *fx, collector *to) {
  pulse_node_options options = PULSE_NODE_OPTIONS_INIT;
  options.close_timeout_ms = 200;
  options.worker_ttl_ms = 600000;
  options.ack_grace_ms = 600000;
  return fx_node(fx, "jobs", &options, to);
}

static collector *dispatch(fixture *fx, pulse_node *node, const char *key, const char *payload) {
  collector *c = fx_collector(fx);
  assert_ok(pulse_node_dispatch(node, key, strlen(key), payload, strlen(payload), col_target(c, 0),
                                NULL, fx_err()));
  return c;
}

static void worker_stream(pulse_worker *worker, char *stream, size_t size) {
  char id[27];
  pulse_worker_get_id(worker, id, sizeof id);
  snprintf(stream, size, "worker:%s", id);
}

/* --- our router, their worker -------------------------------------------------------- */

static void a_go_worker_gets_what_it_knows(void **state) {
  fixture *fx = *state;
  pool_load(fx, "one node, two workers", 0);
  pulse_node *node = calm_node(fx, NULL);
  char id[27], own[64], stream[64];
  pulse_node_get_id(node, id, sizeof id);
  snprintf(own, sizeof own, "jobs:node:%s", id);
  snprintf(stream, sizeof stream, "worker:%s", kGoWorkers[0]); /* as recorded: all jobs go to it */

  collector *done = dispatch(fx, node, "job0", "payload 0");
  wire_message got;
  const char *event = read_event(fx, stream, 1, "j", &got);
  check_bytes(without_creation(got),
              without_creation(envelope(id, job_message("job0", id, "payload 0", 0))));
  go_set(fx, "jobs", kGoWorkers[0], "[\"job0\"]");
  go_set(fx, "job-payloads", "job0", "payload 0");
  go_add(fx, own, "a", envelope(kGoWorkers[0], ack_message(event, "")));
  assert_int_equal(col_wait(done, PULSE_EVENT_JOB_DISPATCHED, 0)->status, PULSE_OK);
  fx_until(fx, fx_pending(fx, "jobs:pool", "events") == 0);

  assert_ok(pulse_node_notify_wait(node, "job0", 4, "wake up", 7, TS_DEADLINE_MS, fx_err()));
  event = read_event(fx, stream, 2, "n", &got);
  check_bytes(got, envelope(id, notification_message("job0", "wake up")));
  assert_int_equal(fx_pending(fx, "jobs:pool", "events"), 1);
  go_add(fx, own, "a", envelope(kGoWorkers[0], ack_message(event, "")));
  fx_until(fx, fx_pending(fx, "jobs:pool", "events") == 0);

  assert_ok(pulse_node_stop_job_wait(node, "job0", 4, TS_DEADLINE_MS, fx_err()));
  event = read_event(fx, stream, 3, "s", &got);
  check_bytes(got, envelope(id, key_message("job0")));
  go_delete(fx, "jobs", kGoWorkers[0]);
  go_delete(fx, "job-payloads", "job0");
  go_add(fx, own, "a", envelope(kGoWorkers[0], ack_message(event, "")));
  fx_until(fx, fx_pending(fx, "jobs:pool", "events") == 0);

  done = dispatch(fx, node, "job1", "x");
  event = read_event(fx, stream, 4, "j", &got);
  go_add(fx, own, "a", envelope(kGoWorkers[0], ack_message(event, "told to fail job1")));
  const ev *refused = col_wait(done, PULSE_EVENT_JOB_DISPATCHED, 0);
  assert_int_equal(refused->status, PULSE_ERR_REFUSED);
  assert_text(refused, message, "told to fail job1");
  fx_until(fx, fx_pending(fx, "jobs:pool", "events") == 0);
}

static void a_start_is_not_given_back_before_a_go_worker_answers(void **state) {
  fixture *fx = *state;
  pool_load(fx, "one node, two workers", 0);
  pulse_node_options options = PULSE_NODE_OPTIONS_INIT;
  options.worker_ttl_ms = 600000;
  options.ack_grace_ms = 600000;
  collector *member = fx_collector(fx);
  pulse_node *node = fx_node(fx, "jobs", &options, member);
  char id[27], own[64], stream[64];
  pulse_node_get_id(node, id, sizeof id);
  snprintf(own, sizeof own, "jobs:node:%s", id);
  snprintf(stream, sizeof stream, "worker:%s", kGoWorkers[0]);
  dispatch(fx, node, "job0", "payload 0");
  wire_message got;
  const char *event = read_event(fx, stream, 1, "j", &got);
  assert_ok(pulse_node_close(node));
  go_add(fx, own, "a", envelope(kGoWorkers[0], ack_message(event, "")));
  assert_int_equal(col_wait(member, PULSE_EVENT_CLOSED, 0)->status, PULSE_OK);
  assert_int_equal(fx_pending(fx, "jobs:pool", "events"), 0);
}

/* --- their router, our worker -------------------------------------------------------- */

static void our_worker_answers_a_go_router(void **state) {
  fixture *fx = *state;
  pool_load(fx, "one node, two workers", 0);
  collector *requests = fx_collector(fx);
  pulse_node *node = calm_node(fx, NULL);
  pulse_worker *worker = fx_worker(fx, node, NULL, requests);
  char id[27], stream[64], router[64];
  const char *dispatcher = "01M83VSCTQZ0T76VJV8S4QHXA4";
  pulse_worker_get_id(worker, id, sizeof id);
  worker_stream(worker, stream, sizeof stream);
  snprintf(router, sizeof router, "jobs:node:%s", kGoNode);
  wire_message init = {.size = 0};
  message_put(&init, dispatcher, strlen(dispatcher));
  char told[64];
  snprintf(told, sizeof told, "jobs:node:%s", dispatcher);
  go_add(fx, told, "i", init);
  size_t answers = (size_t)fx_redis_int(fx, "XLEN pulse:stream:%s", router);

  /* Of three workers it is ours that has these two. */
  const wire_message start = envelope(kGoNode, job_message("job1", dispatcher, "payload 1", 0));
  char event[32];
  snprintf(event, sizeof event, "%s", go_add(fx, stream, "j", start));
  const ev *e = col_wait(requests, PULSE_EVENT_JOB_START, 0);
  assert_text(e, name, "job1");
  assert_text(e, payload, "payload 1");
  assert_int_equal(pulse_job_requeued(e->job), 0);
  assert_int_equal(pulse_job_created_ns(e->job), INT64_C(1795426136886577005));
  assert_ok(pulse_job_started(e->job, PULSE_OK, NULL, 0));
  wire_message got;
  read_event(fx, router, answers++, "a", &got);
  check_bytes(got, envelope(id, ack_message(event, "")));
  /* The router was killed and its event delivered again: it runs already. */
  snprintf(event, sizeof event, "%s", go_add(fx, stream, "j", start));
  read_event(fx, router, answers++, "a", &got);
  check_bytes(got, envelope(id, ack_message(event, "")));

  snprintf(event, sizeof event, "%s",
           go_add(fx, stream, "n", envelope(kGoNode, notification_message("job1", "wake up"))));
  e = col_wait(requests, PULSE_EVENT_JOB_NOTIFY, 0);
  assert_text(e, payload, "wake up");
  assert_ok(pulse_job_notified(e->job, PULSE_OK, NULL, 0));
  read_event(fx, router, answers++, "a", &got);
  check_bytes(got, envelope(id, ack_message(event, "")));

  snprintf(event, sizeof event, "%s",
           go_add(fx, stream, "s", envelope(kGoNode, key_message("job1"))));
  e = col_wait(requests, PULSE_EVENT_JOB_STOP, 0);
  assert_ok(pulse_job_stopped(e->job, PULSE_OK, NULL, 0));
  read_event(fx, router, answers++, "a", &got);
  check_bytes(got, envelope(id, ack_message(event, "")));
  assert_int_equal(fx_redis_int(fx, "HEXISTS map:jobs:jobs:content %s", id), 0);
  assert_int_equal(fx_redis_int(fx, "HEXISTS map:jobs:job-payloads:content job1"), 0);

  /* As Go nodes of old wrote it. */
  snprintf(event, sizeof event, "%s",
           go_add(fx, stream, "j", envelope(kGoNode, job_message("job3", dispatcher, "", OLD))));
  e = col_wait(requests, PULSE_EVENT_JOB_START, 1);
  assert_text(e, name, "job3");
  assert_int_equal(pulse_job_requeued(e->job), 0);
  assert_ok(pulse_job_started(e->job, PULSE_ERR_INVALID, "told to fail job3", 17));
  read_event(fx, router, answers++, "a", &got);
  check_bytes(got, envelope(id, ack_message(event, "told to fail job3")));
  assert_int_equal(fx_redis_int(fx, "HEXISTS map:jobs:job-payloads:content job3"), 0);

  /* It is the router who tells the dispatcher. */
  assert_int_equal(fx_redis_int(fx, "XLEN pulse:stream:%s", told), 1);
}

/* In the queue: from there our router takes it. */
static void a_job_of_an_old_go_node_is_started(void **state) {
  fixture *fx = *state;
  pool_load(fx, "first node killed, its jobs moved", 0);
  fx_redis(fx, "DEL map:jobs:workers:content"); /* just ours */
  pulse_node *node = calm_node(fx, NULL);
  collector *requests = fx_accepting(fx);
  fx_worker(fx, node, NULL, requests);
  const char *dispatcher = "01M83VSEBX75SVG1HVNJJ4D3HF";
  char own[64], event[32];
  snprintf(own, sizeof own, "jobs:node:%s", dispatcher);
  const size_t told = (size_t)fx_redis_int(fx, "XLEN pulse:stream:%s", own);
  snprintf(event, sizeof event, "%s",
           go_add(fx, "jobs:pool", "j", job_message("job9", dispatcher, "x", OLD)));
  const ev *e = col_wait(requests, PULSE_EVENT_JOB_START, 0);
  assert_text(e, name, "job9");
  assert_int_equal(pulse_job_requeued(e->job), 0);
  wire_message got;
  read_event(fx, own, told, "d", &got);
  check_bytes(got, ack_message(event, ""));
}

/* A start is kept whatever its age is; requests are not, even if it is known who has the job. */
static void only_starts_are_never_too_old(void **state) {
  fixture *fx = *state;
  fx_redis(fx, "XGROUP CREATE pulse:stream:jobs:pool events 0 MKSTREAM");
  fx_ready(fx, NULL);
  pulse_node *node = calm_node(fx, NULL);
  collector *requests = fx_accepting(fx);
  fx_worker(fx, node, NULL, requests);
  go_add_at(fx, "jobs:pool", "1000-0", "j", job_message("job9", kGoNode, "x", 0));
  col_wait(requests, PULSE_EVENT_JOB_START, 0);
  pulse_bytes *payload = NULL;
  fx_until(fx, pulse_node_get_job_payload(node, "job9", 4, &payload) == PULSE_OK);
  pulse_bytes_unref(payload);
  go_add_at(fx, "jobs:pool", "1001-0", "n", notification_message("job9", "x"));
  go_add_at(fx, "jobs:pool", "1002-0", "s", key_message("job9"));
  fx_until(fx, fx_redis_int(fx, "XLEN pulse:stream:jobs:pool") <= 1 &&
                   fx_pending(fx, "jobs:pool", "events") == 0);
  pulse_node_metrics m = {.size = sizeof m};
  assert_ok(pulse_node_get_metrics(node, &m));
  assert_int_equal(m.dropped, 2);
  assert_int_equal(m.jobs, 1);
  assert_int_equal(col_count_kind(requests, PULSE_EVENT_JOB_NOTIFY), 0);
  assert_int_equal(col_count_kind(requests, PULSE_EVENT_JOB_STOP), 0);
}

/* The router has given the request up by then. */
static void an_answer_may_come_too_late(void **state) {
  fixture *fx = *state;
  fx_redis(fx, "XGROUP CREATE pulse:stream:jobs:pool events 0 MKSTREAM");
  fx_ready(fx, NULL);
  pulse_node *node = calm_node(fx, NULL);
  collector *requests = fx_collector(fx);
  fx_worker(fx, node, NULL, requests);
  go_add_at(fx, "jobs:pool", "1000-0", "j", job_message("job9", kGoNode, "x", 0));
  pulse_job *job = col_wait(requests, PULSE_EVENT_JOB_START, 0)->job;
  assert_ok(pulse_job_started(job, PULSE_OK, NULL, 0));
  /* In a few seconds it will be two minutes old. */
  char at[32];
  const long long now_s = strtoll(ts_reply_text(ts_reply_at(fx_redis(fx, "TIME"), 0)), NULL, 10);
  snprintf(at, sizeof at, "%lld-0", (now_s - 117) * 1000);
  go_add_at(fx, "jobs:pool", at, "n", notification_message("job9", "x"));
  col_wait(requests, PULSE_EVENT_JOB_NOTIFY, 0);
  pulse_node_metrics m = {.size = sizeof m};
  fx_until(fx, pulse_node_get_metrics(node, &m) == PULSE_OK && m.dropped == 1);
  assert_ok(pulse_job_notified(job, PULSE_OK, NULL, 0));
  collector *done = dispatch(fx, node, "other", "x");
  const ev *start = col_wait(requests, PULSE_EVENT_JOB_START, 1);
  assert_ok(pulse_job_started(start->job, PULSE_OK, NULL, 0));
  assert_int_equal(col_wait(done, PULSE_EVENT_JOB_DISPATCHED, 0)->status, PULSE_OK);
}

/* --- jobs move between us ------------------------------------------------------------ */

static void jobs_move_to_go_workers_and_back(void **state) {
  fixture *fx = *state;
  collector *requests = fx_accepting(fx);
  pulse_node *node = calm_node(fx, NULL);
  pulse_worker *worker = fx_worker(fx, node, NULL, requests);
  char id[27], worker_id[27], own[64], stream[64];
  pulse_node_get_id(node, id, sizeof id);
  pulse_worker_get_id(worker, worker_id, sizeof worker_id);
  snprintf(own, sizeof own, "jobs:node:%s", id);
  for (int i = 0; i < 4; ++i) {
    char key[8], payload[16];
    snprintf(key, sizeof key, "job%d", i);
    snprintf(payload, sizeof payload, "payload %d", i);
    assert_int_equal(
        col_wait(dispatch(fx, node, key, payload), PULSE_EVENT_JOB_DISPATCHED, 0)->status,
        PULSE_OK);
  }
  fx_until(fx, fx_pending(fx, "jobs:pool", "events") == 0);

  /* A Go node with two workers joins.  Of three workers the jobs belong to the first and third. */
  char created[32];
  const ts_reply *time = fx_redis(fx, "TIME");
  const long long now = atoll(ts_reply_text(ts_reply_at(time, 0))) + 1;
  snprintf(created, sizeof created, "%lld000000000", now);
  go_set(fx, "node-keepalive", kGoNode, created);
  for (int i = 0; i < 2; ++i) {
    snprintf(created, sizeof created, "%lld00000000%d", now, i);
    go_set(fx, "workers", kGoWorkers[i], created);
    go_set(fx, "worker-keepalive", kGoWorkers[i], created);
    snprintf(stream, sizeof stream, "worker:%s", kGoWorkers[i]);
    wire_message init = {.size = 0};
    message_pack_text(&init, kGoWorkers[i]);
    go_add(fx, stream, "i", envelope(kGoNode, init));
  }
  const char *third = kGoWorkers[1];
  char events[2][32];
  wire_message got[2];
  for (size_t i = 0; i < 2; ++i) {
    snprintf(events[i], sizeof events[i], "%s", read_event(fx, stream, i + 1, "j", &got[i]));
  }
  /* Ours has let go of them. */
  assert_int_equal(col_count_kind(requests, PULSE_EVENT_JOB_STOP), 2);
  assert_true(fx_redis_is(fx, "[\"job0\",\"job2\"]", "HGET map:jobs:jobs:content %s", worker_id));
  const wire_message one = without_creation(envelope(id, job_message("job1", id, "payload 1", 1)));
  const wire_message other =
      without_creation(envelope(id, job_message("job3", id, "payload 3", 1)));
  const bool in_order = memcmp(without_creation(got[0]).data, one.data, one.size) == 0;
  check_bytes(without_creation(got[0]), in_order ? one : other);
  check_bytes(without_creation(got[1]), in_order ? other : one);
  go_set(fx, "jobs", third, "[\"job1\",\"job3\"]");
  go_set(fx, "job-payloads", "job1", "payload 1");
  go_set(fx, "job-payloads", "job3", "payload 3");
  for (int i = 0; i < 2; ++i) {
    go_add(fx, own, "a", envelope(third, ack_message(events[i], "")));
  }
  fx_until(fx, fx_pending(fx, "jobs:pool", "events") == 0);

  /* It closes: jobs are in the queue while it still has them. */
  fx_redis(fx, "DEL pulse:stream:%s", stream);
  go_set(fx, "workers", third, "-");
  go_add(fx, "jobs:pool", "j", job_message("job3", kGoNode, "payload 3", 1));
  go_add(fx, "jobs:pool", "j", job_message("job1", kGoNode, "payload 1", 1));
  fx_until(fx, pulse_worker_job_count(worker) == 4);
  go_delete(fx, "workers", third);
  fx_until(fx, fx_redis_is(fx, "[\"job0\",\"job2\",\"job3\",\"job1\"]",
                           "HGET map:jobs:jobs:content %s", worker_id));
  assert_ok(pulse_engine_ping_wait(fx->engine, NULL, TS_DEADLINE_MS, fx_err()));
  fx_pump(fx);
  assert_int_equal(col_count_kind(requests, PULSE_EVENT_JOB_START), 4); /* of before */
  go_delete(fx, "jobs", third);
  for (size_t i = 4; i < 6; ++i) {
    assert_int_equal(pulse_job_requeued(col_wait(requests, PULSE_EVENT_JOB_START, i)->job), 1);
  }
  fx_until(fx, fx_pending(fx, "jobs:pool", "events") == 0);
}

/* It started the job while the start was under way to ours. */
static void a_job_that_a_go_worker_keeps_is_not_started_twice(void **state) {
  fixture *fx = *state;
  pool_load(fx, "one node, two workers", 0);
  pulse_node_options options = PULSE_NODE_OPTIONS_INIT;
  options.close_timeout_ms = 200;
  options.worker_ttl_ms = 2000;
  options.ack_grace_ms = 600000;
  collector *requests = fx_accepting(fx);
  pulse_node *node = fx_node(fx, "jobs", &options, NULL);
  pulse_worker *worker = fx_worker(fx, node, NULL, requests);
  const char *owner = kGoWorkers[1];
  go_set(fx, "jobs", owner, "[\"job1\"]");
  go_set(fx, "job-payloads", "job1", "payload 1");
  go_add(fx, "jobs:pool", "j", job_message("job1", kGoNode, "payload 1", 1));
  fx_until(fx, (go_beats(fx), pulse_worker_job_count(worker) == 1));
  fx_until(fx, (go_beats(fx), fx_pending(fx, "jobs:pool", "events") == 0));
  fx_until(fx, (go_beats(fx), pulse_worker_job_count(worker) == 0));
  assert_int_equal(col_count_kind(requests, PULSE_EVENT_JOB_START), 0);
  assert_true(fx_redis_is(fx, "[\"job1\"]", "HGET map:jobs:jobs:content %s", owner));
  char id[27];
  pulse_worker_get_id(worker, id, sizeof id);
  assert_int_equal(fx_redis_int(fx, "HEXISTS map:jobs:jobs:content %s", id), 0);
}

/* --- they shut the pool down --------------------------------------------------------- */

static void a_go_node_shuts_the_pool_down(void **state) {
  fixture *fx = *state;
  collector *requests = fx_accepting(fx), *member = fx_collector(fx);
  pulse_node *node = calm_node(fx, member);
  pulse_worker *worker = fx_worker(fx, node, NULL, requests);
  char id[27], worker_id[27];
  pulse_node_get_id(node, id, sizeof id);
  pulse_worker_get_id(worker, worker_id, sizeof worker_id);
  assert_int_equal(col_wait(dispatch(fx, node, "good", "y"), PULSE_EVENT_JOB_DISPATCHED, 0)->status,
                   PULSE_OK);
  go_set(fx, "shutdown", "shutdown", kGoNode);
  assert_int_equal(col_wait(requests, PULSE_EVENT_JOB_STOP, 0)->state, PULSE_STOP_SHUTDOWN);
  assert_int_equal(col_wait(member, PULSE_EVENT_CLOSED, 0)->status, PULSE_ERR_SHUTTING_DOWN);
  for (const char *const *map = (const char *const[]){"jobs", "job-payloads", "workers",
                                                      "worker-keepalive", "node-keepalive", NULL};
       *map != NULL; ++map) {
    assert_int_equal(fx_redis_int(fx, "HLEN map:jobs:%s:content", *map), 2);
    assert_true(fx_redis_is(fx, "del", "HGET map:jobs:%s:content =kind", *map));
  }
  assert_int_equal(fx_redis_int(fx, "EXISTS pulse:stream:jobs:node:%s", id), 0);
  assert_int_equal(fx_redis_int(fx, "EXISTS pulse:stream:worker:%s", worker_id), 0);
  /* The rest is for the one who asked. */
  assert_true(fx_redis_is(fx, "1", "HGET map:jobs:shutdown:content =rev"));
  assert_int_equal(fx_redis_int(fx, "EXISTS pulse:stream:jobs:pool"), 1);
}

/* The guard of a dispatcher that was killed. */
static void a_guard_of_a_go_node_holds_until_it_is_over(void **state) {
  fixture *fx = *state;
  pool_load(fx, "dispatch: guarded", 0); /* four seconds */
  pulse_node_options options = PULSE_NODE_OPTIONS_INIT;
  options.worker_ttl_ms = 600000;
  options.ack_grace_ms = 300;
  pulse_node *node = fx_node(fx, "jobs", &options, NULL);
  assert_int_equal(col_wait(dispatch(fx, node, "job0", "x"), PULSE_EVENT_JOB_DISPATCHED, 0)->status,
                   PULSE_ERR_EXISTS);
  fx_until(fx, fx_redis_int(fx, "HEXISTS map:jobs:pending-jobs:content job0") == 0);
  dispatch(fx, node, "job0", "x");
  fx_until(fx, fx_redis_int(fx, "HEXISTS map:jobs:pending-jobs:content job0") == 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      BOTH_DRIVERS(a_go_worker_gets_what_it_knows),
      BOTH_DRIVERS(a_start_is_not_given_back_before_a_go_worker_answers),
      BOTH_DRIVERS(our_worker_answers_a_go_router),
      BOTH_DRIVERS(a_job_of_an_old_go_node_is_started),
      BOTH_DRIVERS(only_starts_are_never_too_old),
      BOTH_DRIVERS(an_answer_may_come_too_late),
      BOTH_DRIVERS(jobs_move_to_go_workers_and_back),
      BOTH_DRIVERS(a_job_that_a_go_worker_keeps_is_not_started_twice),
      BOTH_DRIVERS(a_go_node_shuts_the_pool_down),
      BOTH_DRIVERS(a_guard_of_a_go_node_holds_until_it_is_over),
  };
  return cmocka_run_group_tests_name("pool_peer", tests, fx_group_setup, fx_group_teardown);
}
