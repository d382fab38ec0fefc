// The reference-counted, immutable byte string behind pulse_bytes.
#ifndef PULSE_BASE_BYTES_H
#define PULSE_BASE_BYTES_H

#include <string_view>

#include "base/ref.h"
#include "base/slab.h"

namespace pulseengine {

// Where the bytes live is the business of derived classes.
class Bytes : public RefCounted, private LiveObject {
 public:
  // A copy.
  static Ref<Bytes> copy(std::string_view data);
  // Memory of somebody else; `destroy` runs with the last reference.
  static Ref<Bytes> borrow(std::string_view data, void* user_data, void (*destroy)(void*));
  // A part of a slab.
  static Ref<Bytes> part_of(const Ref<Slab>& slab, std::string_view data);

  std::string_view view() const noexcept { return view_; }

 protected:
  explicit Bytes(std::string_view view, uint32_t extra = 0) noexcept : extra_(extra), view_(view) {}
  ~Bytes() override = default;

  // For derived classes: it fills the hole between the count and the view.
  const uint32_t extra_;

 private:
  const std::string_view view_;
};

}  // namespace pulseengine

#endif
