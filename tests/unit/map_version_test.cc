// Versions of a map against a plain ordered map, with hashes that collide as the test wants.
#include "rmap/map_version.h"

#include <gtest/gtest.h>
#include <malloc.h>

#include <map>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "base/hash.h"
#include "rmap/version_cell.h"
#include "support.h"

namespace pulseengine {
namespace {

// Ordered as visits are: by hash, then by key.
using Model = std::map<std::pair<uint64_t, std::string>, std::string>;

struct Hashing {
  const char* name;
  uint64_t (*of)(uint64_t key);
};

uint64_t spread(uint64_t key) {
  key *= 0x9e3779b97f4a7c15U;
  return (key ^ key >> 29) * 0xbf58476d1ce4e5b9U;
}

const Hashing kHashings[] = {
    {"Spread", spread},
    {"AllEqual", [](uint64_t) { return uint64_t{0x0123456789abcdef}; }},
    {"AllZero", [](uint64_t) { return uint64_t{0}; }},
    {"AllOnes", [](uint64_t) { return UINT64_MAX; }},
    {"DifferAtTheBottomOnly", [](uint64_t key) { return uint64_t{0xabcd} << 40 | key % 7; }},
    {"DifferAtTheTopOnly", [](uint64_t key) { return (key % 5) << 61 | 0x123456; }},
    {"AFewOfEach", [](uint64_t key) { return spread(key % 23); }},
    {"LongCommonParts", [](uint64_t key) { return spread(key % 3) << 24 | spread(key) >> 40; }},
};

class MapVersions : public testing::TestWithParam<Hashing> {
 protected:
  uint64_t hash(const std::string& key) const { return GetParam().of(std::stoull(key)); }
  Ref<MapEntry> entry(const std::string& key, std::string_view value) const {
    return MapEntry::make(key, value, hash(key));
  }
  // A change that both make; what the editor answers is checked.
  void change(MapEditor* editor, Model* model, std::mt19937* random, uint32_t keys) const {
    std::string key = std::to_string((*random)() % keys);
    std::pair<uint64_t, std::string> place(hash(key), key);
    auto known = model->find(place);
    Ref<MapEntry> old;
    if ((*random)() % 3 != 0) {
      std::string value = std::to_string((*random)() % 4);
      old = editor->put(entry(key, value));
      expect_entry(old.get(), known, *model);
      (*model)[place] = value;
    } else {
      old = editor->erase(key, place.first);
      expect_entry(old.get(), known, *model);
      model->erase(place);
    }
    ASSERT_EQ(editor->size(), model->size());
    const MapEntry* now = editor->find(key, place.first);
    expect_entry(now, model->find(place), *model);
  }
  static void expect_entry(const MapEntry* entry, Model::const_iterator known, const Model& model) {
    ASSERT_EQ(entry != nullptr, known != model.end());
    if (entry == nullptr) return;
    ASSERT_EQ(entry->hash(), known->first.first);
    ASSERT_EQ(entry->key(), known->first.second);
    ASSERT_EQ(entry->view(), known->second);
  }
};

void expect_content(const MapVersion& version, const Model& model) {
  ASSERT_EQ(version.size(), model.size());
  int64_t bytes = 0;
  for (auto& [place, value] : model) {
    const MapEntry* entry = version.find(place.second, place.first);
    ASSERT_NE(entry, nullptr) << place.second;
    ASSERT_EQ(entry->view(), value);
    bytes += static_cast<int64_t>(place.second.size() + value.size());
  }
  ASSERT_EQ(version.bytes(), bytes);
  MapCursor cursor;
  auto expected = model.begin();
  visit(version, &cursor, [&](const MapEntry& entry) {
    EXPECT_NE(expected, model.end());
    if (expected == model.end()) return false;
    EXPECT_EQ(entry.hash(), expected->first.first);
    EXPECT_EQ(entry.key(), expected->first.second);
    EXPECT_EQ(entry.view(), expected->second);
    ++expected;
    return true;
  });
  ASSERT_EQ(expected, model.end());
  ASSERT_TRUE(cursor.end);
}

TEST_P(MapVersions, AgreeWithAModelAndStayAsTheyWere) {
  std::mt19937 random(1);
  std::vector<std::pair<Ref<MapVersion>, Model>> kept;
  Model model;
  Ref<MapVersion> version = MapVersion::empty(0);
  uint64_t revision = 0;
  for (int64_t round = 0; round < ts_scaled(120); round++) {
    MapEditor editor(version);
    if (random() % 30 == 0) {
      editor.clear();
      model.clear();
      EXPECT_EQ(editor.size(), 0U);
      EXPECT_EQ(editor.bytes(), 0);
    }
    uint32_t keys = random() % 2 == 0 ? 20 : 600;
    for (uint32_t n = random() % 100; n > 0; n--) {
      ASSERT_NO_FATAL_FAILURE(change(&editor, &model, &random, keys));
    }
    version = editor.finish(++revision);
    EXPECT_EQ(version->revision(), revision);
    ASSERT_NO_FATAL_FAILURE(expect_content(*version, model));
    kept.emplace_back(version, model);
    if (random() % 3 == 0) {  // the editor goes on, and is then forgotten
      Model forgotten = model;
      for (int n = 0; n < 50; n++) {
        ASSERT_NO_FATAL_FAILURE(change(&editor, &forgotten, &random, keys));
      }
    }
  }
  for (auto& [old, content] : kept) ASSERT_NO_FATAL_FAILURE(expect_content(*old, content));
}

TEST_P(MapVersions, AnEditorGoesOnAfterFinish) {
  MapEditor editor(MapVersion::empty(0));
  editor.put(entry("1", "one"));
  Ref<MapVersion> first = editor.finish(1);
  editor.put(entry("1", "uno"));
  editor.put(entry("2", "due"));
  Ref<MapVersion> second = editor.finish(2);
  editor.clear();
  expect_content(*first, {{{hash("1"), "1"}, "one"}});
  expect_content(*second, {{{hash("1"), "1"}, "uno"}, {{hash("2"), "2"}, "due"}});
}

using Seen = std::vector<std::tuple<std::string, std::string, std::string>>;

std::string shown(const MapEntry* entry) {
  return entry == nullptr ? "-" : "=" + std::string(entry->view());
}

// Visits so many keys at a time until the end.
Seen differences(const MapVersion& from, const MapVersion& to, size_t at_a_time,
                 MapCursor cursor = {}) {
  Seen seen;
  while (!cursor.end) {
    size_t n = 0;
    visit_differences(from, to, &cursor, [&](const MapEntry* before, const MapEntry* now) {
      seen.emplace_back((before != nullptr ? before : now)->key(), shown(before), shown(now));
      return ++n < at_a_time;
    });
  }
  return seen;
}

Seen expected_differences(const Model& from, const Model& to) {
  std::map<std::pair<uint64_t, std::string>, std::pair<std::string, std::string>> all;
  for (auto& [place, value] : from) all[place] = {"=" + value, "-"};
  for (auto& [place, value] : to) {
    auto [at, added] = all.try_emplace(place, "-", "");
    at->second.second = "=" + value;
  }
  Seen seen;
  for (auto& [place, values] : all) {
    if (values.first != values.second) {
      seen.emplace_back(place.second, values.first, values.second);
    }
  }
  return seen;
}

TEST_P(MapVersions, VisitsResumeAtEveryCut) {
  std::mt19937 random(2);
  Model model;
  MapEditor editor(MapVersion::empty(0));
  for (int i = 0; i < 300; i++) {
    ASSERT_NO_FATAL_FAILURE(change(&editor, &model, &random, 200));
  }
  Ref<MapVersion> version = editor.finish(1);
  Ref<MapVersion> nothing = MapVersion::empty(0);
  for (size_t at_a_time : {1U, 2U, 3U, 7U, 1000U}) {
    MapCursor cursor;
    auto expected = model.begin();
    while (!cursor.end) {
      size_t n = 0;
      visit(*version, &cursor, [&](const MapEntry& entry) {
        EXPECT_EQ(entry.key(), expected->first.second);
        ++expected;
        return ++n < at_a_time;
      });
    }
    EXPECT_EQ(expected, model.end());
  }
  // From any place, with or without an entry there.
  for (int i = 0; i < 300; i++) {
    auto near = std::next(model.begin(), static_cast<int64_t>(random() % model.size()));
    MapCursor cursor{near->first.first + random() % 3 - 1, static_cast<uint32_t>(random() % 3)};
    std::vector<std::string> seen, expected;
    std::map<uint64_t, uint32_t> indexes;
    for (auto& [place, value] : model) {
      uint32_t at = indexes[place.first]++;
      if (std::make_pair(place.first, at) >= std::make_pair(cursor.hash, cursor.index)) {
        expected.push_back(place.second);
      }
    }
    visit(*version, &cursor, [&](const MapEntry& entry) {
      seen.emplace_back(entry.key());
      return true;
    });
    ASSERT_EQ(seen, expected);
  }
}

TEST_P(MapVersions, DifferencesAreThoseOfTheModelsAndResumeAtEveryCut) {
  std::mt19937 random(3);
  Model model;
  MapEditor editor(MapVersion::empty(0));
  std::vector<std::pair<Ref<MapVersion>, Model>> versions{{MapVersion::empty(0), model}};
  for (uint64_t round = 1; round < 8; round++) {
    for (uint32_t n = random() % 150; n > 0; n--) {
      ASSERT_NO_FATAL_FAILURE(change(&editor, &model, &random, 150));
    }
    versions.emplace_back(editor.finish(round), model);
  }
  MapEditor stranger(MapVersion::empty(0));  // equal content, nothing shared
  for (auto& [place, value] : model) stranger.put(entry(place.second, value));
  versions.emplace_back(stranger.finish(9), model);
  for (auto& [from, from_model] : versions) {
    for (auto& [to, to_model] : versions) {
      Seen expected = expected_differences(from_model, to_model);
      for (size_t at_a_time : {1U, 2U, 5U, 1000U}) {
        ASSERT_EQ(differences(*from, *to, at_a_time), expected);
      }
    }
  }
}

TEST_P(MapVersions, AVisitThatThrowsStandsAtItsEntry) {
  MapEditor editor(MapVersion::empty(0));
  for (int i = 0; i < 50; i++) editor.put(entry(std::to_string(i), "x"));
  Ref<MapVersion> version = editor.finish(1);
  MapCursor cursor;
  std::vector<std::string> seen;
  for (int calls = 0; !cursor.end;) {
    try {
      visit(*version, &cursor, [&](const MapEntry& entry) {
        if (++calls % 3 == 0) throw std::bad_alloc();
        seen.emplace_back(entry.key());
        return true;
      });
    } catch (const std::bad_alloc&) {
    }
  }
  std::vector<std::string> expected;
  for (auto& key : differences(*MapVersion::empty(0), *version, 1000)) {
    expected.push_back(std::get<0>(key));
  }
  EXPECT_EQ(seen, expected);
}

// Counts what is alive, and fails one allocation.
struct Memory {
  int64_t alive = 0;
  int64_t bytes = 0;
  int64_t made = 0;
  int64_t fail_at = -1;  // number of good ones before

  Memory() { EXPECT_TRUE(set_allocator_hooks({allocate, reallocate, release, this})); }
  ~Memory() {
    EXPECT_EQ(alive, 0);
    EXPECT_TRUE(set_allocator_hooks({}));
  }
  static void* allocate(void* self, size_t bytes) {
    auto* m = static_cast<Memory*>(self);
    if (m->fail_at >= 0 && m->fail_at-- == 0) return nullptr;
    void* memory = malloc(bytes);
    m->alive++;
    m->made++;
    m->bytes += static_cast<int64_t>(malloc_usable_size(memory) + sizeof(size_t));
    return memory;
  }
  static void* reallocate(void*, void*, size_t) { return nullptr; }
  static void release(void* self, void* memory) {
    auto* m = static_cast<Memory*>(self);
    m->alive--;
    m->bytes -= static_cast<int64_t>(malloc_usable_size(memory) + sizeof(size_t));
    free(memory);
  }
};

TEST_P(MapVersions, OutOfMemoryChangesNothing) {
  Memory memory;
  std::mt19937 random(4);
  Model model;
  Ref<MapVersion> version = MapVersion::empty(0);
  uint64_t revision = 0;
  int64_t failures = 0;
  const int64_t rounds = ts_scaled(600);
  for (int64_t round = 0; round < rounds; round++) {
    std::string key = std::to_string(random() % 60);
    std::string value = std::to_string(round);
    bool put = random() % 3 != 0;
    Ref<MapEntry> next = entry(key, value);
    MapEditor editor(version);
    for (int64_t n = 0;; n++) {
      memory.fail_at = n;
      Ref<MapVersion> made;
      try {
        if (put) {
          editor.put(next);
        } else {
          editor.erase(key, hash(key));
        }
        made = editor.finish(revision + 1);
        memory.fail_at = -1;
        version = made;
        revision++;
        break;
      } catch (const std::bad_alloc&) {
        memory.fail_at = -1;
        failures++;
        ASSERT_NO_FATAL_FAILURE(expect_content(*version, model));
      }
    }
    if (put) {
      model[{hash(key), key}] = value;
    } else {
      model.erase({hash(key), key});
    }
    ASSERT_NO_FATAL_FAILURE(expect_content(*version, model));
  }
  EXPECT_GT(failures, rounds);
}

TEST_P(MapVersions, AnEditorIsWhatItWasAfterOutOfMemory) {
  Memory memory;
  std::mt19937 random(5);
  Model model;
  MapEditor editor(MapVersion::empty(0));
  Ref<MapVersion> shared;
  for (int64_t round = 0; round < ts_scaled(400); round++) {
    if (round % 20 == 0) shared = editor.finish(1);
    std::string key = std::to_string(random() % 60);
    std::string value = std::to_string(round);
    bool put = random() % 3 != 0;
    for (int64_t n = 0;; n++) {
      Ref<MapEntry> next = entry(key, value);
      memory.fail_at = n;
      try {
        if (put) {
          editor.put(next);
        } else {
          editor.erase(key, hash(key));
        }
        memory.fail_at = -1;
        break;
      } catch (const std::bad_alloc&) {
        memory.fail_at = -1;
        EXPECT_TRUE(next->sole());
        Ref<MapVersion> now = editor.finish(2);
        ASSERT_NO_FATAL_FAILURE(expect_content(*now, model));
      }
    }
    if (put) {
      model[{hash(key), key}] = value;
    } else {
      model.erase({hash(key), key});
    }
    ASSERT_NO_FATAL_FAILURE(expect_content(*editor.finish(3), model));
  }
}

// What a map went through leaves no traces: nodes are as if it had been made anew.
TEST_P(MapVersions, TheFormDependsOnTheContentOnly) {
  Memory memory;
  std::mt19937 random(6);
  Model model;
  int64_t after_history = 0, anew = 0;
  {
    Ref<MapVersion> version;
    {
      MapEditor editor(MapVersion::empty(0));
      const int64_t changes = ts_scaled(4000);
      for (int64_t i = 0; i < changes; i++) {
        ASSERT_NO_FATAL_FAILURE(change(&editor, &model, &random, i < changes / 2 ? 500 : 50));
        if (i % 10 == 0) version = editor.finish(1);
      }
      for (int i = 50; i < 500; i++) {
        std::string key = std::to_string(i);
        editor.erase(key, hash(key));
        model.erase({hash(key), key});
      }
      version = editor.finish(1);
    }
    ASSERT_NO_FATAL_FAILURE(expect_content(*version, model));
    after_history = memory.alive;
  }
  EXPECT_EQ(memory.alive, 0);
  {
    Ref<MapVersion> version;
    {
      MapEditor editor(MapVersion::empty(0));
      for (auto& [place, value] : model) editor.put(entry(place.second, value));
      version = editor.finish(1);
    }
    anew = memory.alive;
  }
  EXPECT_EQ(after_history, anew);
  EXPECT_GT(anew, 20);
}

INSTANTIATE_TEST_SUITE_P(Hashes, MapVersions, testing::ValuesIn(kHashings),
                         [](const auto& info) { return std::string(info.param.name); });

Ref<MapEntry> entry_of(uint64_t key, std::string_view value) {
  std::string text = std::to_string(key);
  return MapEntry::make(text, value, hash_bytes(text));
}

TEST(MapVersion, OneChangeSharesAllButOnePath) {
  Memory memory;
  Ref<MapVersion> version;
  {
    MapEditor editor(MapVersion::empty(0));
    for (uint64_t i = 0; i < 20000; i++) editor.put(entry_of(i, "x"));
    version = editor.finish(1);
  }
  int64_t alive = memory.alive;
  {
    MapEditor editor(version);
    editor.put(entry_of(7, "y"));
    Ref<MapVersion> next = editor.finish(2);
    EXPECT_LE(memory.alive - alive, 8);  // the version, the entry, the nodes down to it
    MapCursor cursor;
    int changes = 0;
    visit_differences(*version, *next, &cursor, [&](const MapEntry* before, const MapEntry* now) {
      EXPECT_EQ(before->view(), "x");
      EXPECT_EQ(now->view(), "y");
      changes++;
      return true;
    });
    EXPECT_EQ(changes, 1);
  }
  EXPECT_EQ(memory.alive, alive);
}

// What an editor has made itself, it changes in place.
TEST(MapVersion, LoadingCopiesNothing) {
  Memory memory;
  Ref<MapVersion> version;
  MapEditor editor(MapVersion::empty(0));
  for (uint64_t i = 0; i < 20000; i++) editor.put(entry_of(i, "x"));
  int64_t made = memory.made;
  for (uint64_t i = 0; i < 20000; i++) editor.put(entry_of(i, "y"));
  EXPECT_EQ(memory.made - made, 20000);  // the entries
}

TEST(MapVersion, AnEntryNeedsAtMost96BytesMoreThanItsContent) {
  std::string value(90, 'v');
  for (uint64_t n : {1000U, 3000U, 10000U, 30000U, 60000U, 120000U, 250000U}) {
    Memory memory;
    MapEditor editor(MapVersion::empty(0));
    for (uint64_t i = 0; i < n; i++) editor.put(entry_of(1000000000 + i, value));
    EXPECT_LE(memory.bytes, static_cast<int64_t>(n) * 96 + editor.bytes()) << n;
    if (n == 10000 || n == 250000) {  // published and changed bit by bit, too
      Ref<MapVersion> version = editor.finish(1);
      editor.clear();
      for (uint64_t i = 0; i < n; i += 3) {
        MapEditor next(std::move(version));
        next.put(entry_of(1000000000 + i, value));
        version = next.finish(i);
      }
      EXPECT_LE(memory.bytes, static_cast<int64_t>(n) * 96 + version->bytes()) << n;
    }
  }
}

TEST(MapEntry, HoldsKeyAndValueAndOutlivesItsVersion) {
  Ref<Bytes> value;
  {
    MapEditor editor(MapVersion::empty(0));
    editor.put(MapEntry::make(std::string_view("k\0y", 3), std::string(100000, 'v'), 42));
    editor.put(MapEntry::make("", "", 43));
    Ref<MapVersion> version = editor.finish(1);
    const MapEntry* entry = version->find(std::string_view("k\0y", 3), 42);
    ASSERT_NE(entry, nullptr);
    EXPECT_EQ(entry->payload(), 100003);
    EXPECT_GE(entry->footprint(), 100003U);
    EXPECT_LE(entry->footprint(), 100003U + 48);
    EXPECT_EQ(version->bytes(), 100003);
    EXPECT_EQ(version->find("k", 42), nullptr);
    const MapEntry* nothing = version->find("", 43);
    ASSERT_NE(nothing, nullptr);
    EXPECT_EQ(nothing->view(), "");
    value = entry->hold();
  }
  std::thread([kept = std::move(value)] { EXPECT_EQ(kept->view().size(), 100000U); }).join();
}

// Each version has, under all its keys, its own revision.
TEST(VersionCell, ReadersSeeOneRevisionAndNeverAnOlderOne) {
  const auto kVersions = static_cast<uint64_t>(ts_scaled(4000));
  constexpr uint64_t kKeys = 40;
  VersionCell cell(MapVersion::empty(0));
  EpochReclaimer reclaimer;
  std::atomic<bool> done{false};
  std::atomic<uint64_t> reads{0};
  std::vector<std::thread> readers;
  for (uint64_t id = 0; id < 3; id++) {
    readers.emplace_back([&, id] {
      std::mt19937 random(static_cast<uint32_t>(id));
      uint64_t newest = 0;
      while (!done.load()) {
        Ref<MapEntry> kept;
        Ref<MapVersion> snapshot;
        uint64_t revision = 0;
        {
          ReadGuard guard;
          const MapVersion* version = cell.read();
          revision = version->revision();
          ASSERT_GE(revision, newest);
          newest = revision;
          if (revision == 0) continue;
          for (int i = 0; i < 5; i++) {
            std::string key = std::to_string(random() % kKeys);
            const MapEntry* entry = version->find(key, hash_bytes(key));
            ASSERT_NE(entry, nullptr);
            ASSERT_EQ(entry->view(), std::to_string(revision));
            if (i == 4) kept = entry->hold();
          }
          if (random() % 8 == 0) snapshot = cell.take();
        }
        reads.fetch_add(1);
        ASSERT_EQ(kept->view(), std::to_string(revision));
        if (!snapshot) continue;
        ASSERT_GE(snapshot->revision(), revision);
        std::string expected = std::to_string(snapshot->revision());
        MapCursor cursor;
        uint64_t n = 0;
        visit(*snapshot, &cursor, [&](const MapEntry& entry) {
          n++;
          return entry.view() == expected;
        });
        ASSERT_EQ(n, kKeys);
      }
    });
  }
  uint64_t revision = 0;
  // The readers have to get their turns, whatever the machine does.
  while (revision < kVersions || reads.load() < 1000) {
    MapEditor editor(cell.take());
    std::string value = std::to_string(++revision);
    for (uint64_t i = 0; i < kKeys; i++) editor.put(entry_of(i, value));
    cell.publish(editor.finish(revision), reclaimer);
    reclaimer.reclaim();
  }
  done = true;
  for (auto& reader : readers) reader.join();
  reclaimer.reclaim();
  EXPECT_EQ(reclaimer.waiting(), 0U);
}

TEST(VersionCell, PublishingIsAllOrNothing) {
  Memory memory;
  EpochReclaimer reclaimer;
  VersionCell cell(MapVersion::empty(1));
  Ref<MapVersion> next = MapVersion::empty(2);
  memory.fail_at = 0;
  EXPECT_THROW(cell.publish(next, reclaimer), std::bad_alloc);
  memory.fail_at = -1;
  EXPECT_EQ(cell.take()->revision(), 1U);
  EXPECT_TRUE(next->sole());
  cell.publish(next, reclaimer);
  EXPECT_EQ(cell.take()->revision(), 2U);
  EXPECT_EQ(reclaimer.waiting(), 1U);
  reclaimer.reclaim();
  EXPECT_EQ(reclaimer.waiting(), 0U);
}

}  // namespace
}  // namespace pulseengine
