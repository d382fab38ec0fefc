// A worker that writes to a map at random, and tells what its replica and its watch show.
//
// Orders on the standard input:
//   pause, go   stops and starts writing
//   big, small  values of some kilobytes, or of up to 200 bytes
//   dump        writes the replica's content into the file <journal>.dump
// The end of the input asks it to finish.
//
// Its journal:
//   S rev digest ms     the replica was synced, at this revision, with this content
//   U state reason ms   the replica is not synced any more
//   W rev digest        the content that the changes told by a watch add up to
//   O rev               the watch told of a resynchronisation, up to this revision
//   R before after      the server has lost data, as the map says
//   A writes failed unknown   how writes have ended so far
//   Q ms                paused, and all writes have ended
//   D disconnects malformed   dumped; figures of the map
//   B text              a promise was broken
//   Z status            it has closed
#ifndef PULSE_TESTS_FAULTS_MAP_WORKER_H
#define PULSE_TESTS_FAULTS_MAP_WORKER_H

#include "arguments.h"

namespace faults {

// Settings: url, client, driver, journal, seed, name, map, command_timeout_ms, max_unnoticed_ms,
// ttl_ms, read_your_writes; rate: writes per second, asynchronous; threads: more writers, that wait
// for each write, all on the same handle.
int run_map_worker(const Arguments& arguments);

}  // namespace faults

#endif
