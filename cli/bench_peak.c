/* bench_peak.c -- what the machine can do at most: multiply-adds that wait for nothing, on all threads.
 * Owns: the loop, once for each width of the kernels' instruction sets. Must not know: what is compared with it.
 * Compiled as the kernels are (meson.build), or a multiply-add would be two instructions. */
#include <string.h>

#include "base/clock.h"
#include "base/threads.h"
#include "bench.h"
#include "kernels/kernels.h"

enum {
  CHAINS = 12,           /* more than latency times units                                    */
  ROUNDS = 2000000,
  SHARED = (1 << 16) + 1 /* so many values, at least, are shared among the threads by a kernel */
};

#ifdef __clang__
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 32")
#endif

/* Reals in registers of `bytes`: operations done, while the chains a = a b + b go to their limit. */
#define PEAK_LOOP(bytes, target)                                                                                       \
  typedef ebb_real vector_##bytes __attribute__((vector_size(bytes)));                                                 \
  target static double peak_loop_##bytes(long rounds, volatile double *kept)                                           \
  {                                                                                                                    \
    vector_##bytes a[CHAINS], b = (vector_##bytes){0} + (ebb_real)0.999, total = {0};                                  \
    UNROLL                                                                                                             \
    for (int i = 0; i < CHAINS; i++) a[i] = b * (ebb_real)i;                                                           \
    for (long r = 0; r < rounds; r++)                                                                                  \
      UNROLL                                                                                                           \
      for (int i = 0; i < CHAINS; i++) a[i] = a[i] * b + b;                                                            \
    UNROLL                                                                                                             \
    for (int i = 0; i < CHAINS; i++) total += a[i];                                                                    \
    *kept = (double)total[0];                                                                                          \
    return 2.0 * CHAINS * (double)(bytes / sizeof(ebb_real)) * (double)rounds;                                         \
  }

PEAK_LOOP(16, )
#ifdef __x86_64__
PEAK_LOOP(32, __attribute__((target("avx2,fma"))))
PEAK_LOOP(64, __attribute__((target("avx512f,avx512vl,avx512dq"))))
#endif

static double peak_loop(long rounds, volatile double *kept)
{
#ifdef __x86_64__
  if (strcmp(ebbk->isa, "avx512") == 0) return peak_loop_64(rounds, kept);
  if (strcmp(ebbk->isa, "avx2") == 0) return peak_loop_32(rounds, kept);
#endif
  return peak_loop_16(rounds, kept);
}

/* GFLOP/s of this thread. */
static double thread_peak(double rounds)
{
  volatile double kept;
  double          begin = ebb_seconds();
  if (rounds <= 0) return 0;
  double flops = peak_loop((long)rounds, &kept);
  return flops / (ebb_seconds() - begin) * 1e-9;
}

/* The engine's threads are reached by the kernel that calls a function for every value: each gets a row, the first value
 * of which says how long to compute; the rest are zeros, so many that the rows are shared. */
double ebb_bench_peak(void)
{
  static ebb_real values[SHARED + 2 * EBB_THREADS_MOST];
  int             threads = ebb_threads(), c = SHARED / threads + 1, stride = c + 1;
  double          sum = 0;
  memset(values, 0, sizeof values);
  for (int i = 0; i < threads; i++) values[i * stride] = ROUNDS;
  ebbk->map(values, stride, values, stride, thread_peak, (size_t)threads, c);
  for (int i = 0; i < threads; i++) sum += (double)values[i * stride];
  return sum;
}
