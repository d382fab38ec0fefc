/* Event sourcing: what is true is what has happened.  The balances of some accounts are not stored
 * anywhere; each process gets them by replaying the stream of transfers, and keeps them by
 * following it.
 *
 *   event_sourcing [URL] */
#include "example.h"

enum { ACCOUNTS = 4, EACH_START = 100, TRANSFERS = 500 };

/* The state, and up to where it is true. */
typedef struct {
  long balance[ACCOUNTS];
  long events;
  pulse_event_id at;
} ledger;

/* The only place that changes the state. */
static void apply(ledger *l, const pulse_event *event) {
  char text[64] = "";
  memcpy(text, event->payload,
         event->payload_len < sizeof text ? event->payload_len : sizeof text - 1);
  int from = 0, to = 0;
  long amount = 0;
  if (event->name_len == 6 && memcmp(event->name, "opened", 6) == 0) {
    if (sscanf(text, "%d %ld", &to, &amount) != 2) return;
  } else {
    if (sscanf(text, "%d %d %ld", &from, &to, &amount) != 3) return;
    l->balance[from % ACCOUNTS] -= amount;
  }
  l->balance[to % ACCOUNTS] += amount;
  l->events++;
  l->at = event->id;
}

/* Reads until the state is that of the event `id`. */
static int replay(ledger *l, pulse_queue *queue, const pulse_event_id *id) {
  while (pulse_event_id_compare(&l->at, id) < 0) {
    pulse_event events[64];
    int64_t n = pulse_queue_poll(queue, events, sizeof events[0], 64, 10000);
    if (n <= 0) return 0;
    for (int64_t i = 0; i < n; ++i) {
      if (events[i].kind == PULSE_EVENT_MESSAGE) apply(l, &events[i]);
    }
  }
  return 1;
}

static pulse_event_id publish(pulse_stream *stream, const char *name, const char *text) {
  pulse_event_id id;
  pulse_error error = PULSE_ERROR_INIT;
  check(pulse_stream_add_wait(stream, name, strlen(name), text, strlen(text), NULL, &id, 10000,
                              &error),
        &error, "add");
  return id;
}

/* A reader from the first event on, as every process would open it at its start. */
static pulse_reader *open_reader(pulse_stream *stream, pulse_queue *queue) {
  pulse_target target = PULSE_TARGET_INIT;
  target.queue = queue;
  pulse_reader_options options = PULSE_READER_OPTIONS_INIT;
  options.start = PULSE_START_OLDEST;
  pulse_reader *reader = NULL;
  pulse_error error = PULSE_ERROR_INIT;
  check(pulse_reader_open(stream, &options, &target, &reader, &error), &error, "reader");
  return reader;
}

static void print(const char *what, const ledger *l) {
  long sum = 0;
  printf("%s: %ld events;", what, l->events);
  for (int i = 0; i < ACCOUNTS; ++i) {
    printf(" %ld", l->balance[i]);
    sum += l->balance[i];
  }
  printf("; sum %ld\n", sum);
}

int main(int argc, char **argv) {
  pulse_engine *engine = open_engine(argc, argv, PULSE_DRIVER_THREAD);
  pulse_error error = PULSE_ERROR_INIT;
  /* History is the truth here: it is never trimmed. */
  pulse_stream_options options = PULSE_STREAM_OPTIONS_INIT;
  options.max_len = -1;
  pulse_stream *stream = NULL;
  check(pulse_stream_open(engine, "example:ledger", 14, &options, &stream, &error), &error,
        "stream");

  char text[64];
  pulse_event_id last = {0, 0};
  for (int i = 0; i < ACCOUNTS; ++i) {
    snprintf(text, sizeof text, "%d %d", i, EACH_START);
    last = publish(stream, "opened", text);
  }
  for (int i = 0; i < TRANSFERS; ++i) {
    snprintf(text, sizeof text, "%d %d %d", i % ACCOUNTS, (i * 7 + 1) % ACCOUNTS, i % 13);
    last = publish(stream, "transferred", text);
  }

  /* A process that starts now. */
  pulse_queue *queue = NULL;
  check(pulse_queue_new(&queue, &error), &error, "queue");
  pulse_reader *reader = open_reader(stream, queue);
  ledger first = {0};
  int good = replay(&first, queue, &last);
  print("replayed", &first);

  /* It follows: its state is up to date when it has seen the id that the writer got. */
  last = publish(stream, "transferred", "0 1 50");
  good = good && replay(&first, queue, &last);
  print("followed", &first);

  /* Another one, from nothing, comes to the same. */
  pulse_queue *other_queue = NULL;
  check(pulse_queue_new(&other_queue, &error), &error, "queue");
  pulse_reader *other = open_reader(stream, other_queue);
  ledger second = {0};
  good = good && replay(&second, other_queue, &last);
  print("another ", &second);
  good = good && memcmp(first.balance, second.balance, sizeof first.balance) == 0;

  check(pulse_reader_close_wait(reader, 10000, &error), &error, "close");
  check(pulse_reader_close_wait(other, 10000, &error), &error, "close");
  check(pulse_stream_destroy_wait(stream, 10000, &error), &error, "destroy");
  pulse_reader_unref(reader);
  pulse_reader_unref(other);
  pulse_stream_unref(stream);
  pulse_queue_unref(queue);
  pulse_queue_unref(other_queue);
  close_engine(engine);
  return good ? 0 : 1;
}
