// Gives back what nobody refers to any more, so that the loop never stands still for it.
#ifndef PULSE_RMAP_MAP_REAPER_H
#define PULSE_RMAP_MAP_REAPER_H

#include <mutex>

#include "rmap/map_node.h"

namespace pulseengine {

class Engine;

// Whoever drops the last reference to a version frees one slice of it, on whatever thread that is:
// all of it, as versions share most of what they have.  What is more than that goes on a pile, of
// which the loop frees a slice per turn.  The pile may grow by what shares nothing with its
// successor only (a map that was emptied or copied anew).
class MapReaper final : public RefCounted {
 public:
  // Slots looked at, where memory that is given back counts for kFree of them: about a millisecond.
  static constexpr int64_t kSlice = 32768;
  static constexpr int64_t kFree = 8;

  // That of the engine, made on demand.  Loop thread; throws bad_alloc.
  static Ref<MapReaper> of(Engine& engine);
  // `engine` null: somebody calls reap() until nothing is left.
  explicit MapReaper(Engine* engine) noexcept : engine_(engine) {}

  // Takes over a reference to the root of a trie (null: an empty one).  Any thread.  Without a
  // reaper all of it is freed at once.
  static void drop(MapReaper* reaper, MapNode* root) noexcept;
  // Frees a slice of the pile; false when nothing is left.  One thread.
  bool reap() noexcept;
  // Frees all of it.  From now on whoever drops the last reference frees everything.
  void close() noexcept;

 private:
  ~MapReaper() override { close(); }

  void pile_up(map_node::DeadNodes& dead) noexcept;

  std::mutex mutex_;
  Engine* engine_;  // guarded by mutex_, as all below
  bool closed_ = false;
  map_node::DeadNodes pile_;
};

}  // namespace pulseengine

#endif
