// Who is alive in a pool, and in which order workers count.
#include "pool/membership.h"

#include <gtest/gtest.h>

namespace pulseengine {
namespace {

constexpr int64_t kTtl = 1000;

std::vector<std::string> active(const Membership& m) {
  std::vector<std::string> ids;
  for (const String& id : m.active()) ids.emplace_back(id.data(), id.size());
  return ids;
}

std::vector<std::string> ids_of(const Vector<Membership::Dead>& dead) {
  std::vector<std::string> ids;
  for (const Membership::Dead& d : dead) ids.emplace_back(d.id.data(), d.id.size());
  return ids;
}

using Ids = std::vector<std::string>;

TEST(Membership, WorkersCountByTheirAgeAndThenById) {
  Membership m(kTtl);
  // Numbers of different length: not by their text.
  m.set(Membership::kWorkers, "c", "900", 0);
  m.set(Membership::kWorkers, "b", "1000", 0);
  m.set(Membership::kWorkers, "a", "1000", 0);
  for (const char* id : {"a", "b", "c"}) m.set(Membership::kWorkerBeats, id, "1", 0);
  EXPECT_TRUE(m.refresh(0));
  EXPECT_EQ(active(m), (Ids{"c", "a", "b"}));
  EXPECT_FALSE(m.refresh(1));
}

TEST(Membership, OnlyWhoIsHeardOfAndStaysIsActive) {
  Membership m(kTtl);
  m.set(Membership::kWorkers, "leaving", "-", 0);
  m.set(Membership::kWorkers, "rubbish", "x1", 0);
  m.set(Membership::kWorkers, "silent", "1", 0);
  m.set(Membership::kWorkers, "locked", "1", 0);
  m.set(Membership::kWorkers, "fine", "1", 0);
  for (const char* id : {"leaving", "rubbish", "locked", "fine"}) {
    m.set(Membership::kWorkerBeats, id, "1", 0);
  }
  m.set(Membership::kLocks, "locked", "1", 0);
  m.refresh(0);
  EXPECT_EQ(active(m), Ids{"fine"});
  EXPECT_TRUE(m.is_active("fine"));
  EXPECT_FALSE(m.is_active("locked"));
}

TEST(Membership, WhatCountsIsThatABeatChanges) {
  Membership m(kTtl);
  m.set(Membership::kWorkers, "w", "1", 0);
  m.set(Membership::kWorkerBeats, "w", "99999999999", 0);  // a clock far ahead
  m.refresh(0);
  EXPECT_EQ(m.next_change_ms(), kTtl + 1);
  m.set(Membership::kWorkerBeats, "w", "99999999999", 900);  // the same once more
  EXPECT_TRUE(m.refresh(kTtl + 1));
  EXPECT_EQ(active(m), Ids{});
  m.set(Membership::kWorkerBeats, "w", "5", kTtl + 2);  // a clock that went back
  EXPECT_TRUE(m.refresh(kTtl + 2));
  EXPECT_EQ(active(m), Ids{"w"});
}

TEST(Membership, NobodyIsBlamedForAnOutage) {
  Membership m(kTtl);
  m.set(Membership::kWorkers, "w", "1", 0);
  m.set(Membership::kWorkerBeats, "w", "1", 0);
  m.set(Membership::kNodeBeats, "n", "1", 0);
  m.forgive(5000);
  m.refresh(5000);
  EXPECT_EQ(active(m), Ids{"w"});
  EXPECT_TRUE(m.dead_nodes(5000 + kTtl).empty());
  EXPECT_TRUE(m.dead_workers({}, 5000 + kTtl).empty());
  EXPECT_EQ(ids_of(m.dead_nodes(5001 + kTtl)), Ids{"n"});
  EXPECT_EQ(ids_of(m.dead_workers({}, 5001 + kTtl)), Ids{"w"});
}

TEST(Membership, TheDeadAreNamedWithWhatWasSeenOfThem) {
  Membership m(kTtl);
  m.set(Membership::kWorkers, "w", "1", 0);
  m.set(Membership::kWorkerBeats, "w", "77", 0);
  m.set(Membership::kWorkers, "never", "1", 0);  // without a beat
  EXPECT_TRUE(m.dead_workers({}, kTtl).empty());
  Vector<Membership::Dead> dead = m.dead_workers({}, kTtl + 1);
  ASSERT_EQ(dead.size(), 2u);
  EXPECT_EQ(dead[0].id, "never");
  EXPECT_TRUE(dead[0].beat.empty());
  EXPECT_EQ(dead[1].beat, "77");
  // Somebody is at it.
  m.set(Membership::kLocks, "w", "1", kTtl + 1);
  EXPECT_EQ(ids_of(m.dead_workers({}, kTtl + 1)), Ids{"never"});
}

TEST(Membership, StrangersThatOwnJobsAreGivenTimeFromWhenTheyWereSeen) {
  Membership m(kTtl);
  EXPECT_TRUE(m.dead_workers({"stranger"}, 10000).empty());
  EXPECT_TRUE(m.dead_workers({"stranger"}, 10000 + kTtl).empty());
  EXPECT_EQ(ids_of(m.dead_workers({"stranger"}, 10001 + kTtl)), Ids{"stranger"});
  // Gone, and here again: from the beginning.
  EXPECT_TRUE(m.dead_workers({}, 20000).empty());
  EXPECT_TRUE(m.dead_workers({"stranger"}, 20001).empty());
}

}  // namespace
}  // namespace pulseengine
