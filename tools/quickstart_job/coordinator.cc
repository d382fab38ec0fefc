#include "coordinator.h"

#include <poll.h>

#include <algorithm>
#include <array>
#include <memory>
#include <vector>

#include "child.h"
#include "lines.h"
#include "progress.h"
#include "publisher.h"
#include "screen.h"
#include "tally.h"
#include "workers.h"

namespace job {
namespace {

// So many events may be published and not handled: the time from publish to handling shall be the
// engine's, not that of an ever longer queue.
constexpr uint64_t kMaxBacklog = 2000;
constexpr uint64_t kMoreForVictim = 4;
// Without any progress for this long, what is missing counts as lost.
constexpr uint64_t kStallNs = 30'000'000'000;

class Job {
 public:
  Job(const Settings& settings, Lines* lines) : lines_(*lines) {
    // The processes first: they are made before this one has threads.
    for (int i = 1; i <= kConsumers; ++i) {
      Settings of_child = settings;
      of_child.consumer = i;
      children_.push_back(
          std::make_unique<Child>("consumer " + std::to_string(i), "--consumer", of_child));
    }
    children_.push_back(std::make_unique<Child>("the reader", "--reader", settings));
    connection_ = std::make_unique<Connection>(settings);
    publisher_ = std::make_unique<Publisher>(connection_.get(), lines);
    progress_ = std::make_unique<ProgressReader>(connection_.get(), settings);
  }

  bool run() {
    check_new_stream();
    progress_->reset();
    while (ready_ < children_.size()) wait(kTimeoutMs, "the workers do not get ready");
    screen_.message("server " + connection_->server() + "; consumers " +
                    std::to_string(child(1).pid()) + ", " + std::to_string(child(2).pid()) + ", " +
                    std::to_string(child(3).pid()) + "; reader " +
                    std::to_string(children_.back()->pid()));
    last_progress_ns_ = monotonic_ns();
    while (!finished() && monotonic_ns() - last_progress_ns_ < kStallNs) {
      publisher_->submit(limit());
      drive_kill();
      wait(100, nullptr);
      screen_.progress(*publisher_, tally_, lines_.expected());
    }
    stop();
    const Progress progress = progress_->read_all();
    Verdict verdict = tally_.compare(publisher_->all());
    verdict.miscounted = tally_.compare(progress);
    print_table(&screen_, *publisher_, progress, &tally_, verdict);
    const bool done = publisher_->done() && killed_;
    if (!done) screen_.message("the job did not come to its end");
    return done && verdict.ok();
  }

 private:
  Child& child(int consumer) { return *children_[static_cast<size_t>(consumer) - 1]; }

  void check_new_stream() {
    pulse_stream_info info = {};
    info.size = sizeof info;
    pulse_error error = PULSE_ERROR_INIT;
    check(pulse_stream_info_wait(connection_->stream(), &info, kTimeoutMs, &error), error, "info");
    if (info.length > 0) throw Error("the stream has events already; give a new one (--stream)");
  }

  // How many adds may have been started by now.
  uint64_t limit() const {
    uint64_t limit = tally_.distinct_handled() + kMaxBacklog;
    if (killed_) return limit;
    // The kill belongs in the middle.  When all is handled the victim needs more to hold: a little,
    // so that what there is lasts until it has some.
    const uint64_t started = publisher_->started();
    uint64_t gate = lines_.expected() * 6 / 10;
    if (tally_.distinct_handled() == started) gate = std::max(gate, started + kMoreForVictim);
    return std::min(limit, gate);
  }

  bool finished() const {
    return publisher_->done() && tally_.distinct_handled() >= publisher_->started() &&
           tally_.total_seen() >= publisher_->started();
  }

  // In the middle: tells the victim to hold on to what it has; its answer brings the kill.
  void drive_kill() {
    if (ordered_hold_ || tally_.distinct_handled() < lines_.expected() * 4 / 10) return;
    ordered_hold_ = true;
    child(kVictim).order(kOrderHold);
  }

  void wait(int timeout_ms, const char* or_else) {
    std::vector<struct pollfd> fds = {{pulse_queue_fd(connection_->queue()), POLLIN, 0}};
    for (const auto& one : children_) fds.push_back({one->report_fd(), POLLIN, 0});
    const int n = poll(fds.data(), fds.size(), timeout_ms);
    if (n == 0 && or_else) throw Error(or_else);
    publisher_->take();
    for (size_t i = 0; i < children_.size(); ++i) {
      if (fds[i + 1].revents) read_reports(static_cast<int>(i) + 1, children_[i].get());
    }
  }

  void read_reports(int number, Child* from) {
    std::vector<Record> records;
    from->read(&records);
    if (!records.empty()) last_progress_ns_ = monotonic_ns();
    for (const Record& record : records) {
      switch (record.kind) {
        case RecordKind::kReady:
          ++ready_;
          break;
        case RecordKind::kHandled:
          tally_.handled(number, record);
          break;
        case RecordKind::kSeen:
          tally_.seen(record);
          break;
        case RecordKind::kHolding:
          kill_holder(number, from, record.count);
          break;
        case RecordKind::kNotice:
          tally_.notice(record);
          break;
      }
    }
  }

  void kill_holder(int number, Child* holder, uint64_t held) {
    holder->kill();
    killed_ = true;
    tally_.consumer(number).held = held;
    screen_.message("killed " + holder->name() + " (pid " + std::to_string(holder->pid()) +
                    ") with SIGKILL; it held " + std::to_string(held) +
                    " events that it had not acked");
  }

  // Lets the workers end, and takes their last reports.
  void stop() {
    for (const auto& one : children_) one->order(kOrderStop);
    const uint64_t deadline = monotonic_ns() + kStallNs;
    for (bool running = true; running && monotonic_ns() < deadline;) {
      wait(100, nullptr);
      running = false;
      for (const auto& one : children_) running = running || one->running();
    }
  }

  Lines& lines_;
  Screen screen_;
  std::vector<std::unique_ptr<Child>> children_;  // the consumers, then the reader
  std::unique_ptr<Connection> connection_;
  std::unique_ptr<Publisher> publisher_;
  std::unique_ptr<ProgressReader> progress_;
  Tally tally_{kConsumers + 1};
  uint64_t ready_ = 0;
  uint64_t last_progress_ns_ = 0;
  bool ordered_hold_ = false;
  bool killed_ = false;
};

}  // namespace

int run_job(const Settings& settings, const std::string& path) {
  Lines lines(path);
  return Job(settings, &lines).run() ? 0 : 1;
}

}  // namespace job
