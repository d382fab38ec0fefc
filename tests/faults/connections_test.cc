// Connections that are cut, stall or are half open, and a server that dies.
#include <pulseengine/status.h>

#include <sstream>

#include "scene.h"

namespace faults {
namespace {

void start_workers(Scene& scene, int consumers) {
  scene.reader();
  for (int i = 0; i < consumers; i++) scene.consumer();
  scene.publisher();
  scene.publisher();
  scene.progress(50);
}

TEST(Connections, ServerIsKilledAndStartedAgain) {
  ts_server_options options = {};
  options.append_only = 1;
  Scene scene(options);
  const Proxy proxy(ts_proxy_start(scene.server()));
  ASSERT_NE(proxy, nullptr);
  scene.set_url(ts_proxy_url(proxy.get()));
  start_workers(scene, 2);
  const int64_t rounds = std::max<int64_t>(ts_scaled(4), 2);
  for (int64_t i = 0; i < rounds; i++) {
    scene.progress(static_cast<size_t>(scene.random(20, 200)));
    ASSERT_EQ(ts_server_kill(scene.server()), 1);
    if (i == 0) {
      // Five workers knock on the door, at most every 100 ms on each of their connections once
      // they have backed off.
      const uint64_t before = ts_proxy_accepted(proxy.get());
      const int64_t start = ts_now_ms();
      scene.pass(1500);
      scene.until("they try", [&] { return ts_proxy_accepted(proxy.get()) >= before + 5; });
      const uint64_t attempts = ts_proxy_accepted(proxy.get()) - before;
      const auto spent_ms = static_cast<uint64_t>(ts_now_ms() - start);
      printf("  without a server: %llu connections in %llu ms\n",
             static_cast<unsigned long long>(attempts), static_cast<unsigned long long>(spent_ms));
      EXPECT_LE(attempts, 5u * 3u * (spent_ms / 100u + 10u));
    } else {
      scene.pass(scene.random(0, 300));
    }
    ASSERT_EQ(ts_server_restart(scene.server()), 1);
  }
  scene.progress(200);
  scene.finish();
}

// The ids of the clients with this name ("" = any of the workers') whose flags hold `flag` (0 =
// any).
std::vector<std::string> clients(Scene& scene, const std::string& name, char flag) {
  ts_reply* reply = ts_command(scene.server(), "CLIENT", "LIST", nullptr);
  std::istringstream lines(ts_reply_text(reply));
  ts_reply_free(reply);
  std::vector<std::string> ids;
  for (std::string line; std::getline(lines, line);) {
    const auto field = [&](const std::string& key) {
      const size_t at = (" " + line).find(" " + key + "=");
      if (at == std::string::npos) return std::string();
      const size_t start = at + key.size() + 1;
      return line.substr(start, line.find(' ', start) - start);
    };
    const std::string is = field("name");
    const bool fits = name.empty() ? !is.empty() : is == name;
    if (fits && (flag == 0 || field("flags").find(flag) != std::string::npos)) {
      ids.push_back(field("id"));
    }
  }
  return ids;
}

TEST(Connections, ClientsAreKilledInALoop) {
  Scene scene;
  start_workers(scene, 2);
  std::map<std::string, size_t> killed;
  // Those of before may be gone, and not back yet.
  const auto kill = [&](const std::string& what, const std::string& name, char flag) {
    const size_t before = killed[what];
    scene.until("there is one to kill", [&] {
      for (const std::string& id : clients(scene, name, flag)) {
        ts_reply* reply = ts_command(scene.server(), "CLIENT", "KILL", "ID", id.c_str(), nullptr);
        if (ts_reply_integer(reply) == 1) killed[what]++;
        ts_reply_free(reply);
      }
      return killed[what] > before;
    });
  };
  Calm calm(scene);
  const int64_t rounds = std::max<int64_t>(ts_scaled(60), 12);
  for (int64_t i = 0; i < rounds; i++) {
    scene.pass(scene.random(5, 100));
    switch (i % 6) {
      case 0:
        killed["normal"] += static_cast<size_t>(scene.command("CLIENT KILL TYPE normal"));
        break;
      case 1:
        scene.command("CLIENT KILL TYPE pubsub");
        break;  // whether there are any or not
      case 2:
        kill("publisher", "publisher", 0);
        break;
      case 3:
        kill("consumer", "consumer", 0);
        break;
      case 4:
        kill("reader", "reader", 0);
        break;
      case 5:
        // A read that waits at the server: while there is much to read, now and then.
        kill("blocked", "", 'b');
        scene.progress(20);
        break;
      default:
        break;
    }
  }
  calm.check("connections killed");
  scene.progress(200);
  for (const Worker* worker : scene.everyone()) {
    if (worker->role == "publisher") continue;
    scene.until("it is told", [&] { return worker->disconnected > 0; });
  }
  scene.finish();
  for (const char* what : {"normal", "publisher", "consumer", "reader", "blocked"}) {
    printf("  killed %s: %zu\n", what, killed[what]);
    EXPECT_GT(killed[what], 0u) << what;
  }
}

TEST(Connections, NetworkStallsAndCuts) {
  ts_server_options options = {};
  options.tcp = 1;
  Scene scene(options);
  const Proxy proxy(ts_proxy_start_tcp(scene.server()));
  ASSERT_NE(proxy, nullptr);
  scene.set_url(ts_proxy_url(proxy.get()));
  start_workers(scene, 2);
  Calm calm(scene);
  const int64_t rounds = std::max<int64_t>(ts_scaled(30), 8);
  for (int64_t i = 0; i < rounds; i++) {
    const int direction = static_cast<int>(scene.random(TS_TO_SERVER, TS_BOTH));
    const int one_way = scene.random(0, 1) == 0 ? TS_TO_SERVER : TS_TO_CLIENT;
    switch (scene.random(0, 3)) {
      case 0:
        ts_proxy_stall(proxy.get(), direction);
        scene.pass(scene.random(1, 400));
        ts_proxy_resume(proxy.get(), direction);
        break;
      case 1:
        ts_proxy_cut_all(proxy.get());
        break;
      case 2:
        ts_proxy_cut_after(proxy.get(), one_way, static_cast<uint64_t>(scene.random(1, 20000)));
        break;
      default:
        // Commands were executed, and nobody hears of it; or they never arrive.
        ts_proxy_drop(proxy.get(), direction, 1);
        scene.pass(scene.random(1, 50));
        ts_proxy_cut_all(proxy.get());
        ts_proxy_drop(proxy.get(), direction, 0);
        break;
    }
    scene.pass(scene.random(1, 200));
  }
  calm.check("bad network");
  scene.progress(200);
  scene.finish();
  EXPECT_GT(ts_proxy_cuts(proxy.get()), 0u);
}

// The connections of the reader, the publishers and one consumer hang for longer than any reply may
// take; another consumer has a way of its own.
TEST(Connections, HalfOpen) {
  ts_server_options options = {};
  options.tcp = 1;
  Scene scene(options);
  const Proxy proxy(ts_proxy_start_tcp(scene.server()));
  ASSERT_NE(proxy, nullptr);
  Worker& near = scene.consumer();
  scene.set("command_timeout_ms", 1500);
  scene.set("block_ms", 300);
  scene.set_url(ts_proxy_url(proxy.get()));
  start_workers(scene, 1);
  ts_proxy_stall(proxy.get(), TS_BOTH);
  Calm calm(scene);
  ASSERT_TRUE(scene.until("every worker behind it notices", [&] {
    for (const Worker* worker : scene.everyone()) {
      if (worker->role == "publisher" ? worker->failed_adds.empty()
                                      : worker != &near && worker->disconnected == 0) {
        return false;
      }
    }
    return true;
  }));
  scene.pass(1000);
  calm.check("half open");
  EXPECT_EQ(near.disconnected, 0);
  ts_proxy_resume(proxy.get(), TS_BOTH);
  scene.progress(200);
  scene.finish();
}

// Acks that do not end in time are asked for again and again while the first may still be under
// way: the host never hears that its events belong to somebody else, and all are acked at last.
TEST(Connections, AcksThatTimeOut) {
  Scene scene;
  const Proxy proxy(ts_proxy_start(scene.server()));
  ASSERT_NE(proxy, nullptr);
  scene.set("grace_ms", 10 * TS_DEADLINE_MS);  // longer than all of this may take
  Worker& publisher = scene.publisher();
  scene.set("command_timeout_ms", 600);
  scene.set("block_ms", 300);
  scene.set_url(ts_proxy_url(proxy.get()));
  scene.reader();
  const std::vector<Worker*> holders = {&scene.consumer({{"hold", "1"}}),
                                        &scene.consumer({{"hold", "1"}})};
  scene.until("they hold events",
              [&] { return holders[0]->taken.size() >= 30 && holders[1]->taken.size() >= 30; });
  scene.pause(publisher);
  scene.until("they hold all", [&] {
    return holders[0]->taken.size() + holders[1]->taken.size() == scene.acknowledged();
  });
  ts_proxy_stall(proxy.get(), TS_TO_CLIENT);
  for (Worker* holder : holders) scene.order(*holder, "ack");
  for (int i = 0; i < 2; i++) {
    std::vector<int64_t> failed;
    for (Worker* holder : holders) failed.push_back(holder->failed_acks[PULSE_ERR_TIMEOUT]);
    scene.until("acks time out", [&] {
      return holders[0]->failed_acks[PULSE_ERR_TIMEOUT] > failed[0] &&
             holders[1]->failed_acks[PULSE_ERR_TIMEOUT] > failed[1];
    });
    if (i == 0) ts_proxy_cut_all(proxy.get());
  }
  ts_proxy_resume(proxy.get(), TS_TO_CLIENT);
  scene.until("all are acked", [&] {
    return static_cast<size_t>(holders[0]->acked + holders[1]->acked) == scene.acknowledged();
  });
  for (Worker* holder : holders) EXPECT_EQ(holder->not_owner.size(), 0u) << holder->name;
  scene.finish();
}

}  // namespace
}  // namespace faults
