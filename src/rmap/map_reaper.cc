#include "rmap/map_reaper.h"

#include "engine/engine.h"

namespace pulseengine {
namespace {

class Attachment final : public EngineAttachment {
 public:
  explicit Attachment(Engine& engine) : engine_(engine), reaper_(make_ref<MapReaper>(&engine)) {}
  // Versions may outlive the engine.
  ~Attachment() override { reaper_->close(); }

  void flush() noexcept override {
    if (reaper_->reap()) engine_.want_turn();
  }
  const Ref<MapReaper>& reaper() const { return reaper_; }

 private:
  Engine& engine_;
  const Ref<MapReaper> reaper_;
};

}  // namespace

Ref<MapReaper> MapReaper::of(Engine& engine) {
  Owned<EngineAttachment>& attachment = engine.attachment(Engine::kMapReaper);
  if (!attachment) attachment = make_owned<Attachment>(engine);
  return static_cast<Attachment&>(*attachment).reaper();
}

void MapReaper::drop(MapReaper* reaper, MapNode* root) noexcept {
  if (root == nullptr) return;
  map_node::DeadNodes dead;
  dead.drop(root, 0);
  if (reaper != nullptr && dead.free_some(kSlice, kFree)) reaper->pile_up(dead);
  dead.free_all();
}

// Takes nothing any more once it is closed.
void MapReaper::pile_up(map_node::DeadNodes& dead) noexcept {
  std::lock_guard<std::mutex> lock(mutex_);
  if (closed_) return;
  pile_.take(dead);
  if (engine_ != nullptr) engine_->want_turn();
}

bool MapReaper::reap() noexcept {
  map_node::DeadNodes dead;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    dead.take(pile_);
  }
  const bool more = dead.free_some(kSlice, kFree);
  std::lock_guard<std::mutex> lock(mutex_);
  pile_.take(dead);
  return more || !pile_.empty();
}

void MapReaper::close() noexcept {
  map_node::DeadNodes dead;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    closed_ = true;
    engine_ = nullptr;
    dead.take(pile_);
  }
  dead.free_all();
}

}  // namespace pulseengine
