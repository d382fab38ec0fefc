// The place from which readers take the newest version of a map.
#ifndef PULSE_RMAP_VERSION_CELL_H
#define PULSE_RMAP_VERSION_CELL_H

#include <atomic>

#include "base/epoch.h"
#include "rmap/map_version.h"

namespace pulseengine {

// One thread publishes, any thread reads.  Nobody may read any more when it goes.
class VersionCell {
 public:
  explicit VersionCell(Ref<MapVersion> version) noexcept : version_(version.release()) {}
  ~VersionCell() { version_.load(std::memory_order_acquire)->unref(); }
  VersionCell(const VersionCell&) = delete;
  VersionCell& operator=(const VersionCell&) = delete;

  // Throws bad_alloc and leaves the version as it was.
  void publish(Ref<MapVersion> version, EpochReclaimer& reclaimer) {
    reclaimer.reserve(1);
    // In one order with the guards' entries, where those do without a fence as where they do not.
    MapVersion* old = version_.exchange(version.release(), std::memory_order_seq_cst);
    reclaimer.retire(Ref<MapVersion>::adopt(old));
  }
  // Under a ReadGuard, and valid as long as it is open.
  const MapVersion* read() const noexcept { return version_.load(std::memory_order_seq_cst); }
  // Any thread; for longer than a moment.
  Ref<MapVersion> take() const noexcept {
    ReadGuard guard;
    return Ref<MapVersion>::share(version_.load(std::memory_order_seq_cst));
  }

 private:
  std::atomic<MapVersion*> version_;
};

}  // namespace pulseengine

#endif
