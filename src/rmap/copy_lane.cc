#include "rmap/copy_lane.h"

namespace pulseengine {

CopyLane& CopyLane::of(Engine& engine) {
  Owned<EngineAttachment>& attachment = engine.attachment(Engine::kCopyLane);
  if (!attachment) attachment = make_owned<CopyLane>(engine);
  return static_cast<CopyLane&>(*attachment);
}

CopyLane::~CopyLane() {
  if (connection_) connection_->close(Error(PULSE_ERR_CLOSED, "the engine is closed"));
}

void CopyLane::enter(const String& key) {
  if (!connection_) {
    connection_ = engine_.router().new_read_connection(key, nullptr);
    connection_->open();
  }
  maps_++;
}

// The connection may be in the midst of a callback.
void CopyLane::leave() noexcept {
  if (--maps_ == 0) engine_.want_turn();
}

void CopyLane::flush() noexcept {
  if (maps_ > 0 || !connection_) return;
  connection_->close(Error(PULSE_ERR_CLOSED, "there are no maps any more"));
  connection_.reset();
}

}  // namespace pulseengine
