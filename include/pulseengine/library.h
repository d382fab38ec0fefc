/* The library as a whole: version, features, allocator. */
#ifndef PULSEENGINE_LIBRARY_H
#define PULSEENGINE_LIBRARY_H

#include <pulseengine/status.h>

#define PULSE_VERSION_MAJOR 0
#define PULSE_VERSION_MINOR 1
#define PULSE_VERSION_PATCH 0
#define PULSE_VERSION_STRING "0.1.0"

PULSE_BEGIN_DECLS

/* "0.1.0", of the library in use (not of the header).  Static.  Since 0.1. */
PULSE_API const char *pulse_version_string(void) PULSE_NOEXCEPT;

/* major * 1000000 + minor * 1000 + patch of the library in use.  Since 0.1. */
PULSE_API uint32_t pulse_version_number(void) PULSE_NOEXCEPT;

/* PULSE_OK when the library in use serves a program built for this version:
 * same major, and for major 0 same minor, and not older.  Else
 * PULSE_ERR_UNSUPPORTED.  Since 0.1. */
PULSE_API pulse_status pulse_version_check(uint32_t major, uint32_t minor,
                                           uint32_t patch) PULSE_NOEXCEPT;

/* 1 if this build has the feature, else 0: "tls", "local", "streaming",
 * "maps", "pools", "thread-driver", "manual-driver".  Unknown names answer 0.  Since 0.1. */
PULSE_API int32_t pulse_feature_has(const char *name) PULSE_NOEXCEPT;

/* The name of the index-th feature of this build, or NULL past the last one.
 * Since 0.1. */
PULSE_API const char *pulse_feature_list(size_t index) PULSE_NOEXCEPT;

typedef void *(*pulse_allocate_fn)(void *context, size_t bytes);
typedef void *(*pulse_reallocate_fn)(void *context, void *memory, size_t bytes);
typedef void (*pulse_free_fn)(void *context, void *memory);

/* Serves all of the engine's own allocations from these functions; all three
 * NULL goes back to malloc.  Memory must be aligned as malloc's; NULL means
 * that there is none.  Called from any thread.  Must be called before the
 * first object is made: PULSE_ERR_BUSY while any is alive, PULSE_ERR_INVALID when
 * only some of the functions are given.  Packages underneath (libuv, hiredis, OpenSSL, RE2) keep
 * their own allocators.  Since 0.1. */
PULSE_API pulse_status pulse_library_set_allocator(pulse_allocate_fn allocate,
                                                   pulse_reallocate_fn reallocate,
                                                   pulse_free_fn release,
                                                   void *context) PULSE_NOEXCEPT;

PULSE_END_DECLS

#endif
