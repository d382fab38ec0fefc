#include "sink_sides.h"

#include <atomic>
#include <thread>

#include "cpu.h"
#include "failure.h"

namespace bench {
namespace {

// One run of the sink: used by the thread that handles events, but for what is atomic.
struct Run {
  const Events* events = nullptr;
  std::atomic<pulse_sink*> sink{nullptr};
  std::atomic<bool> ready{false};
  std::atomic<const char*> failure{nullptr};
  std::atomic<bool> stop{false};
  size_t next = 0;
  uint64_t asked = 0;  // acks that were accepted

  static void on_event(const pulse_event* event, void* user_data) {
    Run& run = *static_cast<Run*>(user_data);
    if (run.take(*event)) run.ack(&event->ack, 1);
  }

  void poll(pulse_queue* queue) {
    constexpr size_t kBatch = 256;
    std::vector<pulse_event> batch(kBatch);
    std::vector<pulse_ack_handle> handles(kBatch);
    for (;;) {
      const int64_t count = pulse_queue_poll(queue, batch.data(), sizeof batch[0], kBatch, -1);
      if (count < 0) return;  // closed
      size_t taken = 0;
      for (int64_t i = 0; i < count; ++i) {
        const pulse_event& event = batch[static_cast<size_t>(i)];
        if (take(event)) handles[taken++] = event.ack;
      }
      if (taken > 0) ack(handles.data(), taken);
    }
  }

 private:
  // Whether it is to be acked.
  bool take(const pulse_event& event) {
    if (event.kind == PULSE_EVENT_READY) ready = true;
    if (event.kind == PULSE_EVENT_READY || event.kind == PULSE_EVENT_CLOSED) return false;
    if (event.kind != PULSE_EVENT_MESSAGE) {
      failure = "the sink tells of something that should not happen";
      return false;
    }
    if (stop) return false;  // goes back to the group
    if (next == events->ids.size() || event.deliveries != 1 ||
        pulse_event_id_compare(&event.id, &events->ids[next]) != 0) {
      failure = "the sink delivers another event than the next one";
      return false;
    }
    ++next;
    return true;
  }

  void ack(const pulse_ack_handle* handles, size_t count) {
    while (sink == nullptr) std::this_thread::yield();  // pulse_sink_open has not returned yet
    const pulse_status status = pulse_sink_ack(sink, handles, count, nullptr, nullptr, nullptr);
    if (status == PULSE_OK) {
      asked += count;
    } else if (status != PULSE_ERR_CLOSED || !stop) {
      failure = "an ack is refused";
    }
  }
};

pulse_sink_metrics metrics_of(pulse_sink* sink) {
  pulse_sink_metrics metrics{};
  metrics.size = sizeof metrics;
  require(pulse_sink_get_metrics(sink, &metrics) == PULSE_OK, "pulse_sink_get_metrics");
  return metrics;
}

}  // namespace

EngineSink::EngineSink(Place& place, const Events& events, Acks acks)
    : place_(place),
      events_(events),
      acks_(acks),
      engine_(open_engine(place.url())),
      stream_(open_stream(engine_.get(), events.stream, PULSE_UNLIMITED)) {}

Sample EngineSink::run(double seconds) {
  Run run;
  run.events = &events_;
  pulse_target target = PULSE_TARGET_INIT;
  Handle<pulse_queue> queue;
  pulse_error error = PULSE_ERROR_INIT;
  if (acks_ == Acks::in_batches) {
    require_ok(pulse_queue_new(&target.queue, &error), error, "pulse_queue_new");
    queue.reset(target.queue);
  } else {
    target.callback = Run::on_event;
    target.user_data = &run;
  }
  pulse_sink_options options = PULSE_SINK_OPTIONS_INIT;
  options.start = PULSE_START_OLDEST;
  pulse_sink* sink = nullptr;
  const std::string group = "measured";
  require_ok(
      pulse_sink_open(stream_.get(), group.data(), group.size(), &options, &target, &sink, &error),
      error, "pulse_sink_open");
  const Handle<pulse_sink> owned(sink);
  run.sink = sink;
  std::thread poller([&] {
    if (queue != nullptr) run.poll(queue.get());
  });
  while (!run.ready) std::this_thread::yield();

  const uint64_t before = metrics_of(sink).acked;
  const double start = now_seconds(), cpu = own_cpu_seconds(), server = place_.cpu();
  uint64_t acked = 0;
  while (now_seconds() < start + seconds && acked < events_.ids.size() && run.failure == nullptr) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    acked = metrics_of(sink).acked;
  }
  Sample sample;
  sample.seconds = now_seconds() - start;
  sample.client_cpu = own_cpu_seconds() - cpu;
  sample.server_cpu = place_.cpu() - server;
  sample.operations = static_cast<double>(acked - before);
  run.stop = true;

  const pulse_status closed = pulse_sink_close_wait(sink, kWaitMs, &error);
  if (queue != nullptr) pulse_queue_close(queue.get());
  poller.join();
  require_ok(closed, error, "pulse_sink_close_wait");
  place_.integer({"XGROUP", "DESTROY", events_.key, group});
  require(run.failure == nullptr, run.failure == nullptr ? "" : run.failure.load());
  const pulse_sink_metrics metrics = metrics_of(sink);
  require(metrics.acked == run.asked && metrics.not_owner == 0 && metrics.lost == 0,
          "not all events that were handled are acked: " + std::to_string(metrics.acked) + " of " +
              std::to_string(run.asked));
  return sample;
}

HiredisSink::HiredisSink(Place& place, const Events& events, int count)
    : place_(place), events_(events), count_(count), connection_(place) {}

Sample HiredisSink::run(double seconds) {
  connection_.command(Arguments({"XGROUP", "CREATE", events_.key, "reference", "0"}));
  const Words read_words = {"XREADGROUP",           "GROUP",   "reference", "consumer", "COUNT",
                            std::to_string(count_), "STREAMS", events_.key, ">"};
  const Arguments read(read_words);
  std::vector<const char*> texts = {"XACK", events_.key.c_str(), "reference"};
  std::vector<size_t> sizes = {4, events_.key.size(), 9};

  size_t next = 0;
  Sample sample;
  const double start = now_seconds(), cpu = own_cpu_seconds(), server = place_.cpu();
  while (now_seconds() < start + seconds && next < events_.ids.size()) {
    const HiredisReply reply = connection_.command(read);
    require(reply->type == REDIS_REPLY_ARRAY && reply->elements == 1, "hiredis: no events");
    const redisReply* entries = reply->element[0]->element[1];
    texts.resize(3);
    sizes.resize(3);
    for (size_t i = 0; i < entries->elements; ++i) {
      const redisReply* id = entries->element[i]->element[0];
      require(next < events_.ids.size() &&
                  events_.id_texts[next].compare(0, std::string::npos, id->str, id->len) == 0,
              "hiredis: another event than the next one");
      ++next;
      texts.push_back(id->str);
      sizes.push_back(id->len);
    }
    const HiredisReply acked = connection_.command(texts, sizes);
    require(acked->integer == static_cast<long long>(entries->elements), "hiredis: not all acked");
  }
  sample.seconds = now_seconds() - start;
  sample.client_cpu = own_cpu_seconds() - cpu;
  sample.server_cpu = place_.cpu() - server;
  sample.operations = static_cast<double>(next);
  connection_.command(Arguments({"XGROUP", "DESTROY", events_.key, "reference"}));
  return sample;
}

}  // namespace bench
