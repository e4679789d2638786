/* vector.h -- vectors of floats in the compiler's own notation, and the few operations it has no notation for.
 * Owns: the width VL and every intrinsic of this room. Must not know: what is computed.
 * Included by files that are compiled once per instruction set; EBBK_ISA names it. */
#pragma once
#include "kernels/kernels.h"

#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <immintrin.h>
#endif
#ifndef __SSE2__
#include <math.h>
#endif

/* Floats in a vector, vectors in the processor. */
#if defined(__AVX512F__)
enum { VL = 16, REGISTERS = 32 };
#elif defined(__AVX2__)
enum { VL = 8, REGISTERS = 16 };
#elif defined(__aarch64__)
enum { VL = 4, REGISTERS = 32 };
#else
enum { VL = 4, REGISTERS = 16 };
#endif

typedef float    vec __attribute__((vector_size(4 * VL)));
typedef int32_t  veci __attribute__((vector_size(4 * VL)));
typedef uint32_t vecu __attribute__((vector_size(4 * VL)));

#define INLINE static inline __attribute__((always_inline, unused))

#define NOINLINE static __attribute__((noinline, unused)) /* keeps a tile's registers to itself */

/* Before a loop of few rounds over registers. */
#if defined(__clang__)
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 32")
#endif

/* A name of this instruction set: NAME(conv_forward) is ebbk_conv_forward_avx2. */
#define NAME_JOIN(f, isa) ebbk_##f##_##isa
#define NAME_OF(f, isa) NAME_JOIN(f, isa)
#define NAME(f) NAME_OF(f, EBBK_ISA)

INLINE vec load(const float *p)
{
  vec v;
  memcpy(&v, p, sizeof v);
  return v;
}

INLINE void store(float *p, vec v)
{
  memcpy(p, &v, sizeof v);
}

/* The first n of p (0 <= n <= VL), zeros after them; nothing behind them is touched. */
#if defined(__AVX512F__)
INLINE __mmask16 first_lanes(int n)
{
  return (__mmask16)((1u << n) - 1);
}

INLINE vec load_part(const float *p, int n)
{
  return (vec)_mm512_maskz_loadu_ps(first_lanes(n), p);
}

INLINE void store_part(float *p, vec v, int n)
{
  _mm512_mask_storeu_ps(p, first_lanes(n), (__m512)v);
}
#elif defined(__AVX2__)
INLINE __m256i first_lanes(int n)
{
  return (__m256i)((veci){0, 1, 2, 3, 4, 5, 6, 7} < n);
}

INLINE vec load_part(const float *p, int n)
{
  return (vec)_mm256_maskload_ps(p, first_lanes(n));
}

INLINE void store_part(float *p, vec v, int n)
{
  _mm256_maskstore_ps(p, first_lanes(n), (__m256)v);
}
#else
INLINE vec load_part(const float *p, int n)
{
  vec v = {0};
  for (int i = 0; i < n; i++) v[i] = p[i];
  return v;
}

INLINE void store_part(float *p, vec v, int n)
{
  for (int i = 0; i < n; i++) p[i] = v[i];
}
#endif

/* The same for the last vector of a row, which is mostly whole. */
INLINE vec load_tail(const float *p, int n)
{
  return n == VL ? load(p) : load_part(p, n);
}

INLINE void store_tail(float *p, vec v, int n)
{
  if (n == VL) store(p, v);
  else store_part(p, v, n);
}

INLINE veci load_tail_int(const int32_t *p, int n)
{
  return (veci)load_tail((const float *)p, n);
}

INLINE void store_tail_int(int32_t *p, veci v, int n)
{
  store_tail((float *)p, (vec)v, n);
}

/* Asks for the memory `ahead` values behind p, which need not exist: rows of a view have gaps between them, which
 * defeat the processor's own foresight (1.5 to 3 times the speed on halves). Into L2: into L1 gives 0.6 of the speed. A hint only. */
INLINE void ask(const void *p, size_t ahead)
{
  __builtin_prefetch((const void *)((uintptr_t)p + ahead * sizeof(float)), 0, 2);
}

INLINE vec broadcast(float a)
{
  return a - (vec){0}; /* a - 0 is a, also for -0 and NaN */
}

/* v, of which the compiler does not know that it was a product: it must not join one multiply-add here and another there,
 * which would round differently. */
INLINE vec settled(vec v)
{
#if defined(__AVX512F__)
  __asm__("" : "+v"(v));
#elif defined(__SSE2__)
  __asm__("" : "+x"(v));
#elif defined(__aarch64__)
  __asm__("" : "+w"(v));
#else
  __asm__("" : "+m"(v));
#endif
  return v;
}

/* a b + c, rounded once or twice, but everywhere in the same way; the notation a * b + c leaves that to the compiler. */
INLINE vec multiply_add(vec a, vec b, vec c)
{
#if defined(__AVX512F__)
  return (vec)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__AVX2__)
  return (vec)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
  return settled(a * b) + c;
#endif
}

/* mask lanes are 0 or -1 */
INLINE vec choose(veci mask, vec yes, vec no)
{
  return (vec)((mask & (veci)yes) | (~mask & (veci)no));
}

/* z > 0 ? yes : no */
INLINE vec if_positive(vec z, vec yes, vec no)
{
#if defined(__AVX512F__)
  return (vec)_mm512_mask_blend_ps(_mm512_cmp_ps_mask((__m512)z, _mm512_setzero_ps(), _CMP_GT_OQ), (__m512)no, (__m512)yes);
#elif defined(__AVX2__)
  return (vec)_mm256_blendv_ps((__m256)no, (__m256)yes, (__m256)(z > 0));
#else
  return choose(z > 0, yes, no);
#endif
}

/* Lane i is lane at[i] of v. */
INLINE vec permute(vec v, veci at)
{
#if defined(__AVX512F__)
  return (vec)_mm512_permutexvar_ps((__m512i)at, (__m512)v);
#elif defined(__AVX2__)
  return (vec)_mm256_permutevar8x32_ps((__m256)v, (__m256i)at);
#else
  vec r;
  for (int i = 0; i < VL; i++) r[i] = v[at[i]];
  return r;
#endif
}

/* The first n lanes of v, zeros after them. */
INLINE vec first_of(vec v, int n)
{
#if defined(__AVX512F__)
  return (vec)_mm512_maskz_mov_ps(first_lanes(n), (__m512)v);
#elif defined(__AVX2__)
  return (vec)((veci)v & (veci)first_lanes(n));
#else
  for (int i = n; i < VL; i++) v[i] = 0;
  return v;
#endif
}

/* Is the sign of any lane set? */
INLINE bool any_negative(veci v)
{
#if defined(__AVX512F__)
  return _mm512_movepi32_mask((__m512i)v) != 0;
#elif defined(__AVX2__)
  return _mm256_movemask_ps((__m256)v) != 0;
#elif defined(__SSE2__)
  return _mm_movemask_ps((__m128)v) != 0;
#else
  int32_t all = 0;
  for (int i = 0; i < VL; i++) all |= v[i];
  return all < 0;
#endif
}

/* Nearest integers, ties to even; |v| must be below 2^31. */
INLINE veci round_to_int(vec v)
{
#if defined(__AVX512F__)
  return (veci)_mm512_cvtps_epi32((__m512)v);
#elif defined(__AVX2__)
  return (veci)_mm256_cvtps_epi32((__m256)v);
#elif defined(__SSE2__)
  return (veci)_mm_cvtps_epi32((__m128)v);
#else
  veci r;
  for (int i = 0; i < VL; i++) r[i] = (int32_t)lrintf(v[i]);
  return r;
#endif
}

INLINE vec from_int(veci v)
{
  return __builtin_convertvector(v, vec);
}

/* The square of VL vectors, transposed in place. */
#if defined(__clang__)
INLINE void transpose(veci *x)
{
  for (int i = 0; i < VL; i++)
    for (int j = i + 1; j < VL; j++) {
      int32_t swap = x[i][j];
      x[i][j] = x[j][i];
      x[j][i] = swap;
    }
}
#else
/* Halves of squares change places, squares of 2 `half` on a side; lane l of a pair's first vector is lane l of the first
 * where l & half is 0, else lane l - half of the second; numbers from VL on are lanes of the second. */
INLINE void transpose_step(veci *x, const int half)
{
  veci low, high;
  UNROLL
  for (int l = 0; l < VL; l++) {
    low[l] = l & half ? VL + l - half : l;
    high[l] = l & half ? VL + l : l + half;
  }
  UNROLL
  for (int i = 0; i < VL; i++)
    if (!(i & half)) {
      veci a = x[i], b = x[i + half];
      x[i] = __builtin_shuffle(a, b, low);
      x[i + half] = __builtin_shuffle(a, b, high);
    }
}

INLINE void transpose(veci *x)
{
  transpose_step(x, 1);
  transpose_step(x, 2);
#if defined(__AVX2__)
  transpose_step(x, 4);
#endif
#if defined(__AVX512F__)
  transpose_step(x, 8);
#endif
}
#endif

/* The sign of a lane is set if its value has no integer; `q` is round_to_int(v). */
INLINE veci beyond_int(vec v, veci q)
{
#if defined(__SSE2__)
  (void)v;
  return q & (veci)(0 - (vecu)q); /* negative for -2^31 only: what x86 gives them, and -2^31 itself */
#else
  (void)q;
  return ~((v >= -0x1p31f) & (v < 0x1p31f));
#endif
}

/* sum[0 .. VL - 1] += v in double; `sum` is aligned like a double. */
typedef float  half __attribute__((vector_size(2 * VL)));
typedef double halfd __attribute__((vector_size(4 * VL)));

/* By instruction where there is one: gcc keeps a vector that is taken apart through memory there, through loops before it, too. */
INLINE half half_of(vec v, int part)
{
#if defined(__AVX512F__)
  return (half)(part ? _mm512_extractf32x8_ps((__m512)v, 1) : _mm512_castps512_ps256((__m512)v));
#elif defined(__AVX2__)
  return (half)(part ? _mm256_extractf128_ps((__m256)v, 1) : _mm256_castps256_ps128((__m256)v));
#else
  half h;
  memcpy(&h, (const char *)&v + part * (int)sizeof h, sizeof h);
  return h;
#endif
}

INLINE halfd widen(vec v, int part)
{
  return __builtin_convertvector(half_of(v, part), halfd);
}

INLINE void add_lanes(double *sum, vec v)
{
  for (int part = 0; part < 2; part++) {
    halfd d;
    memcpy(&d, sum + part * (VL / 2), sizeof d);
    d += widen(v, part);
    memcpy(sum + part * (VL / 2), &d, sizeof d);
  }
}
