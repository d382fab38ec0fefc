// What a pool is called in Redis.
#ifndef PULSE_POOL_POOL_NAMES_H
#define PULSE_POOL_POOL_NAMES_H

#include <algorithm>
#include <iterator>

#include "base/ulid.h"
#include "engine/engine.h"

namespace pulseengine {

// The group of the routers on the pool's stream.
constexpr std::string_view kRouters = "events";

// Workers of this engine share the end of their id with their node: so it is seen whose they are.
constexpr size_t kSharedIdEnd = 8;
inline bool is_worker_of(std::string_view worker, std::string_view node) {
  return worker.size() == kUlidLength && node.size() == kUlidLength &&
         worker.substr(kUlidLength - kSharedIdEnd) == node.substr(kUlidLength - kSharedIdEnd);
}

// What comes before the names of the maps of pools that are routed by rendezvous hashing.
constexpr std::string_view kRendezvous = "rv:";

// Whether a pool has a map of its own under this name.
inline bool is_map_of_pools(std::string_view name) {
  constexpr std::string_view kMaps[] = {
      "node-keepalive", "shutdown",     "workers",      "worker-keepalive", "cleanup",
      "jobs",           "job-payloads", "pending-jobs", "tickers",          "routing"};
  if (name.substr(0, kRendezvous.size()) == kRendezvous) name.remove_prefix(kRendezvous.size());
  return std::find(std::begin(kMaps), std::end(kMaps), name) != std::end(kMaps);
}

struct PoolNames {
  PoolNames(const Engine& engine, std::string_view pool, bool rendezvous)
      : plain(pool.data(), pool.size()), name(plain) {
    if (rendezvous) name += ":rv";
    node_keepalive = content(engine, ":node-keepalive");
    shutdown = content(engine, ":shutdown");
    workers = content(engine, ":workers");
    worker_keepalive = content(engine, ":worker-keepalive");
    cleanup = content(engine, ":cleanup");
    jobs = content(engine, ":jobs");
    payloads = content(engine, ":job-payloads");
    pending = content(engine, ":pending-jobs");
    tickers = content(engine, ":tickers");
    routing = engine.key("map:", plain, ":routing:content");
    plain_nodes = engine.key("map:", plain, ":node-keepalive:content");
    pool_stream = engine.key("pulse:stream:", name, ":pool");
    consumers = engine.key("map:stream:", name, ":pool:sinks:content");
    routers_alive = engine.key("map:sink:", kRouters, ":keepalive:content");
    routers_lease = engine.key("sink:", kRouters, ":" + name + ":pool:sweep");
    routers_restart = engine.key("sink:", kRouters, ":" + name + ":pool:restart");
  }

  String map(std::string_view suffix) const {
    String text = name;
    text.append(suffix.data(), suffix.size());
    return text;
  }
  String node_stream(std::string_view node) const {
    String text = map(":node:");
    text.append(node.data(), node.size());
    return text;
  }
  static String worker_stream(std::string_view worker) {
    String text("worker:");
    text.append(worker.data(), worker.size());
    return text;
  }

  const String plain;  // as the host named it
  String name;
  // Keys, with the engine's prefix: of the maps' contents, and of the pool's stream.
  String node_keepalive, shutdown, workers, worker_keepalive, cleanup, jobs, payloads, pending,
      tickers, routing, plain_nodes, pool_stream;
  // What the routers' sink has beside the stream.
  String consumers, routers_alive, routers_lease, routers_restart;

 private:
  String content(const Engine& engine, std::string_view suffix) const {
    return engine.key("map:", map(suffix), ":content");
  }
};

}  // namespace pulseengine

#endif
