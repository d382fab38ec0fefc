#include "progress.h"

#include <cstdlib>
#include <cstring>

namespace job {
namespace {

constexpr char kTotal[] = "total";
constexpr char kFinished[] = "finished";

pulse_map* join(Connection* connection, const Settings& settings) {
  const std::string name = settings.stream + "-progress";
  pulse_error error = PULSE_ERROR_INIT;
  pulse_map* map = nullptr;
  check(pulse_map_join_wait(connection->engine(), name.data(), name.size(), nullptr, nullptr,
                            kConnectMs, &map, &error),
        error, "cannot join the map");
  return map;
}

// 0 for a counter that is not there.
uint64_t counter(const pulse_map_snapshot* snapshot, const std::string& key) {
  pulse_bytes* value = nullptr;
  if (pulse_map_snapshot_get(snapshot, key.data(), key.size(), &value) != PULSE_OK) return 0;
  const std::string text(static_cast<const char*>(pulse_bytes_data(value)),
                         pulse_bytes_size(value));
  pulse_bytes_unref(value);
  return strtoull(text.c_str(), nullptr, 10);
}

}  // namespace

std::string progress_key(int consumer) { return "consumer " + std::to_string(consumer); }

ProgressWriter::ProgressWriter(Connection* connection, const Settings& settings,
                               const std::string& name)
    : name_(name), map_(join(connection, settings)) {
  pulse_error error = PULSE_ERROR_INIT;
  check(pulse_queue_new(&queue_, &error), error, "queue");
}

ProgressWriter::~ProgressWriter() {
  pulse_map_unref(map_);
  pulse_queue_unref(queue_);
}

void ProgressWriter::add(uint64_t events) {
  handled_ += events;
  take(0);
  if (!under_way_ && sent_ < handled_) send();
}

void ProgressWriter::flush() {
  while (under_way_ || sent_ < handled_) {
    if (!under_way_) send();
    take(kTimeoutMs);
  }
}

// Both counters, or none.
void ProgressWriter::send() {
  const std::string own = std::to_string(handled_);
  pulse_map_batch_item items[2] = {};
  items[0].op = PULSE_MAP_OP_SET;
  items[0].key = name_.data();
  items[0].key_len = name_.size();
  items[0].value = own.data();
  items[0].value_len = own.size();
  items[1].op = PULSE_MAP_OP_INCREMENT;
  items[1].key = kTotal;
  items[1].key_len = strlen(kTotal);
  items[1].delta = static_cast<int64_t>(handled_ - sent_);
  pulse_target target = PULSE_TARGET_INIT;
  target.queue = queue_;
  pulse_error error = PULSE_ERROR_INIT;
  check(pulse_map_batch(map_, items, sizeof items[0], 2, &target, nullptr, &error), error,
        "progress");
  sent_ = handled_;
  under_way_ = true;
}

void ProgressWriter::take(int64_t timeout_ms) {
  if (!under_way_) return;
  pulse_event event = {};
  if (pulse_queue_poll(queue_, &event, sizeof event, 1, timeout_ms) < 1) {
    if (timeout_ms > 0) throw Error("the progress is not written");
    return;
  }
  under_way_ = false;
  if (event.status != PULSE_OK) {
    throw Error("progress: " + std::string(pulse_status_message(event.status)));
  }
}

ProgressReader::ProgressReader(Connection* connection, const Settings& settings)
    : map_(join(connection, settings)) {}

void ProgressReader::reset() {
  pulse_error error = PULSE_ERROR_INIT;
  check(pulse_map_reset_wait(map_, nullptr, kTimeoutMs, &error), error, "cannot reset the map");
}

ProgressReader::~ProgressReader() { pulse_map_unref(map_); }

Progress ProgressReader::read_all() {
  pulse_error error = PULSE_ERROR_INIT;
  // A write of our own, seen here: all that came before it is here too.
  check(pulse_map_set_and_wait_wait(map_, kFinished, strlen(kFinished), "yes", 3, nullptr,
                                    kTimeoutMs, &error),
        error, "progress");
  check(pulse_map_wait_synced(map_, kTimeoutMs, &error), error, "the map is not in step");
  pulse_map_snapshot* snapshot = nullptr;
  check(pulse_map_take_snapshot(map_, &snapshot, &error), error, "progress");
  Progress progress;
  progress.revision = pulse_map_snapshot_revision(snapshot);
  for (int i = 1; i <= kConsumers; ++i) {
    progress.handled.push_back(counter(snapshot, progress_key(i)));
  }
  progress.total = counter(snapshot, kTotal);
  pulse_map_snapshot_unref(snapshot);
  return progress;
}

}  // namespace job
