// Entries that are trimmed before they were read or acked: lost, and reported.
#include "scene.h"

namespace faults {
namespace {

bool in_gaps(const Worker& worker, const Id& id) {
  for (const Gap& gap : worker.gaps) {
    if (gap.after < id && id < gap.before) return true;
  }
  return false;
}

// Every event was received or lies in a reported gap, none in both; and where the server knows how
// many entries were ever added (7.0), the counts are exact, else 0.
void check_gaps(Scene& scene, const Worker& worker) {
  std::set<Id> seen;
  for (const Seen& event : worker.handled) seen.insert(event.id);
  const bool can_tell = ts_server_version(scene.server()) >= 70000;
  uint64_t missing = 0;
  for (const auto& [key, id] : scene.adds()) {
    if (seen.count(id) == 0) missing++;
    EXPECT_NE(seen.count(id) == 1, in_gaps(worker, id)) << worker.name << " " << key;
  }
  uint64_t counted = 0;
  for (const Gap& gap : worker.gaps) {
    counted += gap.count;
    uint64_t inside = 0;
    for (const auto& add : scene.adds()) {
      if (gap.after < add.second && add.second < gap.before) inside++;
    }
    EXPECT_EQ(gap.count, can_tell ? inside : 0)
        << worker.name << " after " << gap.after.first << "-" << gap.after.second;
  }
  printf("  %s: %llu events trimmed unread, %zu gaps that count %llu\n", worker.name.c_str(),
         static_cast<unsigned long long>(missing), worker.gaps.size(),
         static_cast<unsigned long long>(counted));
  EXPECT_GT(missing, 0u);
  EXPECT_EQ(counted, can_tell ? missing : 0) << worker.name;
}

TEST(Trimmed, SlowReader) {
  Scene scene;
  Worker& reader = scene.reader({{"buffer", "50"}});
  scene.consumer({{"work_us", "0"}});
  scene.publisher({{"max_len", "400"}});
  scene.progress(100);
  for (int64_t i = 0; i < 3; i++) {
    scene.order(reader, "pause");
    scene.progress(1500);
    scene.order(reader, "go");
    const size_t gaps = reader.gaps.size();
    scene.until("the reader is told", [&] { return reader.gaps.size() > gaps; });
  }
  scene.may_be_gone();
  scene.finish();
  check_gaps(scene, reader);
}

TEST(Trimmed, SlowSink) {
  Scene scene;
  Worker& consumer = scene.consumer({{"buffer", "50"}, {"work_us", "0"}});
  Worker& publisher = scene.publisher();
  scene.progress(100);
  for (int64_t i = 0; i < 3; i++) {
    scene.order(consumer, "pause");
    const size_t published = scene.acknowledged();
    scene.until("events are added", [&] { return scene.acknowledged() >= published + 1200; });
    EXPECT_GT(scene.command("XTRIM pulse:stream:s MAXLEN 300"), 0);
    scene.order(consumer, "go");
    const size_t gaps = consumer.gaps.size();
    scene.until("the sink is told", [&] { return consumer.gaps.size() > gaps; });
  }
  scene.may_be_gone([&](const std::string&, const Id& id) { return in_gaps(consumer, id); });
  scene.order(publisher, "pause");
  scene.finish();
  check_gaps(scene, consumer);
}

TEST(Trimmed, PendingEntries) {
  Scene scene;
  Worker& dead = scene.consumer({{"hold", "1"}});
  Worker& publisher = scene.publisher();
  scene.until("it holds events", [&] { return dead.taken.size() >= 50; });
  scene.pause(publisher);
  scene.until("it holds all", [&] { return dead.taken.size() == scene.acknowledged(); });
  scene.kill(dead);
  EXPECT_EQ(scene.command("XTRIM pulse:stream:s MAXLEN 0"),
            static_cast<int64_t>(dead.taken.size()));
  Worker& heir = scene.consumer();
  scene.until("each is reported", [&] { return heir.lost.size() >= dead.taken.size(); });
  std::set<Id> taken;
  for (const Seen& event : dead.taken) taken.insert(event.id);
  const std::set<Id> lost(heir.lost.begin(), heir.lost.end());
  EXPECT_EQ(lost, taken);
  EXPECT_EQ(heir.lost.size(), taken.size()) << "reported twice";
  scene.order(publisher, "go");
  scene.progress(100);
  scene.may_be_gone([&](const std::string&, const Id& id) { return lost.count(id) != 0; });
  scene.finish();
  EXPECT_EQ(heir.lost.size(), taken.size());
}

}  // namespace
}  // namespace faults
