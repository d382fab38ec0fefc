// The loop: timers, watches, look-ups, threads, and wake-ups that are never lost.
#include "loop/loop.h"

#include <gtest/gtest.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "support.h"

namespace pulseengine {
namespace {

struct Client final : LoopClient {
  std::function<void()> on_turn;
  int turns = 0;
  void turn() noexcept override {
    turns++;
    if (on_turn) on_turn();
  }
};

class LoopTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(loop.open(&client).ok()); }
  void TearDown() override { loop.close(); }

  // Runs the loop until the condition holds.
  testing::AssertionResult run_until(const std::function<bool()>& condition) {
    Timer tick;
    tick.open(
        loop, [](void*) {}, nullptr);
    int64_t end = monotonic_ms() + TS_DEADLINE_MS;
    while (!condition()) {
      if (monotonic_ms() > end) return testing::AssertionFailure() << "deadline";
      tick.start(100);
      loop.run_wait();
    }
    return testing::AssertionSuccess();
  }

  Client client;
  Loop loop;
};

TEST_F(LoopTest, TheClientHasItsTurnBeforeAndAfterEachWait) {
  loop.wake();
  loop.run_wait();
  EXPECT_GE(client.turns, 2);
  int before = client.turns;
  loop.run_nowait();
  EXPECT_GE(client.turns, before + 2);
}

TEST_F(LoopTest, TimersFireOnceAndNeverEarly) {
  struct Shot {
    int64_t at = 0;
    int fired = 0;
  } shot;
  Timer timer;
  timer.open(
      loop,
      [](void* p) {
        auto* s = static_cast<Shot*>(p);
        s->at = monotonic_ms();
        s->fired++;
      },
      &shot);
  EXPECT_FALSE(timer.active());
  int64_t begin = monotonic_ms();
  timer.start(40);
  EXPECT_TRUE(timer.active());
  EXPECT_TRUE(run_until([&] { return shot.fired > 0; }));
  EXPECT_GE(shot.at - begin, 39);
  EXPECT_FALSE(timer.active());
  loop.run_nowait();
  EXPECT_EQ(shot.fired, 1);
}

TEST_F(LoopTest, ATimerCountsFromItsStartHoweverLongTheCallbackBeforeTook) {
  struct State {
    Timer timer;
    int64_t begin = 0, end = 0;
  } state;
  Timer slow;
  state.timer.open(
      loop, [](void* p) { static_cast<State*>(p)->end = monotonic_ms(); }, &state);
  slow.open(
      loop,
      [](void* p) {
        auto* s = static_cast<State*>(p);
        ts_pause_ms(60);  // a callback that takes long
        s->begin = monotonic_ms();
        s->timer.start(50);
      },
      &state);
  slow.start(0);
  EXPECT_TRUE(run_until([&] { return state.end != 0; }));
  EXPECT_GE(state.end - state.begin, 49);
}

TEST_F(LoopTest, RestartStopAndResetOfTimers) {
  int fired = 0;
  auto count = [](void* p) { ++*static_cast<int*>(p); };
  Timer restarted, stopped, gone;
  restarted.open(loop, count, &fired);
  restarted.start(1);
  restarted.start(20);
  stopped.open(loop, count, &fired);
  stopped.start(1);
  stopped.stop();
  gone.open(loop, count, &fired);
  gone.start(1);
  gone.reset();
  gone.reset();
  gone.stop();
  EXPECT_TRUE(run_until([&] { return !restarted.active(); }));
  EXPECT_EQ(fired, 1);
}

TEST_F(LoopTest, ATimerMayEndInItsOwnCallback) {
  struct Owner {
    Timer timer;
    bool* gone;
    ~Owner() { *gone = true; }
  };
  bool gone = false;
  auto* owner = new Owner{{}, &gone};
  owner->timer.open(
      loop, [](void* p) { delete static_cast<Owner*>(p); }, owner);
  owner->timer.start(0);
  EXPECT_TRUE(run_until([&] { return gone; }));
}

TEST_F(LoopTest, WatchesTellOfReadinessAndFallSilent) {
  int fds[2];
  ASSERT_EQ(pipe(fds), 0);
  struct State {
    Watch watch;
    int fd;
    int readable = 0;
  } state;
  state.fd = fds[0];
  ASSERT_TRUE(state.watch
                  .open(
                      loop, fds[0],
                      [](void* p, int error, int events) {
                        auto* s = static_cast<State*>(p);
                        EXPECT_EQ(error, 0);
                        EXPECT_EQ(events, Watch::kReadable);
                        char c;
                        EXPECT_EQ(read(s->fd, &c, 1), 1);
                        s->readable++;
                      },
                      &state)
                  .ok());
  state.watch.start(Watch::kReadable);
  ASSERT_EQ(write(fds[1], "abc", 3), 3);
  EXPECT_TRUE(run_until([&] { return state.readable == 3; }));
  state.watch.start(0);
  ASSERT_EQ(write(fds[1], "d", 1), 1);
  loop.run_nowait();
  loop.run_nowait();
  EXPECT_EQ(state.readable, 3);
  state.watch.start(Watch::kReadable);
  EXPECT_TRUE(run_until([&] { return state.readable == 4; }));
  // The descriptor may be closed right after reset, and its number used anew.
  state.watch.reset();
  close(fds[0]);
  close(fds[1]);
  loop.run_nowait();
}

TEST_F(LoopTest, AWatchMayEndInItsOwnCallback) {
  int fds[2];
  ASSERT_EQ(pipe(fds), 0);
  struct State {
    Watch watch;
    bool called = false;
  } state;
  ASSERT_TRUE(state.watch
                  .open(
                      loop, fds[0],
                      [](void* p, int, int) {
                        auto* s = static_cast<State*>(p);
                        s->watch.reset();
                        s->called = true;
                      },
                      &state)
                  .ok());
  state.watch.start(Watch::kReadable);
  ASSERT_EQ(write(fds[1], "x", 1), 1);
  EXPECT_TRUE(run_until([&] { return state.called; }));
  close(fds[0]);
  close(fds[1]);
}

TEST_F(LoopTest, AWatchOnNoDescriptorIsAnError) {
  Watch watch;
  EXPECT_FALSE(watch
                   .open(
                       loop, -1, [](void*, int, int) {}, nullptr)
                   .ok());
}

TEST_F(LoopTest, LookUpsAnswerOrAreForgotten) {
  struct State {
    int calls = 0;
    bool found = false;
  } state;
  auto callback = [](void* p, const char* problem, const addrinfo* list) {
    auto* s = static_cast<State*>(p);
    s->calls++;
    s->found = problem == nullptr && list != nullptr;
  };
  Resolver resolver;
  ASSERT_TRUE(resolver.start(loop, "localhost", "6379", callback, &state).ok());
  EXPECT_TRUE(run_until([&] { return state.calls == 1; }));
  EXPECT_TRUE(state.found);
  {
    Resolver forgotten;
    ASSERT_TRUE(forgotten.start(loop, "localhost", "6379", callback, &state).ok());
  }
  ASSERT_TRUE(resolver.start(loop, "localhost", "6379", callback, &state).ok());
  EXPECT_TRUE(run_until([&] { return state.calls == 2; }));
  loop.close();  // waits for the forgotten one
  EXPECT_EQ(state.calls, 2);
}

// A wake between any two steps of the loop is seen: the poster posts, wakes, and waits until
// the loop has taken it; a lost wake-up would leave both waiting for ever.
TEST_F(LoopTest, NoWakeUpIsLost) {
  const int64_t rounds = ts_scaled(30000);
  std::atomic<int64_t> posted{0};
  std::atomic<int64_t> taken{0};
  std::atomic<bool> stuck{false};
  client.on_turn = [&] {
    taken.store(posted.load());
    if (taken.load() == rounds || stuck.load()) loop.stop();
  };
  std::thread poster([&] {
    for (int64_t i = 1; i <= rounds; i++) {
      posted.store(i);
      loop.wake();
      int64_t end = 0;
      for (int spins = 0; taken.load() < i; spins++) {
        if (spins < 1000) continue;
        std::this_thread::yield();
        if (end == 0) end = monotonic_ms() + TS_DEADLINE_MS;
        if (monotonic_ms() > end) {
          stuck.store(true);
          loop.wake();
          return;
        }
      }
    }
  });
  loop.run();
  poster.join();
  EXPECT_FALSE(stuck.load()) << "lost wake-up after " << taken.load() << " of " << rounds;
  EXPECT_EQ(taken.load(), rounds);
}

// The same with many wakers that do not wait: each one's last post is seen.
TEST_F(LoopTest, ManyWakersAtOnce) {
  constexpr size_t kThreads = 4;
  const int64_t rounds = ts_scaled(50000);
  std::vector<std::atomic<int64_t>> posted(kThreads);
  std::vector<int64_t> seen(kThreads);
  client.on_turn = [&] {
    bool all = true;
    for (size_t i = 0; i < kThreads; i++) {
      seen[i] = posted[i].load();
      if (seen[i] != rounds) all = false;
    }
    if (all) loop.stop();
  };
  std::vector<std::thread> threads;
  for (size_t t = 0; t < kThreads; t++) {
    threads.emplace_back([&, t] {
      for (int64_t i = 1; i <= rounds; i++) {
        posted[t].store(i);
        loop.wake();
      }
    });
  }
  EXPECT_TRUE(run_until([&] { return seen == std::vector<int64_t>(kThreads, rounds); }));
  for (auto& t : threads) t.join();
}

// A host that drives the loop by its descriptor and time-out needs nothing else.
TEST_F(LoopTest, DescriptorAndTimeoutSufficeToDriveIt) {
  struct State {
    Timer timer;
    int fired = 0;
  } state;
  state.timer.open(
      loop,
      [](void* p) {
        auto* s = static_cast<State*>(p);
        if (++s->fired < 20) s->timer.start(3);
      },
      &state);
  state.timer.start(3);
  std::atomic<int> woken{0};
  std::atomic<int> wakes{0};
  client.on_turn = [&] { woken.store(wakes.load()); };
  std::thread waker([&] {
    for (int i = 0; i < 500; i++) {
      int before = ++wakes;
      loop.wake();
      int64_t end = monotonic_ms() + TS_DEADLINE_MS;
      while (woken.load() < before && monotonic_ms() < end) std::this_thread::yield();
    }
  });
  int64_t end = monotonic_ms() + TS_DEADLINE_MS;
  while ((woken.load() < 500 || state.fired < 20) && monotonic_ms() < end) {
    pollfd p{loop.backend_fd(), POLLIN, 0};
    int64_t timeout = loop.backend_timeout_ms();
    ::poll(&p, 1, timeout < 0 ? 1000 : static_cast<int>(timeout));
    loop.run_nowait();
  }
  waker.join();
  EXPECT_EQ(woken.load(), 500);
  EXPECT_EQ(state.fired, 20);
}

TEST(Loops, OpenAndCloseLeaveNothing) {
  Client client;
  {
    Loop first;
    ASSERT_TRUE(first.open(&client).ok());
  }
  int before = ts_descriptor_count();
  for (int i = 0; i < 50; i++) {
    Loop loop;
    ASSERT_TRUE(loop.open(&client).ok());
    Timer timer;
    timer.open(
        loop, [](void*) {}, nullptr);
    timer.start(1000000);
    timer.reset();
    loop.close();
    loop.close();
  }
  EXPECT_EQ(ts_descriptor_count(), before);
}

TEST(Threads, BlockAllSignals) {
  struct State {
    bool blocked = false;
  } state;
  sigset_t before, after;
  pthread_sigmask(SIG_SETMASK, nullptr, &before);
  Thread thread;
  ASSERT_TRUE(thread
                  .start(
                      [](void* p) {
                        sigset_t set;
                        pthread_sigmask(SIG_SETMASK, nullptr, &set);
                        static_cast<State*>(p)->blocked =
                            sigismember(&set, SIGTERM) == 1 && sigismember(&set, SIGCHLD) == 1;
                      },
                      &state)
                  .ok());
  EXPECT_TRUE(thread.joinable());
  thread.join();
  thread.join();
  EXPECT_FALSE(thread.joinable());
  EXPECT_TRUE(state.blocked);
  pthread_sigmask(SIG_SETMASK, nullptr, &after);
  EXPECT_EQ(sigismember(&after, SIGTERM), sigismember(&before, SIGTERM));
}

}  // namespace
}  // namespace pulseengine
