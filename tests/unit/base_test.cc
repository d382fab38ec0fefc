// The small parts of src/base: slabs, bytes, references, errors, statuses, random numbers, ids of
// processes and threads, the allocator.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/process.h"
#include "base/rng.h"
#include "base/slab.h"
#include "base/status.h"

namespace pulseengine {
namespace {

TEST(Slab, WhatWasAddedNeverMoves) {
  std::mt19937 random(1);
  Ref<Slab> slab = make_ref<Slab>();
  std::vector<std::pair<std::string, std::string_view>> added;
  size_t total = 0;
  for (int i = 0; i < 3000; i++) {
    size_t size = random() % (i % 100 == 0 ? 600000 : 300);
    std::string text(size, static_cast<char>('a' + i % 26));
    std::string_view view = slab->add(text);
    total += size;
    added.emplace_back(std::move(text), view);
  }
  for (auto& [text, view] : added) ASSERT_EQ(text, view);
  EXPECT_EQ(slab->used(), total);
}

TEST(Slab, ClearForgetsAndServesAgain) {
  Ref<Slab> slab = make_ref<Slab>();
  slab->clear();
  for (int round = 0; round < 5; round++) {
    for (int i = 0; i < 100; i++) EXPECT_EQ(slab->add(std::string(5000, 'x')).size(), 5000U);
    EXPECT_EQ(slab->used(), 500000U);
    slab->clear();
    EXPECT_EQ(slab->used(), 0U);
  }
  slab->add(std::string(10 << 20, 'x'));  // a chunk too large to be kept
  slab->clear();
  EXPECT_EQ(slab->add("small"), "small");
}

TEST(Slab, EmptyTexts) {
  Ref<Slab> slab = make_ref<Slab>();
  EXPECT_EQ(slab->add("").size(), 0U);
  EXPECT_EQ(slab->used(), 0U);
}

TEST(Bytes, CopiesAreIndependent) {
  std::string text = "hello";
  Ref<Bytes> bytes = Bytes::copy(text);
  text[0] = 'X';
  EXPECT_EQ(bytes->view(), "hello");
  EXPECT_EQ(Bytes::copy("")->view(), "");
}

TEST(Bytes, BorrowedMemoryIsGivenBackOnceByTheLastReference) {
  int destroyed = 0;
  std::string text = "hello";
  Ref<Bytes> bytes = Bytes::borrow(text, &destroyed, [](void* n) { ++*static_cast<int*>(n); });
  EXPECT_EQ(bytes->view().data(), text.data());
  {
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; i++) {
      threads.emplace_back([copy = bytes] {
        for (int k = 0; k < 1000; k++) Ref<Bytes> another = copy;
      });
    }
    for (auto& t : threads) t.join();
  }
  EXPECT_EQ(destroyed, 0);
  bytes = nullptr;
  EXPECT_EQ(destroyed, 1);
}

TEST(Bytes, APartKeepsItsSlabAlive) {
  Ref<Slab> slab = make_ref<Slab>();
  Ref<Bytes> part = Bytes::part_of(slab, slab->add("part"));
  EXPECT_FALSE(slab->sole());
  slab = nullptr;
  EXPECT_EQ(part->view(), "part");
}

struct Tracked : RefCounted {
  explicit Tracked(int* n) : alive(n) { ++*alive; }
  ~Tracked() override { --*alive; }
  int* alive;
};

TEST(Ref, CountsAsPointersAreCopiedAndMoved) {
  int alive = 0;
  {
    Ref<Tracked> a = make_ref<Tracked>(&alive);
    EXPECT_TRUE(a->sole());
    Ref<Tracked> b = a;
    EXPECT_FALSE(a->sole());
    Ref<Tracked> c = std::move(b);
    EXPECT_FALSE(b);
    c = c.get() != nullptr ? a : nullptr;
    c = nullptr;
    EXPECT_TRUE(a->sole());
    Tracked* raw = a.release();
    EXPECT_EQ(alive, 1);
    raw->ref_unshared();
    EXPECT_FALSE(raw->sole());
    raw->unref();
    raw->unref();
    EXPECT_EQ(alive, 0);
  }
  EXPECT_EQ(alive, 0);
}

TEST(Error, MessagesAreCutAtTheirCapacity) {
  std::string text(1000, 'x');
  Error error(PULSE_ERR_SERVER, text);
  EXPECT_EQ(error.message().size(), PULSE_ERROR_MESSAGE_BYTES - 1U);
  Error formatted = Error::make(PULSE_ERR_SERVER, 0, "{}{}", text, 1);
  EXPECT_EQ(formatted.message(), error.message());
  EXPECT_EQ(formatted.message().data()[formatted.message().size()], '\0');
}

// Whatever the size of the caller's struct, nothing behind it is touched.
TEST(Error, ReportsAsFarAsTheCallersStructReaches) {
  Error error(PULSE_ERR_AUTH, "a message of some length", PULSE_ERROR_SERVER, 5);
  for (size_t size = 0; size <= sizeof(pulse_error) + 8; size++) {
    unsigned char memory[sizeof(pulse_error) + 16];
    std::memset(memory, 0xAB, sizeof memory);
    auto* out = reinterpret_cast<pulse_error*>(memory);
    out->size = size;
    EXPECT_EQ(error.report(out), PULSE_ERR_AUTH);
    EXPECT_EQ(out->size, size);
    for (size_t i = std::max(size, sizeof size); i < sizeof memory; i++) {
      ASSERT_EQ(memory[i], 0xAB) << "byte " << i << " of a struct of " << size;
    }
    if (size > offsetof(pulse_error, message)) {
      size_t room = std::min(size, sizeof(pulse_error)) - offsetof(pulse_error, message);
      EXPECT_EQ(std::string(out->message), std::string(error.message().substr(0, room - 1)));
    }
  }
  EXPECT_EQ(error.report(nullptr), PULSE_ERR_AUTH);
}

TEST(Error, SystemErrorsNameTheReason) {
  Error error = Error::system(PULSE_ERR_CONNECT, "cannot connect", ECONNREFUSED);
  EXPECT_EQ(error.message(), "cannot connect: Connection refused");
  EXPECT_EQ(error.system_errno(), ECONNREFUSED);
  EXPECT_NE(error.flags() & PULSE_ERROR_RETRIABLE, 0U);
}

TEST(Status, EachIsListedOnceWithANameAndASentence) {
  std::set<pulse_status> seen;
  std::set<std::string> names;
  pulse_status status = 1;
  size_t count = 0;
  for (; status_at(count, &status); count++) {
    EXPECT_LE(status, 0);
    EXPECT_TRUE(seen.insert(status).second) << status;
    EXPECT_TRUE(names.insert(status_name(status)).second) << status_name(status);
    EXPECT_NE(status_message(status)[0], '\0');
  }
  EXPECT_TRUE(seen.count(PULSE_OK));
  EXPECT_TRUE(seen.count(PULSE_ERR_NOT_OWNER));
  EXPECT_FALSE(status_at(count, &status));
  EXPECT_STREQ(status_name(-9999), "PULSE_ERR_UNKNOWN");
}

TEST(Random, StaysBelowItsBoundAndReachesAllOfIt) {
  std::set<uint64_t> seen;
  for (int i = 0; i < 2000; i++) {
    uint64_t n = random_below(10);
    ASSERT_LT(n, 10U);
    seen.insert(n);
  }
  EXPECT_EQ(seen.size(), 10U);
  EXPECT_EQ(random_below(1), 0U);
}

TEST(Random, ThreadsAndChildrenGoTheirOwnWay) {
  uint64_t here = random_u64(), there = 0, child = 0;
  std::thread([&] { there = random_u64(); }).join();
  EXPECT_NE(here, there);
  int fds[2];
  ASSERT_EQ(pipe(fds), 0);
  pid_t pid = fork();
  if (pid == 0) {
    uint64_t n = random_u64();
    _exit(write(fds[1], &n, sizeof n) == sizeof n ? 0 : 1);
  }
  uint64_t next = random_u64();
  ASSERT_EQ(read(fds[0], &child, sizeof child), static_cast<ssize_t>(sizeof child));
  int status = 0;
  ASSERT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_NE(child, next);
  close(fds[0]);
  close(fds[1]);
}

TEST(Hash, DependsOnTheBytesOnly) {
  std::set<uint64_t> seen;
  for (size_t size = 0; size <= 200; size++) {
    std::string text(size, 'a');
    for (size_t shift = 0; shift < 8; shift++) {
      // Memory of its own, so that a read beyond either end is seen.
      std::vector<char> memory(shift + size);
      std::copy(text.begin(), text.end(), memory.begin() + static_cast<std::ptrdiff_t>(shift));
      EXPECT_EQ(hash_bytes({memory.data() + shift, size}), hash_bytes(text));
    }
    EXPECT_TRUE(seen.insert(hash_bytes(text)).second) << size;
  }
}

TEST(Hash, EachBitOfATextReachesHalfOfTheHash) {
  std::mt19937 random(1);
  for (size_t size : {1U, 2U, 3U, 4U, 7U, 8U, 12U, 16U, 17U, 24U, 32U, 33U, 48U, 100U}) {
    for (size_t bit = 0; bit < size * 8; bit++) {
      int changed = 0;
      for (int i = 0; i < 200; i++) {
        std::string text(size, '\0');
        for (char& c : text) c = static_cast<char>(random());
        uint64_t before = hash_bytes(text);
        text[bit / 8] = static_cast<char>(text[bit / 8] ^ 1 << bit % 8);
        changed += __builtin_popcountll(before ^ hash_bytes(text));
      }
      EXPECT_NEAR(changed / 200.0, 32, 4) << size << " " << bit;
    }
  }
}

TEST(Hash, NumberedKeysDoNotCollide) {
  std::set<uint64_t> hashes, tops;
  for (int i = 0; i < 100000; i++) {
    uint64_t hash = hash_bytes("user:" + std::to_string(i));
    hashes.insert(hash);
    tops.insert(hash >> 40);
  }
  EXPECT_EQ(hashes.size(), 100000U);
  EXPECT_NEAR(static_cast<double>(tops.size()), 99700, 100);  // as many as by chance
}

// What a process hashes says nothing about another one.
TEST(Hash, EachProcessHasItsSeed) {
  if (getenv("PULSE_PRINT_HASH") != nullptr) {
    printf("hash=%016llx\n", static_cast<unsigned long long>(hash_bytes("text")));
    return;
  }
  char self[4096] = {};
  ASSERT_GT(readlink("/proc/self/exe", self, sizeof self - 1), 0);
  std::string command = std::string("PULSE_PRINT_HASH=1 '") + self +
                        "' --gtest_filter=Hash.EachProcessHasItsSeed | grep ^hash=";
  std::set<std::string> hashes;
  for (int i = 0; i < 2; i++) {
    FILE* pipe = popen(command.c_str(), "r");
    ASSERT_NE(pipe, nullptr);
    char line[100] = {};
    EXPECT_NE(fgets(line, sizeof line, pipe), nullptr);
    EXPECT_EQ(pclose(pipe), 0);
    hashes.insert(line);
  }
  EXPECT_EQ(hashes.size(), 2U);
}

TEST(Process, TheForkGenerationChangesInAChildOnly) {
  uint32_t before = fork_generation();
  pid_t pid = fork();
  if (pid == 0) _exit(fork_generation() != before ? 0 : 1);
  int status = 0;
  ASSERT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(fork_generation(), before);
}

TEST(Process, ThreadIdsDiffer) {
  uint64_t here = this_thread_id(), there = 0;
  std::thread([&] { there = this_thread_id(); }).join();
  EXPECT_NE(here, 0U);
  EXPECT_NE(there, 0U);
  EXPECT_NE(here, there);
}

TEST(Clock, DeadlinesDoNotOverflow) {
  EXPECT_EQ(deadline_after(-1), kNever);
  EXPECT_EQ(deadline_after(INT64_MAX), kNever);
  const int64_t now = deadline_after(0);
  EXPECT_LE(now, monotonic_ms());
  int64_t soon = deadline_after(1000);
  EXPECT_GT(soon, 0);
  EXPECT_LT(soon, kNever);
}

struct Hooks {
  int64_t alive = 0;
  bool fail = false;
  static void* allocate(void* self, size_t bytes) {
    auto* h = static_cast<Hooks*>(self);
    if (h->fail) return nullptr;
    h->alive++;
    return malloc(bytes);
  }
  static void* reallocate(void* self, void* memory, size_t bytes) {
    return static_cast<Hooks*>(self)->fail ? nullptr : realloc(memory, bytes);
  }
  static void release(void* self, void* memory) {
    static_cast<Hooks*>(self)->alive--;
    free(memory);
  }
};

TEST(Allocator, ServesContainersAndClassesAndIsPinnedByThem) {
  Hooks hooks;
  ASSERT_TRUE(set_allocator_hooks({Hooks::allocate, Hooks::reallocate, Hooks::release, &hooks}));
  {
    Vector<String> texts;
    texts.emplace_back(1000, 'x');
    Ref<Slab> slab = make_ref<Slab>();
    EXPECT_GE(hooks.alive, 3);
    EXPECT_FALSE(set_allocator_hooks({}));
  }
  EXPECT_EQ(hooks.alive, 0);
  hooks.fail = true;
  EXPECT_THROW(allocate(1), std::bad_alloc);
  EXPECT_EQ(try_allocate(1), nullptr);
  EXPECT_THROW(make_ref<Slab>(), std::bad_alloc);
  EXPECT_THROW(String(1000, 'x'), std::bad_alloc);
  release(nullptr);
  EXPECT_TRUE(set_allocator_hooks({}));
}

TEST(Allocator, AFailedReallocationLeavesTheMemoryAlone) {
  Hooks hooks;
  ASSERT_TRUE(set_allocator_hooks({Hooks::allocate, Hooks::reallocate, Hooks::release, &hooks}));
  void* memory = allocate(10);
  std::memcpy(memory, "123456789", 10);
  hooks.fail = true;
  EXPECT_THROW(reallocate(memory, 1000), std::bad_alloc);
  EXPECT_STREQ(static_cast<char*>(memory), "123456789");
  hooks.fail = false;
  memory = reallocate(memory, 1000);
  EXPECT_STREQ(static_cast<char*>(memory), "123456789");
  release(memory);
  EXPECT_EQ(hooks.alive, 0);
  EXPECT_TRUE(set_allocator_hooks({}));
}

}  // namespace
}  // namespace pulseengine
