/* uv.h: an engine in the host's own libuv loop. */
#include <poll.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fixture.h"

/* What the hook calls is watched on the way. */
static int64_t watched_run_once(pulse_engine *engine, size_t max_events, int64_t budget_us);
static int32_t watched_poll_fd(pulse_engine *engine);
#define pulse_engine_run_once watched_run_once
#define pulse_engine_poll_fd watched_poll_fd
#include <pulseengine/uv.h>
#undef pulse_engine_run_once
#undef pulse_engine_poll_fd

static struct {
  uint64_t runs;       /* calls of run_once */
  uint64_t busy;       /* of them, those that another thread was in the way of */
  int64_t most;        /* callbacks in one run */
  int32_t moved_fd;    /* >= 0: the engine says that its descriptor is this one */
  uint64_t moved_runs; /* runs while it was readable */
} g_watch;

static int64_t watched_run_once(pulse_engine *engine, size_t max_events, int64_t budget_us) {
  int64_t ran = pulse_engine_run_once(engine, max_events, budget_us);
  char byte;
  ++g_watch.runs;
  if (ran == PULSE_ERR_BUSY) ++g_watch.busy;
  if (ran > g_watch.most) g_watch.most = ran;
  if (g_watch.moved_fd >= 0 && read(g_watch.moved_fd, &byte, 1) == 1) ++g_watch.moved_runs;
  return ran;
}

static int32_t watched_poll_fd(pulse_engine *engine) {
  return g_watch.moved_fd >= 0 ? g_watch.moved_fd : pulse_engine_poll_fd(engine);
}

/* --- a host ---------------------------------------------------------------- */

typedef struct host {
  uv_loop_t loop;
  uv_timer_t deadline;
  bool late;
} host;

static void on_deadline(uv_timer_t *timer) { ((host *)timer->data)->late = true; }

static void host_start(host *h) {
  memset(&g_watch, 0, sizeof g_watch);
  g_watch.moved_fd = -1;
  h->late = false;
  assert_int_equal(uv_loop_init(&h->loop), 0);
  uv_timer_init(&h->loop, &h->deadline);
  h->deadline.data = h;
  uv_timer_start(&h->deadline, on_deadline, TS_DEADLINE_MS, 0);
}

/* A turn of the loop without waiting. */
static void host_turn(host *h) { uv_run(&h->loop, UV_RUN_NOWAIT); }

/* Waits until the loop has something to do.  UV_RUN_ONCE would wait also when what is waited for
 * has come in the same turn. */
static void host_wait(host *h) {
  struct pollfd p = {uv_backend_fd(&h->loop), POLLIN, 0};
  poll(&p, 1, uv_backend_timeout(&h->loop));
}

#define host_until(h, condition)                                 \
  do {                                                           \
    while (host_turn(h), !(condition)) {                         \
      if ((h)->late) fail_msg("never happened: %s", #condition); \
      host_wait(h);                                              \
    }                                                            \
  } while (0)

/* Nothing but the deadline is left: the loop ends by itself. */
static void host_end(host *h) {
  uv_close((uv_handle_t *)&h->deadline, NULL);
  assert_int_equal(uv_run(&h->loop, UV_RUN_DEFAULT), 0);
  assert_int_equal(uv_loop_close(&h->loop), 0);
}

static void on_window(uv_timer_t *timer) { *(bool *)timer->data = true; }

/* Runs the loop for so long, and answers how often it was woken. */
static uint64_t host_turns(host *h, uint64_t window_ms) {
  uv_timer_t window;
  bool over = false;
  uint64_t turns = 0;
  uv_timer_init(&h->loop, &window);
  window.data = &over;
  uv_timer_start(&window, on_window, window_ms, 0);
  for (; host_turn(h), !over; ++turns) host_wait(h);
  uv_close((uv_handle_t *)&window, NULL);
  host_turn(h);
  return turns;
}

static void count_closed(void *user_data) { ++*(int *)user_data; }

/* One that only the hook drives. */
static pulse_engine *attached_engine(fixture *fx, const pulse_engine_options *options, host *h,
                                     pulse_uv *hook, int *closed) {
  pulse_engine *engine = fx_open(fx, options);
  fx_forget(fx, engine);
  assert_int_equal(pulse_uv_attach(hook, engine, &h->loop, count_closed, closed), PULSE_OK);
  return engine;
}

static void detach(host *h, pulse_uv *hook, int *closed) {
  int before = *closed;
  pulse_uv_detach(hook);
  pulse_uv_detach(hook);
  assert_int_equal(*closed, before); /* libuv has not let go yet */
  host_until(h, *closed == before + 1);
}

/* --- what the loop does for the engine ------------------------------------- */

static void the_loop_drives_adds_readers_and_sinks(void **state) {
  fixture *fx = *state;
  host h;
  pulse_uv hook;
  int closed = 0;
  host_start(&h);
  attached_engine(fx, NULL, &h, &hook, &closed);
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  collector *c = fx_collector_by(fx, BY_CALLBACK);
  collector *of_sink = fx_collector_by(fx, BY_CALLBACK);
  pulse_reader *reader = NULL;
  pulse_sink *sink = NULL;
  assert_ok(pulse_reader_open(stream, NULL, col_target(c, 0), &reader, fx_err()));
  assert_ok(pulse_sink_open(stream, "g", 1, NULL, col_target(of_sink, 0), &sink, fx_err()));
  host_until(&h, col_find(c, PULSE_EVENT_READY, 0) && col_find(of_sink, PULSE_EVENT_READY, 0));

  for (int i = 0; i < 100; ++i) {
    assert_ok(pulse_stream_add(stream, "n", 1, "p", 1, NULL, col_target(c, 0), NULL, fx_err()));
  }
  host_until(&h, col_count_kind(c, PULSE_EVENT_ADDED) == 100);
  host_until(&h, col_count_kind(c, PULSE_EVENT_MESSAGE) == 100);
  host_until(&h, col_count_kind(of_sink, PULSE_EVENT_MESSAGE) == 100);
  for (size_t i = 0; i < 100; ++i) {
    const ev *event = col_find(of_sink, PULSE_EVENT_MESSAGE, i);
    assert_ok(pulse_sink_ack(sink, &event->ack, 1, col_target(of_sink, 0), NULL, fx_err()));
  }
  host_until(&h, col_count_kind(of_sink, PULSE_EVENT_ACKED) == 100);
  assert_int_equal(fx_pending(fx, "s", "g"), 0);

  assert_ok(pulse_reader_close(reader));
  assert_ok(pulse_sink_close(sink));
  host_until(&h, col_find(c, PULSE_EVENT_CLOSED, 0) && col_find(of_sink, PULSE_EVENT_CLOSED, 0));
  pulse_reader_unref(reader);
  pulse_sink_unref(sink);
  detach(&h, &hook, &closed);
  host_end(&h);
}

static void deadlines_pass_in_the_loop(void **state) {
  fixture *fx = *state;
  host h;
  pulse_uv hook;
  int closed = 0;
  host_start(&h);
  ts_fault *fault = ts_fault_start();
  assert_non_null(fault);
  ts_fault_silence(fault, "XADD", 0);
  pulse_engine_options options = fx_options(fx);
  options.url = ts_fault_url(fault);
  attached_engine(fx, &options, &h, &hook, &closed);
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  collector *c = fx_collector_by(fx, BY_CALLBACK);
  pulse_add_options add = PULSE_ADD_OPTIONS_INIT;
  add.timeout_ms = 300;
  assert_ok(pulse_stream_add(stream, "n", 1, "p", 1, &add, col_target(c, 0), NULL, fx_err()));
  host_until(&h, col_count(c) == 1);
  assert_int_equal(col_at(c, 0)->status, PULSE_ERR_TIMEOUT);
  /* It waited for the deadline, and did not ask for it again and again. */
  assert_in_range(g_watch.runs, 1, 100);
  detach(&h, &hook, &closed);
  host_end(&h);
  ts_fault_free(fault);
}

static void blocking_calls_leave_the_loop_with_the_right_timeout(void **state) {
  fixture *fx = *state;
  host h;
  pulse_uv hook;
  int closed = 0;
  host_start(&h);
  ts_fault *fault = ts_fault_start();
  assert_non_null(fault);
  ts_fault_silence(fault, "XADD", 0);
  pulse_engine_options options = fx_options(fx);
  options.url = ts_fault_url(fault);
  pulse_engine *engine = attached_engine(fx, &options, &h, &hook, &closed);
  host_turns(&h, 20);
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  collector *c = fx_collector_by(fx, BY_CALLBACK);
  pulse_add_options add = PULSE_ADD_OPTIONS_INIT;
  add.timeout_ms = 300;
  assert_ok(pulse_stream_add(stream, "n", 1, "p", 1, &add, col_target(c, 0), NULL, fx_err()));
  /* This runs the engine, which makes it set its timer: nobody but the hook can know. */
  assert_ok(pulse_engine_ready_wait(engine, TS_DEADLINE_MS, fx_err()));
  pulse_engine_ping_wait(engine, NULL, 1, NULL);
  host_until(&h, col_count(c) == 1);
  assert_int_equal(col_at(c, 0)->status, PULSE_ERR_TIMEOUT);
  detach(&h, &hook, &closed);
  host_end(&h);
  ts_fault_free(fault);
}

typedef struct caller {
  pulse_stream *stream;
  const pulse_target *target;
  pulse_status add, add_wait;
  bool waits;
  uv_async_t *tell; /* what the host's threads do is no business of the hook */
  int done;         /* atomic */
} caller;

static void *call_from_thread(void *arg) {
  caller *c = arg;
  if (c->waits) {
    c->add_wait =
        pulse_stream_add_wait(c->stream, "n", 1, "p", 1, NULL, NULL, TS_DEADLINE_MS, NULL);
  } else {
    c->add = pulse_stream_add(c->stream, "n", 1, "p", 1, NULL, c->target, NULL, NULL);
  }
  __atomic_store_n(&c->done, 1, __ATOMIC_SEQ_CST);
  if (c->waits) uv_async_send(c->tell);
  return NULL;
}

static void calls_of_other_threads_wake_the_loop(void **state) {
  fixture *fx = *state;
  host h;
  pulse_uv hook;
  int closed = 0;
  host_start(&h);
  pulse_engine *engine = attached_engine(fx, NULL, &h, &hook, &closed);
  assert_ok(pulse_engine_ready_wait(engine, TS_DEADLINE_MS, fx_err()));
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  collector *c = fx_collector_by(fx, BY_CALLBACK);
  uv_async_t tell;
  assert_int_equal(uv_async_init(&h.loop, &tell, NULL), 0);
  for (size_t i = 1; i <= 100; ++i) {
    caller calls[2] = {{stream, col_target(c, 0), 99, 99, false, NULL, 0},
                       {stream, NULL, 99, 99, true, &tell, 0}};
    pthread_t threads[2];
    for (int t = 0; t < 2; ++t) {
      assert_int_equal(pthread_create(&threads[t], NULL, call_from_thread, &calls[t]), 0);
    }
    host_until(&h, col_count(c) == i && __atomic_load_n(&calls[1].done, __ATOMIC_SEQ_CST));
    for (int t = 0; t < 2; ++t) pthread_join(threads[t], NULL);
    assert_int_equal(calls[0].add, PULSE_OK);
    assert_int_equal(calls[1].add_wait, PULSE_OK);
  }
  assert_int_equal(fx_redis_int(fx, "XLEN pulse:stream:s"), 200);
  uv_close((uv_handle_t *)&tell, NULL);
  detach(&h, &hook, &closed);
  host_end(&h);
}

static void an_idle_engine_lets_the_loop_sleep(void **state) {
  fixture *fx = *state;
  host h;
  pulse_uv hook;
  int closed = 0;
  host_start(&h);
  attached_engine(fx, NULL, &h, &hook, &closed);
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  collector *c = fx_collector_by(fx, BY_CALLBACK);
  fx_reader(fx, stream, NULL, c);
  fx_sink(fx, stream, "g", NULL, c);
  host_turns(&h, 50);
  g_watch.runs = 0;
  /* A second has room for very many turns of a loop that does not sleep. */
  uint64_t turns = host_turns(&h, 1000);
  if (turns > 100) fail_msg("the idle loop turned %lu times", (unsigned long)turns);
  if (g_watch.runs > 100) fail_msg("the idle engine ran %lu times", (unsigned long)g_watch.runs);
  detach(&h, &hook, &closed);
  host_end(&h);
}

static void two_engines_share_a_loop(void **state) {
  fixture *fx = *state;
  host h;
  pulse_uv hooks[2];
  int closed[2] = {0, 0};
  pulse_engine *engines[2];
  pulse_stream *streams[2];
  collector *c[2];
  host_start(&h);
  for (int i = 0; i < 2; ++i) {
    engines[i] = attached_engine(fx, NULL, &h, &hooks[i], &closed[i]);
    streams[i] = fx_stream_on(fx, engines[i], "s", NULL);
    c[i] = fx_collector_by(fx, BY_CALLBACK);
    fx_reader(fx, streams[i], NULL, c[i]);
  }
  /* Each reads what the other adds. */
  for (int i = 0; i < 2; ++i) {
    assert_ok(pulse_stream_add(streams[i], "n", 1, "p", 1, NULL, NULL, NULL, fx_err()));
  }
  host_until(&h, col_count_kind(c[0], PULSE_EVENT_MESSAGE) == 2 &&
                     col_count_kind(c[1], PULSE_EVENT_MESSAGE) == 2);
  /* One goes, the other does not notice. */
  detach(&h, &hooks[0], &closed[0]);
  assert_ok(pulse_stream_add(streams[1], "n", 1, "p", 1, NULL, NULL, NULL, fx_err()));
  host_until(&h, col_count_kind(c[1], PULSE_EVENT_MESSAGE) == 3);
  assert_int_equal(col_count_kind(c[0], PULSE_EVENT_MESSAGE), 2);
  assert_int_equal(closed[1], 0);
  detach(&h, &hooks[1], &closed[1]);
  host_end(&h);
}

static void the_host_may_bound_each_turn(void **state) {
  fixture *fx = *state;
  host h;
  pulse_uv hook;
  int closed = 0;
  host_start(&h);
  pulse_engine *engine = attached_engine(fx, NULL, &h, &hook, &closed);
  assert_ok(pulse_engine_ready_wait(engine, TS_DEADLINE_MS, fx_err()));
  collector *c = fx_collector_by(fx, BY_CALLBACK);
  hook.max_events = 3;
  for (int i = 0; i < 20; ++i) {
    assert_ok(pulse_engine_ping(engine, col_target(c, 0), NULL, fx_err()));
  }
  host_until(&h, col_count(c) == 20);
  assert_in_range(g_watch.most, 1, 3);
  detach(&h, &hook, &closed);
  host_end(&h);
}

static void a_descriptor_that_moves_is_followed(void **state) {
  fixture *fx = *state;
  host h;
  pulse_uv hook;
  int closed = 0;
  int ends[2];
  host_start(&h);
  attached_engine(fx, NULL, &h, &hook, &closed);
  host_turns(&h, 20);
  assert_int_equal(pipe2(ends, O_NONBLOCK), 0);
  g_watch.moved_fd = ends[0];
  host_turn(&h); /* it asks before each wait */
  assert_int_equal(write(ends[1], "x", 1), 1);
  host_until(&h, g_watch.moved_runs == 1);
  /* And back. */
  g_watch.moved_fd = -1;
  collector *c = fx_collector_by(fx, BY_CALLBACK);
  assert_ok(pulse_engine_ping(fx->engine, col_target(c, 0), NULL, fx_err()));
  host_until(&h, col_count(c) == 1);
  detach(&h, &hook, &closed);
  host_end(&h);
  close(ends[0]);
  close(ends[1]);
}

typedef struct visitor {
  pulse_engine *engine;
  int inside; /* atomic */
  int leave;  /* atomic */
} visitor;

static void stay_inside(const pulse_event *event, void *user_data) {
  (void)event;
  visitor *v = user_data;
  __atomic_store_n(&v->inside, 1, __ATOMIC_SEQ_CST);
  while (!__atomic_load_n(&v->leave, __ATOMIC_SEQ_CST)) ts_pause_ms(1);
}

static void *run_until_left(void *arg) {
  visitor *v = arg;
  while (!__atomic_load_n(&v->leave, __ATOMIC_SEQ_CST)) {
    pulse_engine_run_once(v->engine, 0, 0);
    ts_pause_ms(1);
  }
  return NULL;
}

static int someone_is_inside(void *arg) {
  return __atomic_load_n(&((visitor *)arg)->inside, __ATOMIC_SEQ_CST);
}

static void another_thread_in_the_engine_does_not_make_the_loop_spin(void **state) {
  fixture *fx = *state;
  host h;
  pulse_uv hook;
  int closed = 0;
  host_start(&h);
  pulse_engine *engine = attached_engine(fx, NULL, &h, &hook, &closed);
  assert_ok(pulse_engine_ready_wait(engine, TS_DEADLINE_MS, fx_err()));
  visitor v = {engine, 0, 0};
  pulse_target target = PULSE_TARGET_INIT;
  target.callback = stay_inside;
  target.user_data = &v;
  assert_ok(pulse_engine_ping(engine, &target, NULL, fx_err()));
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, run_until_left, &v), 0);
  int came = ts_wait_until(someone_is_inside, &v, TS_DEADLINE_MS);
  /* The descriptor is readable meanwhile, and the loop cannot change that. */
  pulse_engine_wakeup(engine);
  uint64_t turns = host_turns(&h, 200);
  uint64_t busy = g_watch.busy;
  __atomic_store_n(&v.leave, 1, __ATOMIC_SEQ_CST);
  pthread_join(thread, NULL);
  assert_true(came);
  assert_true(busy > 0);
  if (turns > 1000) fail_msg("the loop turned %lu times", (unsigned long)turns);
  /* Afterwards all is as before. */
  collector *c = fx_collector_by(fx, BY_CALLBACK);
  assert_ok(pulse_engine_ping(engine, col_target(c, 0), NULL, fx_err()));
  host_until(&h, col_count(c) == 1);
  detach(&h, &hook, &closed);
  host_end(&h);
}

/* --- the end --------------------------------------------------------------- */

typedef struct leaver {
  pulse_uv hook;
  int calls;
  int closed;
} leaver;

static void detach_inside(const pulse_event *event, void *user_data) {
  (void)event;
  leaver *l = user_data;
  ++l->calls;
  pulse_uv_detach(&l->hook);
}

static void an_engine_may_be_detached_in_its_callback_and_attached_again(void **state) {
  fixture *fx = *state;
  host h;
  leaver l = {.calls = 0, .closed = 0};
  host_start(&h);
  pulse_engine *engine = attached_engine(fx, NULL, &h, &l.hook, &l.closed);
  pulse_target target = PULSE_TARGET_INIT;
  target.callback = detach_inside;
  target.user_data = &l;
  for (int i = 1; i <= 3; ++i) {
    assert_ok(pulse_engine_ping(engine, &target, NULL, fx_err()));
    host_until(&h, l.closed == i);
    assert_int_equal(l.calls, i);
    /* It is open, and may be run in another way. */
    assert_ok(pulse_engine_ping_wait(engine, NULL, TS_DEADLINE_MS, fx_err()));
    assert_int_equal(pulse_uv_attach(&l.hook, engine, &h.loop, count_closed, &l.closed), PULSE_OK);
  }
  detach(&h, &l.hook, &l.closed);
  host_end(&h);
}

typedef struct owner {
  pulse_uv hook;
  int *closed;
} owner;

static void free_owner(void *user_data) {
  owner *o = user_data;
  ++*o->closed;
  free(o);
}

static void ignore_log(pulse_log_level level, const char *text, size_t text_len, void *user_data) {
  (void)level, (void)text, (void)text_len, (void)user_data;
}

static void when_the_engine_closes_the_loop_ends(void **state) {
  fixture *fx = *state;
  for (int by_wait = 0; by_wait < 2; ++by_wait) {
    host h;
    int closed = 0;
    host_start(&h);
    int descriptors = ts_descriptor_count();
    int engines_gone = 0;
    pulse_engine_options options = fx_options(fx);
    options.log = ignore_log;
    options.log_user_data = &engines_gone;
    options.log_destroy = count_closed;
    pulse_engine *engine = NULL;
    assert_ok(pulse_engine_open(&options, &engine, fx_err()));
    owner *o = calloc(1, sizeof *o);
    o->closed = &closed;
    assert_int_equal(pulse_uv_attach(&o->hook, engine, &h.loop, free_owner, o), PULSE_OK);
    collector *c = fx_collector_by(fx, BY_CALLBACK);
    assert_ok(pulse_engine_ping(engine, col_target(c, 0), NULL, fx_err()));
    host_until(&h, col_count(c) == 1);
    if (by_wait) {
      assert_ok(pulse_engine_close_wait(engine, TS_DEADLINE_MS, fx_err()));
    } else {
      assert_ok(pulse_engine_close(engine));
    }
    pulse_engine_unref(engine); /* the hook has its own reference */
    host_until(&h, closed == 1);
    assert_int_equal(engines_gone, 1);
    assert_int_equal(ts_descriptor_count(), descriptors);
    host_end(&h);
    assert_int_equal(closed, 1);
  }
}

static void what_cannot_be_attached_is_refused(void **state) {
  fixture *fx = *state;
  host h;
  pulse_uv hook;
  int closed = 0;
  host_start(&h);
  pulse_engine *engine = fx_open(fx, NULL);
  assert_int_equal(pulse_uv_attach(NULL, engine, &h.loop, count_closed, &closed),
                   PULSE_ERR_INVALID);
  assert_int_equal(pulse_uv_attach(&hook, NULL, &h.loop, count_closed, &closed), PULSE_ERR_INVALID);
  assert_int_equal(pulse_uv_attach(&hook, engine, NULL, count_closed, &closed), PULSE_ERR_INVALID);
  pulse_uv_detach(NULL);
  if (fx->driver == PULSE_DRIVER_THREAD) {
    assert_int_equal(pulse_uv_attach(&hook, engine, &h.loop, count_closed, &closed),
                     PULSE_ERR_INVALID);
  } else {
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    struct rlimit none = {3, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    pulse_status status = pulse_uv_attach(&hook, engine, &h.loop, count_closed, &closed);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(status, PULSE_ERR_NO_MEMORY);
    assert_ok(pulse_engine_close_wait(engine, TS_DEADLINE_MS, fx_err()));
    assert_int_equal(pulse_uv_attach(&hook, engine, &h.loop, count_closed, &closed),
                     PULSE_ERR_CLOSED);
  }
  pulse_uv_detach(&hook); /* nothing to detach */
  host_end(&h);
  assert_int_equal(closed, 0);
}

static void a_forked_child_cannot_attach(void **state) {
  fixture *fx = *state;
  pulse_engine *engine = fx_ready(fx, NULL);
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    uv_loop_t loop;
    pulse_uv hook;
    uv_loop_init(&loop);
    _exit(pulse_uv_attach(&hook, engine, &loop, NULL, NULL) == PULSE_ERR_FORKED ? 0 : 1);
  }
  int status = 0;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      MANUAL_ONLY(the_loop_drives_adds_readers_and_sinks),
      MANUAL_ONLY(deadlines_pass_in_the_loop),
      MANUAL_ONLY(blocking_calls_leave_the_loop_with_the_right_timeout),
      MANUAL_ONLY(calls_of_other_threads_wake_the_loop),
      MANUAL_ONLY(an_idle_engine_lets_the_loop_sleep),
      MANUAL_ONLY(two_engines_share_a_loop),
      MANUAL_ONLY(the_host_may_bound_each_turn),
      MANUAL_ONLY(a_descriptor_that_moves_is_followed),
      MANUAL_ONLY(another_thread_in_the_engine_does_not_make_the_loop_spin),
      MANUAL_ONLY(an_engine_may_be_detached_in_its_callback_and_attached_again),
      MANUAL_ONLY(when_the_engine_closes_the_loop_ends),
      BOTH_DRIVERS(what_cannot_be_attached_is_refused),
      MANUAL_ONLY(a_forked_child_cannot_attach),
  };
  return cmocka_run_group_tests_name("uv", tests, fx_group_setup, fx_group_teardown);
}
