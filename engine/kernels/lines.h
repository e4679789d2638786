/* lines.h -- how element-wise kernels walk a matrix: line by line, a line being a row, or, where the rows of all
 * operands are dense, a fixed stretch of the whole. Private to the element-wise files. */
#pragma once
#include "kernels/fast.h"

enum { LINE = 4096, PARALLEL_VALUES = 1 << 16, ASK_ROWS = 16 };

typedef struct lines {
  ptrdiff_t count;
  size_t    length, last; /* values in a line, in the last one */
  bool      dense, parallel;
} lines;

INLINE lines lines_of(size_t rows, int c, bool dense)
{
  size_t values = rows * (size_t)c;
  lines  l = {.count = (ptrdiff_t)rows, .length = (size_t)c, .last = (size_t)c, .dense = dense,
              .parallel = values > PARALLEL_VALUES};
  if (!dense || values == 0) return l;
  l.count = (ptrdiff_t)((values + LINE - 1) / LINE);
  l.length = LINE;
  l.last = values - (size_t)(l.count - 1) * LINE;
  return l;
}

/* Where line i of operand p with row stride `stride` begins; asks for a row that will follow. */
INLINE size_t line_at(const lines *l, const void *p, int stride, ptrdiff_t i)
{
  size_t at = (size_t)i * (l->dense ? LINE : (size_t)stride);
  if (!l->dense)
    for (size_t j = 0; j < l->length; j += 16) ask(p, at + ASK_ROWS * (size_t)stride + j);
  return at;
}

#define LINE_AT(p, stride) ((p) + line_at(&l, p, stride, i))

/* How long line i is. */
INLINE size_t line_length(const lines *l, ptrdiff_t i)
{
  return i == l->count - 1 ? l->last : l->length;
}

/* The loop over lines of `l`, shared by the threads. */
#define PARALLEL_LINES _Pragma("omp parallel for schedule(static) if (l.parallel)")

/* Runs the statement for i = 0, VL, ... below n, with k = VL, but what is left in the last round. */
#define FOR_VECTORS(i, k, n) for (size_t i = 0, k; i < (n) && (k = (n) - i < VL ? (n) - i : VL) > 0; i += VL)
