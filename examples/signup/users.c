/* The source of the signup flow: publishes each line "name<TAB>address" of standard input as an
 * event "user.created" of the stream "users".
 *
 *   users [URL] < LINES */
#include "../c/example.h"

int main(int argc, char **argv) {
  pulse_engine *engine = open_engine(argc, argv, PULSE_DRIVER_THREAD);
  pulse_error error = PULSE_ERROR_INIT;
  pulse_stream_options options = PULSE_STREAM_OPTIONS_INIT;
  options.max_len = -1; /* users are not trimmed */
  pulse_stream *stream = NULL;
  check(pulse_stream_open(engine, "users", 5, &options, &stream, &error), &error, "stream");

  char line[1024];
  int users = 0;
  while (fgets(line, sizeof line, stdin) != NULL) {
    size_t size = strcspn(line, "\n");
    if (memchr(line, '\t', size) == NULL) continue;
    /* Each is waited for: a user that is reported is in the server. */
    check(pulse_stream_add_wait(stream, "user.created", 12, line, size, NULL, NULL, 10000, &error),
          &error, "add");
    ++users;
  }
  printf("%d users\n", users);
  pulse_stream_unref(stream);
  close_engine(engine);
  return 0;
}
