#include "rmap/map_version.h"

namespace pulseengine {

Ref<MapVersion> MapVersion::empty(uint64_t revision) {
  return Ref<MapVersion>::adopt(new MapVersion(nullptr, revision, 0, 0));
}

MapVersion::~MapVersion() {
  if (root_ != nullptr) map_node::unref(root_, 0);
}

}  // namespace pulseengine
