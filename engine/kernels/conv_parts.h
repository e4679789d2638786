/* conv_parts.h -- what the convolution and its weight gradient share: one dimension's index law, and the packing of
 * input rows with their zero border. Private to conv.c and conv_weight.c. */
#pragma once
#include "kernels/fast.h"

/* One dimension of a pass: result j (0 <= j < count) stands at first + step j of the output and reads, for tap t,
 * position j stride + shift + t of the input. The weight of tap t is number k0 + kstep t of the kernel. */
typedef struct axis {
  int in, out;
  int count, first, step;
  int taps, stride, shift;
  int k0, kstep;
} axis;

/* Rows and columns of the input that `count` results read. */
INLINE int axis_reach(const axis *a, int count)
{
  return a->taps ? (count - 1) * a->stride + a->taps : 0;
}

INLINE bool axis_needs_border(const axis *a)
{
  return a->taps && (a->shift < 0 || a->shift + axis_reach(a, a->count) > a->in);
}

INLINE axis axis_forward(const ebbk_conv *g, int i)
{
  return (axis){.in = g->in[i], .out = g->out[i], .count = g->out[i], .step = 1, .taps = g->kernel[i],
                .stride = g->stride[i], .shift = -g->pad[i], .kstep = 1};
}

INLINE int least(int a, int b)
{
  return a < b ? a : b;
}

INLINE int most(int a, int b)
{
  return a > b ? a : b;
}

INLINE int parts(int length, int part)
{
  return (length + part - 1) / part;
}

INLINE size_t aligned(size_t bytes)
{
  return (bytes + 63) / 64 * 64;
}

/* Where rows are packed from and to: `columns` pixels from `left` on, of c channels of which the packed row has
 * `padded` >= c. */
typedef struct packing {
  const float *x;  /* the image of one sample, at its first channel  */
  size_t       xs;
  int          in[3], c, padded;
  int          left, columns;
} packing;

INLINE void copy_channels(float *to, const float *from, int c)
{
  int i = 0;
  for (; i + VL <= c; i += VL) store(to + i, load(from + i));
  if (i < c) store_part(to + i, load_part(from + i, c - i), c - i);
}

/* One row (d, h) of the image; zeros where it is outside, and in the padding channels. */
INLINE void pack_row(float *to, const packing *p, int d, int h)
{
  size_t padded = (size_t)p->padded;
  bool   outside = d < 0 || d >= p->in[0] || h < 0 || h >= p->in[1];
  int    begin = most(0, -p->left), end = least(p->columns, p->in[2] - p->left);
  if (outside || begin >= end) {
    memset(to, 0, sizeof *to * padded * (size_t)p->columns);
    return;
  }
  const float *from = p->x + (((size_t)d * (size_t)p->in[1] + (size_t)h) * (size_t)p->in[2] + (size_t)(p->left + begin)) * p->xs;
  if (begin) memset(to, 0, sizeof *to * padded * (size_t)begin);
  if (end < p->columns) memset(to + (size_t)end * padded, 0, sizeof *to * padded * (size_t)(p->columns - end));
  to += (size_t)begin * padded;
  if (p->xs == padded && p->c == p->padded) {
    memcpy(to, from, sizeof *to * padded * (size_t)(end - begin));
    return;
  }
  for (int w = begin; w < end; w++, from += p->xs, to += padded) {
    copy_channels(to, from, p->c);
    for (int i = p->c; i < p->padded; i++) to[i] = 0;
  }
}

INLINE void pack_plane(float *to, const packing *p, int d, int top, int rows)
{
  for (int r = 0; r < rows; r++) pack_row(to + (size_t)r * (size_t)p->columns * (size_t)p->padded, p, d, top + r);
}
