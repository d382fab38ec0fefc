// Blocks of memory that go round between those who make objects and those who drop them.
#include "base/recycler.h"

#include <gtest/gtest.h>

#include <cstring>
#include <set>
#include <thread>
#include <vector>

#include "support.h"

namespace pulseengine {
namespace {

constexpr size_t kBytes = 100;

// Counts what is alive, and fails on demand.
struct CountedMemory {
  CountedMemory() {
    EXPECT_TRUE(set_allocator_hooks({[](void* c, size_t n) {
                                       auto* self = static_cast<CountedMemory*>(c);
                                       if (self->fail) return static_cast<void*>(nullptr);
                                       self->alive++;
                                       return malloc(n);
                                     },
                                     [](void*, void* p, size_t n) { return realloc(p, n); },
                                     [](void* c, void* p) {
                                       if (p != nullptr) static_cast<CountedMemory*>(c)->alive--;
                                       free(p);
                                     },
                                     this}));
  }
  ~CountedMemory() { EXPECT_TRUE(set_allocator_hooks({})); }
  std::atomic<int> alive{0};
  bool fail = false;
};

TEST(Recycler, WhatComesBackIsUsedAgain) {
  CountedMemory memory;
  {
    Ref<Recycler> recycler = make_ref<Recycler>(kBytes, 100);
    const int before = memory.alive;
    std::set<void*> first, second;
    for (int i = 0; i < 10; i++) first.insert(recycler->take());
    EXPECT_EQ(first.size(), 10U);
    EXPECT_EQ(memory.alive, before + 10);
    for (void* block : first) std::memset(block, 0xff, kBytes);
    for (void* block : first) Recycler::give_back(block);
    for (int i = 0; i < 10; i++) second.insert(recycler->take());
    EXPECT_EQ(first, second);
    EXPECT_EQ(memory.alive, before + 10);
    for (void* block : second) Recycler::give_back(block);
  }
  EXPECT_EQ(memory.alive, 0);
}

TEST(Recycler, KeepsNoMoreThanItIsToldTo) {
  CountedMemory memory;
  {
    Ref<Recycler> recycler = make_ref<Recycler>(kBytes, 3);
    const int before = memory.alive;
    std::vector<void*> blocks;
    for (int i = 0; i < 10; i++) blocks.push_back(recycler->take());
    for (void* block : blocks) Recycler::give_back(block);
    EXPECT_EQ(memory.alive, before + 3);
  }
  EXPECT_EQ(memory.alive, 0);
}

TEST(Recycler, ABlockMayComeBackLast) {
  CountedMemory memory;
  Ref<Recycler> recycler = make_ref<Recycler>(kBytes, 3);
  void* block = recycler->take();
  Recycler::keep_owner(block);
  Recycler::keep_owner(block);  // once is enough
  recycler = nullptr;
  EXPECT_GT(memory.alive, 0);
  Recycler::give_back(block);
  EXPECT_EQ(memory.alive, 0);
}

TEST(Recycler, WithoutMemoryNothingHasHappened) {
  CountedMemory memory;
  {
    Ref<Recycler> recycler = make_ref<Recycler>(kBytes, 3);
    memory.fail = true;
    EXPECT_THROW(recycler->take(), std::bad_alloc);
    memory.fail = false;
    Recycler::give_back(recycler->take());
    memory.fail = true;
    void* block = recycler->take();  // there is one
    Recycler::give_back(block);
  }
  EXPECT_EQ(memory.alive, 0);
}

TEST(Recycler, OneTakesAndOthersGiveBack) {
  constexpr int kThreads = 3;
  const int64_t rounds = ts_scaled(20000);
  Ref<Recycler> recycler = make_ref<Recycler>(kBytes, 50);
  std::atomic<void*> handed[kThreads] = {};
  std::atomic<int> mistakes{0};
  std::vector<std::thread> threads;
  for (auto& place : handed) {
    threads.emplace_back([&] {
      for (int64_t i = 0; i < rounds; i++) {
        void* block = nullptr;
        while ((block = place.exchange(nullptr)) == nullptr) std::this_thread::yield();
        int64_t content = 0;
        std::memcpy(&content, block, sizeof content);
        if (content != i) mistakes++;
        Recycler::give_back(block);
      }
    });
  }
  for (int64_t i = 0; i < rounds; i++) {
    for (auto& place : handed) {
      void* block = recycler->take();
      std::memcpy(block, &i, sizeof i);
      while (place.load() != nullptr) std::this_thread::yield();
      place.store(block);
    }
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(mistakes, 0);
}

}  // namespace
}  // namespace pulseengine
