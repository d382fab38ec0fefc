/* The manual driver in a program with ticks, a game for example: no thread is started, and all
 * callbacks run inside pulse_engine_run_once.
 *
 *   manual_tick [URL] */
#define _POSIX_C_SOURCE 200809L
#include <time.h>

#include "example.h"

enum { TICKS_PER_SECOND = 60, SHOTS = 60 };

struct game {
  int ready;
  int seen;
};

/* Called from run_once, between two frames. */
static void on_event(const pulse_event *event, void *user_data) {
  struct game *game = user_data;
  if (event->kind == PULSE_EVENT_READY) game->ready = 1;
  if (event->kind == PULSE_EVENT_MESSAGE) ++game->seen;
}

int main(int argc, char **argv) {
  pulse_engine *engine = open_engine(argc, argv, PULSE_DRIVER_MANUAL);
  pulse_stream *stream = open_stream(engine, "example:tick");
  pulse_error error = PULSE_ERROR_INIT;

  struct game game = {0, 0};
  pulse_target target = PULSE_TARGET_INIT;
  target.callback = on_event;
  target.user_data = &game;
  pulse_reader *reader = NULL;
  check(pulse_reader_open(stream, NULL, &target, &reader, &error), &error, "reader");

  int shots = 0, ticks = 0;
  const int limit = 60 * TICKS_PER_SECOND;
  struct timespec next;
  clock_gettime(CLOCK_MONOTONIC, &next);
  while (game.seen < SHOTS && ticks < limit) {
    ++ticks;
    /* At most 100 callbacks and 2 ms of each frame are the engine's. */
    int64_t ran = pulse_engine_run_once(engine, 100, 2000);
    if (ran < 0) check((pulse_status)ran, &error, "run_once");
    /* The game: one shot per tick once the reader receives. */
    if (game.ready && shots < SHOTS) {
      check(pulse_stream_add(stream, "shot", 4, &ticks, sizeof ticks, NULL, NULL, NULL, &error),
            &error, "add");
      ++shots;
    }
    next.tv_nsec += 1000000000 / TICKS_PER_SECOND;
    if (next.tv_nsec >= 1000000000) {
      next.tv_nsec -= 1000000000;
      ++next.tv_sec;
    }
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
  }
  printf("%d shots fired, %d seen\n", shots, game.seen);

  /* The waiting calls run the loop themselves here. */
  check(pulse_reader_close_wait(reader, 10000, &error), &error, "close");
  check(pulse_stream_destroy_wait(stream, 10000, &error), &error, "destroy");
  pulse_reader_unref(reader);
  pulse_stream_unref(stream);
  close_engine(engine);
  return game.seen == SHOTS ? 0 : 1;
}
