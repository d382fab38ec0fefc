// The reference-counted, immutable byte string behind pulse_bytes.
#ifndef PULSE_BASE_BYTES_H
#define PULSE_BASE_BYTES_H

#include <string_view>

#include "base/ref.h"
#include "base/slab.h"

namespace pulseengine {

class Bytes : public RefCounted {
 public:
  // A copy.
  static Ref<Bytes> copy(std::string_view data);
  // Memory of somebody else; `destroy` runs with the last reference.
  static Ref<Bytes> borrow(std::string_view data, void* user_data, void (*destroy)(void*));
  // A part of a slab.
  static Ref<Bytes> part_of(const Ref<Slab>& slab, std::string_view data);

  std::string_view view() const { return view_; }

  // Public for make_ref only.
  Bytes() = default;
  ~Bytes() override;

 private:
  LiveObject live_;
  std::string_view view_;
  void* owned_ = nullptr;  // memory of our own
  Ref<Slab> slab_;
  void* user_data_ = nullptr;
  void (*destroy_)(void*) = nullptr;
};

}  // namespace pulseengine

#endif
