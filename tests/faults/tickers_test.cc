// A ticker while its nodes are killed, frozen and cut off: each point of the grid is ticked once,
// and all of them but those that died with a node.  The program is its own node, see run_node.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <pulseengine/pulse.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "journal.h"
#include "support.h"

namespace faults {
namespace {

constexpr char kPool[] = "p";
constexpr char kTicker[] = "beat";
constexpr int64_t kIntervalMs = 200;
constexpr int64_t kTtlMs = 1000;
constexpr size_t kNodes = 5;

// --- a node ----------------------------------------------------------------------------

void must(pulse_status status, const pulse_error& error, const char* what) {
  if (status == PULSE_OK) return;
  fprintf(stderr, "node: %s: %s\n", what, error.message);
  _exit(1);
}

// argv: the program, "--node", URL, journal, driver.  The journal gets "Y -" when the ticker is
// open, "T POINT MISSED" for each tick; the end of the standard input ends the node.
int run_node(char** argv) {
  pulse_error error = PULSE_ERROR_INIT;
  JournalWriter journal(argv[3]);
  pulse_engine_options options = PULSE_ENGINE_OPTIONS_INIT;
  options.url = argv[2];
  options.driver = strcmp(argv[4], "manual") == 0 ? PULSE_DRIVER_MANUAL : PULSE_DRIVER_THREAD;
  options.reconnect_max_ms = 200;
  pulse_engine* engine = nullptr;
  must(pulse_engine_open(&options, &engine, &error), error, "engine");
  pulse_node_options node_options = PULSE_NODE_OPTIONS_INIT;
  node_options.worker_ttl_ms = kTtlMs;
  node_options.ack_grace_ms = kTtlMs;
  pulse_node* node = nullptr;
  must(pulse_node_join_wait(engine, kPool, strlen(kPool), &node_options, nullptr, TS_DEADLINE_MS,
                            &node, &error),
       error, "join");
  pulse_queue* queue = nullptr;
  must(pulse_queue_new(&queue, &error), error, "queue");
  pulse_target target = PULSE_TARGET_INIT;
  target.queue = queue;
  pulse_ticker_options ticker_options = PULSE_TICKER_OPTIONS_INIT;
  ticker_options.catch_up = 1;  // so that every point that was missed is told
  pulse_ticker* ticker = nullptr;
  must(pulse_ticker_open(node, kTicker, strlen(kTicker), kIntervalMs * 1000000, &ticker_options,
                         &target, &ticker, &error),
       error, "ticker");
  fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK);
  char byte = 0;
  const bool manual = options.driver == PULSE_DRIVER_MANUAL;
  while (read(STDIN_FILENO, &byte, 1) != 0) {
    if (manual) {
      struct timespec pause = {0, 5000000};
      nanosleep(&pause, nullptr);
      pulse_engine_run_once(engine, 0, 0);
    }
    pulse_event event;
    while (pulse_queue_poll(queue, &event, sizeof event, 1, manual ? 0 : 20) == 1) {
      if (event.kind == PULSE_EVENT_READY) journal.line("Y -");
      if (event.kind == PULSE_EVENT_CLOSED) journal.line("C %d", event.status);
      if (event.kind == PULSE_EVENT_TICK) {
        journal.line("T %" PRIu64 " %" PRIu64, event.id.ms * 1000 + event.id.seq, event.count);
      }
      journal.flush();
    }
  }
  must(pulse_node_close_wait(node, TS_DEADLINE_MS, &error), error, "close");
  pulse_ticker_unref(ticker);
  pulse_node_unref(node);
  must(pulse_engine_close_wait(engine, TS_DEADLINE_MS, &error), error, "engine close");
  pulse_engine_unref(engine);
  pulse_queue_unref(queue);
  return 0;
}

// --- the scene -------------------------------------------------------------------------

struct Node {
  explicit Node(const std::string& journal) : seen(journal) {}
  ~Node() { ts_process_free(process); }
  ts_process* process = nullptr;
  JournalReader seen;
  bool ready = false;
  bool running = true;
  int64_t frozen_until_ms = 0;
};

class Tickers : public testing::Test {
 protected:
  Tickers() : seed_(choose_seed()), random_(seed_), server_(ts_server_start(nullptr)) {
    printf("  seed %" PRIu64 " (PULSE_FAULT_SEED)\n", seed_);
    fflush(stdout);
    for (size_t i = 0; i < kNodes; i++) start_node();
  }
  ~Tickers() override {
    nodes_.clear();
    ts_server_free(server_);
  }

  static uint64_t choose_seed() {
    const char* given = getenv("PULSE_FAULT_SEED");
    return given != nullptr ? strtoull(given, nullptr, 10) : std::random_device()();
  }
  int64_t some(int64_t least, int64_t most) {
    return std::uniform_int_distribution<int64_t>(least, most)(random_);
  }

  void start_node() {
    const std::string journal =
        std::string(ts_server_directory(server_)) + "/n" + std::to_string(nodes_.size());
    auto node = std::make_unique<Node>(journal);
    const char* argv[] = {ts_self_path(),
                          "--node",
                          ts_server_url(server_),
                          journal.c_str(),
                          nodes_.size() % 2 == 1 ? "manual" : "thread",
                          nullptr};
    node->process = ts_process_start(argv, nullptr, TS_PIPE_IN);
    ASSERT_NE(node->process, nullptr);
    nodes_.push_back(std::move(node));
  }

  void look() {
    for (auto& node : nodes_) {
      node->seen.read([&](const JournalReader::Words& words) {
        if (words[0] == "Y") node->ready = true;
        if (words[0] == "C") closed_++;
        if (words[0] != "T") return;
        ticks_[strtoll(words[1].c_str(), nullptr, 10)]++;
        missed_ += strtoll(words[2].c_str(), nullptr, 10);
      });
      if (node->frozen_until_ms != 0 && ts_now_ms() >= node->frozen_until_ms) {
        ts_process_signal(node->process, SIGCONT);
        node->frozen_until_ms = 0;
      }
    }
  }

  template <class F>
  void until(const char* what, F condition) {
    const int64_t end = ts_now_ms() + TS_DEADLINE_MS;
    for (look(); !condition(); look()) {
      ASSERT_LT(ts_now_ms(), end) << "never happened: " << what;
      ts_pause_ms(10);
    }
  }
  void go_on_for(int64_t ms) {
    const int64_t end = ts_now_ms() + ms;
    for (look(); ts_now_ms() < end; look()) ts_pause_ms(10);
  }

  std::vector<Node*> able() {
    std::vector<Node*> able;
    for (auto& node : nodes_) {
      if (node->running && node->ready && node->frozen_until_ms == 0) able.push_back(node.get());
    }
    return able;
  }
  bool all_ready() {
    return std::all_of(nodes_.begin(), nodes_.end(),
                       [](const auto& node) { return !node->running || node->ready; });
  }

  // Each loses a tick at most: one that was won, and not written down.
  void kill_one() {
    std::vector<Node*> victims = able();
    if (victims.size() < 2) return;
    Node* victim = victims[static_cast<size_t>(some(0, static_cast<int64_t>(victims.size()) - 1))];
    ts_process_signal(victim->process, SIGKILL);
    ts_process_wait(victim->process, TS_DEADLINE_MS);
    victim->running = false;
    kills_++;
    start_node();
  }
  void freeze_one() {
    std::vector<Node*> victims = able();
    if (victims.size() < 3) return;
    Node* victim = victims[static_cast<size_t>(some(0, static_cast<int64_t>(victims.size()) - 1))];
    ts_process_signal(victim->process, SIGSTOP);
    victim->frozen_until_ms = ts_now_ms() + some(kTtlMs / 2, 2 * kTtlMs);
  }
  void cut_all() {
    ts_reply_free(ts_command(server_, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes", NULL));
    cuts_++;
  }

  void finish() {
    until("all run", [&] {
      return all_ready() && std::all_of(nodes_.begin(), nodes_.end(), [](const auto& node) {
               return node->frozen_until_ms == 0;
             });
    });
    const size_t before = ticks_.size();
    until("it ticks", [&] { return ticks_.size() >= before + 5; });
    for (auto& node : nodes_) {
      if (!node->running) continue;
      ts_process_close_input(node->process);
      EXPECT_EQ(ts_process_wait(node->process, TS_DEADLINE_MS), 0);
      node->running = false;
    }
    look();
  }

  void check() {
    ASSERT_FALSE(ticks_.empty());
    const int64_t first = ticks_.begin()->first, last = ticks_.rbegin()->first;
    const int64_t interval = kIntervalMs * 1000;
    int64_t longest = 0, before = first;
    for (const auto& [point, times] : ticks_) {
      EXPECT_EQ(times, 1) << "of " << point;
      EXPECT_EQ((point - first) % interval, 0) << point;
      longest = std::max(longest, point - before);
      before = point;
    }
    const int64_t lost = (last - first) / interval + 1 - static_cast<int64_t>(ticks_.size());
    printf("  %zu ticks, %" PRId64 " points without one, of them %" PRId64
           " late; %d kills, %d cuts; longest pause %" PRId64 " ms\n",
           ticks_.size(), lost, missed_, kills_, cuts_, longest / 1000);
    // As long as it may take until the dead are replaced.
    EXPECT_LE(longest, (ts_is_sanitized() != 0 ? 5 : 2) * kTtlMs * 1000);
    EXPECT_GE(lost, missed_);
    // What was not missed because all were late went with a node, or with an answer.
    EXPECT_LE(lost - missed_, kills_ + cuts_);
  }

  const uint64_t seed_;
  std::mt19937_64 random_;
  ts_server* const server_;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::map<int64_t, int> ticks_;  // by point
  int64_t missed_ = 0;
  int kills_ = 0, cuts_ = 0, closed_ = 0;
};

TEST_F(Tickers, TickOnceThroughDeaths) {
  until("all are ready", [&] { return all_ready(); });
  const int64_t end = ts_now_ms() + ts_scaled(ts_is_sanitized() != 0 ? 20000 : 60000);
  // Chance may want few kills in a short run.
  constexpr int kEnoughKills = 4;
  while (ts_now_ms() < end || kills_ < kEnoughKills) {
    go_on_for(some(100, 800));
    const int64_t fault = some(0, 9);
    if (fault < 7) {
      kill_one();
    } else if (fault < 9) {
      freeze_one();
    } else {
      cut_all();
    }
  }
  finish();
  check();
  EXPECT_EQ(closed_, 0);
  // The grid is the one that it began with, and the next point is to come.
  ts_reply* entry = ts_command(server_, "HGET", "map:p:tickers:content", "p:beat", NULL);
  const int64_t next = strtoll(ts_reply_text(entry), nullptr, 10);
  EXPECT_EQ((next - ticks_.begin()->first) % (kIntervalMs * 1000), 0);
  EXPECT_GT(next, ticks_.rbegin()->first);
  ts_reply_free(entry);
}

}  // namespace
}  // namespace faults

int main(int argc, char** argv) {
  if (argc == 5 && strcmp(argv[1], "--node") == 0) return faults::run_node(argv);
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
