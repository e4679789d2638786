/* notes.c -- see notes.h. */
#include "datasets/notes.h"

#include <stdarg.h>
#include <stdio.h>

void ebb_note(ebb_notes *n, const char *format, ...)
{
  char text[1024];
  va_list args;
  if (n->count == EBB_NOTES_MOST) return;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  n->line[n->count++] = ebb_pool_text(n->pool, "%s", text);
}
