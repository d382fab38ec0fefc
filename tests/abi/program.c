/* What a user's program does, compiled with nothing but what pkg-config says: opens an engine on a
 * server that is not there, sees that it is not ready, and closes it. */
#include <pulseengine/pulse.h>
#include <stdio.h>
#include <string.h>

int main(void) {
  pulse_engine_options options = PULSE_ENGINE_OPTIONS_INIT;
  pulse_error error;
  pulse_engine* engine = NULL;
  pulse_status status = 0;

  pulse_error_init(&error);
  options.url = "unix:///nonexistent/pulse.sock";
  if (strcmp(pulse_version_string(), PULSE_VERSION_STRING) != 0) return 1;
  if (pulse_version_check(PULSE_VERSION_MAJOR, PULSE_VERSION_MINOR, PULSE_VERSION_PATCH) !=
      PULSE_OK)
    return 2;
  status = pulse_engine_open(&options, &engine, &error);
  if (status != PULSE_OK) return 3;
  if (pulse_engine_ready_wait(engine, 0, &error) == PULSE_OK) return 4;
  if (pulse_engine_close_wait(engine, 60000, &error) != PULSE_OK) return 5;
  if (pulse_engine_close(engine) < 0 && pulse_engine_ping_wait(engine, NULL, 0, &error) == PULSE_OK)
    return 6;
  pulse_engine_unref(engine);
  printf("pulse %s\n", pulse_version_string());
  return 0;
}
