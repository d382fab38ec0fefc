// Operations under way: ids, the limit, deadlines; and the one-time signal that waiters wait for.
#include "engine/operation_table.h"

#include <gtest/gtest.h>

#include <set>
#include <thread>
#include <vector>

#include "engine/engine.h"
#include "engine/queue.h"
#include "support.h"

namespace pulseengine {
namespace {

Ref<Operation> operation() { return make_ref<Operation>(PULSE_EVENT_PONG, Target()); }

TEST(OperationTable, GivesEachItsIdAndFindsItUntilItEnds) {
  OperationTable table(-1);
  std::vector<Ref<Operation>> all;
  std::set<uint64_t> ids;
  for (int i = 0; i < 100; i++) {
    all.push_back(operation());
    ASSERT_TRUE(table.add(*all.back(), kNever).ok());
    EXPECT_NE(all.back()->id(), 0U);
    EXPECT_TRUE(ids.insert(all.back()->id()).second);
  }
  EXPECT_EQ(table.active(), 100U);
  for (auto& op : all) EXPECT_EQ(table.find(op->id()).get(), op.get());
  for (auto& op : all) table.remove(*op);
  for (auto& op : all) EXPECT_FALSE(table.find(op->id()));
  EXPECT_EQ(table.active(), 0U);
}

TEST(OperationTable, AnIdIsNotUsedAgain) {
  OperationTable table(-1);
  std::set<uint64_t> ids;
  for (int i = 0; i < 1000; i++) {
    Ref<Operation> op = operation();
    ASSERT_TRUE(table.add(*op, kNever).ok());
    EXPECT_TRUE(ids.insert(op->id()).second);
    table.remove(*op);
    table.taken();
  }
  for (uint64_t id : ids) EXPECT_FALSE(table.find(id));
  EXPECT_FALSE(table.find(0));
  EXPECT_FALSE(table.find(UINT64_MAX));
}

TEST(OperationTable, HoldsAReferenceMeanwhile) {
  OperationTable table(-1);
  Ref<Operation> op = operation();
  ASSERT_TRUE(table.add(*op, kNever).ok());
  EXPECT_FALSE(op->sole());
  table.remove(*op);
  EXPECT_TRUE(op->sole());
}

TEST(OperationTable, TheLimitCountsUntilTheCompletionIsTaken) {
  OperationTable table(2);
  Ref<Operation> a = operation(), b = operation(), c = operation();
  ASSERT_TRUE(table.add(*a, kNever).ok());
  ASSERT_TRUE(table.add(*b, kNever).ok());
  Error error = table.add(*c, kNever);
  EXPECT_EQ(error.code(), PULSE_ERR_AGAIN);
  EXPECT_NE(error.flags() & PULSE_ERROR_NEVER_SENT, 0U);
  EXPECT_TRUE(c->sole());
  table.remove(*a);
  EXPECT_EQ(table.add(*c, kNever).code(), PULSE_ERR_AGAIN);
  EXPECT_EQ(table.inflight(), 2U);
  table.taken();
  EXPECT_TRUE(table.add(*c, kNever).ok());
  EXPECT_EQ(table.accepted(), 3U);
  table.remove(*b);
  table.remove(*c);
}

TEST(OperationTable, TellsWhichAreLateAndWhenTheNextWillBe) {
  OperationTable table(-1);
  Ref<Operation> a = operation(), b = operation(), c = operation(), d = operation();
  ASSERT_TRUE(table.add(*a, 100).ok());
  ASSERT_TRUE(table.add(*b, 300).ok());
  ASSERT_TRUE(table.add(*c, 200).ok());
  ASSERT_TRUE(table.add(*d, kNever).ok());
  Vector<Ref<Operation>> late;
  int64_t next = 0;
  table.expired(99, &late, &next);
  EXPECT_TRUE(late.empty());
  EXPECT_EQ(next, 100);
  table.expired(200, &late, &next);
  EXPECT_EQ(late.size(), 2U);
  EXPECT_EQ(next, 300);
  for (auto& op : late) table.remove(*op);
  late.clear();
  table.expired(1000000, &late, &next);
  EXPECT_EQ(late.size(), 1U);
  EXPECT_EQ(next, kNever);
  table.remove(*b);
  size_t index = 0;
  EXPECT_EQ(table.next(&index).get(), d.get());
  EXPECT_FALSE(table.next(&index));
  table.remove(*d);
}

TEST(OperationTable, WithoutMemoryNothingHasHappened) {
  static bool fail;
  fail = false;
  AllocatorHooks hooks{[](void*, size_t n) { return fail ? nullptr : malloc(n); },
                       [](void*, void* p, size_t n) { return fail ? nullptr : realloc(p, n); },
                       [](void*, void* p) { free(p); }, nullptr};
  ASSERT_TRUE(set_allocator_hooks(hooks));
  {
    OperationTable table(1);
    Ref<Operation> op = operation();
    fail = true;
    EXPECT_THROW(table.add(*op, kNever), std::bad_alloc);
    fail = false;
    EXPECT_TRUE(op->sole());
    EXPECT_EQ(table.inflight(), 0U);
    EXPECT_EQ(table.active(), 0U);
    EXPECT_TRUE(table.add(*op, kNever).ok());
    table.remove(*op);
  }
  EXPECT_TRUE(set_allocator_hooks({}));
}

TEST(OperationTable, ManyThreadsAtOnce) {
  OperationTable table(-1);
  std::vector<std::thread> threads;
  std::atomic<int> mistakes{0};
  for (int t = 0; t < 4; t++) {
    threads.emplace_back([&] {
      std::vector<Ref<Operation>> mine;
      for (int64_t i = 0; i < ts_scaled(20000); i++) {
        Ref<Operation> op = operation();
        if (!table.add(*op, kNever).ok()) mistakes++;
        mine.push_back(op);
        if (mine.size() < 10) continue;
        for (auto& o : mine) {
          if (table.find(o->id()).get() != o.get()) mistakes++;
          table.remove(*o);
          table.taken();
        }
        mine.clear();
      }
      for (auto& o : mine) {
        table.remove(*o);
        table.taken();
      }
    });
  }
  for (auto& t : threads) t.join();
  EXPECT_EQ(mistakes.load(), 0);
  EXPECT_EQ(table.active(), 0U);
  EXPECT_EQ(table.inflight(), 0U);
}

TEST(Signal, TheFirstSetCounts) {
  Ref<Signal> signal = make_ref<Signal>();
  EXPECT_FALSE(signal->is_set());
  EXPECT_FALSE(signal->wait_until(0));
  signal->set(Error(PULSE_ERR_AUTH, "first"));
  signal->set(Error(PULSE_ERR_TLS, "second"));
  EXPECT_TRUE(signal->is_set());
  EXPECT_TRUE(signal->wait_until(0));
  EXPECT_TRUE(signal->wait_until(kNever));
  EXPECT_EQ(signal->error().code(), PULSE_ERR_AUTH);
}

TEST(Signal, WakesAllWhoWait) {
  for (int64_t round = 0; round < ts_scaled(300); round++) {
    Ref<Signal> signal = make_ref<Signal>();
    std::atomic<int> woken{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; i++) {
      int64_t deadline = i == 0 ? kNever : deadline_after(TS_DEADLINE_MS);
      threads.emplace_back([&, deadline] {
        if (signal->wait_until(deadline)) woken++;
      });
    }
    signal->set(Error());
    for (auto& t : threads) t.join();
    ASSERT_EQ(woken.load(), 3);
  }
}

}  // namespace
}  // namespace pulseengine
