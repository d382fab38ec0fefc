#include "fixture.h"

#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <time.h>

enum { kMaxObjects = 512 };

typedef enum object_kind {
  A_COLLECTOR,
  A_STREAM,
  A_READER,
  A_SINK,
  A_MAP,
  A_WATCH,
  A_NODE,
  A_WORKER,
  A_TICKER,
  A_SCHEDULE,
  A_REPLY
} object_kind;

typedef struct object {
  object_kind kind;
  void *handle;
} object;

typedef struct fx_lists {
  pthread_mutex_t mutex; /* guards `signalled` and what collectors hold */
  pthread_cond_t changed;
  bool signalled;
  pulse_engine *driven[16]; /* pumped */
  size_t driven_count;
  pulse_engine *owned[16]; /* closed in teardown */
  size_t owned_count;
  object objects[kMaxObjects];
  size_t object_count;
} fx_lists;

variant fx_variants[2][3] = {
    {{PULSE_DRIVER_THREAD, BY_CALLBACK},
     {PULSE_DRIVER_THREAD, BY_DISPATCH},
     {PULSE_DRIVER_THREAD, BY_POLL}},
    {{PULSE_DRIVER_MANUAL, BY_CALLBACK},
     {PULSE_DRIVER_MANUAL, BY_DISPATCH},
     {PULSE_DRIVER_MANUAL, BY_POLL}},
};

static ts_server *g_server;

/* --- errors ---------------------------------------------------------------- */

static _Thread_local pulse_error t_error;
static _Thread_local bool t_error_given;

pulse_error *fx_err(void) {
  pulse_error_init(&t_error);
  t_error_given = true;
  return &t_error;
}

const char *fx_message(void) { return t_error.message; }

void fx_check_status(pulse_status got, pulse_status expected, const char *call, const char *file,
                     int line) {
  bool given = t_error_given;
  t_error_given = false;
  if (got != expected) {
    print_error("%s\n  gave %s, not %s; message: %s\n", call, pulse_status_name(got),
                pulse_status_name(expected), given ? t_error.message : "(no error passed)");
    _fail(file, line);
  }
  if (!given) return;
  bool complete = got == PULSE_OK ? t_error.code == PULSE_OK && t_error.message[0] == '\0'
                                  : t_error.code == got && t_error.message[0] != '\0';
  if (!complete) {
    print_error("%s\n  gave %s, but the error says %s \"%s\"\n", call, pulse_status_name(got),
                pulse_status_name(t_error.code), t_error.message);
    _fail(file, line);
  }
}

void fx_check_text(const char *got, size_t got_len, const char *expected, size_t expected_len,
                   const char *what, const char *file, int line) {
  if (got != NULL && got_len == expected_len && memcmp(got, expected, expected_len) == 0) return;
  print_error("%s is \"%.*s\" (%zu bytes), not \"%.*s\" (%zu bytes)\n", what, (int)got_len,
              got == NULL ? "(null)" : got, got_len, (int)expected_len, expected, expected_len);
  _fail(file, line);
}

/* --- collectors ------------------------------------------------------------ */

static void signal_change(fx_lists *lists) {
  pthread_mutex_lock(&lists->mutex);
  lists->signalled = true;
  pthread_cond_signal(&lists->changed);
  pthread_mutex_unlock(&lists->mutex);
}

static void on_wakeup(void *user_data) { signal_change(((collector *)user_data)->fx->lists); }

static void on_target_destroyed(void *user_data) {
  collector *c = user_data;
  pthread_mutex_lock(&c->fx->lists->mutex);
  ++c->destroyed;
  pthread_mutex_unlock(&c->fx->lists->mutex);
  signal_change(c->fx->lists);
}

static char *copy_text(const char *text, size_t size) {
  if (text == NULL) return NULL;
  char *copy = malloc(size + 1);
  memcpy(copy, text, size);
  copy[size] = '\0';
  return copy;
}

static ev *copy_event(const pulse_event *e) {
  ev *copy = calloc(1, sizeof *copy);
  copy->kind = e->kind;
  copy->status = e->status;
  copy->flags = e->flags;
  copy->state = e->state;
  copy->token = e->token;
  copy->operation = e->operation;
  copy->count = e->count;
  copy->id = e->id;
  copy->id_end = e->id_end;
  copy->deliveries = e->deliveries;
  copy->ack = e->ack;
  copy->stream = copy_text(e->stream, e->stream_len);
  copy->name = copy_text(e->name, e->name_len);
  copy->payload = copy_text(e->payload, e->payload_len);
  copy->topic = copy_text(e->topic, e->topic_len);
  copy->message = copy_text(e->message, e->message_len);
  copy->stream_len = e->stream_len;
  copy->name_len = e->name_len;
  copy->payload_len = e->payload_len;
  copy->topic_len = e->topic_len;
  copy->message_len = e->message_len;
  if (e->header_count > 0) {
    copy->header_count = e->header_count;
    copy->headers = calloc(e->header_count, sizeof *copy->headers);
    for (size_t i = 0; i < e->header_count; ++i) {
      const pulse_header *h = &e->headers[i];
      copy->headers[i] = (pulse_header){copy_text(h->name, h->name_len), h->name_len,
                                        copy_text(h->value, h->value_len), h->value_len};
    }
  }
  if (e->result_count > 0) {
    copy->result_count = e->result_count;
    copy->results = calloc(e->result_count, sizeof *copy->results);
    memcpy(copy->results, e->results, e->result_count * sizeof *copy->results);
  }
  if (e->stream_info != NULL) copy->info = *e->stream_info;
  copy->revision = e->revision;
  copy->old_value = copy_text(e->old_value, e->old_value_len);
  copy->old_value_len = e->old_value_len;
  if (e->map_result_count > 0) {
    copy->map_result_count = e->map_result_count;
    copy->map_results = calloc(e->map_result_count, sizeof *copy->map_results);
    for (size_t i = 0; i < e->map_result_count; ++i) {
      copy->map_results[i] = e->map_results[i];
      pulse_bytes_ref(copy->map_results[i].value);
    }
  }
  copy->job = pulse_job_ref(e->job);
  copy->plan = pulse_plan_ref(e->plan);
  return copy;
}

static void free_event(ev *e) {
  pulse_job_unref(e->job);
  pulse_plan_unref(e->plan);
  free(e->stream);
  free(e->name);
  free(e->payload);
  free(e->topic);
  free(e->message);
  for (size_t i = 0; i < e->header_count; ++i) {
    free((void *)e->headers[i].name);
    free((void *)e->headers[i].value);
  }
  free(e->headers);
  free(e->results);
  free(e->old_value);
  for (size_t i = 0; i < e->map_result_count; ++i) pulse_bytes_unref(e->map_results[i].value);
  free(e->map_results);
  free(e);
}

static void answer(const pulse_event *event) {
  if (event->kind == PULSE_EVENT_JOB_START) pulse_job_started(event->job, PULSE_OK, NULL, 0);
  if (event->kind == PULSE_EVENT_JOB_STOP) pulse_job_stopped(event->job, PULSE_OK, NULL, 0);
  if (event->kind == PULSE_EVENT_JOB_NOTIFY) pulse_job_notified(event->job, PULSE_OK, NULL, 0);
}

static void on_event(const pulse_event *event, void *user_data) {
  collector *c = user_data;
  if (c->answer) answer(event);
  ev *copy = copy_event(event);
  pthread_mutex_lock(&c->fx->lists->mutex);
  if (c->count == c->capacity) {
    c->capacity = c->capacity == 0 ? 64 : c->capacity * 2;
    c->events = realloc(c->events, c->capacity * sizeof *c->events);
  }
  c->events[c->count++] = copy;
  pthread_mutex_unlock(&c->fx->lists->mutex);
  signal_change(c->fx->lists);
}

static void remember(fixture *fx, object_kind kind, void *handle) {
  assert_true(fx->lists->object_count < kMaxObjects);
  fx->lists->objects[fx->lists->object_count++] = (object){kind, handle};
}

collector *fx_collector_by(fixture *fx, delivery by) {
  collector *c = calloc(1, sizeof *c);
  c->fx = fx;
  c->delivery = by;
  if (by != BY_CALLBACK) {
    assert_ok(pulse_queue_new(&c->queue, fx_err()));
    assert_ok(pulse_queue_set_wakeup(c->queue, on_wakeup, c, NULL));
  }
  remember(fx, A_COLLECTOR, c);
  return c;
}

collector *fx_collector(fixture *fx) { return fx_collector_by(fx, fx->delivery); }

collector *fx_accepting(fixture *fx) {
  collector *c = fx_collector(fx);
  c->answer = true;
  return c;
}

pulse_target *col_target(collector *c, uint64_t token) {
  /* The library copies a target before the call returns, so few suffice. */
  static _Thread_local pulse_target ring[8];
  static _Thread_local unsigned next;
  pulse_target *target = &ring[next++ % 8];
  pulse_target_init(target);
  target->queue = c->queue;
  target->callback = c->delivery == BY_POLL ? NULL : on_event;
  target->user_data = c;
  target->destroy = on_target_destroyed;
  target->token = token;
  pthread_mutex_lock(&c->fx->lists->mutex);
  ++c->targets;
  pthread_mutex_unlock(&c->fx->lists->mutex);
  return target;
}

void col_drain(collector *c) {
  if (c->queue == NULL) return;
  pulse_event batch[64];
  int64_t got;
  do {
    got = pulse_queue_poll(c->queue, batch, sizeof batch[0], 64, 0);
    for (int64_t i = 0; i < got; ++i) on_event(&batch[i], c);
  } while (got > 0);
  while (pulse_queue_dispatch(c->queue, 0, 0) > 0) {
  }
}

size_t col_count(collector *c) {
  pthread_mutex_lock(&c->fx->lists->mutex);
  size_t count = c->count;
  pthread_mutex_unlock(&c->fx->lists->mutex);
  return count;
}

const ev *col_at(collector *c, size_t index) {
  pthread_mutex_lock(&c->fx->lists->mutex);
  const ev *e = index < c->count ? c->events[index] : NULL;
  pthread_mutex_unlock(&c->fx->lists->mutex);
  return e;
}

size_t col_count_kind(collector *c, pulse_event_kind kind) {
  pthread_mutex_lock(&c->fx->lists->mutex);
  size_t count = 0;
  for (size_t i = 0; i < c->count; ++i) count += c->events[i]->kind == kind;
  pthread_mutex_unlock(&c->fx->lists->mutex);
  return count;
}

const ev *col_find(collector *c, pulse_event_kind kind, size_t nth) {
  const ev *found = NULL;
  pthread_mutex_lock(&c->fx->lists->mutex);
  for (size_t i = 0; i < c->count && found == NULL; ++i) {
    if (c->events[i]->kind == kind && nth-- == 0) found = c->events[i];
  }
  pthread_mutex_unlock(&c->fx->lists->mutex);
  return found;
}

const ev *col_wait_at(collector *c, pulse_event_kind kind, size_t nth, const char *file, int line) {
  int64_t end = ts_now_ms() + TS_DEADLINE_MS;
  const ev *found;
  while ((found = col_find(c, kind, nth)) == NULL) {
    if (ts_now_ms() > end) {
      print_error("event %zu of kind %d never came; what came:\n", nth, kind);
      for (size_t i = 0; i < col_count(c); ++i) {
        const ev *e = col_at(c, i);
        print_error("  kind %d %s id %" PRIu64 "-%" PRIu64 " %s %s\n", e->kind,
                    pulse_status_name(e->status), e->id.ms, e->id.seq,
                    e->name == NULL ? "" : e->name, e->message == NULL ? "" : e->message);
      }
      _fail(file, line);
    }
    fx_pump(c->fx);
  }
  return found;
}

uint64_t col_destroyed(collector *c) {
  pthread_mutex_lock(&c->fx->lists->mutex);
  uint64_t destroyed = c->destroyed;
  pthread_mutex_unlock(&c->fx->lists->mutex);
  return destroyed;
}

uint64_t col_targets(collector *c) {
  pthread_mutex_lock(&c->fx->lists->mutex);
  uint64_t targets = c->targets;
  pthread_mutex_unlock(&c->fx->lists->mutex);
  return targets;
}

static void free_collector(collector *c) {
  for (size_t i = 0; i < c->count; ++i) free_event(c->events[i]);
  free(c->events);
  free(c);
}

/* --- waiting --------------------------------------------------------------- */

enum { kPumpMs = 10 };

static void wait_for_change(fx_lists *lists) {
  struct timespec until;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_nsec += kPumpMs * 1000000L;
  if (until.tv_nsec >= 1000000000L) {
    until.tv_nsec -= 1000000000L;
    ++until.tv_sec;
  }
  pthread_mutex_lock(&lists->mutex);
  if (!lists->signalled) pthread_cond_timedwait(&lists->changed, &lists->mutex, &until);
  lists->signalled = false;
  pthread_mutex_unlock(&lists->mutex);
}

static void run_manual(fx_lists *lists) {
  struct pollfd fds[16];
  int64_t timeout = kPumpMs;
  for (size_t i = 0; i < lists->driven_count; ++i) {
    fds[i] = (struct pollfd){pulse_engine_poll_fd(lists->driven[i]), POLLIN, 0};
    int64_t wanted = pulse_engine_poll_timeout_ms(lists->driven[i]);
    if (wanted >= 0 && wanted < timeout) timeout = wanted;
  }
  poll(fds, lists->driven_count, (int)timeout);
  for (size_t i = 0; i < lists->driven_count; ++i) {
    pulse_engine_run_once(lists->driven[i], 0, 0);
  }
}

void fx_pump(fixture *fx) {
  if (fx->driver == PULSE_DRIVER_MANUAL && fx->lists->driven_count > 0) {
    run_manual(fx->lists);
  } else {
    wait_for_change(fx->lists);
  }
  for (size_t i = 0; i < fx->lists->object_count; ++i) {
    object *o = &fx->lists->objects[i];
    if (o->kind == A_COLLECTOR && !((collector *)o->handle)->hold) col_drain(o->handle);
  }
}

typedef struct other_thread {
  fixture *fx;
  void (*fn)(void *);
  void *arg;
  bool done;
} other_thread;

static void *other_thread_main(void *arg) {
  other_thread *t = arg;
  t->fn(t->arg);
  pthread_mutex_lock(&t->fx->lists->mutex);
  t->done = true;
  pthread_mutex_unlock(&t->fx->lists->mutex);
  signal_change(t->fx->lists);
  return NULL;
}

static bool other_thread_is_done(other_thread *t) {
  pthread_mutex_lock(&t->fx->lists->mutex);
  bool done = t->done;
  pthread_mutex_unlock(&t->fx->lists->mutex);
  return done;
}

void fx_on_thread(fixture *fx, void (*fn)(void *arg), void *arg) {
  other_thread t = {fx, fn, arg, false};
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, other_thread_main, &t), 0);
  int64_t end = ts_now_ms() + TS_DEADLINE_MS;
  while (!other_thread_is_done(&t)) {
    /* Its stack holds `t`: there is no going on without it. */
    if (ts_now_ms() > end) abort();
    fx_pump(fx);
  }
  pthread_join(thread, NULL);
}

/* --- objects --------------------------------------------------------------- */

pulse_engine_options fx_options(fixture *fx) {
  pulse_engine_options options = PULSE_ENGINE_OPTIONS_INIT;
  options.url = ts_server_url(fx->server);
  options.driver = fx->driver;
  return options;
}

void fx_drive(fixture *fx, pulse_engine *engine) {
  assert_true(fx->lists->driven_count < 16);
  fx->lists->driven[fx->lists->driven_count++] = engine;
}

void fx_forget(fixture *fx, pulse_engine *engine) {
  for (size_t i = 0; i < fx->lists->driven_count; ++i) {
    if (fx->lists->driven[i] != engine) continue;
    fx->lists->driven[i] = fx->lists->driven[--fx->lists->driven_count];
    return;
  }
}

pulse_engine *fx_open(fixture *fx, const pulse_engine_options *options) {
  pulse_engine_options defaults = fx_options(fx);
  pulse_engine *engine = NULL;
  assert_ok(pulse_engine_open(options == NULL ? &defaults : options, &engine, fx_err()));
  assert_non_null(engine);
  assert_true(fx->lists->owned_count < 16);
  fx->lists->owned[fx->lists->owned_count++] = engine;
  fx_drive(fx, engine);
  if (fx->engine == NULL) fx->engine = engine;
  return engine;
}

pulse_engine *fx_ready(fixture *fx, const pulse_engine_options *options) {
  pulse_engine *engine = fx_open(fx, options);
  assert_ok(pulse_engine_ready_wait(engine, TS_DEADLINE_MS, fx_err()));
  return engine;
}

pulse_stream *fx_stream_on(fixture *fx, pulse_engine *engine, const char *name,
                           const pulse_stream_options *options) {
  pulse_stream *stream = NULL;
  assert_ok(pulse_stream_open(engine, name, strlen(name), options, &stream, fx_err()));
  remember(fx, A_STREAM, stream);
  return stream;
}

pulse_stream *fx_stream(fixture *fx, const char *name, const pulse_stream_options *options) {
  if (fx->engine == NULL) fx_ready(fx, NULL);
  return fx_stream_on(fx, fx->engine, name, options);
}

pulse_reader *fx_reader(fixture *fx, pulse_stream *stream, const pulse_reader_options *options,
                        collector *to) {
  pulse_reader *reader = NULL;
  assert_ok(pulse_reader_open(stream, options, col_target(to, 0), &reader, fx_err()));
  remember(fx, A_READER, reader);
  assert_ok(pulse_reader_ready_wait(reader, TS_DEADLINE_MS, fx_err()));
  return reader;
}

pulse_sink *fx_sink(fixture *fx, pulse_stream *stream, const char *name,
                    const pulse_sink_options *options, collector *to) {
  pulse_sink *sink = NULL;
  assert_ok(
      pulse_sink_open(stream, name, strlen(name), options, col_target(to, 0), &sink, fx_err()));
  remember(fx, A_SINK, sink);
  assert_ok(pulse_sink_ready_wait(sink, TS_DEADLINE_MS, fx_err()));
  return sink;
}

pulse_map *fx_map(fixture *fx, const char *name, const pulse_map_options *options, collector *to) {
  if (fx->engine == NULL) fx_ready(fx, NULL);
  pulse_map *map = NULL;
  assert_ok(pulse_map_join(fx->engine, name, strlen(name), options,
                           to == NULL ? NULL : col_target(to, 0), &map, fx_err()));
  remember(fx, A_MAP, map);
  assert_ok(pulse_map_wait_synced(map, TS_DEADLINE_MS, fx_err()));
  return map;
}

pulse_map_watch *fx_watch(fixture *fx, pulse_map *map, const pulse_map_watch_options *options,
                          collector *to) {
  pulse_map_watch *watch = NULL;
  assert_ok(pulse_map_watch_open(map, options, col_target(to, 0), &watch, fx_err()));
  remember(fx, A_WATCH, watch);
  return watch;
}

pulse_node *fx_node(fixture *fx, const char *pool, const pulse_node_options *options,
                    collector *to) {
  if (fx->engine == NULL) fx_ready(fx, NULL);
  pulse_node *node = NULL;
  assert_ok(pulse_node_join_wait(fx->engine, pool, strlen(pool), options,
                                 to == NULL ? NULL : col_target(to, 0), TS_DEADLINE_MS, &node,
                                 fx_err()));
  remember(fx, A_NODE, node);
  return node;
}

pulse_worker *fx_worker(fixture *fx, pulse_node *node, const pulse_worker_options *options,
                        collector *to) {
  pulse_worker *worker = NULL;
  assert_ok(pulse_node_add_worker(node, options, col_target(to, 0), &worker, fx_err()));
  remember(fx, A_WORKER, worker);
  assert_ok(pulse_worker_ready_wait(worker, TS_DEADLINE_MS, fx_err()));
  return worker;
}

pulse_ticker *fx_ticker(fixture *fx, pulse_node *node, const char *name, int64_t interval_ns,
                        const pulse_ticker_options *options, collector *to) {
  pulse_ticker *ticker = NULL;
  assert_ok(pulse_ticker_open_wait(node, name, strlen(name), interval_ns, options,
                                   col_target(to, 0), TS_DEADLINE_MS, &ticker, fx_err()));
  remember(fx, A_TICKER, ticker);
  return ticker;
}

pulse_schedule *fx_schedule(fixture *fx, pulse_node *node, const char *name, int64_t interval_ns,
                            const pulse_schedule_options *options, collector *to) {
  pulse_schedule *schedule = NULL;
  assert_ok(pulse_schedule_open_wait(node, name, strlen(name), interval_ns, options,
                                     col_target(to, 0), TS_DEADLINE_MS, &schedule, fx_err()));
  remember(fx, A_SCHEDULE, schedule);
  return schedule;
}

/* --- short forms ----------------------------------------------------------- */

pulse_event_id fx_add(pulse_stream *stream, const char *name, const char *payload) {
  return fx_add_topic(stream, name, payload, NULL);
}

pulse_event_id fx_add_topic(pulse_stream *stream, const char *name, const char *payload,
                            const char *topic) {
  pulse_add_options options = PULSE_ADD_OPTIONS_INIT;
  options.topic = topic;
  options.topic_len = topic == NULL ? 0 : strlen(topic);
  pulse_event_id id = {0, 0};
  assert_ok(pulse_stream_add_wait(stream, name, strlen(name), payload, strlen(payload), &options,
                                  &id, TS_DEADLINE_MS, fx_err()));
  return id;
}

void fx_ack(pulse_sink *sink, const ev *event) {
  assert_ok(pulse_sink_ack_wait(sink, &event->ack, 1, NULL, TS_DEADLINE_MS, fx_err()));
}

static ts_reply *checked_reply(fixture *fx, const char *format, va_list arguments) {
  char words[1024];
  vsnprintf(words, sizeof words, format, arguments);
  ts_reply *reply = ts_commandf(fx->server, words);
  if (ts_reply_is_error(reply) || ts_reply_get_type(reply) == TS_NONE) {
    print_error("%s: %s\n", words, ts_reply_text(reply));
    ts_reply_free(reply);
    fail();
  }
  return reply;
}

const ts_reply *fx_redis(fixture *fx, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  ts_reply *reply = checked_reply(fx, format, arguments);
  va_end(arguments);
  remember(fx, A_REPLY, reply);
  return reply;
}

int64_t fx_redis_int(fixture *fx, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  ts_reply *reply = checked_reply(fx, format, arguments);
  va_end(arguments);
  bool array = ts_reply_get_type(reply) == TS_ARRAY;
  int64_t number = array ? (int64_t)ts_reply_size(reply) : ts_reply_integer(reply);
  ts_reply_free(reply);
  return number;
}

bool fx_redis_is(fixture *fx, const char *expected, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  ts_reply *reply = checked_reply(fx, format, arguments);
  va_end(arguments);
  bool is = ts_reply_equals(reply, expected);
  ts_reply_free(reply);
  return is;
}

int64_t fx_pending(fixture *fx, const char *stream, const char *group) {
  ts_reply *reply = ts_commandf(fx->server, "XPENDING pulse:stream:%s %s", stream, group);
  int64_t pending = -1;
  if (ts_reply_get_type(reply) == TS_ARRAY) pending = ts_reply_integer(ts_reply_at(reply, 0));
  ts_reply_free(reply);
  return pending;
}

/* --- set-up and teardown ---------------------------------------------------- */

int fx_group_setup(void **state) {
  (void)state;
  g_server = ts_server_start(NULL);
  return g_server == NULL ? -1 : 0;
}

int fx_group_teardown(void **state) {
  (void)state;
  ts_server_free(g_server);
  g_server = NULL;
  return 0;
}

int fx_skip_all(const char *why) {
  printf("1..0 # SKIP %s\n", why);
  return 0;
}

int fx_setup(void **state) {
  const variant *v = *state;
  ts_reply_free(ts_command(g_server, "FLUSHALL", NULL));
  ts_reply_free(ts_command(g_server, "SCRIPT", "FLUSH", NULL));
  ts_reply_free(ts_command(g_server, "CONFIG", "RESETSTAT", NULL));
  fixture *fx = calloc(1, sizeof *fx);
  fx->driver = v->driver;
  fx->delivery = v->delivery;
  fx->server = g_server;
  fx->lists = calloc(1, sizeof *fx->lists);
  pthread_mutex_init(&fx->lists->mutex, NULL);
  pthread_cond_init(&fx->lists->changed, NULL);
  *state = fx;
  return 0;
}

static void release_handle(const object *o) {
  if (o->kind == A_READER) pulse_reader_unref(o->handle);
  if (o->kind == A_SINK) pulse_sink_unref(o->handle);
  if (o->kind == A_MAP) pulse_map_unref(o->handle);
  if (o->kind == A_WATCH) pulse_map_watch_unref(o->handle);
  if (o->kind == A_NODE) pulse_node_unref(o->handle);
  if (o->kind == A_WORKER) pulse_worker_unref(o->handle);
  if (o->kind == A_TICKER) pulse_ticker_unref(o->handle);
  if (o->kind == A_SCHEDULE) pulse_schedule_unref(o->handle);
  if (o->kind == A_STREAM) pulse_stream_unref(o->handle);
  if (o->kind == A_REPLY) ts_reply_free(o->handle);
}

/* After all is closed and taken, each target has been destroyed exactly once.
 * Returns the number of mistakes. */
static int check_destroyed(fixture *fx) {
  int mistakes = 0;
  for (size_t i = 0; i < fx->lists->object_count; ++i) {
    if (fx->lists->objects[i].kind != A_COLLECTOR) continue;
    collector *c = fx->lists->objects[i].handle;
    int64_t end = ts_now_ms() + TS_DEADLINE_MS / 10;
    do {
      col_drain(c);
      if (c->queue != NULL) pulse_queue_close(c->queue); /* ends views of the last batch */
      if (col_destroyed(c) < col_targets(c)) wait_for_change(fx->lists);
    } while (col_destroyed(c) < col_targets(c) && ts_now_ms() < end);
    if (col_destroyed(c) == col_targets(c)) continue;
    print_error("%" PRIu64 " targets, but %" PRIu64 " destroyed\n", col_targets(c),
                col_destroyed(c));
    ++mistakes;
  }
  return mistakes;
}

int fx_teardown(void **state) {
  fixture *fx = *state;
  fx_lists *lists = fx->lists;
  int mistakes = 0;
  for (size_t i = 0; i < lists->object_count; ++i) release_handle(&lists->objects[i]);
  for (size_t i = 0; i < lists->owned_count; ++i) {
    pulse_error error = PULSE_ERROR_INIT;
    pulse_status status = pulse_engine_close_wait(lists->owned[i], TS_DEADLINE_MS, &error);
    if (status != PULSE_OK) {
      print_error("close_wait: %s %s\n", pulse_status_name(status), error.message);
      ++mistakes;
    }
    fx_forget(fx, lists->owned[i]);
    pulse_engine_unref(lists->owned[i]);
  }
  mistakes += check_destroyed(fx);
  for (size_t i = 0; i < lists->object_count; ++i) {
    if (lists->objects[i].kind != A_COLLECTOR) continue;
    collector *c = lists->objects[i].handle;
    pulse_queue_unref(c->queue);
    free_collector(c);
  }
  pthread_cond_destroy(&lists->changed);
  pthread_mutex_destroy(&lists->mutex);
  free(lists);
  free(fx);
  return mistakes == 0 ? 0 : -1;
}
