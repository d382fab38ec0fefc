#include "add_sides.h"

#include <algorithm>

#include "cpu.h"
#include "failure.h"

namespace bench {

const std::string kEventName = "measured";
const std::string kPayload(64, 'x');

Words add_command(Place& place, int64_t max_len) {
  const Handle<pulse_engine> engine = open_engine(place.url());
  const Handle<pulse_stream> stream = open_stream(engine.get(), "reference", kTrimAlways);
  Words words = place.capture("XADD", [&] { add_and_wait(stream.get(), kEventName, kPayload); });
  const auto length = std::find(words.begin(), words.end(), std::to_string(kTrimAlways));
  require(words.size() > 4 && words[2] == "MAXLEN" && length != words.end(),
          "an add without MAXLEN");
  *length = std::to_string(max_len);
  return words;
}

EngineAdds::EngineAdds(Place& place, int connections, int streams, int in_flight, int64_t max_len,
                       std::string payload)
    : place_(place),
      in_flight_(in_flight),
      payload_(std::move(payload)),
      engine_(open_engine(place.url(), connections)) {
  choose_streams(streams, max_len);
}

// Streams have a connection by their name: takes names until each stream has one for itself.
void EngineAdds::choose_streams(int streams, int64_t max_len) {
  for (int i = 0; lanes_.size() < static_cast<size_t>(streams); ++i) {
    require(i < 1000, "no names for streams that use different connections");
    auto lane = std::make_unique<AddLane>();
    lane->owner = this;
    lane->stream = open_stream(engine_.get(), "adds-" + std::to_string(i), max_len);
    lane->target.callback = on_event;
    lane->target.user_data = lane.get();
    lane->last = add_and_wait(lane->stream.get(), kEventName, kPayload);
    if (streams == 1 || place_.clients_in("xadd") == static_cast<int>(lanes_.size()) + 1) {
      lanes_.push_back(std::move(lane));
    }
  }
}

void EngineAdds::fail(const std::string& text) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (failure_.empty()) failure_ = text;
  failed_ = true;
  changed_.notify_all();
}

void EngineAdds::add(AddLane& lane) {
  under_way_.fetch_add(1, std::memory_order_relaxed);
  pulse_error error = PULSE_ERROR_INIT;
  if (pulse_stream_add(lane.stream.get(), kEventName.data(), kEventName.size(), payload_.data(),
                       payload_.size(), nullptr, &lane.target, nullptr, &error) != PULSE_OK) {
    fail(std::string("pulse_stream_add: ") + error.message);
  }
}

void EngineAdds::on_event(const pulse_event* event, void* user_data) {
  AddLane& lane = *static_cast<AddLane*>(user_data);
  if (event->status != PULSE_OK || event->kind != PULSE_EVENT_ADDED) {
    lane.owner->fail("an add failed: " + std::string(event->message, event->message_len));
  } else if (!(lane.last < event->id)) {
    lane.owner->fail("the ids of adds do not go up");
  }
  lane.last = event->id;
  ++lane.completed;
  lane.owner->on_completed(lane);
}

Sample EngineAdds::run(double seconds) {
  for (auto& lane : lanes_) {
    lane->completed = 0;
    pulse_stream_info info{};
    info.size = sizeof info;
    pulse_error error = PULSE_ERROR_INIT;
    require_ok(pulse_stream_info_wait(lane->stream.get(), &info, kWaitMs, &error), error, "info");
    lane->added_before = info.entries_added;
  }
  Sample sample;
  const double start = now_seconds(), cpu = own_cpu_seconds(), server = place_.cpu();
  work(seconds);
  {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [&] { return failed_ || under_way_ == 0; });
    require(!failed_, failure_);
  }
  sample.seconds = now_seconds() - start;
  sample.client_cpu = own_cpu_seconds() - cpu;
  sample.server_cpu = place_.cpu() - server;
  for (auto& lane : lanes_) {
    check(*lane);
    sample.operations += static_cast<double>(lane->completed);
  }
  return sample;
}

// That the server has what it confirmed: the newest id, and as many adds.
void EngineAdds::check(AddLane& lane) const {
  pulse_stream_info info{};
  info.size = sizeof info;
  pulse_error error = PULSE_ERROR_INIT;
  require_ok(pulse_stream_info_wait(lane.stream.get(), &info, kWaitMs, &error), error, "info");
  require(pulse_event_id_compare(&info.last_id, &lane.last) == 0,
          "the stream does not end with the id that was confirmed last");
  if (info.entries_added == 0) return;  // the server cannot tell
  require(info.entries_added == lane.added_before + lane.completed,
          "the server has not as many events as were confirmed");
}

void AddsFromLoop::work(double seconds) {
  stop_ = false;
  for (auto& lane : lanes()) {
    for (int i = 0; i < in_flight(); ++i) add(*lane);
  }
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
  stop_ = true;
}

void AddsFromLoop::on_completed(AddLane& lane) {
  if (!stop_.load(std::memory_order_relaxed)) add(lane);
  if (under_way_.fetch_sub(1, std::memory_order_relaxed) != 1) return;
  const std::lock_guard<std::mutex> lock(mutex_);
  changed_.notify_all();
}

void AddsFromThread::work(double seconds) {
  AddLane& lane = *lanes()[0];
  const double end = now_seconds() + seconds;
  const int64_t low = in_flight() / 2;
  while (now_seconds() < end) {
    for (int64_t room = in_flight() - under_way_; room > 0; --room) add(lane);
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [&] { return failed_ || under_way_ <= low; });
    if (failed_) return;
  }
}

void AddsFromThread::on_completed(AddLane&) {
  const int64_t left = under_way_.fetch_sub(1) - 1;
  if (left != in_flight() / 2 && left != 0) return;
  const std::lock_guard<std::mutex> lock(mutex_);
  changed_.notify_all();
}

pulse_event_id parse_id(const redisReply* reply) {
  pulse_event_id id{};
  require(reply->type == REDIS_REPLY_STRING &&
              pulse_event_id_parse(reply->str, static_cast<int64_t>(reply->len), &id) == PULSE_OK,
          "hiredis: no id");
  return id;
}

HiredisAdds::HiredisAdds(Place& place, int threads, int pipeline, const Words& command)
    : place_(place), pipeline_(pipeline), arguments_(command) {
  for (int i = 0; i < threads; ++i) {
    connections_.push_back(std::make_unique<HiredisConnection>(place));
  }
}

Sample HiredisAdds::run(double seconds) {
  std::atomic<int64_t> added{0};
  std::vector<std::thread> threads;
  std::vector<std::string> failures(connections_.size());
  Sample sample;
  const double start = now_seconds(), cpu = own_cpu_seconds(), server = place_.cpu();
  for (size_t i = 0; i < connections_.size(); ++i) {
    threads.emplace_back([&, i] {
      HiredisConnection& connection = *connections_[i];
      pulse_event_id last{};
      try {
        while (now_seconds() < start + seconds) {
          for (int n = 0; n < pipeline_; ++n) connection.append(arguments_);
          for (int n = 0; n < pipeline_; ++n) {
            const pulse_event_id id = parse_id(connection.reply().get());
            require(last < id, "hiredis: the ids do not go up");
            last = id;
          }
          added += pipeline_;
        }
      } catch (const Failure& failure) {
        failures[i] = failure.what();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::string& failure : failures) require(failure.empty(), failure);
  sample.seconds = now_seconds() - start;
  sample.client_cpu = own_cpu_seconds() - cpu;
  sample.server_cpu = place_.cpu() - server;
  sample.operations = static_cast<double>(added);
  return sample;
}

}  // namespace bench
