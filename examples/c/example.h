/* What the examples share: the URL from the command line, and an end for errors. */
#ifndef EXAMPLES_C_EXAMPLE_H
#define EXAMPLES_C_EXAMPLE_H

#include <pulseengine/pulse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Ends the program with the reason when a call has failed. */
static inline void check(pulse_status status, const pulse_error *error, const char *what) {
  if (status == PULSE_OK) return;
  fprintf(stderr, "%s: %s [%s]\n", what,
          error->message[0] ? error->message : pulse_status_message(status),
          pulse_status_name(status));
  exit(1);
}

/* Opens an engine on the URL in argv[1], by default a private server. */
static inline pulse_engine *open_engine(int argc, char **argv, pulse_driver driver) {
  pulse_engine_options options = PULSE_ENGINE_OPTIONS_INIT;
  pulse_error error = PULSE_ERROR_INIT;
  pulse_engine *engine = NULL;
  options.url = argc > 1 ? argv[1] : "local:";
  options.driver = driver;
  check(pulse_engine_open(&options, &engine, &error), &error, "open");
  return engine;
}

static inline pulse_stream *open_stream(pulse_engine *engine, const char *name) {
  pulse_error error = PULSE_ERROR_INIT;
  pulse_stream *stream = NULL;
  check(pulse_stream_open(engine, name, strlen(name), NULL, &stream, &error), &error, name);
  return stream;
}

/* Closes the engine and waits for what is under way. */
static inline void close_engine(pulse_engine *engine) {
  pulse_error error = PULSE_ERROR_INIT;
  check(pulse_engine_close_wait(engine, 10000, &error), &error, "close");
  pulse_engine_unref(engine);
}

#endif
