// pulseengine add: publishes one event, or one for each line of the input.

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "failure.h"
#include "input.h"
#include "output.h"
#include "session.h"
#include "signals.h"
#include "verbs.h"

namespace cli {
namespace {

pulse_stream_options stream_options(const AddArguments& arguments) {
  pulse_stream_options options = PULSE_STREAM_OPTIONS_INIT;
  options.max_len = arguments.max_len;
  if (!arguments.ttl.empty()) options.ttl_ms = duration_option_ms("--ttl", arguments.ttl);
  if (!arguments.sliding_ttl.empty()) {
    options.sliding_ttl_ms = duration_option_ms("--sliding-ttl", arguments.sliding_ttl);
  }
  return options;
}

std::vector<pulse_header> parse_headers(const std::vector<std::string>& texts) {
  std::vector<pulse_header> headers;
  for (const std::string& text : texts) {
    const size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0) {
      throw Failure(kExitUsage, "--header: '" + text + "' is not NAME=VALUE");
    }
    const char* value = text.data() + equals + 1;
    headers.push_back({text.data(), equals, value, text.size() - equals - 1});
  }
  return headers;
}

pulse_add_options add_options(const AddArguments& arguments,
                              const std::vector<pulse_header>& headers) {
  pulse_add_options options = PULSE_ADD_OPTIONS_INIT;
  if (arguments.has_topic) {
    options.topic = arguments.topic.data();
    options.topic_len = arguments.topic.size();
  }
  options.headers = headers.empty() ? nullptr : headers.data();
  options.header_count = headers.size();
  options.only_if_exists = arguments.only_if_exists ? 1 : 0;
  return options;
}

int add_one(Session* session, pulse_stream* stream, const AddArguments& arguments,
            const pulse_add_options& options, const std::string& payload) {
  pulse_event_id id = {};
  pulse_error error = PULSE_ERROR_INIT;
  check(pulse_stream_add_wait(stream, arguments.name.data(), arguments.name.size(), payload.data(),
                              payload.size(), &options, &id, session->timeout_ms(), &error),
        error, "add");
  Output out;
  out.line({{"id", id_or_null(id)}});
  out.flush();
  return kExitOk;
}

// Publishes lines with many adds under way at a time, and prints their ids in order.
class LineAdder {
 public:
  LineAdder(Session* session, pulse_stream* stream, const AddArguments& arguments,
            const pulse_add_options& options)
      : session_(*session), stream_(stream), arguments_(arguments), options_(options) {}

  int run(Input* input) {
    while (!stopping_ || !waiting_.empty()) {
      if (!stopping_) submit(input);
      const bool hungry = !stopping_ && !refused_ && waiting_.size() < kMaxWaiting;
      if (hungry && at_end_) {
        stopping_ = true;
        continue;
      }
      // Once stopping, only the answers count; every add has a deadline of its own.
      if (stopping_) {
        take(session_.timeout_ms() + 1000);
        continue;
      }
      switch (session_.wait(hungry ? input->fd() : -1, -1)) {
        case Wake::kInput:
          at_end_ = !input->fill();
          break;
        case Wake::kStop:
          stopping_ = true;
          break;
        case Wake::kOutputEnded:
          output_ended();
          break;
        case Wake::kQueue:
          take(0);
          break;
        case Wake::kTimeout:
          break;
      }
    }
    return failed_ ? kExitFailed : kExitOk;
  }

 private:
  // Enough to keep the server busy, little enough to stop soon.
  static constexpr size_t kMaxWaiting = 4096;

  struct Slot {
    bool done = false;
    Json json;
  };

  // Starts an add for each line that was read, as long as there is room.
  void submit(Input* input) {
    refused_ = false;
    while (waiting_.size() < kMaxWaiting) {
      if (!have_line_ && !input->next_line(&line_)) return;
      have_line_ = true;
      const pulse_target target = session_.target(first_ + waiting_.size());
      pulse_error error = PULSE_ERROR_INIT;
      const pulse_status status =
          pulse_stream_add(stream_, arguments_.name.data(), arguments_.name.size(), line_.data(),
                           line_.size(), &options_, &target, nullptr, &error);
      if (status == PULSE_ERR_AGAIN && !waiting_.empty()) {
        refused_ = true;  // there is room again when one of those under way has ended
        return;
      }
      if (status == PULSE_ERR_INVALID && first_ == 0 && waiting_.empty()) {
        check(status, error, "add");
      }
      have_line_ = false;
      waiting_.emplace_back();
      if (status != PULSE_OK) {
        fail(&waiting_.back(), first_ + waiting_.size(), status, error.message);
        print();
        return;
      }
    }
  }

  // Takes what has ended, and prints the ids whose turn it is.
  void take(int64_t timeout_ms) {
    pulse_event events[256];
    const int64_t n = pulse_queue_poll(session_.queue(), events, sizeof events[0], 256, timeout_ms);
    if (n < 0 || (n == 0 && timeout_ms > 0)) throw Failure(kExitFailed, "add: no answer");
    for (int64_t i = 0; i < n; ++i) {
      const pulse_event& event = events[i];
      Slot* slot = &waiting_[event.token - first_];
      if (event.status != PULSE_OK) {
        fail(slot, event.token + 1, event.status, text_of(event.message, event.message_len));
        continue;
      }
      slot->done = true;
      slot->json = {{"id", id_or_null(event.id)}};
    }
    print();
  }

  // A line that was not added ends the input: the order of events would be broken.
  void fail(Slot* slot, uint64_t line, pulse_status status, std::string why) {
    if (why.empty()) why = pulse_status_message(status);
    std::fprintf(stderr, "pulseengine: line %llu: %s [%s]\n", static_cast<unsigned long long>(line),
                 why.c_str(), pulse_status_name(status));
    slot->done = true;
    slot->json = {{"id", nullptr}, {"error", pulse_status_name(status)}, {"line", line}};
    failed_ = true;
    stopping_ = true;
  }

  void print() {
    while (!waiting_.empty() && waiting_.front().done) {
      out_.line(waiting_.front().json);
      waiting_.pop_front();
      ++first_;
    }
    out_.flush();
    if (out_.ended() && !Signals::stop_requested()) output_ended();
  }

  // Nobody learns the ids any more: the rest of the input stays unpublished.
  void output_ended() {
    failed_ = true;
    stopping_ = true;
  }

  Session& session_;
  pulse_stream* stream_;
  const AddArguments& arguments_;
  const pulse_add_options& options_;
  Output out_;
  std::deque<Slot> waiting_;  // of the lines from first_ on
  uint64_t first_ = 0;        // how many lines were printed
  std::string line_;
  bool have_line_ = false;  // line_ was refused before, and is next
  bool refused_ = false;
  bool at_end_ = false;
  bool stopping_ = false;
  bool failed_ = false;
};

}  // namespace

int add(const GlobalOptions& global, const AddArguments& arguments) {
  const pulse_stream_options stream_opts = stream_options(arguments);
  const std::vector<pulse_header> headers = parse_headers(arguments.headers);
  const pulse_add_options options = add_options(arguments, headers);
  if (!arguments.lines) {
    // Before anything is opened: what cannot be read is not worth a connection.
    const std::string payload = payload_of(arguments.payload);
    Session session(global);
    const StreamHandle stream = session.open_stream(arguments.stream, &stream_opts);
    const int code = add_one(&session, stream.get(), arguments, options, payload);
    session.close();
    return code;
  }
  const std::string source = arguments.has_payload ? arguments.payload : "-";
  if (source != "-" && source.substr(0, 1) != "@") {
    throw Failure(kExitUsage, "--lines: the lines come from '-' or '@file', not from the argument");
  }
  Input input(source);
  Session session(global);
  const StreamHandle stream = session.open_stream(arguments.stream, &stream_opts);
  const int code = LineAdder(&session, stream.get(), arguments, options).run(&input);
  session.close();
  return code;
}

}  // namespace cli
