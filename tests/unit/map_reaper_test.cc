// What versions leave behind goes in slices, and goes entirely, whoever drops it and when.
#include "rmap/map_reaper.h"

#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "base/hash.h"
#include "rmap/map_version.h"
#include "support.h"

namespace pulseengine {
namespace {

// Counts what is alive.
struct Memory {
  std::atomic<int64_t> alive{0};

  Memory() { EXPECT_TRUE(set_allocator_hooks({allocate, reallocate, release, this})); }
  ~Memory() {
    EXPECT_EQ(alive, 0);
    EXPECT_TRUE(set_allocator_hooks({}));
  }
  static void* allocate(void* self, size_t bytes) {
    static_cast<Memory*>(self)->alive++;
    return malloc(bytes);
  }
  static void* reallocate(void*, void*, size_t) { return nullptr; }
  static void release(void* self, void* memory) {
    static_cast<Memory*>(self)->alive--;
    free(memory);
  }
};

// The last step of a slice may free an allocation or two more.
constexpr int64_t kAllocationsPerSlice = MapReaper::kSlice / MapReaper::kFree + 2;

Ref<MapEntry> entry_of(uint64_t key, std::string_view value) {
  std::string text = std::to_string(key);
  return MapEntry::make(text, value, hash_bytes(text));
}

Ref<MapVersion> filled(const Ref<MapReaper>& reaper, uint64_t keys) {
  MapEditor editor(MapVersion::empty(0, reaper));
  for (uint64_t i = 0; i < keys; i++) editor.put(entry_of(i, "x"));
  return editor.finish(1);
}

uint64_t many_keys() { return static_cast<uint64_t>(ts_scaled(200000)); }

TEST(MapReaper, ALargeVersionGoesInSlices) {
  Memory memory;
  auto reaper = make_ref<MapReaper>(nullptr);
  const int64_t nothing = memory.alive;
  Ref<MapVersion> version = filled(reaper, many_keys());
  int64_t before = memory.alive;
  ASSERT_GT(before, 2 * kAllocationsPerSlice);
  version = nullptr;
  int64_t slices = 1;
  for (bool more = true; more; slices++) {
    EXPECT_LE(before - memory.alive, kAllocationsPerSlice) << slices;
    EXPECT_GT(before - memory.alive, 0) << slices;
    before = memory.alive;
    more = reaper->reap();
  }
  EXPECT_LE(before - memory.alive, kAllocationsPerSlice);
  EXPECT_EQ(memory.alive, nothing);
  EXPECT_GE(slices * kAllocationsPerSlice, static_cast<int64_t>(many_keys()));
  EXPECT_FALSE(reaper->reap());
}

// An editor that is given up, or emptied, is no other case.
TEST(MapReaper, SoDoesWhatAnEditorGaveUp) {
  Memory memory;
  auto reaper = make_ref<MapReaper>(nullptr);
  const int64_t nothing = memory.alive;
  for (bool clear : {true, false}) {
    {
      MapEditor editor(filled(reaper, many_keys()));
      const int64_t before = memory.alive;
      if (clear) editor.clear();
      EXPECT_LE(before - memory.alive, kAllocationsPerSlice);
    }
    EXPECT_GT(memory.alive, nothing);
    while (reaper->reap()) {
    }
    EXPECT_EQ(memory.alive, nothing);
  }
}

// A copy that was fetched anew has the same entries in other nodes.
TEST(MapReaper, SharedEntriesStay) {
  Memory memory;
  auto reaper = make_ref<MapReaper>(nullptr);
  Ref<MapVersion> version = filled(reaper, many_keys());
  MapEditor editor(MapVersion::empty(0, reaper));
  MapCursor cursor;
  visit(*version, &cursor, [&](const MapEntry& entry) {
    editor.put(entry.hold());
    return true;
  });
  Ref<MapVersion> copy = editor.finish(2);
  editor.clear();
  version = nullptr;
  ASSERT_TRUE(reaper->reap());
  while (reaper->reap()) {
  }
  for (uint64_t i = 0; i < many_keys(); i++) {
    std::string key = std::to_string(i);
    const MapEntry* entry = copy->find(key, hash_bytes(key));
    ASSERT_NE(entry, nullptr);
    ASSERT_EQ(entry->view(), "x");
    ASSERT_TRUE(entry->hold()->view() == "x");
  }
}

// So that the pile cannot grow however fast a map changes.
TEST(MapReaper, WhatAVersionDoesNotShareWithTheNextGoesAtOnce) {
  Memory memory;
  auto reaper = make_ref<MapReaper>(nullptr);
  Ref<MapVersion> version = filled(reaper, many_keys());
  std::mt19937 random(1);
  for (uint64_t revision = 2; revision < 50; revision++) {
    MapEditor editor(version);
    for (int i = 0; i < 256; i++) editor.put(entry_of(random() % many_keys(), "y"));
    version = editor.finish(revision);
    editor.clear();
    ASSERT_FALSE(reaper->reap());
  }
}

TEST(MapReaper, CloseFreesTheRestAndWhatComesLater) {
  Memory memory;
  auto reaper = make_ref<MapReaper>(nullptr);
  const int64_t nothing = memory.alive;
  Ref<MapVersion> early = filled(reaper, many_keys());
  Ref<MapVersion> late = filled(reaper, many_keys());
  const int64_t both = memory.alive;
  early = nullptr;
  reaper->close();
  EXPECT_LE(memory.alive, (both + nothing) / 2 + 2);
  late = nullptr;
  EXPECT_EQ(memory.alive, nothing);
  EXPECT_FALSE(reaper->reap());
}

TEST(MapReaper, WithoutOneEverythingGoesAtOnce) {
  Memory memory;
  const int64_t nothing = memory.alive;
  Ref<MapVersion> version = filled(nullptr, many_keys());
  version = nullptr;
  EXPECT_EQ(memory.alive, nothing);
}

// Versions that share much, little and nothing, with hashes that do and do not collide, dropped by
// several threads while one reaps.  Those that are still held stay whole.
TEST(MapReaper, AllGoesWhateverIsSharedAndWhoeverDropsIt) {
  Memory memory;
  constexpr int kDroppers = 3;
  std::mutex mutex;
  std::vector<std::pair<Ref<MapVersion>, uint64_t>> held;  // with the number of its entries
  std::atomic<bool> done{false};
  {
    auto reaper = make_ref<MapReaper>(nullptr);
    std::vector<std::thread> threads;
    for (int id = 0; id < kDroppers; id++) {
      threads.emplace_back([&, id] {
        std::mt19937 random(static_cast<uint32_t>(id));
        while (true) {
          std::pair<Ref<MapVersion>, uint64_t> one;
          {
            std::lock_guard<std::mutex> lock(mutex);
            if (held.empty() && done.load()) return;
            if (held.size() > 5 || done.load()) {
              std::swap(held[random() % held.size()], held.back());
              one = std::move(held.back());
              held.pop_back();
            }
          }
          if (!one.first) {
            std::this_thread::yield();
            continue;
          }
          uint64_t entries = 0;
          MapCursor cursor;
          visit(*one.first, &cursor, [&](const MapEntry& entry) {
            entries += entry.view() == "v" ? 1 : 0;
            return true;
          });
          ASSERT_EQ(entries, one.second);
        }
      });
    }
    threads.emplace_back([&] {
      while (!done.load()) {
        if (!reaper->reap()) std::this_thread::yield();
      }
    });
    std::mt19937 random(17);
    Ref<MapVersion> version = MapVersion::empty(0, reaper);
    for (int64_t round = 1; round <= ts_scaled(50); round++) {
      MapEditor editor(random() % 6 == 0 ? MapVersion::empty(0, reaper) : version);
      const uint64_t hashes = random() % 2 == 0 ? 50 : 100000;
      for (uint32_t n = random() % 8000; n > 0; n--) {
        const std::string key = std::to_string(random() % 30000);
        const uint64_t hash = hash_bytes(std::to_string(std::stoul(key) % hashes));
        if (random() % 5 == 0) {
          editor.erase(key, hash);
        } else if (editor.find(key, hash) == nullptr) {
          editor.put(MapEntry::make(key, "v", hash));
        }
      }
      version = editor.finish(static_cast<uint64_t>(round));
      std::lock_guard<std::mutex> lock(mutex);
      held.emplace_back(version, version->size());
    }
    version = nullptr;
    done.store(true);
    for (std::thread& thread : threads) thread.join();
    while (reaper->reap()) {
    }
  }
  decltype(held)().swap(held);
  EXPECT_EQ(memory.alive, 0);
}

}  // namespace
}  // namespace pulseengine
