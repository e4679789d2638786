/* real.h -- the number types of the engine.
 * Owns: ebb_real (weights, activations, gradients) and ebb_fixed (the reversible stream, DESIGN: fixed point).
 * The engine is compiled twice: in float for use, and in double (-DEBB_DOUBLE) for the tests that compare
 * gradients with central differences. */
#pragma once
#include <math.h>
#include <stdint.h>

#ifdef EBB_DOUBLE
typedef double  ebb_real;
typedef int64_t ebb_fixed;
#define EBB_FIXED_BITS 48 /* resolution 2^-48, range +-32768 */
#else
typedef float   ebb_real;
typedef int32_t ebb_fixed;
#define EBB_FIXED_BITS 20 /* resolution 2^-20, range +-2048 */
#endif

#define EBB_FIXED_ONE ((ebb_real)((int64_t)1 << EBB_FIXED_BITS))

/* largest magnitude the stream can hold */
#define EBB_FIXED_RANGE ((ebb_real)((int64_t)1 << (8 * (int)sizeof(ebb_fixed) - 1 - EBB_FIXED_BITS)))

/* The larger of two errors; if one is NaN, NaN, which fmax would forget. */
static inline double ebb_worse(double a, double b) { return isnan(a) || a >= b ? a : b; }

_Static_assert(sizeof(ebb_real) == sizeof(ebb_fixed), "a stream occupies the bytes of the activations it carries");
