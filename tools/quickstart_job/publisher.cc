#include "publisher.h"

namespace job {
namespace {

constexpr uint64_t kMaxUnderWay = 256;

}  // namespace

void Publisher::submit(uint64_t max_started) {
  while (!input_ended_ && all_.size() < max_started && all_.size() - confirmed_ < kMaxUnderWay) {
    if (!have_line_ && !lines_.next(&line_)) {
      input_ended_ = true;
      return;
    }
    have_line_ = true;
    const LineEvent event = parse_line(line_);
    pulse_add_options options = PULSE_ADD_OPTIONS_INIT;
    if (!event.topic.empty()) {
      options.topic = event.topic.data();
      options.topic_len = event.topic.size();
    }
    pulse_target target = connection_.target();
    target.token = all_.size();
    pulse_error error = PULSE_ERROR_INIT;
    const uint64_t now = monotonic_ns();
    const pulse_status status =
        pulse_stream_add(connection_.stream(), event.name.data(), event.name.size(), line_.data(),
                         line_.size(), &options, &target, nullptr, &error);
    if (status == PULSE_ERR_AGAIN) return;
    check(status, error, "add");
    have_line_ = false;
    all_.push_back({{0, 0},
                    now,
                    checksum(event.name.data(), event.name.size(), event.topic.data(),
                             event.topic.size(), line_.data(), line_.size())});
  }
}

void Publisher::take() {
  pulse_event events[256];
  const int64_t n = pulse_queue_poll(connection_.queue(), events, sizeof events[0], 256, 0);
  for (int64_t i = 0; i < n; ++i) {
    const pulse_event& event = events[i];
    if (event.kind != PULSE_EVENT_ADDED) continue;
    if (event.status != PULSE_OK) {
      throw Error(
          "add failed: " +
          std::string(event.message ? event.message : "", event.message ? event.message_len : 0) +
          " [" + pulse_status_name(event.status) + "]");
    }
    all_[event.token].id = event.id;
    ++confirmed_;
    last_answer_ns_ = monotonic_ns();
  }
}

double Publisher::seconds() const {
  return all_.empty() ? 0 : static_cast<double>(last_answer_ns_ - all_[0].sent_ns) / 1e9;
}

}  // namespace job
