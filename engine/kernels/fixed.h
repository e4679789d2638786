/* fixed.h -- vectors on the grid of the stream: rounding, the clamp, what counts as out of range.
 * Private to the files that compute on the stream. */
#pragma once
#include "kernels/fast.h"

#include <math.h>

static const float limit = 0x1p31f; /* EBB_FIXED_ONE EBB_FIXED_RANGE */

INLINE void note(ebbk_range *range, double magnitude)
{
  range->count++;
  if (magnitude > range->worst) range->worst = magnitude;
}

INLINE void add_range(ebbk_range *range, uint64_t count, double worst)
{
  if (!range) return;
  range->count += count;
  if (worst > range->worst) range->worst = worst;
}

/* What a thread saw joins what is known: sums and maxima, whose order does not matter. */
INLINE void join_range(ebbk_range *range, const ebbk_range *seen)
{
  if (seen->count == 0) return;
#pragma omp critical(ebbk_range_join)
  add_range(range, seen->count, seen->worst);
}

INLINE bool outside(float v)
{
  return !(v >= -limit && v < limit);
}

static __attribute__((noinline, unused)) veci quantise_outside(vec v)
{
  veci q;
  for (int i = 0; i < VL; i++) {
    if (isnan(v[i])) q[i] = 0;
    else if (v[i] < -limit) q[i] = INT32_MIN;
    else q[i] = (int32_t)lrintf(v[i] < limit ? v[i] : 0x1.fffffep30f);
  }
  return q;
}

/* v in units of the grid; *in: the stream can hold all lanes. The test takes -2^31 for one of those that it cannot, which
 * quantise_outside puts right, and so the caller must in what it notes. */
INLINE veci quantise(vec v, bool *in)
{
  veci q = round_to_int(v);
  *in = !any_negative(beyond_int(v, q));
  return *in ? q : quantise_outside(v);
}
