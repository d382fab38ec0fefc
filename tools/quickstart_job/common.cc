#include "common.h"

#include <time.h>

namespace job {
namespace {

void mix(uint64_t* hash, const char* data, size_t size) {
  constexpr uint64_t kPrime = 1099511628211u;
  for (size_t i = 0; i < size; ++i) *hash = (*hash ^ static_cast<unsigned char>(data[i])) * kPrime;
  *hash = (*hash ^ 256) * kPrime;  // "ab" and "c" differ from "a" and "bc"
}

}  // namespace

void check(pulse_status status, const pulse_error& error, const std::string& what) {
  if (status == PULSE_OK) return;
  throw Error(what + ": " + (error.message[0] ? error.message : pulse_status_message(status)));
}

Connection::Connection(const Settings& settings) {
  pulse_error error = PULSE_ERROR_INIT;
  check(pulse_queue_new(&queue_, &error), error, "queue");
  pulse_engine_options options = PULSE_ENGINE_OPTIONS_INIT;
  options.url = settings.url.c_str();
  options.client_name = "quickstart";
  check(pulse_engine_open(&options, &engine_, &error), error, "cannot open the engine");
  check(pulse_engine_ready_wait(engine_, kConnectMs, &error), error, "cannot reach the server");
  pulse_stream_options stream_options = PULSE_STREAM_OPTIONS_INIT;
  stream_options.max_len = PULSE_UNLIMITED;  // nothing is trimmed
  check(pulse_stream_open(engine_, settings.stream.data(), settings.stream.size(), &stream_options,
                          &stream_, &error),
        error, "cannot open the stream");
}

Connection::~Connection() {
  pulse_stream_unref(stream_);
  pulse_engine_unref(engine_);
  pulse_queue_unref(queue_);
}

pulse_target Connection::target() const {
  pulse_target target = PULSE_TARGET_INIT;
  target.queue = queue_;
  return target;
}

std::string Connection::server() const {
  char text[128] = "";
  pulse_engine_get_server(engine_, text, sizeof text);
  return text;
}

void Connection::close() {
  pulse_error error = PULSE_ERROR_INIT;
  check(pulse_engine_close_wait(engine_, kTimeoutMs, &error), error, "cannot close the engine");
}

uint64_t monotonic_ns() {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

uint64_t checksum(const char* name, size_t name_len, const char* topic, size_t topic_len,
                  const char* payload, size_t payload_len) {
  uint64_t hash = 14695981039346656037u;
  mix(&hash, name, name_len);
  mix(&hash, topic, topic_len);
  mix(&hash, payload, payload_len);
  return hash;
}

uint64_t checksum(const pulse_event& event) {
  return checksum(event.name, event.name_len, event.topic, event.topic_len, event.payload,
                  event.payload_len);
}

}  // namespace job
