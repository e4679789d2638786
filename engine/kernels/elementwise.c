/* elementwise.c -- one value in, one value out.
 * Owns: fill, copy, add, leaky ReLU, mapped functions. All are bound by memory: one pass, each operand touched once. */
#include "kernels/lines.h"

void NAME(fill)(float *y, int ys, float value, size_t rows, int c)
{
  lines l = lines_of(rows, c, ys == c);
  PARALLEL_LINES
  for (ptrdiff_t i = 0; i < l.count; i++) {
    size_t n = line_length(&l, i);
    float *to = LINE_AT(y, ys);
    FOR_VECTORS(j, k, n) store_tail(to + j, broadcast(value), (int)k);
  }
}

void NAME(copy)(float *y, int ys, const float *x, int xs, size_t rows, int c)
{
  lines l = lines_of(rows, c, ys == c && xs == c);
  if (y == x && ys == xs) return;
  PARALLEL_LINES
  for (ptrdiff_t i = 0; i < l.count; i++) {
    size_t n = line_length(&l, i);
    float       *to = LINE_AT(y, ys);
    const float *from = LINE_AT(x, xs);
    FOR_VECTORS(j, k, n) store_tail(to + j, load_tail(from + j, (int)k), (int)k);
  }
}

/* y += x */
void NAME(add)(float *y, int ys, const float *x, int xs, size_t rows, int c)
{
  lines l = lines_of(rows, c, ys == c && xs == c);
  PARALLEL_LINES
  for (ptrdiff_t i = 0; i < l.count; i++) {
    size_t n = line_length(&l, i);
    float       *to = LINE_AT(y, ys);
    const float *from = LINE_AT(x, xs);
    FOR_VECTORS(j, k, n)
      store_tail(to + j, load_tail(to + j, (int)k) + load_tail(from + j, (int)k), (int)k);
  }
}

/* y = x > 0 ? x : slope x */
void NAME(leaky)(float *y, int ys, const float *x, int xs, float slope, size_t rows, int c)
{
  lines l = lines_of(rows, c, ys == c && xs == c);
  PARALLEL_LINES
  for (ptrdiff_t i = 0; i < l.count; i++) {
    size_t n = line_length(&l, i);
    float       *to = LINE_AT(y, ys);
    const float *from = LINE_AT(x, xs);
    FOR_VECTORS(j, k, n)
    {
      vec v = load_tail(from + j, (int)k);
      store_tail(to + j, if_positive(v, v, slope * v), (int)k);
    }
  }
}

/* dx = x > 0 ? dy : slope dy */
void NAME(leaky_grad)(float *dx, int dxs, const float *x, int xs, const float *dy, int dys, float slope, size_t rows,
                      int c)
{
  lines l = lines_of(rows, c, dxs == c && xs == c && dys == c);
  PARALLEL_LINES
  for (ptrdiff_t i = 0; i < l.count; i++) {
    size_t n = line_length(&l, i);
    float       *to = LINE_AT(dx, dxs);
    const float *from = LINE_AT(x, xs), *grad = LINE_AT(dy, dys);
    FOR_VECTORS(j, k, n)
    {
      vec d = load_tail(grad + j, (int)k);
      store_tail(to + j, if_positive(load_tail(from + j, (int)k), d, slope * d), (int)k);
    }
  }
}

void NAME(map)(float *y, int ys, const float *x, int xs, double (*f)(double), size_t rows, int c)
{
  lines l = lines_of(rows, c, ys == c && xs == c);
  PARALLEL_LINES
  for (ptrdiff_t i = 0; i < l.count; i++) {
    size_t n = line_length(&l, i);
    float       *to = LINE_AT(y, ys);
    const float *from = LINE_AT(x, xs);
    for (size_t j = 0; j < n; j++) to[j] = (float)f((double)from[j]);
  }
}

void NAME(map_grad)(float *dx, int dxs, const float *x, int xs, const float *dy, int dys, double (*derivative)(double),
                    size_t rows, int c)
{
  lines l = lines_of(rows, c, dxs == c && xs == c && dys == c);
  PARALLEL_LINES
  for (ptrdiff_t i = 0; i < l.count; i++) {
    size_t n = line_length(&l, i);
    float       *to = LINE_AT(dx, dxs);
    const float *from = LINE_AT(x, xs), *grad = LINE_AT(dy, dys);
    for (size_t j = 0; j < n; j++) to[j] = (float)((double)grad[j] * derivative((double)from[j]));
  }
}
