/* queue.h: polling, dispatching, descriptor, wake-up, close. */
#include <poll.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fixture.h"

static bool is_readable(int fd, int timeout_ms) {
  struct pollfd p = {fd, POLLIN, 0};
  return poll(&p, 1, timeout_ms) == 1 && (p.revents & POLLIN) != 0;
}

/* A queue that fx_pump leaves alone. */
static collector *held(fixture *fx, delivery by) {
  collector *c = fx_collector_by(fx, by);
  c->hold = true;
  return c;
}

static void ping(fixture *fx, collector *c, uint64_t token) {
  if (fx->engine == NULL) fx_ready(fx, NULL);
  assert_ok(pulse_engine_ping(fx->engine, col_target(c, token), NULL, fx_err()));
}

/* `count` completions wait in the queue. */
static void fill(fixture *fx, collector *c, size_t count) {
  for (size_t i = 0; i < count; ++i) ping(fx, c, i);
  fx_until(fx, pulse_queue_size(c->queue) == count);
}

static void an_empty_queue_gives_nothing(void **state) {
  fixture *fx = *state;
  collector *c = held(fx, BY_POLL);
  pulse_event event;
  assert_int_equal(pulse_queue_poll(c->queue, &event, sizeof event, 1, 0), 0);
  assert_int_equal(pulse_queue_poll(c->queue, &event, sizeof event, 1, 10), 0);
  assert_int_equal(pulse_queue_dispatch(c->queue, 0, 0), 0);
  assert_int_equal(pulse_queue_dispatch(c->queue, 0, 10), 0);
  assert_int_equal(pulse_queue_size(c->queue), 0);
}

static void bad_arguments_are_refused(void **state) {
  fixture *fx = *state;
  collector *c = held(fx, BY_POLL);
  fill(fx, c, 1);
  pulse_event event;
  assert_int_equal(pulse_queue_poll(c->queue, &event, sizeof event, 0, 0), PULSE_ERR_INVALID);
  assert_int_equal(pulse_queue_poll(c->queue, NULL, sizeof event, 1, 0), PULSE_ERR_INVALID);
  assert_int_equal(pulse_queue_poll(c->queue, &event, 0, 1, 0), PULSE_ERR_INVALID);
  assert_int_equal(pulse_queue_poll(c->queue, &event, sizeof(size_t) - 1, 1, 0), PULSE_ERR_INVALID);
  assert_int_equal(pulse_queue_poll(c->queue, &event, sizeof event, 1, 0), 1);
}

static void poll_gives_batches_in_order(void **state) {
  fixture *fx = *state;
  collector *c = held(fx, BY_POLL);
  fill(fx, c, 10);
  pulse_event events[4];
  uint64_t next = 0;
  const int64_t expected[] = {4, 4, 2, 0};
  for (int round = 0; round < 4; ++round) {
    assert_int_equal(pulse_queue_poll(c->queue, events, sizeof events[0], 4, 0), expected[round]);
    for (int64_t i = 0; i < expected[round]; ++i) {
      assert_int_equal(events[i].token, next++);
      assert_int_equal(events[i].kind, PULSE_EVENT_PONG);
      assert_int_equal(events[i].size, sizeof events[0]);
    }
  }
  assert_int_equal(pulse_queue_size(c->queue), 0);
}

/* A newer caller's elements are larger, an older one's smaller: the stride is
 * the caller's, and nothing is written beyond it. */
static void elements_lie_event_size_apart(void **state) {
  fixture *fx = *state;
  collector *c = held(fx, BY_POLL);
  fill(fx, c, 3);
  struct larger {
    pulse_event event;
    unsigned char tail[40];
  } events[3];
  memset(events, 0x5a, sizeof events);
  assert_int_equal(pulse_queue_poll(c->queue, &events[0].event, sizeof events[0], 3, 0), 3);
  for (uint64_t i = 0; i < 3; ++i) {
    assert_int_equal(events[i].event.token, i);
    assert_int_equal(events[i].event.kind, PULSE_EVENT_PONG);
    assert_true(events[i].event.size <= sizeof events[0]);
    assert_true(events[i].event.size >= sizeof(pulse_event));
  }
}

static void poll_waits_for_the_first(void **state) {
  fixture *fx = *state;
  collector *c = held(fx, BY_POLL);
  ping(fx, c, 42);
  pulse_event event;
  assert_int_equal(pulse_queue_poll(c->queue, &event, sizeof event, 1, TS_DEADLINE_MS), 1);
  assert_int_equal(event.token, 42);
  ping(fx, c, 43);
  assert_int_equal(pulse_queue_poll(c->queue, &event, sizeof event, 1, -1), 1);
  assert_int_equal(event.token, 43);
}

typedef struct where {
  pthread_t thread;
  int calls;
} where;

static void note_thread(const pulse_event *event, void *user_data) {
  (void)event;
  where *w = user_data;
  w->thread = pthread_self();
  ++w->calls;
}

static void dispatch_runs_on_the_calling_thread(void **state) {
  fixture *fx = *state;
  collector *c = held(fx, BY_DISPATCH);
  fx_ready(fx, NULL);
  where w = {0, 0};
  pulse_target target = PULSE_TARGET_INIT;
  target.queue = c->queue;
  target.callback = note_thread;
  target.user_data = &w;
  for (int i = 0; i < 5; ++i) assert_ok(pulse_engine_ping(fx->engine, &target, NULL, fx_err()));
  fx_until(fx, pulse_queue_size(c->queue) == 5);
  assert_int_equal(w.calls, 0);
  assert_int_equal(pulse_queue_dispatch(c->queue, 2, 0), 2);
  assert_int_equal(w.calls, 2);
  assert_true(pthread_equal(w.thread, pthread_self()));
  assert_int_equal(pulse_queue_dispatch(c->queue, 0, 0), 3);
  assert_int_equal(w.calls, 5);
  assert_int_equal(pulse_queue_dispatch(c->queue, 0, 0), 0);
}

/* One queue may serve both ways; each takes its own. */
static void polled_and_dispatched_events_share_a_queue(void **state) {
  fixture *fx = *state;
  collector *c = held(fx, BY_POLL);
  fill(fx, c, 2);
  where w = {0, 0};
  pulse_target target = PULSE_TARGET_INIT;
  target.queue = c->queue;
  target.callback = note_thread;
  target.user_data = &w;
  assert_ok(pulse_engine_ping(fx->engine, &target, NULL, fx_err()));
  fx_until(fx, pulse_queue_size(c->queue) == 3);
  pulse_event events[4];
  assert_int_equal(pulse_queue_poll(c->queue, events, sizeof events[0], 4, 0), 2);
  assert_int_equal(w.calls, 0);
  assert_int_equal(pulse_queue_size(c->queue), 1);
  assert_int_equal(pulse_queue_poll(c->queue, events, sizeof events[0], 4, 0), 0);
  assert_int_equal(pulse_queue_dispatch(c->queue, 0, 0), 1);
  assert_int_equal(w.calls, 1);
}

static void the_descriptor_is_readable_while_there_is_something(void **state) {
  fixture *fx = *state;
  collector *c = held(fx, BY_POLL);
  int fd = pulse_queue_fd(c->queue);
  assert_true(fd >= 0);
  assert_int_equal(pulse_queue_fd(c->queue), fd);
  assert_false(is_readable(fd, 0));
  fill(fx, c, 2);
  assert_true(is_readable(fd, 1000));
  pulse_event event;
  assert_int_equal(pulse_queue_poll(c->queue, &event, sizeof event, 1, 0), 1);
  assert_true(is_readable(fd, 1000)); /* one is left */
  assert_int_equal(pulse_queue_poll(c->queue, &event, sizeof event, 1, 0), 1);
  assert_false(is_readable(fd, 0));
  fill(fx, c, 1);
  assert_true(is_readable(fd, 1000));
}

static void a_descriptor_made_late_is_readable_at_once(void **state) {
  fixture *fx = *state;
  collector *c = held(fx, BY_DISPATCH);
  fill(fx, c, 1);
  int fd = pulse_queue_fd(c->queue);
  assert_true(is_readable(fd, 1000));
  assert_int_equal(pulse_queue_dispatch(c->queue, 0, 0), 1);
  assert_false(is_readable(fd, 0));
}

static void count_up(void *user_data) { __atomic_add_fetch((int *)user_data, 1, __ATOMIC_SEQ_CST); }
static int read_count(int *count) { return __atomic_load_n(count, __ATOMIC_SEQ_CST); }

static void wakeup_comes_once_per_fill(void **state) {
  fixture *fx = *state;
  collector *c = held(fx, BY_POLL);
  int wakeups = 0;
  assert_ok(pulse_queue_set_wakeup(c->queue, count_up, &wakeups, NULL));
  fill(fx, c, 5);
  assert_int_equal(read_count(&wakeups), 1);
  pulse_event events[5];
  assert_int_equal(pulse_queue_poll(c->queue, events, sizeof events[0], 5, 0), 5);
  fill(fx, c, 1);
  assert_int_equal(read_count(&wakeups), 2);
}

static void a_replaced_wakeup_is_destroyed_and_not_called(void **state) {
  fixture *fx = *state;
  collector *c = held(fx, BY_POLL);
  int first = 0, second = 0;
  /* One counter for calls and destroy: they are told apart by when they happen. */
  assert_ok(pulse_queue_set_wakeup(c->queue, count_up, &first, count_up));
  assert_ok(pulse_queue_set_wakeup(c->queue, count_up, &second, count_up));
  assert_int_equal(read_count(&first), 1);
  fill(fx, c, 1);
  assert_int_equal(read_count(&first), 1);
  assert_int_equal(read_count(&second), 1);
  assert_ok(pulse_queue_set_wakeup(c->queue, NULL, NULL, NULL));
  assert_int_equal(read_count(&second), 2);
  pulse_event event;
  assert_int_equal(pulse_queue_poll(c->queue, &event, sizeof event, 1, 0), 1);
  fill(fx, c, 1);
  assert_int_equal(read_count(&second), 2);
}

static void the_last_unref_destroys_the_wakeup(void **state) {
  (void)state;
  int destroyed = 0;
  pulse_queue *queue = NULL;
  assert_ok(pulse_queue_new(&queue, fx_err()));
  assert_ok(pulse_queue_set_wakeup(queue, count_up, &destroyed, count_up));
  pulse_queue_unref(queue);
  assert_int_equal(read_count(&destroyed), 1);
}

static void a_closed_queue_gives_what_it_has_and_then_says_closed(void **state) {
  fixture *fx = *state;
  collector *c = held(fx, BY_POLL);
  fill(fx, c, 2);
  assert_ok(pulse_queue_close(c->queue));
  assert_ok(pulse_queue_close(c->queue));
  pulse_event event;
  assert_int_equal(pulse_queue_poll(c->queue, &event, sizeof event, 1, 0), 1);
  assert_int_equal(pulse_queue_poll(c->queue, &event, sizeof event, 1, -1), 1);
  assert_int_equal(pulse_queue_poll(c->queue, &event, sizeof event, 1, -1), PULSE_ERR_CLOSED);
  assert_int_equal(pulse_queue_poll(c->queue, &event, sizeof event, 1, 0), PULSE_ERR_CLOSED);
  assert_int_equal(pulse_queue_dispatch(c->queue, 0, -1), PULSE_ERR_CLOSED);
}

/* Nobody is left to take them, but targets are still destroyed (teardown
 * checks) and no operation counts for ever. */
static void events_for_a_closed_queue_are_dropped(void **state) {
  fixture *fx = *state;
  collector *c = held(fx, BY_POLL);
  fx_ready(fx, NULL);
  for (int i = 0; i < 5; ++i) ping(fx, c, 0);
  assert_ok(pulse_queue_close(c->queue));
  pulse_engine_metrics metrics = {.size = sizeof metrics};
  pulse_event event;
  while (pulse_queue_poll(c->queue, &event, sizeof event, 1, 0) == 1) {
  }
  fx_until(fx, pulse_engine_get_metrics(fx->engine, &metrics) == PULSE_OK && metrics.inflight == 0);
  assert_int_equal(pulse_queue_size(c->queue), 0);
}

/* What waits holds its target, and that the queue: the last unref of the host
 * ends it all. */
static void unref_drops_what_nobody_took(void **state) {
  fixture *fx = *state;
  int destroyed = 0;
  fx_ready(fx, NULL);
  for (int dispatched = 0; dispatched < 2; ++dispatched) {
    pulse_target target = PULSE_TARGET_INIT;
    assert_ok(pulse_queue_new(&target.queue, fx_err()));
    target.callback = dispatched ? note_thread : NULL;
    target.user_data = &destroyed;
    target.destroy = count_up;
    for (int i = 0; i < 3; ++i) {
      assert_ok(pulse_engine_ping(fx->engine, &target, NULL, fx_err()));
    }
    fx_until(fx, pulse_queue_size(target.queue) == 3);
    if (!dispatched) { /* one is taken, its views are in use */
      pulse_event event;
      assert_int_equal(pulse_queue_poll(target.queue, &event, sizeof event, 1, 0), 1);
    }
    assert_int_equal(read_count(&destroyed), 3 * dispatched);
    pulse_queue_unref(target.queue);
    assert_int_equal(read_count(&destroyed), 3 * dispatched + 3);
  }
  pulse_engine_metrics metrics = {.size = sizeof metrics};
  assert_ok(pulse_engine_get_metrics(fx->engine, &metrics));
  assert_int_equal(metrics.inflight, 0);
}

typedef struct waiter {
  pulse_queue *queue;
  int started; /* atomic */
  int64_t answer;
} waiter;

static void *poll_for_ever(void *arg) {
  waiter *w = arg;
  pulse_event event;
  __atomic_store_n(&w->started, 1, __ATOMIC_SEQ_CST);
  w->answer = pulse_queue_poll(w->queue, &event, sizeof event, 1, -1);
  return NULL;
}
static void *dispatch_for_ever(void *arg) {
  waiter *w = arg;
  __atomic_store_n(&w->started, 1, __ATOMIC_SEQ_CST);
  w->answer = pulse_queue_dispatch(w->queue, 0, -1);
  return NULL;
}

static void close_wakes_those_who_wait(void **state) {
  fixture *fx = *state;
  void *(*const forms[])(void *) = {poll_for_ever, dispatch_for_ever};
  for (int i = 0; i < 2; ++i) {
    collector *c = held(fx, BY_POLL);
    waiter w = {c->queue, 0, 0};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, forms[i], &w), 0);
    fx_until(fx, __atomic_load_n(&w.started, __ATOMIC_SEQ_CST) == 1);
    pulse_queue_close(c->queue);
    pthread_join(thread, NULL); /* the runner's timeout catches it if it hangs */
    assert_int_equal(w.answer, PULSE_ERR_CLOSED);
  }
}

static int another_is_polling(void *arg) {
  waiter *w = arg;
  pulse_event event;
  return pulse_queue_poll(w->queue, &event, sizeof event, 1, 0) == PULSE_ERR_BUSY;
}
static int another_is_dispatching(void *arg) {
  waiter *w = arg;
  return pulse_queue_dispatch(w->queue, 0, 0) == PULSE_ERR_BUSY;
}

static void a_second_thread_is_told_busy(void **state) {
  fixture *fx = *state;
  void *(*const forms[])(void *) = {poll_for_ever, dispatch_for_ever};
  int (*const busy[])(void *) = {another_is_polling, another_is_dispatching};
  for (int i = 0; i < 2; ++i) {
    collector *c = held(fx, BY_POLL);
    waiter w = {c->queue, 0, 0};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, forms[i], &w), 0);
    int told = ts_wait_until(busy[i], &w, TS_DEADLINE_MS);
    pulse_queue_close(c->queue);
    pthread_join(thread, NULL);
    assert_true(told);
  }
}

/* --- views ----------------------------------------------------------------- */

static void views_last_until_the_next_poll(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  collector *c = held(fx, BY_POLL);
  fx_reader(fx, stream, NULL, c);
  pulse_event events[64];
  fx_until(fx, pulse_queue_size(c->queue) == 1); /* READY */
  assert_int_equal(pulse_queue_poll(c->queue, events, sizeof events[0], 64, 0), 1);
  char payload[32];
  for (int i = 0; i < 20; ++i) {
    snprintf(payload, sizeof payload, "payload %d", i);
    fx_add_topic(stream, "name", payload, "topic");
  }
  fx_until(fx, pulse_queue_size(c->queue) == 20);
  assert_int_equal(pulse_queue_poll(c->queue, events, sizeof events[0], 64, 0), 20);
  /* More arrive meanwhile, and the batch stays as it is. */
  for (int i = 0; i < 50; ++i) fx_add(stream, "other name", "other payload, and longer");
  fx_until(fx, pulse_queue_size(c->queue) == 50);
  for (int i = 0; i < 20; ++i) {
    snprintf(payload, sizeof payload, "payload %d", i);
    assert_text(&events[i], payload, payload);
    assert_text(&events[i], name, "name");
    assert_text(&events[i], topic, "topic");
    assert_text(&events[i], stream, "s");
  }
}

static void kept_payloads_outlive_all(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = fx_stream(fx, "s", NULL);
  collector *c = held(fx, BY_POLL);
  fx_reader(fx, stream, NULL, c);
  static char large[100000];
  memset(large, 'L', sizeof large);
  fx_add(stream, "small", "few bytes");
  assert_ok(pulse_stream_add_wait(stream, "large", 5, large, sizeof large, NULL, NULL,
                                  TS_DEADLINE_MS, fx_err()));
  fx_until(fx, pulse_queue_size(c->queue) == 3);
  pulse_event events[3];
  assert_int_equal(pulse_queue_poll(c->queue, events, sizeof events[0], 3, 0), 3);
  assert_null(pulse_event_keep(&events[0])); /* READY has no payload */
  pulse_bytes *small_kept = pulse_event_keep(&events[1]);
  pulse_bytes *large_kept = pulse_event_keep(&events[2]);
  pulse_bytes *again = pulse_event_keep(&events[2]);
  assert_non_null(small_kept);
  assert_non_null(large_kept);
  assert_non_null(again);
  for (int i = 0; i < 100; ++i) fx_add(stream, "n", "something else");
  fx_until(fx, pulse_queue_size(c->queue) == 100);
  col_drain(c);
  assert_ok(pulse_engine_close_wait(fx->engine, TS_DEADLINE_MS, fx_err()));
  assert_int_equal(pulse_bytes_size(small_kept), 9);
  assert_memory_equal(pulse_bytes_data(small_kept), "few bytes", 9);
  assert_int_equal(pulse_bytes_size(large_kept), sizeof large);
  assert_memory_equal(pulse_bytes_data(large_kept), large, sizeof large);
  assert_memory_equal(pulse_bytes_data(again), large, sizeof large);
  pulse_bytes_unref(small_kept);
  pulse_bytes_unref(large_kept);
  pulse_bytes_unref(again);
}

/* A queue belongs to no engine. */
/* The descriptor is one and the same in both processes. */
static void a_forked_child_leaves_its_parents_queue_alone(void **state) {
  fixture *fx = *state;
  collector *c = held(fx, BY_POLL);
  const int fd = pulse_queue_fd(c->queue);
  for (int waiting = 0; waiting < 2; ++waiting) {
    if (waiting) fill(fx, c, 1);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
      alarm(60); /* rather than hanging for ever */
      pulse_event event;
      int destroyed = 0;
      if (pulse_queue_poll(c->queue, &event, sizeof event, 1, -1) != PULSE_ERR_FORKED) _exit(1);
      if (pulse_queue_dispatch(c->queue, 0, -1) != PULSE_ERR_FORKED) _exit(2);
      if (pulse_queue_fd(c->queue) != -1) _exit(3);
      if (pulse_queue_size(c->queue) != 0) _exit(4);
      if (pulse_queue_set_wakeup(c->queue, count_up, &destroyed, count_up) != PULSE_ERR_FORKED) {
        _exit(5);
      }
      if (destroyed != 1) _exit(6);
      if (pulse_queue_close(c->queue) != PULSE_ERR_FORKED) _exit(7);
      /* No engine of the child's may fill it either. */
      pulse_engine_options options = PULSE_ENGINE_OPTIONS_INIT;
      options.url = ts_server_url(fx->server);
      options.driver = PULSE_DRIVER_MANUAL;
      pulse_engine *own = NULL;
      if (pulse_engine_open(&options, &own, NULL) != PULSE_OK) _exit(8);
      pulse_target target = PULSE_TARGET_INIT;
      target.queue = c->queue;
      target.user_data = &destroyed;
      target.destroy = count_up;
      if (pulse_engine_ping(own, &target, NULL, NULL) != PULSE_ERR_FORKED) _exit(9);
      if (destroyed != 2) _exit(10);
      pulse_engine_unref(own);
      pulse_queue_unref(c->queue);
      _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(is_readable(fd, 0), waiting);
  }
  pulse_event event;
  assert_int_equal(pulse_queue_poll(c->queue, &event, sizeof event, 1, 0), 1);
  assert_false(is_readable(fd, 0));
}

static void one_queue_serves_two_engines(void **state) {
  fixture *fx = *state;
  pulse_engine *one = fx_ready(fx, NULL);
  pulse_engine *two = fx_ready(fx, NULL);
  collector *c = fx_collector_by(fx, BY_POLL);
  assert_ok(pulse_engine_ping(one, col_target(c, 1), NULL, fx_err()));
  assert_ok(pulse_engine_ping(two, col_target(c, 2), NULL, fx_err()));
  fx_until(fx, col_count(c) == 2);
  assert_int_equal(col_at(c, 0)->token + col_at(c, 1)->token, 3);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      THREAD_ONLY(an_empty_queue_gives_nothing),
      BOTH_DRIVERS(bad_arguments_are_refused),
      BOTH_DRIVERS(poll_gives_batches_in_order),
      BOTH_DRIVERS(elements_lie_event_size_apart),
      THREAD_ONLY(poll_waits_for_the_first),
      BOTH_DRIVERS(dispatch_runs_on_the_calling_thread),
      BOTH_DRIVERS(polled_and_dispatched_events_share_a_queue),
      BOTH_DRIVERS(the_descriptor_is_readable_while_there_is_something),
      BOTH_DRIVERS(a_descriptor_made_late_is_readable_at_once),
      BOTH_DRIVERS(wakeup_comes_once_per_fill),
      BOTH_DRIVERS(a_replaced_wakeup_is_destroyed_and_not_called),
      THREAD_ONLY(the_last_unref_destroys_the_wakeup),
      BOTH_DRIVERS(a_closed_queue_gives_what_it_has_and_then_says_closed),
      BOTH_DRIVERS(events_for_a_closed_queue_are_dropped),
      BOTH_DRIVERS(unref_drops_what_nobody_took),
      THREAD_ONLY(close_wakes_those_who_wait),
      THREAD_ONLY(a_second_thread_is_told_busy),
      BOTH_DRIVERS(views_last_until_the_next_poll),
      BOTH_DRIVERS(kept_payloads_outlive_all),
      BOTH_DRIVERS(one_queue_serves_two_engines),
      BOTH_DRIVERS(a_forked_child_leaves_its_parents_queue_alone),
  };
  return cmocka_run_group_tests_name("queues", tests, fx_group_setup, fx_group_teardown);
}
