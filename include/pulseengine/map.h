/* Replicated maps: a Redis hash with a full copy in every process.
 *
 * Reads are local: they never wait for the network or for a writer.  Writes are atomic scripts on
 * the server; each mutation takes the next revision of the map and reaches all replicas as a
 * message.  Keys are 1 to 64 KiB without '='; values are byte strings.
 *
 * A replica proves that it is in step.  `synced` at a revision means: the replica equals the hash
 * at that revision.  It leaves this state when a revision is missing, the subscription is lost or
 * silent, the server's revision disagrees, or a message makes no sense, and gets back by itself:
 * for readers in one step, from the old content to the new one.  How long it may take to notice is
 * max_unnoticed_ms.  What is there is still answered meanwhile.
 */
#ifndef PULSEENGINE_MAP_H
#define PULSEENGINE_MAP_H

#include <pulseengine/engine.h>

PULSE_BEGIN_DECLS

typedef struct pulse_map pulse_map;
typedef struct pulse_map_snapshot pulse_map_snapshot;
typedef struct pulse_map_watch pulse_map_watch;
typedef struct pulse_list pulse_list;

enum { PULSE_MAP_MAX_KEY_BYTES = 65536, PULSE_MAP_MAX_ITEMS = 65536 };

typedef int32_t pulse_map_state;
enum {
  PULSE_MAP_SYNCING = 0, /* the first copy, or a new one, is being fetched */
  PULSE_MAP_SYNCED = 1,  /* equals the hash at `revision` */
  PULSE_MAP_STALE = 2,   /* may differ; the reason says why */
  PULSE_MAP_CLOSED = 3
};

typedef int32_t pulse_map_reason;
enum {
  PULSE_MAP_REASON_NONE = 0,
  PULSE_MAP_REASON_DISCONNECTED = 1, /* subscription lost; the message says if it repeats */
  PULSE_MAP_REASON_SILENT = 2,       /* the subscription or the probe is not answered */
  PULSE_MAP_REASON_MISSED = 3,       /* a revision was skipped */
  PULSE_MAP_REASON_DISAGREES = 4,    /* the server has another revision than we were told */
  PULSE_MAP_REASON_MALFORMED = 5,    /* a message or the hash cannot be read */
  PULSE_MAP_REASON_LIMIT = 6,        /* max_keys or max_bytes is reached */
  PULSE_MAP_REASON_WRONG_TYPE = 7,   /* the key holds something else than a hash */
  PULSE_MAP_REASON_REFUSED = 8,      /* the server refuses to answer, see the message */
  PULSE_MAP_REASON_NO_MEMORY = 9
};

typedef struct pulse_map_options {
  size_t size;
  int64_t ttl_ms;           /* the map expires so long after its first write; 0 = never */
  int64_t sliding_ttl_ms;   /* or so long after its last write; not with ttl_ms */
  int64_t max_unnoticed_ms; /* 5000; the longest time until a lost update is noticed; >= 100 */
  int64_t max_keys;         /* -1 (default) = unlimited */
  int64_t max_bytes;        /* of keys and values; -1 (default) = unlimited */
  int64_t max_value_bytes;  /* 1 MiB; at most 64 MiB */
  int64_t watch_history;    /* 1024 changes kept for watches that resume; -2 = none */
  int32_t read_your_writes; /* 1: writes complete when the replica shows them, see set_and_wait */
  int32_t no_coalescing;    /* 1: each write is a script run of its own */
} pulse_map_options;

#define PULSE_MAP_OPTIONS_INIT \
  { sizeof(pulse_map_options), 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/* Sets *options to PULSE_MAP_OPTIONS_INIT.  Since 0.1. */
PULSE_API void pulse_map_options_init(pulse_map_options *options) PULSE_NOEXCEPT;

/* Joins a map.  Returns at once with a replica that is empty and `syncing`; it synchronises in the
 * background.  `target` (may be NULL) gets PULSE_EVENT_MAP_STATE at each change of state,
 * PULSE_EVENT_MAP_REWOUND, and PULSE_EVENT_CLOSED at last.  Each join is a replica of its own:
 * share the handle within a process.  Name: as a stream's.  The map keeps the engine alive.
 * PULSE_ERR_INVALID, PULSE_ERR_CLOSED.  Since 0.1. */
PULSE_API pulse_status pulse_map_join(pulse_engine *engine, const char *name, size_t name_len,
                                      const pulse_map_options *options, const pulse_target *target,
                                      pulse_map **map, pulse_error *error) PULSE_NOEXCEPT;
/* The same, and waits until the replica is synced for the first time.  On failure (timeout) nothing
 * is left behind. */
PULSE_API pulse_status pulse_map_join_wait(pulse_engine *engine, const char *name, size_t name_len,
                                           const pulse_map_options *options,
                                           const pulse_target *target, int64_t timeout_ms,
                                           pulse_map **map, pulse_error *error) PULSE_NOEXCEPT;

/* --- reads: local, any thread, never blocking -------------------------------- */

/* The value of a key as a counted byte string, not copied; it stays as it is when the map moves on.
 * The caller releases it with pulse_bytes_unref.  PULSE_ERR_NOT_FOUND.  Since 0.1. */
PULSE_API pulse_status pulse_map_get(pulse_map *map, const char *key, size_t key_len,
                                     pulse_bytes **value) PULSE_NOEXCEPT;

/* Copies the value to the caller's buffer, of `capacity` bytes; *size gets its length.
 * PULSE_ERR_NOT_FOUND; PULSE_ERR_TOO_LARGE when it does not fit (nothing is copied, *size tells
 * what is needed).  Since 0.1. */
PULSE_API pulse_status pulse_map_get_copy(pulse_map *map, const char *key, size_t key_len,
                                          void *buffer, size_t capacity,
                                          size_t *size) PULSE_NOEXCEPT;

/* Calls visit(value, size, user_data) with the value in place, under the read guard: the cheapest
 * read.  The visitor must be short, and must not wait for anything.  PULSE_ERR_NOT_FOUND (not
 * called).  Since 0.1. */
typedef void (*pulse_map_visit_fn)(const void *value, size_t size, void *user_data);
PULSE_API pulse_status pulse_map_read(pulse_map *map, const char *key, size_t key_len,
                                      pulse_map_visit_fn visit, void *user_data) PULSE_NOEXCEPT;

/* How many keys there are.  Since 0.1. */
PULSE_API size_t pulse_map_size(pulse_map *map) PULSE_NOEXCEPT;

/* All keys, in no particular order, of one moment.  Release with pulse_list_unref.
 * PULSE_ERR_NO_MEMORY.  Since 0.1. */
PULSE_API pulse_status pulse_map_keys(pulse_map *map, pulse_list **keys,
                                      pulse_error *error) PULSE_NOEXCEPT;

/* The items of a value that holds a list, see pulse_list_parse.  PULSE_ERR_NOT_FOUND.  Since 0.1.
 */
PULSE_API pulse_status pulse_map_get_list(pulse_map *map, const char *key, size_t key_len,
                                          pulse_list **items, pulse_error *error) PULSE_NOEXCEPT;

typedef struct pulse_map_info {
  size_t size;
  pulse_map_state state;
  pulse_map_reason reason; /* of a stale or syncing one */
  uint64_t revision;       /* of the content */
  int64_t state_ms;        /* how long it is in this state */
  uint64_t keys;
  uint64_t bytes;       /* of keys and values */
  int64_t ttl_ms;       /* until the map expires; -1 = never, or not known */
  uint64_t updates;     /* messages applied */
  uint64_t resyncs;     /* copies fetched, the first one included */
  uint64_t rewinds;     /* the server had lost data */
  uint64_t disconnects; /* of the subscription */
  uint64_t malformed;   /* messages that could not be read */
  uint64_t watches;
} pulse_map_info;

/* State and figures.  Answers also after close.  Since 0.1. */
PULSE_API pulse_status pulse_map_get_info(pulse_map *map, pulse_map_info *info) PULSE_NOEXCEPT;

/* Blocks until the replica is synced.  PULSE_ERR_TIMEOUT (the message has the reason).  Since 0.1.
 */
PULSE_API pulse_status pulse_map_wait_synced(pulse_map *map, int64_t timeout_ms,
                                             pulse_error *error) PULSE_NOEXCEPT;

/* Blocks until the replica has reached the revision, as a write returned it.  After the server lost
 * data (PULSE_EVENT_MAP_REWOUND) a copy fetched later counts as well.  Since 0.1. */
PULSE_API pulse_status pulse_map_wait_revision(pulse_map *map, uint64_t revision,
                                               int64_t timeout_ms,
                                               pulse_error *error) PULSE_NOEXCEPT;

/* --- snapshots ---------------------------------------------------------------- */

typedef struct pulse_map_entry {
  const char *key;
  size_t key_len;
  const char *value;
  size_t value_len;
} pulse_map_entry;

/* Where an iteration stands.  All zero is the beginning. */
typedef struct pulse_map_cursor {
  uint64_t position;
  uint32_t index;
  int32_t end; /* 1: nothing is left */
} pulse_map_cursor;

/* The content of this moment: immutable, all of one revision, however long it is kept.  Costs
 * nothing but memory for what changes meanwhile.  Release with pulse_map_snapshot_unref: what
 * nobody else refers to is freed by the engine's loop, some thousand entries per turn, or by the
 * caller once the engine is closed.  Since 0.1. */
PULSE_API pulse_status pulse_map_take_snapshot(pulse_map *map, pulse_map_snapshot **snapshot,
                                               pulse_error *error) PULSE_NOEXCEPT;
PULSE_API uint64_t pulse_map_snapshot_revision(const pulse_map_snapshot *snapshot) PULSE_NOEXCEPT;
PULSE_API size_t pulse_map_snapshot_size(const pulse_map_snapshot *snapshot) PULSE_NOEXCEPT;
/* As pulse_map_get. */
PULSE_API pulse_status pulse_map_snapshot_get(const pulse_map_snapshot *snapshot, const char *key,
                                              size_t key_len, pulse_bytes **value) PULSE_NOEXCEPT;
/* Fills up to `max` entries from the cursor on, moves it, and returns how many; 0 at the end.
 * entry_size is sizeof(pulse_map_entry).  The entries' pointers live as long as the snapshot.  The
 * order is none in particular, but the same each time.  Negative: PULSE_ERR_INVALID.  Since 0.1. */
PULSE_API int64_t pulse_map_snapshot_next(const pulse_map_snapshot *snapshot,
                                          pulse_map_cursor *cursor, pulse_map_entry *entries,
                                          size_t entry_size, size_t max) PULSE_NOEXCEPT;
PULSE_API pulse_map_snapshot *pulse_map_snapshot_ref(pulse_map_snapshot *snapshot) PULSE_NOEXCEPT;
PULSE_API void pulse_map_snapshot_unref(pulse_map_snapshot *snapshot) PULSE_NOEXCEPT;

/* --- lists ---------------------------------------------------------------------- */

/* The items of a list as it stands in a value: a JSON array of strings, else (values of older
 * writers) what commas separate; an empty value has no items.  PULSE_ERR_NO_MEMORY.  Since 0.1. */
PULSE_API pulse_status pulse_list_parse(const void *value, size_t size, pulse_list **list,
                                        pulse_error *error) PULSE_NOEXCEPT;
PULSE_API size_t pulse_list_size(const pulse_list *list) PULSE_NOEXCEPT;
/* The item at `index`, not NUL-terminated, *size its length; NULL beyond the end.  It lives as long
 * as the list. */
PULSE_API const char *pulse_list_at(const pulse_list *list, size_t index,
                                    size_t *size) PULSE_NOEXCEPT;
PULSE_API pulse_list *pulse_list_ref(pulse_list *list) PULSE_NOEXCEPT;
PULSE_API void pulse_list_unref(pulse_list *list) PULSE_NOEXCEPT;

/* --- writes ------------------------------------------------------------------------ */

/* What a write did.  In events it lives as long as the event; from a ..._wait call the caller
 * releases `value` with pulse_bytes_unref. */
typedef struct pulse_map_result {
  size_t size;
  pulse_status status; /* of this item, in a batch */
  uint32_t flags;      /* PULSE_ERROR_... */
  int32_t existed;     /* 1: the key was there before */
  int32_t updated;     /* 1: something was written */
  uint64_t revision;   /* that the write took; 0 when nothing was written */
  int64_t number;      /* increment: the new value */
  pulse_bytes *value;  /* list operations: the list as it stands now; else the previous value.
                          NULL when there is none */
} pulse_map_result;

#define PULSE_MAP_RESULT_INIT \
  { sizeof(pulse_map_result), 0, 0, 0, 0, 0, 0, NULL }

/* All writes: asynchronous, in the order of the calling thread; those that wait in the same turn of
 * the loop leave as one script run, each for itself.  Completion PULSE_EVENT_MAP_WRITTEN with
 * map_results (one).  A write whose connection is lost is not repeated: PULSE_ERR_DISCONNECTED with
 * PULSE_ERROR_OUTCOME_UNKNOWN or ..._NEVER_SENT.  Errors at once: PULSE_ERR_INVALID (key),
 * PULSE_ERR_TOO_LARGE, PULSE_ERR_AGAIN, PULSE_ERR_CLOSED.  Later: PULSE_ERR_WRONG_TYPE (increment
 * of what is no integer, a list operation on a JSON object, a key that is no hash),
 * PULSE_ERR_TOO_LARGE (a list grew too long, or the server turned out to keep less for
 * subscribers), and the server's own errors.  In the ..._wait twins
 * `result` may be NULL. Since 0.1. */

/* Sets the key.  value: the previous one. */
PULSE_API pulse_status pulse_map_set(pulse_map *map, const char *key, size_t key_len,
                                     const void *value, size_t value_len,
                                     const pulse_target *target, uint64_t *operation,
                                     pulse_error *error) PULSE_NOEXCEPT;
PULSE_API pulse_status pulse_map_set_wait(pulse_map *map, const char *key, size_t key_len,
                                          const void *value, size_t value_len,
                                          pulse_map_result *result, int64_t timeout_ms,
                                          pulse_error *error) PULSE_NOEXCEPT;

/* The same; completes when the local replica has reached the write's revision, as all writes do
 * with read_your_writes.  A replica that is stale for its limit (PULSE_MAP_REASON_LIMIT) cannot
 * show it: then the write completes as any other, with what it did. */
PULSE_API pulse_status pulse_map_set_and_wait(pulse_map *map, const char *key, size_t key_len,
                                              const void *value, size_t value_len,
                                              const pulse_target *target, uint64_t *operation,
                                              pulse_error *error) PULSE_NOEXCEPT;
PULSE_API pulse_status pulse_map_set_and_wait_wait(pulse_map *map, const char *key, size_t key_len,
                                                   const void *value, size_t value_len,
                                                   pulse_map_result *result, int64_t timeout_ms,
                                                   pulse_error *error) PULSE_NOEXCEPT;

/* Sets the key if it is not there. */
PULSE_API pulse_status pulse_map_set_if_absent(pulse_map *map, const char *key, size_t key_len,
                                               const void *value, size_t value_len,
                                               const pulse_target *target, uint64_t *operation,
                                               pulse_error *error) PULSE_NOEXCEPT;
PULSE_API pulse_status pulse_map_set_if_absent_wait(pulse_map *map, const char *key, size_t key_len,
                                                    const void *value, size_t value_len,
                                                    pulse_map_result *result, int64_t timeout_ms,
                                                    pulse_error *error) PULSE_NOEXCEPT;

/* Sets the key if its value is `test`.  A key that is not there never matches, an empty test
 * included. */
PULSE_API pulse_status pulse_map_test_and_set(pulse_map *map, const char *key, size_t key_len,
                                              const void *test, size_t test_len, const void *value,
                                              size_t value_len, const pulse_target *target,
                                              uint64_t *operation,
                                              pulse_error *error) PULSE_NOEXCEPT;
PULSE_API pulse_status pulse_map_test_and_set_wait(pulse_map *map, const char *key, size_t key_len,
                                                   const void *test, size_t test_len,
                                                   const void *value, size_t value_len,
                                                   pulse_map_result *result, int64_t timeout_ms,
                                                   pulse_error *error) PULSE_NOEXCEPT;

/* Adds `delta` to a value that is a decimal integer (absent: 0).  number: the new value. */
PULSE_API pulse_status pulse_map_increment(pulse_map *map, const char *key, size_t key_len,
                                           int64_t delta, const pulse_target *target,
                                           uint64_t *operation, pulse_error *error) PULSE_NOEXCEPT;
PULSE_API pulse_status pulse_map_increment_wait(pulse_map *map, const char *key, size_t key_len,
                                                int64_t delta, pulse_map_result *result,
                                                int64_t timeout_ms,
                                                pulse_error *error) PULSE_NOEXCEPT;

/* An item of a list. */
typedef struct pulse_map_item {
  const char *data;
  size_t len;
} pulse_map_item;

/* Appends items to a list; none: tells what is there.  value: the list. */
PULSE_API pulse_status pulse_map_append(pulse_map *map, const char *key, size_t key_len,
                                        const pulse_map_item *items, size_t count,
                                        const pulse_target *target, uint64_t *operation,
                                        pulse_error *error) PULSE_NOEXCEPT;
PULSE_API pulse_status pulse_map_append_wait(pulse_map *map, const char *key, size_t key_len,
                                             const pulse_map_item *items, size_t count,
                                             pulse_map_result *result, int64_t timeout_ms,
                                             pulse_error *error) PULSE_NOEXCEPT;

/* Appends those items that the list does not have; nothing is written if it has all. */
PULSE_API pulse_status pulse_map_append_unique(pulse_map *map, const char *key, size_t key_len,
                                               const pulse_map_item *items, size_t count,
                                               const pulse_target *target, uint64_t *operation,
                                               pulse_error *error) PULSE_NOEXCEPT;
PULSE_API pulse_status pulse_map_append_unique_wait(pulse_map *map, const char *key, size_t key_len,
                                                    const pulse_map_item *items, size_t count,
                                                    pulse_map_result *result, int64_t timeout_ms,
                                                    pulse_error *error) PULSE_NOEXCEPT;

/* Removes each occurrence of the items; a list that gets empty is deleted with its key (value
 * NULL).  updated: 1 if any was there. */
PULSE_API pulse_status pulse_map_remove_values(pulse_map *map, const char *key, size_t key_len,
                                               const pulse_map_item *items, size_t count,
                                               const pulse_target *target, uint64_t *operation,
                                               pulse_error *error) PULSE_NOEXCEPT;
PULSE_API pulse_status pulse_map_remove_values_wait(pulse_map *map, const char *key, size_t key_len,
                                                    const pulse_map_item *items, size_t count,
                                                    pulse_map_result *result, int64_t timeout_ms,
                                                    pulse_error *error) PULSE_NOEXCEPT;

/* Deletes the key. */
PULSE_API pulse_status pulse_map_delete(pulse_map *map, const char *key, size_t key_len,
                                        const pulse_target *target, uint64_t *operation,
                                        pulse_error *error) PULSE_NOEXCEPT;
PULSE_API pulse_status pulse_map_delete_wait(pulse_map *map, const char *key, size_t key_len,
                                             pulse_map_result *result, int64_t timeout_ms,
                                             pulse_error *error) PULSE_NOEXCEPT;

/* Deletes the key if its value is `test`. */
PULSE_API pulse_status pulse_map_test_and_delete(pulse_map *map, const char *key, size_t key_len,
                                                 const void *test, size_t test_len,
                                                 const pulse_target *target, uint64_t *operation,
                                                 pulse_error *error) PULSE_NOEXCEPT;
PULSE_API pulse_status pulse_map_test_and_delete_wait(pulse_map *map, const char *key,
                                                      size_t key_len, const void *test,
                                                      size_t test_len, pulse_map_result *result,
                                                      int64_t timeout_ms,
                                                      pulse_error *error) PULSE_NOEXCEPT;

/* Empties the map if each key has its test value (keys and tests: `count` pairs). */
PULSE_API pulse_status pulse_map_test_and_reset(pulse_map *map, const pulse_map_entry *tests,
                                                size_t count, const pulse_target *target,
                                                uint64_t *operation,
                                                pulse_error *error) PULSE_NOEXCEPT;
PULSE_API pulse_status pulse_map_test_and_reset_wait(pulse_map *map, const pulse_map_entry *tests,
                                                     size_t count, pulse_map_result *result,
                                                     int64_t timeout_ms,
                                                     pulse_error *error) PULSE_NOEXCEPT;

/* Empties the map.  Allowed after close, as long as the engine is open. */
PULSE_API pulse_status pulse_map_reset(pulse_map *map, const pulse_target *target,
                                       uint64_t *operation, pulse_error *error) PULSE_NOEXCEPT;
PULSE_API pulse_status pulse_map_reset_wait(pulse_map *map, pulse_map_result *result,
                                            int64_t timeout_ms, pulse_error *error) PULSE_NOEXCEPT;

/* Empties the map and tells all who follow it that it is given up.  Its revision stays, so that
 * whoever comes back can tell what happened.  Allowed after close. */
PULSE_API pulse_status pulse_map_destroy(pulse_map *map, const pulse_target *target,
                                         uint64_t *operation, pulse_error *error) PULSE_NOEXCEPT;
PULSE_API pulse_status pulse_map_destroy_wait(pulse_map *map, pulse_map_result *result,
                                              int64_t timeout_ms,
                                              pulse_error *error) PULSE_NOEXCEPT;

typedef int32_t pulse_map_op;
enum {
  PULSE_MAP_OP_SET = 1,
  PULSE_MAP_OP_DELETE = 2,
  PULSE_MAP_OP_INCREMENT = 3, /* batches only: `delta` */
  PULSE_MAP_OP_RESET = 4,     /* watches only, as below */
  PULSE_MAP_OP_DESTROY = 5
};

typedef struct pulse_map_batch_item {
  pulse_map_op op; /* SET, DELETE, INCREMENT */
  int32_t reserved;
  const char *key;
  size_t key_len;
  const void *value;
  size_t value_len;
  int64_t delta;
} pulse_map_batch_item;

/* Many sets, deletes and increments in one script run: all or none.  Items see what those before
 * them did; each takes a revision of its own.  item_size is sizeof(pulse_map_batch_item); 1 to
 * PULSE_MAP_MAX_ITEMS items.  Completion PULSE_EVENT_MAP_WRITTEN with one result per item; if an
 * item fails (WRONG_TYPE ...), the whole call fails, the message names it, and nothing is written.
 */
PULSE_API pulse_status pulse_map_batch(pulse_map *map, const pulse_map_batch_item *items,
                                       size_t item_size, size_t count, const pulse_target *target,
                                       uint64_t *operation, pulse_error *error) PULSE_NOEXCEPT;
/* `results` (may be NULL) has room for `count`, each with `size` set. */
PULSE_API pulse_status pulse_map_batch_wait(pulse_map *map, const pulse_map_batch_item *items,
                                            size_t item_size, size_t count,
                                            pulse_map_result *results, int64_t timeout_ms,
                                            pulse_error *error) PULSE_NOEXCEPT;

/* --- watches ------------------------------------------------------------------------ */

typedef int32_t pulse_watch_mode;
enum {
  PULSE_WATCH_KINDS = 0, /* PULSE_EVENT_MAP_CHANGED: that something changed, coalesced */
  PULSE_WATCH_DELTAS = 1 /* PULSE_EVENT_MAP_CHANGE: each change with its key and value */
};

typedef int32_t
    pulse_map_kind; /* of PULSE_EVENT_MAP_CHANGED, the strongest of what it stands for */
enum { PULSE_MAP_KIND_CHANGE = 1, PULSE_MAP_KIND_DELETE = 2, PULSE_MAP_KIND_RESET = 3 };

typedef struct pulse_map_watch_options {
  size_t size;
  pulse_watch_mode mode;
  int32_t old_values; /* 1: changes carry the value before */
  const char *key;    /* only this key */
  size_t key_len;
  const char *prefix; /* or only keys that begin so; not with key */
  size_t prefix_len;
  uint64_t revision;    /* the host knows the map up to here: go on after it if possible */
  int64_t buffer;       /* 1000 changes delivered and not taken */
  int64_t buffer_bytes; /* 16 MiB of them */
} pulse_map_watch_options;

#define PULSE_MAP_WATCH_OPTIONS_INIT \
  { sizeof(pulse_map_watch_options), 0, 0, NULL, 0, NULL, 0, 0, 0, 0 }

/* Sets *options to PULSE_MAP_WATCH_OPTIONS_INIT.  Since 0.1. */
PULSE_API void pulse_map_watch_options_init(pulse_map_watch_options *options) PULSE_NOEXCEPT;

/* Watches a map.  KINDS: one event is under way at most; what happens before the host takes it is
 * joined to it.
 *
 * DELTAS, once the map is synced: PULSE_EVENT_WATCH_STARTED (state 1: goes on after `revision`;
 * state 0: from a copy), then for a copy the content as changes with op SET, then
 * PULSE_EVENT_WATCH_CAUGHT_UP, then each change in the order of revisions.  After a
 * resynchronisation, or when the host fell behind further than watch_history:
 * PULSE_EVENT_WATCH_RESYNC (count = the revision told last, revision = the one to come), the
 * differences to what this watch was told, and CAUGHT_UP.  The changes of a resynchronisation all
 * carry its revision.  No change is dropped: at the limit of `buffer` the watch waits for the host.
 *
 * PULSE_EVENT_CLOSED at last.  PULSE_ERR_INVALID, PULSE_ERR_CLOSED.  Since 0.1. */
PULSE_API pulse_status pulse_map_watch_open(pulse_map *map, const pulse_map_watch_options *options,
                                            const pulse_target *target, pulse_map_watch **watch,
                                            pulse_error *error) PULSE_NOEXCEPT;
/* Ends the watch; idempotent.  Since 0.1. */
PULSE_API pulse_status pulse_map_watch_close(pulse_map_watch *watch) PULSE_NOEXCEPT;
PULSE_API pulse_status pulse_map_watch_close_wait(pulse_map_watch *watch, int64_t timeout_ms,
                                                  pulse_error *error) PULSE_NOEXCEPT;
PULSE_API pulse_map_watch *pulse_map_watch_ref(pulse_map_watch *watch) PULSE_NOEXCEPT;
PULSE_API void pulse_map_watch_unref(pulse_map_watch *watch) PULSE_NOEXCEPT;

/* --- the end ------------------------------------------------------------------------ */

/* Leaves the map: the replica goes, its watches end, writes under way complete.  Snapshots and
 * values stay.  Idempotent.  Since 0.1. */
PULSE_API pulse_status pulse_map_close(pulse_map *map) PULSE_NOEXCEPT;
PULSE_API pulse_status pulse_map_close_wait(pulse_map *map, int64_t timeout_ms,
                                            pulse_error *error) PULSE_NOEXCEPT;
/* One more reference.  NULL-safe, any thread.  Since 0.1. */
PULSE_API pulse_map *pulse_map_ref(pulse_map *map) PULSE_NOEXCEPT;
/* One reference less; the last one closes.  NULL-safe.  Since 0.1. */
PULSE_API void pulse_map_unref(pulse_map *map) PULSE_NOEXCEPT;

PULSE_END_DECLS

#endif
