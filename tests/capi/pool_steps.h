/* The recording tests/wire/pool-steps.txt: what nodes of the Go library left at its moments, and
 * what they let their peers see, to be compared with what nodes of this engine do. */
#ifndef PULSE_TESTS_CAPI_POOL_STEPS_H
#define PULSE_TESTS_CAPI_POOL_STEPS_H

#include "fixture.h"

enum {
  POOL_MAX_TEXT = 2048,
  POOL_MAX_EFFECTS = 256,
  POOL_MAX_NAMES = 64,
  POOL_ID_SIZE = 26 /* of nodes, workers and consumers */
};

/* Writes all that the peers had written until a moment, as if that was `age_ms` ago. */
void pool_load(fixture *fx, const char *moment, int64_t age_ms);

/* --- effects: what peers can see of a node --------------------------------------------------- */

/* "PUBLISH channel message", "XADD stream name payload", "XACK stream group id" or "DEL stream",
 * without what differs from run to run. */
typedef struct pool_effect {
  char text[POOL_MAX_TEXT];
  size_t step; /* effects of one script have the same */
} pool_effect;

typedef struct pool_effects {
  size_t count;
  pool_effect list[POOL_MAX_EFFECTS];
} pool_effects;

/* Ids by the order in which they appeared. */
typedef struct pool_names {
  size_t count;
  char ids[POOL_MAX_NAMES][POOL_ID_SIZE];
} pool_names;

/* What is to be compared, and how. */
typedef struct pool_view {
  pool_names *known;          /* NULL: all ids are alike */
  bool no_revisions;          /* messages of maps without theirs */
  const char *const *without; /* beginnings of what is left out; NULL-terminated */
} pool_view;

/* What happened between two moments; after NULL: since the beginning. */
void pool_recorded(const char *after, const char *until, const pool_view *how, pool_effects *out);

/* Follows all that the server does from now on; the caller frees it. */
ts_connection *pool_monitor(fixture *fx);
/* What has happened since, up to now. */
void pool_monitored(fixture *fx, ts_connection *monitor, const pool_view *how, pool_effects *out);

/* Fails the test when they differ.  `ordered`: what we do in one step, peers may have done in any
 * order, but not before or after that. */
void pool_check_same(const pool_effects *ours, const pool_effects *theirs, bool ordered);

#endif
