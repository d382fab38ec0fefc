/* A reference-counted, immutable byte string. */
#ifndef PULSEENGINE_BYTES_H
#define PULSEENGINE_BYTES_H

#include <pulseengine/status.h>

PULSE_BEGIN_DECLS

typedef struct pulse_bytes pulse_bytes;

/* Releases what a callback or a foreign buffer was bound to. */
typedef void (*pulse_destroy_fn)(void *user_data);

/* A byte string with a copy of `data`.  NULL when memory is short, or when
 * data is NULL with size > 0.  The caller owns one reference.  Since 0.1. */
PULSE_API pulse_bytes *pulse_bytes_new(const void *data, size_t size) PULSE_NOEXCEPT;

/* A byte string over the caller's own memory, not copied: it must stay
 * unchanged until `destroy(user_data)` runs, which happens exactly once, on
 * whatever thread drops the last reference (at once when this call fails and
 * returns NULL).  `destroy` may be NULL for static memory.  Since 0.1. */
PULSE_API pulse_bytes *pulse_bytes_new_static(const void *data, size_t size, void *user_data,
                                              pulse_destroy_fn destroy) PULSE_NOEXCEPT;

/* The bytes; valid as long as a reference is held.  NULL gives NULL.  Since 0.1. */
PULSE_API const void *pulse_bytes_data(const pulse_bytes *bytes) PULSE_NOEXCEPT;

/* Their number.  NULL gives 0.  Since 0.1. */
PULSE_API size_t pulse_bytes_size(const pulse_bytes *bytes) PULSE_NOEXCEPT;

/* One more reference; returns `bytes`.  NULL-safe, any thread.  Since 0.1. */
PULSE_API pulse_bytes *pulse_bytes_ref(pulse_bytes *bytes) PULSE_NOEXCEPT;

/* One reference less; the last one frees.  NULL-safe, any thread.  Since 0.1. */
PULSE_API void pulse_bytes_unref(pulse_bytes *bytes) PULSE_NOEXCEPT;

PULSE_END_DECLS

#endif
