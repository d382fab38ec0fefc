// Pools: nodes are killed, frozen and cut off, come and go, and what they accepted goes on.
#include <pulseengine/status.h>

#include <algorithm>

#include "pool_scene.h"

namespace faults {
namespace {

using Outcome = PoolScene::Outcome;

// Long-lived jobs of one test.
size_t many(int64_t count) { return static_cast<size_t>(std::max<int64_t>(ts_scaled(count), 20)); }
int64_t rounds(int64_t count) { return std::max<int64_t>(ts_scaled(count), 2); }

// Dispatches jobs that last, and waits until they run.
void run_jobs(PoolScene& scene, PoolProcess& dispatcher, size_t count) {
  const size_t all = scene.running() + count;
  scene.dispatch(dispatcher, "k", count);
  scene.until("they run", [&] { return scene.all_answered() && scene.running() >= all; });
}

TEST(Pools, NodesAreKilled) {
  PoolScene scene;
  for (int i = 0; i < 3; i++) scene.node(2);
  PoolProcess& dispatcher = scene.dispatcher();
  run_jobs(scene, dispatcher, many(100));
  for (int64_t i = 0; i < rounds(3); i++) {
    // While jobs are on their way, and finish.
    scene.dispatch(dispatcher, "k", many(50));
    scene.dispatch(dispatcher, "f", many(50));
    scene.pass(scene.random(0, 200));
    scene.kill(scene.any(true));
    scene.node(2);
  }
  scene.settle("after kills");
  EXPECT_EQ(scene.count(Outcome::refused), 0u);
  scene.finish();
}

// Noticed after the time to live and a sweep; and twice that time is what it takes in all.
TEST(Pools, JobsOfTheDeadRunElsewhereInTime) {
  const std::string ttl = ts_is_sanitized() != 0 ? "8000" : "3000";
  PoolScene scene({}, {{"ttl_ms", ttl}});
  PoolProcess& victim = scene.node(2);
  for (int i = 0; i < 2; i++) scene.node(2);
  run_jobs(scene, scene.dispatcher(), many(100));
  scene.pass(scene.ttl_ms());
  const size_t all = scene.running();
  const int64_t begin = ts_now_ms();
  scene.kill(victim);
  EXPECT_LT(scene.running(), all) << "it had no jobs";
  scene.until("they run elsewhere", [&] { return scene.running() >= all; });
  const int64_t taken = ts_now_ms() - begin;
  printf("  after %.2f times to live\n",
         static_cast<double>(taken) / static_cast<double>(scene.ttl_ms()));
  EXPECT_LE(taken, 2 * scene.ttl_ms());
  scene.settle("after a kill");
  scene.finish();
}

// A handler that has not answered a start when it dies: the dispatcher hears of the next one.
TEST(Pools, NodesAreKilledWhileJobsStart) {
  const std::string grace = ts_is_sanitized() != 0 ? "8000" : "4000";
  PoolScene scene({}, {{"hold", "1"}, {"grace_ms", grace}});
  PoolProcess& first = scene.node(2);
  PoolProcess& second = scene.node(2);
  scene.dispatch(scene.dispatcher(), "k", 30);
  scene.until("all are about to start", [&] { return scene.runs().size() == 30; });
  scene.kill(first);
  scene.order(second, "release");
  scene.settle("after a kill");
  EXPECT_EQ(scene.count(Outcome::refused), 0u);
  scene.finish();
}

// Stopped for three times the time after which they are dead, they find their jobs elsewhere.
TEST(Pools, NodesAreFrozen) {
  PoolScene scene;
  for (int i = 0; i < 3; i++) scene.node(2);
  PoolProcess& dispatcher = scene.dispatcher();
  run_jobs(scene, dispatcher, many(100));
  for (int64_t i = 0; i < rounds(2); i++) {
    scene.dispatch(dispatcher, "k", many(50));
    PoolProcess& node = scene.any(true);
    scene.freeze(node);
    const size_t starts = scene.runs().size();
    scene.pass(3 * scene.ttl_ms());
    scene.until("its jobs start elsewhere", [&] { return scene.runs().size() > starts; });
    const int64_t dead = node.declared_dead;
    scene.thaw(node);
    scene.until("it is told", [&] { return node.declared_dead >= dead + 2; });
    scene.settle("after a thaw");
  }
  EXPECT_EQ(scene.count(Outcome::refused), 0u);
  scene.finish();
}

// In good order nobody has to be away for a job to move: not one overlap is excused.
TEST(Pools, NodesComeAndGo) {
  PoolScene scene;
  for (int i = 0; i < 2; i++) scene.node(2);
  PoolProcess& dispatcher = scene.dispatcher();
  run_jobs(scene, dispatcher, many(100));
  for (int64_t i = 0; i < rounds(4); i++) {
    scene.dispatch(dispatcher, "k", many(20));
    scene.dispatch(dispatcher, "f", many(20));
    scene.node(2);
    scene.order(scene.any(true), "add");
    scene.order(scene.any(true), "remove");
    scene.leave(scene.any(true));
  }
  scene.settle("after joins and leaves");
  EXPECT_EQ(scene.count(Outcome::refused), 0u);
  scene.finish();
}

TEST(Pools, JobsAreStopped) {
  PoolScene scene;
  for (int i = 0; i < 2; i++) scene.node(2);
  PoolProcess& dispatcher = scene.dispatcher();
  run_jobs(scene, dispatcher, many(100));
  for (const auto& [key, job] : scene.jobs()) {
    if (scene.random(0, 1) == 0) scene.stop(dispatcher, key);
  }
  // While they are stopped, jobs move and die.
  scene.node(2);
  scene.kill(scene.any(true));
  scene.until("all requests are accepted", [&] {
    return std::all_of(scene.jobs().begin(), scene.jobs().end(), [](const auto& entry) {
      return entry.second.stopping == entry.second.stopped;
    });
  });
  scene.settle("after stops");
  scene.finish();
}

TEST(Pools, ServerIsKilledAndStartedAgain) {
  ts_server_options options = {};
  options.append_only = 1;
  PoolScene scene(options);
  for (int i = 0; i < 2; i++) scene.node(2);
  PoolProcess& dispatcher = scene.dispatcher();
  run_jobs(scene, dispatcher, many(100));
  for (int64_t i = 0; i < rounds(3); i++) {
    scene.dispatch(dispatcher, "k", many(50));
    scene.dispatch(dispatcher, "f", many(20));
    scene.pass(scene.random(0, 200));
    ASSERT_EQ(ts_server_kill(scene.server()), 1);
    // Now and then for longer than a node may be silent.
    scene.pass(i == 1 ? 2 * scene.ttl_ms() : scene.random(0, 300));
    ASSERT_EQ(ts_server_restart(scene.server()), 1);
  }
  scene.settle("after restarts");
  EXPECT_EQ(scene.declared_dead(), 0);
  scene.finish();
}

// It answers nobody for longer than a node may be silent: nobody is to blame.
TEST(Pools, ServerIsStopped) {
  PoolScene scene;
  for (int i = 0; i < 3; i++) scene.node(2);
  PoolProcess& dispatcher = scene.dispatcher();
  run_jobs(scene, dispatcher, many(60));
  const size_t starts = scene.runs().size();
  ASSERT_EQ(ts_server_pause(scene.server()), 1);
  scene.pass(3 * scene.ttl_ms());
  ASSERT_EQ(ts_server_resume(scene.server()), 1);
  run_jobs(scene, dispatcher, 1);
  scene.pass(scene.ttl_ms());
  scene.settle("after the server was stopped");
  EXPECT_EQ(scene.declared_dead(), 0);
  EXPECT_EQ(scene.runs().size(), starts + 1);
  scene.finish();
}

TEST(Pools, ConnectionsAreCut) {
  PoolScene scene;
  PoolProcess* nodes[] = {&scene.distant_node(2), &scene.distant_node(2), &scene.distant_node(2)};
  PoolProcess& dispatcher = scene.dispatcher();
  run_jobs(scene, dispatcher, many(100));
  for (int64_t i = 0; i < rounds(20); i++) {
    scene.dispatch(dispatcher, "k", 5);
    scene.dispatch(dispatcher, "f", 5);
    ts_proxy* proxy = nodes[scene.random(0, 2)]->proxy.get();
    if (scene.random(0, 1) == 0) {
      ts_proxy_cut_all(proxy);
    } else {
      const int direction = scene.random(0, 1) == 0 ? TS_TO_SERVER : TS_TO_CLIENT;
      ts_proxy_cut_after(proxy, direction, static_cast<uint64_t>(scene.random(1, 5000)));
    }
    scene.pass(scene.random(0, 100));
  }
  scene.settle("after cuts");
  EXPECT_EQ(scene.declared_dead(), 0);
  scene.finish();
}

TEST(Pools, NodesAreCutOff) {
  PoolScene scene;
  for (int i = 0; i < 2; i++) scene.node(2);
  PoolProcess& distant = scene.distant_node(2);
  PoolProcess& dispatcher = scene.dispatcher();
  run_jobs(scene, dispatcher, many(100));
  for (int64_t i = 0; i < rounds(2); i++) {
    scene.dispatch(dispatcher, "k", many(20));
    const int64_t dead = distant.declared_dead;
    const size_t starts = scene.runs().size();
    scene.cut_off(distant);
    scene.pass(2 * scene.ttl_ms());
    scene.until("its jobs start elsewhere", [&] { return scene.runs().size() > starts; });
    scene.reconnect(distant);
    scene.until("it is told", [&] { return distant.declared_dead >= dead + 2; });
    scene.settle("after a half-open connection");
  }
  EXPECT_EQ(scene.count(Outcome::refused), 0u);
  scene.finish();
}

// What counts is that others change, not what their clocks say.
TEST(Pools, ClocksAreWrong) {
  if (ts_is_sanitized() != 0) GTEST_SKIP() << "the sanitizers have the clock";
  PoolScene scene;
  scene.node(2, {{"skew_s", "-600"}});
  PoolProcess& ahead = scene.node(2, {{"skew_s", "600"}});
  scene.node(2);
  PoolProcess* dispatchers[] = {&scene.dispatcher({{"skew_s", "600"}}),
                                &scene.dispatcher({{"skew_s", "-600"}})};
  EXPECT_GT(ahead.id_ms, scene.all(true)[2]->id_ms + 500000) << "the clock is not wrong";
  for (PoolProcess* dispatcher : dispatchers) run_jobs(scene, *dispatcher, many(50));
  scene.pass(3 * scene.ttl_ms());
  EXPECT_EQ(scene.declared_dead(), 0);
  EXPECT_EQ(scene.runs().size(), 2 * many(50));
  for (PoolProcess* dispatcher : dispatchers) {
    scene.dispatch(*dispatcher, "k", many(20));
    scene.dispatch(*dispatcher, "f", many(20));
  }
  scene.kill(ahead);
  scene.node(2, {{"skew_s", "600"}});
  scene.settle("after a kill");
  EXPECT_EQ(scene.count(Outcome::refused), 0u);
  scene.finish();
}

// Routers die after they have sent jobs on, and before they have heard of them again: others take
// over, and no job starts twice.
TEST(Pools, RoutersAreKilled) {
  PoolScene scene;
  PoolProcess& node = scene.node(4, {{"hold", "1"}});
  for (int i = 0; i < 2; i++) scene.node(0);
  scene.dispatch(scene.dispatcher(), "k", 60);
  scene.until("all are about to start", [&] { return scene.runs().size() == 60; });
  for (PoolProcess* router : scene.routers()) scene.kill(*router);
  scene.pass(scene.grace_ms() / 2);
  scene.order(node, "release");
  scene.settle("after routers were killed");
  EXPECT_EQ(scene.runs().size(), 60u) << "a job was started twice";
  EXPECT_EQ(scene.count(Outcome::refused), 0u);
  scene.finish();
}

// A start that takes longer than all that wait for it is still one start.
TEST(Pools, StartsAreHeld) {
  PoolScene scene({}, {{"hold", "1"}});
  for (int i = 0; i < 2; i++) scene.node(2);
  scene.dispatch(scene.dispatcher(), "k", 20);
  scene.until("all are about to start", [&] { return scene.runs().size() == 20; });
  scene.pass(3 * scene.grace_ms());
  scene.until("nobody waits any more", [&] { return scene.all_answered(); });
  EXPECT_EQ(scene.count(Outcome::unknown), 20u);
  for (PoolProcess* node : scene.all(true)) scene.order(*node, "release");
  scene.settle("after the release");
  EXPECT_EQ(scene.runs().size(), 20u) << "a job was started twice";
  EXPECT_EQ(scene.running(), 20u);
  scene.finish();
}

// Dispatchers die after their jobs were accepted, and before they know: the jobs run, and the keys
// are free again when they have ended.
TEST(Pools, DispatchersAreKilled) {
  PoolScene scene({}, {{"hold", "1"}});
  for (int i = 0; i < 2; i++) scene.node(2);
  PoolProcess& dispatcher = scene.dispatcher();
  scene.dispatch(dispatcher, "k", 20);
  scene.until("all are about to start", [&] { return scene.runs().size() == 20; });
  scene.kill(dispatcher);
  for (PoolProcess* node : scene.all(true)) scene.order(*node, "release");
  scene.settle("after a dispatcher was killed");
  EXPECT_EQ(scene.running(), 20u);
  EXPECT_EQ(scene.runs().size(), 20u) << "a job was started twice";
  scene.until("no guard is left", [&] { return scene.guards() == 0; });
  scene.finish();
}

// 64 threads of 4 processes with 8 dispatches each where 100 may wait: exactly 100 are accepted.
TEST(Pools, TheCapIsExact) {
  // The dispatches that are accepted must wait until all others were turned down.
  const std::string grace = std::to_string(TS_DEADLINE_MS / 2);
  PoolScene scene({}, {{"hold", "1"}, {"max_queued", "100"}, {"grace_ms", grace}});
  for (int i = 0; i < 2; i++) scene.node(2);
  std::vector<PoolProcess*> dispatchers;
  for (int i = 0; i < 4; i++) dispatchers.push_back(&scene.dispatcher());
  const int64_t begin = ts_now_ms();
  for (PoolProcess* dispatcher : dispatchers) scene.order(*dispatcher, "burst k 16 8");
  scene.until("all others are turned down at once",
              [&] { return scene.count(Outcome::refused) >= 412; });
  EXPECT_LT(ts_now_ms() - begin, 2 * scene.grace_ms());
  scene.until("all that were accepted are about to start",
              [&] { return scene.runs().size() >= 100; });
  for (PoolProcess* node : scene.all(true)) scene.order(*node, "release");
  scene.settle("after the release");
  EXPECT_EQ(scene.jobs().size(), 512u);
  EXPECT_EQ(scene.count(Outcome::accepted), 100u);
  EXPECT_EQ(scene.count(Outcome::refused), 412u);
  for (const auto& [key, job] : scene.jobs()) {
    EXPECT_TRUE(job.outcome == Outcome::accepted || job.status == PULSE_ERR_QUEUE_FULL) << key;
  }
  EXPECT_EQ(scene.running(), 100u);
  scene.finish();
}

}  // namespace
}  // namespace faults
