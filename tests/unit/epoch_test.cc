// Guards and reclamation: nothing goes while a reader can see it, all of it goes after that, and
// nobody waits.
#include "base/epoch.h"

#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "support.h"

namespace pulseengine {
namespace {

struct Tracked : RefCounted {
  explicit Tracked(std::atomic<int>* n, uint64_t v = 0) : alive(n), value(v), check(~v) { ++*n; }
  ~Tracked() override {
    value = check = 0;
    --*alive;
  }
  std::atomic<int>* alive;
  uint64_t value;
  uint64_t check;
};

// A thread that opens a guard, and closes it when told.
class Reader {
 public:
  Reader()
      : thread_([this] {
          std::unique_lock<std::mutex> lock(mutex_);
          {
            ReadGuard guard;
            inside_ = true;
            changed_.notify_all();
            changed_.wait(lock, [this] { return leave_; });
          }
          inside_ = false;
          changed_.notify_all();
          changed_.wait(lock, [this] { return end_; });
        }) {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return inside_; });
  }
  ~Reader() {
    leave();
    {
      std::lock_guard<std::mutex> lock(mutex_);
      end_ = true;
      changed_.notify_all();
    }
    thread_.join();
  }
  // The guard is closed; the thread lives on.
  void leave() {
    std::unique_lock<std::mutex> lock(mutex_);
    leave_ = true;
    changed_.notify_all();
    changed_.wait(lock, [this] { return !inside_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool inside_ = false;
  bool leave_ = false;
  bool end_ = false;
  std::thread thread_;
};

// Three readers and a writer over one pointer; 0 when all went well.
int run_readers_against_writer(int64_t rounds) {
  std::atomic<int> alive{0};
  std::atomic<int> wrong{0};
  std::atomic<bool> done{false};
  std::atomic<int64_t> reads{0};
  std::atomic<Tracked*> current{new Tracked(&alive, 1)};
  EpochReclaimer reclaimer;
  std::vector<std::thread> readers;
  for (int i = 0; i < 3; i++) {
    readers.emplace_back([&] {
      uint64_t newest = 0;
      while (!done.load()) {
        ReadGuard guard;
        Tracked* seen = current.load(std::memory_order_seq_cst);
        if (seen->value != ~seen->check || seen->value < newest) wrong++;
        newest = seen->value;
        if (newest % 16 == 0) {
          ReadGuard nested;
          if (current.load(std::memory_order_seq_cst)->value < newest) wrong++;
        }
        if (seen->value != ~seen->check) wrong++;
        reads++;
      }
    });
  }
  uint64_t value = 1;
  for (int64_t i = 0; i < rounds || reads.load() < 10000; i++) {
    reclaimer.reserve(1);
    reclaimer.retire(Ref<Tracked>::adopt(current.exchange(new Tracked(&alive, ++value))));
    if (i % 3 == 0) reclaimer.reclaim();
  }
  done = true;
  for (auto& reader : readers) reader.join();
  // One second of distrust is allowed where the kernel took its barrier away.
  int64_t deadline = ts_now_ms() + 20000;
  while (reclaimer.waiting() > 0 && ts_now_ms() < deadline) reclaimer.reclaim();
  if (alive.load() != 1) wrong++;
  current.load()->unref();
  return wrong.load();
}

// In a child: from here on the kernel refuses membarrier.
bool forbid_membarrier() {
  sock_filter rules[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  sock_fprog program{sizeof rules / sizeof rules[0], rules};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

template <class F>
int in_child(F f) {
  pid_t pid = fork();
  if (pid == 0) _exit(f());
  int status = -1;
  EXPECT_EQ(waitpid(pid, &status, 0), pid);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + status;
}

constexpr int kNotPossible = 77;

// The first test: nothing has asked for membarrier in this process yet.
TEST(AEpoch, ServesWhereTheKernelHasNoMembarrier) {
  int result = in_child([] {
    if (!forbid_membarrier()) return kNotPossible;
    int wrong = run_readers_against_writer(ts_scaled(20000));
    return wrong != 0 ? 1 : epoch::shared.barrier_free.load() ? 2 : 0;
  });
  if (result == kNotPossible) GTEST_SKIP() << "no seccomp filters here";
  EXPECT_EQ(result, 0);
}

TEST(Epoch, GoesOnWhenMembarrierIsForbiddenLater) {
  int result = in_child([] {
    if (run_readers_against_writer(100) != 0) return 1;
    if (!forbid_membarrier()) return kNotPossible;
    return run_readers_against_writer(100) != 0 ? 2 : 0;
  });
  if (result == kNotPossible) GTEST_SKIP() << "no seccomp filters here";
  EXPECT_EQ(result, 0);
}

TEST(Epoch, WithoutReadersAllGoesAtOnce) {
  std::atomic<int> alive{0};
  EpochReclaimer reclaimer;
  for (int i = 0; i < 5000; i++) reclaimer.retire(make_ref<Tracked>(&alive));
  EXPECT_EQ(alive, 5000);
  EXPECT_EQ(reclaimer.waiting(), 5000U);
  reclaimer.reclaim();
  EXPECT_EQ(alive, 0);
  EXPECT_EQ(reclaimer.waiting(), 0U);
  reclaimer.reclaim();
}

TEST(Epoch, AReaderKeepsWhatItMaySeeAndBlocksNobody) {
  std::atomic<int> alive{0};
  EpochReclaimer reclaimer;
  Reader stuck;
  for (int i = 0; i < 1000; i++) {
    reclaimer.retire(make_ref<Tracked>(&alive));
    reclaimer.reclaim();
  }
  EXPECT_EQ(alive, 1000);
  Reader later;
  stuck.leave();
  reclaimer.reclaim();
  EXPECT_EQ(alive, 0);  // the later one came when nothing of that was to be seen
  reclaimer.retire(make_ref<Tracked>(&alive));
  reclaimer.reclaim();
  EXPECT_EQ(alive, 1);
  later.leave();
  reclaimer.reclaim();
  EXPECT_EQ(alive, 0);
}

TEST(Epoch, OnlyTheOutermostGuardEnds) {
  std::atomic<int> alive{0};
  EpochReclaimer reclaimer;
  auto outer = std::make_unique<ReadGuard>();
  auto inner = std::make_unique<ReadGuard>();
  reclaimer.retire(make_ref<Tracked>(&alive));
  reclaimer.reclaim();
  EXPECT_EQ(alive, 1);
  inner = nullptr;
  reclaimer.reclaim();
  EXPECT_EQ(alive, 1);
  outer = nullptr;
  reclaimer.reclaim();
  EXPECT_EQ(alive, 0);
}

TEST(Epoch, ReclaimersDoNotMindEachOther) {
  std::atomic<int> alive{0};
  EpochReclaimer one, two;
  one.retire(make_ref<Tracked>(&alive));
  Reader reader;
  two.retire(make_ref<Tracked>(&alive));
  two.reclaim();
  EXPECT_EQ(alive, 2);
  one.reclaim();
  EXPECT_EQ(alive, 2);  // retired before the guard, but told nobody
  one.retire(make_ref<Tracked>(&alive));
  reader.leave();
  one.reclaim();
  EXPECT_EQ(alive, 1);
  two.reclaim();
  EXPECT_EQ(alive, 0);
}

TEST(Epoch, WhatAGoneReclaimerLeftGoesWithTheLastGuard) {
  std::atomic<int> alive{0};
  auto reclaimer = std::make_unique<EpochReclaimer>();
  Reader first, second;
  reclaimer->retire(make_ref<Tracked>(&alive));
  reclaimer->retire(make_ref<Tracked>(&alive));
  reclaimer = nullptr;
  EXPECT_EQ(alive, 2);
  first.leave();
  EXPECT_EQ(alive, 2);
  second.leave();
  EXPECT_EQ(alive, 0);
  auto no_readers = std::make_unique<EpochReclaimer>();
  no_readers->retire(make_ref<Tracked>(&alive));
  no_readers = nullptr;
  EXPECT_EQ(alive, 0);
}

TEST(Epoch, ManyThreadsAtOnceAndSlotsAreUsedAgain) {
  std::atomic<int> alive{0};
  EpochReclaimer reclaimer;
  for (int round = 0; round < 3; round++) {
    std::vector<std::unique_ptr<Reader>> readers;
    for (int i = 0; i < 150; i++) readers.push_back(std::make_unique<Reader>());
    reclaimer.retire(make_ref<Tracked>(&alive));
    for (auto& reader : readers) {
      reclaimer.reclaim();
      ASSERT_EQ(alive, 1);
      reader->leave();
    }
    reclaimer.reclaim();
    ASSERT_EQ(alive, 0);
  }
  epoch::Slot* first = nullptr;
  epoch::Slot* again = nullptr;
  std::thread([&] {
    ReadGuard guard;
    first = epoch::own_slot;
  }).join();
  std::thread([&] {
    ReadGuard guard;
    again = epoch::own_slot;
  }).join();
  EXPECT_NE(first, nullptr);
  EXPECT_EQ(first, again);
}

struct ReadsAtTheEnd {
  std::atomic<int>* count;
  ~ReadsAtTheEnd() {
    ReadGuard guard;
    ReadGuard nested;
    ++*count;
  }
};

TEST(Epoch, GuardsWhileAThreadEnds) {
  std::atomic<int> count{0};
  pthread_key_t key;
  ASSERT_EQ(pthread_key_create(&key,
                               [](void* n) {
                                 ReadGuard guard;
                                 ++*static_cast<std::atomic<int>*>(n);
                               }),
            0);
  for (int i = 0; i < 100; i++) {
    std::thread([&] {
      static thread_local std::unique_ptr<ReadsAtTheEnd> before;
      before.reset(new ReadsAtTheEnd{&count});
      pthread_setspecific(key, &count);
      ReadGuard guard;
    }).join();
  }
  EXPECT_EQ(count, 200);
  pthread_key_delete(key);
  std::atomic<int> alive{0};
  EpochReclaimer reclaimer;
  reclaimer.retire(make_ref<Tracked>(&alive));
  reclaimer.reclaim();
  EXPECT_EQ(alive, 0);
}

TEST(Epoch, AForkedChildIsNotHeldUpByThreadsThatItDoesNotHave) {
  Reader reader;
  std::atomic<int> alive{0};
  auto orphan = std::make_unique<EpochReclaimer>();
  orphan->retire(make_ref<Tracked>(&alive));
  orphan = nullptr;
  ReadGuard own;
  EXPECT_EQ(in_child([&] {
              std::atomic<int> alive{0};
              EpochReclaimer reclaimer;
              reclaimer.retire(make_ref<Tracked>(&alive));
              reclaimer.reclaim();
              if (alive != 1) return 1;  // the guard of the thread that forked
              own.~ReadGuard();
              reclaimer.reclaim();
              return alive != 0 ? 2 : 0;
            }),
            0);
  EXPECT_EQ(alive, 1);
}

TEST(Epoch, RetiringAfterReserveNeedsNoMemory) {
  struct Hooks {
    bool fail = false;
    static void* allocate(void* self, size_t bytes) {
      return static_cast<Hooks*>(self)->fail ? nullptr : malloc(bytes);
    }
    static void* reallocate(void*, void*, size_t) { return nullptr; }
    static void release(void*, void* memory) { free(memory); }
  } hooks;
  ASSERT_TRUE(set_allocator_hooks({Hooks::allocate, Hooks::reallocate, Hooks::release, &hooks}));
  {
    std::atomic<int> alive{0};
    EpochReclaimer reclaimer;
    std::vector<Ref<Tracked>> objects;
    for (int i = 0; i < 100; i++) objects.push_back(make_ref<Tracked>(&alive));
    reclaimer.reserve(100);
    hooks.fail = true;
    for (auto& object : objects) reclaimer.retire(std::move(object));
    EXPECT_THROW(reclaimer.reserve(1000000), std::bad_alloc);
    reclaimer.reclaim();
    EXPECT_EQ(alive, 0);
    EXPECT_THROW(EpochReclaimer(), std::bad_alloc);
  }
  EXPECT_TRUE(set_allocator_hooks({}));
}

TEST(Epoch, ReadersAgainstAWriter) { EXPECT_EQ(run_readers_against_writer(ts_scaled(50000)), 0); }

}  // namespace
}  // namespace pulseengine
