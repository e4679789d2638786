/* conv_parts.h -- what the ways to convolve share: the index law of one dimension, and small helpers.
 * Private to conv_direct*.c and winograd*.c. */
#pragma once
#include "kernels/operand.h"

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

/* Taps of result j that are inside the image: from the first to before the end; those outside add zeros, and need not. */
typedef struct inside { int first, end; } inside;

INLINE inside taps_inside(const axis *a, int j)
{
  int at = j * a->stride + a->shift, first = least(a->taps, most(0, -at));
  return (inside){first, most(first, least(a->taps, a->in - at))};
}

/* ---- the input: an ebbk_input from a channel on, `c` of them --------------------------------------------------------- */
typedef struct source {
  const float *x, *scale, *shift;
  size_t       xs, instance;     /* instance: from a sample's scale to the next one's, or 0 */
  float        slope;
  int          how, c;           /* how: a reading */
} source;

INLINE source source_of(const ebbk_input *x, int channels, int first, int c)
{
  source s = {.x = (const float *)x->x + first, .xs = (size_t)x->stride, .how = reading_of(x), .c = c, .slope = x->slope};
  if (!x->scale) return s;
  s.scale = x->scale + first, s.shift = x->shift + first;
  s.instance = x->per_instance ? (size_t)channels : 0;
  return s;
}

/* The map of one vector of channels. */
typedef struct source_map { vec scale, shift; float slope; } source_map;

INLINE source_map source_map_at(const int how, const source *s, int sample, int channel, int n)
{
  source_map m = {.slope = s->slope};
  if (!(how & MAPPED)) return m;
  size_t at = (size_t)sample * s->instance + (size_t)channel;
  m.scale = load_tail(s->scale + at, n), m.shift = load_tail(s->shift + at, n);
  return m;
}

INLINE vec source_vec(const int how, const float *p, int n, const source_map *m)
{
  vec v = read_vec(how & FROM_STREAM, p, n);
  return how & MAPPED ? activated(affine(v, m->scale, m->shift), m->slope) : v;
}

/* c channels of one pixel as they are read; `to` may be written up to the next whole vector. */
INLINE void source_pixel(float *to, const source *s, const float *x, int sample, int c)
{
  for (int i = 0; i < c; i += VL) {
    int        n = least(VL, c - i);
    source_map m = source_map_at(s->how, s, sample, i, n);
    store_tail(to + i, source_vec(s->how, x + i, n, &m), n);
  }
}

/* ---- outer products in registers: acc[i, v] += x[i] b[v], of up to OUTER_MOST channels and two vectors ----------------- */
enum { OUTER_MOST = 8 };

INLINE void outer_clear(const int channels, const int vectors, vec acc[OUTER_MOST][2])
{
  UNROLL
  for (int i = 0; i < channels; i++)
    UNROLL
    for (int v = 0; v < vectors; v++) acc[i][v] = (vec){0};
}

INLINE void outer_add(const int channels, const int vectors, vec acc[OUTER_MOST][2], const float *x, const vec b[2])
{
  UNROLL
  for (int i = 0; i < channels; i++) {
    vec a = broadcast(x[i]);
    UNROLL
    for (int v = 0; v < vectors; v++) acc[i][v] += a * b[v];
  }
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
