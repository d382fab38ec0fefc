#include "tally.h"

#include <algorithm>

namespace job {
namespace {

template <typename T>
bool by_id(const T& a, const T& b) {
  return a.id < b.id;
}

// The part of the sorted `records` that has this id, from *position on; those before it that have
// no published id are counted as unknown.
size_t matches(const std::vector<Record>& records, const Published& event, size_t* position,
               Verdict* verdict) {
  while (*position < records.size() && records[*position].id < event.id) {
    ++verdict->unknown;
    ++*position;
  }
  size_t count = 0;
  for (; *position < records.size() && records[*position].id == event.id; ++*position, ++count) {
    if (records[*position].checksum != event.checksum) ++verdict->altered;
  }
  return count;
}

double percentile_ms(const std::vector<uint64_t>& sorted_ns, double share) {
  if (sorted_ns.empty()) return 0;
  const size_t index = static_cast<size_t>(share * static_cast<double>(sorted_ns.size() - 1));
  return static_cast<double>(sorted_ns[index]) / 1e6;
}

}  // namespace

void Tally::handled(int consumer, const Record& record) {
  ConsumerTally& tally = consumers_[static_cast<size_t>(consumer)];
  ++tally.handled;
  if (record.deliveries > 1) ++tally.redelivered;
  handled_.push_back(record);
  if (distinct_.insert(record.id).second) {
    last_handled_ns_ = std::max(last_handled_ns_, record.at_ns);
  }
}

uint64_t Tally::compare(const Progress& progress) const {
  uint64_t wrong = progress.total == handled_.size() ? 0 : 1;
  for (size_t i = 0; i < progress.handled.size(); ++i) {
    if (progress.handled[i] != consumers_[i + 1].handled) ++wrong;
  }
  return wrong;
}

Verdict Tally::compare(const std::vector<Published>& published_in_order) const {
  Verdict verdict;
  verdict.published = published_in_order.size();
  for (size_t i = 1; i < seen_.size(); ++i) {
    if (seen_[i].id < seen_[i - 1].id) ++verdict.reader_disorder;
  }
  std::vector<Published> published = published_in_order;
  std::vector<Record> handled = handled_;
  std::vector<Record> seen = seen_;
  std::sort(published.begin(), published.end(), by_id<Published>);
  std::stable_sort(handled.begin(), handled.end(), by_id<Record>);
  std::stable_sort(seen.begin(), seen.end(), by_id<Record>);
  std::vector<uint64_t> waits;
  size_t next_handled = 0;
  size_t next_seen = 0;
  for (const Published& event : published) {
    const size_t times_handled = matches(handled, event, &next_handled, &verdict);
    if (times_handled == 0) ++verdict.lost;
    if (times_handled > 1) ++verdict.twice;
    if (times_handled > 0) {
      uint64_t first = UINT64_MAX;
      for (size_t i = next_handled - times_handled; i < next_handled; ++i) {
        first = std::min(first, handled[i].at_ns);
      }
      waits.push_back(first > event.sent_ns ? first - event.sent_ns : 0);
    }
    const size_t times_seen = matches(seen, event, &next_seen, &verdict);
    if (times_seen == 0) ++verdict.reader_missed;
    if (times_seen > 1) ++verdict.reader_twice;
  }
  verdict.unknown += handled.size() - next_handled + (seen.size() - next_seen);
  std::sort(waits.begin(), waits.end());
  verdict.p50_ms = percentile_ms(waits, 0.50);
  verdict.p99_ms = percentile_ms(waits, 0.99);
  verdict.max_ms = waits.empty() ? 0 : static_cast<double>(waits.back()) / 1e6;
  return verdict;
}

}  // namespace job
