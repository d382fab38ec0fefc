// The engine's memory: every allocation of its own goes through the functions
// that pulse_library_set_allocator installed.
//
// Containers are the standard ones with an allocator (String, Vector, ...);
// classes derive from Allocated, whose operator new and delete do the same.
// Global operator new is not replaced: libstdc++'s own code would mix with it.
#ifndef PULSE_BASE_ALLOC_H
#define PULSE_BASE_ALLOC_H

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace pulseengine {

struct AllocatorHooks {
  void* (*allocate)(void* context, size_t bytes);
  void* (*reallocate)(void* context, void* memory, size_t bytes);
  void (*release)(void* context, void* memory);
  void* context;
};

// A base or member of the classes behind the host's objects: while one lives, the hooks stay.
class LiveObject {
 public:
  LiveObject() noexcept;
  LiveObject(const LiveObject&) = delete;
  LiveObject& operator=(const LiveObject&) = delete;
  ~LiveObject();
};

// Installs hooks; all null restores malloc.  False while an object, or memory made through
// custom hooks, is alive.
bool set_allocator_hooks(const AllocatorHooks& wanted) noexcept;

// Throws std::bad_alloc; never returns null.
void* allocate(size_t bytes);
// Returns null when there is no memory.
void* try_allocate(size_t bytes) noexcept;
// Throws std::bad_alloc and leaves `memory` as it was.
void* reallocate(void* memory, size_t bytes);
// Null is allowed.
void release(void* memory) noexcept;

// Base of all classes that live on the heap.
struct Allocated {
  static void* operator new(size_t bytes) { return allocate(bytes); }
  static void* operator new(size_t bytes, const std::nothrow_t&) noexcept {
    return try_allocate(bytes);
  }
  static void* operator new(size_t, void* place) noexcept { return place; }
  static void operator delete(void* memory) noexcept { release(memory); }
  static void operator delete(void* memory, const std::nothrow_t&) noexcept { release(memory); }
  static void operator delete(void*, void*) noexcept {}
};

template <class T>
struct Allocator {
  using value_type = T;
  Allocator() = default;
  template <class U>
  Allocator(const Allocator<U>&) noexcept {}  // NOLINT: implicit as the standard requires
  T* allocate(size_t n) {
    if (n > SIZE_MAX / sizeof(T)) throw std::bad_alloc();
    return static_cast<T*>(pulseengine::allocate(n * sizeof(T)));
  }
  void deallocate(T* p, size_t) noexcept { release(p); }
  template <class U>
  bool operator==(const Allocator<U>&) const noexcept {
    return true;
  }
  template <class U>
  bool operator!=(const Allocator<U>&) const noexcept {
    return false;
  }
};

using String = std::basic_string<char, std::char_traits<char>, Allocator<char>>;

template <class T>
using Vector = std::vector<T, Allocator<T>>;
template <class T>
using Deque = std::deque<T, Allocator<T>>;
template <class K, class V, class L = std::less<>>
using Map = std::map<K, V, L, Allocator<std::pair<const K, V>>>;
template <class K, class V, class H = std::hash<K>, class E = std::equal_to<>>
using HashMap = std::unordered_map<K, V, H, E, Allocator<std::pair<const K, V>>>;

// Room for one more, so that the push_back to come cannot fail; as many at a time as that takes.
template <class T>
void reserve_one_more(Vector<T>& vector) {
  if (vector.size() == vector.capacity()) vector.reserve(2 * vector.size() + 4);
}

template <class T>
using Owned = std::unique_ptr<T>;

template <class T, class... Args>
Owned<T> make_owned(Args&&... args) {
  static_assert(std::is_base_of_v<Allocated, T>, "heap classes derive from Allocated");
  return Owned<T>(new T(std::forward<Args>(args)...));
}

}  // namespace pulseengine

namespace std {
template <>
struct hash<pulseengine::String> {
  size_t operator()(const pulseengine::String& s) const noexcept {
    return hash<string_view>()(string_view(s.data(), s.size()));
  }
};
}  // namespace std

#endif
