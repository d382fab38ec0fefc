/* Feature flags in a replicated map: every process has a copy, so a request asks it without a
 * thought, and a watch tells of changes.
 *
 *   feature_flags [URL] */
#include "example.h"

enum { WARM_UP = 100000 };

/* Called with the value in place; it must be quick. */
static void is_on(const void *value, size_t size, void *user_data) {
  *(int *)user_data = size == 2 && memcmp(value, "on", 2) == 0;
}

static int flag(pulse_map *map, const char *name) {
  int on = 0; /* a flag that is not there is off */
  pulse_map_read(map, name, strlen(name), is_on, &on);
  return on;
}

static const char *text_or_none(const char *text) { return text ? text : "none"; }

static int length_or_none(const char *text, size_t size) { return text ? (int)size : 4; }

/* Prints changes until one sets `name` to "on". */
static int follow(pulse_queue *queue, const char *name) {
  pulse_event event;
  while (pulse_queue_poll(queue, &event, sizeof event, 1, 10000) == 1) {
    if (event.kind != PULSE_EVENT_MAP_CHANGE || event.state != PULSE_MAP_OP_SET) continue;
    printf("%.*s: %.*s -> %.*s\n", (int)event.name_len, event.name,
           length_or_none(event.old_value, event.old_value_len), text_or_none(event.old_value),
           (int)event.payload_len, event.payload);
    if (event.name_len == strlen(name) && memcmp(event.name, name, event.name_len) == 0 &&
        event.payload_len == 2) {
      return 1;
    }
  }
  return 0;
}

int main(int argc, char **argv) {
  pulse_engine *engine = open_engine(argc, argv, PULSE_DRIVER_THREAD);
  pulse_error error = PULSE_ERROR_INIT;

  /* Returns when the copy is here. */
  pulse_map *map = NULL;
  check(pulse_map_join_wait(engine, "example:flags", 13, NULL, NULL, 10000, &map, &error), &error,
        "join");
  /* "and_wait": until this process can read it, too. */
  check(pulse_map_set_and_wait_wait(map, "new-checkout", 12, "off", 3, NULL, 10000, &error), &error,
        "set");

  pulse_queue *queue = NULL;
  check(pulse_queue_new(&queue, &error), &error, "queue");
  pulse_target target = PULSE_TARGET_INIT;
  target.queue = queue;
  pulse_map_watch_options options = PULSE_MAP_WATCH_OPTIONS_INIT;
  options.mode = PULSE_WATCH_DELTAS;
  options.old_values = 1;
  pulse_map_watch *watch = NULL;
  check(pulse_map_watch_open(map, &options, &target, &watch, &error), &error, "watch");

  /* The hot loop: each request looks at the flag.  Somebody switches it meanwhile. */
  long requests = 0;
  while (!flag(map, "new-checkout")) {
    if (++requests == WARM_UP) {
      check(pulse_map_set(map, "new-checkout", 12, "on", 2, NULL, NULL, &error), &error, "set");
    }
  }
  int told = follow(queue, "new-checkout");
  printf("the old checkout served %s requests, then the new one took over\n",
         requests >= WARM_UP ? "100000 or more" : "too few");

  check(pulse_map_watch_close_wait(watch, 10000, &error), &error, "close");
  check(pulse_map_destroy_wait(map, NULL, 10000, &error), &error, "destroy");
  pulse_map_watch_unref(watch);
  pulse_map_unref(map);
  pulse_queue_unref(queue);
  close_engine(engine);
  return told ? 0 : 1;
}
