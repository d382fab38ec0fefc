/* engine.h: the URL and the texts among the options; passwords stay secret. */
#include <pthread.h>

#include "fixture.h"

static pulse_status try_open(fixture *fx, const char *url) {
  pulse_engine_options options = fx_options(fx);
  options.url = url;
  pulse_engine *engine = NULL;
  pulse_status status = pulse_engine_open(&options, &engine, fx_err());
  if (status == PULSE_OK) {
    pulse_engine_close_wait(engine, TS_DEADLINE_MS, NULL);
    pulse_engine_unref(engine);
  }
  return status;
}

static void good_urls_are_accepted(void **state) {
  static const char *const good[] = {
      "redis://127.0.0.1",
      "redis://127.0.0.1:1",
      "redis://127.0.0.1:65535/15",
      "redis://[::1]:1/3",
      "redis://localhost:1",
      "redis://:pa%73s@127.0.0.1:1",
      "redis://user:p%40ss@127.0.0.1:1/2",
      "unix:///nonexistent/socket",
      "unix:///nonexistent/socket?db=3",
      "unix:///nonexistent/with%20blank",
  };
  for (size_t i = 0; i < sizeof good / sizeof good[0]; ++i) {
    pulse_status status = try_open(*state, good[i]);
    if (status != PULSE_OK) {
      fail_msg("%s: %s, %s", good[i], pulse_status_name(status), fx_message());
    }
  }
}

static void bad_urls_name_what_is_wrong(void **state) {
  static const struct {
    const char *url;
    const char *named; /* in the message */
  } bad[] = {
      {"", ""},
      {"nonsense", ""},
      {"http://127.0.0.1", "redis://"},
      {"redis://", "host"},
      {"redis://127.0.0.1:0", "port"},
      {"redis://127.0.0.1:65536", "port"},
      {"redis://127.0.0.1:x", "port"},
      {"redis://127.0.0.1/x", ""},
      {"redis://127.0.0.1/-1", ""},
      {"redis://[::1", ""},
      {"redis://127.0.0.1?wibble=1", "wibble"},
      {"redis://127.0.0.1:%zz", ""},
      {"redis://us%zzer@127.0.0.1", ""},
      {"unix://relative/path", ""},
      {"unix://", ""},
      {"unix:///s?db=x", "db"},
      {"unix:///s?db=1&db=1", "db"},
      {"unix:///s?wibble=1", "wibble"},
      {"local:relative", ""},
      {"local:///nonexistent-dir?x=1", "x"},
  };
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; ++i) {
    pulse_status status = try_open(*state, bad[i].url);
    if (status != PULSE_ERR_INVALID) fail_msg("%s: %s", bad[i].url, pulse_status_name(status));
    if (strstr(fx_message(), bad[i].named) == NULL) {
      fail_msg("%s: \"%s\" does not name %s", bad[i].url, fx_message(), bad[i].named);
    }
  }
}

static void tls_parameters_are_checked(void **state) {
  if (!pulse_feature_has("tls")) {
    assert_status(PULSE_ERR_UNSUPPORTED, try_open(*state, "rediss://127.0.0.1:1"));
    return;
  }
  assert_ok(try_open(*state, "rediss://127.0.0.1:1"));
  assert_ok(try_open(*state, "rediss://127.0.0.1:1?verify=none"));
  assert_status(PULSE_ERR_INVALID, try_open(*state, "rediss://127.0.0.1:1?verify=maybe"));
  assert_non_null(strstr(fx_message(), "verify"));
  assert_status(PULSE_ERR_INVALID, try_open(*state, "rediss://127.0.0.1:1?sni=a&sni=b"));
  assert_non_null(strstr(fx_message(), "sni"));
  /* Without TLS they mean nothing. */
  assert_status(PULSE_ERR_INVALID, try_open(*state, "redis://127.0.0.1:1?verify=none"));
}

static void texts_among_the_options_are_checked(void **state) {
  fixture *fx = *state;
  pulse_engine_options options = fx_options(fx);
  pulse_engine *engine = NULL;
  const char *const bad_names[] = {"a b", "a\nb", "\x7f", "a\tb"};
  for (size_t i = 0; i < sizeof bad_names / sizeof bad_names[0]; ++i) {
    options.client_name = bad_names[i];
    assert_status(PULSE_ERR_INVALID, pulse_engine_open(&options, &engine, fx_err()));
    assert_non_null(strstr(fx_message(), "client_name"));
  }
  options.client_name = NULL;
  char prefix[514];
  memset(prefix, 'p', sizeof prefix);
  prefix[513] = '\0';
  options.key_prefix = prefix;
  assert_status(PULSE_ERR_INVALID, pulse_engine_open(&options, &engine, fx_err()));
  assert_non_null(strstr(fx_message(), "key_prefix"));
  prefix[512] = '\0';
  assert_ok(pulse_engine_open(&options, &engine, fx_err()));
  assert_ok(pulse_engine_close_wait(engine, TS_DEADLINE_MS, fx_err()));
  pulse_engine_unref(engine);
}

/* All options NULL: all defaults, here with nobody on the default port, or
 * with somebody. */
static void no_options_are_all_defaults(void **state) {
  (void)state;
  pulse_engine *engine = NULL;
  assert_ok(pulse_engine_open(NULL, &engine, fx_err()));
  assert_ok(pulse_engine_close_wait(engine, TS_DEADLINE_MS, fx_err()));
  pulse_engine_unref(engine);
}

/* --- passwords ------------------------------------------------------------- */

typedef struct seen_text {
  pthread_mutex_t mutex;
  char text[65536];
  size_t size;
} seen_text;

static void on_log(pulse_log_level level, const char *text, size_t text_len, void *user_data) {
  (void)level;
  seen_text *seen = user_data;
  pthread_mutex_lock(&seen->mutex);
  for (size_t i = 0; i < text_len && seen->size + 2 < sizeof seen->text; ++i) {
    seen->text[seen->size++] = text[i];
  }
  seen->text[seen->size++] = '\n';
  pthread_mutex_unlock(&seen->mutex);
}

static const char kSecret[] = "S3cretW0rd";

static void assert_secret(const char *text) {
  if (strstr(text, kSecret) != NULL) fail_msg("the password is in: %s", text);
}

/* A wrong password is an error that no retry mends, and shows nowhere. */
static void passwords_show_nowhere(void **state) {
  fixture *fx = *state;
  static const ts_server_options server_options = {.tcp = 1, .password = "the-right-one"};
  ts_server *server = ts_server_start(&server_options);
  assert_non_null(server);
  seen_text *seen = calloc(1, sizeof *seen);
  pthread_mutex_init(&seen->mutex, NULL);
  collector *c = fx_collector(fx);
  char url[128];
  snprintf(url, sizeof url, "redis://:%s@127.0.0.1:%d", kSecret, ts_server_port(server));
  pulse_engine_options options = fx_options(fx);
  options.url = url;
  options.state_target = col_target(c, 0);
  options.log = on_log;
  options.log_user_data = seen;
  options.log_level = PULSE_LOG_DEBUG;
  pulse_engine *engine = fx_open(fx, &options);
  pulse_error error = PULSE_ERROR_INIT;
  assert_int_equal(pulse_engine_ready_wait(engine, TS_DEADLINE_MS, &error), PULSE_ERR_AUTH);
  assert_true(error.message[0] != '\0');
  assert_secret(error.message);
  assert_ok(pulse_engine_close_wait(engine, TS_DEADLINE_MS, fx_err()));
  fx_until(fx, col_destroyed(c) == 1);
  for (size_t i = 0; i < col_count(c); ++i) {
    if (col_at(c, i)->message != NULL) assert_secret(col_at(c, i)->message);
  }
  assert_true(seen->size > 0);
  assert_secret(seen->text);
  pthread_mutex_destroy(&seen->mutex);
  free(seen);
  static const char *const bad[] = {"redis://user:S3cretW0rd@127.0.0.1:x", "redis://:S3cretW0rd@",
                                    "redis://:S3cretW0rd%zz@127.0.0.1", "nonsense://u:S3cretW0rd@h",
                                    "redis://:S3cretW0rd@h?x=1"};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; ++i) {
    assert_status(PULSE_ERR_INVALID, try_open(fx, bad[i]));
    assert_secret(fx_message());
  }
  ts_server_free(server);
}

/* A server before Redis 6 has no users at all, and says so in its own way. */
static void an_unknown_user_is_refused(void **state) {
  fixture *fx = *state;
  static const ts_server_options server_options = {.tcp = 1, .password = "the-right-one"};
  ts_server *server = ts_server_start(&server_options);
  assert_non_null(server);
  char url[128];
  snprintf(url, sizeof url, "redis://nobody:%s@127.0.0.1:%d", kSecret, ts_server_port(server));
  pulse_engine_options options = fx_options(fx);
  options.url = url;
  pulse_engine *engine = fx_open(fx, &options);
  pulse_error error = PULSE_ERROR_INIT;
  assert_int_equal(pulse_engine_ready_wait(engine, TS_DEADLINE_MS, &error), PULSE_ERR_AUTH);
  if (!ts_server_has_command(server, "ACL")) {
    assert_non_null(strstr(error.message, "no users before Redis 6"));
  }
  assert_secret(error.message);
  assert_ok(pulse_engine_close_wait(engine, TS_DEADLINE_MS, fx_err()));
  ts_server_free(server);
}

static void the_right_password_and_database_work(void **state) {
  fixture *fx = *state;
  static const ts_server_options server_options = {.tcp = 1, .password = "p@ss:w/rd %"};
  ts_server *server = ts_server_start(&server_options);
  assert_non_null(server);
  char url[128];
  snprintf(url, sizeof url, "redis://:p%%40ss%%3Aw%%2Frd%%20%%25@127.0.0.1:%d/3",
           ts_server_port(server));
  pulse_engine_options options = fx_options(fx);
  options.url = url;
  pulse_engine *engine = fx_ready(fx, &options);
  fx_add(fx_stream_on(fx, engine, "s", NULL), "n", "p");
  ts_reply_free(ts_command(server, "SELECT", "3", NULL));
  assert_int_equal(ts_command_integer(server, "XLEN", "pulse:stream:s", NULL), 1);
  assert_ok(pulse_engine_close_wait(engine, TS_DEADLINE_MS, fx_err()));
  ts_server_free(server);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      BOTH_DRIVERS(good_urls_are_accepted),      BOTH_DRIVERS(bad_urls_name_what_is_wrong),
      BOTH_DRIVERS(tls_parameters_are_checked),  BOTH_DRIVERS(texts_among_the_options_are_checked),
      BOTH_DRIVERS(no_options_are_all_defaults), ALL_WAYS(passwords_show_nowhere),
      BOTH_DRIVERS(an_unknown_user_is_refused),  BOTH_DRIVERS(the_right_password_and_database_work),
  };
  return cmocka_run_group_tests_name("URLs", tests, fx_group_setup, fx_group_teardown);
}
