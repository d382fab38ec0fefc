// The event loop: libuv behind a small face.  The only folder that includes uv.h.
//
// All of it but Loop::wake() belongs to the thread that runs the loop.  Owners
// of timers and watches may destroy them at any time, also in their own callback: the libuv
// handle underneath lives on until libuv has let go of it.
#ifndef PULSE_LOOP_LOOP_H
#define PULSE_LOOP_LOOP_H

#include <atomic>
#include <cstdint>
#include <mutex>

#include "base/alloc.h"
#include "base/error.h"

struct addrinfo;
struct uv_loop_s;

namespace pulseengine {

// Called by the loop.  turn() runs once before and once after each wait for
// events: there the engine does the work that was gathered.
class LoopClient {
 public:
  virtual void turn() noexcept = 0;

 protected:
  ~LoopClient() = default;
};

class Loop : public Allocated {
 public:
  Loop() = default;
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  Error open(LoopClient* client);
  // Closes the loop's own handles and runs until all handles are gone.  All Timers and
  // Watches must have been destroyed.
  void close() noexcept;

  void run() noexcept;         // until stop()
  void run_nowait() noexcept;  // one turn
  void run_wait() noexcept;    // one turn, waiting for events or timers
  void stop() noexcept;        // loop thread only

  // Makes the loop turn soon.  Any thread, also while it turns; coalesced, and without a system
  // call while the loop does not wait for events.
  void wake() noexcept;

  int backend_fd() const noexcept;
  int64_t backend_timeout_ms() noexcept;

  struct uv_loop_s* uv() const noexcept {
    return uv_;
  }

 private:
  struct Handles;
  void before_wait() noexcept;
  void after_wait() noexcept;
  void left() noexcept;
  void interrupt() noexcept;

  struct uv_loop_s* uv_ = nullptr;
  Handles* handles_ = nullptr;
  std::mutex wake_mutex_;  // a wake-up in another thread must not meet the end of the loop
  bool can_wake_ = false;  // guarded by wake_mutex_
  std::atomic<bool> waking_{false};  // asked for a turn that has not begun
  std::atomic<bool> asleep_{true};   // it waits for events, or nobody runs it: tell the descriptor
};

// A timer.  One shot: start() again for more.
class Timer {
 public:
  using Callback = void (*)(void* owner);
  Timer() = default;
  ~Timer() { reset(); }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  void open(Loop& loop, Callback callback, void* owner);  // throws bad_alloc
  void start(int64_t delay_ms) noexcept;                  // restarts a running one
  void stop() noexcept;
  void reset() noexcept;  // closes
  bool active() const noexcept;

 private:
  struct Handle;
  Handle* handle_ = nullptr;
};

// Readiness of a descriptor that the owner closes itself, after reset().
class Watch {
 public:
  enum : int { kReadable = 1, kWritable = 2 };
  // `events`: kReadable | kWritable; `error` negative libuv code or 0.  With an error the watch has
  // stopped: start() again to go on.
  using Callback = void (*)(void* owner, int error, int events);
  Watch() = default;
  ~Watch() { reset(); }
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  Error open(Loop& loop, int fd, Callback callback, void* owner);  // throws bad_alloc
  void start(int events) noexcept;                                 // replaces the set; 0 stops
  void reset() noexcept;

 private:
  struct Handle;
  Handle* handle_ = nullptr;
  int events_ = 0;
};

// A host name look-up in libuv's thread pool.
class Resolver {
 public:
  // `addresses` as from getaddrinfo; null with a libuv error text.
  using Callback = void (*)(void* owner, const char* error, const struct addrinfo* addresses);
  Resolver() = default;
  ~Resolver() { reset(); }
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  Error start(Loop& loop, const char* host, const char* port, Callback callback, void* owner);
  void reset() noexcept;  // forgets a look-up under way

 private:
  struct Request;
  Request* request_ = nullptr;
};

// Threads and keys of the platform, as libuv has them.
class Thread {
 public:
  using Main = void (*)(void* argument);
  Error start(Main main, void* argument);  // all signals blocked in the new thread
  void join() noexcept;
  void detach() noexcept;
  bool joinable() const noexcept { return started_; }

 private:
  unsigned long id_ = 0;
  bool started_ = false;
};

}  // namespace pulseengine

#endif
