/* print.c -- see print.h. */
#include "print.h"

#include <math.h>
#include <stdio.h>

int ebb_print_json(json_t *document)
{
  int failed = document ? json_dumpf(document, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) : -1;
  json_decref(document);
  putchar('\n');
  if (!failed) return EBB_OK;
  fputs("ebb: standard output: expected a JSON document, writing it failed\n", stderr);
  return EBB_IOERR;
}

char *ebb_print_bytes(char text[EBB_BYTES_TEXT], size_t bytes)
{
  static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = (double)bytes;
  int    unit = 0;
  for (; value >= 1024 && unit < 4; unit++) value /= 1024;
  snprintf(text, EBB_BYTES_TEXT, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
  return text;
}

json_t *ebb_json_shape(ebb_shape s)
{
  json_t *list = json_array();
  int     sizes[] = {s.d, s.h, s.w, s.c};
  for (int i = 3 - s.rank; i < 4; i++) json_array_append_new(list, json_integer(sizes[i]));
  return list;
}

json_t *ebb_json_number(double v)
{
  return isfinite(v) ? json_real(v) : json_null();
}
