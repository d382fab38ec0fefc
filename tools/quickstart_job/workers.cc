#include "workers.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include <vector>

#include "progress.h"
#include "report.h"

namespace job {
namespace {

constexpr size_t kBatch = 64;
// A consumer that holds waits this long for one more event, until it has so many.
constexpr int kHoldWaitMs = 100;
constexpr uint64_t kHoldEvents = 32;

// Waits for events or an order: the order, or 0.
char wait_for_order(pulse_queue* queue, int timeout_ms = -1) {
  struct pollfd fds[2] = {{STDIN_FILENO, POLLIN, 0}, {pulse_queue_fd(queue), POLLIN, 0}};
  if (poll(fds, queue ? 2 : 1, timeout_ms) <= 0 || !fds[0].revents) return 0;
  char order = 0;
  const ssize_t n = read(STDIN_FILENO, &order, 1);
  if (n < 0 && errno == EINTR) return 0;
  return n == 1 ? order : kOrderStop;
}

Record event_record(RecordKind kind, const pulse_event& event) {
  Record record = {};
  record.kind = kind;
  record.deliveries = static_cast<uint32_t>(event.deliveries);
  record.id = event.id;
  record.at_ns = monotonic_ns();
  record.checksum = checksum(event);
  return record;
}

Record plain_record(RecordKind kind, uint64_t count) {
  Record record = {};
  record.kind = kind;
  record.count = count;
  return record;
}

// What both kinds of worker report alike.
void report_other(const pulse_event& event, Reporter* reporter) {
  switch (event.kind) {
    case PULSE_EVENT_READY:
      reporter->add(plain_record(RecordKind::kReady, 0));
      break;
    case PULSE_EVENT_ACKED:
      // An event that belongs to another consumer by now comes again there.
      if (event.status != PULSE_OK && event.status != PULSE_ERR_NOT_OWNER) {
        throw Error("ack failed: " + std::string(pulse_status_name(event.status)));
      }
      break;
    case PULSE_EVENT_GAP:
    case PULSE_EVENT_LOST:
    case PULSE_EVENT_MALFORMED:
    case PULSE_EVENT_RECREATED:
    case PULSE_EVENT_OWNERSHIP_LOST:
    case PULSE_EVENT_READ_ERROR:
      reporter->add(plain_record(RecordKind::kNotice, static_cast<uint64_t>(event.kind)));
      break;
    default:
      break;
  }
}

// Handles events: here that means to look at every byte.  An event is reported, counted, and acked.
class Consumer {
 public:
  Consumer(Connection* connection, Reporter* reporter, ProgressWriter* progress)
      : connection_(*connection), reporter_(*reporter), progress_(*progress) {
    pulse_sink_options options = PULSE_SINK_OPTIONS_INIT;
    options.start = PULSE_START_OLDEST;
    options.ack_grace_ms = kGraceMs;
    options.max_polled = 200;
    options.buffer = 200;
    const pulse_target target = connection_.target();
    pulse_error error = PULSE_ERROR_INIT;
    check(pulse_sink_open(connection_.stream(), kSinkName, sizeof kSinkName - 1, &options, &target,
                          &sink_, &error),
          error, "cannot open the sink");
  }
  ~Consumer() { pulse_sink_unref(sink_); }
  Consumer(const Consumer&) = delete;
  Consumer& operator=(const Consumer&) = delete;

  void run() {
    for (;;) {
      const char order = wait_for_order(connection_.queue(), holding_ ? kHoldWaitMs : -1);
      if (order == kOrderStop) break;
      if (order == kOrderHold) holding_ = true;
      take_batch();
    }
    finish();
  }

 private:
  void take_batch() {
    pulse_event events[kBatch];
    const int64_t n = pulse_queue_poll(connection_.queue(), events, sizeof events[0], kBatch, 0);
    std::vector<pulse_ack_handle> handled;
    for (int64_t i = 0; i < n; ++i) {
      if (events[i].kind != PULSE_EVENT_MESSAGE) {
        report_other(events[i], &reporter_);
        continue;
      }
      // One that holds handles every other event, and acks none.
      if (holding_ && held_++ % 2 == 1) continue;
      reporter_.add(event_record(RecordKind::kHandled, events[i]));
      handled.push_back(events[i].ack);
    }
    reporter_.flush();
    progress_.add(handled.size());
    if (holding_) {
      if (held_ >= kHoldEvents || (held_ > 0 && n == 0)) wait_to_be_killed();
    } else if (!handled.empty()) {
      ack(handled);
    }
  }

  void ack(const std::vector<pulse_ack_handle>& handles) {
    const pulse_target target = connection_.target();
    pulse_error error = PULSE_ERROR_INIT;
    check(pulse_sink_ack(sink_, handles.data(), handles.size(), &target, nullptr, &error), error,
          "ack");
  }

  // The engine goes on reading and renewing in its own thread, as in a handler that hangs.
  void wait_to_be_killed() {
    progress_.flush();
    const uint64_t waiting = pulse_queue_size(connection_.queue());
    reporter_.add(plain_record(RecordKind::kHolding, held_ + waiting));
    reporter_.flush();
    while (wait_for_order(nullptr) != kOrderStop) {
    }
    throw Error("this consumer was to be killed");
  }

  // Waits for the last acks; what came meanwhile is handed back.
  void finish() {
    pulse_sink_close(sink_);
    for (bool closed = false; !closed;) {
      pulse_event events[kBatch];
      const int64_t n =
          pulse_queue_poll(connection_.queue(), events, sizeof events[0], kBatch, kTimeoutMs);
      if (n <= 0) throw Error("the sink does not close");
      for (int64_t i = 0; i < n; ++i) {
        if (events[i].kind == PULSE_EVENT_CLOSED) closed = true;
        if (events[i].kind != PULSE_EVENT_MESSAGE) report_other(events[i], &reporter_);
      }
    }
    reporter_.flush();
    progress_.flush();
  }

  Connection& connection_;
  Reporter& reporter_;
  ProgressWriter& progress_;
  pulse_sink* sink_ = nullptr;
  bool holding_ = false;
  uint64_t held_ = 0;  // events taken since then
};

}  // namespace

int run_consumer(const Settings& settings) {
  Connection connection(settings);
  Reporter reporter(STDOUT_FILENO);
  ProgressWriter progress(&connection, settings, progress_key(settings.consumer));
  Consumer(&connection, &reporter, &progress).run();
  connection.close();
  return 0;
}

int run_reader(const Settings& settings) {
  Connection connection(settings);
  Reporter reporter(STDOUT_FILENO);
  pulse_reader_options options = PULSE_READER_OPTIONS_INIT;
  options.start = PULSE_START_OLDEST;
  const pulse_target target = connection.target();
  pulse_error error = PULSE_ERROR_INIT;
  pulse_reader* reader = nullptr;
  check(pulse_reader_open(connection.stream(), &options, &target, &reader, &error), error,
        "cannot open the reader");
  while (wait_for_order(connection.queue()) != kOrderStop) {
    pulse_event events[kBatch];
    const int64_t n = pulse_queue_poll(connection.queue(), events, sizeof events[0], kBatch, 0);
    for (int64_t i = 0; i < n; ++i) {
      if (events[i].kind == PULSE_EVENT_MESSAGE) {
        reporter.add(event_record(RecordKind::kSeen, events[i]));
      } else {
        report_other(events[i], &reporter);
      }
    }
    reporter.flush();
  }
  pulse_reader_unref(reader);
  connection.close();
  return 0;
}

}  // namespace job
