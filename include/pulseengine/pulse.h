/* Pulse: streams, replicated maps and worker pools over Redis or Valkey.
 *
 * HOW IT WORKS
 *
 * An engine (pulse_engine_open) owns one event loop and the connections to one
 * server.  Streams, readers and sinks are opened on it.  No call but those
 * named ..._wait blocks; what they start ends in a pulse_event, delivered where
 * the call's pulse_target says: inline on the loop thread, dispatched on a
 * thread of yours, or polled in batches from a pulse_queue (event.h).
 *
 * Every accepted call completes exactly once: with its result, an error,
 * PULSE_ERR_CANCELLED, or PULSE_ERR_CLOSED.  What cannot be accepted fails at
 * once with PULSE_ERR_AGAIN.  An operation counts against max_inflight until
 * its completion was taken by the host.
 *
 * OBJECTS
 *
 * Handles are opaque and counted: ..._ref, ..._unref, both NULL-safe, from any
 * thread.  Objects keep their engine alive.  After close a handle is still
 * valid memory, and calls answer PULSE_ERR_CLOSED.
 *
 * OPTIONS
 *
 * Structs of options and callbacks begin with `size`: use the ..._INIT macro or
 * the ..._init function.  0 in a field is the default, -1 for ever or
 * unlimited, -2 (PULSE_MS_NONE) not at all.  Bytes beyond what this library
 * knows must be zero, else PULSE_ERR_UNKNOWN_OPTION.  Strings and payloads are
 * pointer and length, may hold any byte, and are copied.
 *
 * THREADS AND ENVIRONMENT
 *
 * Every function may be called from any thread at any time, unless its comment
 * says otherwise.  The thread driver blocks all signals on its thread.  The
 * manual driver starts no thread; host names other than numeric addresses and
 * "localhost" are resolved on libuv's thread pool.  A forked child must not
 * use an engine or a queue of its parent: calls answer PULSE_ERR_FORKED.  The library
 * changes no signal handler, no locale, no environment variable.
 *
 * LOSS
 *
 * Redis is the only store.  What can be lost, and how the host is told, is in
 * docs/delivery.md.
 */
#ifndef PULSEENGINE_PULSE_H
#define PULSEENGINE_PULSE_H

#include <pulseengine/bytes.h>
#include <pulseengine/engine.h>
#include <pulseengine/event.h>
#include <pulseengine/library.h>
#include <pulseengine/map.h>
#include <pulseengine/pool.h>
#include <pulseengine/queue.h>
#include <pulseengine/reader.h>
#include <pulseengine/sink.h>
#include <pulseengine/status.h>
#include <pulseengine/stream.h>
#include <pulseengine/ticker.h>

#endif
