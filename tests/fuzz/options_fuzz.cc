// Bytes as option structs of the public API, whatever stands in them: refused with an error, or
// taken. Engines are opened on a socket that nobody serves, and closed.
//
// Pointers cannot be made of arbitrary bytes: they are set to texts of the input, or to NULL.
#include <pulseengine/pulse.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

class Input {
 public:
  Input(const uint8_t* data, size_t size) : data_(data), size_(size) {}
  uint8_t byte() {
    if (size_ == 0) return 0;
    size_--;
    return *data_++;
  }
  bool flag() { return (byte() & 1) != 0; }
  // Small numbers, special ones, and any.
  int64_t number() {
    switch (byte() % 6) {
      case 0:
        return 0;
      case 1:
        return -static_cast<int64_t>(byte() % 4);
      case 2:
        return byte();
      case 3:
        return INT64_MAX - byte();
      case 4:
        return INT64_MIN + byte();
      default: {
        uint64_t n = 0;
        for (int i = 0; i < 8; i++) n = n << 8 | byte();
        return static_cast<int64_t>(n);
      }
    }
  }
  std::string text() {
    size_t size = std::min<size_t>(byte() % 64, size_);
    std::string t(reinterpret_cast<const char*>(data_), size);
    data_ += size;
    size_ -= size;
    return t;
  }

 private:
  const uint8_t* data_;
  size_t size_;
};

int destroyed = 0;
int given = 0;

// A struct of any size, possibly with something behind what the library knows.
template <class T>
struct Sized {
  union {
    T value;
    unsigned char bytes[sizeof(T) + 32];
  };
  Sized() { std::memset(bytes, 0, sizeof bytes); }
  T* get(Input& in) {
    // A size that cuts a pointer in two is no struct of any version.
    value.size = in.byte() % 4 == 0 ? in.byte() % (sizeof bytes / 8 + 1) * 8 : sizeof value;
    if (value.size > sizeof value && in.flag()) bytes[sizeof value + in.byte() % 32] = in.byte();
    return in.byte() % 16 == 0 ? nullptr : &value;
  }
};

void check(pulse_status status, const pulse_error& error) {
  if (status == PULSE_OK) return;
  // An error has a name and says something.
  if (status > 0 || std::strcmp(pulse_status_name(status), "PULSE_ERR_UNKNOWN") == 0) abort();
  if (status == PULSE_ERR_INTERNAL || error.code != status || error.message[0] == '\0') abort();
}

pulse_target target(Input& in, pulse_queue* queue) {
  pulse_target t = PULSE_TARGET_INIT;
  if (in.flag()) t.queue = queue;
  if (in.flag()) {
    t.callback = [](const pulse_event*, void*) {};
  }
  t.destroy = [](void*) { destroyed++; };
  t.token = static_cast<uint64_t>(in.number());
  given++;
  return t;
}

void use_stream(Input& in, pulse_engine* engine, pulse_queue* queue) {
  pulse_error error = PULSE_ERROR_INIT;
  Sized<pulse_stream_options> options;
  options.value.max_len = in.number();
  options.value.ttl_ms = in.flag() ? in.number() : 0;
  options.value.sliding_ttl_ms = in.flag() ? in.number() : 0;
  std::string name = in.text();
  pulse_stream* stream = nullptr;
  pulse_status status =
      pulse_stream_open(engine, name.data(), name.size(), options.get(in), &stream, &error);
  check(status, error);
  if (status != PULSE_OK) return;
  Sized<pulse_add_options> add;
  std::string topic = in.text(), text = in.text();
  pulse_header headers[2] = {
      {topic.data(), topic.size(), text.data(), text.size()},
      {in.flag() ? nullptr : text.data(), text.size(), nullptr, in.byte() % 2U}};
  if (in.flag()) {
    add.value.topic = in.flag() ? topic.data() : nullptr;
    add.value.topic_len = topic.size();
  }
  if (in.flag()) {
    add.value.headers = headers;
    add.value.header_count = in.byte() % 3;
  }
  add.value.timeout_ms = in.number();
  add.value.only_if_exists = static_cast<int32_t>(in.number());
  pulse_target to = target(in, queue);
  check(pulse_stream_add(stream, text.data(), text.size(), topic.data(), topic.size(), add.get(in),
                         &to, nullptr, &error),
        error);
  pulse_reader_options reading = PULSE_READER_OPTIONS_INIT;
  Sized<pulse_reader_options> reader_options;
  reader_options.value = reading;
  reader_options.value.start = static_cast<pulse_start>(in.number());
  reader_options.value.block_ms = in.number();
  reader_options.value.max_polled = in.number();
  reader_options.value.buffer = in.number();
  reader_options.value.buffer_bytes = in.number();
  if (in.flag()) {
    reader_options.value.topic_pattern = text.data();
    reader_options.value.topic_pattern_len = text.size();
  }
  pulse_reader* reader = nullptr;
  to = target(in, queue);
  check(pulse_reader_open(stream, reader_options.get(in), &to, &reader, &error), error);
  Sized<pulse_sink_options> sink_options;
  sink_options.value.start = static_cast<pulse_start>(in.number());
  sink_options.value.no_ack = static_cast<int32_t>(in.number());
  sink_options.value.block_ms = in.number();
  sink_options.value.max_pending = in.number();
  sink_options.value.ack_grace_ms = in.number();
  sink_options.value.max_handling_ms = in.number();
  sink_options.value.leave_filtered = static_cast<int32_t>(in.number());
  if (in.flag()) {
    sink_options.value.topic = text.data();
    sink_options.value.topic_len = text.size();
  }
  pulse_sink* sink = nullptr;
  to = target(in, queue);
  check(
      pulse_sink_open(stream, topic.data(), topic.size(), sink_options.get(in), &to, &sink, &error),
      error);
  pulse_reader_unref(reader);
  pulse_sink_unref(sink);
  pulse_stream_unref(stream);
}

void use_node(Input& in, pulse_engine* engine, pulse_queue* queue) {
  pulse_error error = PULSE_ERROR_INIT;
  const bool odd = in.flag();
  const auto number = [&] { return odd && in.flag() ? in.number() : 0; };
  Sized<pulse_node_options> options;
  options.value.worker_ttl_ms = number();
  options.value.worker_shutdown_ttl_ms = number();
  options.value.job_sink_block_ms = number();
  options.value.max_queued_jobs = number();
  options.value.ack_grace_ms = number();
  options.value.close_timeout_ms = number();
  options.value.client_only = static_cast<int32_t>(number());
  options.value.routing = static_cast<pulse_routing>(number());
  const std::string pool = in.text(), key = in.text(), payload = in.text();
  pulse_node* node = nullptr;
  pulse_target to = target(in, queue);
  check(pulse_node_join(engine, pool.data(), pool.size(), options.get(in), &to, &node, &error),
        error);
  to = target(in, queue);
  check(pulse_node_dispatch(node, key.data(), key.size(), payload.data(), payload.size(), &to,
                            nullptr, &error),
        error);
  to = target(in, queue);
  check(pulse_node_notify(node, key.data(), key.size(), payload.data(), payload.size(), &to,
                          nullptr, &error),
        error);
  Sized<pulse_worker_options> worker_options;
  worker_options.value.start_concurrency = in.number();
  pulse_worker* worker = nullptr;
  to = target(in, queue);
  check(pulse_node_add_worker(node, worker_options.get(in), &to, &worker, &error), error);
  Sized<pulse_ticker_options> ticker_options;
  ticker_options.value.catch_up = static_cast<int32_t>(in.number());
  ticker_options.value.reserved = static_cast<int32_t>(number());
  pulse_ticker* ticker = nullptr;
  to = target(in, queue);
  const int64_t ticker_interval_ns = in.number();
  check(pulse_ticker_open(node, key.data(), key.size(), ticker_interval_ns, ticker_options.get(in),
                          &to, &ticker, &error),
        error);
  Sized<pulse_schedule_options> schedule_options;
  schedule_options.value.plan_timeout_ms = in.number();
  schedule_options.value.catch_up = static_cast<int32_t>(in.number());
  schedule_options.value.reserved = static_cast<int32_t>(number());
  pulse_schedule* schedule = nullptr;
  to = target(in, queue);
  const int64_t schedule_interval_ns = in.number();
  check(pulse_schedule_open(node, key.data(), key.size(), schedule_interval_ns,
                            schedule_options.get(in), &to, &schedule, &error),
        error);
  pulse_schedule_unref(schedule);
  pulse_ticker_unref(ticker);
  pulse_worker_unref(worker);
  pulse_node_unref(node);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input in(data, size);
  destroyed = given = 0;
  pulse_queue* queue = nullptr;
  if (pulse_queue_new(&queue, nullptr) != PULSE_OK) return 0;
  Sized<pulse_engine_options> options;
  pulse_engine_options& o = options.value;
  std::string name = in.text(), prefix = in.text();
  o.url = "unix:///nonexistent/fuzz.sock";
  // On this thread alone, so that a run is repeatable.
  o.driver = in.byte() % 16 == 0 ? static_cast<pulse_driver>(in.number() | 1) : PULSE_DRIVER_MANUAL;
  bool odd = in.flag();  // else most inputs would end at the first number out of bounds
  const auto number = [&] { return odd && in.flag() ? in.number() : 0; };
  o.log_level = static_cast<pulse_log_level>(number());
  o.connect_timeout_ms = number();
  o.command_timeout_ms = number();
  o.max_inflight = number();
  o.max_buffer_bytes = number();
  o.max_payload_bytes = number();
  o.max_reply_bytes = number();
  o.reconnect_min_ms = number();
  o.reconnect_max_ms = number();
  o.command_connections = static_cast<int32_t>(number());
  o.max_read_connections = static_cast<int32_t>(number());
  o.fail_fast = static_cast<int32_t>(number());
  o.reserved = static_cast<int32_t>(number());
  if (in.flag()) o.client_name = name.c_str();
  if (in.flag()) o.key_prefix = prefix.c_str();
  pulse_target state = target(in, queue);
  o.state_target = &state;
  o.wait_spin_us = number();
  pulse_engine_options* given_options = options.get(in);
  // Without these fields the library would use its defaults: a server that may be there.
  if (given_options == nullptr || o.size < offsetof(pulse_engine_options, log_level))
    o.size = sizeof o;
  // A target that the struct does not reach is not taken over.
  if (o.size < offsetof(pulse_engine_options, state_target) + sizeof o.state_target) given--;
  pulse_error error = PULSE_ERROR_INIT;
  pulse_engine* engine = nullptr;
  pulse_status status = pulse_engine_open(&o, &engine, &error);
  check(status, error);
  if (status == PULSE_OK) {
    if (in.flag()) {
      use_node(in, engine, queue);
    } else {
      use_stream(in, engine, queue);
    }
    if (o.driver == PULSE_DRIVER_MANUAL) pulse_engine_run_once(engine, in.byte(), in.byte());
    if (pulse_engine_close_wait(engine, 20000, nullptr) != PULSE_OK) abort();
    pulse_engine_unref(engine);
  } else if (status == PULSE_ERR_STRUCT_SIZE || status == PULSE_ERR_UNKNOWN_OPTION) {
    given = destroyed;  // nothing was taken over from a struct of a size that is none
  }
  pulse_queue_close(queue);
  pulse_queue_unref(queue);
  if (destroyed != given) {
    fprintf(stderr, "%d targets, %d destroyed; open: %s %s\n", given, destroyed,
            pulse_status_name(status), error.message);
    abort();
  }
  return 0;
}
