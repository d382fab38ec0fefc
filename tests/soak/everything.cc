#include "everything.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>

#include "support.h"

namespace soak {
namespace {

constexpr int64_t kTickMs = 5;
constexpr int64_t kAddsPerSecond = 400, kMostUnderWay = 256;
constexpr int64_t kWriteEveryMs = 50, kJobEveryMs = 100;
constexpr size_t kMostJobs = 20, kBatch = 256;
constexpr int64_t kGraceMs = 3000, kWorkerTtlMs = 10000;
// An add whose outcome is not known has not been executed if nobody has seen it by then.
constexpr int64_t kGiveUpMs = 60000;

// What a token tells: who is told, of which stream, and a number.
enum Kind : uint64_t { kOther, kAdd, kReader, kSink, kWrite, kWatch, kWorker, kDispatch };
uint64_t token_of(Kind kind, size_t stream = 0, uint64_t number = 0) {
  return kind << 56 | static_cast<uint64_t>(stream) << 48 | number;
}
Kind kind_of(uint64_t token) { return static_cast<Kind>(token >> 56); }
size_t stream_of(uint64_t token) { return token >> 48 & 0xff; }
uint64_t number_of(uint64_t token) { return token & 0xffffffffffff; }

void must(pulse_status status, const pulse_error& error, const char* what) {
  if (status == PULSE_OK) return;
  fprintf(stderr, "%s: %s: %s\n", what, pulse_status_name(status), error.message);
  exit(1);
}

uint64_t number_in(const char* text, size_t size) {
  return strtoull(std::string(text, size).c_str(), nullptr, 10);
}

}  // namespace

Everything::Everything(const char* url) {
  pulse_error error = PULSE_ERROR_INIT;
  pulse_engine_options options = PULSE_ENGINE_OPTIONS_INIT;
  options.url = url;
  options.reconnect_max_ms = 100;
  must(pulse_queue_new(&queue_, &error), error, "queue");
  must(pulse_engine_open(&options, &engine_, &error), error, "engine");
  must(pulse_engine_ready_wait(engine_, TS_DEADLINE_MS, &error), error, "engine");

  pulse_stream_options stream_options = PULSE_STREAM_OPTIONS_INIT;
  stream_options.max_len = 100000;
  pulse_reader_options reader_options = PULSE_READER_OPTIONS_INIT;
  reader_options.start = PULSE_START_OLDEST;
  pulse_sink_options sink_options = PULSE_SINK_OPTIONS_INIT;
  sink_options.start = PULSE_START_OLDEST;
  sink_options.ack_grace_ms = kGraceMs;
  const pulse_target to_reader = target(token_of(kReader)), other = target(token_of(kOther));
  for (size_t i = 0; i < kStreams; i++) {
    const std::string name = "soak-" + std::to_string(i);
    must(
        pulse_stream_open(engine_, name.data(), name.size(), &stream_options, &streams_[i], &error),
        error, "stream");
    if (i == 0) {
      must(pulse_reader_open(streams_[0], &reader_options, &to_reader, &reader_, &error), error,
           "reader");
    } else {
      must(pulse_reader_add_stream_wait(reader_, streams_[i], PULSE_START_OLDEST, nullptr,
                                        TS_DEADLINE_MS, &error),
           error, "reader");
    }
  }
  for (size_t k = 0; k < 2; k++) {
    const pulse_target to_sink = target(token_of(kSink, 0, k));
    must(pulse_sink_open(streams_[0], "soak", 4, &sink_options, &to_sink, &sinks_[k], &error),
         error, "sink");
    for (size_t i = 1; i < kStreams; i++) {
      must(pulse_sink_add_stream_wait(sinks_[k], streams_[i], PULSE_START_OLDEST, nullptr,
                                      TS_DEADLINE_MS, &error),
           error, "sink");
    }
  }

  must(pulse_map_join_wait(engine_, "soak", 4, nullptr, &other, TS_DEADLINE_MS, &map_, &error),
       error, "map");
  const pulse_target to_watch = target(token_of(kWatch));
  must(pulse_map_watch_open(map_, nullptr, &to_watch, &watch_, &error), error, "watch");

  pulse_node_options node_options = PULSE_NODE_OPTIONS_INIT;
  node_options.worker_ttl_ms = kWorkerTtlMs;
  node_options.ack_grace_ms = kGraceMs;
  must(pulse_node_join_wait(engine_, "soak", 4, &node_options, &other, TS_DEADLINE_MS, &node_,
                            &error),
       error, "node");
  const pulse_target to_worker = target(token_of(kWorker));
  for (pulse_worker*& worker : workers_) {
    must(pulse_node_add_worker(node_, nullptr, &to_worker, &worker, &error), error, "worker");
    must(pulse_worker_ready_wait(worker, TS_DEADLINE_MS, &error), error, "worker");
  }
  last_ms_ = ts_now_ms();
}

Everything::~Everything() {
  pulse_error error = PULSE_ERROR_INIT;
  for (auto& [number, job] : running_) pulse_job_unref(job);
  EXPECT_EQ(pulse_engine_close_wait(engine_, TS_DEADLINE_MS, &error), PULSE_OK) << error.message;
  for (pulse_worker* worker : workers_) pulse_worker_unref(worker);
  pulse_node_unref(node_);
  pulse_map_watch_unref(watch_);
  pulse_map_unref(map_);
  for (pulse_sink* sink : sinks_) pulse_sink_unref(sink);
  pulse_reader_unref(reader_);
  for (pulse_stream* stream : streams_) pulse_stream_unref(stream);
  pulse_engine_unref(engine_);
  pulse_queue_unref(queue_);
}

pulse_target Everything::target(uint64_t token) const {
  pulse_target target = PULSE_TARGET_INIT;
  target.queue = queue_;
  target.token = token;
  return target;
}

void Everything::work() {
  const int64_t now = ts_now_ms();
  if (!stopped_) begin_due(now);
  finish_jobs();
  pulse_event events[kBatch];
  const int64_t count = pulse_queue_poll(queue_, events, sizeof events[0], kBatch, kTickMs);
  ASSERT_GE(count, 0);
  for (int64_t i = 0; i < count; i++) take(events[i]);
  for (Ledger& ledger : ledgers_) {
    longest_delay_ms_ = std::max(longest_delay_ms_, ledger.oldest_ms(now));
    ledger.give_up_before(now - kGiveUpMs);
  }
}

void Everything::begin_due(int64_t now_ms) {
  // What could not be added in time is not made up for.
  adds_due_ += std::min<int64_t>(now_ms - last_ms_, 100) * kAddsPerSecond;
  last_ms_ = now_ms;
  for (; adds_due_ >= 1000 && under_way_ < kMostUnderWay; adds_due_ -= 1000) {
    add(next_stream_++ % kStreams, now_ms);
  }
  adds_due_ = std::min<int64_t>(adds_due_, 1000);
  if (now_ms >= next_write_ms_ && under_way_ < kMostUnderWay) write(now_ms);
  if (now_ms < next_job_ms_ || dispatched_.size() >= kMostJobs) return;
  next_job_ms_ = now_ms + kJobEveryMs;
  dispatch();
}

void Everything::add(size_t stream, int64_t now_ms) {
  const uint64_t number = ledgers_[stream].begin(now_ms);
  const std::string payload = std::to_string(number);
  const pulse_target to = target(token_of(kAdd, stream, number));
  if (pulse_stream_add(streams_[stream], "n", 1, payload.data(), payload.size(), nullptr, &to,
                       nullptr, nullptr) == PULSE_OK) {
    under_way_++;
  } else {
    ledgers_[stream].failed(number, false);
  }
}

// The counter, and one of a hundred keys.
void Everything::write(int64_t now_ms) {
  next_write_ms_ = now_ms + kWriteEveryMs;
  const pulse_target count = target(token_of(kWrite, 0, 1)), set = target(token_of(kWrite));
  if (pulse_map_increment(map_, "n", 1, 1, &count, nullptr, nullptr) == PULSE_OK) under_way_++;
  const std::string key = "k" + std::to_string(writes_ % 100), value(writes_++ % 500, 'v');
  if (pulse_map_set(map_, key.data(), key.size(), value.data(), value.size(), &set, nullptr,
                    nullptr) == PULSE_OK) {
    under_way_++;
  }
}

void Everything::dispatch() {
  const std::string key = std::to_string(next_job_);
  const pulse_target to = target(token_of(kDispatch, 0, next_job_));
  if (pulse_node_dispatch(node_, key.data(), key.size(), "job", 3, &to, nullptr, nullptr) ==
      PULSE_OK) {
    dispatched_[next_job_] = false;
  }
  next_job_++;
}

// One that is being moved is stopped instead.
void Everything::finish_jobs() {
  for (auto at = running_.begin(); at != running_.end();) {
    if (pulse_job_finish(at->second, PULSE_OK, nullptr, 0) != PULSE_OK) {
      ++at;
      continue;
    }
    pulse_job_unref(at->second);
    at = running_.erase(at);
    jobs_done_++;
  }
}

void Everything::take(const pulse_event& event) {
  const uint64_t number = number_of(event.token);
  const bool unknown = (event.flags & PULSE_ERROR_OUTCOME_UNKNOWN) != 0;
  switch (event.kind) {
    case PULSE_EVENT_MESSAGE:
      take_message(event);
      break;
    case PULSE_EVENT_ADDED:
      under_way_--;
      if (event.status == PULSE_OK) {
        ledgers_[stream_of(event.token)].confirmed(number);
      } else {
        ledgers_[stream_of(event.token)].failed(number, unknown);
        if (unknown) unknown_adds_++;
      }
      break;
    case PULSE_EVENT_MAP_WRITTEN:
      under_way_--;
      if (number == 0) break;
      if (event.status == PULSE_OK) counted_++;
      if (event.status != PULSE_OK && unknown) perhaps_counted_++;
      break;
    case PULSE_EVENT_MAP_CHANGED:
      changes_++;
      break;
    case PULSE_EVENT_JOB_START: {
      const uint64_t key = number_in(event.name, event.name_len);
      const auto at = dispatched_.find(key);
      if (at != dispatched_.end()) at->second = true;
      if (pulse_job_started(event.job, PULSE_OK, nullptr, 0) != PULSE_OK) break;
      pulse_job*& job = running_[key];
      pulse_job_unref(job);  // it may have been moved
      job = pulse_job_ref(event.job);
      break;
    }
    case PULSE_EVENT_JOB_STOP: {
      const auto at = running_.find(number_in(event.name, event.name_len));
      if (at != running_.end() && at->second == event.job) {
        pulse_job_unref(at->second);
        running_.erase(at);
      }
      pulse_job_stopped(event.job, PULSE_OK, nullptr, 0);
      break;
    }
    case PULSE_EVENT_JOB_DISPATCHED:
      if (event.status == PULSE_OK) {
        EXPECT_TRUE(dispatched_[number]) << "job " << number << " is said to have started";
      } else {
        jobs_not_accepted_++;
      }
      dispatched_.erase(number);
      break;
    case PULSE_EVENT_GAP:
    case PULSE_EVENT_LOST:
    case PULSE_EVENT_CLOSED:
    case PULSE_EVENT_RECREATED:
    case PULSE_EVENT_MAP_REWOUND:
      if (!stopped_) {
        ADD_FAILURE() << "event " << event.kind << " of "
                      << std::string(event.stream == nullptr ? "" : event.stream, event.stream_len);
      }
      break;
    default:
      notices_[event.kind]++;
  }
}

void Everything::take_message(const pulse_event& event) {
  Ledger& ledger = ledgers_[event.stream[event.stream_len - 1] - '0'];
  const uint64_t number = number_in(event.payload, event.payload_len);
  if (kind_of(event.token) == kReader) {
    EXPECT_TRUE(ledger.read(number, event.id))
        << "event " << number << " came out of order, twice, "
        << "or was said not to have been added";
    return;
  }
  if (ledger.handled(number)) redelivered_++;
  // What fails is delivered again.
  pulse_sink_ack(sinks_[number_of(event.token)], &event.ack, 1, nullptr, nullptr, nullptr);
}

bool Everything::is_settled() const {
  return under_way_ == 0 && dispatched_.empty() && running_.empty() &&
         std::all_of(std::begin(ledgers_), std::end(ledgers_),
                     [](const Ledger& ledger) { return ledger.outstanding() == 0; });
}

void Everything::print() const {
  uint64_t added = 0;
  size_t outstanding = 0;
  for (const Ledger& ledger : ledgers_) {
    added += ledger.confirmations();
    outstanding += ledger.outstanding();
  }
  printf("  %" PRIu64 " events added and %" PRIu64 " perhaps, %zu not where they belong, %" PRIu64
         " redelivered, longest delay %" PRId64 " ms\n",
         added, unknown_adds_, outstanding, redelivered_, longest_delay_ms_);
  printf("  %" PRIu64 " map writes, %" PRIu64 " changes told; %" PRIu64 " jobs done, %" PRIu64
         " not accepted\n",
         2 * writes_, changes_, jobs_done_, jobs_not_accepted_);
  for (const auto& [kind, count] : notices_) {
    printf("  notice %d: %" PRIu64 " times\n", kind, count);
  }
  fflush(stdout);
}

}  // namespace soak
