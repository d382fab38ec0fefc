// Intrusive reference counting.
#ifndef PULSE_BASE_REF_H
#define PULSE_BASE_REF_H

#include <atomic>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "base/alloc.h"

namespace pulseengine {

// A heap object with a count that starts at 1.  The last unref deletes it, on
// whatever thread that is.
class RefCounted : public Allocated {
 public:
  RefCounted(const RefCounted&) = delete;
  RefCounted& operator=(const RefCounted&) = delete;

  void ref() noexcept { count_.fetch_add(1, std::memory_order_relaxed); }
  // The same while no other thread knows the object.
  void ref_unshared() noexcept {
    count_.store(count_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }
  // Nobody else holds a reference now.
  bool sole() const noexcept { return count_.load(std::memory_order_acquire) == 1; }
  void unref() noexcept {
    // Whoever holds the last reference need not pay for an exclusive access.
    if (count_.load(std::memory_order_acquire) == 1 ||
        count_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      delete this;
    }
  }

 protected:
  RefCounted() = default;
  virtual ~RefCounted() = default;

 private:
  std::atomic<uint32_t> count_{1};
};

// A counted pointer.  adopt() takes over a reference, share() adds one.
template <class T>
class Ref {
 public:
  Ref() = default;
  Ref(std::nullptr_t) {}  // NOLINT: as any pointer
  Ref(const Ref& other) noexcept : p_(other.p_) {
    if (p_ != nullptr) p_->ref();
  }
  Ref(Ref&& other) noexcept : p_(std::exchange(other.p_, nullptr)) {}
  template <class U, class = std::enable_if_t<std::is_convertible_v<U*, T*>>>
  Ref(Ref<U> other) noexcept : p_(other.release()) {}  // NOLINT: as any pointer
  ~Ref() {
    if (p_ != nullptr) p_->unref();
  }
  Ref& operator=(Ref other) noexcept {
    std::swap(p_, other.p_);
    return *this;
  }

  static Ref adopt(T* p) noexcept {
    Ref r;
    r.p_ = p;
    return r;
  }
  static Ref share(T* p) noexcept {
    if (p != nullptr) p->ref();
    return adopt(p);
  }
  T* release() noexcept { return std::exchange(p_, nullptr); }

  T* get() const noexcept { return p_; }
  T* operator->() const noexcept { return p_; }
  T& operator*() const noexcept { return *p_; }
  explicit operator bool() const noexcept { return p_ != nullptr; }

 private:
  T* p_ = nullptr;
};

template <class T, class... Args>
Ref<T> make_ref(Args&&... args) {
  return Ref<T>::adopt(new T(std::forward<Args>(args)...));
}

}  // namespace pulseengine

#endif
