// The worker processes: the test program itself, started again with a role.
#ifndef PULSE_TESTS_FAULTS_WORKER_H
#define PULSE_TESTS_FAULTS_WORKER_H

namespace faults {

// argv: the program, "--worker", a role ("publisher", "consumer", "reader"), then name=value.
// Orders come as lines on the standard input:
//   pause, go   publishers stop adding and start again; the others stop taking events
//   hold, ack   consumers take events without handling them; handle and ack what they hold
// and its end asks the worker to finish and close.  The exit status is 0 if that went well.
// The roles "mapper" and "node" are other kinds of workers: see map_worker.h and pool_worker.h.
int run_worker(int argc, char** argv);

}  // namespace faults

#endif
