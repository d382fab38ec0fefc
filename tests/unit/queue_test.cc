// The queue: what is pushed comes out once and in order, whoever waits wakes up, and the descriptor
// is readable exactly while something waits.
#include "engine/queue.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <atomic>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "support.h"

namespace pulseengine {
namespace {

std::atomic<int> deliveries_alive{0};

// `count` events, numbered from `first`.
class Numbers final : public Delivery {
 public:
  Numbers(Target target, uint64_t first, uint64_t count)
      : target_(std::move(target)), next_(first), end_(first + count) {
    ++deliveries_alive;
  }
  ~Numbers() override { --deliveries_alive; }
  const Target& target() const override { return target_; }
  size_t remaining() const override { return end_ - next_; }
  bool next_event(pulse_event* event) override {
    if (next_ == end_) return false;
    event->count = next_++;
    return true;
  }

 private:
  Target target_;
  uint64_t next_, end_;
};

Ref<Delivery> polled(uint64_t first, uint64_t count = 1, uint64_t token = 0) {
  return make_ref<Numbers>(Target(nullptr, nullptr, nullptr, nullptr, token), first, count);
}

struct Seen {
  std::vector<uint64_t> numbers;
  Queue* queue = nullptr;
  static void on_event(const pulse_event* event, void* self) {
    static_cast<Seen*>(self)->numbers.push_back(event->count);
  }
};

Ref<Delivery> dispatched(Seen* seen, uint64_t first, uint64_t count = 1) {
  return make_ref<Numbers>(Target(nullptr, Seen::on_event, seen, nullptr, 0), first, count);
}

std::vector<uint64_t> take(Queue& queue, size_t max) {
  std::vector<pulse_event> events(max);
  int64_t n = queue.poll(events.data(), sizeof(pulse_event), max, 0);
  std::vector<uint64_t> numbers;
  for (int64_t i = 0; i < n; i++) numbers.push_back(events[static_cast<size_t>(i)].count);
  return numbers;
}

bool readable(int fd) {
  pollfd p{fd, POLLIN, 0};
  return ::poll(&p, 1, 0) == 1;
}

class QueueTest : public testing::Test {
 protected:
  void TearDown() override {
    queue = nullptr;
    EXPECT_EQ(deliveries_alive.load(), 0);
  }
  Ref<Queue> queue = make_ref<Queue>();
};

using Numbered = std::vector<uint64_t>;

TEST_F(QueueTest, GivesEventsInOrderAcrossDeliveriesAndBatches) {
  queue->push(polled(1, 3));
  queue->push(polled(4));
  queue->push(polled(5, 4));
  EXPECT_EQ(queue->size(), 8U);
  EXPECT_EQ(take(*queue, 2), (Numbered{1, 2}));
  EXPECT_EQ(queue->size(), 6U);
  EXPECT_EQ(take(*queue, 4), (Numbered{3, 4, 5, 6}));
  EXPECT_EQ(take(*queue, 100), (Numbered{7, 8}));
  EXPECT_EQ(take(*queue, 100), Numbered{});
}

TEST_F(QueueTest, EventsCarryTheTokenAndTheirSize) {
  queue->push(polled(1, 1, 77));
  pulse_event event;
  ASSERT_EQ(queue->poll(&event, sizeof event, 1, 0), 1);
  EXPECT_EQ(event.token, 77U);
  EXPECT_EQ(event.size, sizeof event);
  // An older caller's struct, in an array of its own stride.
  queue->push(polled(8, 2, 5));
  constexpr size_t kSmall = offsetof(pulse_event, id);
  alignas(pulse_event) unsigned char memory[2 * kSmall + 8];
  std::memset(memory, 0xAB, sizeof memory);
  ASSERT_EQ(queue->poll(reinterpret_cast<pulse_event*>(memory), kSmall, 2, 0), 2);
  for (size_t i = 0; i < 2; i++) {
    pulse_event copy{};
    std::memcpy(&copy, memory + i * kSmall, kSmall);
    EXPECT_EQ(copy.size, kSmall);
    EXPECT_EQ(copy.token, 5U);
    EXPECT_EQ(copy.count, 8 + i);
  }
  for (size_t i = 2 * kSmall; i < sizeof memory; i++) EXPECT_EQ(memory[i], 0xAB);
}

TEST_F(QueueTest, ViewsLiveUntilTheNextPoll) {
  queue->push(polled(1));
  EXPECT_EQ(take(*queue, 10), (Numbered{1}));
  EXPECT_EQ(deliveries_alive.load(), 1);
  EXPECT_EQ(take(*queue, 10), Numbered{});
  EXPECT_EQ(deliveries_alive.load(), 0);
}

TEST_F(QueueTest, EmptyDeliveriesAreNoEvents) {
  queue->push(polled(1, 0));
  queue->push(polled(1, 0));
  EXPECT_EQ(take(*queue, 10), Numbered{});
  queue->push(polled(1, 0));
  queue->push(polled(2));
  EXPECT_EQ(take(*queue, 10), (Numbered{2}));
}

TEST_F(QueueTest, DispatchAndPollTakeWhatIsTheirs) {
  Seen seen;
  queue->push(polled(1));
  queue->push(dispatched(&seen, 2, 3));
  queue->push(polled(5));
  EXPECT_EQ(queue->size(), 5U);
  EXPECT_EQ(queue->dispatch(2, 0), 2);
  EXPECT_EQ(seen.numbers, (Numbered{2, 3}));
  EXPECT_EQ(take(*queue, 10), (Numbered{1, 5}));
  EXPECT_EQ(queue->dispatch(0, 0), 1);
  EXPECT_EQ(seen.numbers, (Numbered{2, 3, 4}));
  EXPECT_EQ(queue->dispatch(0, 0), 0);
}

TEST_F(QueueTest, DispatchOfAllLeavesWhatItsCallbacksBring) {
  struct Pushing {
    Queue* queue;
    int calls = 0;
  } pushing{queue.get()};
  auto callback = [](const pulse_event* event, void* p) {
    auto* self = static_cast<Pushing*>(p);
    self->calls++;
    if (event->count >= 100) return;
    self->queue->push(make_ref<Numbers>(
        Target(
            nullptr, [](const pulse_event*, void* again) { static_cast<Pushing*>(again)->calls++; },
            self, nullptr, 0),
        100, 1));
  };
  queue->push(make_ref<Numbers>(Target(nullptr, callback, &pushing, nullptr, 0), 1, 2));
  EXPECT_EQ(queue->dispatch(0, 0), 2);
  EXPECT_EQ(pushing.calls, 2);
  EXPECT_EQ(queue->dispatch(0, 0), 2);
  EXPECT_EQ(pushing.calls, 4);
}

TEST_F(QueueTest, ASecondPollOrDispatchInsideIsBusy) {
  struct Nested {
    Queue* queue;
    int64_t answer = 0;
    int64_t polled = 0;
  } nested{queue.get()};
  queue->push(make_ref<Numbers>(Target(
                                    nullptr,
                                    [](const pulse_event*, void* p) {
                                      auto* n = static_cast<Nested*>(p);
                                      n->answer = n->queue->dispatch(0, 0);
                                      pulse_event event;
                                      n->polled = n->queue->poll(&event, sizeof event, 1, 0);
                                    },
                                    &nested, nullptr, 0),
                                1, 1));
  EXPECT_EQ(queue->dispatch(0, 0), 1);
  EXPECT_EQ(nested.answer, PULSE_ERR_BUSY);
  EXPECT_EQ(nested.polled, 0);  // polling is not dispatching
}

TEST_F(QueueTest, TheDescriptorIsReadableWhileSomethingWaits) {
  Seen seen;
  queue->push(polled(1));
  int fd = queue->fd();
  ASSERT_GE(fd, 0);
  EXPECT_EQ(queue->fd(), fd);
  EXPECT_TRUE(readable(fd));
  queue->push(polled(2));
  take(*queue, 1);
  EXPECT_TRUE(readable(fd));
  take(*queue, 1);
  EXPECT_FALSE(readable(fd));
  queue->push(dispatched(&seen, 1));
  EXPECT_TRUE(readable(fd));
  queue->dispatch(0, 0);
  EXPECT_FALSE(readable(fd));
  queue->close();
  EXPECT_TRUE(readable(fd));
}

TEST_F(QueueTest, TheWakeUpRunsWhenTheQueueIsNoLongerEmpty) {
  struct Wake {
    int calls = 0;
    int destroyed = 0;
  } wake, other;
  auto on_wake = [](void* p) { static_cast<Wake*>(p)->calls++; };
  auto on_destroy = [](void* p) { static_cast<Wake*>(p)->destroyed++; };
  queue->set_wakeup(on_wake, &wake, on_destroy);
  queue->push(polled(1));
  queue->push(polled(2));
  EXPECT_EQ(wake.calls, 1);
  take(*queue, 10);
  queue->push(polled(3));
  EXPECT_EQ(wake.calls, 2);
  queue->set_wakeup(on_wake, &other, on_destroy);
  EXPECT_EQ(wake.destroyed, 1);
  take(*queue, 10);
  queue->push(polled(4));
  EXPECT_EQ(wake.calls, 2);
  EXPECT_EQ(other.calls, 1);
  queue->set_wakeup(nullptr, nullptr, nullptr);
  EXPECT_EQ(other.destroyed, 1);
  take(*queue, 10);
  queue->push(polled(5));
  EXPECT_EQ(other.calls, 1);
}

TEST_F(QueueTest, TheWakeUpIsDestroyedWithTheQueue) {
  int destroyed = 0;
  queue->set_wakeup([](void*) {}, &destroyed, [](void* p) { ++*static_cast<int*>(p); });
  queue = nullptr;
  EXPECT_EQ(destroyed, 1);
}

TEST_F(QueueTest, AfterCloseTheRestIsTakenAndNothingMoreAccepted) {
  Seen seen;
  queue->push(polled(1));
  queue->push(dispatched(&seen, 2));
  queue->close();
  queue->close();
  queue->push(polled(3));
  EXPECT_EQ(take(*queue, 10), (Numbered{1}));
  EXPECT_EQ(queue->dispatch(0, 0), 1);
  pulse_event event;
  EXPECT_EQ(queue->poll(&event, sizeof event, 1, -1), PULSE_ERR_CLOSED);
  EXPECT_EQ(queue->dispatch(0, -1), PULSE_ERR_CLOSED);
}

TEST_F(QueueTest, TargetsOfRefusedAndForgottenDeliveriesAreDestroyedOnce) {
  int destroyed = 0;
  auto delivery = [&](uint64_t first) {
    return make_ref<Numbers>(
        Target(
            nullptr, nullptr, &destroyed, [](void* p) { ++*static_cast<int*>(p); }, 0),
        first, 1);
  };
  queue->push(delivery(1));
  queue->close();
  queue->push(delivery(2));
  EXPECT_EQ(destroyed, 1);
  queue = nullptr;
  EXPECT_EQ(destroyed, 2);
}

TEST_F(QueueTest, CloseWakesThoseWhoWait) {
  int64_t polled_answer = 0, dispatched_answer = 0;
  std::thread poller([&] {
    pulse_event event;
    polled_answer = queue->poll(&event, sizeof event, 1, -1);
  });
  std::thread dispatcher([&] { dispatched_answer = queue->dispatch(0, -1); });
  queue->close();
  poller.join();
  dispatcher.join();
  EXPECT_EQ(polled_answer, PULSE_ERR_CLOSED);
  EXPECT_EQ(dispatched_answer, PULSE_ERR_CLOSED);
}

TEST_F(QueueTest, WithoutEventsAWaitEndsAtItsTime) {
  pulse_event event;
  int64_t begin = ts_now_ms();
  EXPECT_EQ(queue->poll(&event, sizeof event, 1, 30), 0);
  EXPECT_GE(ts_now_ms() - begin, 29);
  EXPECT_EQ(queue->dispatch(0, 10), 0);
}

// Several threads push while one polls and one dispatches, both waiting for ever: nothing is lost,
// nothing comes twice, and the order of each pushing thread holds.
TEST_F(QueueTest, ManyThreadsAtOnce) {
  constexpr int kThreads = 4;
  const auto kEach = static_cast<uint64_t>(ts_scaled(20000));
  std::vector<uint64_t> next_polled(kThreads), next_dispatched(kThreads);
  struct Order {
    std::vector<uint64_t>* next;
    int mistakes = 0;
    void see(uint64_t number) {
      uint64_t thread = number >> 32, index = number & UINT32_MAX;
      if ((*next)[thread]++ != index) mistakes++;
    }
  } polled_order{&next_polled}, dispatched_order{&next_dispatched};
  std::thread poller([&] {
    pulse_event events[7];
    for (uint64_t left = kThreads * kEach; left > 0;) {
      int64_t n = queue->poll(events, sizeof events[0], 7, -1);
      ASSERT_GT(n, 0);
      for (int64_t i = 0; i < n; i++) polled_order.see(events[i].count);
      left -= static_cast<uint64_t>(n);
    }
  });
  std::thread dispatcher([&] {
    for (uint64_t left = kThreads * kEach; left > 0;) {
      int64_t n = queue->dispatch(5, -1);
      ASSERT_GT(n, 0);
      left -= static_cast<uint64_t>(n);
    }
  });
  std::vector<std::thread> pushers;
  for (uint64_t t = 0; t < kThreads; t++) {
    pushers.emplace_back([&, t] {
      for (uint64_t i = 0; i < kEach; i++) {
        queue->push(polled(t << 32 | i));
        queue->push(make_ref<Numbers>(Target(
                                          nullptr,
                                          [](const pulse_event* event, void* order) {
                                            static_cast<Order*>(order)->see(event->count);
                                          },
                                          &dispatched_order, nullptr, 0),
                                      t << 32 | i, 1));
      }
    });
  }
  for (auto& p : pushers) p.join();
  poller.join();
  dispatcher.join();
  EXPECT_EQ(polled_order.mistakes, 0);
  EXPECT_EQ(dispatched_order.mistakes, 0);
  EXPECT_EQ(next_polled, std::vector<uint64_t>(kThreads, kEach));
  EXPECT_EQ(next_dispatched, std::vector<uint64_t>(kThreads, kEach));
  EXPECT_EQ(queue->size(), 0U);
  take(*queue, 1);  // ends the views of the last batch
}

// A host that sleeps on the descriptor, and takes all when it is readable, misses nothing.
TEST_F(QueueTest, TheDescriptorAloneSufficesToFollow) {
  const auto kEvents = static_cast<uint64_t>(ts_scaled(20000));
  int fd = queue->fd();
  std::thread pusher([&] {
    for (uint64_t i = 0; i < kEvents; i++) queue->push(polled(i));
  });
  uint64_t next = 0;
  while (next < kEvents) {
    pollfd p{fd, POLLIN, 0};
    ASSERT_EQ(::poll(&p, 1, TS_DEADLINE_MS), 1) << "after " << next;
    for (uint64_t number : take(*queue, 64)) ASSERT_EQ(number, next++);
  }
  pusher.join();
  take(*queue, 1);
}

}  // namespace
}  // namespace pulseengine
