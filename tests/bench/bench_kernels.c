/* bench_kernels.c -- what the kernels reach of what the machine can do, measured in the same run.
 *
 *   bench_kernels [--json] [--rounds N] [--only TEXT]
 *
 * Convolutions in GFLOP/s (2 taps Cin Cout output pixels) and as a share of the multiply-add peak; all else in GB/s of
 * the values that must be read and written, beside a plain copy. Best and median of the rounds: on a shared machine
 * compare shares, not seconds. Threads: OMP_NUM_THREADS; instruction set: EBB_ISA. */
#define _GNU_SOURCE
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/threads.h"
#include "kernels/kernels.h"

enum { ROUNDS_MOST = 100 };

static struct {
  bool json;
  int rounds;
  const char *only;
  double peak, copy;
  bool comma;
} bench = {.rounds = 9};

/* ---- the machine's limits --------------------------------------------------------------------------------------- */
#define PEAK_LOOP(type, width, target)                                                                                         \
  target static double peak_loop_##width(long rounds) \
  {                                                                                                                    \
    type a[12], b = {0}, total = {0};                                                                                  \
    b += 0.999f;                                                                                                       \
    for (int i = 0; i < 12; i++) a[i] = b * (float)i;                                                                  \
    for (long r = 0; r < rounds; r++) {                                                                                \
      for (int i = 0; i < 12; i++) a[i] = a[i] * b + b;                                                                \
      __asm__ volatile("" : "+x"(b));                                                                                  \
    }                                                                                                                  \
    for (int i = 0; i < 12; i++) total += a[i];                                                                        \
    volatile float kept = total[0];                                                                                    \
    (void)kept;                                                                                                        \
    return 2.0 * 12 * width * (double)rounds;                                                                          \
  }

typedef float vec4 __attribute__((vector_size(16)));
PEAK_LOOP(vec4, 4, )
#ifdef __x86_64__
typedef float vec8 __attribute__((vector_size(32)));
typedef float vec16 __attribute__((vector_size(64)));
PEAK_LOOP(vec8, 8, __attribute__((target("avx2,fma"))))
PEAK_LOOP(vec16, 16, __attribute__((target("avx512f,avx512vl,avx512dq"))))
#endif

static double peak_loop(long rounds)
{
#ifdef __x86_64__
  if (strcmp(ebbk->isa, "avx512") == 0) return peak_loop_16(rounds);
  if (strcmp(ebbk->isa, "avx2") == 0) return peak_loop_8(rounds);
#endif
  return peak_loop_4(rounds);
}

/* GFLOP/s of independent multiply-adds in registers, on all threads; the width is that of the table in use. */
static double measure_peak(void)
{
  double best = 0;
  for (int r = 0; r < 9; r++) {
    double flops = 0, start = omp_get_wtime();
#pragma omp parallel reduction(+ : flops)
    flops += peak_loop(2000000);
    best = fmax(best, flops / (omp_get_wtime() - start) * 1e-9);
  }
  return best;
}

/* ---- timing ----------------------------------------------------------------------------------------------------- */
typedef struct timing {
  double best, median;
} timing;

static int ascending(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static timing timing_of(double *seconds)
{
  qsort(seconds, (size_t)bench.rounds, sizeof *seconds, ascending);
  return (timing){seconds[0], seconds[bench.rounds / 2]};
}

static bool wanted(const char *name)
{
  return !bench.only || strstr(name, bench.only);
}

static void report(const char *name, const char *what, double amount, timing t, const char *unit, double limit)
{
  double best = amount / t.best * 1e-9, median = amount / t.median * 1e-9;
  if (bench.json)
    printf("%s\n  {\"name\": \"%s\", \"what\": \"%s\", \"unit\": \"%s\", \"best\": %.4g, \"median\": %.4g, \"share\": "
           "%.3f, \"seconds\": %.4g}",
           bench.comma ? "," : "", name, what, unit, best, median, best / limit, t.best);
  else
    printf("%-22s %-15s %8.1f %8.1f %-8s %5.2f  %9.3f ms\n", name, what, best, median, unit, best / limit,
           t.best * 1e3);
  bench.comma = true;
  fflush(stdout);
}

#define TIME(t, ...)                                                                                                   \
  do {                                                                                                                 \
    double seconds_[ROUNDS_MOST];                                                                                      \
    __VA_ARGS__;                                                                                                       \
    for (int r_ = 0; r_ < bench.rounds; r_++) {                                                                        \
      double start_ = omp_get_wtime();                                                                                 \
      __VA_ARGS__;                                                                                                     \
      seconds_[r_] = omp_get_wtime() - start_;                                                                         \
    }                                                                                                                  \
    t = timing_of(seconds_);                                                                                           \
  } while (0)

/* ---- operands --------------------------------------------------------------------------------------------------- */
static float *values(size_t n)
{
  float *p = NULL;
  if (posix_memalign((void **)&p, 4096, (n + 16) * sizeof *p)) exit(71);
  for (size_t i = 0; i < n; i++) p[i] = (float)(i * 2654435761u % 1000) * 0.002f - 1;
  return p;
}

static size_t sites(const int size[3])
{
  return (size_t)size[0] * (size_t)size[1] * (size_t)size[2];
}

/* ---- convolution ------------------------------------------------------------------------------------------------ */
typedef struct shape {
  const char *name;
  ebbk_conv g;
} shape;

static void bench_conv(const shape *s)
{
  const ebbk_conv *g = &s->g;
  size_t in = (size_t)g->n * sites(g->in), out = (size_t)g->n * sites(g->out),
         weights = sites(g->kernel) * (size_t)(g->ci * g->co);
  float *x = values(in * (size_t)g->ci), *y = values(out * (size_t)g->co),
        *to = values((in + out) * (size_t)(g->ci + g->co));
  float *w = values(weights), *dw = values(weights),
        *scratch = values(ebbk->conv_scratch(g, ebb_threads()) / sizeof(float) + 16);
  double flops = 2.0 * (double)weights * (double)out;
  timing t;
  TIME(t, ebbk->conv_forward(ebbk_over(to, g->co), ebbk_read(x, g->ci), w, NULL, g, scratch));
  report(s->name, "forward", flops, t, "GFLOP/s", bench.peak);
  TIME(t, ebbk->conv_grad_data(ebbk_over(to, g->ci), y, g->co, w, g, scratch));
  report(s->name, "data gradient", flops, t, "GFLOP/s", bench.peak);
  TIME(t, ebbk->conv_grad_weight(dw, ebbk_read(x, g->ci), y, g->co, g, scratch));
  report(s->name, "weight gradient", flops, t, "GFLOP/s", bench.peak);
  free(x), free(y), free(to), free(w), free(dw), free(scratch);
}

#define FLAT(n, size, ci, co, k, s)                                                                                    \
  {                                                                                                                    \
    n, {1, size, size}, ci, {1, size / s, size / s}, co, {1, k, k}, {1, s, s},                                         \
    {                                                                                                                  \
      0, k / 2, k / 2                                                                                                  \
    }, EBBK_AUTO                                                                                                       \
  }
#define SOLID(size, c)                                                                                                 \
  {                                                                                                                    \
    1, {size, size, size}, c, {size, size, size}, c, {3, 3, 3}, {1, 1, 1},                                             \
    {                                                                                                                  \
      1, 1, 1                                                                                                          \
    }, EBBK_AUTO                                                                                                       \
  }

static const shape shapes[] = {
    {"16 ch 32^2 N100", FLAT(100, 32, 16, 16, 3, 1)},
    {"32 ch 32^2 N100", FLAT(100, 32, 32, 32, 3, 1)},
    {"64 ch 16^2 N100", FLAT(100, 16, 64, 64, 3, 1)},
    {"128 ch 8^2 N100", FLAT(100, 8, 128, 128, 3, 1)},
    {"256 ch 16^2 N32", FLAT(32, 16, 256, 256, 3, 1)},
    {"32->64 s2 32^2 N100", FLAT(100, 32, 32, 64, 3, 2)},
    {"3-D 16 ch 64^3", SOLID(64, 16)},
    {"3-D 32 ch 64^3", SOLID(64, 32)},
    {"3-D 64 ch 32^3", SOLID(32, 64)},
    {"1x1 64 ch 16^2 N100", FLAT(100, 16, 64, 64, 1, 1)},
    {"32 ch 8^2 N100", FLAT(100, 8, 32, 32, 3, 1)},
    {"3->32 32^2 N100", FLAT(100, 32, 3, 32, 3, 1)},
};

/* ---- what is bound by memory ------------------------------------------------------------------------------------ */
static void bench_memory(const char *name, size_t rows, int c, int stride)
{
  size_t n = rows * (size_t)stride, one = rows * (size_t)c * sizeof(float);
  float *x = values(n), *y = values(n), *z = values(n), *a = values(8 * (size_t)c);
  float *mean = a + c, *scale = a + 2 * c, *shift = a + 3 * c, *b = a + 4 * c, *e = a + 5 * c, *s = a + 6 * c,
        *sx = a + 7 * c;
  ebbk_range range = {0};
  ebbk_input  in = {.x = x, .stride = stride, .scale = scale, .shift = shift};
  ebbk_output to = ebbk_over(y, stride), grad = ebbk_over(z, stride);
  timing t;
  TIME(t, ebbk->copy(y, stride, x, stride, rows, c));
  bench.copy = 2 * (double)one / t.best * 1e-9;
#define LINE(what, operands, ...)                                                                                      \
  do {                                                                                                                 \
    TIME(t, __VA_ARGS__);                                                                                              \
    report(name, what, (double)(operands) * (double)one, t, "GB/s", bench.copy);                                       \
  } while (0)
  LINE("copy", 2, ebbk->copy(y, stride, x, stride, rows, c));
  LINE("moments", 1, ebbk->moments(s, sx, in, 1, rows, c));
  LINE("affine_act", 2, ebbk->affine_act(to, in, 1, rows, c));
  LINE("affine_act_sums", 2, ebbk->affine_act_sums(s, sx, in, y, stride, mean, 1, rows, c));
  LINE("affine_act_grad", 3,
       ebbk->affine_act_grad(grad, in, y, stride, a, b, e, mean, 1, rows, c));
  LINE("column_sums", 1, ebbk->column_sums(s, x, stride, rows, c));
  LINE("add", 3, ebbk->add(y, stride, x, stride, rows, c));
  LINE("fixed_from_real", 2, ebbk->fixed_from_real((ebb_fixed *)z, stride, x, stride, rows, c, &range));
  LINE("fixed_subtract", 3, ebbk->fixed_subtract((ebb_fixed *)z, stride, x, stride, rows, c));
  ebbk->fixed_from_real((ebb_fixed *)z, stride, x, stride, rows, c, &range);
  LINE("fixed_add", 3, ebbk->fixed_add((ebb_fixed *)z, stride, x, stride, rows, c, &range));
  LINE("real_from_fixed", 2, ebbk->real_from_fixed(y, stride, (ebb_fixed *)z, stride, rows, c));
  LINE("dropout", 2, ebbk->dropout(y, stride, x, stride, 0.2, (ebb_rng){1, 2, 3}, rows, c));
  LINE("sum_squares", 1, (void)ebbk->sum_squares(x, n));
  free(x), free(y), free(z), free(a);
}

static int options(int argc, char **argv)
{
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--json") == 0)
      bench.json = true;
    else if (strcmp(argv[i], "--rounds") == 0 && i + 1 < argc)
      bench.rounds = atoi(argv[++i]);
    else if (strcmp(argv[i], "--only") == 0 && i + 1 < argc)
      bench.only = argv[++i];
    else
      return fprintf(stderr, "usage: bench_kernels [--json] [--rounds N] [--only TEXT]\n"), EBB_USAGE;
  }
  if (bench.rounds < 1 || bench.rounds > ROUNDS_MOST)
    return fprintf(stderr, "--rounds: expected 1 to %d\n", ROUNDS_MOST), EBB_USAGE;
  return EBB_OK;
}

int main(int argc, char **argv)
{
  int status = options(argc, argv);
  if (status != EBB_OK) return status;
  if (ebbk_start() != EBB_OK) return fprintf(stderr, "%s\n", ebb_message()), EBB_CONFIG;
  bench.peak = measure_peak();
  if (bench.json)
    printf("{\"isa\": \"%s\", \"threads\": %d, \"peak_gflops\": %.4g, \"results\": [", ebbk->isa, ebb_threads(),
           bench.peak);
  else
    printf("%s, %d threads, multiply-add peak %.0f GFLOP/s\n%-22s %-15s %8s %8s %-8s %5s\n", ebbk->isa, ebb_threads(),
           bench.peak, "", "", "best", "median", "", "share");
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
    if (wanted(shapes[i].name)) bench_conv(&shapes[i]);
  if (wanted("memory 32 of 32")) bench_memory("memory 32 of 32", 400000, 32, 32);
  if (wanted("memory 32 of 64")) bench_memory("memory 32 of 64", 400000, 32, 64);
  if (wanted("memory 17 of 17")) bench_memory("memory 17 of 17", 400000, 17, 17);
  if (bench.json) printf("\n]}\n");
  return 0;
}
