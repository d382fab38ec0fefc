#include "base/epoch.h"

#include <linux/membarrier.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"

#if defined(__SANITIZE_THREAD__)
#define PULSE_THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define PULSE_THREAD_SANITIZER 1
#endif
#endif

// Why it is right.  A reader stores its epoch (R1) and then loads the pointer (R2); the writer
// replaces the pointer (W1), takes the epoch number (W2), and then looks at the slots (W3).
//
// - A full barrier stands between R1 and R2 (an exchange, or, at W3's side, membarrier, which makes
//   each thread pass one) and one between W1 and W3.  A reader that got the old pointer is thus
//   seen by W3, or has left since.
// - Seen with an epoch after W2, it began after W2, and got the new pointer.
// - Seen as having left, or in a later guard, its store releases and W3 acquires: what it read, it
//   read before the object goes.
namespace pulseengine {
namespace epoch {

Shared shared;
__thread Slot* own_slot = nullptr;

struct Retired : Allocated {
  struct Item {
    Ref<RefCounted> object;
    uint64_t epoch;  // guards of this epoch or an earlier one may see it; 0: not known yet
  };
  Vector<Item> items;  // oldest first
  Retired* next = nullptr;
};

namespace {

// Slots are never given back, only used again.
struct Chunk {
  Slot slots[63];
  std::atomic<Chunk*> next{nullptr};
};
static_assert(sizeof(Chunk) == 4096, "a page");

Chunk first_chunk;
// Guards of threads that got no slot; while there are any, nothing is dropped.
std::atomic<uint64_t> strays{0};

pthread_once_t once = PTHREAD_ONCE_INIT;
bool has_key = false;
pthread_key_t key;  // returns a thread's slot at its end
// Until then nothing is dropped, when the kernel took its barrier away from us.
std::atomic<int64_t> distrust_until_us{0};

pthread_mutex_t orphans_lock = PTHREAD_MUTEX_INITIALIZER;
Retired* orphans = nullptr;

int membarrier(int command) { return static_cast<int>(syscall(SYS_membarrier, command, 0, 0)); }

// Sandboxes may forbid it.
bool enable_membarrier() {
#ifdef PULSE_THREAD_SANITIZER
  return false;  // it does not know of barriers from outside
#else
  return membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0 &&
         membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) == 0;
#endif
}

void at_thread_exit(void* slot) {
  own_slot = nullptr;
  return_slot(static_cast<Slot*>(slot));
}

void initialize() {
  has_key = pthread_key_create(&key, at_thread_exit) == 0;
  shared.barrier_free.store(enable_membarrier());
}

template <class F>
void for_each_slot(F f) {
  for (Chunk* chunk = &first_chunk; chunk != nullptr;
       chunk = chunk->next.load(std::memory_order_acquire)) {
    for (Slot& slot : chunk->slots) f(slot);
  }
}

// Only the thread that forked lives on.
void in_child() {
  for_each_slot([](Slot& slot) {
    if (&slot == own_slot) return;
    slot.entered.store(0);
    slot.taken.store(false);
  });
  strays.store(0);
  // Somebody may have been at work on them.
  pthread_mutex_init(&orphans_lock, nullptr);
  orphans = nullptr;
  shared.orphans.store(false);
}

const int fork_registered = pthread_atfork(nullptr, nullptr, in_child);

Slot* take_from(Chunk& chunk) {
  for (Slot& slot : chunk.slots) {
    bool taken = slot.taken.load(std::memory_order_relaxed);
    if (!taken && slot.taken.compare_exchange_strong(taken, true, std::memory_order_acquire)) {
      return &slot;
    }
  }
  return nullptr;
}

Slot* find_slot() {
  for (Chunk* chunk = &first_chunk;;) {
    Slot* slot = take_from(*chunk);
    if (slot != nullptr) return slot;
    Chunk* next = chunk->next.load(std::memory_order_acquire);
    if (next == nullptr) {
      // Not the engine's allocator: what is never given back would pin it.
      void* memory =
          mmap(nullptr, sizeof(Chunk), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (memory == MAP_FAILED) return nullptr;
      auto* more = new (memory) Chunk();
      if (chunk->next.compare_exchange_strong(next, more, std::memory_order_acq_rel)) {
        next = more;
      } else {
        munmap(memory, sizeof(Chunk));
      }
    }
    chunk = next;
  }
}

// After it, each thread's stores from before are visible, and its loads to come are new.
void pass_barriers() {
  if (!shared.barrier_free.load(std::memory_order_relaxed)) return;  // guards have their own
  if (membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) == 0 || enable_membarrier()) return;
  // Forbidden meanwhile.  Guards that still rely on it are past their first steps in far less.
  distrust_until_us.store(monotonic_us() + 1000000);
  shared.barrier_free.store(false);
}

// What was retired in an earlier epoch, nobody sees any more.
uint64_t oldest_guard() {
  if (strays.load(std::memory_order_seq_cst) != 0) return 0;
  int64_t until = distrust_until_us.load(std::memory_order_relaxed);
  if (until != 0 && monotonic_us() < until) return 0;
  uint64_t oldest = UINT64_MAX;
  for_each_slot([&](Slot& slot) {
    uint64_t entered = slot.entered.load(std::memory_order_seq_cst);
    if (entered != 0 && entered < oldest) oldest = entered;
  });
  return oldest;
}

}  // namespace

Slot* take_slot() noexcept {
  pthread_once(&once, initialize);
  Slot* slot = find_slot();
  if (slot == nullptr) return nullptr;
  slot->depth = 0;
  slot->lent = !has_key || pthread_setspecific(key, slot) != 0;
  if (!slot->lent) own_slot = slot;
  return slot;
}

void return_slot(Slot* slot) noexcept { slot->taken.store(false, std::memory_order_release); }

void enter_stray() noexcept { strays.fetch_add(1, std::memory_order_seq_cst); }
void leave_stray() noexcept {
  strays.fetch_sub(1, std::memory_order_seq_cst);
  if (shared.orphans.load(std::memory_order_relaxed)) drop_orphans();
}

// A guard that leaves and does not see the flag, is seen as having left by whoever has set it
// (without membarrier perhaps not: then the next guard that leaves, or reclaimer, comes here).
void drop_orphans() noexcept {
  Retired* dead = nullptr;
  pthread_mutex_lock(&orphans_lock);
  uint64_t oldest = oldest_guard();
  for (Retired** at = &orphans; *at != nullptr;) {
    Retired* retired = *at;
    if (retired->items.back().epoch < oldest) {
      *at = retired->next;
      retired->next = dead;
      dead = retired;
    } else {
      at = &retired->next;
    }
  }
  shared.orphans.store(orphans != nullptr);
  pthread_mutex_unlock(&orphans_lock);
  while (dead != nullptr) {
    Owned<Retired> retired(dead);
    dead = retired->next;
  }
}

}  // namespace epoch

EpochReclaimer::EpochReclaimer() : retired_(make_owned<epoch::Retired>()) {
  (void)epoch::fork_registered;
  pthread_once(&epoch::once, epoch::initialize);
}

EpochReclaimer::~EpochReclaimer() {
  reclaim();
  if (waiting() == 0) return;
  pthread_mutex_lock(&epoch::orphans_lock);
  retired_->next = epoch::orphans;
  epoch::orphans = retired_.release();
  epoch::shared.orphans.store(true);
  pthread_mutex_unlock(&epoch::orphans_lock);
  epoch::pass_barriers();
  epoch::drop_orphans();
}

void EpochReclaimer::reserve(size_t n) {
  auto& items = retired_->items;
  size_t wanted = items.size() + n;
  if (wanted > items.capacity()) items.reserve(std::max(wanted, items.capacity() * 2));
}

void EpochReclaimer::retire(Ref<RefCounted> object) {
  retired_->items.push_back({std::move(object), 0});
}

void EpochReclaimer::reclaim() noexcept {
  if (epoch::shared.orphans.load(std::memory_order_relaxed)) epoch::drop_orphans();
  auto& items = retired_->items;
  if (items.empty()) return;
  if (items.back().epoch == 0) {
    uint64_t now = epoch::shared.now.fetch_add(1, std::memory_order_seq_cst);
    for (auto item = items.rbegin(); item != items.rend() && item->epoch == 0; ++item) {
      item->epoch = now;
    }
    epoch::pass_barriers();
  }
  uint64_t oldest = epoch::oldest_guard();
  auto end = items.begin();
  while (end != items.end() && end->epoch < oldest) ++end;
  items.erase(items.begin(), end);
  // A reader that was stuck for long may have made it large.
  if (items.empty() && items.capacity() > 1024) Vector<epoch::Retired::Item>().swap(items);
}

size_t EpochReclaimer::waiting() const noexcept { return retired_->items.size(); }

}  // namespace pulseengine
