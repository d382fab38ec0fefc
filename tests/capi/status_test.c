/* status.h: codes, their names, and pulse_error. */
#include "fixture.h"

/* Numbers are part of the ABI: written out here, so that none can change. */
static const struct {
  pulse_status value;
  int32_t number;
  const char *name;
} kStatuses[] = {
    {PULSE_OK, 0, "PULSE_OK"},
    {PULSE_ERR_INVALID, -1, "PULSE_ERR_INVALID"},
    {PULSE_ERR_STRUCT_SIZE, -2, "PULSE_ERR_STRUCT_SIZE"},
    {PULSE_ERR_UNKNOWN_OPTION, -3, "PULSE_ERR_UNKNOWN_OPTION"},
    {PULSE_ERR_NO_MEMORY, -4, "PULSE_ERR_NO_MEMORY"},
    {PULSE_ERR_TOO_LARGE, -5, "PULSE_ERR_TOO_LARGE"},
    {PULSE_ERR_UNSUPPORTED, -6, "PULSE_ERR_UNSUPPORTED"},
    {PULSE_ERR_NOT_FOUND, -7, "PULSE_ERR_NOT_FOUND"},
    {PULSE_ERR_AGAIN, -8, "PULSE_ERR_AGAIN"},
    {PULSE_ERR_BUSY, -9, "PULSE_ERR_BUSY"},
    {PULSE_ERR_REENTRANT, -10, "PULSE_ERR_REENTRANT"},
    {PULSE_ERR_FORKED, -11, "PULSE_ERR_FORKED"},
    {PULSE_ERR_CLOSED, -12, "PULSE_ERR_CLOSED"},
    {PULSE_ERR_CANCELLED, -13, "PULSE_ERR_CANCELLED"},
    {PULSE_ERR_TIMEOUT, -14, "PULSE_ERR_TIMEOUT"},
    {PULSE_ERR_INTERNAL, -15, "PULSE_ERR_INTERNAL"},
    {PULSE_ERR_RESOLVE, -30, "PULSE_ERR_RESOLVE"},
    {PULSE_ERR_CONNECT, -31, "PULSE_ERR_CONNECT"},
    {PULSE_ERR_DISCONNECTED, -32, "PULSE_ERR_DISCONNECTED"},
    {PULSE_ERR_TLS, -33, "PULSE_ERR_TLS"},
    {PULSE_ERR_AUTH, -34, "PULSE_ERR_AUTH"},
    {PULSE_ERR_PROTOCOL, -35, "PULSE_ERR_PROTOCOL"},
    {PULSE_ERR_NO_SERVER, -36, "PULSE_ERR_NO_SERVER"},
    {PULSE_ERR_SERVER, -50, "PULSE_ERR_SERVER"},
    {PULSE_ERR_LOADING, -51, "PULSE_ERR_LOADING"},
    {PULSE_ERR_SERVER_BUSY, -52, "PULSE_ERR_SERVER_BUSY"},
    {PULSE_ERR_READONLY, -53, "PULSE_ERR_READONLY"},
    {PULSE_ERR_MASTERDOWN, -54, "PULSE_ERR_MASTERDOWN"},
    {PULSE_ERR_SERVER_OOM, -55, "PULSE_ERR_SERVER_OOM"},
    {PULSE_ERR_PERMISSION, -56, "PULSE_ERR_PERMISSION"},
    {PULSE_ERR_MAX_CLIENTS, -57, "PULSE_ERR_MAX_CLIENTS"},
    {PULSE_ERR_WRONG_TYPE, -58, "PULSE_ERR_WRONG_TYPE"},
    {PULSE_ERR_NOT_OWNER, -70, "PULSE_ERR_NOT_OWNER"},
    {PULSE_ERR_REFUSED, -80, "PULSE_ERR_REFUSED"},
    {PULSE_ERR_EXISTS, -81, "PULSE_ERR_EXISTS"},
    {PULSE_ERR_QUEUE_FULL, -82, "PULSE_ERR_QUEUE_FULL"},
    {PULSE_ERR_NO_POOL, -83, "PULSE_ERR_NO_POOL"},
    {PULSE_ERR_SHUTTING_DOWN, -84, "PULSE_ERR_SHUTTING_DOWN"},
};
enum { kStatusCount = sizeof kStatuses / sizeof kStatuses[0] };

static void numbers_and_names_are_fixed(void **state) {
  (void)state;
  for (size_t i = 0; i < kStatusCount; ++i) {
    assert_int_equal(kStatuses[i].value, kStatuses[i].number);
    assert_string_equal(pulse_status_name(kStatuses[i].value), kStatuses[i].name);
  }
}

static void every_status_has_a_sentence_of_its_own(void **state) {
  (void)state;
  for (size_t i = 0; i < kStatusCount; ++i) {
    const char *message = pulse_status_message(kStatuses[i].value);
    assert_non_null(message);
    assert_true(message[0] != '\0');
    for (size_t k = 0; k < i; ++k) {
      assert_string_not_equal(message, pulse_status_message(kStatuses[k].value));
    }
  }
}

static void unknown_numbers_have_a_name_and_a_sentence(void **state) {
  (void)state;
  const pulse_status unknown[] = {1, -16, -29, -1000, INT32_MIN, INT32_MAX};
  for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; ++i) {
    assert_string_equal(pulse_status_name(unknown[i]), "PULSE_ERR_UNKNOWN");
    assert_non_null(pulse_status_message(unknown[i]));
    assert_true(pulse_status_message(unknown[i])[0] != '\0');
  }
}

static void the_list_is_exactly_the_header(void **state) {
  (void)state;
  bool seen[kStatusCount] = {false};
  size_t index = 0;
  pulse_status status;
  while (pulse_status_list(index, &status) == PULSE_OK) {
    bool known = false;
    for (size_t i = 0; i < kStatusCount; ++i) {
      if (kStatuses[i].value != status) continue;
      assert_false(seen[i]);
      seen[i] = true;
      known = true;
    }
    if (!known) fail_msg("the list has %d, the header does not", status);
    ++index;
  }
  assert_int_equal(index, kStatusCount);
  assert_int_equal(pulse_status_list(index, &status), PULSE_ERR_NOT_FOUND);
  assert_int_equal(pulse_status_list(SIZE_MAX, &status), PULSE_ERR_NOT_FOUND);
  assert_int_equal(pulse_status_list(0, NULL), PULSE_ERR_INVALID);
}

static void error_init_gives_the_bytes_of_the_macro(void **state) {
  (void)state;
  pulse_error by_call;
  memset(&by_call, 0xa5, sizeof by_call);
  pulse_error_init(&by_call);
  static const pulse_error by_macro = PULSE_ERROR_INIT;
  assert_memory_equal(&by_call, &by_macro, sizeof by_call);
  assert_int_equal(by_call.size, sizeof by_call);
  pulse_error_init(NULL);
}

/* A failure that needs neither server nor engine. */
static pulse_status fail_with(pulse_error *error) {
  pulse_engine *engine = NULL;
  pulse_engine_options options = PULSE_ENGINE_OPTIONS_INIT;
  options.url = "nonsense://";
  return pulse_engine_open(&options, &engine, error);
}

static void a_failure_fills_the_error(void **state) {
  (void)state;
  pulse_error error = PULSE_ERROR_INIT;
  assert_int_equal(fail_with(&error), PULSE_ERR_INVALID);
  assert_int_equal(error.code, PULSE_ERR_INVALID);
  assert_int_equal(error.size, sizeof error);
  assert_true(error.message[0] != '\0');
  assert_non_null(memchr(error.message, '\0', sizeof error.message));
  assert_int_equal(error.flags & PULSE_ERROR_RETRIABLE, 0);
}

static void an_error_may_be_null(void **state) {
  (void)state;
  assert_int_equal(fail_with(NULL), PULSE_ERR_INVALID);
}

static void a_success_leaves_the_error_alone(void **state) {
  (void)state;
  pulse_error error;
  memset(&error, 0x5a, sizeof error);
  error.size = sizeof error;
  pulse_error before = error;
  pulse_queue *queue = NULL;
  assert_int_equal(pulse_queue_new(&queue, &error), PULSE_OK);
  pulse_queue_unref(queue);
  assert_memory_equal(&error, &before, sizeof error);
}

/* An older or newer caller's struct: never a byte beyond its size is written,
 * and a text that does not fit is cut and still terminated. */
static void nothing_is_written_beyond_the_size(void **state) {
  (void)state;
  const size_t base = offsetof(pulse_error, message);
  const size_t sizes[] = {0, 4, sizeof(size_t), base, base + 1, base + 8, sizeof(pulse_error) - 1};
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; ++i) {
    pulse_error error;
    memset(&error, 0x5a, sizeof error);
    error.size = sizes[i];
    assert_int_equal(fail_with(&error), PULSE_ERR_INVALID);
    const unsigned char *bytes = (const unsigned char *)&error;
    size_t from = sizes[i] < sizeof(size_t) ? sizeof(size_t) : sizes[i];
    for (size_t k = from; k < sizeof error; ++k) assert_int_equal(bytes[k], 0x5a);
    assert_int_equal(error.size, sizes[i]);
    if (sizes[i] > base) assert_non_null(memchr(error.message, '\0', sizes[i] - base));
  }
}

static void a_larger_error_is_filled_as_far_as_known(void **state) {
  (void)state;
  struct {
    pulse_error error;
    unsigned char tail[64];
  } newer;
  memset(&newer, 0x5a, sizeof newer);
  newer.error.size = sizeof newer;
  assert_int_equal(fail_with(&newer.error), PULSE_ERR_INVALID);
  assert_int_equal(newer.error.code, PULSE_ERR_INVALID);
  assert_true(newer.error.message[0] != '\0' && newer.error.message[0] != 0x5a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(numbers_and_names_are_fixed),
      cmocka_unit_test(every_status_has_a_sentence_of_its_own),
      cmocka_unit_test(unknown_numbers_have_a_name_and_a_sentence),
      cmocka_unit_test(the_list_is_exactly_the_header),
      cmocka_unit_test(error_init_gives_the_bytes_of_the_macro),
      cmocka_unit_test(a_failure_fills_the_error),
      cmocka_unit_test(an_error_may_be_null),
      cmocka_unit_test(a_success_leaves_the_error_alone),
      cmocka_unit_test(nothing_is_written_beyond_the_size),
      cmocka_unit_test(a_larger_error_is_filled_as_far_as_known),
  };
  return cmocka_run_group_tests_name("status", tests, NULL, NULL);
}
