/* engine.h: rediss:// from end to end, against a server with TLS. */
#include "fixture.h"

static const ev *message(collector *c, size_t nth) { return col_wait(c, PULSE_EVENT_MESSAGE, nth); }

static ts_server *g_secure;    /* its certificate is for localhost and 127.0.0.1 */
static ts_server *g_elsewhere; /* its certificate is for elsewhere.test */
static ts_server *g_mutual;    /* clients need a certificate, and a password */

static int start_servers(void **state) {
  if (fx_group_setup(state) != 0) return -1;
  ts_server_options secure = {.tcp = 1, .tls = 1};
  ts_server_options elsewhere = {.tls = 1, .tls_names = "DNS:elsewhere.test"};
  ts_server_options mutual = {.tls = 1, .tls_client_certificate = 1, .password = "s3cret&?"};
  g_secure = ts_server_start(&secure);
  g_elsewhere = ts_server_start(&elsewhere);
  g_mutual = ts_server_start(&mutual);
  return g_secure != NULL && g_elsewhere != NULL && g_mutual != NULL ? 0 : -1;
}

static int stop_servers(void **state) {
  ts_server_free(g_secure);
  ts_server_free(g_elsewhere);
  ts_server_free(g_mutual);
  return fx_group_teardown(state);
}

static void use_server(fixture *fx, ts_server *server) {
  fx->server = server;
  fx_redis(fx, "FLUSHALL");
}

static pulse_engine_options with_url(fixture *fx, const char *url) {
  pulse_engine_options options = fx_options(fx);
  options.url = url;
  options.reconnect_max_ms = 20;
  return options;
}

/* The status of ready_wait, its message in `text`.  It answers before the deadline: "what no
 * retry mends" is not waited for. */
static pulse_status refused(fixture *fx, const char *url, char *text, size_t capacity) {
  pulse_engine_options options = with_url(fx, url);
  pulse_engine *engine = fx_open(fx, &options);
  pulse_error error = PULSE_ERROR_INIT;
  pulse_status status = pulse_engine_ready_wait(engine, TS_DEADLINE_MS, &error);
  snprintf(text, capacity, "%s", error.message);
  pulse_engine_metrics metrics = {.size = sizeof metrics};
  assert_ok(pulse_engine_get_metrics(engine, &metrics));
  assert_int_not_equal(metrics.state, PULSE_ENGINE_READY);
  return status;
}

static void assert_says(const char *text, const char *part) {
  if (strstr(text, part) == NULL) fail_msg("\"%s\" does not say \"%s\"", text, part);
}

/* --- what works ------------------------------------------------------------- */

static void streams_readers_and_sinks_work_over_tls(void **state) {
  fixture *fx = *state;
  use_server(fx, g_secure);
  pulse_engine_options options = with_url(fx, ts_server_tls_url(g_secure));
  pulse_engine *engine = fx_ready(fx, &options);
  pulse_stream *stream = fx_stream_on(fx, engine, "s", NULL);
  collector *seen = fx_collector(fx);
  collector *taken = fx_collector(fx);
  fx_reader(fx, stream, NULL, seen);
  pulse_sink *sink = fx_sink(fx, stream, "g", NULL, taken);
  enum { kEvents = 200 };
  for (size_t n = 0; n < kEvents; ++n) {
    char payload[24];
    snprintf(payload, sizeof payload, "payload %zu", n);
    pulse_event_id id = fx_add_topic(stream, "n", payload, "topic");
    assert_id_equal(message(seen, n)->id, id);
    assert_string_equal(message(seen, n)->payload, payload);
    assert_text(message(seen, n), topic, "topic");
    assert_id_equal(message(taken, n)->id, id);
    assert_string_equal(message(taken, n)->payload, payload);
    fx_ack(sink, message(taken, n));
  }
  assert_int_equal(fx_pending(fx, "s", "g"), 0);
  uint64_t microseconds = 0;
  assert_ok(pulse_engine_ping_wait(engine, &microseconds, TS_DEADLINE_MS, fx_err()));
  assert_ok(pulse_sink_close_wait(sink, TS_DEADLINE_MS, fx_err()));
}

/* Many TLS records in both directions, and sockets that are full. */
static void large_payloads_arrive_whole(void **state) {
  fixture *fx = *state;
  use_server(fx, g_secure);
  enum { kEvents = 6, kSize = 3 * 1024 * 1024 + 7 };
  pulse_engine_options options = with_url(fx, ts_server_tls_url(g_secure));
  pulse_stream *stream = fx_stream_on(fx, fx_ready(fx, &options), "s", NULL);
  collector *c = fx_collector(fx);
  collector *added = fx_collector(fx);
  fx_reader(fx, stream, NULL, c);
  char *payload = malloc(kSize);
  for (size_t i = 0; i < kSize; ++i) payload[i] = (char)(i * 31 + i / 4096);
  for (size_t n = 0; n < kEvents; ++n) {
    payload[0] = (char)n;
    pulse_status status = pulse_stream_add(stream, "n", 1, payload, kSize, NULL,
                                           col_target(added, 0), NULL, fx_err());
    if (status != PULSE_OK) free(payload);
    assert_ok(status);
  }
  for (size_t n = 0; n < kEvents; ++n) {
    payload[0] = (char)n;
    const ev *e = message(c, n);
    bool equal = e->payload_len == kSize && memcmp(e->payload, payload, kSize) == 0;
    if (!equal) free(payload);
    assert_true(equal);
  }
  free(payload);
  for (size_t n = 0; n < kEvents; ++n) {
    assert_int_equal(col_wait(added, PULSE_EVENT_ADDED, n)->status, PULSE_OK);
  }
}

static void the_authority_alone_will_do_with_verify_ca(void **state) {
  fixture *fx = *state;
  use_server(fx, g_elsewhere);
  char url[512];
  snprintf(url, sizeof url, "%s&verify=ca", ts_server_tls_url(g_elsewhere));
  pulse_engine_options options = with_url(fx, url);
  fx_add(fx_stream_on(fx, fx_ready(fx, &options), "s", NULL), "n", "p");
  assert_int_equal(fx_redis_int(fx, "XLEN pulse:stream:s"), 1);
}

static void sni_names_the_host_that_is_verified(void **state) {
  fixture *fx = *state;
  use_server(fx, g_elsewhere);
  char url[512];
  snprintf(url, sizeof url, "%s&sni=elsewhere.test", ts_server_tls_url(g_elsewhere));
  pulse_engine_options options = with_url(fx, url);
  fx_add(fx_stream_on(fx, fx_ready(fx, &options), "s", NULL), "n", "p");
  assert_int_equal(fx_redis_int(fx, "XLEN pulse:stream:s"), 1);
}

static void nothing_is_verified_with_verify_none(void **state) {
  fixture *fx = *state;
  use_server(fx, g_elsewhere);
  char url[128];
  snprintf(url, sizeof url, "rediss://127.0.0.1:%d?verify=none", ts_server_tls_port(g_elsewhere));
  pulse_engine_options options = with_url(fx, url);
  fx_add(fx_stream_on(fx, fx_ready(fx, &options), "s", NULL), "n", "p");
  assert_int_equal(fx_redis_int(fx, "XLEN pulse:stream:s"), 1);
}

static void client_certificate_and_password(void **state) {
  fixture *fx = *state;
  use_server(fx, g_mutual);
  pulse_engine_options options = with_url(fx, ts_server_tls_url(g_mutual));
  pulse_stream *stream = fx_stream_on(fx, fx_ready(fx, &options), "s", NULL);
  collector *c = fx_collector(fx);
  pulse_sink *sink = fx_sink(fx, stream, "g", NULL, c);
  fx_add(stream, "n", "p");
  fx_ack(sink, message(c, 0));
  assert_int_equal(fx_pending(fx, "s", "g"), 0);
}

/* --- what is refused --------------------------------------------------------- */

static void another_authority_is_refused(void **state) {
  fixture *fx = *state;
  use_server(fx, g_secure);
  char url[512], text[PULSE_ERROR_MESSAGE_BYTES];
  snprintf(url, sizeof url, "rediss://localhost:%d?ca=%s", ts_server_tls_port(g_secure),
           ts_server_certificates(g_secure)->other_ca);
  assert_int_equal(refused(fx, url, text, sizeof text), PULSE_ERR_TLS);
  assert_says(text, "certificate is refused");
  assert_says(text, "issuer");
  /* "ca" knows the authority no better. */
  snprintf(url, sizeof url, "rediss://localhost:%d?ca=%s&verify=ca", ts_server_tls_port(g_secure),
           ts_server_certificates(g_secure)->other_ca);
  assert_int_equal(refused(fx, url, text, sizeof text), PULSE_ERR_TLS);
  assert_says(text, "certificate is refused");
}

static void the_state_target_hears_of_a_refused_certificate(void **state) {
  fixture *fx = *state;
  use_server(fx, g_elsewhere);
  collector *c = fx_collector(fx);
  pulse_engine_options options = with_url(fx, ts_server_tls_url(g_elsewhere));
  options.state_target = col_target(c, 0);
  fx_open(fx, &options);
  const ev *e = col_wait(c, PULSE_EVENT_ENGINE_STATE, 1);
  assert_int_equal(e->state, PULSE_ENGINE_CONNECTING);
  assert_int_equal(e->status, PULSE_ERR_TLS);
  assert_says(e->message, "elsewhere.test");
}

static void authorities_of_the_system_do_not_know_it(void **state) {
  fixture *fx = *state;
  use_server(fx, g_secure);
  char url[64], text[PULSE_ERROR_MESSAGE_BYTES];
  snprintf(url, sizeof url, "rediss://localhost:%d", ts_server_tls_port(g_secure));
  assert_int_equal(refused(fx, url, text, sizeof text), PULSE_ERR_TLS);
  assert_says(text, "certificate is refused");
}

static void another_host_name_is_refused(void **state) {
  fixture *fx = *state;
  use_server(fx, g_elsewhere);
  char text[PULSE_ERROR_MESSAGE_BYTES];
  assert_int_equal(refused(fx, ts_server_tls_url(g_elsewhere), text, sizeof text), PULSE_ERR_TLS);
  assert_says(text, "mismatch");
  assert_says(text, "localhost expected");
  assert_says(text, "elsewhere.test");
}

static void a_missing_client_certificate_is_refused(void **state) {
  fixture *fx = *state;
  use_server(fx, g_mutual);
  char url[512], text[PULSE_ERROR_MESSAGE_BYTES];
  snprintf(url, sizeof url, "rediss://:s3cret%%26%%3F@localhost:%d?ca=%s",
           ts_server_tls_port(g_mutual), ts_server_certificates(g_mutual)->ca);
  assert_int_equal(refused(fx, url, text, sizeof text), PULSE_ERR_TLS);
  assert_says(text, "certificate");
  assert_null(strstr(text, "s3cret"));
}

static void a_wrong_password_is_refused(void **state) {
  fixture *fx = *state;
  use_server(fx, g_mutual);
  const ts_certificates *files = ts_server_certificates(g_mutual);
  char url[1024], text[PULSE_ERROR_MESSAGE_BYTES];
  snprintf(url, sizeof url, "rediss://:wr0ng@localhost:%d?ca=%s&cert=%s&key=%s",
           ts_server_tls_port(g_mutual), files->ca, files->client, files->client_key);
  assert_int_equal(refused(fx, url, text, sizeof text), PULSE_ERR_AUTH);
  assert_null(strstr(text, "wr0ng"));
}

/* Such a server may answer rubbish, or wait for the rest of what it takes for a command. */
static void a_port_without_tls_is_told(void **state) {
  fixture *fx = *state;
  use_server(fx, g_secure);
  char url[512];
  snprintf(url, sizeof url, "rediss://localhost:%d?ca=%s", ts_server_port(g_secure),
           ts_server_certificates(g_secure)->ca);
  pulse_engine_options options = with_url(fx, url);
  options.connect_timeout_ms = 100;
  pulse_engine *engine = fx_open(fx, &options);
  pulse_error error = PULSE_ERROR_INIT;
  pulse_status status = PULSE_OK;
  fx_until(fx, (pulse_error_init(&error), status = pulse_engine_ready_wait(engine, 0, &error),
                strstr(error.message, "TLS") != NULL));
  if (status == PULSE_ERR_TLS) {
    assert_says(error.message, "does not speak TLS");
  } else {
    assert_int_equal(status, PULSE_ERR_TIMEOUT);
    assert_says(error.message, "is it a TLS port?");
  }
}

static void missing_files_are_named_at_once(void **state) {
  fixture *fx = *state;
  pulse_engine_options options = with_url(fx, "rediss://localhost:1?ca=/nonexistent/authority.pem");
  pulse_engine *engine = NULL;
  pulse_error error = PULSE_ERROR_INIT;
  pulse_status status = pulse_engine_open(&options, &engine, &error);
  if (status == PULSE_OK) {
    fx_drive(fx, engine);
    status = pulse_engine_ready_wait(engine, TS_DEADLINE_MS, &error);
    fx_forget(fx, engine);
    pulse_engine_close_wait(engine, TS_DEADLINE_MS, NULL);
    pulse_engine_unref(engine);
  }
  assert_int_equal(status, PULSE_ERR_TLS);
  assert_says(error.message, "/nonexistent/authority.pem");
}

/* --- a way that is cut ------------------------------------------------------- */

static void a_cut_connection_is_made_anew(void **state) {
  fixture *fx = *state;
  use_server(fx, g_secure);
  ts_proxy *proxy = ts_proxy_start_tls(g_secure);
  assert_non_null(proxy);
  pulse_engine_options options = with_url(fx, ts_proxy_url(proxy));
  pulse_engine *engine = fx_ready(fx, &options);
  pulse_stream *stream = fx_stream_on(fx, engine, "s", NULL);
  collector *seen = fx_collector(fx);
  collector *taken = fx_collector(fx);
  fx_reader(fx, stream, NULL, seen);
  pulse_sink *sink = fx_sink(fx, stream, "g", NULL, taken);
  enum { kRounds = 5 };
  for (size_t round = 0; round <= kRounds; ++round) {
    if (round > 0) {
      ts_proxy_cut_all(proxy);
      col_wait(seen, PULSE_EVENT_RECONNECTED, round - 1);
      col_wait(taken, PULSE_EVENT_RECONNECTED, round - 1);
    }
    fx_until(fx, pulse_stream_add_wait(stream, "n", 1, "p", 1, NULL, NULL, TS_DEADLINE_MS, NULL) ==
                     PULSE_OK);
    message(seen, round);
    const ev *e = message(taken, round);
    fx_until(fx, pulse_sink_ack_wait(sink, &e->ack, 1, NULL, TS_DEADLINE_MS, NULL) == PULSE_OK);
  }
  fx_until(fx, fx_pending(fx, "s", "g") == 0);
  assert_int_equal(col_count_kind(seen, PULSE_EVENT_MESSAGE), kRounds + 1);
  assert_int_equal(col_count_kind(taken, PULSE_EVENT_MESSAGE), kRounds + 1);
  assert_ok(pulse_engine_close_wait(engine, TS_DEADLINE_MS, fx_err()));
  ts_proxy_free(proxy);
}

/* The server falls silent in the middle of a handshake. */
static void a_stalled_handshake_is_given_up(void **state) {
  fixture *fx = *state;
  use_server(fx, g_secure);
  ts_proxy *proxy = ts_proxy_start_tls(g_secure);
  assert_non_null(proxy);
  ts_proxy_stall(proxy, TS_TO_CLIENT);
  pulse_engine_options options = with_url(fx, ts_proxy_url(proxy));
  options.connect_timeout_ms = 500;
  pulse_engine *engine = fx_open(fx, &options);
  /* More than one attempt is made. */
  fx_until(fx, ts_proxy_accepted(proxy) >= 2);
  pulse_error error = PULSE_ERROR_INIT;
  assert_int_equal(pulse_engine_ready_wait(engine, 0, &error), PULSE_ERR_TIMEOUT);
  assert_says(error.message, "TLS handshake");
  ts_proxy_resume(proxy, TS_TO_CLIENT);
  ts_proxy_cut_all(proxy);
  assert_ok(pulse_engine_ready_wait(engine, TS_DEADLINE_MS, fx_err()));
  assert_ok(pulse_engine_close_wait(engine, TS_DEADLINE_MS, fx_err()));
  ts_proxy_free(proxy);
}

int main(void) {
  if (!pulse_feature_has("tls")) return fx_skip_all("this build has no TLS");
  if (!ts_tls_available()) return fx_skip_all("the server has no TLS, or openssl is missing");
  const struct CMUnitTest tests[] = {
      ALL_WAYS(streams_readers_and_sinks_work_over_tls),
      BOTH_DRIVERS(large_payloads_arrive_whole),
      BOTH_DRIVERS(the_authority_alone_will_do_with_verify_ca),
      BOTH_DRIVERS(sni_names_the_host_that_is_verified),
      BOTH_DRIVERS(nothing_is_verified_with_verify_none),
      BOTH_DRIVERS(client_certificate_and_password),
      BOTH_DRIVERS(another_authority_is_refused),
      BOTH_DRIVERS(the_state_target_hears_of_a_refused_certificate),
      BOTH_DRIVERS(authorities_of_the_system_do_not_know_it),
      BOTH_DRIVERS(another_host_name_is_refused),
      BOTH_DRIVERS(a_missing_client_certificate_is_refused),
      BOTH_DRIVERS(a_wrong_password_is_refused),
      BOTH_DRIVERS(a_port_without_tls_is_told),
      BOTH_DRIVERS(missing_files_are_named_at_once),
      BOTH_DRIVERS(a_cut_connection_is_made_anew),
      BOTH_DRIVERS(a_stalled_handshake_is_given_up),
  };
  return cmocka_run_group_tests_name("tls", tests, start_servers, stop_servers);
}
