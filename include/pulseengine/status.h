/* Status codes and error details.
 *
 * Every function that can fail returns a pulse_status: PULSE_OK (0) or a
 * negative code.  Numbers are never reused; new codes may appear, so treat an
 * unknown negative value as a failure.  Functions that take a `pulse_error *`
 * fill it on failure and leave it alone on success; it may be NULL.
 */
#ifndef PULSEENGINE_STATUS_H
#define PULSEENGINE_STATUS_H

#include <pulseengine/export.h>
#include <stddef.h>
#include <stdint.h>

PULSE_BEGIN_DECLS

typedef int32_t pulse_status;

enum {
  PULSE_OK = 0,
  /* The call itself. */
  PULSE_ERR_INVALID = -1,        /* an argument or option value is not allowed */
  PULSE_ERR_STRUCT_SIZE = -2,    /* a struct's `size` is too small to be one */
  PULSE_ERR_UNKNOWN_OPTION = -3, /* non-zero bytes beyond what this library knows */
  PULSE_ERR_NO_MEMORY = -4,      /* an allocation failed */
  PULSE_ERR_TOO_LARGE = -5,      /* beyond a size limit, see the message */
  PULSE_ERR_UNSUPPORTED = -6,    /* not in this build or not on this server */
  PULSE_ERR_NOT_FOUND = -7,      /* no such thing */
  PULSE_ERR_AGAIN = -8,          /* a limit is reached: nothing was accepted, try later */
  PULSE_ERR_BUSY = -9,           /* another thread is in run_once, poll or dispatch */
  PULSE_ERR_REENTRANT = -10,     /* blocking call inside an inline callback */
  PULSE_ERR_FORKED = -11,        /* called in a forked child; open the engine there */
  PULSE_ERR_CLOSED = -12,        /* the object or its engine was closed */
  PULSE_ERR_CANCELLED = -13,     /* cancelled by pulse_operation_cancel */
  PULSE_ERR_TIMEOUT = -14,       /* the deadline passed */
  PULSE_ERR_INTERNAL = -15,      /* a defect of this library */
  /* The way to the server. */
  PULSE_ERR_RESOLVE = -30,      /* host name not resolved */
  PULSE_ERR_CONNECT = -31,      /* not connected: refused, unreachable, time-out */
  PULSE_ERR_DISCONNECTED = -32, /* the connection was lost */
  PULSE_ERR_TLS = -33,          /* TLS handshake or certificate */
  PULSE_ERR_AUTH = -34,         /* wrong or missing password (NOAUTH, WRONGPASS) */
  PULSE_ERR_PROTOCOL = -35,     /* the peer does not speak RESP, or a reply is too large */
  PULSE_ERR_NO_SERVER = -36,    /* `local:` found no redis-server or valkey-server */
  /* What the server answered. */
  PULSE_ERR_SERVER = -50,      /* an error reply with no code of its own here */
  PULSE_ERR_LOADING = -51,     /* LOADING: the server reads its data set */
  PULSE_ERR_SERVER_BUSY = -52, /* BUSY: a script runs */
  PULSE_ERR_READONLY = -53,    /* READONLY: a replica */
  PULSE_ERR_MASTERDOWN = -54,  /* MASTERDOWN: a replica without its master */
  PULSE_ERR_SERVER_OOM = -55,  /* OOM: the server's maxmemory is reached */
  PULSE_ERR_PERMISSION = -56,  /* NOPERM: the ACL forbids it */
  PULSE_ERR_MAX_CLIENTS = -57, /* the server's maxclients is reached */
  PULSE_ERR_WRONG_TYPE = -58,  /* WRONGTYPE: the key holds something else */
  /* Streams. */
  PULSE_ERR_NOT_OWNER = -70, /* not this consumer's any more: taken over, acked or given back */
  /* Pools. */
  PULSE_ERR_REFUSED = -80,      /* the worker's handler refused the job */
  PULSE_ERR_EXISTS = -81,       /* a job with this key exists, or is being dispatched */
  PULSE_ERR_QUEUE_FULL = -82,   /* too many dispatches wait for their answer */
  PULSE_ERR_NO_POOL = -83,      /* no node of the pool routes jobs */
  PULSE_ERR_SHUTTING_DOWN = -84 /* the pool is being shut down, or was */
};

/* Bits of pulse_error.flags and pulse_event.flags. */
enum {
  PULSE_ERROR_RETRIABLE = 1,       /* the same call may succeed later */
  PULSE_ERROR_FATAL = 2,           /* the object is of no further use */
  PULSE_ERROR_SERVER = 4,          /* the server said so; the message quotes it */
  PULSE_ERROR_NEVER_SENT = 8,      /* the command did not reach the server */
  PULSE_ERROR_OUTCOME_UNKNOWN = 16 /* it was sent and may have been executed */
};

enum { PULSE_ERROR_MESSAGE_BYTES = 256 };

/* Details of a failure, in memory of the caller. */
typedef struct pulse_error {
  size_t size;          /* sizeof(pulse_error), set by the caller */
  pulse_status code;    /* the status that the call returned */
  uint32_t flags;       /* PULSE_ERROR_... */
  int32_t system_errno; /* errno, or 0 */
  int32_t reserved;
  char message[PULSE_ERROR_MESSAGE_BYTES]; /* NUL-terminated, never a password */
} pulse_error;

#define PULSE_ERROR_INIT                   \
  {                                        \
    sizeof(pulse_error), 0, 0, 0, 0, { 0 } \
  }

/* Sets *error to PULSE_ERROR_INIT.  NULL is allowed.  Since 0.1. */
PULSE_API void pulse_error_init(pulse_error *error) PULSE_NOEXCEPT;

/* The symbol of a status, "PULSE_ERR_AGAIN"; "PULSE_ERR_UNKNOWN" for a number
 * this library does not know.  Static memory, any thread, never NULL.
 * Since 0.1. */
PULSE_API const char *pulse_status_name(pulse_status status) PULSE_NOEXCEPT;

/* One English sentence for a status.  Static memory, never NULL.  Since 0.1. */
PULSE_API const char *pulse_status_message(pulse_status status) PULSE_NOEXCEPT;

/* Lists the statuses that this library knows: the index-th (from 0) goes to
 * *status.  PULSE_ERR_NOT_FOUND past the last one.  For bindings.  Since 0.1. */
PULSE_API pulse_status pulse_status_list(size_t index, pulse_status *status) PULSE_NOEXCEPT;

PULSE_END_DECLS

#endif
