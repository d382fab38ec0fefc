/* An engine of the manual driver in the host's own libuv loop.
 *
 *   pulse_uv hook;
 *   pulse_uv_attach(&hook, engine, loop, NULL, NULL);
 *   uv_run(loop, UV_RUN_DEFAULT);
 *
 * From then on the loop runs the engine whenever it has something to do, and
 * inline callbacks come on the thread of the loop.  The engine never blocks the
 * loop, and hardly wakes it while it is idle.  Calls may be made from any
 * thread as always.
 *
 * This header is not part of pulse.h: it includes <uv.h>, so the host needs
 * libuv itself, 1.44 or newer (pkg-config libuv), and in strict C modes
 * (-std=c11) libuv needs _POSIX_C_SOURCE=200809L.  The library exports nothing
 * for it: all of it is compiled into the host.
 *
 * Both functions belong to the thread that runs the loop.  Any number of engines may be on one
 * loop, each with a hook of its own; an engine is on one loop at a time, and
 * nobody else calls pulse_engine_run_once meanwhile.  Blocking calls (..._wait) on the loop's
 * thread work outside of inline callbacks, and hold up the loop as any blocking call does.
 *
 * An attached engine keeps the loop alive, as a handle of libuv's does.  It ends
 * when the engine has closed (the hook detaches itself) or by
 * pulse_uv_detach.  An orderly end: pulse_engine_close, and let the loop run on.
 */
#ifndef PULSEENGINE_UV_H
#define PULSEENGINE_UV_H

#include <fcntl.h>
#include <pulseengine/engine.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

PULSE_BEGIN_DECLS

/* Called once, on the loop's thread, when libuv has let go of the hook. */
typedef void (*pulse_uv_closed_fn)(void *user_data);

/* Owned by the host, not to be moved, and alive until `closed` was called. */
typedef struct pulse_uv {
  /* The host may set these after attaching: what one turn of the loop gives to the engine at most,
   * as in pulse_engine_run_once.  0 = no limit. */
  size_t max_events;
  int64_t budget_us;
  /* The rest is not for the host. */
  pulse_engine *engine; /* referenced while attached, NULL before and after */
  pulse_uv_closed_fn closed;
  void *user_data;
  uv_poll_t poll;
  uv_timer_t timer;
  uv_idle_t idle;
  uv_prepare_t prepare;
  int32_t engine_fd; /* the descriptor that the engine named last */
  int fd;            /* a duplicate of it: the engine may close its own at any time */
  int handles;       /* that libuv still holds */
  int detaching;
  int busy; /* another thread runs the engine: only the timer is armed */
} pulse_uv;

static inline void pulse_uv_detach(pulse_uv *hook) PULSE_NOEXCEPT;

/* --- not for the host ------------------------------------------------------ */

static inline void pulse_uv_on_readable_(uv_poll_t *poll, int status, int events);
static inline void pulse_uv_on_timer_(uv_timer_t *timer);
static inline void pulse_uv_on_idle_(uv_idle_t *idle);

/* Asks the engine anew what to wait for. */
static inline void pulse_uv_arm_(pulse_uv *hook) {
  int32_t engine_fd = pulse_engine_poll_fd(hook->engine);
  int64_t timeout_ms = pulse_engine_poll_timeout_ms(hook->engine);
  if (engine_fd < 0) { /* it has closed */
    pulse_uv_detach(hook);
    return;
  }
  if (engine_fd != hook->engine_fd) {
    /* libuv must have let go of what the duplicate was before. */
    uv_poll_stop(&hook->poll);
    dup2(engine_fd, hook->fd);
    fcntl(hook->fd, F_SETFD, FD_CLOEXEC);
    hook->engine_fd = engine_fd;
  }
  if (!uv_is_active((uv_handle_t *)&hook->poll)) {
    uv_poll_start(&hook->poll, UV_READABLE, pulse_uv_on_readable_);
  }
  if (timeout_ms > 0) {
    /* Timers count from the loop's cached time, which is old after slow callbacks. */
    uv_update_time(hook->timer.loop);
    uv_timer_start(&hook->timer, pulse_uv_on_timer_, (uint64_t)timeout_ms, 0);
  } else {
    uv_timer_stop(&hook->timer);
  }
  /* At once means in the next turn: a timer would starve the rest of the loop. */
  if (timeout_ms == 0) {
    uv_idle_start(&hook->idle, pulse_uv_on_idle_);
  } else {
    uv_idle_stop(&hook->idle);
  }
}

static inline void pulse_uv_run_(pulse_uv *hook) {
  int64_t ran = pulse_engine_run_once(hook->engine, hook->max_events, hook->budget_us);
  if (hook->detaching) return; /* in one of its callbacks */
  hook->busy = ran == PULSE_ERR_BUSY;
  if (hook->busy) {
    /* The descriptor may stay readable until that thread is done: look again a little later. */
    uv_poll_stop(&hook->poll);
    uv_idle_stop(&hook->idle);
    uv_timer_start(&hook->timer, pulse_uv_on_timer_, 1, 0);
  } else {
    pulse_uv_arm_(hook);
  }
}

static inline void pulse_uv_on_readable_(uv_poll_t *poll, int status, int events) {
  (void)status; /* after an error libuv has stopped, and arming starts it again */
  (void)events;
  pulse_uv_run_((pulse_uv *)poll->data);
}

static inline void pulse_uv_on_timer_(uv_timer_t *timer) { pulse_uv_run_((pulse_uv *)timer->data); }

static inline void pulse_uv_on_idle_(uv_idle_t *idle) { pulse_uv_run_((pulse_uv *)idle->data); }

/* Before each wait: what the host has called meanwhile may have changed the time-out. */
static inline void pulse_uv_on_prepare_(uv_prepare_t *prepare) {
  pulse_uv *hook = (pulse_uv *)prepare->data;
  if (!hook->busy) pulse_uv_arm_(hook);
}

static inline void pulse_uv_on_close_(uv_handle_t *handle) {
  pulse_uv *hook = (pulse_uv *)handle->data;
  if (--hook->handles > 0) return;
  close(hook->fd);
  pulse_engine_unref(hook->engine);
  hook->engine = NULL;
  if (hook->closed != NULL) hook->closed(hook->user_data); /* may free the hook */
}

/* --- for the host ---------------------------------------------------------- */

/* Lets `loop` run the engine, and takes a reference of it.  `hook` need not be initialised.
 * `closed` (may be NULL) is called once with `user_data` after the hook was detached, by the
 * host or because the engine has closed; then the memory of the hook may be freed or used anew.
 * PULSE_ERR_INVALID for an argument that is NULL and for a thread engine, PULSE_ERR_CLOSED,
 * PULSE_ERR_FORKED, PULSE_ERR_NO_MEMORY when there is no descriptor left; `closed` is not called
 * then.  Since 0.1. */
static inline pulse_status pulse_uv_attach(pulse_uv *hook, pulse_engine *engine, uv_loop_t *loop,
                                           pulse_uv_closed_fn closed,
                                           void *user_data) PULSE_NOEXCEPT {
  if (hook == NULL || engine == NULL || loop == NULL) return PULSE_ERR_INVALID;
  memset(hook, 0, sizeof *hook);
  hook->engine_fd = pulse_engine_poll_fd(engine);
  /* Without a descriptor there is nothing to run, and this says why. */
  if (hook->engine_fd < 0) return (pulse_status)pulse_engine_run_once(engine, 0, 0);
  hook->fd = fcntl(hook->engine_fd, F_DUPFD_CLOEXEC, 0);
  if (hook->fd < 0) return PULSE_ERR_NO_MEMORY;
  if (uv_poll_init(loop, &hook->poll, hook->fd) != 0) {
    close(hook->fd);
    return PULSE_ERR_NO_MEMORY;
  }
  uv_timer_init(loop, &hook->timer);
  uv_idle_init(loop, &hook->idle);
  uv_prepare_init(loop, &hook->prepare);
  hook->poll.data = hook->timer.data = hook->idle.data = hook->prepare.data = hook;
  hook->handles = 4;
  hook->engine = pulse_engine_ref(engine);
  hook->closed = closed;
  hook->user_data = user_data;
  uv_prepare_start(&hook->prepare, pulse_uv_on_prepare_);
  pulse_uv_arm_(hook);
  return PULSE_OK;
}

/* Takes the engine off the loop.  It stays open, and may be attached again or run in another way;
 * the reference is given back just before `closed`, in a later turn of the loop.  Also from the
 * engine's callbacks.  No effect when it is detached already, or NULL.  Since 0.1. */
static inline void pulse_uv_detach(pulse_uv *hook) PULSE_NOEXCEPT {
  if (hook == NULL || hook->engine == NULL || hook->detaching) return;
  hook->detaching = 1;
  uv_close((uv_handle_t *)&hook->poll, pulse_uv_on_close_);
  uv_close((uv_handle_t *)&hook->timer, pulse_uv_on_close_);
  uv_close((uv_handle_t *)&hook->idle, pulse_uv_on_close_);
  uv_close((uv_handle_t *)&hook->prepare, pulse_uv_on_close_);
}

PULSE_END_DECLS

#endif
