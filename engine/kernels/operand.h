/* operand.h -- how vector kernels read an ebbk_input and write an ebbk_output.
 * Owns: the arithmetic of both, so that every kernel that fuses them has the bits of the pass it replaces.
 * Reals and the stream's integers have one size: places in both are pointers to float. */
#pragma once
#include "kernels/fixed.h"

/* What there is to do with a value that is read; constant in inner loops. */
typedef enum reading { PLAIN = 0, FROM_STREAM = 1, MAPPED = 2 } reading; /* the latter two may come together */

INLINE int reading_of(const ebbk_input *x)
{
  return (x->stream ? FROM_STREAM : PLAIN) | (x->scale ? MAPPED : PLAIN);
}

INLINE vec read_vec(const bool stream, const float *p, int n)
{
  vec v = load_tail(p, n);
  return stream ? settled(from_int((veci)v) * (1 / (float)EBB_FIXED_ONE)) : v;
}

/* act(z) = z > 0 ? z : slope z at z = x scale + shift; the kernels that meet it must agree on the sign of z to the bit */
INLINE vec affine(vec x, vec scale, vec shift)
{
  return multiply_add(x, scale, shift);
}

INLINE vec activated(vec z, float slope)
{
  return if_positive(z, z, slope * z);
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */
/* sum = y + q(x): out of range if x is, or the true sum is; `worst` is the larger of the two */
static __attribute__((noinline, unused)) void note_sums(ebbk_range *range, vec v, veci y, veci q)
{
  for (int i = 0; i < VL; i++) {
    int64_t sum = (int64_t)y[i] + q[i];
    double  value = !outside(v[i]) ? 0 : isnan(v[i]) ? INFINITY : fabs((double)v[i]);
    if (sum != (int32_t)sum) value = fmax(value, fabs((double)sum));
    if (value != 0) note(range, value / (double)EBB_FIXED_ONE);
  }
}

/* y + q(x), y - q(x) */
INLINE veci stream_plus(veci y, vec x, ebbk_range *range)
{
  bool in;
  vec  v = x * (float)EBB_FIXED_ONE;
  veci q = quantise(v, &in), sum = (veci)((vecu)y + (vecu)q);
  if (!in || any_negative((y ^ sum) & (q ^ sum))) note_sums(range, v, y, q);
  return sum;
}

INLINE veci stream_minus(veci y, vec x)
{
  bool in;
  veci q = quantise(x * (float)EBB_FIXED_ONE, &in);
  return (veci)((vecu)y - (vecu)q);
}

/* The first n lanes of v to p; range: this thread's. */
INLINE void write_vec(const ebbk_write how, float *p, vec v, int n, ebbk_range *range)
{
  switch (how) {
  case EBBK_SET: store_tail(p, v, n); break;
  case EBBK_ADD: store_tail(p, load_tail(p, n) + v, n); break;
  case EBBK_STREAM_ADD: store_tail(p, (vec)stream_plus((veci)load_tail(p, n), n == VL ? v : first_of(v, n), range), n); break;
  case EBBK_STREAM_SUBTRACT: store_tail(p, (vec)stream_minus((veci)load_tail(p, n), v), n); break;
  }
}

/* What a thread saw joins what is known: sums and maxima, whose order does not matter. */
INLINE void join_range(ebbk_range *range, const ebbk_range *seen)
{
  if (seen->count == 0) return;
#pragma omp critical(ebbk_range_join)
  add_range(range, seen->count, seen->worst);
}
