// Changes that became visible together, and how watches hand them on.
#ifndef PULSE_RMAP_CHANGE_GROUP_H
#define PULSE_RMAP_CHANGE_GROUP_H

#include "engine/notice.h"
#include "pulseengine/map.h"
#include "rmap/map_version.h"

namespace pulseengine {

struct MapChange {
  pulse_map_op op = PULSE_MAP_OP_SET;
  uint64_t revision = 0;
  Ref<MapEntry> now, before;  // what is there now, and was

  std::string_view key() const {
    return now ? now->key() : before ? before->key() : std::string_view();
  }
  pulse_map_kind kind() const {
    if (op == PULSE_MAP_OP_SET) return PULSE_MAP_KIND_CHANGE;
    return op == PULSE_MAP_OP_DELETE ? PULSE_MAP_KIND_DELETE : PULSE_MAP_KIND_RESET;
  }
  uint32_t bytes() const;
};

// Immutable once it is shared.
class ChangeGroup : public RefCounted {
 public:
  void add(MapChange change) {
    bytes += change.bytes();
    changes.push_back(std::move(change));
  }

  Vector<MapChange> changes;
  uint64_t first = 0, last = 0;  // revisions, all between them are in it
  Ref<MapVersion> after;         // what the map is then
  size_t bytes = 0;
};

// Which changes a watch wants.
class ChangeFilter {
 public:
  void set_key(std::string_view key) {
    kind_ = Kind::key;
    text_.assign(key.data(), key.size());
  }
  void set_prefix(std::string_view prefix) {
    kind_ = Kind::prefix;
    text_.assign(prefix.data(), prefix.size());
  }
  bool passes(std::string_view key) const;
  // What happens to all keys is for everybody.
  bool passes(const MapChange& change) const {
    return change.op == PULSE_MAP_OP_RESET || change.op == PULSE_MAP_OP_DESTROY ||
           passes(change.key());
  }

 private:
  enum class Kind : uint8_t { all, key, prefix };
  Kind kind_ = Kind::all;
  String text_;
};

// Changes of a group on their way to one watch.
class ChangeBatch final : public Delivery {
 public:
  ChangeBatch(Ref<Deliverer> owner, Ref<SharedTarget> target, String map, Ref<ChangeGroup> group,
              bool old_values)
      : owner_(std::move(owner)),
        target_(std::move(target)),
        map_(std::move(map)),
        group_(std::move(group)),
        old_values_(old_values) {}

  static constexpr int64_t kAll = -1;
  // The changes after the revision that pass.
  void select(const ChangeFilter& filter, int64_t after);
  size_t size() const { return selected_.size(); }
  int64_t bytes() const { return bytes_; }

  const Target& target() const override { return target_->target(); }
  bool next_event(pulse_event* event) override;
  size_t remaining() const override { return owner_->withdrawn() ? 0 : selected_.size() - next_; }

 private:
  const Ref<Deliverer> owner_;
  const Ref<SharedTarget> target_;
  const String map_;
  const Ref<ChangeGroup> group_;
  const bool old_values_;
  Vector<uint32_t> selected_;
  int64_t bytes_ = 0;
  size_t next_ = 0;
};

}  // namespace pulseengine

#endif
