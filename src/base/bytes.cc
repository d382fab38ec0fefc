#include "base/bytes.h"

#include <cstring>

namespace pulseengine {
namespace {

class CopiedBytes final : public Bytes {
 public:
  static Ref<Bytes> make(std::string_view data) {
    if (data.size() > SIZE_MAX - sizeof(CopiedBytes)) throw std::bad_alloc();
    void* memory = allocate(sizeof(CopiedBytes) + data.size());
    char* copy = static_cast<char*>(memory) + sizeof(CopiedBytes);
    if (!data.empty()) std::memcpy(copy, data.data(), data.size());
    return Ref<CopiedBytes>::adopt(new (memory) CopiedBytes(std::string_view(copy, data.size())));
  }

 private:
  using Bytes::Bytes;
};

class BorrowedBytes final : public Bytes {
 public:
  BorrowedBytes(std::string_view data, void* user_data, void (*destroy)(void*)) noexcept
      : Bytes(data), user_data_(user_data), destroy_(destroy) {}
  ~BorrowedBytes() override {
    if (destroy_ != nullptr) destroy_(user_data_);
  }

 private:
  void* user_data_;
  void (*destroy_)(void*);
};

class SlabBytes final : public Bytes {
 public:
  SlabBytes(const Ref<Slab>& slab, std::string_view data) noexcept : Bytes(data), slab_(slab) {}

 private:
  Ref<Slab> slab_;
};

}  // namespace

Ref<Bytes> Bytes::copy(std::string_view data) { return CopiedBytes::make(data); }

Ref<Bytes> Bytes::borrow(std::string_view data, void* user_data, void (*destroy)(void*)) {
  return make_ref<BorrowedBytes>(data, user_data, destroy);
}

Ref<Bytes> Bytes::part_of(const Ref<Slab>& slab, std::string_view data) {
  return make_ref<SlabBytes>(slab, data);
}

}  // namespace pulseengine
