// Replicated maps: many processes write at random, while everything that can break does.
#include <pulseengine/map.h>
#include <signal.h>

#include "map_scene.h"

namespace faults {
namespace {

constexpr char kKey[] = "map:m:content";
constexpr char kChannel[] = "map:m:updates";

// The time that random writes go on, all in all.
int64_t writing_ms() { return std::max<int64_t>(ts_scaled(20000), 3000); }
// The same, while one fault happens again and again.
int64_t faulty_ms() { return std::max<int64_t>(ts_scaled(6000), 2000); }

void kill_subscriptions(MapScene& scene) { scene.command({"CLIENT", "KILL", "TYPE", "pubsub"}); }

// What no writer ever publishes.  Nothing of it says the revision that is to come, which is all
// that a replica can go by.
void forge(MapScene& scene) {
  static const std::string kForged[] = {
      std::string("set:\xff\xff\xff\x7fk", 9),        // longer than the message
      std::string("set:\x01\0\0\0k\x01\0\0\0v", 14),  // no revision
      std::string("del:\x01\0\0\0k\x03\0\0\0"
                  "12x",
                  16),  // no number
      "rename:7",
      "",
      "reset:9223372036854775808",
      std::string("set:\x01\0\0\0k\x01\0\0\0v\x13\0\0\0"
                  "9223372036854775808",
                  37),
  };
  // One kind at a time: after the first bad one the others fall into the copy that it leads to.
  if (scene.random(0, 1) == 0) {
    scene.command({"PUBLISH", kChannel, kForged[scene.random(0, 6)]});
    return;
  }
  // A hole, and a message of long ago.
  const uint64_t ahead = scene.history().revision() + 1000000;
  scene.command({"PUBLISH", kChannel, "reset:" + std::to_string(ahead)});
  scene.command({"PUBLISH", kChannel, "reset:1"});
}

void put_foreign_fields(MapScene& scene) {
  scene.command({"HSET", kKey, "=foreign", std::to_string(scene.random(0, 1000000))});
  scene.command({"HSET", kKey, "a=b", "x", "", "no key"});
}

// The hash is gone for a while, and what is there is no hash.  False if there is none.
bool put_another_type(MapScene& scene) {
  static const char kScript[] =
      "if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end "
      "redis.call('RENAME', KEYS[1], KEYS[2]) redis.call('SET', KEYS[1], 'x') return 1";
  return ts_command_integer(scene.server(), "EVAL", kScript, "2", kKey, "aside", nullptr) == 1;
}

// One byte cuts off each subscriber with the next message.
void limit_subscribers(MapScene& scene, const char* limit) {
  scene.command({"CONFIG", "SET", "client-output-buffer-limit", limit});
}

void put_hash_back(MapScene& scene) { scene.command({"RENAME", "aside", kKey}); }

// Nothing is published any more.  That a write is over cannot be waited for while its writer waits
// for a message that gets lost.
void wait_for_calm(MapScene& scene) {
  constexpr int64_t kCalmMs = 200;
  uint64_t revision = 0;
  int64_t since_ms = ts_now_ms();
  scene.until("the writes end", [&] {
    const uint64_t now = scene.history().revision();
    if (now != revision) since_ms = ts_now_ms();
    revision = now;
    return ts_now_ms() - since_ms >= kCalmMs;
  });
}

// All the time, or for want of an answer in time: the machine may have more to do.
void expect_in_step(const MapWorkerSeen& worker) {
  for (const auto& reason : worker.reasons) {
    EXPECT_EQ(reason, PULSE_MAP_REASON_SILENT) << worker.name << " was out of step";
  }
}

// --- without faults ------------------------------------------------------------------

TEST(Maps, RandomWrites) {
  MapScene scene;
  scene.start();
  const int64_t end = ts_now_ms() + writing_ms();
  while (ts_now_ms() < end) scene.pass(200);
  scene.settle("no fault");
  scene.finish();
  for (const auto& worker : scene.workers()) {
    EXPECT_EQ(worker->failed + worker->unknown, 0) << worker->name;
    expect_in_step(*worker);
    EXPECT_EQ(worker->rewinds, 0) << worker->name;
  }
}

// --- one fault at a time -----------------------------------------------------------------

TEST(Maps, SubscriptionsAreKilled) {
  MapScene scene;
  scene.start();
  scene.repeat(
      faulty_ms(), "a lost subscription is told",
      [&] { return scene.gave(PULSE_MAP_REASON_DISCONNECTED); },
      [&] {
        kill_subscriptions(scene);
        scene.pass(100);
      });
  scene.see_enough();
  kill_subscriptions(scene);
  scene.settle("subscriptions killed");
  scene.finish();
  EXPECT_EQ(scene.total([](const MapWorkerSeen& w) { return w.rewinds + w.failed + w.unknown; }),
            0);
}

TEST(Maps, PublishedBytesAreDropped) {
  MapScene scene;
  const Proxy proxy(ts_proxy_start(scene.server()));
  ASSERT_NE(proxy, nullptr);
  scene.start(ts_proxy_url(proxy.get()));
  scene.repeat(
      faulty_ms(), "a lost message is told", [&] { return scene.gave(PULSE_MAP_REASON_MISSED); },
      [&] {
        ts_proxy_drop_published(proxy.get(), 1);
        scene.pass(scene.random(1, 60));
        ts_proxy_drop_published(proxy.get(), 0);
        scene.pass(scene.random(100, 600));
      });
  scene.see_enough();
  // The last messages get lost: only a probe can tell.
  scene.progress(50);
  ts_proxy_drop_published(proxy.get(), 1);
  scene.progress(50);
  scene.order_all("pause");
  wait_for_calm(scene);
  ts_proxy_drop_published(proxy.get(), 0);
  scene.settle("published bytes dropped");
  scene.finish();
  EXPECT_EQ(scene.total([](const MapWorkerSeen& w) { return w.rewinds; }), 0);
}

TEST(Maps, ServerIsKilledAndStartedAgain) {
  ts_server_options options = {};
  options.append_only = 1;
  MapScene scene(options);
  const Proxy proxy(ts_proxy_start(scene.server()));
  ASSERT_NE(proxy, nullptr);
  scene.start(ts_proxy_url(proxy.get()));
  const int64_t rounds = std::max<int64_t>(ts_scaled(4), 2);
  for (int64_t i = 0; i < rounds; i++) {
    scene.pass(scene.random(300, 1500));
    scene.kill_server(proxy.get());
    if (i + 1 < rounds) scene.progress(100);
  }
  scene.settle("server killed, restarted with its append-only file");
  scene.finish();
  // Whoever was told of a write can rely on it.
  EXPECT_EQ(scene.total([](const MapWorkerSeen& w) { return w.rewinds; }), 0);
}

TEST(Maps, ServerComesBackWithOlderData) {
  MapScene scene;
  const Proxy proxy(ts_proxy_start(scene.server()));
  ASSERT_NE(proxy, nullptr);
  scene.start(ts_proxy_url(proxy.get()));
  const int64_t rounds = std::max<int64_t>(ts_scaled(4), 2);
  for (int64_t i = 0; i < rounds; i++) {
    scene.keep_data();
    scene.progress(500);
    scene.rewind(proxy.get());
    if (i + 1 < rounds) scene.progress(100);
  }
  scene.settle("server restarted with older data");
  scene.finish();
  EXPECT_GT(scene.total([](const MapWorkerSeen& w) { return w.rewinds; }), 0);
}

TEST(Maps, AllIsFlushed) {
  MapScene scene;
  scene.start();
  scene.repeat(
      faulty_ms(), "lost data is told",
      [&] { return scene.total([](const MapWorkerSeen& w) { return w.rewinds; }) > 0; },
      [&] {
        scene.progress(scene.random(50, 300));
        scene.command({"FLUSHALL"});
      });
  scene.see_enough();
  scene.command({"FLUSHALL"});
  scene.settle("FLUSHALL");
  scene.finish();
}

TEST(Maps, ScriptsAreFlushed) {
  MapScene scene;
  scene.start();
  for (int64_t end = ts_now_ms() + faulty_ms(); ts_now_ms() < end; scene.pass(50)) {
    scene.command({"SCRIPT", "FLUSH"});
  }
  scene.settle("SCRIPT FLUSH");
  scene.finish();
  for (const auto& worker : scene.workers()) {
    EXPECT_EQ(worker->failed + worker->unknown, 0) << worker->name;
    expect_in_step(*worker);
  }
}

TEST(Maps, TheMapExpires) {
  MapScene scene({}, 700);
  scene.start();
  for (int64_t end = ts_now_ms() + faulty_ms(); ts_now_ms() < end;) scene.pass(100);
  scene.settle("expiry");
  scene.until("all have forgotten it", [&] {
    for (const auto& worker : scene.workers()) {
      const MapClaim& last = worker->synced.back();
      if (!worker->in_step || last.revision != 0 || last.digest != 0) return false;
    }
    return true;
  });
  scene.finish();
}

TEST(Maps, ASlowSubscriberIsCutOff) {
  MapScene scene;
  scene.start();
  limit_subscribers(scene, "pubsub 400000 0 0");
  scene.order_all("big");
  for (int i = 0; i < 2; i++) {
    MapWorkerSeen& slow = *scene.workers()[i == 0 ? 0 : 4];
    scene.until("it follows the map", [&] { return scene.follows(slow); });
    ts_process_signal(slow.process, SIGSTOP);
    scene.until("it is cut off", [&] { return !scene.follows(slow); });
    ts_process_signal(slow.process, SIGCONT);
    scene.progress(100);
  }
  scene.order_all("small");
  scene.settle("subscriber cut off for its output buffer");
  scene.finish();
  EXPECT_GT(scene.workers()[0]->disconnects, 0);
  EXPECT_GT(scene.workers()[4]->disconnects, 0);
}

TEST(Maps, MessagesAreForged) {
  MapScene scene;
  scene.start();
  scene.repeat(
      faulty_ms(), "forged messages are told",
      [&] { return scene.gave(PULSE_MAP_REASON_MALFORMED) && scene.gave(PULSE_MAP_REASON_MISSED); },
      [&] {
        forge(scene);
        scene.pass(scene.random(20, 200));
      });
  scene.see_enough();
  forge(scene);
  scene.settle("forged messages");
  scene.finish();
  EXPECT_EQ(scene.total([](const MapWorkerSeen& w) { return w.rewinds + w.failed; }), 0);
}

TEST(Maps, ForeignFieldsInTheHash) {
  MapScene scene;
  scene.start();
  for (int64_t end = ts_now_ms() + faulty_ms(); ts_now_ms() < end;) {
    put_foreign_fields(scene);
    scene.pass(scene.random(50, 200));
    kill_subscriptions(scene);  // so that they are in copies too
  }
  scene.settle("foreign fields");
  scene.finish();
}

TEST(Maps, AnotherTypeInThePlaceOfTheHash) {
  MapScene scene;
  scene.start();
  scene.repeat(
      faulty_ms(), "the type is told, and writes fail",
      [&] {
        return scene.gave(PULSE_MAP_REASON_WRONG_TYPE) &&
               scene.total([](const MapWorkerSeen& w) { return w.failed + w.unknown; }) > 0;
      },
      [&] {
        ASSERT_TRUE(put_another_type(scene));
        scene.pass(scene.random(100, 1000));
        put_hash_back(scene);
        scene.progress(50);
      });
  scene.settle("another type");
  scene.finish();
}

TEST(Maps, AProcessIsStopped) {
  MapScene scene;
  scene.start();
  MapWorkerSeen& stopped = *scene.workers()[2];
  scene.until("it follows the map",
              [&] { return stopped.synced.size() > 10 && stopped.watched.size() > 10; });
  ts_process_signal(stopped.process, SIGSTOP);
  scene.pass(std::max<int64_t>(ts_scaled(10000), 2000));
  scene.progress(100);
  ts_process_signal(stopped.process, SIGCONT);
  scene.settle("SIGSTOP");
  scene.finish();
}

// --- all of them ---------------------------------------------------------------------------

TEST(Maps, Everything) {
  ts_server_options options = {};
  options.append_only = 1;
  MapScene scene(options);
  const Proxy proxy(ts_proxy_start(scene.server()));
  ASSERT_NE(proxy, nullptr);
  scene.start(ts_proxy_url(proxy.get()));
  scene.keep_data();
  constexpr int64_t kFaults = 14;
  int64_t rounds = 0;
  const auto round = [&] {
    switch (rounds++ % kFaults) {
      case 0:
        kill_subscriptions(scene);
        break;
      case 1:
        ts_proxy_drop_published(proxy.get(), 1);
        scene.pass(scene.random(1, 60));
        ts_proxy_drop_published(proxy.get(), 0);
        break;
      case 2:
        scene.command({"SCRIPT", "FLUSH"});
        break;
      case 3:
        forge(scene);
        break;
      case 4:
        put_foreign_fields(scene);
        break;
      case 5: {
        MapWorkerSeen& worker = *scene.workers()[static_cast<size_t>(scene.random(0, 4))];
        ts_process_signal(worker.process, SIGSTOP);
        scene.pass(scene.random(100, 1500));
        ts_process_signal(worker.process, SIGCONT);
        break;
      }
      case 6:
        scene.keep_data();
        break;
      case 7:
        ts_proxy_cut_all(proxy.get());
        break;
      case 8:
        if (!put_another_type(scene)) break;
        scene.pass(scene.random(1, 600));
        put_hash_back(scene);
        break;
      case 9:
        scene.rewind(proxy.get());
        break;
      case 10:
        limit_subscribers(scene, "pubsub 1 0 0");
        scene.pass(scene.random(1, 60));
        limit_subscribers(scene, "pubsub 32mb 8mb 60");
        break;
      case 11:
        scene.expire(10);
        scene.progress(100);
        break;
      case 12:
        scene.kill_server(proxy.get());
        break;
      default:
        scene.command({"FLUSHALL"});
        break;
    }
    scene.progress(scene.random(1, 100));
  };
  scene.repeat(
      writing_ms(), "every fault twice", [&] { return rounds >= 2 * kFaults; }, round);
  printf("  %lld faults\n", static_cast<long long>(rounds));
  scene.settle("everything");
  scene.finish();
}

}  // namespace
}  // namespace faults
