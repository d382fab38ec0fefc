/* engine.h: the two drivers, re-entrance, and forked children. */
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fixture.h"

static bool is_readable(int fd, int timeout_ms) {
  struct pollfd p = {fd, POLLIN, 0};
  return poll(&p, 1, timeout_ms) == 1 && (p.revents & POLLIN) != 0;
}

/* --- blocking calls inside an inline callback ------------------------------ */

typedef struct reentrance {
  pulse_engine *engine;
  pulse_stream *stream;
  pulse_reader *reader;
  pulse_sink *sink;
  pulse_status ready, ping, close, add, batch, remove, destroy, info, run_once, async;
  pulse_status reader_ready, reader_add, reader_remove, reader_close;
  pulse_status sink_ready, sink_add, sink_remove, sink_close;
  int done; /* atomic */
} reentrance;

static void call_blocking_forms(const pulse_event *event, void *user_data) {
  (void)event;
  reentrance *r = user_data;
  const pulse_event_id id = {1, 1};
  const pulse_add_item item = {"n", 1, "p", 1, NULL, 0, NULL, 0};
  pulse_stream_info info = {.size = sizeof info};
  r->ready = pulse_engine_ready_wait(r->engine, -1, NULL);
  r->ping = pulse_engine_ping_wait(r->engine, NULL, -1, NULL);
  r->close = pulse_engine_close_wait(r->engine, -1, NULL);
  r->add = pulse_stream_add_wait(r->stream, "n", 1, "p", 1, NULL, NULL, -1, NULL);
  r->batch = pulse_stream_add_batch_wait(r->stream, &item, sizeof item, 1, NULL, NULL, -1, NULL);
  r->remove = pulse_stream_remove_wait(r->stream, &id, 1, NULL, -1, NULL);
  r->destroy = pulse_stream_destroy_wait(r->stream, -1, NULL);
  r->info = pulse_stream_info_wait(r->stream, &info, -1, NULL);
  r->reader_ready = pulse_reader_ready_wait(r->reader, -1, NULL);
  r->reader_add =
      pulse_reader_add_stream_wait(r->reader, r->stream, PULSE_START_OLDEST, NULL, -1, NULL);
  r->reader_remove = pulse_reader_remove_stream_wait(r->reader, r->stream, -1, NULL);
  r->reader_close = pulse_reader_close_wait(r->reader, -1, NULL);
  r->sink_ready = pulse_sink_ready_wait(r->sink, -1, NULL);
  r->sink_add = pulse_sink_add_stream_wait(r->sink, r->stream, PULSE_START_OLDEST, NULL, -1, NULL);
  r->sink_remove = pulse_sink_remove_stream_wait(r->sink, r->stream, -1, NULL);
  r->sink_close = pulse_sink_close_wait(r->sink, -1, NULL);
  r->run_once = (pulse_status)pulse_engine_run_once(r->engine, 0, 0);
  r->async = pulse_stream_add(r->stream, "n", 1, "p", 1, NULL, NULL, NULL, NULL);
  __atomic_store_n(&r->done, 1, __ATOMIC_SEQ_CST);
}

static void blocking_calls_in_an_inline_callback_are_reentrant(void **state) {
  fixture *fx = *state;
  collector *c = fx_collector(fx);
  reentrance r = {.engine = fx_ready(fx, NULL), .done = 0};
  r.stream = fx_stream(fx, "s", NULL);
  r.reader = fx_reader(fx, r.stream, NULL, c);
  r.sink = fx_sink(fx, r.stream, "g", NULL, c);
  pulse_target target = PULSE_TARGET_INIT;
  target.callback = call_blocking_forms;
  target.user_data = &r;
  assert_ok(pulse_engine_ping(r.engine, &target, NULL, fx_err()));
  fx_until(fx, __atomic_load_n(&r.done, __ATOMIC_SEQ_CST) == 1);
  const pulse_status refused[] = {r.ready,        r.ping,       r.close,         r.add,
                                  r.batch,        r.remove,     r.destroy,       r.info,
                                  r.reader_ready, r.reader_add, r.reader_remove, r.reader_close,
                                  r.sink_ready,   r.sink_add,   r.sink_remove,   r.sink_close};
  for (size_t i = 0; i < sizeof refused / sizeof refused[0]; ++i) {
    if (refused[i] != PULSE_ERR_REENTRANT) {
      fail_msg("call %zu answered %s", i, pulse_status_name(refused[i]));
    }
  }
  assert_int_equal(r.run_once,
                   fx->driver == PULSE_DRIVER_MANUAL ? PULSE_ERR_REENTRANT : PULSE_ERR_INVALID);
  /* Calls that do not block work there, and none of the refused did anything. */
  assert_int_equal(r.async, PULSE_OK);
  fx_until(fx, fx_redis_int(fx, "XLEN pulse:stream:s") == 1);
  assert_ok(pulse_engine_ping_wait(r.engine, NULL, TS_DEADLINE_MS, fx_err()));
}

static void wait_in_callback(const pulse_event *event, void *user_data) {
  (void)event;
  reentrance *r = user_data;
  r->ping = pulse_engine_ping_wait(r->engine, NULL, TS_DEADLINE_MS, NULL);
  r->add = pulse_stream_add_wait(r->stream, "n", 1, "p", 1, NULL, NULL, TS_DEADLINE_MS, NULL);
  r->done = 1;
}

static void dispatched_callbacks_may_block(void **state) {
  fixture *fx = *state;
  collector *c = fx_collector_by(fx, BY_DISPATCH);
  reentrance r = {.engine = fx_ready(fx, NULL), .done = 0};
  r.stream = fx_stream(fx, "s", NULL);
  pulse_target target = PULSE_TARGET_INIT;
  target.queue = c->queue;
  target.callback = wait_in_callback;
  target.user_data = &r;
  assert_ok(pulse_engine_ping(r.engine, &target, NULL, fx_err()));
  fx_until(fx, r.done == 1);
  assert_int_equal(r.ping, PULSE_OK);
  assert_int_equal(r.add, PULSE_OK);
}

/* --- the thread driver ----------------------------------------------------- */

typedef struct thread_facts {
  pthread_t first;
  pthread_t callback;
  int first_calls;
  int callbacks_before_first;
  int blocked;
  int done;
} thread_facts;

static void on_thread_start(void *user_data) {
  thread_facts *f = user_data;
  sigset_t mask;
  pthread_sigmask(SIG_BLOCK, NULL, &mask);
  f->blocked = sigismember(&mask, SIGINT) && sigismember(&mask, SIGTERM) &&
               sigismember(&mask, SIGUSR1) && sigismember(&mask, SIGCHLD) &&
               sigismember(&mask, SIGALRM);
  f->first = pthread_self();
  ++f->first_calls;
}

static void on_pong(const pulse_event *event, void *user_data) {
  (void)event;
  thread_facts *f = user_data;
  f->callback = pthread_self();
  if (f->first_calls == 0) ++f->callbacks_before_first;
  __atomic_store_n(&f->done, 1, __ATOMIC_SEQ_CST);
}

static void the_thread_starts_with_the_hook_and_blocks_signals(void **state) {
  fixture *fx = *state;
  thread_facts f;
  memset(&f, 0, sizeof f);
  pulse_engine_options options = fx_options(fx);
  options.thread_start = on_thread_start;
  options.thread_start_user_data = &f;
  pulse_engine *engine = fx_ready(fx, &options);
  pulse_target target = PULSE_TARGET_INIT;
  target.callback = on_pong;
  target.user_data = &f;
  assert_ok(pulse_engine_ping(engine, &target, NULL, fx_err()));
  fx_until(fx, __atomic_load_n(&f.done, __ATOMIC_SEQ_CST) == 1);
  assert_int_equal(f.first_calls, 1);
  assert_int_equal(f.callbacks_before_first, 0);
  assert_true(f.blocked);
  assert_true(pthread_equal(f.first, f.callback));
  assert_false(pthread_equal(f.first, pthread_self()));
}

/* wait_spin_us changes how long calls take, and nothing else. */
static void waiting_may_spin(void **state) {
  fixture *fx = *state;
  pulse_engine_options options = fx_options(fx);
  options.wait_spin_us = 300;
  pulse_engine *engine = fx_ready(fx, &options);
  pulse_stream *stream = fx_stream_on(fx, engine, "s", NULL);
  pulse_event_id last = {0, 0};
  for (int i = 0; i < 200; ++i) {
    const pulse_event_id id = fx_add(stream, "n", "p");
    assert_true(pulse_event_id_compare(&last, &id) < 0);
    last = id;
  }
}

static void manual_calls_are_not_for_thread_engines(void **state) {
  fixture *fx = *state;
  pulse_engine *engine = fx_ready(fx, NULL);
  assert_int_equal(pulse_engine_poll_fd(engine), -1);
  assert_int_equal(pulse_engine_run_once(engine, 0, 0), PULSE_ERR_INVALID);
}

/* --- the manual driver ----------------------------------------------------- */

static void a_manual_engine_starts_no_thread(void **state) {
  fixture *fx = *state;
  int threads = ts_thread_count();
  fx_ready(fx, NULL);
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  fx_reader(fx, stream, NULL, fx_collector(fx));
  fx_add(stream, "n", "p");
  assert_int_equal(ts_thread_count(), threads);
}

static void nothing_happens_unless_it_is_run(void **state) {
  fixture *fx = *state;
  pulse_engine *engine = fx_ready(fx, NULL);
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  assert_ok(pulse_stream_add(stream, "n", 1, "p", 1, NULL, NULL, NULL, fx_err()));
  assert_int_equal(fx_redis_int(fx, "XLEN pulse:stream:s"), 0);
  int64_t timeout = pulse_engine_poll_timeout_ms(engine);
  assert_true(timeout == 0 || is_readable(pulse_engine_poll_fd(engine), 0));
  fx_until(fx, fx_redis_int(fx, "XLEN pulse:stream:s") == 1);
}

static void the_descriptor_and_the_timeout_say_when_to_run(void **state) {
  fixture *fx = *state;
  pulse_engine *engine = fx_ready(fx, NULL);
  collector *c = fx_collector_by(fx, BY_CALLBACK);
  assert_ok(pulse_engine_ping(engine, col_target(c, 0), NULL, fx_err()));
  /* Never longer than asked for, and no spinning: poll, then run. */
  int rounds = 0;
  while (col_count(c) == 0) {
    assert_true(++rounds < 1000);
    int64_t timeout = pulse_engine_poll_timeout_ms(engine);
    assert_true(timeout >= -1);
    struct pollfd p = {pulse_engine_poll_fd(engine), POLLIN, 0};
    assert_true(p.fd >= 0);
    poll(&p, 1, (int)timeout);
    assert_true(pulse_engine_run_once(engine, 0, 0) >= 0);
  }
}

static void wakeup_makes_the_descriptor_readable(void **state) {
  fixture *fx = *state;
  pulse_engine *engine = fx_ready(fx, NULL);
  fx_until(fx, pulse_engine_poll_timeout_ms(engine) != 0 &&
                   !is_readable(pulse_engine_poll_fd(engine), 0));
  assert_ok(pulse_engine_wakeup(engine));
  assert_true(is_readable(pulse_engine_poll_fd(engine), TS_DEADLINE_MS));
  fx_until(fx, !is_readable(pulse_engine_poll_fd(engine), 0));
}

static void run_once_counts_and_bounds_callbacks(void **state) {
  fixture *fx = *state;
  pulse_engine *engine = fx_ready(fx, NULL);
  collector *c = fx_collector_by(fx, BY_CALLBACK);
  for (int i = 0; i < 10; ++i) {
    assert_ok(pulse_engine_ping(engine, col_target(c, 0), NULL, fx_err()));
  }
  int64_t ran = 0;
  int64_t end = ts_now_ms() + TS_DEADLINE_MS;
  while (col_count(c) < 10) {
    assert_true(ts_now_ms() < end);
    int64_t timeout = pulse_engine_poll_timeout_ms(engine);
    struct pollfd p = {pulse_engine_poll_fd(engine), POLLIN, 0};
    poll(&p, 1, timeout < 0 || timeout > 1000 ? 1000 : (int)timeout);
    size_t before = col_count(c);
    int64_t now = pulse_engine_run_once(engine, 3, 0);
    assert_in_range(now, 0, 3);
    assert_int_equal(col_count(c) - before, now);
    ran += now;
    /* What is left over must not wait for the network. */
    if (ran > 0 && ran < 10) {
      assert_true(pulse_engine_poll_timeout_ms(engine) == 0 ||
                  is_readable(pulse_engine_poll_fd(engine), 1000));
    }
  }
  assert_int_equal(ran, 10);
}

static void slow_callback(const pulse_event *event, void *user_data) {
  (void)event;
  ts_pause_ms(3); /* longer than the budget below */
  ++*(int *)user_data;
}

static void run_once_stops_when_the_budget_is_spent(void **state) {
  fixture *fx = *state;
  pulse_engine *engine = fx_ready(fx, NULL);
  int calls = 0;
  pulse_target target = PULSE_TARGET_INIT;
  target.callback = slow_callback;
  target.user_data = &calls;
  for (int i = 0; i < 5; ++i) assert_ok(pulse_engine_ping(engine, &target, NULL, fx_err()));
  int64_t end = ts_now_ms() + TS_DEADLINE_MS;
  while (calls < 5) {
    assert_true(ts_now_ms() < end);
    int64_t timeout = pulse_engine_poll_timeout_ms(engine);
    struct pollfd p = {pulse_engine_poll_fd(engine), POLLIN, 0};
    poll(&p, 1, timeout < 0 || timeout > 1000 ? 1000 : (int)timeout);
    assert_in_range(pulse_engine_run_once(engine, 0, 1000), 0, 1);
  }
}

static void run_once_ends_while_connections_fail_at_once(void **state) {
  fixture *fx = *state;
  pulse_engine_options options = PULSE_ENGINE_OPTIONS_INIT;
  options.url = "unix:///nonexistent/driver_test";
  options.driver = PULSE_DRIVER_MANUAL;
  options.reconnect_min_ms = 1;
  options.reconnect_max_ms = 1;
  pulse_engine *engine = fx_open(fx, &options);
  int64_t end = ts_now_ms() + TS_DEADLINE_MS;
  for (int turns = 0; turns < 100; ++turns) {
    assert_true(ts_now_ms() < end);
    assert_in_range(pulse_engine_run_once(engine, 0, 0), 0, 1);
  }
}

typedef struct meeting {
  pulse_engine *engine;
  int inside; /* atomic */
  int leave;  /* atomic */
  int64_t second;
} meeting;

static void stay_inside(const pulse_event *event, void *user_data) {
  (void)event;
  meeting *m = user_data;
  __atomic_store_n(&m->inside, 1, __ATOMIC_SEQ_CST);
  while (!__atomic_load_n(&m->leave, __ATOMIC_SEQ_CST)) ts_pause_ms(1);
}

static void *run_until_left(void *arg) {
  meeting *m = arg;
  while (!__atomic_load_n(&m->leave, __ATOMIC_SEQ_CST)) {
    pulse_engine_run_once(m->engine, 0, 0);
    ts_pause_ms(1);
  }
  return NULL;
}

static int someone_is_inside(void *arg) {
  return __atomic_load_n(&((meeting *)arg)->inside, __ATOMIC_SEQ_CST);
}

static void a_second_thread_in_run_once_is_told_busy(void **state) {
  fixture *fx = *state;
  meeting m = {fx_ready(fx, NULL), 0, 0, 0};
  pulse_target target = PULSE_TARGET_INIT;
  target.callback = stay_inside;
  target.user_data = &m;
  assert_ok(pulse_engine_ping(m.engine, &target, NULL, fx_err()));
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, run_until_left, &m), 0);
  int came = ts_wait_until(someone_is_inside, &m, TS_DEADLINE_MS);
  m.second = pulse_engine_run_once(m.engine, 0, 0);
  __atomic_store_n(&m.leave, 1, __ATOMIC_SEQ_CST);
  pthread_join(thread, NULL);
  assert_true(came);
  assert_int_equal(m.second, PULSE_ERR_BUSY);
  assert_true(pulse_engine_run_once(m.engine, 0, 0) >= 0);
}

static void run_once_after_close_says_closed(void **state) {
  fixture *fx = *state;
  pulse_engine *engine = fx_ready(fx, NULL);
  assert_ok(pulse_engine_close_wait(engine, TS_DEADLINE_MS, fx_err()));
  assert_int_equal(pulse_engine_run_once(engine, 0, 0), PULSE_ERR_CLOSED);
}

static void close_needs_only_run_once(void **state) {
  fixture *fx = *state;
  pulse_engine *engine = fx_ready(fx, NULL);
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  collector *c = fx_collector(fx);
  fx_sink(fx, stream, "g", NULL, c);
  assert_ok(pulse_engine_close(engine));
  fx_until(fx, pulse_engine_run_once(engine, 0, 0) == PULSE_ERR_CLOSED);
  col_wait(c, PULSE_EVENT_CLOSED, 0);
}

static void wait_form(void *arg) {
  reentrance *r = arg;
  r->ping = pulse_engine_ping_wait(r->engine, NULL, TS_DEADLINE_MS, NULL);
}

static void wait_forms_on_another_thread_need_only_the_host_to_drive(void **state) {
  fixture *fx = *state;
  reentrance r = {.engine = fx_ready(fx, NULL), .ping = 99};
  fx_on_thread(fx, wait_form, &r);
  assert_int_equal(r.ping, PULSE_OK);
}

/* --- forked children ------------------------------------------------------- */

/* Runs in the child; the exit status is the number of the first wrong answer. */
static int check_forked(pulse_engine *engine, pulse_stream *stream, pulse_reader *reader,
                        pulse_sink *sink) {
  const pulse_status forked = PULSE_ERR_FORKED;
  const pulse_event_id id = {1, 1};
  const pulse_ack_handle ack = {1, 1, 1, {1, 1}};
  pulse_stream_info info = {.size = sizeof info};
  pulse_stream *made = NULL;
  if (pulse_engine_ping(engine, NULL, NULL, NULL) != forked) return 1;
  if (pulse_engine_ping_wait(engine, NULL, 1000, NULL) != forked) return 2;
  if (pulse_engine_ready_wait(engine, 1000, NULL) != forked) return 3;
  if (pulse_stream_open(engine, "x", 1, NULL, &made, NULL) != forked) return 4;
  if (pulse_stream_add(stream, "n", 1, "p", 1, NULL, NULL, NULL, NULL) != forked) return 5;
  if (pulse_stream_add_wait(stream, "n", 1, "p", 1, NULL, NULL, 1000, NULL) != forked) return 6;
  if (pulse_stream_remove(stream, &id, 1, NULL, NULL, NULL) != forked) return 7;
  if (pulse_stream_info_wait(stream, &info, 1000, NULL) != forked) return 8;
  if (pulse_reader_pause(reader) != forked) return 9;
  if (pulse_reader_close_wait(reader, 1000, NULL) != forked) return 10;
  if (pulse_sink_ack(sink, &ack, 1, NULL, NULL, NULL) != forked) return 11;
  if (pulse_sink_close_wait(sink, 1000, NULL) != forked) return 12;
  if (pulse_engine_close_wait(engine, 1000, NULL) != forked) return 13;
  if (pulse_engine_close(engine) != forked) return 14;
  /* Giving handles back must neither hang nor disturb the parent. */
  pulse_sink_unref(pulse_sink_ref(sink));
  pulse_reader_unref(pulse_reader_ref(reader));
  pulse_stream_unref(pulse_stream_ref(stream));
  pulse_engine_unref(pulse_engine_ref(engine));
  return 0;
}

static int child_opens_its_own(const char *url) {
  pulse_engine_options options = PULSE_ENGINE_OPTIONS_INIT;
  options.url = url;
  /* Sanitizers cannot start threads after a fork. */
  options.driver = ts_is_sanitized() ? PULSE_DRIVER_MANUAL : PULSE_DRIVER_THREAD;
  pulse_engine *engine = NULL;
  if (pulse_engine_open(&options, &engine, NULL) != PULSE_OK) return 20;
  if (pulse_engine_ping_wait(engine, NULL, TS_DEADLINE_MS, NULL) != PULSE_OK) return 21;
  if (pulse_engine_close_wait(engine, TS_DEADLINE_MS, NULL) != PULSE_OK) return 22;
  pulse_engine_unref(engine);
  return 0;
}

static int wait_child(pid_t child) {
  int status = 0;
  int64_t end = ts_now_ms() + TS_DEADLINE_MS;
  while (waitpid(child, &status, WNOHANG) == 0) {
    if (ts_now_ms() > end) {
      kill(child, SIGKILL);
      waitpid(child, &status, 0);
      return 100;
    }
    ts_pause_ms(1);
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void a_forked_child_is_told_so(void **state) {
  fixture *fx = *state;
  pulse_engine *engine = fx_ready(fx, NULL);
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  collector *c = fx_collector(fx);
  pulse_reader *reader = fx_reader(fx, stream, NULL, c);
  pulse_sink *sink = fx_sink(fx, stream, "g", NULL, c);
  const char *url = ts_server_url(fx->server);
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    int wrong = check_forked(engine, stream, reader, sink);
    if (wrong == 0) wrong = child_opens_its_own(url);
    _exit(wrong);
  }
  int wrong = wait_child(child);
  if (wrong != 0) fail_msg("the child found number %d wrong", wrong);
  /* The parent goes on as if nothing had happened. */
  fx_add(stream, "n", "p");
  fx_until(fx, col_count_kind(c, PULSE_EVENT_MESSAGE) == 2);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      BOTH_DRIVERS(blocking_calls_in_an_inline_callback_are_reentrant),
      BOTH_DRIVERS(dispatched_callbacks_may_block),
      THREAD_ONLY(the_thread_starts_with_the_hook_and_blocks_signals),
      THREAD_ONLY(waiting_may_spin),
      THREAD_ONLY(manual_calls_are_not_for_thread_engines),
      MANUAL_ONLY(a_manual_engine_starts_no_thread),
      MANUAL_ONLY(nothing_happens_unless_it_is_run),
      MANUAL_ONLY(the_descriptor_and_the_timeout_say_when_to_run),
      MANUAL_ONLY(wakeup_makes_the_descriptor_readable),
      MANUAL_ONLY(run_once_counts_and_bounds_callbacks),
      MANUAL_ONLY(run_once_stops_when_the_budget_is_spent),
      MANUAL_ONLY(run_once_ends_while_connections_fail_at_once),
      MANUAL_ONLY(a_second_thread_in_run_once_is_told_busy),
      MANUAL_ONLY(run_once_after_close_says_closed),
      MANUAL_ONLY(close_needs_only_run_once),
      BOTH_DRIVERS(wait_forms_on_another_thread_need_only_the_host_to_drive),
      BOTH_DRIVERS(a_forked_child_is_told_so),
  };
  return cmocka_run_group_tests_name("drivers", tests, fx_group_setup, fx_group_teardown);
}
