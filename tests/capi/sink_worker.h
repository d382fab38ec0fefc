/* A sink with a stream of its own, for tests with many of them. */
#ifndef PULSE_TESTS_CAPI_SINK_WORKER_H
#define PULSE_TESTS_CAPI_SINK_WORKER_H

#include "fixture.h"

typedef struct worker {
  char name[24]; /* of the stream: "s" and its number; the group is "g" */
  pulse_stream *stream;
  collector *c;
  pulse_sink *sink;
} worker;

worker start_worker(fixture *fx, pulse_engine *engine, size_t number,
                    const pulse_sink_options *options);

/* Adds an event to its stream, which must be the nth (from 0) that the worker gets, and acks it. */
void one_more(fixture *fx, worker *w, size_t nth);

/* Default options, but for this. */
pulse_sink_options blocking(int64_t block_ms);

#endif
