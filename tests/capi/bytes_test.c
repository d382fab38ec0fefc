/* bytes.h: reference-counted, immutable byte strings. */
#include <pthread.h>

#include "fixture.h"

static int g_destroyed;
static void *g_destroyed_with;

static void on_destroy(void *user_data) {
  ++g_destroyed;
  g_destroyed_with = user_data;
}

static int reset(void **state) {
  (void)state;
  g_destroyed = 0;
  g_destroyed_with = NULL;
  return 0;
}

static void new_copies(void **state) {
  (void)state;
  char data[] = "a\0b\xff";
  pulse_bytes *bytes = pulse_bytes_new(data, sizeof data);
  assert_non_null(bytes);
  assert_ptr_not_equal(pulse_bytes_data(bytes), data);
  data[0] = 'x';
  assert_int_equal(pulse_bytes_size(bytes), 5);
  assert_memory_equal(pulse_bytes_data(bytes), "a\0b\xff", 5);
  pulse_bytes_unref(bytes);
}

static void empty_is_allowed(void **state) {
  (void)state;
  pulse_bytes *bytes = pulse_bytes_new(NULL, 0);
  assert_non_null(bytes);
  assert_int_equal(pulse_bytes_size(bytes), 0);
  pulse_bytes_unref(bytes);
  bytes = pulse_bytes_new("", 0);
  assert_non_null(bytes);
  assert_int_equal(pulse_bytes_size(bytes), 0);
  pulse_bytes_unref(bytes);
}

static void null_with_a_size_is_refused(void **state) {
  (void)state;
  assert_null(pulse_bytes_new(NULL, 1));
}

static void more_than_there_is_memory_gives_null(void **state) {
  (void)state;
  assert_null(pulse_bytes_new("x", SIZE_MAX));
  assert_null(pulse_bytes_new("x", SIZE_MAX - 16));
}

static void null_is_safe(void **state) {
  (void)state;
  assert_null(pulse_bytes_data(NULL));
  assert_int_equal(pulse_bytes_size(NULL), 0);
  assert_null(pulse_bytes_ref(NULL));
  pulse_bytes_unref(NULL);
}

static void ref_returns_the_same_and_counts(void **state) {
  (void)state;
  static const char text[] = "static";
  int mark;
  pulse_bytes *bytes = pulse_bytes_new_static(text, 6, &mark, on_destroy);
  assert_non_null(bytes);
  assert_ptr_equal(pulse_bytes_ref(bytes), bytes);
  pulse_bytes_unref(bytes);
  assert_int_equal(g_destroyed, 0);
  assert_memory_equal(pulse_bytes_data(bytes), "static", 6);
  pulse_bytes_unref(bytes);
  assert_int_equal(g_destroyed, 1);
  assert_ptr_equal(g_destroyed_with, &mark);
}

static void static_memory_is_not_copied(void **state) {
  (void)state;
  static const char text[] = "static";
  pulse_bytes *bytes = pulse_bytes_new_static(text, 6, NULL, NULL);
  assert_non_null(bytes);
  assert_ptr_equal(pulse_bytes_data(bytes), text);
  assert_int_equal(pulse_bytes_size(bytes), 6);
  pulse_bytes_unref(bytes);
}

static void failing_new_static_destroys_at_once(void **state) {
  (void)state;
  int mark;
  assert_null(pulse_bytes_new_static(NULL, 1, &mark, on_destroy));
  assert_int_equal(g_destroyed, 1);
  assert_ptr_equal(g_destroyed_with, &mark);
  assert_null(pulse_bytes_new_static(NULL, 1, &mark, NULL));
}

static void *ref_and_unref(void *arg) {
  for (int i = 0; i < 20000; ++i) {
    pulse_bytes_ref(arg);
    pulse_bytes_unref(arg);
  }
  pulse_bytes_unref(arg);
  return NULL;
}

static void counting_works_from_many_threads(void **state) {
  (void)state;
  enum { kThreads = 4 };
  pthread_t threads[kThreads];
  pulse_bytes *bytes = pulse_bytes_new_static("x", 1, NULL, on_destroy);
  for (int i = 0; i < kThreads; ++i) {
    pulse_bytes_ref(bytes);
    assert_int_equal(pthread_create(&threads[i], NULL, ref_and_unref, bytes), 0);
  }
  for (int i = 0; i < kThreads; ++i) pthread_join(threads[i], NULL);
  assert_int_equal(g_destroyed, 0);
  pulse_bytes_unref(bytes);
  assert_int_equal(g_destroyed, 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(new_copies, reset),
      cmocka_unit_test_setup(empty_is_allowed, reset),
      cmocka_unit_test_setup(null_with_a_size_is_refused, reset),
      cmocka_unit_test_setup(more_than_there_is_memory_gives_null, reset),
      cmocka_unit_test_setup(null_is_safe, reset),
      cmocka_unit_test_setup(ref_returns_the_same_and_counts, reset),
      cmocka_unit_test_setup(static_memory_is_not_copied, reset),
      cmocka_unit_test_setup(failing_new_static_destroys_at_once, reset),
      cmocka_unit_test_setup(counting_works_from_many_threads, reset),
  };
  return cmocka_run_group_tests_name("bytes", tests, NULL, NULL);
}
