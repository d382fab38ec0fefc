/* event.h: ids of events, and the initialiser of targets. */
#include "fixture.h"

static void parse_accepts_both_forms(void **state) {
  (void)state;
  static const struct {
    const char *text;
    uint64_t ms, seq;
  } cases[] = {
      {"0-0", 0, 0},
      {"0", 0, 0},
      {"1-2", 1, 2},
      {"1795426131373-0", 1795426131373u, 0},
      {"1795426131373", 1795426131373u, 0},
      {"18446744073709551615-18446744073709551615", UINT64_MAX, UINT64_MAX},
      {"18446744073709551615", UINT64_MAX, 0},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; ++i) {
    pulse_event_id id = {77, 77};
    assert_ok(pulse_event_id_parse(cases[i].text, -1, &id));
    assert_int_equal(id.ms, cases[i].ms);
    assert_int_equal(id.seq, cases[i].seq);
    id = (pulse_event_id){77, 77};
    assert_ok(pulse_event_id_parse(cases[i].text, (int64_t)strlen(cases[i].text), &id));
    assert_int_equal(id.ms, cases[i].ms);
    assert_int_equal(id.seq, cases[i].seq);
  }
}

static void parse_reads_only_the_given_length(void **state) {
  (void)state;
  pulse_event_id id;
  assert_ok(pulse_event_id_parse("12-34xyz", 5, &id));
  assert_int_equal(id.ms, 12);
  assert_int_equal(id.seq, 34);
  assert_ok(pulse_event_id_parse("12-34", 2, &id));
  assert_int_equal(id.ms, 12);
  assert_int_equal(id.seq, 0);
}

static void parse_refuses_all_else(void **state) {
  (void)state;
  static const char *const bad[] = {
      "",
      "-",
      "1-",
      "-1",
      "--1",
      "1--1",
      "1-2-3",
      "+1-2",
      "1-+2",
      " 1-2",
      "1-2 ",
      "1 -2",
      "0x1-2",
      "1.0-2",
      "$",
      "*",
      ">",
      "1-2\n",
      "a",
      "1-a",
      "1,2",
      "18446744073709551616",
      "18446744073709551616-0",
      "0-18446744073709551616",
      "99999999999999999999999999999999999999999999",
  };
  pulse_event_id id;
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; ++i) {
    if (pulse_event_id_parse(bad[i], -1, &id) != PULSE_ERR_INVALID) {
      fail_msg("\"%s\" was accepted", bad[i]);
    }
  }
  assert_status(PULSE_ERR_INVALID, pulse_event_id_parse("1-2", 0, &id));
  assert_status(PULSE_ERR_INVALID, pulse_event_id_parse("1\0-2", 4, &id));
  assert_status(PULSE_ERR_INVALID, pulse_event_id_parse("1-2", -2, &id));
  assert_status(PULSE_ERR_INVALID, pulse_event_id_parse(NULL, -1, &id));
  assert_status(PULSE_ERR_INVALID, pulse_event_id_parse(NULL, 3, &id));
  assert_status(PULSE_ERR_INVALID, pulse_event_id_parse("1-2", -1, NULL));
}

static void format_gives_text_that_parses_back(void **state) {
  (void)state;
  static const pulse_event_id ids[] = {{0, 0},          {1, 2},          {1795426131373u, 15},
                                       {UINT64_MAX, 0}, {0, UINT64_MAX}, {UINT64_MAX, UINT64_MAX}};
  static const char *const texts[] = {"0-0",
                                      "1-2",
                                      "1795426131373-15",
                                      "18446744073709551615-0",
                                      "0-18446744073709551615",
                                      "18446744073709551615-18446744073709551615"};
  for (size_t i = 0; i < sizeof ids / sizeof ids[0]; ++i) {
    char text[PULSE_EVENT_ID_TEXT_BYTES];
    memset(text, 'x', sizeof text);
    assert_int_equal(pulse_event_id_format(&ids[i], text, sizeof text), strlen(texts[i]));
    assert_string_equal(text, texts[i]);
    pulse_event_id back;
    assert_ok(pulse_event_id_parse(text, -1, &back));
    assert_id_equal(back, ids[i]);
  }
}

static void format_fits_or_writes_nothing(void **state) {
  (void)state;
  const pulse_event_id id = {12, 34};
  char text[8];
  memset(text, 'x', sizeof text);
  assert_int_equal(pulse_event_id_format(&id, text, 6), 5); /* "12-34" and the NUL */
  assert_string_equal(text, "12-34");
  const size_t small[] = {0, 1, 5};
  for (size_t i = 0; i < sizeof small / sizeof small[0]; ++i) {
    memset(text, 'x', sizeof text);
    assert_int_equal(pulse_event_id_format(&id, text, small[i]), 0);
    assert_memory_equal(text, "xxxxxxxx", 8);
  }
  assert_int_equal(pulse_event_id_format(&id, NULL, 0), 0);
  assert_int_equal(pulse_event_id_format(&id, NULL, 42), 0);
  assert_int_equal(pulse_event_id_format(NULL, text, sizeof text), 0);
}

static void compare_orders_by_time_then_sequence(void **state) {
  (void)state;
  static const pulse_event_id ordered[] = {
      {0, 0}, {0, 1},  {0, UINT64_MAX}, {1, 0},
      {9, 5}, {10, 0}, {UINT64_MAX, 0}, {UINT64_MAX, UINT64_MAX}};
  const int n = sizeof ordered / sizeof ordered[0];
  for (int i = 0; i < n; ++i) {
    for (int k = 0; k < n; ++k) {
      int expected = i < k ? -1 : i > k ? 1 : 0;
      assert_int_equal(pulse_event_id_compare(&ordered[i], &ordered[k]), expected);
    }
  }
  assert_int_equal(pulse_event_id_compare(NULL, NULL), 0);
  assert_int_equal(pulse_event_id_compare(NULL, &ordered[0]), 0);
  assert_int_equal(pulse_event_id_compare(NULL, &ordered[1]), -1);
  assert_int_equal(pulse_event_id_compare(&ordered[1], NULL), 1);
}

static void target_init_gives_the_bytes_of_the_macro(void **state) {
  (void)state;
  pulse_target by_call;
  memset(&by_call, 0xa5, sizeof by_call);
  pulse_target_init(&by_call);
  static const pulse_target by_macro = PULSE_TARGET_INIT;
  assert_memory_equal(&by_call, &by_macro, sizeof by_call);
  pulse_target_init(NULL);
}

static void keep_of_nothing_is_null(void **state) {
  (void)state;
  assert_null(pulse_event_keep(NULL));
  pulse_event event;
  memset(&event, 0, sizeof event);
  event.size = sizeof event;
  assert_null(pulse_event_keep(&event));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(parse_accepts_both_forms),
      cmocka_unit_test(parse_reads_only_the_given_length),
      cmocka_unit_test(parse_refuses_all_else),
      cmocka_unit_test(format_gives_text_that_parses_back),
      cmocka_unit_test(format_fits_or_writes_nothing),
      cmocka_unit_test(compare_orders_by_time_then_sequence),
      cmocka_unit_test(target_init_gives_the_bytes_of_the_macro),
      cmocka_unit_test(keep_of_nothing_is_null),
  };
  return cmocka_run_group_tests_name("event id", tests, NULL, NULL);
}
