#include "streaming/cursor.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace pulseengine {
namespace {

// A stream as Redis keeps it: entries 1-0, 2-0, ...; `modern` servers count them.
class Model {
 public:
  explicit Model(bool modern) : modern_(modern) {}

  void add(int count) {
    for (int i = 0; i < count; i++) ids_.push_back(++last_);
    added_ += static_cast<uint64_t>(count);
    exists_ = true;
  }
  void trim_to(size_t length) {
    while (ids_.size() > length) ids_.erase(ids_.begin());
  }
  void destroy(bool ids_begin_anew) {
    ids_.clear();
    added_ = 0;
    exists_ = false;
    if (ids_begin_anew) last_ = 0;
  }
  StreamState state() const {
    StreamState s;
    s.exists = exists_;
    s.length = ids_.size();
    if (!ids_.empty()) s.first = {ids_.front(), 0};
    if (exists_) s.last_generated = {last_, 0};
    s.has_added = modern_ && exists_;
    s.added = s.has_added ? added_ : 0;
    return s;
  }
  // What XREAD gives the cursor.
  int read(Cursor* cursor, int most) const {
    int n = 0;
    for (uint64_t id : ids_) {
      if (n < most && id_less(cursor->id(), {id, 0})) {
        cursor->advance({id, 0});
        n++;
      }
    }
    return n;
  }

 private:
  const bool modern_;
  std::vector<uint64_t> ids_;
  uint64_t last_ = 0, added_ = 0;
  bool exists_ = false;
};

class CursorTest : public testing::TestWithParam<bool> {
 protected:
  bool modern() const { return GetParam(); }
  Model stream{GetParam()};
  Cursor cursor;

  void expect_quiet(const char* when) {
    CursorNews news = cursor.look(stream.state());
    EXPECT_FALSE(news.gap) << when;
    EXPECT_FALSE(news.recreated) << when;
  }
  void expect_gap(uint64_t count, uint64_t after, uint64_t before) {
    CursorNews news = cursor.look(stream.state());
    ASSERT_TRUE(news.gap);
    EXPECT_EQ(news.missing, modern() ? count : 0);
    EXPECT_TRUE(id_equal(news.after, {after, 0}));
    EXPECT_TRUE(id_equal(news.before, {before, 0}));
  }
};

TEST_P(CursorTest, ReadingKeepsUpWithoutNews) {
  stream.add(5);
  cursor.start_newest(stream.state());
  for (int i = 0; i < 20; i++) {
    expect_quiet("before");
    stream.add(3);
    stream.trim_to(4);  // what we read, and one of what we did not; never more
    expect_quiet("after");
    EXPECT_EQ(stream.read(&cursor, 100), 3);
  }
}

TEST_P(CursorTest, EntriesTrimmedUnreadAreCounted) {
  stream.add(5);
  cursor.start_newest(stream.state());
  stream.add(1);
  EXPECT_EQ(stream.read(&cursor, 10), 1);
  stream.add(300);
  stream.trim_to(100);
  expect_gap(200, 6, 207);
  expect_quiet("told once");
  EXPECT_EQ(stream.read(&cursor, 1000), 100);
  expect_quiet("caught up");
  stream.add(10);
  stream.trim_to(4);
  expect_gap(6, 306, 313);
}

TEST_P(CursorTest, AReaderThatLagsSeesEachGap) {
  stream.add(10);
  cursor.start(Cursor::Start::oldest, {0, 0});
  expect_quiet("start");
  EXPECT_EQ(stream.read(&cursor, 2), 2);
  stream.trim_to(5);
  expect_gap(3, 2, 6);
  EXPECT_EQ(stream.read(&cursor, 1), 1);
  stream.trim_to(4);
  // Only what was read is gone.  An old server cannot tell.
  if (modern()) {
    expect_quiet("nothing is missing");
  } else {
    expect_gap(0, 6, 7);
  }
}

TEST_P(CursorTest, AStreamThatIsTrimmedToNothingIsAGap) {
  stream.add(3);
  cursor.start(Cursor::Start::oldest, {0, 0});
  expect_quiet("start");
  EXPECT_EQ(stream.read(&cursor, 1), 1);
  stream.trim_to(0);
  CursorNews news = cursor.look(stream.state());
  ASSERT_TRUE(news.gap);
  EXPECT_EQ(news.missing, modern() ? 2u : 0u);
  EXPECT_TRUE(id_equal(news.before, {3, 1}));
  expect_quiet("told once");
  stream.add(2);
  expect_quiet("goes on");
  EXPECT_EQ(stream.read(&cursor, 10), 2);
}

TEST_P(CursorTest, WhatWasTrimmedBeforeTheOldestStartIsNoGap) {
  stream.add(100);
  stream.trim_to(10);
  cursor.start(Cursor::Start::oldest, {0, 0});
  expect_quiet("start");
  EXPECT_EQ(stream.read(&cursor, 100), 10);
  expect_quiet("read");
}

TEST_P(CursorTest, StartingAfterAnIdThatIsGoneIsPossiblyAGap) {
  stream.add(100);
  stream.trim_to(10);
  cursor.start(Cursor::Start::after, {50, 0});
  CursorNews news = cursor.look(stream.state());
  EXPECT_TRUE(news.gap);
  EXPECT_EQ(news.missing, 0u);
  EXPECT_TRUE(id_equal(news.after, {50, 0}));
  EXPECT_TRUE(id_equal(news.before, {91, 0}));
  expect_quiet("told once");
}

TEST_P(CursorTest, StartingAfterAnIdThatIsThereIsNone) {
  stream.add(100);
  stream.trim_to(60);
  cursor.start(Cursor::Start::after, {50, 0});
  expect_quiet("start");
  EXPECT_EQ(stream.read(&cursor, 100), 50);
}

TEST_P(CursorTest, AnEmptyPlaceStaysQuietUntilEventsCome) {
  cursor.start_newest(stream.state());
  expect_quiet("no stream");
  stream.add(3);
  expect_quiet("new stream");
  EXPECT_EQ(stream.read(&cursor, 10), 3);
  expect_quiet("read");
}

TEST_P(CursorTest, AStreamMadeAnewWithLowerIdsIsReadFromItsStart) {
  stream.add(100);
  cursor.start_newest(stream.state());
  stream.add(1);
  EXPECT_EQ(stream.read(&cursor, 10), 1);
  stream.destroy(true);
  stream.add(5);
  CursorNews news = cursor.look(stream.state());
  EXPECT_TRUE(news.recreated);
  EXPECT_FALSE(news.gap);
  EXPECT_TRUE(id_equal(cursor.id(), {0, 0}));
  EXPECT_EQ(stream.read(&cursor, 10), 5);
  expect_quiet("told once");
}

TEST_P(CursorTest, AStreamThatIsGoneIsToldWhenItIsBack) {
  stream.add(100);
  cursor.start_newest(stream.state());
  stream.destroy(true);
  expect_quiet("gone");
  expect_quiet("still gone");
  stream.add(2);
  EXPECT_TRUE(cursor.look(stream.state()).recreated);
  EXPECT_EQ(stream.read(&cursor, 10), 2);
  expect_quiet("told once");
}

TEST_P(CursorTest, AStreamThatIsGoneIsToldByItsFirstEntriesToo) {
  stream.add(100);
  cursor.start_newest(stream.state());
  EXPECT_FALSE(cursor.take_vanished());
  stream.destroy(true);
  expect_quiet("gone");
  stream.add(2);
  EXPECT_TRUE(cursor.take_vanished());
  EXPECT_FALSE(cursor.take_vanished());
  EXPECT_EQ(stream.read(&cursor, 10), 2);
}

TEST_P(CursorTest, GapsOfAStreamThatIsMadeLaterAreCounted) {
  cursor.start(Cursor::Start::oldest, {0, 0});
  expect_quiet("no stream");
  stream.add(20);
  EXPECT_EQ(stream.read(&cursor, 5), 5);
  stream.trim_to(10);
  expect_gap(5, 5, 11);
}

TEST_P(CursorTest, AStartInTheFutureWaitsForIt) {
  cursor.start(Cursor::Start::oldest, {1000, UINT64_MAX});
  expect_quiet("no stream");
  stream.add(3);
  expect_quiet("before its time");
  EXPECT_EQ(stream.read(&cursor, 10), 0);
  EXPECT_TRUE(id_equal(cursor.id(), {1000, UINT64_MAX}));
}

INSTANTIATE_TEST_SUITE_P(Servers, CursorTest, testing::Bool(),
                         [](const auto& info) { return info.param ? "Redis7" : "Redis5"; });

TEST(Cursor, AModernServerTellsOfAStreamMadeAnewWhileReadingWentOn) {
  Model stream(true);
  stream.add(50);
  Cursor cursor;
  cursor.start_newest(stream.state());
  stream.destroy(false);
  stream.add(3);
  EXPECT_EQ(stream.read(&cursor, 10), 3);
  CursorNews news = cursor.look(stream.state());
  EXPECT_TRUE(news.recreated);
  EXPECT_FALSE(news.gap);
  EXPECT_TRUE(id_equal(cursor.id(), {53, 0}));
  EXPECT_FALSE(cursor.look(stream.state()).recreated);
}

}  // namespace
}  // namespace pulseengine
