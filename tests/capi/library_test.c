/* library.h: version, features, allocator. */
#include <pthread.h>
#include <stdatomic.h>

#include "fixture.h"

static void version_is_that_of_the_header(void **state) {
  (void)state;
  char text[32];
  snprintf(text, sizeof text, "%d.%d.%d", PULSE_VERSION_MAJOR, PULSE_VERSION_MINOR,
           PULSE_VERSION_PATCH);
  assert_string_equal(text, PULSE_VERSION_STRING);
  assert_string_equal(pulse_version_string(), PULSE_VERSION_STRING);
  assert_int_equal(pulse_version_number(), PULSE_VERSION_MAJOR * 1000000 +
                                               PULSE_VERSION_MINOR * 1000 + PULSE_VERSION_PATCH);
}

static void version_check_follows_the_rule(void **state) {
  (void)state;
  const uint32_t major = PULSE_VERSION_MAJOR, minor = PULSE_VERSION_MINOR,
                 patch = PULSE_VERSION_PATCH;
  assert_int_equal(pulse_version_check(major, minor, patch), PULSE_OK);
  assert_int_equal(pulse_version_check(major, minor, patch + 1), PULSE_ERR_UNSUPPORTED);
  assert_int_equal(pulse_version_check(major, minor + 1, 0), PULSE_ERR_UNSUPPORTED);
  assert_int_equal(pulse_version_check(major + 1, 0, 0), PULSE_ERR_UNSUPPORTED);
  assert_int_equal(pulse_version_check(major + 1, minor, patch), PULSE_ERR_UNSUPPORTED);
  assert_int_equal(pulse_version_check(UINT32_MAX, UINT32_MAX, UINT32_MAX), PULSE_ERR_UNSUPPORTED);
  if (major == 0 && minor > 0) {
    assert_int_equal(pulse_version_check(major, minor - 1, 0), PULSE_ERR_UNSUPPORTED);
  }
}

static void features_that_are_listed_are_had(void **state) {
  (void)state;
  size_t count = 0;
  const char *name;
  while ((name = pulse_feature_list(count)) != NULL) {
    assert_int_equal(pulse_feature_has(name), 1);
    for (size_t i = 0; i < count; ++i) assert_string_not_equal(name, pulse_feature_list(i));
    ++count;
  }
  assert_true(count >= 3);
  assert_null(pulse_feature_list(SIZE_MAX));
}

static void features_that_are_had_are_listed(void **state) {
  (void)state;
  static const char *const known[] = {"tls",   "local",         "streaming",    "maps",
                                      "pools", "thread-driver", "manual-driver"};
  for (size_t i = 0; i < sizeof known / sizeof known[0]; ++i) {
    bool listed = false;
    for (size_t k = 0; pulse_feature_list(k) != NULL; ++k) {
      listed = listed || strcmp(pulse_feature_list(k), known[i]) == 0;
    }
    assert_int_equal(pulse_feature_has(known[i]), listed);
  }
  assert_int_equal(pulse_feature_has("streaming"), 1);
  assert_int_equal(pulse_feature_has("maps"), 1);
  assert_int_equal(pulse_feature_has("pools"), 1);
  assert_int_equal(pulse_feature_has("thread-driver"), 1);
  assert_int_equal(pulse_feature_has("manual-driver"), 1);
}

static void unknown_features_are_not_had(void **state) {
  (void)state;
  assert_int_equal(pulse_feature_has("telepathy"), 0);
  assert_int_equal(pulse_feature_has(""), 0);
  assert_int_equal(pulse_feature_has("TLS"), 0);
  assert_int_equal(pulse_feature_has("tl"), 0);
  assert_int_equal(pulse_feature_has(NULL), 0);
}

/* --- allocator ------------------------------------------------------------- */

static atomic_long g_alive;
static atomic_long g_calls;
static atomic_long g_wrong_context;
static int g_context;

static void check_context(void *context) {
  atomic_fetch_add(&g_calls, 1);
  if (context != &g_context) atomic_fetch_add(&g_wrong_context, 1);
}
static void *count_allocate(void *context, size_t bytes) {
  check_context(context);
  void *memory = malloc(bytes);
  if (memory != NULL) atomic_fetch_add(&g_alive, 1);
  return memory;
}
static void *count_reallocate(void *context, void *memory, size_t bytes) {
  check_context(context);
  void *moved = realloc(memory, bytes);
  if (memory == NULL && moved != NULL) atomic_fetch_add(&g_alive, 1);
  return moved;
}
static void count_free(void *context, void *memory) {
  check_context(context);
  if (memory != NULL) atomic_fetch_sub(&g_alive, 1);
  free(memory);
}
static void *no_memory(void *context, size_t bytes) {
  (void)context;
  (void)bytes;
  return NULL;
}
static void *no_more_memory(void *context, void *memory, size_t bytes) {
  (void)context;
  (void)memory;
  (void)bytes;
  return NULL;
}

static int reset_allocator(void **state) {
  (void)state;
  return pulse_library_set_allocator(NULL, NULL, NULL, NULL);
}

static void allocator_needs_all_or_none(void **state) {
  (void)state;
  assert_int_equal(pulse_library_set_allocator(count_allocate, NULL, NULL, NULL),
                   PULSE_ERR_INVALID);
  assert_int_equal(pulse_library_set_allocator(NULL, count_reallocate, NULL, NULL),
                   PULSE_ERR_INVALID);
  assert_int_equal(pulse_library_set_allocator(NULL, NULL, count_free, NULL), PULSE_ERR_INVALID);
  assert_int_equal(pulse_library_set_allocator(count_allocate, count_reallocate, NULL, NULL),
                   PULSE_ERR_INVALID);
  assert_int_equal(pulse_library_set_allocator(count_allocate, NULL, count_free, NULL),
                   PULSE_ERR_INVALID);
  assert_int_equal(pulse_library_set_allocator(NULL, count_reallocate, count_free, NULL),
                   PULSE_ERR_INVALID);
  assert_int_equal(pulse_library_set_allocator(NULL, NULL, NULL, NULL), PULSE_OK);
}

static void allocator_is_fixed_while_an_object_lives(void **state) {
  (void)state;
  pulse_bytes *bytes = pulse_bytes_new("x", 1);
  assert_int_equal(
      pulse_library_set_allocator(count_allocate, count_reallocate, count_free, &g_context),
      PULSE_ERR_BUSY);
  assert_int_equal(pulse_library_set_allocator(NULL, NULL, NULL, NULL), PULSE_ERR_BUSY);
  pulse_bytes_unref(bytes);
  pulse_queue *queue = NULL;
  assert_ok(pulse_queue_new(&queue, NULL));
  assert_int_equal(pulse_library_set_allocator(NULL, NULL, NULL, NULL), PULSE_ERR_BUSY);
  pulse_queue_unref(queue);
  assert_int_equal(pulse_library_set_allocator(NULL, NULL, NULL, NULL), PULSE_OK);
}

/* Opens, adds, reads and closes against a real server. */
static void use_everything(pulse_driver driver) {
  ts_server *server = ts_server_start(NULL);
  assert_non_null(server);
  pulse_engine_options options = PULSE_ENGINE_OPTIONS_INIT;
  options.url = ts_server_url(server);
  options.driver = driver;
  pulse_engine *engine = NULL;
  assert_ok(pulse_engine_open(&options, &engine, fx_err()));
  pulse_stream *stream = NULL;
  assert_ok(pulse_stream_open(engine, "s", 1, NULL, &stream, fx_err()));
  assert_ok(pulse_stream_add_wait(stream, "n", 1, "p", 1, NULL, NULL, TS_DEADLINE_MS, fx_err()));
  pulse_queue *queue = NULL;
  assert_ok(pulse_queue_new(&queue, fx_err()));
  pulse_target target = PULSE_TARGET_INIT;
  target.queue = queue;
  pulse_sink *sink = NULL;
  assert_ok(pulse_sink_open(stream, "g", 1, NULL, &target, &sink, fx_err()));
  assert_ok(pulse_sink_ready_wait(sink, TS_DEADLINE_MS, fx_err()));
  assert_ok(pulse_sink_close_wait(sink, TS_DEADLINE_MS, fx_err()));
  pulse_sink_unref(sink);
  pulse_stream_unref(stream);
  assert_ok(pulse_engine_close_wait(engine, TS_DEADLINE_MS, fx_err()));
  pulse_engine_unref(engine);
  pulse_queue_unref(queue);
  ts_server_free(server);
}

static void allocator_serves_and_gets_back_all(void **state) {
  (void)state;
  atomic_store(&g_alive, 0);
  atomic_store(&g_calls, 0);
  atomic_store(&g_wrong_context, 0);
  assert_int_equal(
      pulse_library_set_allocator(count_allocate, count_reallocate, count_free, &g_context),
      PULSE_OK);
  use_everything(PULSE_DRIVER_THREAD);
  use_everything(PULSE_DRIVER_MANUAL);
  assert_true(atomic_load(&g_calls) > 20);
  assert_int_equal(atomic_load(&g_wrong_context), 0);
  assert_int_equal(atomic_load(&g_alive), 0);
  long calls = atomic_load(&g_calls);
  assert_int_equal(pulse_library_set_allocator(NULL, NULL, NULL, NULL), PULSE_OK);
  use_everything(PULSE_DRIVER_MANUAL);
  assert_int_equal(atomic_load(&g_calls), calls);
}

static void without_memory_calls_say_so(void **state) {
  (void)state;
  assert_int_equal(pulse_library_set_allocator(no_memory, no_more_memory, count_free, &g_context),
                   PULSE_OK);
  assert_null(pulse_bytes_new("x", 1));
  pulse_queue *queue = NULL;
  assert_status(PULSE_ERR_NO_MEMORY, pulse_queue_new(&queue, fx_err()));
  assert_null(queue);
  pulse_engine *engine = NULL;
  assert_status(PULSE_ERR_NO_MEMORY, pulse_engine_open(NULL, &engine, fx_err()));
  assert_null(engine);
  assert_int_equal(pulse_library_set_allocator(NULL, NULL, NULL, NULL), PULSE_OK);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(version_is_that_of_the_header),
      cmocka_unit_test(version_check_follows_the_rule),
      cmocka_unit_test(features_that_are_listed_are_had),
      cmocka_unit_test(features_that_are_had_are_listed),
      cmocka_unit_test(unknown_features_are_not_had),
      cmocka_unit_test(allocator_needs_all_or_none),
      cmocka_unit_test(allocator_is_fixed_while_an_object_lives),
      cmocka_unit_test_teardown(allocator_serves_and_gets_back_all, reset_allocator),
      cmocka_unit_test_teardown(without_memory_calls_say_so, reset_allocator),
  };
  return cmocka_run_group_tests_name("library", tests, NULL, NULL);
}
