// Consumers that die, and one that is stopped for so long that the others take it for dead.
#include <signal.h>

#include "scene.h"

namespace faults {
namespace {

TEST(Consumers, KilledAtRandomMoments) {
  Scene scene;
  // Busy consumers hold events at most moments.
  scene.set("rate", 900);
  scene.set("work_us", 3000);
  scene.reader();
  scene.publisher();
  scene.publisher();
  for (int i = 0; i < 4; i++) scene.consumer();
  scene.progress(50);
  const int64_t kills = std::max<int64_t>(ts_scaled(50), 10);
  for (int64_t i = 0; i < kills; i++) {
    scene.pass(scene.random(10, 120));
    const std::vector<Worker*> running = scene.all("consumer");
    scene.kill(
        *running[static_cast<size_t>(scene.random(0, static_cast<int64_t>(running.size()) - 1))]);
    // Often the new one is killed before it has joined.
    scene.start("consumer");
  }
  scene.progress(200);
  scene.finish();
  EXPECT_GT(scene.redeliveries(), 0u) << "no consumer held anything when it was killed";
  printf("  %lld kills\n", static_cast<long long>(kills));
}

bool has_consumer(Scene& scene, const std::string& name) {
  ts_reply* list = ts_command(scene.server(), "XINFO", "CONSUMERS", "pulse:stream:s", "g", nullptr);
  bool found = false;
  for (size_t i = 0; i < ts_reply_size(list); i++) {
    if (ts_reply_equals(ts_reply_field(ts_reply_at(list, i), "name"), name.c_str())) found = true;
  }
  ts_reply_free(list);
  return found;
}

class StoppedConsumer : public testing::TestWithParam<const char*> {};

TEST_P(StoppedConsumer, LosesItsEventsAndLearnsIt) {
  Scene scene;
  scene.set("grace_ms", 3000);  // nobody is taken for dead who is only slow
  scene.reader();
  Worker& stopped = scene.consumer({{"hold", "1"}, {"driver", GetParam()}});
  Worker& publisher = scene.publisher({{"rate", "200"}});
  ASSERT_TRUE(scene.until("it holds events", [&] { return stopped.taken.size() >= 20; }));
  scene.pause(publisher);
  Worker& other = scene.consumer();
  // All adds have ended, and the first consumer has taken what it was given.
  ASSERT_TRUE(scene.until("every event is taken", [&] {
    return stopped.taken.size() + other.handled.size() == scene.acknowledged();
  }));
  const size_t held = stopped.taken.size();
  const std::string name = stopped.consumer;
  ts_process_signal(stopped.process, SIGSTOP);
  ASSERT_TRUE(
      scene.until("the others have declared it dead", [&] { return !has_consumer(scene, name); }));
  ASSERT_TRUE(scene.until("the other one has handled all",
                          [&] { return scene.handled() == scene.acknowledged(); }));
  EXPECT_GE(other.handled.size(), held);
  // The first thing it does after its sleep is to ack what it holds.
  scene.order(stopped, "ack");
  ts_process_signal(stopped.process, SIGCONT);
  ASSERT_TRUE(
      scene.until("its acks are refused", [&] { return stopped.not_owner.size() == held; }));
  EXPECT_EQ(stopped.acked, 0);
  ASSERT_TRUE(scene.until("it is told", [&] { return stopped.ownership_lost > 0; }));
  EXPECT_EQ(stopped.ownership_lost, 1);
  // It takes part again, under its new name.
  scene.order(publisher, "go");
  ASSERT_TRUE(
      scene.until("it handles new events", [&] { return stopped.handled.size() >= held + 10; }));
  scene.finish();
}

INSTANTIATE_TEST_SUITE_P(Consumers, StoppedConsumer, testing::Values("thread", "manual"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace faults
