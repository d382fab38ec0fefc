/* Ways of adding events to streams. */
#ifndef PULSEENGINE_BENCH_ADD_SIDES_H
#define PULSEENGINE_BENCH_ADD_SIDES_H

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "engine.h"
#include "hiredis_connection.h"
#include "measure.h"

namespace bench {

// Trims with every add: a tenth of this is less than two adds.
constexpr int64_t kTrimAlways = 10;

extern const std::string kEventName;
extern const std::string kPayload;  // 64 bytes

// The XADD that the engine sends for an event of these to a stream of this length, always with
// MAXLEN.
Words add_command(Place& place, int64_t max_len);

// What one stream's completions have told; on the loop's thread.
struct AddLane {
  class EngineAdds* owner = nullptr;
  Handle<pulse_stream> stream;
  pulse_target target = PULSE_TARGET_INIT;
  pulse_event_id last{};
  uint64_t completed = 0;
  uint64_t added_before = 0;
};

// The engine with so many adds under way per stream; every completion is checked.
class EngineAdds : public Side {
 public:
  EngineAdds(Place& place, int connections, int streams, int in_flight, int64_t max_len,
             std::string payload = kPayload);
  Sample run(double seconds) override;

 protected:
  // Keeps the adds under way, for so long.
  virtual void work(double seconds) = 0;
  // On the loop's thread: an add has completed.
  virtual void on_completed(AddLane& lane) = 0;
  void add(AddLane& lane);

  std::vector<std::unique_ptr<AddLane>>& lanes() { return lanes_; }
  int in_flight() const { return in_flight_; }

  std::atomic<int64_t> under_way_{0};
  std::mutex mutex_;
  std::condition_variable changed_;
  std::atomic<bool> failed_{false};

 private:
  static void on_event(const pulse_event* event, void* user_data);
  void choose_streams(int streams, int64_t max_len);
  void check(AddLane& lane) const;
  void fail(const std::string& text);

  Place& place_;
  int in_flight_;
  const std::string payload_;
  std::vector<std::unique_ptr<AddLane>> lanes_;
  Handle<pulse_engine> engine_;  // closes first: its completions go to the lanes
  std::string failure_;          // the first; under mutex_
};

// Each completion adds the next event, inline on the loop.
class AddsFromLoop : public EngineAdds {
 public:
  using EngineAdds::EngineAdds;

 protected:
  void work(double seconds) override;
  void on_completed(AddLane& lane) override;

 private:
  std::atomic<bool> stop_{false};
};

// One other thread adds, and waits when so many are under way.
class AddsFromThread : public EngineAdds {
 public:
  using EngineAdds::EngineAdds;

 protected:
  void work(double seconds) override;
  void on_completed(AddLane& lane) override;
};

// Blocking hiredis: `threads` connections, each with one add at a time, or `pipeline` of them in
// one go.
class HiredisAdds : public Side {
 public:
  HiredisAdds(Place& place, int threads, int pipeline, const Words& command);
  Sample run(double seconds) override;

 private:
  Place& place_;
  int pipeline_;
  Arguments arguments_;
  std::vector<std::unique_ptr<HiredisConnection>> connections_;
};

// hiredis' asynchronous API in a libuv loop; each completion adds the next event.
class HiredisAsyncAdds : public Side {
 public:
  HiredisAsyncAdds(Place& place, int in_flight, const Words& command);
  ~HiredisAsyncAdds() override;
  Sample run(double seconds) override;

 private:
  struct Loop;
  std::unique_ptr<Loop> loop_;
};

// "1700000000000-5"; Failure when it is no id.
pulse_event_id parse_id(const redisReply* reply);

}  // namespace bench

#endif
