#include "base/bytes.h"

#include <cstring>

namespace pulseengine {

Ref<Bytes> Bytes::copy(std::string_view data) {
  Ref<Bytes> bytes = make_ref<Bytes>();
  bytes->owned_ = allocate(data.size());
  if (!data.empty()) std::memcpy(bytes->owned_, data.data(), data.size());
  bytes->view_ = {static_cast<const char*>(bytes->owned_), data.size()};
  return bytes;
}

Ref<Bytes> Bytes::borrow(std::string_view data, void* user_data, void (*destroy)(void*)) {
  Ref<Bytes> bytes = make_ref<Bytes>();
  bytes->view_ = data;
  bytes->user_data_ = user_data;
  bytes->destroy_ = destroy;
  return bytes;
}

Ref<Bytes> Bytes::part_of(const Ref<Slab>& slab, std::string_view data) {
  Ref<Bytes> bytes = make_ref<Bytes>();
  bytes->view_ = data;
  bytes->slab_ = slab;
  return bytes;
}

Bytes::~Bytes() {
  release(owned_);
  if (destroy_ != nullptr) destroy_(user_data_);
}

}  // namespace pulseengine
