// The buffer of bytes on their way out: whatever is done to it, it holds what a plain string
// would hold.
#include "base/outbox_buffer.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "support.h"

namespace pulseengine {
namespace {

std::string text_of(const OutboxBuffer& buffer) {
  iovec vectors[1000];  // more than any test makes
  int n = buffer.vectors(vectors, 1000);
  std::string text;
  for (int i = 0; i < n; i++) {
    text.append(static_cast<const char*>(vectors[i].iov_base), vectors[i].iov_len);
  }
  return text;
}

TEST(OutboxBuffer, KeepsTextAndPiecesInOrder) {
  OutboxBuffer buffer;
  EXPECT_TRUE(buffer.empty());
  buffer.append("one ");
  buffer.append(Bytes::copy("two "));
  buffer.append(Bytes::copy("three "));
  buffer.append("four");
  EXPECT_EQ(text_of(buffer), "one two three four");
  EXPECT_EQ(buffer.size(), 18U);
  iovec vectors[4];
  EXPECT_EQ(buffer.vectors(vectors, 4), 4);
  EXPECT_EQ(buffer.vectors(vectors, 3), 3);
  EXPECT_EQ(buffer.vectors(vectors, 1), 1);
}

TEST(OutboxBuffer, ReferencesPiecesAndLetsThemGoOnceConsumed) {
  int gone = 0;
  std::string text(100000, 'x');
  OutboxBuffer buffer;
  buffer.append("head");
  buffer.append(Bytes::borrow(text, &gone, [](void* count) { ++*static_cast<int*>(count); }));
  buffer.append("tail");
  iovec vectors[3];
  ASSERT_EQ(buffer.vectors(vectors, 3), 3);
  EXPECT_EQ(vectors[1].iov_base, text.data());  // not a copy
  buffer.consume(4 + text.size() - 1);
  EXPECT_EQ(gone, 0);
  buffer.consume(1);
  EXPECT_EQ(gone, 1);
  EXPECT_EQ(text_of(buffer), "tail");
}

TEST(OutboxBuffer, AnEmptyPieceIsNothing) {
  OutboxBuffer buffer;
  buffer.append(Bytes::copy(""));
  EXPECT_TRUE(buffer.empty());
  iovec vector;
  EXPECT_EQ(buffer.vectors(&vector, 1), 0);
}

TEST(OutboxBuffer, TailIsWhatWasAppendedSinceAMark) {
  OutboxBuffer buffer;
  buffer.append("before");
  size_t mark = buffer.size();
  buffer.append("after");
  EXPECT_EQ(buffer.tail(mark), "after");
  buffer.consume(3);
  EXPECT_EQ(buffer.tail(mark - 3), "after");
}

// The model of one buffer: its bytes, and where pieces end (marks may not lie inside of one).
struct Modelled {
  OutboxBuffer buffer;
  std::string text;
  std::vector<size_t> marks;  // sizes that truncate may go back to

  void forget_marks() { marks.clear(); }
};

TEST(OutboxBuffer, EqualsAPlainStringUnderRandomChanges) {
  std::mt19937 random(4711);
  auto below = [&](size_t n) { return std::uniform_int_distribution<size_t>(0, n - 1)(random); };
  for (int64_t round = 0; round < ts_scaled(200); round++) {
    Modelled sides[2];
    for (int step = 0; step < 200; step++) {
      Modelled& m = sides[below(2)];
      Modelled& other = &m == &sides[0] ? sides[1] : sides[0];
      std::string bytes(below(10) == 0 ? below(9000) : below(40),
                        static_cast<char>('a' + below(26)));
      switch (below(8)) {
        case 0:
        case 1:
          m.marks.push_back(m.text.size());
          m.buffer.append(bytes);
          m.text += bytes;
          break;
        case 2:
          m.marks.push_back(m.text.size());
          m.buffer.append(Bytes::copy(bytes));
          m.text += bytes;
          break;
        case 3: {
          size_t n = below(m.text.size() + 1);
          m.buffer.consume(n);
          m.text.erase(0, n);
          m.forget_marks();
          break;
        }
        case 4:
          if (!m.marks.empty()) {
            size_t mark = m.marks[below(m.marks.size())];
            m.buffer.truncate(mark);
            m.text.resize(mark);
            m.forget_marks();
          }
          break;
        case 5:
          m.buffer.take(other.buffer);
          m.text += other.text;
          other.text.clear();
          m.forget_marks();
          other.forget_marks();
          break;
        case 6: {
          size_t n = below(m.text.size() + 1);
          m.buffer.move_front(n, other.buffer);
          other.text += m.text.substr(0, n);
          m.text.erase(0, n);
          m.forget_marks();
          other.forget_marks();
          break;
        }
        case 7:
          if (below(20) == 0) {
            m.buffer.clear();
            m.text.clear();
            m.forget_marks();
          }
          break;
      }
      for (const Modelled& side : sides) {
        ASSERT_EQ(side.buffer.size(), side.text.size()) << "round " << round << " step " << step;
        ASSERT_EQ(text_of(side.buffer), side.text) << "round " << round << " step " << step;
      }
    }
  }
}

}  // namespace
}  // namespace pulseengine
