#include "scene_base.h"

#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <vector>

namespace faults {
namespace {

uint64_t choose_seed() {
  const char* given = getenv("PULSE_FAULT_SEED");
  if (given != nullptr) return strtoull(given, nullptr, 10);
  return std::random_device()();
}

}  // namespace

SceneBase::SceneBase(const ts_server_options& options)
    : server_(ts_server_start(&options)), seed_(choose_seed()), random_(seed_) {
  if (server_ == nullptr) {
    fprintf(stderr, "no server\n");
    exit(1);
  }
  directory_ = std::string(ts_server_directory(server_)) + "/journals";
  std::filesystem::create_directory(directory_);
  printf("  seed %" PRIu64 " (PULSE_FAULT_SEED)\n", seed_);
  fflush(stdout);
}

SceneBase::~SceneBase() { ts_server_free(server_); }

int64_t SceneBase::random(int64_t least, int64_t most) {
  return std::uniform_int_distribution<int64_t>(least, most)(random_);
}

void SceneBase::pass(int64_t milliseconds) {
  ts_pause_ms(milliseconds);
  collect();
}

bool SceneBase::until(const char* what, const std::function<bool()>& condition) {
  struct Context {
    SceneBase* scene;
    const std::function<bool()>* condition;
  } context = {this, &condition};
  const int met = ts_wait_until(
      [](void* data) {
        auto* c = static_cast<Context*>(data);
        c->scene->collect();
        return (*c->condition)() ? 1 : 0;
      },
      &context, failed_ ? 1000 : TS_DEADLINE_MS);
  EXPECT_EQ(met, 1) << "never happened: " << what;
  if (met != 1) failed_ = true;
  return met == 1;
}

ts_process* SceneBase::start_process(const std::string& role, const Settings& settings) {
  std::vector<std::string> words = {ts_self_path(), "--worker", role};
  for (const auto& [name, value] : settings) words.push_back(name + "=" + value);
  std::vector<const char*> argv;
  for (const std::string& word : words) argv.push_back(word.c_str());
  argv.push_back(nullptr);
  ts_process* process = ts_process_start(argv.data(), nullptr, TS_PIPE_IN);
  if (process == nullptr) {
    fprintf(stderr, "cannot start a worker\n");
    exit(1);
  }
  return process;
}

void SceneBase::order(ts_process* process, const std::string& text) {
  const std::string line = text + "\n";
  ts_process_write(process, line.data(), line.size());
}

}  // namespace faults
