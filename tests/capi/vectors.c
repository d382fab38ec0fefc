#include "vectors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"

static int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/* One byte at *at, which moves behind it. */
static char next_byte(const char **at) {
  static const char letters[] = "nrtab", bytes[] = "\n\r\t\a\b";
  char c = *(*at)++;
  if (c != '\\') return c;
  c = *(*at)++;
  if (c == 'x') {
    int high = hex_digit((*at)[0]), low = high < 0 ? -1 : hex_digit((*at)[1]);
    if (low < 0) fail_msg("bad escape at %s", *at);
    *at += 2;
    return (char)(high * 16 + low);
  }
  const char *letter = c == '\0' ? NULL : strchr(letters, c);
  return letter == NULL ? c : bytes[letter - letters];
}

void vector_line_parse(vector_line *line, const char *text) {
  memset(line, 0, sizeof *line);
  const char *at = text;
  for (;;) {
    while (*at == ' ' || *at == '\n') ++at;
    if (*at == '\0') return;
    assert_true(line->count < VECTOR_MAX_WORDS);
    char *word = malloc(strlen(at) + 1);
    size_t size = 0;
    if (*at == '"') {
      ++at;
      while (*at != '"' && *at != '\0') word[size++] = next_byte(&at);
      if (*at == '"') ++at;
    } else {
      while (*at != ' ' && *at != '\n' && *at != '\0') word[size++] = next_byte(&at);
    }
    word[size] = '\0';
    line->words[line->count] = word;
    line->sizes[line->count++] = size;
  }
}

void vector_line_free(vector_line *line) {
  for (size_t i = 0; i < line->count; ++i) free(line->words[i]);
  line->count = 0;
}

vectors *vectors_load(const char *name) {
  char path[1024], text[4096];
  snprintf(path, sizeof path, "%s/%s", PULSE_TEST_WIRE_DIR, name);
  FILE *file = fopen(path, "r");
  if (file == NULL) fail_msg("%s cannot be read", path);
  vectors *v = calloc(1, sizeof *v);
  while (fgets(text, sizeof text, file) != NULL) {
    if (text[0] == '#' || text[0] == '\n') continue;
    v->lines = realloc(v->lines, (v->count + 1) * sizeof *v->lines);
    vector_line_parse(&v->lines[v->count++], text);
  }
  fclose(file);
  return v;
}

void vectors_free(vectors *v) {
  if (v == NULL) return;
  for (size_t i = 0; i < v->count; ++i) vector_line_free(&v->lines[i]);
  free(v->lines);
  free(v);
}

const vector_line *vectors_find(const vectors *v, const char *first, size_t nth) {
  for (size_t i = 0; i < v->count; ++i) {
    if (strcmp(v->lines[i].words[0], first) == 0 && nth-- == 0) return &v->lines[i];
  }
  return NULL;
}
