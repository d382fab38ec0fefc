// What all scenes share: a real server, a seed, worker processes, and waiting for conditions.
#ifndef PULSE_TESTS_FAULTS_SCENE_BASE_H
#define PULSE_TESTS_FAULTS_SCENE_BASE_H

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>

#include "support.h"

namespace faults {

// What workers are told; name=value.
using Settings = std::map<std::string, std::string>;

struct ProxyFree {
  void operator()(ts_proxy* proxy) const { ts_proxy_free(proxy); }
};
using Proxy = std::unique_ptr<ts_proxy, ProxyFree>;

class SceneBase {
 public:
  explicit SceneBase(const ts_server_options& options);
  virtual ~SceneBase();
  SceneBase(const SceneBase&) = delete;
  SceneBase& operator=(const SceneBase&) = delete;

  ts_server* server() const { return server_; }
  // A number of this scene's seed, both ends included.
  int64_t random(int64_t least, int64_t most);
  // Lets workers work on for so long.
  void pass(int64_t milliseconds);
  // Waits for a condition; a failure names it, and answers false.
  bool until(const char* what, const std::function<bool()>& condition);

 protected:
  // Reads what the workers have written down.
  virtual void collect() = 0;

  std::string journal_path(const std::string& worker) const { return directory_ + "/" + worker; }
  // This program in another role (worker.h).
  static ts_process* start_process(const std::string& role, const Settings& settings);
  static void order(ts_process* process, const std::string& text);

  ts_server* const server_;
  bool failed_ = false;  // a condition was never met: what comes after is not waited for long

 private:
  const uint64_t seed_;
  std::mt19937_64 random_;
  std::string directory_;
};

}  // namespace faults

#endif
