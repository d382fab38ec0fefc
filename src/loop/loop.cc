#include "loop/loop.h"

#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <uv.h>

namespace pulseengine {

static_assert(UV_VERSION_MAJOR == 1 && UV_VERSION_MINOR >= 44,
              "the manual driver needs libuv 1.44: older ones do not tell the host of new watches");

struct Loop::Handles : Allocated {
  Loop* loop;
  LoopClient* client;
  uv_loop_t uv;
  uv_async_t wake;
  uv_prepare_t prepare;
  uv_check_t check;
  uv_idle_t awake;  // while it is active the loop does not wait
};

namespace {

template <class Handle>
uv_handle_t* as_handle(Handle* handle) {
  return reinterpret_cast<uv_handle_t*>(handle);
}

}  // namespace

Error Loop::open(LoopClient* client) {
  auto handles = make_owned<Handles>();
  int rc = uv_loop_init(&handles->uv);
  if (rc != 0)
    return Error::make(PULSE_ERR_INTERNAL, 0, "cannot make an event loop: {}", uv_strerror(rc));
  handles->loop = this;
  handles->client = client;
  rc = uv_async_init(&handles->uv, &handles->wake, [](uv_async_t*) {});
  if (rc != 0) {
    uv_loop_close(&handles->uv);
    return Error::make(PULSE_ERR_INTERNAL, 0, "cannot make a wake-up: {}", uv_strerror(rc));
  }
  uv_prepare_init(&handles->uv, &handles->prepare);
  uv_check_init(&handles->uv, &handles->check);
  uv_idle_init(&handles->uv, &handles->awake);
  handles->prepare.data = handles->check.data = handles.get();
  uv_prepare_start(&handles->prepare,
                   [](uv_prepare_t* p) { static_cast<Handles*>(p->data)->loop->before_wait(); });
  uv_check_start(&handles->check,
                 [](uv_check_t* c) { static_cast<Handles*>(c->data)->loop->after_wait(); });
  handles_ = handles.release();
  uv_ = &handles_->uv;
  std::lock_guard<std::mutex> lock(wake_mutex_);
  can_wake_ = true;
  return {};
}

Loop::~Loop() { close(); }

void Loop::close() noexcept {
  if (handles_ == nullptr) return;
  {
    std::lock_guard<std::mutex> lock(wake_mutex_);
    can_wake_ = false;
  }
  uv_prepare_stop(&handles_->prepare);
  uv_check_stop(&handles_->check);
  uv_close(as_handle(&handles_->wake), nullptr);
  uv_close(as_handle(&handles_->prepare), nullptr);
  uv_close(as_handle(&handles_->check), nullptr);
  uv_close(as_handle(&handles_->awake), nullptr);
  while (uv_run(uv_, UV_RUN_DEFAULT) != 0) {
  }
  uv_loop_close(uv_);
  delete handles_;
  handles_ = nullptr;
  uv_ = nullptr;
}

// Whoever wakes the loop sets waking_ and then looks at asleep_; the loop does both the other way
// round: one of them sees the other.  It takes waking_ back with an exchange, which makes it see
// what was done before it was set.
void Loop::before_wait() noexcept {
  waking_.exchange(false);
  handles_->client->turn();
  asleep_.store(true);
  if (!waking_.load()) return;
  asleep_.store(false);
  uv_idle_start(&handles_->awake, [](uv_idle_t*) {});
}

void Loop::after_wait() noexcept {
  asleep_.store(false);
  uv_idle_stop(&handles_->awake);
  waking_.exchange(false);
  handles_->client->turn();
}

// Whoever runs it next looks at the descriptor.
void Loop::left() noexcept {
  asleep_.store(true);
  if (waking_.load()) interrupt();
}

void Loop::interrupt() noexcept {
  std::lock_guard<std::mutex> lock(wake_mutex_);
  if (can_wake_) uv_async_send(&handles_->wake);
}

void Loop::run() noexcept {
  uv_run(uv_, UV_RUN_DEFAULT);
  left();
}
void Loop::run_nowait() noexcept {
  uv_run(uv_, UV_RUN_NOWAIT);
  left();
}
void Loop::run_wait() noexcept {
  uv_run(uv_, UV_RUN_ONCE);
  left();
}
void Loop::stop() noexcept { uv_stop(uv_); }

void Loop::wake() noexcept {
  if (!waking_.exchange(true) && asleep_.load()) interrupt();
}

int Loop::backend_fd() const noexcept { return uv_backend_fd(uv_); }

int64_t Loop::backend_timeout_ms() noexcept {
  // libuv counts from the time it has cached; the host may have slept since.
  uv_update_time(uv_);
  return uv_backend_timeout(uv_);
}

// --- Timer ---------------------------------------------------------------

struct Timer::Handle : Allocated {
  uv_timer_t uv;
  Callback callback;
  void* owner;
};

void Timer::open(Loop& loop, Callback callback, void* owner) {
  reset();
  auto handle = make_owned<Handle>();
  handle->callback = callback;
  handle->owner = owner;
  uv_timer_init(loop.uv(), &handle->uv);
  handle->uv.data = handle.get();
  handle_ = handle.release();
}

void Timer::start(int64_t delay_ms) noexcept {
  // A timer counts from the loop's cached time, which may be long ago when callbacks were slow.
  uv_update_time(handle_->uv.loop);
  uv_timer_start(
      &handle_->uv,
      [](uv_timer_t* t) {
        auto* handle = static_cast<Handle*>(t->data);
        if (handle->callback != nullptr) handle->callback(handle->owner);
      },
      static_cast<uint64_t>(delay_ms < 0 ? 0 : delay_ms), 0);
}

void Timer::stop() noexcept {
  if (handle_ != nullptr) uv_timer_stop(&handle_->uv);
}

bool Timer::active() const noexcept {
  return handle_ != nullptr &&
         uv_is_active(reinterpret_cast<const uv_handle_t*>(&handle_->uv)) != 0;
}

void Timer::reset() noexcept {
  if (handle_ == nullptr) return;
  handle_->callback = nullptr;
  uv_close(as_handle(&handle_->uv), [](uv_handle_t* h) { delete static_cast<Handle*>(h->data); });
  handle_ = nullptr;
}

// --- Watch ---------------------------------------------------------------

struct Watch::Handle : Allocated {
  uv_poll_t uv;
  Watch* watch;
  Callback callback;
  void* owner;
};

Error Watch::open(Loop& loop, int fd, Callback callback, void* owner) {
  reset();
  auto handle = make_owned<Handle>();
  handle->watch = this;
  handle->callback = callback;
  handle->owner = owner;
  int rc = uv_poll_init(loop.uv(), &handle->uv, fd);
  if (rc != 0)
    return Error::make(PULSE_ERR_INTERNAL, 0, "cannot watch a descriptor: {}", uv_strerror(rc));
  handle->uv.data = handle.get();
  handle_ = handle.release();
  return {};
}

void Watch::start(int events) noexcept {
  if (handle_ == nullptr || events == events_) return;
  events_ = events;
  if (events == 0) {
    uv_poll_stop(&handle_->uv);
    return;
  }
  int mask =
      ((events & kReadable) != 0 ? UV_READABLE : 0) | ((events & kWritable) != 0 ? UV_WRITABLE : 0);
  uv_poll_start(&handle_->uv, mask, [](uv_poll_t* p, int status, int ready) {
    auto* handle = static_cast<Handle*>(p->data);
    if (handle->callback == nullptr) return;
    // With an error condition libuv stops watching; the owner may still find something to read.
    if (status != 0) handle->watch->events_ = 0;
    int events =
        ((ready & UV_READABLE) != 0 ? kReadable : 0) | ((ready & UV_WRITABLE) != 0 ? kWritable : 0);
    handle->callback(handle->owner, status, events);
  });
}

void Watch::reset() noexcept {
  if (handle_ == nullptr) return;
  handle_->callback = nullptr;
  // Stopped at once, so that the descriptor may be closed right after this.
  uv_poll_stop(&handle_->uv);
  uv_close(as_handle(&handle_->uv), [](uv_handle_t* h) { delete static_cast<Handle*>(h->data); });
  handle_ = nullptr;
  events_ = 0;
}

// --- Resolver --------------------------------------------------------------

struct Resolver::Request : Allocated {
  uv_getaddrinfo_t uv;
  Callback callback;
  Resolver* resolver;
  void* owner;
};

Error Resolver::start(Loop& loop, const char* host, const char* port, Callback callback,
                      void* owner) {
  reset();
  auto request = make_owned<Request>();
  request->callback = callback;
  request->resolver = this;
  request->owner = owner;
  request->uv.data = request.get();
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_ADDRCONFIG;
  int rc = uv_getaddrinfo(
      loop.uv(), &request->uv,
      [](uv_getaddrinfo_t* r, int status, addrinfo* result) {
        Owned<Request> done(static_cast<Request*>(r->data));
        if (done->callback != nullptr) {
          done->resolver->request_ = nullptr;
          done->callback(done->owner, status == 0 ? nullptr : uv_strerror(status), result);
        }
        uv_freeaddrinfo(result);
      },
      host, port, &hints);
  if (rc != 0)
    return Error::make(PULSE_ERR_RESOLVE, PULSE_ERROR_RETRIABLE, "{}: {}", host, uv_strerror(rc));
  request_ = request.release();
  return {};
}

void Resolver::reset() noexcept {
  if (request_ == nullptr) return;
  request_->callback = nullptr;
  uv_cancel(reinterpret_cast<uv_req_t*>(&request_->uv));
  request_ = nullptr;
}

// --- Thread ----------------------------------------------------------------

namespace {
struct ThreadStart {
  Thread::Main main;
  void* argument;
};
}  // namespace

Error Thread::start(Main main, void* argument) {
  auto* start = static_cast<ThreadStart*>(allocate(sizeof(ThreadStart)));
  *start = {main, argument};
  // The new thread inherits the mask: signals are the host's business.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t id;
  int rc = pthread_create(
      &id, nullptr,
      [](void* p) -> void* {
        ThreadStart start = *static_cast<ThreadStart*>(p);
        release(p);
        start.main(start.argument);
        return nullptr;
      },
      start);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (rc != 0) {
    release(start);
    return Error::system(PULSE_ERR_NO_MEMORY, "cannot start a thread", rc);
  }
  static_assert(sizeof id_ >= sizeof id, "pthread_t is an integer on Linux");
  id_ = id;
  started_ = true;
  return {};
}

void Thread::join() noexcept {
  if (!started_) return;
  pthread_join(id_, nullptr);
  started_ = false;
}

void Thread::detach() noexcept {
  if (!started_) return;
  pthread_detach(id_);
  started_ = false;
}

}  // namespace pulseengine
