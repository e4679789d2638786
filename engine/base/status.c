/* status.c -- see status.h. */
#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local char message[2048];

ebb_status ebb_fail(ebb_status code, const char *format, ...)
{
  char text[sizeof message]; /* the arguments may include the current message */
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  memcpy(message, text, sizeof text);
  return code;
}

const char *ebb_message(void)
{
  return message;
}

_Noreturn void ebb_abort(const char *file, int line, const char *condition, const char *format, ...)
{
  va_list args;
  fprintf(stderr, "%s:%d: %s does not hold: ", file, line, condition);
  va_start(args, format);
  vfprintf(stderr, format, args);
  va_end(args);
  fputc('\n', stderr);
  abort();
}

static size_t least(size_t a, size_t b)
{
  return a < b ? a : b;
}

/* Levenshtein distance of two words of at most 63 characters. */
static size_t distance(const char *a, const char *b)
{
  size_t n = strlen(b);
  size_t row[64];
  if (n > 63 || strlen(a) > 63) return 64;
  for (size_t j = 0; j <= n; j++) row[j] = j;
  for (size_t i = 1; a[i - 1]; i++) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= n; j++) {
      size_t above = row[j];
      row[j] = least(least(above, row[j - 1]) + 1, diagonal + (a[i - 1] != b[j - 1]));
      diagonal = above;
    }
  }
  return row[n];
}

const char *ebb_nearest(const char *word, const char *const *names, size_t count)
{
  const char *best = NULL;
  size_t      best_distance = least(strlen(word), 3 + strlen(word) / 3);
  for (size_t i = 0; i < count; i++) {
    size_t d = distance(word, names[i]);
    if (d < best_distance) {
      best = names[i];
      best_distance = d;
    }
  }
  return best;
}
