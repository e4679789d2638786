/* rng.c -- see rng.h. */
#include "base/rng.h"

#include <math.h>
#include <Random123/philox.h>

void ebb_rng_bits(uint32_t out[4], ebb_rng g, uint64_t index)
{
  philox4x32_ctr_t counter = {{(uint32_t)index, (uint32_t)(index >> 32), g.time, g.purpose}};
  philox4x32_key_t key = {{(uint32_t)g.seed, (uint32_t)(g.seed >> 32)}};
  philox4x32_ctr_t r = philox4x32(counter, key);
  for (int i = 0; i < 4; i++) out[i] = r.v[i];
}

static uint64_t bits64(const uint32_t *b)
{
  return (uint64_t)b[1] << 32 | b[0];
}

static double unit(uint64_t bits)
{
  return (double)(bits >> 11) * 0x1p-53;
}

double ebb_rng_uniform(ebb_rng g, uint64_t index)
{
  uint32_t b[4];
  ebb_rng_bits(b, g, index);
  return unit(bits64(b));
}

/* Box and Muller, the cosine half: sqrt(-2 ln u) cos(2 pi v), u in (0, 1]. */
double ebb_rng_normal(ebb_rng g, uint64_t index)
{
  uint32_t b[4];
  ebb_rng_bits(b, g, index);
  return sqrt(-2.0 * log(1.0 - unit(bits64(b)))) * cos(2.0 * 3.14159265358979323846 * unit(bits64(b + 2)));
}

uint64_t ebb_rng_below(ebb_rng g, uint64_t index, uint64_t bound)
{
  uint32_t b[4];
  ebb_rng_bits(b, g, index);
  __extension__ typedef unsigned __int128 wide;
  return (uint64_t)((wide)bits64(b) * bound >> 64);
}

void ebb_rng_permutation(uint32_t *out, ebb_rng g, uint32_t n)
{
  for (uint32_t i = 0; i < n; i++) {
    uint32_t j = (uint32_t)ebb_rng_below(g, i, i + 1);
    out[i] = out[j];
    out[j] = i;
  }
}
