// The table of events that a sink holds, the calls that settle them, and consumer names.
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

#include "base/ulid.h"
#include "engine/queue.h"
#include "streaming/pending_table.h"
#include "streaming/sink.h"

namespace pulseengine {
namespace {

pulse_event_id id(uint64_t ms, uint64_t seq = 0) { return {ms, seq}; }

TEST(PendingTable, FindsWhatWasInsertedUntilItIsErased) {
  PendingTable table;
  EXPECT_TRUE(table.empty());
  EXPECT_EQ(table.find(id(1)), nullptr);
  table.insert(id(1)).delivery = 7;
  table.insert(id(1, 1)).delivery = 8;
  ASSERT_NE(table.find(id(1)), nullptr);
  EXPECT_EQ(table.find(id(1))->delivery, 7u);
  EXPECT_EQ(table.find(id(1, 1))->delivery, 8u);
  EXPECT_EQ(table.find(id(1, 2)), nullptr);
  EXPECT_EQ(table.size(), 2u);
  table.erase(id(1));
  EXPECT_EQ(table.find(id(1)), nullptr);
  EXPECT_EQ(table.size(), 1u);
  table.erase(id(1));  // no effect
  EXPECT_EQ(table.size(), 1u);
}

TEST(PendingTable, TakesOlderIdsInBetween) {
  PendingTable table;
  table.insert(id(10));
  table.insert(id(30));
  table.insert(id(20)).delivery = 2;
  table.insert(id(5)).delivery = 5;
  EXPECT_EQ(table.size(), 4u);
  EXPECT_EQ(table.find(id(20))->delivery, 2u);
  EXPECT_EQ(table.find(id(5))->delivery, 5u);
  uint64_t last = 0;
  size_t seen = 0;
  for (PendingEntry* e = table.first_from(id(0)); e != nullptr;
       e = table.first_from(id_after(e->id))) {
    EXPECT_LT(last, e->id.ms);
    last = e->id.ms;
    seen++;
  }
  EXPECT_EQ(seen, 4u);
}

TEST(PendingTable, ErasesWhatWasFound) {
  PendingTable table;
  for (uint64_t ms = 1; ms <= 300; ms++) table.insert(id(2 * ms));
  table.insert(id(7));  // older than the newest
  for (uint64_t ms = 1; ms <= 299; ms++) {
    PendingEntry* entry = table.find(id(2 * ms));
    ASSERT_NE(entry, nullptr);
    table.erase(*entry);
    EXPECT_EQ(table.find(id(2 * ms)), nullptr);
    ASSERT_NE(table.find(id(2 * ms + 2)), nullptr);
    EXPECT_EQ(table.size(), 301 - ms);
  }
  table.erase(*table.find(id(7)));
  EXPECT_EQ(table.find(id(7)), nullptr);
  EXPECT_EQ(table.size(), 1u);
}

TEST(PendingTable, TakesAnErasedIdAgain) {
  PendingTable table;
  table.insert(id(1));
  table.insert(id(2));
  table.insert(id(3));
  table.erase(id(2));
  table.insert(id(2)).delivery = 9;
  ASSERT_NE(table.find(id(2)), nullptr);
  EXPECT_EQ(table.find(id(2))->delivery, 9u);
  table.erase(id(2));
  EXPECT_EQ(table.find(id(2)), nullptr);
  EXPECT_EQ(table.size(), 2u);
}

TEST(PendingTable, BehavesAsAnOrderedMap) {
  std::mt19937 random(42);
  PendingTable table;
  std::map<uint64_t, uint32_t> model;
  uint64_t newest = 1000;
  for (uint32_t step = 0; step < 50000; step++) {
    switch (random() % 4) {
      case 0:
      case 1: {
        // Mostly newer than all, sometimes older.
        uint64_t ms = random() % 8 == 0 ? random() % newest : ++newest;
        if (model.count(ms) != 0) break;
        table.insert(id(ms)).delivery = step;
        model[ms] = step;
        break;
      }
      case 2: {
        if (model.empty()) break;
        auto oldest = model.begin();
        table.erase(id(oldest->first));
        model.erase(oldest);
        break;
      }
      default: {
        uint64_t ms = random() % (newest + 1);
        table.erase(id(ms));
        model.erase(ms);
      }
    }
    ASSERT_EQ(table.size(), model.size()) << "step " << step;
    uint64_t ms = random() % (newest + 2);
    PendingEntry* found = table.first_from(id(ms));
    auto expected = model.lower_bound(ms);
    ASSERT_EQ(found == nullptr, expected == model.end()) << "step " << step;
    if (found != nullptr) {
      ASSERT_EQ(found->id.ms, expected->first);
      ASSERT_EQ(found->delivery, expected->second);
    }
  }
}

TEST(EventIds, HaveNeighbours) {
  EXPECT_TRUE(id_equal(id_after(id(5, 6)), id(5, 7)));
  EXPECT_TRUE(id_equal(id_after(id(5, UINT64_MAX)), id(6, 0)));
  EXPECT_TRUE(id_equal(id_before(id(5, 6)), id(5, 5)));
  EXPECT_TRUE(id_equal(id_before(id(5, 0)), id(4, UINT64_MAX)));
  EXPECT_TRUE(id_equal(id_before(id(0, 0)), id(0, 0)));
}

TEST(StartPosition, IsWhatXgroupCreateTakes) {
  EXPECT_EQ(start_position({PULSE_START_NEWEST, id(0)}), "$");
  EXPECT_EQ(start_position({PULSE_START_OLDEST, id(0)}), "0-0");
  EXPECT_EQ(start_position({PULSE_START_AFTER, id(7, 3)}), "7-3");
  // At a time includes that millisecond.
  // Right before it; Redis 5 takes the very last id of a millisecond for one of the next.
  EXPECT_EQ(start_position({PULSE_START_TIME, id(7)}), "6-18446744073709551614");
  EXPECT_EQ(start_position({PULSE_START_TIME, id(0)}), "0-0");
}

// An operation that no engine has accepted cannot complete, so the last item is left open here.
TEST(SinkCall, WaitsForItsLastItem) {
  auto operation = make_ref<Operation>(PULSE_EVENT_ACKED, Target());
  auto call = make_ref<SinkCall>(operation, 3);
  call->settle(2, Error());
  call->settle(0, Error(PULSE_ERR_NOT_OWNER, "gone"));
  EXPECT_FALSE(operation->completed());
}

TEST(SettleBatch, KnowsWhetherItWasSentBefore) {
  SettleBatch batch;
  batch.formatted = 1;
  EXPECT_FALSE(batch.may_be_second());
  batch.formatted = 2;  // after a lost connection
  EXPECT_TRUE(batch.may_be_second());
  batch.evaluated = true;  // the first one was refused: NOSCRIPT
  EXPECT_FALSE(batch.may_be_second());
  batch.formatted = 3;
  EXPECT_TRUE(batch.may_be_second());
}

TEST(Ulid, IsUniqueAndSortsByTime) {
  std::set<String> seen;
  String first = make_ulid();
  for (int i = 0; i < 10000; i++) {
    String text = make_ulid();
    ASSERT_EQ(text.size(), kUlidLength);
    ASSERT_EQ(text.find_first_not_of("0123456789ABCDEFGHJKMNPQRSTVWXYZ"), String::npos);
    ASSERT_LE(first.substr(0, 10), text.substr(0, 10));
    ASSERT_TRUE(seen.insert(text).second);
  }
}

}  // namespace
}  // namespace pulseengine
