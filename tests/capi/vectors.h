/* Lines of words: the files of tests/wire, and what MONITOR prints. */
#ifndef PULSE_TESTS_CAPI_VECTORS_H
#define PULSE_TESTS_CAPI_VECTORS_H

#include <stddef.h>

enum { VECTOR_MAX_WORDS = 32 };

typedef struct vector_line {
  size_t count;
  char *words[VECTOR_MAX_WORDS]; /* NUL-terminated; may hold NUL bytes too */
  size_t sizes[VECTOR_MAX_WORDS];
} vector_line;

typedef struct vectors {
  vector_line *lines;
  size_t count;
} vectors;

/* The file tests/wire/<name>; fails the test when it cannot be read. */
vectors *vectors_load(const char *name);
void vectors_free(vectors *v);
/* The nth line (from 0) whose first word is `first`, or NULL. */
const vector_line *vectors_find(const vectors *v, const char *first, size_t nth);

/* Splits one line: words separated by blanks; "..." may hold blanks; the
 * escapes \xNN, \", \\, \n, \r, \t, \a, \b work in both forms. */
void vector_line_parse(vector_line *line, const char *text);
void vector_line_free(vector_line *line);

#endif
