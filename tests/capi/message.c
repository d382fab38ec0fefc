#include "message.h"

#include "fixture.h"

void message_put(wire_message *m, const void *data, size_t size) {
  assert_true(m->size + size <= sizeof m->data);
  memcpy(m->data + m->size, data, size);
  m->size += size;
}

void message_pack(wire_message *m, const void *data, size_t size) {
  const unsigned char length[4] = {(unsigned char)size, (unsigned char)(size >> 8), 0, 0};
  message_put(m, length, sizeof length);
  message_put(m, data, size);
}

void message_pack_text(wire_message *m, const char *text) { message_pack(m, text, strlen(text)); }

wire_message message_of_map(const char *kind, const char *key, const char *value,
                            const char *revision) {
  wire_message m = {.size = 0};
  message_put(&m, kind, strlen(kind));
  message_put(&m, ":", 1);
  message_pack_text(&m, key);
  if (value != NULL) message_pack_text(&m, value);
  message_pack_text(&m, revision);
  return m;
}
