/* conv_parts.h -- what the ways to convolve share: the index law of one dimension, and small helpers.
 * Private to conv_direct*.c and winograd*.c. */
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

/* What the next work item will read, asked for a few pixels at a time while this one computes: packing would otherwise
 * wait for memory. `left` pixels from `at` on, c channels each. A hint only; results do not depend on it. */
typedef struct ahead {
  const float *at;
  size_t       stride, left, step; /* step: pixels a call */
  int          c;
} ahead;

INLINE void look_ahead(ahead *a)
{
  for (size_t n = a->left < a->step ? a->left : a->step; n > 0; n--, a->left--, a->at += a->stride)
    for (int i = 0; i < a->c; i += 16) __builtin_prefetch(a->at + i, 0, 2);
}

/* `rows` rows of plane d of an image with three sizes `in`, as far as they exist; `calls` steps. */
INLINE ahead ahead_rows(const float *image, size_t stride, const int in[3], int c, int d, int top, int rows, int calls)
{
  int    first = most(0, top), end = least(in[1], top + rows);
  ahead  a = {.stride = stride, .c = c};
  if (d < 0 || d >= in[0] || end <= first) return a;
  a.at = image + ((size_t)d * (size_t)in[1] + (size_t)first) * (size_t)in[2] * stride;
  a.left = (size_t)(end - first) * (size_t)in[2];
  a.step = a.left / (size_t)most(1, calls) + 1;
  return a;
}
