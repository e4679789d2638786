/* sums.h -- sums over pixels that norms need, one vector of channels: statistics, and what their gradient asks for.
 * Owns: their arithmetic. Private to norm.c and to the kernels that take them along. */
#pragma once
#include "kernels/operand.h"

/* ---- statistics ---------------------------------------------------------------------------------------------------- */
/* sum[0] += x - pivot, sum[1] += (x - pivot)^2, over n rows; in float over them. Memory is asked for so many rows in advance. */
INLINE void add_moments(const bool stream, double *const sum[2], const float *x, size_t xs, size_t n, int lanes, vec pivot,
                        size_t in_advance)
{
  vec s = {0}, q = {0};
  for (size_t i = 0; i < n; i++, x += xs) {
    vec d = read_vec(stream, x, lanes) - pivot;
    ask(x, in_advance * xs);
    s += d;
    q = multiply_add(d, d, q);
  }
  add_lanes(sum[0], s);
  add_lanes(sum[1], q);
}

/* From those sums, the mean and the sum of squared deviations of n values: mean = pivot + S/n, M2 = Q - S^2/n. Of parts that
 * make a whole: mean = sum n_i mean_i / n, M2 = sum M2_i + n_i (mean_i - mean)^2. */
INLINE void spread_of(double *mean, double *m2, double n, double pivot, double s, double q)
{
  *mean = pivot + s / n;
  *m2 = q - s * (s / n);
}

/* The biased variance; NaN stays NaN. */
INLINE float variance_of(double m2, double n)
{
  return m2 > 0 || m2 != m2 ? (float)(m2 / n) : 0;
}

/* ---- the gradient of act(x scale + shift) ---------------------------------------------------------------------------- */
typedef struct act_map { vec scale, shift, mean; float slope; } act_map;

/* With dz = dy act'(x scale + shift): sum[0] += dz, sum[1] += dz (x - mean), likewise. */
INLINE void add_act_sums(const bool stream, double *const sum[2], const float *x, size_t xs, const float *dy, size_t dys, size_t n,
                         int lanes, const act_map *m, size_t in_advance)
{
  vec s = {0}, sx = {0};
  for (size_t i = 0; i < n; i++, x += xs, dy += dys) {
    vec value = read_vec(stream, x, lanes), d = load_tail(dy, lanes);
    ask(x, in_advance * xs);
    ask(dy, in_advance * dys);
    vec dz = if_positive(affine(value, m->scale, m->shift), d, m->slope * d);
    s += dz;
    sx = multiply_add(dz, value - m->mean, sx);
  }
  add_lanes(sum[0], s);
  add_lanes(sum[1], sx);
}
