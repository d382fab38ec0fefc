/* The manual driver in a program with a libuv loop of its own: a timer of the program publishes, a
 * reader receives, all on one thread.  The loop ends when the engine has closed.
 *
 *   uv_loop [URL] */
#define _POSIX_C_SOURCE 200809L /* libuv's header needs it with -std=c11 */
#include <pulseengine/uv.h>

#include "example.h"

enum { TICKS = 50, TICK_MS = 5 };

struct program {
  pulse_engine *engine;
  pulse_stream *stream;
  pulse_reader *reader;
  pulse_uv hook;
  uv_timer_t timer;
  int sent;
  int seen;
};

static void on_timer(uv_timer_t *timer) {
  struct program *program = timer->data;
  pulse_error error = PULSE_ERROR_INIT;
  check(pulse_stream_add(program->stream, "tick", 4, &program->sent, sizeof program->sent, NULL,
                         NULL, NULL, &error),
        &error, "add");
  if (++program->sent == TICKS) uv_close((uv_handle_t *)timer, NULL);
}

/* Called by the loop, as the timer is. */
static void on_event(const pulse_event *event, void *user_data) {
  struct program *program = user_data;
  pulse_error error = PULSE_ERROR_INIT;
  if (event->kind == PULSE_EVENT_READY) uv_timer_start(&program->timer, on_timer, 0, TICK_MS);
  if (event->kind != PULSE_EVENT_MESSAGE || ++program->seen < TICKS) return;
  /* Closing goes on in the loop, and takes the engine off it. */
  check(pulse_stream_destroy(program->stream, NULL, NULL, &error), &error, "destroy");
  check(pulse_engine_close(program->engine), &error, "close");
}

static void on_closed(void *user_data) {
  struct program *program = user_data;
  printf("%d ticks, %d seen; ", program->sent, program->seen);
}

int main(int argc, char **argv) {
  struct program program = {0};
  pulse_error error = PULSE_ERROR_INIT;
  program.engine = open_engine(argc, argv, PULSE_DRIVER_MANUAL);
  program.stream = open_stream(program.engine, "example:uv");

  uv_loop_t loop;
  if (uv_loop_init(&loop) != 0) return 1;
  uv_timer_init(&loop, &program.timer);
  program.timer.data = &program;
  check(pulse_uv_attach(&program.hook, program.engine, &loop, on_closed, &program), &error,
        "attach");

  pulse_target target = PULSE_TARGET_INIT;
  target.callback = on_event;
  target.user_data = &program;
  check(pulse_reader_open(program.stream, NULL, &target, &program.reader, &error), &error,
        "reader");

  uv_run(&loop, UV_RUN_DEFAULT);
  printf("the loop has ended\n");

  if (uv_loop_close(&loop) != 0) return 1;
  pulse_reader_unref(program.reader);
  pulse_stream_unref(program.stream);
  close_engine(program.engine);
  return program.seen == TICKS ? 0 : 1;
}
