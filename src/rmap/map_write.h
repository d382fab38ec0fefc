// One call that writes to a map: one mutation, or a batch of them.
#ifndef PULSE_RMAP_MAP_WRITE_H
#define PULSE_RMAP_MAP_WRITE_H

#include "engine/operation.h"
#include "pulseengine/map.h"
#include "redis/reply.h"
#include "redis/writer.h"

namespace pulseengine {

class MapWrite final : public Operation {
 public:
  MapWrite(Target target, bool atomic, bool visible)
      : Operation(PULSE_EVENT_MAP_WRITTEN, std::move(target)), atomic_(atomic), visible_(visible) {}
  ~MapWrite() override;

  // Adds a mutation `what` of `arguments` arguments, which follow with add().
  void begin(std::string_view what, size_t arguments);
  void add(std::string_view argument);
  void add(int64_t number);

  bool atomic() const { return atomic_; }    // all of it or nothing
  bool visible() const { return visible_; }  // completes when the replica shows it
  size_t mutations() const { return mutations_; }
  size_t arguments() const { return sizes_.size(); }
  size_t bytes() const { return text_.size() + 16 * sizes_.size(); }
  // Notes that a mutation publishes so many bytes of keys and values.
  void publishes(size_t bytes) { published_ += bytes + kMessageBytes; }
  size_t published() const { return published_; }
  void format(CommandWriter& writer) const;

  // The results, as the script returned them; false for another shape.  *revision gets the highest.
  bool take_results(Reply& reply, uint64_t* revision);
  // The error of a single mutation that was refused.
  const Error& refusal() const { return refusal_; }
  // Hands result `index` over: its value belongs to the receiver.
  pulse_map_result release_result(size_t index);

  bool next_event(pulse_event* event) override;

 private:
  bool take_result(Reply& reply, uint64_t* revision);

  const bool atomic_, visible_;
  // Of a message, and of what the server keeps with it.
  static constexpr size_t kMessageBytes = 128;
  size_t mutations_ = 0;
  size_t published_ = 0;  // as far as it is known before the script runs
  Vector<bool> numeric_;  // of each mutation: its value is a number
  String text_;           // all arguments, one behind the other
  Vector<uint32_t> sizes_;
  Vector<pulse_map_result> map_results_;
  Error refusal_;
};

}  // namespace pulseengine

#endif
