/* Queues: events taken by the host, on a thread of its choice, in batches.
 *
 * A forked child has no use for its parent's queues: calls, and targets that name
 * them, answer PULSE_ERR_FORKED, and pulse_queue_unref leaves them as they are.
 */
#ifndef PULSEENGINE_QUEUE_H
#define PULSEENGINE_QUEUE_H

#include <pulseengine/event.h>

PULSE_BEGIN_DECLS

/* A queue.  It belongs to no engine: targets of several may name it.  The
 * caller owns one reference.  Since 0.1. */
PULSE_API pulse_status pulse_queue_new(pulse_queue **queue, pulse_error *error) PULSE_NOEXCEPT;

/* Takes up to `max` polled events into the array `events`, whose elements are
 * `event_size` bytes apart (sizeof(pulse_event) of the caller's header), and
 * returns their number, or a negative status.  Waits up to `timeout_ms` for
 * the first one: 0 = not at all, -1 = for ever; 0 is returned when none came.
 * Views of the batch before end here.  Dispatched callbacks (targets with a
 * callback) are left for pulse_queue_dispatch.
 * PULSE_ERR_CLOSED once the queue is closed and empty; PULSE_ERR_BUSY when
 * another thread is polling; PULSE_ERR_INVALID for max 0 or a small
 * event_size.  Any thread.  When it waits, it does not drive a manual engine:
 * run that first.  Since 0.1. */
PULSE_API int64_t pulse_queue_poll(pulse_queue *queue, pulse_event *events, size_t event_size,
                                   size_t max, int64_t timeout_ms) PULSE_NOEXCEPT;

/* Runs up to `max` dispatched callbacks on this thread (0 = all that wait now)
 * and returns their number, or a negative status as pulse_queue_poll.  The
 * callbacks may block and may call anything.  Since 0.1. */
PULSE_API int64_t pulse_queue_dispatch(pulse_queue *queue, size_t max,
                                       int64_t timeout_ms) PULSE_NOEXCEPT;

/* A descriptor that is readable while the queue has something to take; for
 * poll, epoll, kqueue.  It belongs to the queue: do not read or close it.  Made
 * at the first call; -1 when none can be had.  Since 0.1. */
PULSE_API int32_t pulse_queue_fd(pulse_queue *queue) PULSE_NOEXCEPT;

/* Calls `wakeup(user_data)` whenever the queue goes from empty to not empty,
 * from the thread that brought the event: it must not block nor call the
 * queue.  NULL removes it.  After the call returns the old one is not called
 * any more, and its destroy has run.  Since 0.1. */
PULSE_API pulse_status pulse_queue_set_wakeup(pulse_queue *queue, void (*wakeup)(void *user_data),
                                              void *user_data,
                                              pulse_destroy_fn destroy) PULSE_NOEXCEPT;

/* Events that wait now, dispatched and polled together; any thread.  Since 0.1. */
PULSE_API size_t pulse_queue_size(pulse_queue *queue) PULSE_NOEXCEPT;

/* No more events are accepted (they are dropped, as nobody is left to take
 * them; sinks keep theirs pending in Redis); what waits can still be taken.
 * Waiting calls wake up.  Idempotent, any thread.  Since 0.1. */
PULSE_API pulse_status pulse_queue_close(pulse_queue *queue) PULSE_NOEXCEPT;

/* One more reference; returns `queue`.  NULL-safe, any thread.  Since 0.1. */
PULSE_API pulse_queue *pulse_queue_ref(pulse_queue *queue) PULSE_NOEXCEPT;

/* One reference less; the last one closes and frees.  NULL-safe.  Since 0.1. */
PULSE_API void pulse_queue_unref(pulse_queue *queue) PULSE_NOEXCEPT;

PULSE_END_DECLS

#endif
