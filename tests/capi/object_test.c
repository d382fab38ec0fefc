/* The object model, over all types of handle: NULL, counting, use after close,
 * other threads, and the destroy notifier. */
#include <pthread.h>

#include "fixture.h"

typedef struct handles {
  pulse_engine *engine;
  pulse_stream *stream;
  pulse_reader *reader;
  pulse_sink *sink;
  pulse_map *map;
  pulse_map_watch *watch;
  pulse_node *node;
  pulse_worker *worker;
  pulse_ticker *ticker;
  pulse_schedule *schedule;
} handles;

static const pulse_event_id kId = {1, 1};
static const int64_t kHour = INT64_C(3600000000000);
static const pulse_ack_handle kAck = {1, 1, 1, {1, 1}};

/* --- every call on an object, with what it answered ------------------------ */

typedef struct answer {
  const char *call;
  pulse_status status;
} answer;

typedef struct answers {
  const handles *h;
  collector *to; /* NULL: no targets */
  answer list[128];
  size_t count;
} answers;

static pulse_target *any_target(answers *a) { return a->to == NULL ? NULL : col_target(a->to, 1); }

static void note(answers *a, const char *call, pulse_status status) {
  a->list[a->count++] = (answer){call, status};
}

#define NOTE(call) note(a, #call, (call))

/* All that sends or waits; on closed or missing objects each must refuse. */
static void call_stream(answers *a) {
  pulse_stream *s = a->h->stream;
  pulse_bytes *payload = pulse_bytes_new("p", 1);
  const pulse_add_item item = {"n", 1, "p", 1, NULL, 0, NULL, 0};
  const size_t size = sizeof item;
  pulse_stream_info info = {sizeof info, 0, 0, 0, 0, {0, 0}, {0, 0}, {0, 0}, 0, 0};
  NOTE(pulse_stream_add(s, "n", 1, "p", 1, NULL, any_target(a), NULL, NULL));
  NOTE(pulse_stream_add_bytes(s, "n", 1, payload, NULL, any_target(a), NULL, NULL));
  NOTE(pulse_stream_add_wait(s, "n", 1, "p", 1, NULL, NULL, 1000, NULL));
  NOTE(pulse_stream_add_batch(s, &item, size, 1, NULL, any_target(a), NULL, NULL));
  NOTE(pulse_stream_add_batch_wait(s, &item, size, 1, NULL, NULL, 1000, NULL));
  NOTE(pulse_stream_remove(s, &kId, 1, any_target(a), NULL, NULL));
  NOTE(pulse_stream_remove_wait(s, &kId, 1, NULL, 1000, NULL));
  NOTE(pulse_stream_destroy(s, any_target(a), NULL, NULL));
  NOTE(pulse_stream_destroy_wait(s, 1000, NULL));
  NOTE(pulse_stream_info_get(s, any_target(a), NULL, NULL));
  NOTE(pulse_stream_info_wait(s, &info, 1000, NULL));
  pulse_bytes_unref(payload);
}

static void call_engine(answers *a) {
  pulse_engine *e = a->h->engine;
  pulse_stream *stream = NULL;
  NOTE(pulse_engine_ready_wait(e, 1000, NULL));
  NOTE(pulse_engine_ping(e, any_target(a), NULL, NULL));
  NOTE(pulse_engine_ping_wait(e, NULL, 1000, NULL));
  NOTE(pulse_stream_open(e, "s", 1, NULL, &stream, NULL));
  if (stream != NULL) note(a, "pulse_stream_open gave a stream", PULSE_OK);
}

static void call_openers(answers *a) {
  pulse_reader *reader = NULL;
  pulse_sink *sink = NULL;
  NOTE(pulse_reader_open(a->h->stream, NULL, any_target(a), &reader, NULL));
  NOTE(pulse_sink_open(a->h->stream, "g", 1, NULL, any_target(a), &sink, NULL));
  pulse_map *map = NULL;
  pulse_map_watch *watch = NULL;
  NOTE(pulse_map_join(a->h->engine, "m", 1, NULL, any_target(a), &map, NULL));
  NOTE(pulse_map_join_wait(a->h->engine, "m", 1, NULL, any_target(a), 1000, &map, NULL));
  NOTE(pulse_map_watch_open(a->h->map, NULL, any_target(a), &watch, NULL));
  pulse_node *n = a->h->node, *node = NULL;
  pulse_worker *worker = NULL;
  pulse_ticker *ticker = NULL;
  pulse_schedule *schedule = NULL;
  NOTE(pulse_node_join(a->h->engine, "q", 1, NULL, any_target(a), &node, NULL));
  NOTE(pulse_node_join_wait(a->h->engine, "q", 1, NULL, any_target(a), 1000, &node, NULL));
  NOTE(pulse_node_add_worker(n, NULL, any_target(a), &worker, NULL));
  NOTE(pulse_ticker_open(n, "u", 1, kHour, NULL, any_target(a), &ticker, NULL));
  NOTE(pulse_ticker_open_wait(n, "u", 1, kHour, NULL, any_target(a), 1000, &ticker, NULL));
  NOTE(pulse_schedule_open(n, "v", 1, kHour, NULL, any_target(a), &schedule, NULL));
  NOTE(pulse_schedule_open_wait(n, "v", 1, kHour, NULL, any_target(a), 1000, &schedule, NULL));
}

/* `stream` is a good one, so that only the object is at fault. */
static void call_reader(answers *a) {
  pulse_reader *r = a->h->reader;
  pulse_stream *s = a->h->stream;
  NOTE(pulse_reader_ready_wait(r, 1000, NULL));
  NOTE(pulse_reader_add_stream(r, s, PULSE_START_OLDEST, NULL, any_target(a), NULL, NULL));
  NOTE(pulse_reader_add_stream_wait(r, s, PULSE_START_OLDEST, NULL, 1000, NULL));
  NOTE(pulse_reader_remove_stream(r, s, any_target(a), NULL, NULL));
  NOTE(pulse_reader_remove_stream_wait(r, s, 1000, NULL));
  NOTE(pulse_reader_pause(r));
  NOTE(pulse_reader_resume(r));
}

static void call_sink(answers *a) {
  pulse_sink *k = a->h->sink;
  pulse_stream *s = a->h->stream;
  NOTE(pulse_sink_ready_wait(k, 1000, NULL));
  NOTE(pulse_sink_add_stream(k, s, PULSE_START_OLDEST, NULL, any_target(a), NULL, NULL));
  NOTE(pulse_sink_add_stream_wait(k, s, PULSE_START_OLDEST, NULL, 1000, NULL));
  NOTE(pulse_sink_remove_stream(k, s, any_target(a), NULL, NULL));
  NOTE(pulse_sink_remove_stream_wait(k, s, 1000, NULL));
  NOTE(pulse_sink_pause(k));
  NOTE(pulse_sink_resume(k));
}

/* A handle of `ack` belongs to no sink when there never was one. */
static void call_ack(answers *a, const pulse_ack_handle *ack) {
  pulse_sink *k = a->h->sink;
  NOTE(pulse_sink_ack(k, ack, 1, any_target(a), NULL, NULL));
  NOTE(pulse_sink_ack_wait(k, ack, 1, NULL, 1000, NULL));
  NOTE(pulse_sink_release(k, ack, 1, any_target(a), NULL, NULL));
  NOTE(pulse_sink_release_wait(k, ack, 1, 1000, NULL));
}

/* The first of them makes the key of the others, so that all can succeed. */
static void call_map(answers *a) {
  pulse_map *m = a->h->map;
  const pulse_map_item item = {"x", 1};
  const pulse_map_batch_item set = {PULSE_MAP_OP_SET, 0, "k", 1, "v", 1, 0};
  const pulse_map_entry test = {"k", 1, "no", 2};
  NOTE(pulse_map_set_and_wait_wait(m, "k", 1, "v", 1, NULL, 1000, NULL));
  NOTE(pulse_map_set_and_wait(m, "k", 1, "v", 1, any_target(a), NULL, NULL));
  NOTE(pulse_map_set(m, "k", 1, "v", 1, any_target(a), NULL, NULL));
  NOTE(pulse_map_set_wait(m, "k", 1, "v", 1, NULL, 1000, NULL));
  NOTE(pulse_map_set_if_absent(m, "k", 1, "v", 1, any_target(a), NULL, NULL));
  NOTE(pulse_map_set_if_absent_wait(m, "k", 1, "v", 1, NULL, 1000, NULL));
  NOTE(pulse_map_test_and_set(m, "k", 1, "v", 1, "v", 1, any_target(a), NULL, NULL));
  NOTE(pulse_map_test_and_set_wait(m, "k", 1, "v", 1, "v", 1, NULL, 1000, NULL));
  NOTE(pulse_map_increment(m, "i", 1, 1, any_target(a), NULL, NULL));
  NOTE(pulse_map_increment_wait(m, "i", 1, 1, NULL, 1000, NULL));
  NOTE(pulse_map_append(m, "l", 1, &item, 1, any_target(a), NULL, NULL));
  NOTE(pulse_map_append_wait(m, "l", 1, &item, 1, NULL, 1000, NULL));
  NOTE(pulse_map_append_unique(m, "l", 1, &item, 1, any_target(a), NULL, NULL));
  NOTE(pulse_map_append_unique_wait(m, "l", 1, &item, 1, NULL, 1000, NULL));
  NOTE(pulse_map_remove_values(m, "l", 1, &item, 1, any_target(a), NULL, NULL));
  NOTE(pulse_map_remove_values_wait(m, "l", 1, &item, 1, NULL, 1000, NULL));
  NOTE(pulse_map_delete(m, "l", 1, any_target(a), NULL, NULL));
  NOTE(pulse_map_delete_wait(m, "l", 1, NULL, 1000, NULL));
  NOTE(pulse_map_test_and_delete(m, "k", 1, "no", 2, any_target(a), NULL, NULL));
  NOTE(pulse_map_test_and_delete_wait(m, "k", 1, "no", 2, NULL, 1000, NULL));
  NOTE(pulse_map_test_and_reset(m, &test, 1, any_target(a), NULL, NULL));
  NOTE(pulse_map_test_and_reset_wait(m, &test, 1, NULL, 1000, NULL));
  NOTE(pulse_map_batch(m, &set, sizeof set, 1, any_target(a), NULL, NULL));
  NOTE(pulse_map_batch_wait(m, &set, sizeof set, 1, NULL, 1000, NULL));
  NOTE(pulse_map_wait_synced(m, 1000, NULL));
  NOTE(pulse_map_wait_revision(m, 1, 1000, NULL));
  pulse_bytes *value = NULL;
  pulse_list *list = NULL, *items = NULL;
  pulse_map_snapshot *snapshot = NULL;
  char text[8];
  size_t size = 0;
  NOTE(pulse_map_get(m, "k", 1, &value));
  NOTE(pulse_map_get_copy(m, "k", 1, text, sizeof text, &size));
  NOTE(pulse_map_keys(m, &list, NULL));
  NOTE(pulse_map_get_list(m, "k", 1, &items, NULL));
  NOTE(pulse_map_take_snapshot(m, &snapshot, NULL));
  pulse_bytes_unref(value);
  pulse_list_unref(list);
  pulse_list_unref(items);
  pulse_map_snapshot_unref(snapshot);
}

/* These two are allowed as long as the engine is open. */
static void call_map_ends(answers *a) {
  pulse_map *m = a->h->map;
  NOTE(pulse_map_reset(m, any_target(a), NULL, NULL));
  NOTE(pulse_map_reset_wait(m, NULL, 1000, NULL));
  NOTE(pulse_map_destroy(m, any_target(a), NULL, NULL));
  NOTE(pulse_map_destroy_wait(m, NULL, 1000, NULL));
}

/* The dispatch of a job that nobody takes would wait. */
static void call_dispatch(answers *a) {
  pulse_node *n = a->h->node;
  NOTE(pulse_node_dispatch(n, "k", 1, "p", 1, any_target(a), NULL, NULL));
  NOTE(pulse_node_dispatch_wait(n, "k", 1, "p", 1, 1000, NULL));
}

static void call_node(answers *a) {
  pulse_node *n = a->h->node;
  pulse_job_state state = 0;
  NOTE(pulse_node_stop_job(n, "k", 1, any_target(a), NULL, NULL));
  NOTE(pulse_node_stop_job_wait(n, "k", 1, 1000, NULL));
  NOTE(pulse_node_notify(n, "k", 1, "p", 1, any_target(a), NULL, NULL));
  NOTE(pulse_node_notify_wait(n, "k", 1, "p", 1, 1000, NULL));
  NOTE(pulse_node_get_job_state(n, "k", 1, any_target(a), NULL, NULL));
  NOTE(pulse_node_get_job_state_wait(n, "k", 1, &state, 1000, NULL));
  NOTE(pulse_node_stop_ticker(n, "none", 4, any_target(a), NULL, NULL));
  NOTE(pulse_node_stop_ticker_wait(n, "none", 4, 1000, NULL));
}

static void call_tickers(answers *a) {
  NOTE(pulse_ticker_stop(a->h->ticker, any_target(a), NULL, NULL));
  NOTE(pulse_schedule_stop(a->h->schedule, any_target(a), NULL, NULL));
}
static void call_tickers_wait(answers *a) {
  NOTE(pulse_ticker_stop_wait(a->h->ticker, 1000, NULL));
  NOTE(pulse_schedule_stop_wait(a->h->schedule, 1000, NULL));
}

static void call_shutdown(answers *a) {
  NOTE(pulse_node_shutdown(a->h->node, any_target(a), NULL, NULL));
  NOTE(pulse_node_shutdown_wait(a->h->node, 1000, NULL));
}

/* All that a pool's handles can be asked once they are closed. */
static void call_pool(answers *a) {
  call_dispatch(a);
  call_node(a);
  call_tickers(a);
  call_tickers_wait(a);
  call_shutdown(a);
}

static void check_answers(const answers *a, pulse_status expected) {
  for (size_t i = 0; i < a->count; ++i) {
    if (a->list[i].status == expected) continue;
    fail_msg("%s answered %s, not %s", a->list[i].call, pulse_status_name(a->list[i].status),
             pulse_status_name(expected));
  }
}

/* --- NULL ------------------------------------------------------------------ */

static void null_objects_are_refused(void **state) {
  const handles none = {NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL};
  answers a = {.h = &none, .to = fx_collector(*state)};
  call_engine(&a);
  call_stream(&a);
  call_openers(&a);
  call_reader(&a);
  call_sink(&a);
  call_ack(&a, &kAck);
  call_map(&a);
  call_map_ends(&a);
  call_pool(&a);
  note(&a, "pulse_worker_ready_wait", pulse_worker_ready_wait(NULL, 0, NULL));
  note(&a, "pulse_engine_close", pulse_engine_close(NULL));
  check_answers(&a, PULSE_ERR_INVALID);
}

static void null_objects_without_a_call_are_refused(void **state) {
  (void)state;
  char text[64];
  pulse_engine_metrics em = {.size = sizeof em};
  pulse_reader_metrics rm = {.size = sizeof rm};
  pulse_sink_metrics km = {.size = sizeof km};
  pulse_event event;
  assert_status(PULSE_ERR_INVALID, pulse_engine_close_wait(NULL, 0, fx_err()));
  assert_status(PULSE_ERR_INVALID, pulse_engine_wakeup(NULL));
  assert_status(PULSE_ERR_INVALID, pulse_operation_cancel(NULL, 1));
  assert_status(PULSE_ERR_INVALID, pulse_engine_get_metrics(NULL, &em));
  assert_int_equal(pulse_engine_poll_fd(NULL), -1);
  assert_int_equal(pulse_engine_run_once(NULL, 0, 0), PULSE_ERR_INVALID);
  assert_int_equal(pulse_engine_get_server(NULL, text, sizeof text), 0);
  (void)pulse_engine_poll_timeout_ms(NULL);
  assert_status(PULSE_ERR_INVALID, pulse_reader_close(NULL));
  assert_status(PULSE_ERR_INVALID, pulse_reader_close_wait(NULL, 0, fx_err()));
  assert_status(PULSE_ERR_INVALID, pulse_reader_get_metrics(NULL, &rm));
  assert_status(PULSE_ERR_INVALID, pulse_sink_close(NULL));
  assert_status(PULSE_ERR_INVALID, pulse_sink_close_wait(NULL, 0, fx_err()));
  assert_status(PULSE_ERR_INVALID, pulse_sink_get_metrics(NULL, &km));
  assert_int_equal(pulse_sink_get_consumer(NULL, text, sizeof text), 0);
  pulse_map_info mi = {.size = sizeof mi};
  pulse_map_cursor cursor = {0, 0, 0};
  pulse_map_entry entry;
  pulse_bytes *value = NULL;
  assert_status(PULSE_ERR_INVALID, pulse_map_close(NULL));
  assert_status(PULSE_ERR_INVALID, pulse_map_close_wait(NULL, 0, fx_err()));
  assert_status(PULSE_ERR_INVALID, pulse_map_get_info(NULL, &mi));
  assert_status(PULSE_ERR_INVALID, pulse_map_watch_close(NULL));
  assert_status(PULSE_ERR_INVALID, pulse_map_watch_close_wait(NULL, 0, fx_err()));
  assert_int_equal(pulse_map_size(NULL), 0);
  assert_int_equal(pulse_map_snapshot_revision(NULL), 0);
  assert_int_equal(pulse_map_snapshot_size(NULL), 0);
  assert_int_equal(pulse_map_snapshot_get(NULL, "k", 1, &value), PULSE_ERR_INVALID);
  assert_int_equal(pulse_map_snapshot_next(NULL, &cursor, &entry, sizeof entry, 1),
                   PULSE_ERR_INVALID);
  pulse_node_metrics nm = {.size = sizeof nm};
  pulse_ticker_info ti = {.size = sizeof ti};
  pulse_pool_snapshot *snapshot = NULL;
  pulse_node_info ni;
  pulse_worker_info wi;
  pulse_job_info ji;
  assert_status(PULSE_ERR_INVALID, pulse_node_close(NULL));
  assert_status(PULSE_ERR_INVALID, pulse_node_close_wait(NULL, 0, fx_err()));
  assert_status(PULSE_ERR_INVALID, pulse_node_get_metrics(NULL, &nm));
  assert_status(PULSE_ERR_INVALID, pulse_node_get_job_payload(NULL, "k", 1, &value));
  assert_status(PULSE_ERR_INVALID, pulse_node_take_snapshot(NULL, &snapshot, fx_err()));
  assert_int_equal(pulse_node_get_id(NULL, text, sizeof text), 0);
  assert_int_equal(pulse_pool_snapshot_node_count(NULL), 0);
  assert_int_equal(pulse_pool_snapshot_worker_count(NULL), 0);
  assert_int_equal(pulse_pool_snapshot_job_count(NULL), 0);
  assert_status(PULSE_ERR_INVALID, pulse_pool_snapshot_get_node(NULL, 0, &ni, sizeof ni));
  assert_status(PULSE_ERR_INVALID, pulse_pool_snapshot_get_worker(NULL, 0, &wi, sizeof wi));
  assert_status(PULSE_ERR_INVALID, pulse_pool_snapshot_get_job(NULL, 0, &ji, sizeof ji));
  assert_status(PULSE_ERR_INVALID, pulse_worker_close(NULL));
  assert_status(PULSE_ERR_INVALID, pulse_worker_close_wait(NULL, 0, fx_err()));
  assert_int_equal(pulse_worker_get_id(NULL, text, sizeof text), 0);
  assert_int_equal(pulse_worker_job_count(NULL), 0);
  assert_status(PULSE_ERR_INVALID, pulse_job_started(NULL, PULSE_OK, NULL, 0));
  assert_status(PULSE_ERR_INVALID, pulse_job_stopped(NULL, PULSE_OK, NULL, 0));
  assert_status(PULSE_ERR_INVALID, pulse_job_notified(NULL, PULSE_OK, NULL, 0));
  assert_status(PULSE_ERR_INVALID, pulse_job_finish(NULL, PULSE_OK, NULL, 0));
  assert_null(pulse_job_key(NULL, NULL));
  assert_null(pulse_job_payload(NULL, NULL));
  assert_null(pulse_job_worker(NULL, NULL));
  assert_int_equal(pulse_job_created_ns(NULL), 0);
  assert_int_equal(pulse_job_requeued(NULL), 0);
  assert_status(PULSE_ERR_INVALID, pulse_ticker_close(NULL));
  assert_status(PULSE_ERR_INVALID, pulse_ticker_close_wait(NULL, 0, fx_err()));
  assert_status(PULSE_ERR_INVALID, pulse_ticker_get_info(NULL, &ti));
  assert_status(PULSE_ERR_INVALID, pulse_schedule_close(NULL));
  assert_status(PULSE_ERR_INVALID, pulse_schedule_close_wait(NULL, 0, fx_err()));
  assert_status(PULSE_ERR_INVALID, pulse_schedule_get_info(NULL, &ti));
  assert_status(PULSE_ERR_INVALID, pulse_plan_start(NULL, "k", 1, "p", 1, fx_err()));
  assert_status(PULSE_ERR_INVALID, pulse_plan_stop(NULL, "k", 1, fx_err()));
  assert_status(PULSE_ERR_INVALID, pulse_plan_stop_others(NULL, fx_err()));
  assert_status(PULSE_ERR_INVALID, pulse_plan_stop_schedule(NULL, fx_err()));
  assert_status(PULSE_ERR_INVALID, pulse_plan_answer(NULL, PULSE_OK, NULL, 0));
  assert_int_equal(pulse_list_size(NULL), 0);
  assert_null(pulse_list_at(NULL, 0, NULL));
  assert_int_equal(pulse_queue_poll(NULL, &event, sizeof event, 1, 0), PULSE_ERR_INVALID);
  assert_int_equal(pulse_queue_dispatch(NULL, 0, 0), PULSE_ERR_INVALID);
  assert_int_equal(pulse_queue_fd(NULL), -1);
  assert_int_equal(pulse_queue_size(NULL), 0);
  assert_status(PULSE_ERR_INVALID, pulse_queue_set_wakeup(NULL, NULL, NULL, NULL));
  assert_status(PULSE_ERR_INVALID, pulse_queue_close(NULL));
  assert_status(PULSE_ERR_INVALID, pulse_queue_new(NULL, fx_err()));
}

static void null_handles_may_be_counted(void **state) {
  (void)state;
  assert_null(pulse_engine_ref(NULL));
  assert_null(pulse_stream_ref(NULL));
  assert_null(pulse_reader_ref(NULL));
  assert_null(pulse_sink_ref(NULL));
  assert_null(pulse_queue_ref(NULL));
  assert_null(pulse_map_ref(NULL));
  assert_null(pulse_map_watch_ref(NULL));
  assert_null(pulse_map_snapshot_ref(NULL));
  assert_null(pulse_list_ref(NULL));
  assert_null(pulse_node_ref(NULL));
  assert_null(pulse_worker_ref(NULL));
  assert_null(pulse_job_ref(NULL));
  assert_null(pulse_pool_snapshot_ref(NULL));
  assert_null(pulse_ticker_ref(NULL));
  assert_null(pulse_schedule_ref(NULL));
  assert_null(pulse_plan_ref(NULL));
  pulse_node_unref(NULL);
  pulse_worker_unref(NULL);
  pulse_job_unref(NULL);
  pulse_pool_snapshot_unref(NULL);
  pulse_ticker_unref(NULL);
  pulse_schedule_unref(NULL);
  pulse_plan_unref(NULL);
  pulse_map_unref(NULL);
  pulse_map_watch_unref(NULL);
  pulse_map_snapshot_unref(NULL);
  pulse_list_unref(NULL);
  pulse_engine_unref(NULL);
  pulse_stream_unref(NULL);
  pulse_reader_unref(NULL);
  pulse_sink_unref(NULL);
  pulse_queue_unref(NULL);
}

/* Dead nodes of one test are not waited for in the next. */
static void open_pool(fixture *fx, handles *h, collector *to) {
  pulse_node_options options = PULSE_NODE_OPTIONS_INIT;
  options.worker_ttl_ms = 1000;
  options.close_timeout_ms = 200;
  h->node = fx_node(fx, "p", &options, NULL);
  h->worker = fx_worker(fx, h->node, NULL, to);
  h->ticker = fx_ticker(fx, h->node, "t", kHour, NULL, to);
  h->schedule = fx_schedule(fx, h->node, "plans", kHour, NULL, to);
}

static void open_all(fixture *fx, handles *h, collector *to) {
  h->engine = fx_ready(fx, NULL);
  h->stream = fx_stream(fx, "s", NULL);
  h->reader = fx_reader(fx, h->stream, NULL, to);
  h->sink = fx_sink(fx, h->stream, "g", NULL, to);
  h->map = fx_map(fx, "m", NULL, NULL);
  h->watch = fx_watch(fx, h->map, NULL, to);
  collector *requests = fx_collector(fx);
  open_pool(fx, h, requests);
}

/* Good objects, but no place for the result, or no text, items, ids, handles. */
static void null_arguments_are_refused(void **state) {
  fixture *fx = *state;
  handles h;
  collector *c = fx_collector(fx);
  open_all(fx, &h, c);
  pulse_stream *s = h.stream;
  const pulse_add_item item = {"n", 1, "p", 1, NULL, 0, NULL, 0};
  const pulse_status bad = PULSE_ERR_INVALID;
  pulse_stream *made = NULL;
  pulse_event_id id;
  assert_status(bad, pulse_engine_open(NULL, NULL, fx_err()));
  assert_status(bad, pulse_engine_get_metrics(h.engine, NULL));
  assert_int_equal(pulse_engine_get_server(h.engine, NULL, 0), 0);
  assert_status(bad, pulse_stream_open(h.engine, "s", 1, NULL, NULL, fx_err()));
  assert_status(bad, pulse_stream_open(h.engine, NULL, 1, NULL, &made, fx_err()));
  assert_status(bad, pulse_stream_add(s, NULL, 1, "p", 1, NULL, col_target(c, 1), NULL, fx_err()));
  assert_status(bad, pulse_stream_add(s, "n", 1, NULL, 1, NULL, col_target(c, 1), NULL, fx_err()));
  assert_status(bad, pulse_stream_add_wait(s, NULL, 1, "p", 1, NULL, &id, 0, fx_err()));
  assert_status(bad,
                pulse_stream_add_bytes(s, "n", 1, NULL, NULL, col_target(c, 1), NULL, fx_err()));
  assert_status(
      bad, pulse_stream_add_batch(s, NULL, sizeof item, 1, NULL, col_target(c, 1), NULL, fx_err()));
  assert_status(bad, pulse_stream_remove(s, NULL, 1, col_target(c, 1), NULL, fx_err()));
  assert_status(bad, pulse_stream_info_wait(s, NULL, TS_DEADLINE_MS, fx_err()));
  pulse_reader *reader = NULL;
  pulse_sink *sink = NULL;
  assert_status(bad, pulse_reader_open(s, NULL, NULL, &reader, fx_err()));
  assert_status(bad, pulse_reader_open(s, NULL, col_target(c, 1), NULL, fx_err()));
  assert_status(bad, pulse_sink_open(s, "g", 1, NULL, NULL, &sink, fx_err()));
  assert_status(bad, pulse_sink_open(s, NULL, 1, NULL, col_target(c, 1), &sink, fx_err()));
  assert_status(bad, pulse_sink_open(s, "g", 1, NULL, col_target(c, 1), NULL, fx_err()));
  assert_status(bad, pulse_reader_add_stream(h.reader, NULL, PULSE_START_OLDEST, NULL,
                                             col_target(c, 1), NULL, fx_err()));
  assert_status(bad, pulse_reader_add_stream(h.reader, s, PULSE_START_AFTER, NULL, col_target(c, 1),
                                             NULL, fx_err()));
  assert_status(bad, pulse_reader_remove_stream(h.reader, NULL, col_target(c, 1), NULL, fx_err()));
  assert_status(bad, pulse_reader_get_metrics(h.reader, NULL));
  assert_status(bad, pulse_sink_add_stream(h.sink, NULL, PULSE_START_OLDEST, NULL, col_target(c, 1),
                                           NULL, fx_err()));
  assert_status(bad, pulse_sink_remove_stream(h.sink, NULL, col_target(c, 1), NULL, fx_err()));
  assert_status(bad, pulse_sink_ack(h.sink, NULL, 1, col_target(c, 1), NULL, fx_err()));
  assert_status(bad, pulse_sink_release(h.sink, NULL, 1, col_target(c, 1), NULL, fx_err()));
  assert_status(bad, pulse_sink_get_metrics(h.sink, NULL));
  assert_int_equal(pulse_sink_get_consumer(h.sink, NULL, 0), 0);
}

/* A target without queue and callback tells nobody: no reader, no sink. */
static void an_empty_target_is_for_calls_only(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  const pulse_target empty = PULSE_TARGET_INIT;
  pulse_reader *reader = NULL;
  pulse_sink *sink = NULL;
  assert_ok(pulse_engine_ping(fx->engine, &empty, NULL, fx_err()));
  assert_status(PULSE_ERR_INVALID, pulse_reader_open(stream, NULL, &empty, &reader, fx_err()));
  assert_status(PULSE_ERR_INVALID, pulse_sink_open(stream, "g", 1, NULL, &empty, &sink, fx_err()));
}

/* --- counting -------------------------------------------------------------- */

static void ref_returns_the_handle(void **state) {
  fixture *fx = *state;
  handles h;
  collector *c = fx_collector_by(fx, BY_POLL);
  open_all(fx, &h, c);
  assert_ptr_equal(pulse_engine_ref(h.engine), h.engine);
  assert_ptr_equal(pulse_stream_ref(h.stream), h.stream);
  assert_ptr_equal(pulse_reader_ref(h.reader), h.reader);
  assert_ptr_equal(pulse_sink_ref(h.sink), h.sink);
  assert_ptr_equal(pulse_queue_ref(c->queue), c->queue);
  assert_ptr_equal(pulse_map_ref(h.map), h.map);
  assert_ptr_equal(pulse_map_watch_ref(h.watch), h.watch);
  assert_ptr_equal(pulse_node_ref(h.node), h.node);
  assert_ptr_equal(pulse_worker_ref(h.worker), h.worker);
  assert_ptr_equal(pulse_ticker_ref(h.ticker), h.ticker);
  assert_ptr_equal(pulse_schedule_ref(h.schedule), h.schedule);
  pulse_engine_unref(h.engine);
  pulse_stream_unref(h.stream);
  pulse_reader_unref(h.reader);
  pulse_sink_unref(h.sink);
  pulse_queue_unref(c->queue);
  pulse_map_unref(h.map);
  pulse_map_watch_unref(h.watch);
  pulse_node_unref(h.node);
  pulse_worker_unref(h.worker);
  pulse_ticker_unref(h.ticker);
  pulse_schedule_unref(h.schedule);
  /* All are still of use: one reference each is left. */
  fx_add(h.stream, "n", "p");
  col_wait(c, PULSE_EVENT_MESSAGE, 1);
}

static void *count_all(void *arg) {
  const handles *h = arg;
  for (int i = 0; i < 5000; ++i) {
    pulse_engine_unref(pulse_engine_ref(h->engine));
    pulse_stream_unref(pulse_stream_ref(h->stream));
    pulse_reader_unref(pulse_reader_ref(h->reader));
    pulse_sink_unref(pulse_sink_ref(h->sink));
    pulse_map_unref(pulse_map_ref(h->map));
    pulse_map_watch_unref(pulse_map_watch_ref(h->watch));
    pulse_node_unref(pulse_node_ref(h->node));
    pulse_worker_unref(pulse_worker_ref(h->worker));
    pulse_ticker_unref(pulse_ticker_ref(h->ticker));
    pulse_schedule_unref(pulse_schedule_ref(h->schedule));
  }
  return NULL;
}

static void counting_works_from_many_threads(void **state) {
  fixture *fx = *state;
  handles h;
  collector *c = fx_collector(fx);
  open_all(fx, &h, c);
  pthread_t threads[3];
  for (int i = 0; i < 3; ++i) assert_int_equal(pthread_create(&threads[i], NULL, count_all, &h), 0);
  fx_add(h.stream, "n", "p");
  for (int i = 0; i < 3; ++i) pthread_join(threads[i], NULL);
  col_wait(c, PULSE_EVENT_MESSAGE, 1);
}

/* Objects hold their engine: it lives until the last of them is gone. */
static void objects_keep_their_engine_alive(void **state) {
  fixture *fx = *state;
  collector *c = fx_collector(fx);
  pulse_engine_options options = fx_options(fx);
  options.state_target = col_target(c, 7);
  pulse_engine *engine = NULL;
  pulse_stream *stream = NULL;
  assert_ok(pulse_engine_open(&options, &engine, fx_err()));
  assert_ok(pulse_stream_open(engine, "s", 1, NULL, &stream, fx_err()));
  pulse_engine_unref(engine);
  fx_add(stream, "n", "p");
  assert_int_equal(fx_redis_int(fx, "XLEN pulse:stream:s"), 1);
  assert_int_equal(col_destroyed(c), 0);
  pulse_stream_unref(stream);
  fx_until(fx, col_destroyed(c) == 1);
  const ev *last = col_at(c, col_count(c) - 1);
  assert_int_equal(last->kind, PULSE_EVENT_ENGINE_STATE);
  assert_int_equal(last->state, PULSE_ENGINE_CLOSED);
}

/* --- after close ----------------------------------------------------------- */

static void call_all_closed(void *arg) {
  answers *a = arg;
  call_engine(a);
  call_stream(a);
  call_openers(a);
  call_reader(a);
  call_sink(a);
  call_ack(a, &col_find(a->to, PULSE_EVENT_MESSAGE, 0)->ack);
  call_map(a);
  call_map_ends(a);
  call_pool(a);
  NOTE(pulse_worker_ready_wait(a->h->worker, 1000, NULL));
}

static void close_everything(fixture *fx, handles *h, collector *c) {
  collector *messages = c;
  h->engine = fx_ready(fx, NULL);
  h->stream = fx_stream(fx, "s", NULL);
  h->sink = fx_sink(fx, h->stream, "g", NULL, messages);
  fx_add(h->stream, "n", "p");
  col_wait(c, PULSE_EVENT_MESSAGE, 0); /* the sink's: an ack handle to use later */
  h->reader = fx_reader(fx, h->stream, NULL, messages);
  h->map = fx_map(fx, "m", NULL, NULL);
  h->watch = fx_watch(fx, h->map, NULL, messages);
  open_pool(fx, h, messages);
  assert_ok(pulse_engine_close_wait(h->engine, TS_DEADLINE_MS, fx_err()));
}

static void all_calls_say_closed_after_close(void **state) {
  fixture *fx = *state;
  handles h;
  answers a = {.h = &h, .to = fx_collector(fx)};
  close_everything(fx, &h, a.to);
  call_all_closed(&a);
  check_answers(&a, PULSE_ERR_CLOSED);
}

static void all_calls_say_closed_on_another_thread(void **state) {
  fixture *fx = *state;
  handles h;
  answers a = {.h = &h, .to = fx_collector(fx)};
  close_everything(fx, &h, a.to);
  fx_on_thread(fx, call_all_closed, &a);
  check_answers(&a, PULSE_ERR_CLOSED);
}

static void closing_again_is_no_error(void **state) {
  fixture *fx = *state;
  handles h;
  collector *c = fx_collector(fx);
  close_everything(fx, &h, c);
  assert_ok(pulse_engine_close(h.engine));
  assert_ok(pulse_engine_close_wait(h.engine, 0, fx_err()));
  assert_ok(pulse_reader_close(h.reader));
  assert_ok(pulse_reader_close_wait(h.reader, 0, fx_err()));
  assert_ok(pulse_sink_close(h.sink));
  assert_ok(pulse_sink_close_wait(h.sink, 0, fx_err()));
  assert_ok(pulse_map_close(h.map));
  assert_ok(pulse_map_close_wait(h.map, 0, fx_err()));
  assert_ok(pulse_map_watch_close(h.watch));
  assert_ok(pulse_map_watch_close_wait(h.watch, 0, fx_err()));
  assert_ok(pulse_node_close(h.node));
  assert_ok(pulse_node_close_wait(h.node, 0, fx_err()));
  assert_ok(pulse_worker_close(h.worker));
  assert_ok(pulse_worker_close_wait(h.worker, 0, fx_err()));
  assert_ok(pulse_ticker_close(h.ticker));
  assert_ok(pulse_ticker_close_wait(h.ticker, 0, fx_err()));
  assert_ok(pulse_schedule_close(h.schedule));
  assert_ok(pulse_schedule_close_wait(h.schedule, 0, fx_err()));
}

static void a_closed_object_says_so_on_an_open_engine(void **state) {
  fixture *fx = *state;
  handles h;
  collector *c = fx_collector(fx);
  open_all(fx, &h, c);
  fx_add(h.stream, "n", "p");
  fx_until(fx, col_count_kind(c, PULSE_EVENT_MESSAGE) == 2);
  const ev *taken = col_find(c, PULSE_EVENT_MESSAGE, 0);
  if (taken->deliveries == 0) taken = col_find(c, PULSE_EVENT_MESSAGE, 1); /* the sink's */
  assert_ok(pulse_reader_close_wait(h.reader, TS_DEADLINE_MS, fx_err()));
  assert_ok(pulse_sink_close_wait(h.sink, TS_DEADLINE_MS, fx_err()));
  assert_ok(pulse_map_close_wait(h.map, TS_DEADLINE_MS, fx_err()));
  assert_ok(pulse_node_close_wait(h.node, TS_DEADLINE_MS, fx_err()));
  answers a = {.h = &h, .to = c};
  call_reader(&a);
  call_sink(&a);
  call_ack(&a, &taken->ack);
  call_map(&a);
  call_pool(&a);
  note(&a, "pulse_worker_ready_wait", pulse_worker_ready_wait(h.worker, 1000, NULL));
  check_answers(&a, PULSE_ERR_CLOSED);
  answers ends = {.h = &h, .to = c};
  call_map_ends(&ends);
  check_answers(&ends, PULSE_OK);
  fx_add(h.stream, "n", "p");
}

static void call_from_another_thread(void *arg) {
  answers *a = arg;
  call_stream(a);
  call_reader(a);
  call_sink(a);
  call_map(a);
  call_map_ends(a);
  call_node(a);
  call_tickers_wait(a);
}

/* Whatever works here works there; the loop is driven by the first thread. */
static void all_calls_work_from_another_thread(void **state) {
  fixture *fx = *state;
  handles h;
  collector *c = fx_collector(fx);
  open_all(fx, &h, c);
  answers a = {.h = &h, .to = c};
  fx_on_thread(fx, call_from_another_thread, &a);
  for (size_t i = 0; i < a.count; ++i) {
    /* The streams are removed twice, and the second call finds none. */
    bool second = strstr(a.list[i].call, "remove_stream_wait") != NULL;
    if (second && a.list[i].status == PULSE_ERR_NOT_FOUND) continue;
    if (a.list[i].status != PULSE_OK) {
      fail_msg("%s answered %s", a.list[i].call, pulse_status_name(a.list[i].status));
    }
  }
}

/* --- the destroy notifier -------------------------------------------------- */

typedef struct order {
  collector *c;
  int completions;
  int destroyed;
  int destroyed_before_completion;
} order;

static void on_completion(const pulse_event *event, void *user_data) {
  (void)event;
  ++((order *)user_data)->completions;
}
static void on_destroy(void *user_data) {
  order *o = user_data;
  if (o->completions == 0) ++o->destroyed_before_completion;
  ++o->destroyed;
}

static void destroy_runs_once_and_after_the_completion(void **state) {
  fixture *fx = *state;
  fx_ready(fx, NULL);
  collector *c = fx_collector(fx);
  order o = {c, 0, 0, 0};
  pulse_target target = PULSE_TARGET_INIT;
  target.queue = c->queue;
  target.callback = on_completion;
  target.user_data = &o;
  target.destroy = on_destroy;
  assert_ok(pulse_engine_ping(fx->engine, &target, NULL, fx_err()));
  /* Nothing of `o` is touched by the loop after the engine is closed. */
  assert_ok(pulse_engine_close_wait(fx->engine, TS_DEADLINE_MS, fx_err()));
  col_drain(c);
  assert_int_equal(o.completions, 1);
  assert_int_equal(o.destroyed, 1);
  assert_int_equal(o.destroyed_before_completion, 0);
}

static void destroy_runs_before_a_failing_call_returns(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  collector *c = fx_collector(fx);
  uint64_t operation = 99;
  assert_status(PULSE_ERR_INVALID, pulse_stream_add(stream, "", 0, "p", 1, NULL, col_target(c, 1),
                                                    &operation, fx_err()));
  assert_int_equal(col_destroyed(c), 1);
  assert_status(PULSE_ERR_INVALID, pulse_engine_ping(NULL, col_target(c, 1), NULL, fx_err()));
  assert_int_equal(col_destroyed(c), 2);
  pulse_reader_options options = PULSE_READER_OPTIONS_INIT;
  options.start = 9;
  pulse_reader *reader = NULL;
  assert_status(PULSE_ERR_INVALID,
                pulse_reader_open(stream, &options, col_target(c, 1), &reader, fx_err()));
  assert_int_equal(col_destroyed(c), 3);
  pulse_engine_options bad = fx_options(fx);
  bad.url = "nonsense";
  bad.state_target = col_target(c, 1);
  pulse_engine *engine = NULL;
  assert_status(PULSE_ERR_INVALID, pulse_engine_open(&bad, &engine, fx_err()));
  assert_int_equal(col_destroyed(c), 4);
  assert_int_equal(col_count(c), 0);
}

/* Whatever is wrong with a call that opens one of a pool's objects, and on a closed engine. */
static void destroy_runs_when_a_pool_does_not_open(void **state) {
  fixture *fx = *state;
  pulse_engine *engine = fx_ready(fx, NULL);
  collector *c = fx_collector(fx);
  collector *requests = fx_collector(fx);
  handles h;
  open_pool(fx, &h, requests);
  pulse_node_options bad = PULSE_NODE_OPTIONS_INIT;
  bad.worker_ttl_ms = -5;
  pulse_worker_options few = PULSE_WORKER_OPTIONS_INIT;
  few.start_concurrency = -5;
  pulse_node *node = NULL;
  pulse_worker *worker = NULL;
  pulse_ticker *ticker = NULL;
  pulse_schedule *schedule = NULL;
  uint64_t failed = 0;
#define FAILS(status, call)                       \
  do {                                            \
    assert_status(status, call);                  \
    assert_int_equal(col_destroyed(c), ++failed); \
  } while (0)
  const pulse_status invalid = PULSE_ERR_INVALID;
  FAILS(invalid, pulse_node_join(engine, "q", 1, NULL, col_target(c, 1), NULL, fx_err()));
  FAILS(invalid, pulse_node_join(NULL, "q", 1, NULL, col_target(c, 1), &node, fx_err()));
  FAILS(invalid, pulse_node_join(engine, "=", 1, NULL, col_target(c, 1), &node, fx_err()));
  FAILS(invalid, pulse_node_join(engine, NULL, 1, NULL, col_target(c, 1), &node, fx_err()));
  FAILS(invalid, pulse_node_join(engine, "q", 1, &bad, col_target(c, 1), &node, fx_err()));
  FAILS(invalid, pulse_node_join_wait(engine, "q", 1, NULL, col_target(c, 1), 9, NULL, fx_err()));
  FAILS(invalid, pulse_node_join_wait(NULL, "q", 1, NULL, col_target(c, 1), 9, &node, fx_err()));
  FAILS(invalid, pulse_node_join_wait(engine, "q", 1, &bad, col_target(c, 1), 9, &node, fx_err()));
  FAILS(invalid, pulse_node_add_worker(h.node, NULL, col_target(c, 1), NULL, fx_err()));
  FAILS(invalid, pulse_node_add_worker(h.node, &few, col_target(c, 1), &worker, fx_err()));
  FAILS(invalid, pulse_ticker_open(h.node, "t", 1, kHour, NULL, col_target(c, 1), NULL, fx_err()));
  FAILS(invalid,
        pulse_ticker_open(h.node, "=", 1, kHour, NULL, col_target(c, 1), &ticker, fx_err()));
  FAILS(invalid,
        pulse_ticker_open_wait(h.node, "t", 1, 0, NULL, col_target(c, 1), 9, &ticker, fx_err()));
  FAILS(invalid,
        pulse_schedule_open(h.node, "s", 1, kHour, NULL, col_target(c, 1), NULL, fx_err()));
  FAILS(invalid,
        pulse_schedule_open(h.node, "jobs", 4, kHour, NULL, col_target(c, 1), &schedule, fx_err()));
  FAILS(invalid, pulse_schedule_open_wait(h.node, "s", 1, 0, NULL, col_target(c, 1), 9, &schedule,
                                          fx_err()));
  assert_ok(pulse_node_close_wait(h.node, TS_DEADLINE_MS, fx_err()));
  const pulse_status closed = PULSE_ERR_CLOSED;
  FAILS(closed, pulse_node_add_worker(h.node, NULL, col_target(c, 1), &worker, fx_err()));
  FAILS(closed,
        pulse_ticker_open(h.node, "t", 1, kHour, NULL, col_target(c, 1), &ticker, fx_err()));
  FAILS(closed,
        pulse_schedule_open(h.node, "s", 1, kHour, NULL, col_target(c, 1), &schedule, fx_err()));
  assert_ok(pulse_engine_close_wait(engine, TS_DEADLINE_MS, fx_err()));
  FAILS(closed, pulse_node_join(engine, "q", 1, NULL, col_target(c, 1), &node, fx_err()));
  FAILS(closed, pulse_node_join_wait(engine, "q", 1, NULL, col_target(c, 1), 9, &node, fx_err()));
#undef FAILS
  assert_int_equal(col_count(c), 0);
}

typedef struct inside {
  pulse_engine *engine;
  collector *c;
  pulse_status status;
  bool done;
} inside;

static void join_inside(const pulse_event *event, void *user_data) {
  (void)event;
  inside *i = user_data;
  pulse_node *node = NULL;
  i->status = pulse_node_join_wait(i->engine, "q", 1, NULL, col_target(i->c, 1), 9, &node, NULL);
  __atomic_store_n(&i->done, true, __ATOMIC_SEQ_CST);
}

static void destroy_runs_when_a_callback_may_not_wait(void **state) {
  fixture *fx = *state;
  inside i = {fx_ready(fx, NULL), fx_collector(fx), PULSE_OK, false};
  pulse_target target = PULSE_TARGET_INIT;
  target.callback = join_inside;
  target.user_data = &i;
  assert_ok(pulse_engine_ping(i.engine, &target, NULL, fx_err()));
  fx_until(fx, __atomic_load_n(&i.done, __ATOMIC_SEQ_CST));
  assert_int_equal(i.status, PULSE_ERR_REENTRANT);
  assert_int_equal(col_destroyed(i.c), 1);
}

static void destroy_of_an_object_runs_after_its_closed_event(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  collector *c = fx_collector(fx);
  pulse_reader *reader = fx_reader(fx, stream, NULL, c);
  pulse_sink *sink = fx_sink(fx, stream, "g", NULL, c);
  assert_int_equal(col_destroyed(c), 0);
  assert_ok(pulse_reader_close(reader));
  fx_until(fx, col_destroyed(c) == 1);
  assert_int_equal(col_count_kind(c, PULSE_EVENT_CLOSED), 1);
  assert_ok(pulse_sink_close(sink));
  fx_until(fx, col_destroyed(c) == 2);
  assert_int_equal(col_count_kind(c, PULSE_EVENT_CLOSED), 2);
}

static void on_log(pulse_log_level level, const char *text, size_t text_len, void *user_data) {
  (void)level;
  (void)text;
  (void)text_len;
  (void)user_data;
}
static void count_destroy(void *user_data) {
  __atomic_add_fetch((int *)user_data, 1, __ATOMIC_SEQ_CST);
}

static void the_log_is_destroyed_once(void **state) {
  fixture *fx = *state;
  int destroyed = 0;
  pulse_engine_options options = fx_options(fx);
  options.log = on_log;
  options.log_level = PULSE_LOG_DEBUG;
  options.log_user_data = &destroyed;
  options.log_destroy = count_destroy;
  pulse_engine *engine = NULL;
  assert_ok(pulse_engine_open(&options, &engine, fx_err()));
  assert_ok(pulse_engine_close_wait(engine, TS_DEADLINE_MS, fx_err()));
  pulse_engine_unref(engine);
  fx_until(fx, __atomic_load_n(&destroyed, __ATOMIC_SEQ_CST) == 1);
  options.url = "nonsense";
  assert_status(PULSE_ERR_INVALID, pulse_engine_open(&options, &engine, fx_err()));
  assert_int_equal(__atomic_load_n(&destroyed, __ATOMIC_SEQ_CST), 2);
}

/* A newer caller's option that is not known here: what it handed over is given
 * back all the same. */
static void destroy_runs_when_an_option_is_unknown(void **state) {
  fixture *fx = *state;
  collector *c = fx_collector(fx);
  int destroyed = 0;
  struct {
    pulse_engine_options options;
    uint64_t newer;
  } o;
  memset(&o, 0, sizeof o);
  o.options = fx_options(fx);
  o.options.size = sizeof o;
  o.options.log = on_log;
  o.options.log_user_data = &destroyed;
  o.options.log_destroy = count_destroy;
  o.options.state_target = col_target(c, 0);
  o.newer = 1;
  pulse_engine *engine = NULL;
  assert_status(PULSE_ERR_UNKNOWN_OPTION, pulse_engine_open(&o.options, &engine, fx_err()));
  assert_int_equal(destroyed, 1);
  assert_int_equal(col_destroyed(c), 1);
  struct {
    pulse_add_options options;
    uint64_t newer;
  } a = {PULSE_ADD_OPTIONS_INIT, 1};
  a.options.size = sizeof a;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  assert_status(PULSE_ERR_UNKNOWN_OPTION, pulse_stream_add(stream, "n", 1, "p", 1, &a.options,
                                                           col_target(c, 0), NULL, fx_err()));
  assert_int_equal(col_destroyed(c), 2);
  struct {
    pulse_sink_options options;
    uint64_t newer;
  } k = {PULSE_SINK_OPTIONS_INIT, 1};
  k.options.size = sizeof k;
  pulse_sink *sink = NULL;
  assert_status(PULSE_ERR_UNKNOWN_OPTION,
                pulse_sink_open(stream, "g", 1, &k.options, col_target(c, 0), &sink, fx_err()));
  assert_int_equal(col_destroyed(c), 3);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      BOTH_DRIVERS(null_objects_are_refused),
      cmocka_unit_test(null_objects_without_a_call_are_refused),
      cmocka_unit_test(null_handles_may_be_counted),
      BOTH_DRIVERS(null_arguments_are_refused),
      BOTH_DRIVERS(an_empty_target_is_for_calls_only),
      BOTH_DRIVERS(ref_returns_the_handle),
      BOTH_DRIVERS(counting_works_from_many_threads),
      ALL_WAYS(objects_keep_their_engine_alive),
      ALL_WAYS(all_calls_say_closed_after_close),
      BOTH_DRIVERS(all_calls_say_closed_on_another_thread),
      BOTH_DRIVERS(closing_again_is_no_error),
      ALL_WAYS(a_closed_object_says_so_on_an_open_engine),
      ALL_WAYS(all_calls_work_from_another_thread),
      FX_TEST(destroy_runs_once_and_after_the_completion, 0, BY_CALLBACK, "thread, inline"),
      FX_TEST(destroy_runs_once_and_after_the_completion, 0, BY_DISPATCH, "thread, dispatched"),
      FX_TEST(destroy_runs_once_and_after_the_completion, 1, BY_CALLBACK, "manual, inline"),
      FX_TEST(destroy_runs_once_and_after_the_completion, 1, BY_DISPATCH, "manual, dispatched"),
      ALL_WAYS(destroy_runs_before_a_failing_call_returns),
      ALL_WAYS(destroy_runs_when_a_pool_does_not_open),
      BOTH_DRIVERS(destroy_runs_when_a_callback_may_not_wait),
      ALL_WAYS(destroy_of_an_object_runs_after_its_closed_event),
      BOTH_DRIVERS(the_log_is_destroyed_once),
      BOTH_DRIVERS(destroy_runs_when_an_option_is_unknown),
  };
  return cmocka_run_group_tests_name("objects", tests, fx_group_setup, fx_group_teardown);
}
