#include "worker.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "map_worker.h"
#include "pool_worker.h"
#include "program.h"
#include "support.h"

namespace faults {
namespace {

constexpr int64_t kTickMs = 4;         // of publishers
constexpr int64_t kMostInFlight = 64;  // adds of a publisher
constexpr size_t kBatch = 16;          // events handled between two acks

std::string id_text(const pulse_event_id& id) {
  char text[PULSE_EVENT_ID_TEXT_BYTES];
  pulse_event_id_format(&id, text, sizeof text);
  return text;
}

// What the roles around a stream share.
class StreamWorker : public Program {
 public:
  explicit StreamWorker(const Arguments& arguments) : Program(arguments) {
    pulse_stream_options options = PULSE_STREAM_OPTIONS_INIT;
    options.max_len = arguments.number("max_len");
    const std::string stream = arguments.text("stream");
    must(pulse_stream_open(engine_, stream.data(), stream.size(), &options, &stream_, nullptr),
         "stream");
  }
  ~StreamWorker() override { pulse_stream_unref(stream_); }

 protected:
  pulse_stream* stream_ = nullptr;
};

// Adds events at a given rate, several in flight, and writes down how each add ended.
class Publisher final : public StreamWorker {
 public:
  explicit Publisher(const Arguments& arguments)
      : StreamWorker(arguments),
        name_(arguments.text("name")),
        per_second_(arguments.number("rate")),
        last_ms_(ts_now_ms()) {}

 private:
  void work() override {
    const int64_t now = ts_now_ms();
    // What could not be added in time is not made up for.
    if (!paused_) due_ += std::min<int64_t>(now - last_ms_, 10 * kTickMs) * per_second_;
    last_ms_ = now;
    for (; due_ >= 1000 && in_flight_ < kMostInFlight; due_ -= 1000) add();
    due_ = std::min<int64_t>(due_, 1000);
    take(paused_ ? kIdleMs : kTickMs);
    if (!paused_) {
      told_quiet_ = false;
    } else if (in_flight_ == 0 && !told_quiet_) {
      journal_.line("Q -");
      journal_.flush();
      told_quiet_ = true;
    }
  }

  void ordered(const std::string&) override {}

  pulse_status finish() override {
    while (in_flight_ > 0) take(kIdleMs);
    return PULSE_OK;
  }

  std::string key(uint64_t number) const { return name_ + ":" + std::to_string(number); }

  void add() {
    const std::string payload = key(next_);
    const pulse_target to = target(next_);
    const pulse_status status = pulse_stream_add(stream_, "n", 1, payload.data(), payload.size(),
                                                 nullptr, &to, nullptr, nullptr);
    if (status == PULSE_OK) {
      in_flight_++;
    } else {
      journal_.line("N %s %d", payload.c_str(), status);
    }
    next_++;
  }

  void take(int64_t timeout_ms) {
    pulse_event events[kMostInFlight];
    const size_t count = poll(events, kMostInFlight, timeout_ms);
    for (size_t i = 0; i < count; i++) {
      const pulse_event& event = events[i];
      const std::string about = key(event.token);
      in_flight_--;
      if (event.status == PULSE_OK) {
        journal_.line("A %s %s", about.c_str(), id_text(event.id).c_str());
      } else {
        const bool unknown = (event.flags & PULSE_ERROR_OUTCOME_UNKNOWN) != 0;
        journal_.line("%c %s %d", unknown ? 'U' : 'N', about.c_str(), event.status);
      }
    }
    journal_.flush();
  }

  const std::string name_;
  const int64_t per_second_;
  int64_t last_ms_;
  int64_t due_ = 0;  // thousandths of events
  int64_t in_flight_ = 0;
  bool told_quiet_ = false;
  uint64_t next_ = 1;
};

// What readers and consumers share.
class Receiver : public StreamWorker {
 public:
  using StreamWorker::StreamWorker;

 protected:
  void write_event(char letter, const pulse_event& event) {
    journal_.line("%c %.*s %s %llu", letter,
                  static_cast<int>(std::min<size_t>(event.payload_len, 64)), event.payload,
                  id_text(event.id).c_str(), static_cast<unsigned long long>(event.deliveries));
  }

  void write_notice(const pulse_event& event) {
    switch (event.kind) {
      case PULSE_EVENT_GAP:
        journal_.line("G %s %s %llu", id_text(event.id).c_str(), id_text(event.id_end).c_str(),
                      static_cast<unsigned long long>(event.count));
        break;
      case PULSE_EVENT_LOST:
        journal_.line("L %s", id_text(event.id).c_str());
        break;
      case PULSE_EVENT_RECREATED:
        journal_.line("R %s", id_text(event.id).c_str());
        break;
      case PULSE_EVENT_DISCONNECTED:
        journal_.line("D -");
        break;
      case PULSE_EVENT_RECONNECTED:
        journal_.line("C -");
        break;
      case PULSE_EVENT_OWNERSHIP_LOST:
        journal_.line("X -");
        break;
      case PULSE_EVENT_READ_ERROR:
        journal_.line("E %d", event.status);
        break;
      default:
        break;
    }
  }

  void ordered(const std::string&) override {}
};

class Reader final : public Receiver {
 public:
  explicit Reader(const Arguments& arguments) : Receiver(arguments) {
    pulse_reader_options options = PULSE_READER_OPTIONS_INIT;
    options.start = PULSE_START_OLDEST;
    options.block_ms = arguments.number("block_ms");
    options.buffer = arguments.number("buffer");
    options.max_polled = arguments.number("buffer");
    const pulse_target to = target(0);
    must(pulse_reader_open(stream_, &options, &to, &reader_, nullptr), "reader");
  }

 private:
  void work() override {
    if (paused_) {
      idle();
      return;
    }
    pulse_event events[256];
    const size_t count = poll(events, 256, kIdleMs);
    for (size_t i = 0; i < count; i++) {
      if (events[i].kind == PULSE_EVENT_MESSAGE) {
        write_event('H', events[i]);
      } else if (events[i].kind == PULSE_EVENT_READY) {
        journal_.line("Y -");
      } else {
        write_notice(events[i]);
      }
    }
    journal_.flush();
  }

  pulse_status finish() override {
    const pulse_status status = pulse_reader_close_wait(reader_, TS_DEADLINE_MS, nullptr);
    pulse_reader_unref(reader_);
    return status;
  }

  pulse_reader* reader_ = nullptr;
};

// Takes events, writes them down, acks them, and acks again until the ack is confirmed or refused.
class Consumer final : public Receiver {
 public:
  explicit Consumer(const Arguments& arguments)
      : Receiver(arguments),
        work_us_(arguments.number("work_us")),
        holding_(arguments.number("hold") == 1) {
    pulse_sink_options options = PULSE_SINK_OPTIONS_INIT;
    options.start = PULSE_START_OLDEST;
    options.block_ms = arguments.number("block_ms");
    options.ack_grace_ms = arguments.number("grace_ms");
    options.buffer = arguments.number("buffer");
    const std::string group = arguments.text("group");
    const pulse_target to = target(0);
    must(pulse_sink_open(stream_, group.data(), group.size(), &options, &to, &sink_, nullptr),
         "sink");
  }

 private:
  void work() override {
    if (paused_) {
      idle();
      return;
    }
    pulse_event events[kBatch];
    const size_t count = poll(events, kBatch, kIdleMs);
    std::vector<pulse_ack_handle> done;
    for (size_t i = 0; i < count; i++) {
      const pulse_event& event = events[i];
      if (event.kind == PULSE_EVENT_MESSAGE) {
        take(event, &done);
      } else if (event.kind == PULSE_EVENT_ACKED) {
        acked(event);
      } else if (event.kind == PULSE_EVENT_READY) {
        char name[27] = "-";
        pulse_sink_get_consumer(sink_, name, sizeof name);
        journal_.line("Y %s", name);
      } else {
        write_notice(event);
      }
    }
    journal_.flush();
    ack(done);
    retry();
  }

  void take(const pulse_event& event, std::vector<pulse_ack_handle>* done) {
    if (holding_) {
      write_event('T', event);
      held_.push_back(event.ack);
      held_lines_.push_back(std::string(event.payload, event.payload_len) + " " +
                            id_text(event.id) + " " + std::to_string(event.deliveries));
      return;
    }
    if (work_us_ > 0) usleep(static_cast<useconds_t>(random_up_to(work_us_)));
    write_event('H', event);
    done->push_back(event.ack);
  }

  void ordered(const std::string& order) override {
    holding_ = order == "hold";
    if (order != "ack") return;
    for (const std::string& line : held_lines_) journal_.line("H %s", line.c_str());
    journal_.flush();
    ack(held_);
    held_.clear();
    held_lines_.clear();
  }

  void ack(const std::vector<pulse_ack_handle>& handles) {
    if (handles.empty()) return;
    const pulse_target to = target(next_ack_);
    const pulse_status status =
        pulse_sink_ack(sink_, handles.data(), handles.size(), &to, nullptr, nullptr);
    if (status == PULSE_OK) {
      under_way_[next_ack_++] = handles;
    } else {
      for (const pulse_ack_handle& handle : handles) failed(handle, status);
    }
  }

  // One that did not end in time has no results.
  void acked(const pulse_event& event) {
    const auto found = under_way_.find(event.token);
    if (found == under_way_.end()) must(PULSE_ERR_INTERNAL, "an ack that ended twice");
    for (size_t i = 0; i < found->second.size(); i++) {
      const pulse_ack_handle& handle = found->second[i];
      const std::string id = id_text(handle.id);
      pulse_status status = event.status;
      if (i < event.result_count) {
        status = event.results[i].status;
        if (id_text(event.results[i].id) != id) must(PULSE_ERR_INTERNAL, "results out of order");
      }
      if (status == PULSE_OK) {
        journal_.line("K %s", id.c_str());
      } else if (status == PULSE_ERR_NOT_OWNER) {
        journal_.line("O %s", id.c_str());
      } else {
        failed(handle, status);
      }
    }
    under_way_.erase(found);
  }

  void failed(const pulse_ack_handle& handle, pulse_status status) {
    journal_.line("F %s %d", id_text(handle.id).c_str(), status);
    again_.push_back(handle);
  }

  // A moment later, not in the turn in which it failed.
  void retry() {
    if (again_.empty() || ts_now_ms() < next_retry_ms_) return;
    next_retry_ms_ = ts_now_ms() + 100;
    std::vector<pulse_ack_handle> handles;
    handles.swap(again_);
    ack(handles);
  }

  pulse_status finish() override {
    const pulse_status status = pulse_sink_close_wait(sink_, TS_DEADLINE_MS, nullptr);
    pulse_sink_unref(sink_);
    return status;
  }

  const int64_t work_us_;
  pulse_sink* sink_ = nullptr;
  bool holding_;
  std::vector<pulse_ack_handle> held_;
  std::vector<std::string> held_lines_;
  uint64_t next_ack_ = 1;
  std::map<uint64_t, std::vector<pulse_ack_handle>> under_way_;
  std::vector<pulse_ack_handle> again_;
  int64_t next_retry_ms_ = 0;
};

}  // namespace

int run_worker(int argc, char** argv) {
  const Arguments arguments(argc, argv);
  const std::string role = argc > 2 ? argv[2] : "";
  if (role == "publisher") return Publisher(arguments).run();
  if (role == "consumer") return Consumer(arguments).run();
  if (role == "reader") return Reader(arguments).run();
  if (role == "mapper") return run_map_worker(arguments);
  if (role == "node") return run_pool_worker(arguments);
  fprintf(stderr, "worker: no such role: %s\n", role.c_str());
  return 2;
}

}  // namespace faults
