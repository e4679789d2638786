/* dropout.c -- y = x / (1 - rate) where kept, else 0; the mask is a function of counters (base/rng.h).
 * Cost: one call of the generator for four values. */
#include "kernels/lines.h"

#include <math.h>

/* n values, the first of which is element `first` of the whole. */
static void span(float *y, const float *x, size_t n, uint64_t first, uint64_t threshold, float keep, ebb_rng g)
{
  for (size_t i = 0; i < n;) {
    uint32_t bits[4];
    unsigned lane = (unsigned)((first + i) % 4);
    ebb_rng_bits(bits, g, (first + i) / 4);
    for (; lane < 4 && i < n; lane++, i++) y[i] = bits[lane] < threshold ? 0 : x[i] * keep;
  }
}

void NAME(dropout)(float *y, int ys, const float *x, int xs, double rate, ebb_rng g, size_t rows, int c)
{
  lines    l = lines_of(rows, c, ys == c && xs == c);
  uint64_t threshold = (uint64_t)ceil(rate * 0x1p32); /* bits < rate 2^32 if and only if bits < threshold */
  float    keep = (float)(1 / (1 - rate));
  PARALLEL_LINES
  for (ptrdiff_t i = 0; i < l.count; i++)
    span(LINE_AT(y, ys), LINE_AT(x, xs), line_length(&l, i), (uint64_t)i * l.length, threshold, keep, g);
}
