// What the sink needs at the server is taken away again and again.
#include "scene.h"

namespace faults {
namespace {

void start_workers(Scene& scene) {
  scene.reader();
  scene.consumer();
  scene.consumer();
  scene.consumer();
  scene.publisher();
  scene.publisher();
  scene.progress(50);
}

// Executes `command`, which deletes the stream, and returns the last id that is gone with it. Takes
// long enough for the clock to go on: the server gives the ids of this millisecond a second time
// otherwise.
Id wipe(Scene& scene, const std::string& command) {
  const std::string script =
      "if redis.replicate_commands then redis.replicate_commands() end "
      "local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1] "
      "redis.call(" +
      command +
      ") "
      "for i = 1, 1000000 do end "
      "return last and last[1] or '0-0'";
  ts_reply* reply =
      ts_command(scene.server(), "EVAL", script.c_str(), "1", "pulse:stream:s", nullptr);
  EXPECT_FALSE(ts_reply_is_error(reply)) << ts_reply_text(reply);
  const Id last = parse_id(ts_reply_text(reply));
  ts_reply_free(reply);
  return last;
}

// The stream is gone, and what was in it and not handled is lost: but the hosts are told.
void wipe_again_and_again(const std::string& command) {
  Scene scene;
  start_workers(scene);
  Id last = {0, 0};
  Calm calm(scene);
  const int64_t rounds = std::max<int64_t>(ts_scaled(8), 3);
  for (int64_t i = 0; i < rounds; i++) {
    const int64_t told = scene.recreated();
    scene.pass(scene.random(0, 200));
    last = std::max(last, wipe(scene, command));
    scene.until("the hosts are told", [&] { return scene.recreated() > told; });
    scene.progress(static_cast<size_t>(scene.random(1, 200)));
  }
  calm.check("stream deleted");
  scene.may_be_gone([last](const std::string&, const Id& id) { return id <= last; });
  scene.finish();
}

TEST(Destroyed, Flushall) { wipe_again_and_again("'FLUSHALL'"); }

TEST(Destroyed, StreamIsDeleted) { wipe_again_and_again("'DEL', KEYS[1]"); }

TEST(Destroyed, GroupIsDestroyed) {
  Scene scene;
  start_workers(scene);
  Calm calm(scene);
  const int64_t rounds = std::max<int64_t>(ts_scaled(8), 4);
  for (int64_t i = 0; i < rounds; i++) {
    const int64_t told = scene.recreated();
    scene.pass(scene.random(0, 100));
    if (scene.command("XGROUP DESTROY pulse:stream:s g") == 1) {
      scene.until("the hosts are told", [&] { return scene.recreated() > told; });
    }
    if (i % 3 == 0) scene.progress(20);
  }
  calm.check("group destroyed");
  scene.progress(200);
  scene.finish();
}

TEST(Destroyed, ScriptsAreFlushed) {
  Scene scene;
  scene.set("grace_ms", 10000);  // nobody is taken for dead who is only slow
  start_workers(scene);
  Calm calm(scene);
  const int64_t rounds = std::max<int64_t>(ts_scaled(300), 50);
  for (int64_t i = 0; i < rounds; i++) {
    scene.command("SCRIPT FLUSH");
    scene.pass(scene.random(0, 20));
  }
  calm.check("scripts flushed");
  scene.progress(200);
  scene.finish();
  EXPECT_EQ(scene.recreated(), 0);
  EXPECT_EQ(scene.total([](const Worker& worker) { return worker.ownership_lost; }), 0);
}

// Another program has put something else under the name of the stream, and takes it away again.
TEST(Destroyed, KeyOfAnotherType) {
  Scene scene;
  start_workers(scene);
  const Id last = wipe(scene, "'SET', KEYS[1], 'x'");
  scene.until("every receiver is told", [&] {
    for (const Worker* worker : scene.everyone()) {
      if (worker->role != "publisher" && worker->read_errors.empty()) return false;
    }
    return true;
  });
  scene.order_all("publisher", "pause");  // refused adds count as well
  scene.pass(100);
  Calm calm(scene);
  scene.pass(1500);
  calm.check("wrong type");
  const int64_t told = scene.recreated();
  scene.command("DEL pulse:stream:s");
  scene.order_all("publisher", "go");
  scene.until("the hosts are told", [&] { return scene.recreated() > told; });
  scene.progress(100);
  scene.may_be_gone([last](const std::string&, const Id& id) { return id <= last; });
  scene.finish();
}

}  // namespace
}  // namespace faults
