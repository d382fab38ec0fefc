// The worker processes: consumers of the shared sink, and the reader.  Orders come on standard
// input as single bytes, reports go to standard output.  The end of standard input is an order to
// stop: the coordinator is gone.
#ifndef TOOLS_QUICKSTART_JOB_WORKERS_H
#define TOOLS_QUICKSTART_JOB_WORKERS_H

#include "common.h"

namespace job {

constexpr char kOrderHold = 'h';  // take events, but do not ack them any more
constexpr char kOrderStop = 's';

int run_consumer(const Settings& settings);
int run_reader(const Settings& settings);

}  // namespace job

#endif
