// The content of a replicated map at one revision, immutable, and how the next one is made of it.
#ifndef PULSE_RMAP_MAP_VERSION_H
#define PULSE_RMAP_MAP_VERSION_H

#include "rmap/map_entry.h"
#include "rmap/map_node.h"
#include "rmap/map_reaper.h"

namespace pulseengine {

// A persistent hash trie: versions share what is equal in them.  Any thread may read it, and drop
// its last reference.
class MapVersion final : public RefCounted, private LiveObject {
 public:
  // With a reaper, what goes with this version and those that are made of it goes through that one;
  // without, whoever drops a last reference frees all that was left.
  static Ref<MapVersion> empty(uint64_t revision, Ref<MapReaper> reaper = nullptr);

  uint64_t revision() const noexcept { return revision_; }
  size_t size() const noexcept { return size_; }
  // Keys and values together.
  int64_t bytes() const noexcept { return bytes_; }
  // The entry lives as long as this version; null when there is none.
  const MapEntry* find(std::string_view key, uint64_t hash) const noexcept {
    return map_node::find(root_, key, hash);
  }

 private:
  friend class MapEditor;
  friend class MapWalk;

  // Takes over the reference to the root.
  MapVersion(MapNode* root, uint64_t revision, size_t size, int64_t bytes,
             Ref<MapReaper> reaper) noexcept
      : root_(root), revision_(revision), size_(size), bytes_(bytes), reaper_(std::move(reaper)) {}
  ~MapVersion() override;

  MapNode* const root_;  // null when empty
  const uint64_t revision_;
  const size_t size_;
  const int64_t bytes_;
  const Ref<MapReaper> reaper_;  // may be null
};

// Makes a new version of an old one.  Nodes that anybody else can see are copied once, all others
// are changed in place: loading into an empty version copies nothing.  Whatever throws (bad_alloc
// only) has changed nothing.  One thread; may be dropped at any point.
class MapEditor : public Allocated {
 public:
  explicit MapEditor(Ref<MapVersion> base) noexcept;
  ~MapEditor();
  MapEditor(const MapEditor&) = delete;
  MapEditor& operator=(const MapEditor&) = delete;

  // The entry lives until it is replaced, erased, or the editor and all versions with it are gone.
  const MapEntry* find(std::string_view key, uint64_t hash) const noexcept {
    return map_node::find(root_, key, hash);
  }
  // The entry that it replaces, or null.
  Ref<MapEntry> put(Ref<MapEntry> entry);
  // The entry that it removes, or null.
  Ref<MapEntry> erase(std::string_view key, uint64_t hash);
  void clear() noexcept;

  size_t size() const noexcept { return size_; }
  int64_t bytes() const noexcept { return bytes_; }

  // What the editor has, as a version.  The editor may go on from there.
  Ref<MapVersion> finish(uint64_t revision);

 private:
  // Makes a node ours alone, with room for `more` slots, and puts it where it was.
  MapNode* own(MapNode* node, uint32_t level, uint32_t more, MapSlot* where);
  void insert(MapNode* node, uint32_t level, uint32_t index, Ref<MapEntry> entry) noexcept;
  Ref<MapEntry> replace(MapSlot* slot, Ref<MapEntry> entry) noexcept;

  MapNode* root_;  // null when empty
  size_t size_;
  int64_t bytes_;
  const Ref<MapReaper> reaper_;  // the base's
};

// A place in a version, or between two: entries are ordered by hash, and equal hashes by key.  It
// may be kept and used again with the same versions.  With later ones too: then entries whose hash
// is another entry's as well may be left out or come twice, all others not.
struct MapCursor {
  uint64_t hash = 0;
  uint32_t index = 0;  // among equal hashes
  bool end = false;
};

// One pass over the difference of two versions, without callbacks; visit and visit_differences are
// what to use.
class MapWalk {
 public:
  // `from` null: the pass is over all of `to`.  Both must outlive it.
  MapWalk(const MapVersion* from, const MapVersion* to, const MapCursor& cursor) noexcept;

  // The next key whose entries differ; false at the end.
  bool next() noexcept;
  const MapEntry* before() const noexcept { return before_; }
  const MapEntry* now() const noexcept { return now_; }
  // The place of that key.
  uint64_t hash() const noexcept { return hash_; }
  uint32_t index() const noexcept { return index_; }

 private:
  struct Frame {
    MapSlot before;
    MapSlot now;
    uint64_t left;          // positions to visit, above the bottom
    uint32_t before_index;  // at the bottom
    uint32_t now_index;
    uint32_t index;  // in the merged list of both
    bool on_path;    // the cursor is inside
  };

  void push(MapSlot before, MapSlot now, bool on_path) noexcept;
  bool next_at_bottom(Frame& frame) noexcept;
  bool offer_pair(const MapEntry* before, const MapEntry* now) noexcept;
  bool offer(const MapEntry* before, const MapEntry* now, uint32_t index) noexcept;

  MapCursor start_;
  Frame frames_[map_node::kLevels + 1];
  uint32_t depth_ = 0;  // frames in use
  // Of two entries with different keys at one position the second, which comes next.
  const MapEntry* waiting_before_ = nullptr;
  const MapEntry* waiting_now_ = nullptr;
  uint32_t waiting_index_ = 0;

  const MapEntry* before_ = nullptr;
  const MapEntry* now_ = nullptr;
  uint64_t hash_ = 0;
  uint32_t index_ = 0;
};

// Calls f(const MapEntry* before, const MapEntry* now) -> bool for the keys, from the cursor on,
// whose values differ; null: not there.  False stops behind that key.  Shared parts are skipped
// without a look.  When f throws, the cursor stands at the key that it was called with.
template <class F>
void visit_differences(const MapVersion& from, const MapVersion& to, MapCursor* cursor, F f);

// The same for all entries of one version: f(const MapEntry&) -> bool.
template <class F>
void visit(const MapVersion& version, MapCursor* cursor, F f);

namespace map_walk {

template <class F>
void run(const MapVersion* from, const MapVersion* to, MapCursor* cursor, F f) {
  if (cursor->end) return;
  MapWalk walk(from, to, *cursor);
  while (walk.next()) {
    *cursor = {walk.hash(), walk.index(), false};
    bool go_on = f(walk.before(), walk.now());
    cursor->index++;
    if (!go_on) return;
  }
  cursor->end = true;
}

}  // namespace map_walk

template <class F>
void visit_differences(const MapVersion& from, const MapVersion& to, MapCursor* cursor, F f) {
  map_walk::run(&from, &to, cursor, std::move(f));
}

template <class F>
void visit(const MapVersion& version, MapCursor* cursor, F f) {
  map_walk::run(nullptr, &version, cursor,
                [&f](const MapEntry*, const MapEntry* now) { return f(*now); });
}

}  // namespace pulseengine

#endif
