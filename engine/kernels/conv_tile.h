/* conv_tile.h -- the innermost loops of conv_direct.c: tiles of pixels x vectors of output channels in registers.
 * Owns: the tiles' sizes and the order of their sums. Must not know: images, rows, borders (it has pointers, offsets).
 *
 * A plain tile takes any pixels, each by its pointer. A run tile takes neighbouring pixels and three neighbouring taps,
 * and uses each input value for all three while it is in a register: a third of the loads, which are the limit for 16
 * output channels. Both do 2 taps Cin FLOP for each result, whose memory they ask for before: stores of a tile that miss
 * the cache would hold up the next one. A plain tile asks again before its last tap: its other operands fill L1. */
#pragma once
#include "kernels/conv_parts.h"

enum {
  WIDE = 2,                                            /* vectors in a panel, 1 in the last if their number is odd */
  WIDE_PIXELS = REGISTERS == 32 ? 12 : VL == 8 ? 6 : 4, /* with weights and an input value these fill the registers */
  FEW_PIXELS = WIDE_PIXELS / 3,                        /* of a block's last ones: few are repeated */
  NARROW_PIXELS = REGISTERS == 32 ? 12 : 8,
  RUN_TAPS = 3,
  WIDE_RUN = 8,
  NARROW_RUN = 8,
  NARROW_LONG_RUN = 16,
  PIXELS_MOST = 16,
};

/* A sweep: `taps` taps of `ci` channels each, added to what y holds, or to the bias if it is the first. */
typedef struct sweep {
  const float     *w;       /* (taps, w_tap / lanes channels of which it uses ci, lanes) */
  size_t           w_tap;   /* floats between the weights of neighbouring taps */
  const float     *b;       /* of this panel, or NULL */
  const ptrdiff_t *offset;  /* (taps) */
  int              taps, ci;
  bool             first;
  int              tail;    /* channels in the last vector */
  ahead           *next;    /* a step a tap, or a group of them */
} sweep;

/* y[i, v] += sum over taps and ci of x[i][offset[tap] + ci] w[tap, ci, v] */
INLINE void tile(const int pixels, const int vectors, float *const *y, const float *const *x, const sweep *s)
{
  vec       acc[PIXELS_MOST][WIDE], w[WIDE];
  ptrdiff_t from_first[PIXELS_MOST]; /* constant, so that one pointer moves and all fit the registers */
  UNROLL
  for (int i = 0; i < pixels; i++) {
    from_first[i] = x[i] - x[0];
    UNROLL
    for (int v = 0; v < vectors; v++) {
      int          n = v == vectors - 1 ? s->tail : VL;
      const float *from = s->first ? s->b : y[i];
      if (s->first) __builtin_prefetch(y[i] + v * VL, 1);
      acc[i][v] = from ? load_tail(from + v * VL, n) : (vec){0};
    }
  }
  for (int t = 0; t < s->taps; t++) {
    const float *panel = s->w + (size_t)t * s->w_tap, *at = x[0] + s->offset[t], *end = at + s->ci;
    look_ahead(s->next);
    if (t == s->taps - 1)
      UNROLL
      for (int i = 0; i < pixels; i++)
        UNROLL
        for (int v = 0; v < vectors; v++) __builtin_prefetch(y[i] + v * VL, 1);
    for (; at < end; at++, panel += vectors * VL) {
      UNROLL
      for (int v = 0; v < vectors; v++) w[v] = load(panel + v * VL);
      UNROLL
      for (int i = 0; i < pixels; i++) {
        vec a = broadcast(at[from_first[i]]);
        UNROLL
        for (int v = 0; v < vectors; v++) acc[i][v] += a * w[v];
      }
    }
  }
  UNROLL
  for (int i = 0; i < pixels; i++)
    UNROLL
    for (int v = 0; v < vectors; v++) store_tail(y[i] + v * VL, acc[i][v], v == vectors - 1 ? s->tail : VL);
}

NOINLINE void wide_tile(float *const *y, const float *const *x, const sweep *s)
{
  tile(WIDE_PIXELS, WIDE, y, x, s);
}

NOINLINE void few_tile(float *const *y, const float *const *x, const sweep *s)
{
  tile(FEW_PIXELS, WIDE, y, x, s);
}

NOINLINE void narrow_tile(float *const *y, const float *const *x, const sweep *s)
{
  tile(NARROW_PIXELS, 1, y, x, s);
}

/* The same for a run of neighbouring pixels and taps in threes: input pixel i meets tap j in result i - j.
 * at[i / 3] + i % 3 steps is where pixel i is: few pointers, and steps that the processor can add itself. */
INLINE void run_tile(const int pixels, const int vectors, float *y, size_t y_pixel, const float *x, size_t x_pixel,
                     const sweep *s)
{
  vec         acc[PIXELS_MOST][WIDE], w[RUN_TAPS][WIDE];
  const char *at[(PIXELS_MOST + RUN_TAPS - 1) / 3 + 1];
  size_t      step = x_pixel * sizeof(float);
  UNROLL
  for (int i = 0; i < pixels; i++)
    UNROLL
    for (int v = 0; v < vectors; v++) {
      int          n = v == vectors - 1 ? s->tail : VL;
      const float *from = s->first ? s->b : y + (size_t)i * y_pixel;
      if (s->first) __builtin_prefetch(y + (size_t)i * y_pixel + v * VL, 1);
      acc[i][v] = from ? load_tail(from + v * VL, n) : (vec){0};
    }
  for (int t = 0; t < s->taps; t += RUN_TAPS) {
    const float *panel = s->w + (size_t)t * s->w_tap;
    UNROLL
    for (int i = 0; i < (pixels + 4) / 3; i++) at[i] = (const char *)(x + s->offset[t]) + 3 * (size_t)i * step;
    look_ahead(s->next);
    for (int k = 0; k < s->ci; k++, panel += vectors * VL) {
      UNROLL
      for (int j = 0; j < RUN_TAPS; j++)
        UNROLL
        for (int v = 0; v < vectors; v++) w[j][v] = load(panel + (size_t)j * s->w_tap + v * VL);
      UNROLL
      for (int i = 0; i < pixels + RUN_TAPS - 1; i++) {
        vec a = broadcast(*(const float *)(const void *)(at[i / 3] + (size_t)(i % 3) * step));
        UNROLL
        for (int j = 0; j < RUN_TAPS; j++)
          if (i - j >= 0 && i - j < pixels)
            UNROLL
            for (int v = 0; v < vectors; v++) acc[i - j][v] += a * w[j][v];
      }
      UNROLL
      for (int i = 0; i < (pixels + 4) / 3; i++) at[i] += sizeof(float);
    }
  }
  UNROLL
  for (int i = 0; i < pixels; i++)
    UNROLL
    for (int v = 0; v < vectors; v++)
      store_tail(y + (size_t)i * y_pixel + v * VL, acc[i][v], v == vectors - 1 ? s->tail : VL);
}

NOINLINE void wide_run(float *y, size_t y_pixel, const float *x, size_t x_pixel, const sweep *s)
{
  run_tile(WIDE_RUN, WIDE, y, y_pixel, x, x_pixel, s);
}

NOINLINE void narrow_run(float *y, size_t y_pixel, const float *x, size_t x_pixel, const sweep *s)
{
  run_tile(NARROW_RUN, 1, y, y_pixel, x, x_pixel, s);
}

NOINLINE void narrow_long_run(float *y, size_t y_pixel, const float *x, size_t x_pixel, const sweep *s)
{
  run_tile(NARROW_LONG_RUN, 1, y, y_pixel, x, x_pixel, s);
}
