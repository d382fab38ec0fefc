// The job itself: starts the workers, publishes, kills a consumer in the middle, and compares.
#ifndef TOOLS_QUICKSTART_JOB_COORDINATOR_H
#define TOOLS_QUICKSTART_JOB_COORDINATOR_H

#include <string>

#include "common.h"

namespace job {

// Returns the exit status: 0 when nothing was lost, else 1.
int run_job(const Settings& settings, const std::string& path);

}  // namespace job

#endif
