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

INLINE vec stream_value(veci v)
{
  return settled(from_int(v) * (1 / (float)EBB_FIXED_ONE));
}

INLINE vec read_vec(const bool stream, const float *p, int n)
{
  vec v = load_tail(p, n);
  return stream ? stream_value((veci)v) : v;
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
/* y + q(x) or y - q(x) for v = x in units of the grid; the sign of a lane of *bad is set where the stream cannot hold the
 * operand or, in a sum, the result. */
INLINE veci stream_sum(const bool plus, veci y, vec v, veci *bad)
{
  veci q = round_to_int(v), sum = plus ? (veci)((vecu)y + (vecu)q) : (veci)((vecu)y - (vecu)q);
  *bad |= beyond_int(v, q);
  if (plus) *bad |= (y ^ sum) & (q ^ sum);
  return sum;
}

/* The same for all lanes, and noted: a sum is out of range if x is, or the true sum is; `worst` is the larger of the two. */
static __attribute__((noinline, unused)) veci stream_sum_outside(const bool plus, veci y, vec v, ebbk_range *range)
{
  veci q = quantise_outside(v);
  if (!plus) return (veci)((vecu)y - (vecu)q);
  for (int i = 0; i < VL; i++) {
    int64_t sum = (int64_t)y[i] + q[i];
    double  value = !outside(v[i]) ? 0 : isnan(v[i]) ? INFINITY : fabs((double)v[i]);
    if (sum != (int32_t)sum) value = fmax(value, fabs((double)sum));
    if (value != 0) note(range, value / (double)EBB_FIXED_ONE);
  }
  return (veci)((vecu)y + (vecu)q);
}

enum { WRITE_MOST = 4 };

/* The first n lanes of v[i] to p + i stride, i < count; one test for all of them. v becomes what is written. */
INLINE void stream_vecs(const bool plus, float *p, size_t stride, vec *v, const int count, int n, ebbk_range *range)
{
  veci sum[WRITE_MOST], bad = {0};
  vec  x[WRITE_MOST];
  UNROLL
  for (int i = 0; i < count; i++) {
    x[i] = (n == VL ? v[i] : first_of(v[i], n)) * (float)EBB_FIXED_ONE;
    sum[i] = stream_sum(plus, (veci)load_tail(p + (size_t)i * stride, n), x[i], &bad);
  }
  if (any_negative(bad))
    for (int i = 0; i < count; i++) sum[i] = stream_sum_outside(plus, (veci)load_tail(p + (size_t)i * stride, n), x[i], range);
  UNROLL
  for (int i = 0; i < count; i++) store_tail(p + (size_t)i * stride, v[i] = (vec)sum[i], n);
}

INLINE bool onto_stream(const ebbk_write how)
{
  return how == EBBK_STREAM_ADD || how == EBBK_STREAM_SUBTRACT;
}

/* The first n lanes of v[i] to p + i stride, i < count; range: this thread's. v becomes what is written. */
INLINE void write_vecs(const ebbk_write how, float *p, size_t stride, vec *v, const int count, int n, ebbk_range *range)
{
  if (onto_stream(how)) {
    stream_vecs(how == EBBK_STREAM_ADD, p, stride, v, count, n, range);
    return;
  }
  UNROLL
  for (int i = 0; i < count; i++, p += stride) {
    if (how == EBBK_ADD) v[i] += load_tail(p, n);
    store_tail(p, v[i], n);
  }
}

INLINE void write_vec(const ebbk_write how, float *p, vec v, int n, ebbk_range *range)
{
  write_vecs(how, p, 0, &v, 1, n, range);
}
