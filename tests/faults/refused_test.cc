// A server that refuses: connections, memory, any command at all.
#include <pulseengine/status.h>

#include <thread>

#include "scene.h"

namespace faults {
namespace {

void start_workers(Scene& scene) {
  scene.reader();
  scene.consumer();
  scene.consumer();
  scene.publisher();
  scene.publisher();
  scene.progress(50);
}

int64_t failed_adds(const Scene& scene, pulse_status status) {
  return scene.total([status](const Worker& worker) {
    const auto found = worker.failed_adds.find(status);
    return found == worker.failed_adds.end() ? 0 : found->second;
  });
}

TEST(Refused, MaxClients) {
  Scene scene;
  scene.set("command_timeout_ms", 1000);
  start_workers(scene);
  // Room for the test's own connection only.
  scene.command("CONFIG SET maxclients 1");
  scene.command("CLIENT KILL TYPE normal SKIPME yes");
  Calm calm(scene);
  scene.pass(2000);
  EXPECT_EQ(scene.command("CLIENT KILL TYPE normal SKIPME yes"), 0);
  scene.until("they try", [&] { return scene.info("rejected_connections") >= 5; });
  scene.until("adds fail in time", [&] {
    return scene.total([](const Worker& w) { return w.failed_adds.empty() ? 0 : 1; }) == 2;
  });
  calm.check("maxclients");
  scene.command("CONFIG SET maxclients 10000");
  scene.progress(200);
  scene.finish();
}

TEST(Refused, OutOfMemory) {
  ts_server_options options = {};
  const char* const policy[] = {"--maxmemory-policy", "noeviction", nullptr};
  options.args = policy;
  Scene scene(options);
  start_workers(scene);
  scene.command("CONFIG SET maxmemory 1");
  scene.until("adds are refused", [&] { return failed_adds(scene, PULSE_ERR_SERVER_OOM) > 0; });
  // Refused adds are no busy loop: they are what the publishers are told to try.
  scene.order_all("publisher", "pause");
  scene.pass(200);
  Calm calm(scene);
  scene.pass(2500);  // no keep-alive, no renewal for more than twice the grace period
  calm.check("out of memory");
  scene.command("CONFIG SET maxmemory 0");
  scene.order_all("publisher", "go");
  scene.progress(200);
  scene.finish();
}

// A script of somebody else's keeps the server busy.
TEST(Refused, Busy) {
  ts_server_options options = {};
  const char* const limit[] = {"--lua-time-limit", "20", nullptr};
  options.args = limit;
  Scene scene(options);
  start_workers(scene);
  ts_connection* other = ts_connection_open(scene.server());
  ASSERT_NE(other, nullptr);
  Calm calm(scene);
  std::thread spin([other] {
    ts_reply_free(ts_connection_command(other, "EVAL", "while true do end", "0", nullptr));
  });
  scene.until("adds are refused", [&] { return failed_adds(scene, PULSE_ERR_SERVER_BUSY) > 0; });
  scene.order_all("publisher", "pause");
  scene.pass(2000);
  scene.command("SCRIPT KILL");
  spin.join();
  ts_connection_free(other);
  calm.check("busy");
  scene.order_all("publisher", "go");
  scene.progress(200);
  scene.finish();
}

// The server has become somebody's replica: it refuses writes, and, without its master, reads too.
void replica_of_nobody(const char* serve_stale_data) {
  Scene scene;
  start_workers(scene);
  scene.command(std::string("CONFIG SET replica-serve-stale-data ") + serve_stale_data);
  scene.command("REPLICAOF 127.0.0.1 1");  // a port where nobody listens
  scene.until("adds are refused", [&] { return failed_adds(scene, PULSE_ERR_READONLY) > 0; });
  scene.order_all("publisher", "pause");
  scene.pass(200);
  Calm calm(scene);
  scene.pass(2500);  // more than twice the grace period
  calm.check("replica");
  scene.command("REPLICAOF NO ONE");
  scene.order_all("publisher", "go");
  scene.progress(200);
  scene.finish();
}

TEST(Refused, ReadOnly) { replica_of_nobody("yes"); }
TEST(Refused, MasterDown) { replica_of_nobody("no"); }

// This server knows nothing of sinks: it is for how workers start while it answers nothing else.
TEST(Refused, Loading) {
  Scene scene;
  ts_fault* fault = ts_fault_start();
  ASSERT_NE(fault, nullptr);
  ts_fault_answer_text(fault, "*", "-LOADING Redis is loading the dataset in memory\r\n", 0);
  scene.set_url(ts_fault_url(fault));
  scene.set("command_timeout_ms", 1000);
  Worker& reader = scene.start("reader");
  Worker& consumer = scene.start("consumer");
  Worker& publisher = scene.publisher();
  scene.until("adds fail", [&] { return !publisher.failed_adds.empty(); });
  scene.order(publisher, "pause");
  const uint64_t before = ts_fault_count(fault, "*");
  const uint64_t accepted = ts_fault_accepted(fault);
  const int64_t start = ts_now_ms();
  scene.pass(1500);
  scene.until("they try", [&] { return ts_fault_count(fault, "*") > before; });
  const uint64_t commands = ts_fault_count(fault, "*") - before;
  const auto spent_ms = static_cast<uint64_t>(ts_now_ms() - start);
  printf("  loading: %llu commands, %llu connections of 3 workers in %llu ms\n",
         static_cast<unsigned long long>(commands),
         static_cast<unsigned long long>(ts_fault_accepted(fault) - accepted),
         static_cast<unsigned long long>(spent_ms));
  EXPECT_LE(commands, 3u * spent_ms / 10u);
  EXPECT_TRUE(reader.consumer.empty());
  EXPECT_TRUE(consumer.consumer.empty());
  ts_fault_clear(fault, "*");
  scene.order(publisher, "go");
  const size_t acknowledged = scene.acknowledged();
  scene.until("the reader receives and adds succeed", [&] {
    return !reader.consumer.empty() && scene.acknowledged() >= acknowledged + 20;
  });
  scene.end_all();
  ts_fault_free(fault);
}

}  // namespace
}  // namespace faults
