/* view.c -- see view.h. */
#include "base/view.h"

#include <stdio.h>

ebb_shape ebb_shape_none(void)
{
  return (ebb_shape){0};
}

bool ebb_shape_equal(ebb_shape a, ebb_shape b)
{
  return a.rank == b.rank && a.n == b.n && a.d == b.d && a.h == b.h && a.w == b.w && a.c == b.c && a.stream == b.stream;
}

ebb_shape ebb_shape_channels(ebb_shape s, int c)
{
  s.c = c;
  return s;
}

size_t ebb_sites(ebb_shape s)
{
  return (size_t)s.n * (size_t)s.d * (size_t)s.h * (size_t)s.w;
}

size_t ebb_count(ebb_shape s)
{
  return ebb_sites(s) * (size_t)s.c;
}

size_t ebb_bytes(ebb_shape s)
{
  return ebb_count(s) * sizeof(ebb_real);
}

char *ebb_shape_print(char text[EBB_SHAPE_TEXT], ebb_shape s)
{
  int sizes[] = {s.d, s.h, s.w, s.c};
  int length = 0;
  text[0] = 0;
  for (int i = 3 - s.rank; i < 4; i++)
    length += snprintf(text + length, EBB_SHAPE_TEXT - (size_t)length, "%s%d", length ? "x" : "", sizes[i]);
  return text;
}

ebb_view ebb_view_of(void *p, ebb_shape s)
{
  return (ebb_view){.s = s, .stride = s.c, .p = p};
}

ebb_view ebb_view_channels(ebb_view v, int first, int c)
{
  EBB_ASSERT(first >= 0 && c >= 0 && first + c <= v.s.c, "channels %d to %d of %d", first, first + c, v.s.c);
  if (v.p) v.p = (ebb_real *)v.p + first; /* ebb_fixed has the same size */
  v.s.c = c;
  return v;
}

ebb_shape ebb_shape_real(ebb_shape s)
{
  s.stream = false;
  return s;
}

ebb_view ebb_view_retyped(ebb_view v, ebb_shape s)
{
  EBB_ASSERT(s.c == v.s.c || (v.stride == v.s.c && ebb_count(s) == ebb_count(v.s)), "%d channels of %d, stride %d, as %d",
             v.s.c, v.stride, v.stride, s.c);
  if (s.c != v.s.c) v.stride = s.c;
  v.s = s;
  return v;
}
