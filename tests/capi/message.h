/* Messages as peers write them: texts with their length before them. */
#ifndef PULSE_TESTS_CAPI_MESSAGE_H
#define PULSE_TESTS_CAPI_MESSAGE_H

#include <stddef.h>

typedef struct wire_message {
  char data[512];
  size_t size;
} wire_message;

/* Appends the bytes, or the bytes after their length; fails the test when there is no room. */
void message_put(wire_message *m, const void *data, size_t size);
void message_pack(wire_message *m, const void *data, size_t size);
void message_pack_text(wire_message *m, const char *text);

/* What a map publishes; `kind`: "set" or "del".  NULL value: there is none. */
wire_message message_of_map(const char *kind, const char *key, const char *value,
                            const char *revision);

#endif
