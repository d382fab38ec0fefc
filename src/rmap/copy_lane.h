// The connection on which maps fetch their copies, so that a large one holds up no other command.
#ifndef PULSE_RMAP_COPY_LANE_H
#define PULSE_RMAP_COPY_LANE_H

#include "engine/engine.h"

namespace pulseengine {

// One per engine, with a connection while there are maps.  Loop thread.
class CopyLane final : public EngineAttachment {
 public:
  // Throws bad_alloc when it has to be made.
  static CopyLane& of(Engine& engine);

  // From enter to leave there is a connection.  enter throws bad_alloc, with no effect then.
  void enter(const String& key);
  void leave() noexcept;
  Connection& connection() { return *connection_; }

  // EngineAttachment
  void flush() noexcept override;

  explicit CopyLane(Engine& engine) : engine_(engine) {}
  ~CopyLane() override;

 private:
  Engine& engine_;
  Owned<Connection> connection_;
  size_t maps_ = 0;
};

}  // namespace pulseengine

#endif
