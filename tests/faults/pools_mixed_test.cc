// Pools: everything at once, for as long as it is asked for.
#include <algorithm>

#include "pool_scene.h"

namespace faults {
namespace {

class Chaos {
 public:
  Chaos(PoolScene& scene, size_t nodes, int workers, size_t jobs)
      : scene_(scene), nodes_(nodes), workers_(workers), jobs_(jobs) {}

  void run(int64_t milliseconds) {
    while (scene_.all(true).size() < nodes_) join();
    dispatcher_ = &scene_.dispatcher(skewed());
    scene_.dispatch(*dispatcher_, "k", jobs_);
    scene_.until("they run", [&] { return scene_.running() >= jobs_; });
    const int64_t end = ts_now_ms() + milliseconds;
    while (ts_now_ms() < end) {
      step();
      scene_.pass(scene_.random(0, 300));
      mend(ts_now_ms());
    }
    mend(INT64_MAX);
    printf(
        "  %d kills, %d freezes, %d joins, %d leaves, %d restarts, %d cuts, %d times cut off, %d "
        "dispatchers killed\n",
        kills_, freezes_, joins_, leaves_, restarts_, cuts_, offs_, dispatchers_);
    scene_.settle("after everything");
    EXPECT_GE(scene_.running(), jobs_ / 2);
    scene_.finish();
  }

 private:
  Settings skewed() {
    if (ts_is_sanitized() != 0) return {};
    return {{"skew_s", std::to_string(scene_.random(-1, 1) * 600)}};
  }

  void join() {
    scene_.distant_node(workers_, skewed());
    joins_++;
  }

  // One that nothing is wrong with, so that the pool can go on without it.
  PoolProcess* expendable() {
    std::vector<PoolProcess*> well;
    for (PoolProcess* node : scene_.all(true)) {
      const bool ill = std::any_of(ill_.begin(), ill_.end(),
                                   [&](const Ill& other) { return other.node == node; });
      if (!ill) well.push_back(node);
    }
    if (well.size() < 2) return nullptr;
    return well[static_cast<size_t>(scene_.random(0, static_cast<int64_t>(well.size()) - 1))];
  }

  void step() {
    PoolProcess* node = expendable();
    if (node == nullptr) return;
    const int64_t now = ts_now_ms();
    switch (scene_.random(0, 11)) {
      case 0:
        scene_.kill(*node);
        kills_++;
        join();
        break;
      case 1:
        scene_.freeze(*node);
        ill_.push_back({node, now + 3 * scene_.ttl_ms(), true});
        freezes_++;
        break;
      case 2:
        scene_.cut_off(*node);
        ill_.push_back({node, now + scene_.random(1, 3) * scene_.ttl_ms(), false});
        offs_++;
        break;
      case 3:
        join();
        break;
      case 4:
        if (scene_.all(true).size() <= nodes_) break;
        scene_.leave(*node);
        leaves_++;
        break;
      case 5:
        ASSERT_EQ(ts_server_kill(scene_.server()), 1);
        scene_.pass(scene_.random(0, 500));
        ASSERT_EQ(ts_server_restart(scene_.server()), 1);
        restarts_++;
        break;
      case 6:
        ts_proxy_cut_all(node->proxy.get());
        cuts_++;
        break;
      case 7:
        ts_proxy_cut_after(node->proxy.get(),
                           scene_.random(0, 1) == 0 ? TS_TO_SERVER : TS_TO_CLIENT,
                           static_cast<uint64_t>(scene_.random(1, 20000)));
        cuts_++;
        break;
      case 8:
        scene_.order(*node, scene_.random(0, 1) == 0 ? "add" : "remove");
        break;
      case 9:
        scene_.kill(*dispatcher_);
        dispatcher_ = &scene_.dispatcher(skewed());
        dispatchers_++;
        make_up();
        break;
      case 10:
        stop_some();
        make_up();
        break;
      default:
        scene_.dispatch(*dispatcher_, "k", 10);
        scene_.dispatch(*dispatcher_, "f", 20);
    }
  }

  void stop_some() {
    for (const auto& [key, job] : scene_.jobs()) {
      if (job.outcome == PoolScene::Outcome::accepted && key[0] == 'k' && !job.stopped &&
          scene_.random(0, 99) == 0) {
        scene_.stop(*dispatcher_, key);
      }
    }
  }

  // As many jobs as in the beginning, whatever was stopped, or not dispatched any more.
  void make_up() {
    const auto there = static_cast<size_t>(std::count_if(
        scene_.jobs().begin(), scene_.jobs().end(),
        [](const auto& entry) { return entry.first[0] == 'k' && !entry.second.stopped; }));
    if (there < jobs_) scene_.dispatch(*dispatcher_, "k", jobs_ - there);
  }

  // What is over is over.
  void mend(int64_t now_ms) {
    for (size_t i = ill_.size(); i-- > 0;) {
      if (ill_[i].until_ms > now_ms) continue;
      if (ill_[i].frozen) {
        scene_.thaw(*ill_[i].node);
      } else {
        scene_.reconnect(*ill_[i].node);
      }
      ill_.erase(ill_.begin() + static_cast<std::ptrdiff_t>(i));
    }
  }

  struct Ill {
    PoolProcess* node;
    int64_t until_ms;
    bool frozen;
  };

  PoolScene& scene_;
  const size_t nodes_;
  const int workers_;
  const size_t jobs_;
  PoolProcess* dispatcher_ = nullptr;
  std::vector<Ill> ill_;
  int kills_ = 0, freezes_ = 0, joins_ = 0, leaves_ = 0, restarts_ = 0, cuts_ = 0, offs_ = 0,
      dispatchers_ = 0;
};

ts_server_options persistent() {
  ts_server_options options = {};
  options.append_only = 1;
  return options;
}

TEST(Pools, EverythingAtOnce) {
  PoolScene scene(persistent());
  Chaos chaos(scene, 4, 2, static_cast<size_t>(std::max<int64_t>(ts_scaled(300), 100)));
  chaos.run(std::max<int64_t>(ts_scaled(8000), 4000));
}

// 4 processes of 4 workers, 2,000 jobs, a minute.
TEST(SoakPools, EverythingAtOnce) {
  PoolScene scene(persistent());
  Chaos chaos(scene, 4, 4, static_cast<size_t>(ts_scaled(2000)));
  chaos.run(ts_scaled(60000));
}

}  // namespace
}  // namespace faults
