/* act_sums.h -- the sums over pixels that the gradient of act(x scale + shift) needs, one vector of channels.
 * Owns: their arithmetic. Private to the kernels that take them along. */
#pragma once
#include "kernels/operand.h"

typedef struct act_map { vec scale, shift, mean; float slope; } act_map;

/* With dz = dy act'(x scale + shift): sum[0] += dz, sum[1] += dz (x - mean), over n rows; in float over them. Memory is asked for
 * so many rows in advance. */
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
