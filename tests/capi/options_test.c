/* Structs of options: sizes, initialisers, and every field's bounds. */
#include "fixture.h"

/* --- initialisers ---------------------------------------------------------- */

#define ASSERT_INIT(type, init, MACRO)                        \
  do {                                                        \
    type by_call;                                             \
    memset(&by_call, 0xa5, sizeof by_call);                   \
    init(&by_call);                                           \
    static const type by_macro = MACRO;                       \
    assert_memory_equal(&by_call, &by_macro, sizeof by_call); \
    assert_int_equal(by_call.size, sizeof by_call);           \
    init(NULL);                                               \
  } while (0)

static void init_calls_give_the_bytes_of_the_macros(void **state) {
  (void)state;
  ASSERT_INIT(pulse_engine_options, pulse_engine_options_init, PULSE_ENGINE_OPTIONS_INIT);
  ASSERT_INIT(pulse_stream_options, pulse_stream_options_init, PULSE_STREAM_OPTIONS_INIT);
  ASSERT_INIT(pulse_add_options, pulse_add_options_init, PULSE_ADD_OPTIONS_INIT);
  ASSERT_INIT(pulse_reader_options, pulse_reader_options_init, PULSE_READER_OPTIONS_INIT);
  ASSERT_INIT(pulse_sink_options, pulse_sink_options_init, PULSE_SINK_OPTIONS_INIT);
  ASSERT_INIT(pulse_map_options, pulse_map_options_init, PULSE_MAP_OPTIONS_INIT);
  ASSERT_INIT(pulse_map_watch_options, pulse_map_watch_options_init, PULSE_MAP_WATCH_OPTIONS_INIT);
  ASSERT_INIT(pulse_node_options, pulse_node_options_init, PULSE_NODE_OPTIONS_INIT);
  ASSERT_INIT(pulse_worker_options, pulse_worker_options_init, PULSE_WORKER_OPTIONS_INIT);
  ASSERT_INIT(pulse_ticker_options, pulse_ticker_options_init, PULSE_TICKER_OPTIONS_INIT);
  ASSERT_INIT(pulse_schedule_options, pulse_schedule_options_init, PULSE_SCHEDULE_OPTIONS_INIT);
  ASSERT_INIT(pulse_target, pulse_target_init, PULSE_TARGET_INIT);
  ASSERT_INIT(pulse_error, pulse_error_init, PULSE_ERROR_INIT);
}

/* All INIT macros but the size are zero: 0 in a field is the default. */
static void init_is_all_zero_but_the_size(void **state) {
  (void)state;
  pulse_engine_options engine = PULSE_ENGINE_OPTIONS_INIT;
  pulse_sink_options sink = PULSE_SINK_OPTIONS_INIT;
  pulse_engine_options zero_engine;
  pulse_sink_options zero_sink;
  memset(&zero_engine, 0, sizeof zero_engine);
  memset(&zero_sink, 0, sizeof zero_sink);
  zero_engine.size = sizeof zero_engine;
  zero_sink.size = sizeof zero_sink;
  assert_memory_equal(&engine, &zero_engine, sizeof engine);
  assert_memory_equal(&sink, &zero_sink, sizeof sink);
}

/* --- the size matrix ------------------------------------------------------- */

/* Uses the struct in a call that takes it, and undoes what the call did. */
typedef pulse_status (*use_fn)(fixture *fx, const void *options);

static void nop_callback(const pulse_event *event, void *user_data) {
  (void)event;
  (void)user_data;
}

static pulse_target inline_target(void) {
  pulse_target target = PULSE_TARGET_INIT;
  target.callback = nop_callback;
  return target;
}

/* The engine that the options under test are used on: no server is needed. */
static pulse_stream *any_stream(fixture *fx) {
  if (fx->engine == NULL) fx_open(fx, NULL);
  return fx_stream_on(fx, fx->engine, "s", NULL);
}

static pulse_status use_engine(fixture *fx, const void *options) {
  (void)fx;
  pulse_engine *engine = NULL;
  pulse_status status = pulse_engine_open(options, &engine, fx_err());
  if (status == PULSE_OK) {
    pulse_engine_close_wait(engine, TS_DEADLINE_MS, NULL);
    pulse_engine_unref(engine);
  } else {
    assert_null(engine);
  }
  return status;
}

static pulse_status use_stream(fixture *fx, const void *options) {
  any_stream(fx);
  pulse_stream *stream = NULL;
  pulse_status status = pulse_stream_open(fx->engine, "s", 1, options, &stream, fx_err());
  if (status != PULSE_OK) assert_null(stream);
  pulse_stream_unref(stream);
  return status;
}

static pulse_status use_add(fixture *fx, const void *options) {
  return pulse_stream_add(any_stream(fx), "n", 1, "p", 1, options, NULL, NULL, fx_err());
}

static pulse_status use_reader(fixture *fx, const void *options) {
  pulse_target target = inline_target();
  pulse_reader *reader = NULL;
  pulse_status status = pulse_reader_open(any_stream(fx), options, &target, &reader, fx_err());
  if (status != PULSE_OK) assert_null(reader);
  pulse_reader_unref(reader);
  return status;
}

static pulse_status use_sink(fixture *fx, const void *options) {
  pulse_target target = inline_target();
  pulse_sink *sink = NULL;
  pulse_status status = pulse_sink_open(any_stream(fx), "g", 1, options, &target, &sink, fx_err());
  if (status != PULSE_OK) assert_null(sink);
  pulse_sink_unref(sink);
  return status;
}

static pulse_status use_map(fixture *fx, const void *options) {
  any_stream(fx);
  pulse_map *map = NULL;
  pulse_status status = pulse_map_join(fx->engine, "m", 1, options, NULL, &map, fx_err());
  if (status != PULSE_OK) assert_null(map);
  pulse_map_unref(map);
  return status;
}

static pulse_status use_watch(fixture *fx, const void *options) {
  any_stream(fx);
  pulse_target target = inline_target();
  pulse_map *map = NULL;
  pulse_map_watch *watch = NULL;
  assert_ok(pulse_map_join(fx->engine, "m", 1, NULL, NULL, &map, fx_err()));
  pulse_status status = pulse_map_watch_open(map, options, &target, &watch, fx_err());
  if (status != PULSE_OK) assert_null(watch);
  pulse_map_watch_unref(watch);
  pulse_map_unref(map);
  return status;
}

static pulse_status use_target(fixture *fx, const void *options) {
  any_stream(fx);
  return pulse_engine_ping(fx->engine, options, NULL, fx_err());
}

static pulse_status use_state_target(fixture *fx, const void *options) {
  pulse_engine_options engine_options = fx_options(fx);
  engine_options.state_target = options;
  return use_engine(fx, &engine_options);
}

/* `known` holds valid bytes of `size`, the struct's first member being a size. */
static void check_sizes(fixture *fx, const void *known, size_t size, use_fn use) {
  enum { kTail = 64 };
  unsigned char *bytes = calloc(1, size + kTail);
  const size_t small[] = {0, 1, sizeof(size_t) - 1};
  for (size_t i = 0; i < sizeof small / sizeof small[0]; ++i) {
    memcpy(bytes, known, size);
    memcpy(bytes, &small[i], sizeof(size_t));
    assert_status(PULSE_ERR_STRUCT_SIZE, use(fx, bytes));
  }
  memcpy(bytes, known, size);
  memcpy(bytes, &size, sizeof size);
  assert_ok(use(fx, bytes));
  size_t larger = size + kTail;
  memcpy(bytes, &larger, sizeof larger);
  assert_ok(use(fx, bytes));
  const size_t at[] = {size, size + kTail / 2, size + kTail - 1};
  for (size_t i = 0; i < sizeof at / sizeof at[0]; ++i) {
    bytes[at[i]] = 1;
    assert_status(PULSE_ERR_UNKNOWN_OPTION, use(fx, bytes));
    bytes[at[i]] = 0;
  }
  /* The byte after the struct is no part of it. */
  larger = size + kTail - 1;
  memcpy(bytes, &larger, sizeof larger);
  bytes[larger] = 0xff;
  assert_ok(use(fx, bytes));
  free(bytes);
}

static void engine_options_sizes(void **state) {
  fixture *fx = *state;
  pulse_engine_options options = fx_options(fx);
  check_sizes(fx, &options, sizeof options, use_engine);
}
static void stream_options_sizes(void **state) {
  pulse_stream_options options = PULSE_STREAM_OPTIONS_INIT;
  check_sizes(*state, &options, sizeof options, use_stream);
}
static void add_options_sizes(void **state) {
  pulse_add_options options = PULSE_ADD_OPTIONS_INIT;
  check_sizes(*state, &options, sizeof options, use_add);
}
static void reader_options_sizes(void **state) {
  pulse_reader_options options = PULSE_READER_OPTIONS_INIT;
  check_sizes(*state, &options, sizeof options, use_reader);
}
static void sink_options_sizes(void **state) {
  pulse_sink_options options = PULSE_SINK_OPTIONS_INIT;
  check_sizes(*state, &options, sizeof options, use_sink);
}
static void map_options_sizes(void **state) {
  pulse_map_options options = PULSE_MAP_OPTIONS_INIT;
  check_sizes(*state, &options, sizeof options, use_map);
}
static void watch_options_sizes(void **state) {
  pulse_map_watch_options options = PULSE_MAP_WATCH_OPTIONS_INIT;
  check_sizes(*state, &options, sizeof options, use_watch);
}
static void target_sizes(void **state) {
  pulse_target target = inline_target();
  check_sizes(*state, &target, sizeof target, use_target);
  check_sizes(*state, &target, sizeof target, use_state_target);
}

/* What the library fills needs a size as well, and is filled no further. */
static void metrics_sizes(void **state) {
  fixture *fx = *state;
  pulse_stream *stream = any_stream(fx);
  pulse_target target = inline_target();
  pulse_reader *reader = NULL;
  pulse_sink *sink = NULL;
  assert_ok(pulse_reader_open(stream, NULL, &target, &reader, fx_err()));
  assert_ok(pulse_sink_open(stream, "g", 1, NULL, &target, &sink, fx_err()));
  union {
    size_t size;
    pulse_engine_metrics engine;
    pulse_reader_metrics reader;
    pulse_sink_metrics sink;
    unsigned char bytes[1024];
  } m;
  for (int which = 0; which < 3; ++which) {
    const size_t full = which == 0 ? sizeof m.engine : which == 1 ? sizeof m.reader : sizeof m.sink;
    const size_t sizes[] = {0, 4, full, full + 64};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; ++i) {
      memset(&m, 0x5a, sizeof m);
      m.size = sizes[i];
      pulse_status status = which == 0   ? pulse_engine_get_metrics(fx->engine, &m.engine)
                            : which == 1 ? pulse_reader_get_metrics(reader, &m.reader)
                                         : pulse_sink_get_metrics(sink, &m.sink);
      assert_int_equal(status, sizes[i] < full ? PULSE_ERR_STRUCT_SIZE : PULSE_OK);
      size_t end = sizes[i] < full ? sizeof(size_t) : sizes[i];
      for (size_t k = end; k < sizeof m; ++k) assert_int_equal(m.bytes[k], 0x5a);
    }
  }
  pulse_sink_unref(sink);
  pulse_reader_unref(reader);
}

/* --- bounds ---------------------------------------------------------------- */

typedef struct bound {
  const char *name; /* must be in the message */
  size_t offset;
  int width; /* bytes */
  int64_t value;
  pulse_status expected;
} bound;

#define FIELD(type, field) #field, offsetof(type, field), (int)sizeof(((type *)0)->field)

static void check_bounds(fixture *fx, const void *known, size_t size, const bound *bounds,
                         size_t count, use_fn use) {
  unsigned char *bytes = malloc(size);
  for (size_t i = 0; i < count; ++i) {
    const bound *b = &bounds[i];
    memcpy(bytes, known, size);
    int32_t narrow = (int32_t)b->value;
    if (b->width == 4) memcpy(bytes + b->offset, &narrow, 4);
    if (b->width == 8) memcpy(bytes + b->offset, &b->value, 8);
    pulse_status status = use(fx, bytes);
    if (status != b->expected) {
      fail_msg("%s = %lld: %s, not %s; %s", b->name, (long long)b->value, pulse_status_name(status),
               pulse_status_name(b->expected), fx_message());
    }
    if (status == PULSE_ERR_INVALID && strstr(fx_message(), b->name) == NULL) {
      fail_msg("%s = %lld: the message does not name it: %s", b->name, (long long)b->value,
               fx_message());
    }
  }
  free(bytes);
}

static const int64_t kGiB = 1024 * 1024 * 1024;

static void engine_options_bounds(void **state) {
  fixture *fx = *state;
  pulse_engine_options options = fx_options(fx);
#define E(field, value, status) \
  { FIELD(pulse_engine_options, field), value, status }
  const bound bounds[] = {
      E(driver, 2, PULSE_ERR_INVALID),
      E(driver, -1, PULSE_ERR_INVALID),
      E(log_level, PULSE_LOG_ERROR, PULSE_OK),
      E(log_level, PULSE_LOG_DEBUG, PULSE_OK),
      E(log_level, PULSE_LOG_NONE, PULSE_OK),
      E(log_level, 5, PULSE_ERR_INVALID),
      E(log_level, -1, PULSE_ERR_INVALID),
      E(log_level, -3, PULSE_ERR_INVALID),
      E(connect_timeout_ms, 1, PULSE_OK),
      E(connect_timeout_ms, PULSE_FOREVER, PULSE_ERR_INVALID), /* it would never retry */
      E(connect_timeout_ms, -2, PULSE_ERR_INVALID),
      E(connect_timeout_ms, INT64_MIN, PULSE_ERR_INVALID),
      E(command_timeout_ms, 1, PULSE_OK),
      E(command_timeout_ms, PULSE_FOREVER, PULSE_OK),
      E(command_timeout_ms, -2, PULSE_ERR_INVALID),
      E(max_inflight, 1, PULSE_OK),
      E(max_inflight, -3, PULSE_ERR_INVALID),
      E(max_buffer_bytes, kGiB, PULSE_OK),
      E(max_buffer_bytes, kGiB + 1, PULSE_ERR_INVALID),
      E(max_buffer_bytes, -3, PULSE_ERR_INVALID),
      E(max_payload_bytes, 1, PULSE_OK),
      E(max_payload_bytes, 512 * 1024 * 1024, PULSE_OK),
      E(max_payload_bytes, 512 * 1024 * 1024 + 1, PULSE_ERR_INVALID),
      E(max_payload_bytes, -3, PULSE_ERR_INVALID),
      E(max_reply_bytes, -3, PULSE_ERR_INVALID),
      E(reconnect_min_ms, 1, PULSE_OK),
      E(reconnect_min_ms, -3, PULSE_ERR_INVALID),
      E(reconnect_min_ms, 5001, PULSE_OK), /* reconnect_max_ms is no less, unless it is given */
      E(reconnect_max_ms, 10, PULSE_OK),
      E(reconnect_max_ms, -3, PULSE_ERR_INVALID),
      E(command_connections, 1, PULSE_OK),
      E(command_connections, 64, PULSE_OK),
      E(command_connections, 65, PULSE_ERR_INVALID),
      E(command_connections, -3, PULSE_ERR_INVALID),
      E(max_read_connections, 1, PULSE_OK),
      E(max_read_connections, 256, PULSE_OK),
      E(max_read_connections, 257, PULSE_ERR_INVALID),
      E(max_read_connections, -3, PULSE_ERR_INVALID),
      E(wait_spin_us, 1, PULSE_OK),
      E(wait_spin_us, 1000000, PULSE_OK),
      E(wait_spin_us, 1000001, PULSE_ERR_INVALID),
      E(wait_spin_us, -1, PULSE_ERR_INVALID),
      E(fail_fast, 1, PULSE_OK),
      E(fail_fast, 2, PULSE_ERR_INVALID),
      E(fail_fast, -1, PULSE_ERR_INVALID),
      E(reserved, 1, PULSE_ERR_UNKNOWN_OPTION),
  };
#undef E
  check_bounds(fx, &options, sizeof options, bounds, sizeof bounds / sizeof bounds[0], use_engine);
  options.reconnect_min_ms = 20;
  options.reconnect_max_ms = 19;
  assert_status(PULSE_ERR_INVALID, use_engine(fx, &options));
  assert_non_null(strstr(fx_message(), "reconnect_max_ms"));
}

static void stream_options_bounds(void **state) {
  pulse_stream_options options = PULSE_STREAM_OPTIONS_INIT;
#define S(field, value, status) \
  { FIELD(pulse_stream_options, field), value, status }
  const bound bounds[] = {
      S(max_len, 1, PULSE_OK),
      S(max_len, PULSE_UNLIMITED, PULSE_OK),
      S(max_len, -2, PULSE_ERR_INVALID),
      S(ttl_ms, 1, PULSE_OK),
      S(ttl_ms, -3, PULSE_ERR_INVALID),
      S(sliding_ttl_ms, 1, PULSE_OK),
      S(sliding_ttl_ms, -3, PULSE_ERR_INVALID),
  };
#undef S
  check_bounds(*state, &options, sizeof options, bounds, sizeof bounds / sizeof bounds[0],
               use_stream);
  options.ttl_ms = 1000;
  options.sliding_ttl_ms = 1000;
  assert_status(PULSE_ERR_INVALID, use_stream(*state, &options));
  assert_non_null(strstr(fx_message(), "ttl_ms"));
}

static void reader_options_bounds(void **state) {
  pulse_reader_options options = PULSE_READER_OPTIONS_INIT;
#define R(field, value, status) \
  { FIELD(pulse_reader_options, field), value, status }
  const bound bounds[] = {
      R(start, PULSE_START_OLDEST, PULSE_OK),
      R(start, PULSE_START_AFTER, PULSE_OK),
      R(start, PULSE_START_TIME, PULSE_OK),
      R(start, 4, PULSE_ERR_INVALID),
      R(start, -1, PULSE_ERR_INVALID),
      R(reserved, 1, PULSE_ERR_UNKNOWN_OPTION),
      R(block_ms, 1, PULSE_OK),
      R(block_ms, PULSE_FOREVER, PULSE_OK),
      R(block_ms, PULSE_MS_NONE, PULSE_ERR_INVALID),
      R(block_ms, -3, PULSE_ERR_INVALID),
      R(max_polled, 1, PULSE_OK),
      R(max_polled, 65536, PULSE_OK),
      R(max_polled, 65537, PULSE_ERR_INVALID),
      R(max_polled, -3, PULSE_ERR_INVALID),
      R(buffer, 1, PULSE_OK),
      R(buffer, PULSE_UNLIMITED, PULSE_OK),
      R(buffer, -2, PULSE_ERR_INVALID),
      R(buffer_bytes, 1, PULSE_OK),
      R(buffer_bytes, -3, PULSE_ERR_INVALID),
  };
#undef R
  check_bounds(*state, &options, sizeof options, bounds, sizeof bounds / sizeof bounds[0],
               use_reader);
}

static void sink_options_bounds(void **state) {
  pulse_sink_options options = PULSE_SINK_OPTIONS_INIT;
#define K(field, value, status) \
  { FIELD(pulse_sink_options, field), value, status }
  const bound bounds[] = {
      K(start, PULSE_START_OLDEST, PULSE_OK),
      K(start, 4, PULSE_ERR_INVALID),
      K(start, -1, PULSE_ERR_INVALID),
      K(no_ack, 1, PULSE_OK),
      K(no_ack, 2, PULSE_ERR_INVALID),
      K(no_ack, -1, PULSE_ERR_INVALID),
      K(block_ms, 1, PULSE_OK),
      K(block_ms, PULSE_FOREVER, PULSE_OK),
      K(block_ms, PULSE_MS_NONE, PULSE_ERR_INVALID),
      K(block_ms, -3, PULSE_ERR_INVALID),
      K(max_polled, 65536, PULSE_OK),
      K(max_polled, 65537, PULSE_ERR_INVALID),
      K(max_polled, -3, PULSE_ERR_INVALID),
      K(buffer, PULSE_UNLIMITED, PULSE_OK),
      K(buffer, -2, PULSE_ERR_INVALID),
      K(buffer_bytes, 1, PULSE_OK),
      K(buffer_bytes, -3, PULSE_ERR_INVALID),
      K(max_pending, 1, PULSE_OK),
      K(max_pending, PULSE_UNLIMITED, PULSE_OK),
      K(max_pending, -2, PULSE_ERR_INVALID),
      K(ack_grace_ms, 100, PULSE_OK),
      K(ack_grace_ms, 99, PULSE_ERR_INVALID),
      K(ack_grace_ms, -3, PULSE_ERR_INVALID),
      K(max_handling_ms, PULSE_FOREVER, PULSE_OK),
      K(max_handling_ms, 1000, PULSE_OK),
      K(max_handling_ms, -3, PULSE_ERR_INVALID),
      K(leave_filtered, 1, PULSE_OK),
      K(leave_filtered, 2, PULSE_ERR_INVALID),
      K(no_ack_coalescing, 1, PULSE_OK),
      K(no_ack_coalescing, 2, PULSE_ERR_INVALID),
      K(no_ack_coalescing, -1, PULSE_ERR_INVALID),
  };
#undef K
  check_bounds(*state, &options, sizeof options, bounds, sizeof bounds / sizeof bounds[0],
               use_sink);
}

static void map_options_bounds(void **state) {
  pulse_map_options options = PULSE_MAP_OPTIONS_INIT;
#define M(field, value, status) \
  { FIELD(pulse_map_options, field), value, status }
  const bound bounds[] = {
      M(ttl_ms, 1, PULSE_OK),
      M(ttl_ms, -1, PULSE_ERR_INVALID),
      M(sliding_ttl_ms, 1, PULSE_OK),
      M(sliding_ttl_ms, -2, PULSE_ERR_INVALID),
      M(max_unnoticed_ms, 100, PULSE_OK),
      M(max_unnoticed_ms, 99, PULSE_ERR_INVALID),
      M(max_unnoticed_ms, -1, PULSE_ERR_INVALID),
      M(max_keys, 1, PULSE_OK),
      M(max_keys, PULSE_UNLIMITED, PULSE_OK),
      M(max_keys, -2, PULSE_ERR_INVALID),
      M(max_bytes, 1, PULSE_OK),
      M(max_bytes, PULSE_UNLIMITED, PULSE_OK),
      M(max_bytes, -2, PULSE_ERR_INVALID),
      M(max_value_bytes, 1, PULSE_OK),
      M(max_value_bytes, 64 << 20, PULSE_OK),
      M(max_value_bytes, (64 << 20) + 1, PULSE_ERR_INVALID),
      M(max_value_bytes, -1, PULSE_ERR_INVALID),
      M(watch_history, 1, PULSE_OK),
      M(watch_history, PULSE_MS_NONE, PULSE_OK),
      M(watch_history, 1 << 20, PULSE_OK),
      M(watch_history, (1 << 20) + 1, PULSE_ERR_INVALID),
      M(watch_history, -1, PULSE_ERR_INVALID),
      M(read_your_writes, 1, PULSE_OK),
      M(read_your_writes, 2, PULSE_ERR_INVALID),
      M(no_coalescing, 1, PULSE_OK),
      M(no_coalescing, -1, PULSE_ERR_INVALID),
  };
#undef M
  check_bounds(*state, &options, sizeof options, bounds, sizeof bounds / sizeof bounds[0], use_map);
  options.ttl_ms = options.sliding_ttl_ms = 1000;
  assert_status(PULSE_ERR_INVALID, use_map(*state, &options));
}

static void watch_options_bounds(void **state) {
  pulse_map_watch_options options = PULSE_MAP_WATCH_OPTIONS_INIT;
#define W(field, value, status) \
  { FIELD(pulse_map_watch_options, field), value, status }
  const bound bounds[] = {
      W(mode, PULSE_WATCH_DELTAS, PULSE_OK),  W(mode, 2, PULSE_ERR_INVALID),
      W(mode, -1, PULSE_ERR_INVALID),         W(old_values, 1, PULSE_OK),
      W(old_values, 2, PULSE_ERR_INVALID),    W(buffer, 1, PULSE_OK),
      W(buffer, PULSE_UNLIMITED, PULSE_OK),   W(buffer, -2, PULSE_ERR_INVALID),
      W(buffer_bytes, 1, PULSE_OK),           W(buffer_bytes, PULSE_UNLIMITED, PULSE_OK),
      W(buffer_bytes, -2, PULSE_ERR_INVALID),
  };
#undef W
  check_bounds(*state, &options, sizeof options, bounds, sizeof bounds / sizeof bounds[0],
               use_watch);
}

static void add_options_bounds(void **state) {
  pulse_add_options options = PULSE_ADD_OPTIONS_INIT;
#define A(field, value, status) \
  { FIELD(pulse_add_options, field), value, status }
  const bound bounds[] = {
      A(timeout_ms, 1, PULSE_OK),
      A(timeout_ms, PULSE_FOREVER, PULSE_OK),
      A(timeout_ms, -2, PULSE_ERR_INVALID),
      A(only_if_exists, 1, PULSE_OK),
      A(only_if_exists, 2, PULSE_ERR_INVALID),
      A(only_if_exists, -1, PULSE_ERR_INVALID),
      A(reserved, 1, PULSE_ERR_UNKNOWN_OPTION),
  };
#undef A
  check_bounds(*state, &options, sizeof options, bounds, sizeof bounds / sizeof bounds[0], use_add);
}

/* --- filters and positions ------------------------------------------------- */

static void topic_and_pattern_exclude_each_other(void **state) {
  pulse_reader_options reader = PULSE_READER_OPTIONS_INIT;
  pulse_sink_options sink = PULSE_SINK_OPTIONS_INIT;
  reader.topic = sink.topic = "t";
  reader.topic_len = sink.topic_len = 1;
  assert_ok(use_reader(*state, &reader));
  assert_ok(use_sink(*state, &sink));
  reader.topic_pattern = sink.topic_pattern = "t.*";
  reader.topic_pattern_len = sink.topic_pattern_len = 3;
  assert_status(PULSE_ERR_INVALID, use_reader(*state, &reader));
  assert_non_null(strstr(fx_message(), "topic_pattern"));
  assert_status(PULSE_ERR_INVALID, use_sink(*state, &sink));
  assert_non_null(strstr(fx_message(), "topic_pattern"));
}

static void bad_patterns_are_refused(void **state) {
  static const char *const bad[] = {"(", "[a", "a**", "\\", "(?=x)", "(a)\\1", "\xff"};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; ++i) {
    pulse_reader_options reader = PULSE_READER_OPTIONS_INIT;
    pulse_sink_options sink = PULSE_SINK_OPTIONS_INIT;
    reader.topic_pattern = sink.topic_pattern = bad[i];
    reader.topic_pattern_len = sink.topic_pattern_len = strlen(bad[i]);
    assert_status(PULSE_ERR_INVALID, use_reader(*state, &reader));
    assert_status(PULSE_ERR_INVALID, use_sink(*state, &sink));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(init_calls_give_the_bytes_of_the_macros),
      cmocka_unit_test(init_is_all_zero_but_the_size),
      BOTH_DRIVERS(engine_options_sizes),
      BOTH_DRIVERS(stream_options_sizes),
      BOTH_DRIVERS(add_options_sizes),
      BOTH_DRIVERS(reader_options_sizes),
      BOTH_DRIVERS(sink_options_sizes),
      BOTH_DRIVERS(map_options_sizes),
      BOTH_DRIVERS(watch_options_sizes),
      BOTH_DRIVERS(target_sizes),
      BOTH_DRIVERS(metrics_sizes),
      BOTH_DRIVERS(engine_options_bounds),
      BOTH_DRIVERS(stream_options_bounds),
      BOTH_DRIVERS(add_options_bounds),
      BOTH_DRIVERS(reader_options_bounds),
      BOTH_DRIVERS(sink_options_bounds),
      BOTH_DRIVERS(map_options_bounds),
      BOTH_DRIVERS(watch_options_bounds),
      BOTH_DRIVERS(topic_and_pattern_exclude_each_other),
      BOTH_DRIVERS(bad_patterns_are_refused),
  };
  return cmocka_run_group_tests_name("options", tests, fx_group_setup, fx_group_teardown);
}
