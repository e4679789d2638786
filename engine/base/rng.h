/* rng.h -- random numbers by counters.
 * Owns: the one generator of the engine, Philox4x32-10 (Salmon et al. 2011, SC'11; library Random123).
 * There is no state: a number is a function of (seed, what for, when, which), so a replay draws the same
 * numbers, on any number of threads and after any resume. */
#pragma once
#include <stddef.h>
#include <stdint.h>

/* What numbers are drawn for; layers use EBB_RNG_LAYER + their id. Values are part of the checkpoint format. */
enum { EBB_RNG_INIT = 1, EBB_RNG_SHUFFLE = 2, EBB_RNG_AUGMENT = 3, EBB_RNG_TEST = 4, EBB_RNG_SAMPLE = 5, EBB_RNG_LAYER = 1 << 16 };

typedef struct ebb_rng {
  uint64_t seed;
  uint32_t purpose;
  uint32_t time;     /* step, epoch, or index of a parameter */
} ebb_rng;

/* Four independent 32-bit numbers for element `index`. */
void ebb_rng_bits(uint32_t out[4], ebb_rng g, uint64_t index);

double   ebb_rng_uniform(ebb_rng g, uint64_t index);                  /* in [0, 1), 53 bits           */
double   ebb_rng_normal(ebb_rng g, uint64_t index);                   /* mean 0, variance 1           */
uint64_t ebb_rng_below(ebb_rng g, uint64_t index, uint64_t bound);    /* in 0 .. bound - 1, unbiased within 2^-64 bound */

/* A permutation of 0 .. n - 1 (Fisher-Yates). */
void ebb_rng_permutation(uint32_t *out, ebb_rng g, uint32_t n);
