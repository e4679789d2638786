/* reference_operand.h -- how the reference reads an ebbk_input and writes an ebbk_output, value by value; the stream's
 * arithmetic. Private to reference.c. */
#pragma once
#include <math.h>

#include "kernels/kernels.h"

#ifdef EBB_DOUBLE
typedef uint64_t word;
#else
typedef uint32_t word;
#endif

static inline void note(ebbk_range *range, double magnitude)
{
  if (!range || magnitude == 0) return;
  range->count++;
  if (magnitude > range->worst) range->worst = magnitude;
}

/* round(x 2^EBB_FIXED_BITS), clamped to the range. *beyond: 0, or |x| if outside (inf for NaN, which becomes 0) */
static inline ebb_fixed quantise(ebb_real x, double *beyond)
{
  const ebb_real limit = EBB_FIXED_ONE * EBB_FIXED_RANGE;
  ebb_real       v = x * EBB_FIXED_ONE;
  *beyond = 0;
  if (v >= -limit && v < limit) return (ebb_fixed)llrint((double)v);
  *beyond = isnan(x) ? INFINITY : fabs((double)x);
  if (isnan(x)) return 0;
  return x < 0 ? (ebb_fixed)-limit
               : (ebb_fixed)(limit * (1 - (sizeof(ebb_real) == 4 ? (ebb_real)0x1p-24 : (ebb_real)0x1p-53)));
}

static inline ebb_fixed stream_plus(ebb_fixed y, ebb_real x, ebbk_range *range)
{
  double    beyond;
  ebb_fixed q = quantise(x, &beyond), sum;
  if (__builtin_add_overflow(y, q, &sum)) beyond = fmax(beyond, fabs((double)y + (double)q) / (double)EBB_FIXED_ONE);
  note(range, beyond);
  return sum;
}

static inline ebb_fixed stream_minus(ebb_fixed y, ebb_real x)
{
  double beyond;
  return (ebb_fixed)((word)y - (word)quantise(x, &beyond));
}

static inline ebb_real act(ebb_real v, ebb_real slope)
{
  return v > 0 ? v : slope * v;
}

/* Channel j of pixel `row`, before the map. */
static inline ebb_real value_at(const ebbk_input *x, size_t row, int j)
{
  size_t at = row * (size_t)x->stride + (size_t)j;
  return x->stream ? (ebb_real)((const ebb_fixed *)x->x)[at] / EBB_FIXED_ONE : ((const ebb_real *)x->x)[at];
}

/* After it; the instance's scale and shift begin at k. */
static inline ebb_real read_at(const ebbk_input *x, size_t row, int j, size_t k)
{
  ebb_real v = value_at(x, row, j);
  return x->scale ? act(v * x->scale[k + (size_t)j] + x->shift[k + (size_t)j], x->slope) : v;
}

static inline void write_at(const ebbk_output *y, size_t row, int j, ebb_real v)
{
  size_t at = row * (size_t)y->stride + (size_t)j;
  switch (y->how) {
  case EBBK_SET: ((ebb_real *)y->y)[at] = v; break;
  case EBBK_ADD: ((ebb_real *)y->y)[at] += v; break;
  case EBBK_STREAM_ADD: ((ebb_fixed *)y->y)[at] = stream_plus(((ebb_fixed *)y->y)[at], v, y->range); break;
  case EBBK_STREAM_SUBTRACT: ((ebb_fixed *)y->y)[at] = stream_minus(((ebb_fixed *)y->y)[at], v); break;
  }
}
