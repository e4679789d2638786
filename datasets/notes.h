/* notes.h -- what was decided about a file, line by line, so that no guess is silent.
 * Owns: the lines. Must not know: who prints them. */
#pragma once
#include "base/arena.h"

#define EBB_NOTES_MOST 64

typedef struct ebb_notes {
  ebb_pool   *pool;
  const char *line[EBB_NOTES_MOST];
  int         count;
} ebb_notes;

void ebb_note(ebb_notes *n, const char *format, ...) __attribute__((format(printf, 2, 3)));
