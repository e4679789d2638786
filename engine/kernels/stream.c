/* stream.c -- the fixed-point stream: real values to the grid and back, exact addition and its inverse.
 * Owns: rounding (to nearest, ties to even), the clamp, what counts as out of range. One pass each, bound by memory:
 * the range is tested a vector at a time, and only a vector that leaves it is looked at value by value.
 *
 *   q(x) = round(x 2^20) for -2^31 <= x 2^20 < 2^31, else the nearest value of the range, 0 for NaN
 *   y += q(x) and y -= q(x) wrap modulo 2^32, so that the second undoes the first whatever the values */
#include "kernels/lines.h"
#include "kernels/operand.h"

NOINLINE void note_values(ebbk_range *range, vec v)
{
  for (int i = 0; i < VL; i++)
    if (outside(v[i])) note(range, isnan(v[i]) ? INFINITY : fabs((double)v[i]) / (double)EBB_FIXED_ONE);
}

void NAME(fixed_from_real)(int32_t *y, int ys, const float *x, int xs, size_t rows, int c, ebbk_range *range)
{
  lines    l = lines_of(rows, c, ys == c && xs == c);
  uint64_t count = 0;
  double   worst = 0;
#pragma omp parallel for schedule(static) if (l.parallel) reduction(+ : count) reduction(max : worst)
  for (ptrdiff_t i = 0; i < l.count; i++) {
    size_t n = line_length(&l, i);
    ebbk_range   seen = {0};
    int32_t     *to = LINE_AT(y, ys);
    const float *from = LINE_AT(x, xs);
    FOR_VECTORS(j, k, n)
    {
      bool in;
      vec  v = load_tail(from + j, (int)k) * (float)EBB_FIXED_ONE;
      veci q = quantise(v, &in);
      if (!in) note_values(&seen, v);
      store_tail_int(to + j, q, (int)k);
    }
    count += seen.count;
    worst = seen.worst > worst ? seen.worst : worst;
  }
  add_range(range, count, worst);
}

void NAME(real_from_fixed)(float *y, int ys, const int32_t *x, int xs, size_t rows, int c)
{
  lines l = lines_of(rows, c, ys == c && xs == c);
  PARALLEL_LINES
  for (ptrdiff_t i = 0; i < l.count; i++) {
    size_t n = line_length(&l, i);
    float         *to = LINE_AT(y, ys);
    const int32_t *from = LINE_AT(x, xs);
    FOR_VECTORS(j, k, n)
      store_tail(to + j, read_vec(true, (const float *)from + j, (int)k), (int)k);
  }
}

void NAME(fixed_add)(int32_t *y, int ys, const float *x, int xs, size_t rows, int c, ebbk_range *range)
{
  lines    l = lines_of(rows, c, ys == c && xs == c);
  uint64_t count = 0;
  double   worst = 0;
#pragma omp parallel for schedule(static) if (l.parallel) reduction(+ : count) reduction(max : worst)
  for (ptrdiff_t i = 0; i < l.count; i++) {
    size_t n = line_length(&l, i);
    ebbk_range   seen = {0};
    int32_t     *to = LINE_AT(y, ys);
    const float *from = LINE_AT(x, xs);
    FOR_VECTORS(j, k, n)
      write_vec(EBBK_STREAM_ADD, (float *)to + j, load_tail(from + j, (int)k), (int)k, &seen);
    count += seen.count;
    worst = seen.worst > worst ? seen.worst : worst;
  }
  add_range(range, count, worst);
}

void NAME(fixed_subtract)(int32_t *y, int ys, const float *x, int xs, size_t rows, int c)
{
  lines l = lines_of(rows, c, ys == c && xs == c);
  PARALLEL_LINES
  for (ptrdiff_t i = 0; i < l.count; i++) {
    size_t n = line_length(&l, i);
    int32_t     *to = LINE_AT(y, ys);
    const float *from = LINE_AT(x, xs);
    FOR_VECTORS(j, k, n)
      write_vec(EBBK_STREAM_SUBTRACT, (float *)to + j, load_tail(from + j, (int)k), (int)k, NULL);
  }
}
