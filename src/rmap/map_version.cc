#include "rmap/map_version.h"

namespace pulseengine {

Ref<MapVersion> MapVersion::empty(uint64_t revision, Ref<MapReaper> reaper) {
  return Ref<MapVersion>::adopt(new MapVersion(nullptr, revision, 0, 0, std::move(reaper)));
}

MapVersion::~MapVersion() { MapReaper::drop(reaper_.get(), root_); }

}  // namespace pulseengine
