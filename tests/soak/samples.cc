#include "samples.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>

#include "counted_memory.h"
#include "support.h"

namespace soak {
namespace {

constexpr int64_t kMiB = 1 << 20;

int64_t middle(std::vector<int64_t> values) {
  const auto at = values.begin() + static_cast<ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), at, values.end());
  return *at;
}

void print(size_t second, const Sample& sample) {
  printf("  from second %zu: %.2f MiB of the engine, %.1f MiB resident, %" PRId64 " descriptors\n",
         second, static_cast<double>(sample.engine_bytes) / kMiB,
         static_cast<double>(sample.resident_bytes) / kMiB, sample.descriptors);
}

}  // namespace

void Samples::take() {
  all_.push_back({bytes_alive.load(), ts_resident_bytes(), ts_descriptor_count()});
}

Sample Samples::median(size_t from, size_t to) const {
  std::vector<int64_t> engine, resident, descriptors;
  for (size_t i = from; i < to; i++) {
    engine.push_back(all_[i].engine_bytes);
    resident.push_back(all_[i].resident_bytes);
    descriptors.push_back(all_[i].descriptors);
  }
  return {middle(engine), middle(resident), middle(descriptors)};
}

void Samples::expect_no_growth() const {
  const size_t count = all_.size();
  ASSERT_GE(count, 16u) << "too short";
  const size_t skip = std::min<size_t>(60, count / 10), part = std::min<size_t>(30, count / 8);
  const Sample first = median(skip, skip + part), last = median(count - part, count);
  constexpr size_t kParts = 10;
  for (size_t i = 0; i < kParts; i++) {
    print(i * count / kParts, median(i * count / kParts, (i + 1) * count / kParts));
  }
  print(skip, first);
  print(count - part, last);
  // What waits at one moment or another differs by some.
  EXPECT_LE(last.engine_bytes, first.engine_bytes + first.engine_bytes / 10 + kMiB);
  EXPECT_LE(last.resident_bytes, first.resident_bytes + first.resident_bytes / 10 + 4 * kMiB);
  EXPECT_LE(last.descriptors, first.descriptors + 2);
}

}  // namespace soak
