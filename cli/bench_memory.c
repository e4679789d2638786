/* bench_memory.c -- how fast the kernels are that are bound by memory, beside a plain copy.
 * Owns: the table of these kernels, the turns they take. The bytes counted are those that must be read and written. */
#include <stdio.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/rng.h"
#include "bench.h"
#include "kernels/kernels.h"

typedef struct operands {
  size_t     rows, count;
  int        c, stride;
  ebb_real  *x, *y, *z;
  ebb_fixed *stream;                                         /* in z */
  ebb_real  *mean, *scale, *shift, *a, *b, *e, *sum, *sum_x; /* (c)  */
  ebbk_input in;                                             /* x, affine */
  ebbk_range range;
} operands;

/* ---- the kernels ---------------------------------------------------------------------------------------------- */
static void run_copy(operands *o)
{
  ebbk->copy(o->y, o->stride, o->x, o->stride, o->rows, o->c);
}
static void run_moments(operands *o)
{
  ebbk->moments(o->sum, o->sum_x, o->in, 1, o->rows, o->c);
}
static void run_affine_act(operands *o)
{
  ebbk->affine_act(ebbk_over(o->y, o->stride), o->in, 1, o->rows, o->c);
}
static void run_affine_act_sums(operands *o)
{
  ebbk->affine_act_sums(o->sum, o->sum_x, o->in, o->y, o->stride, o->mean, 1, o->rows, o->c);
}
static void run_affine_act_grad(operands *o)
{
  ebbk->affine_act_grad(ebbk_over(o->z, o->stride), (ebbk_output){0}, o->in, o->y, o->stride, o->a, o->b, o->e, o->mean, 1, o->rows, o->c);
}
static void run_column_sums(operands *o)
{
  ebbk->column_sums(o->sum, o->x, o->stride, o->rows, o->c);
}
static void run_add(operands *o)
{
  ebbk->add(o->y, o->stride, o->x, o->stride, o->rows, o->c);
}
static void run_fixed_from_real(operands *o)
{
  ebbk->fixed_from_real(o->stream, o->stride, o->x, o->stride, o->rows, o->c, &o->range);
}
static void run_fixed_subtract(operands *o)
{
  ebbk->fixed_subtract(o->stream, o->stride, o->x, o->stride, o->rows, o->c);
}
static void run_fixed_add(operands *o)
{
  ebbk->fixed_add(o->stream, o->stride, o->x, o->stride, o->rows, o->c, &o->range);
}
static void run_real_from_fixed(operands *o)
{
  ebbk->real_from_fixed(o->y, o->stride, o->stream, o->stride, o->rows, o->c);
}
static void run_dropout(operands *o)
{
  ebbk->dropout(o->y, o->stride, o->x, o->stride, 0.2, (ebb_rng){1, 2, 3}, o->rows, o->c);
}
static void run_sum_squares(operands *o)
{
  ebbk->sum_squares(o->x, o->count);
}

static const struct { const char *name; int moved; void (*run)(operands *); } kernels[] = {
  /* the copy is the yardstick; the stream's kernels read what fixed_from_real has written */
  {"copy", 2, run_copy},
  {"moments", 1, run_moments},
  {"affine_act", 2, run_affine_act},
  {"affine_act_sums", 2, run_affine_act_sums},
  {"affine_act_grad", 3, run_affine_act_grad},
  {"column_sums", 1, run_column_sums},
  {"add", 3, run_add},
  {"fixed_from_real", 2, run_fixed_from_real},
  {"fixed_subtract", 3, run_fixed_subtract},
  {"fixed_add", 3, run_fixed_add},
  {"real_from_fixed", 2, run_real_from_fixed},
  {"dropout", 2, run_dropout},
  {"sum_squares", 1, run_sum_squares},
};
enum { KERNELS = sizeof kernels / sizeof *kernels, VECTORS = 8 };

static const struct { const char *name; size_t rows; int c, stride; } cases[] = {
  {"memory 32 of 32", 400000, 32, 32},
  {"memory 32 of 64", 400000, 32, 64},
  {"memory 17 of 17", 400000, 17, 17},
};
enum { CASES = sizeof cases / sizeof *cases };

/* ---- measuring ------------------------------------------------------------------------------------------------ */
static ebb_status create(operands *o, ebb_arena *arena, size_t rows, int c, int stride)
{
  size_t     count = rows * (size_t)stride, one = sizeof(ebb_real), vector = ebb_align((size_t)c * one);
  ebb_real **vectors[VECTORS] = {&o->mean, &o->scale, &o->shift, &o->a, &o->b, &o->e, &o->sum, &o->sum_x};
  *o = (operands){.rows = rows, .count = count, .c = c, .stride = stride};
  EBB_TRY(ebb_arena_create(arena, "bench", 3 * ebb_align(count * one) + VECTORS * vector));
  o->x = ebb_arena_low(arena, count * one, EBB_USE_KEPT);
  o->y = ebb_arena_low(arena, count * one, EBB_USE_KEPT);
  o->z = ebb_arena_low(arena, count * one, EBB_USE_KEPT);
  o->stream = (ebb_fixed *)o->z;
  for (size_t i = 0; i < count; i++) o->x[i] = o->y[i] = (ebb_real)(2 * ebb_rng_uniform((ebb_rng){1, EBB_RNG_TEST, 0}, i) - 1);
  for (int k = 0; k < VECTORS; k++) {
    *vectors[k] = ebb_arena_low(arena, vector, EBB_USE_KEPT);
    for (int i = 0; i < c; i++) (*vectors[k])[i] = (ebb_real)(0.1 * (i % 7));
  }
  o->in = (ebbk_input){.x = o->x, .stride = stride, .scale = o->scale, .shift = o->shift};
  return EBB_OK;
}

/* GB/s; the round -1 only touches the memory. */
static void measure(double rates[KERNELS][EBB_ROUNDS_MOST], operands *o, int rounds)
{
  double bytes = (double)o->rows * o->c * (double)sizeof(ebb_real);
  for (int r = -1; r < rounds; r++)
    for (int k = 0; k < KERNELS; k++) {
      double begin = ebb_seconds();
      kernels[k].run(o);
      if (r >= 0) rates[k][r] = kernels[k].moved * bytes / (ebb_seconds() - begin) * 1e-9;
    }
}

/* ---- telling -------------------------------------------------------------------------------------------------- */
static double of_copy(double rates[KERNELS][EBB_ROUNDS_MOST], int k, int rounds)
{
  double ratio[EBB_ROUNDS_MOST];
  for (int r = 0; r < rounds; r++) ratio[r] = rates[k][r] / rates[0][r];
  return ebb_spread_of(ratio, rounds).median;
}

static void print_row(const char *name, const char *kernel, ebb_spread rate, double ratio)
{
  char range[32];
  snprintf(range, sizeof range, "%.1f..%.1f", rate.least, rate.most);
  printf("%-19s  %-15s  %7.1f %12s %5.2f\n", name, kernel, rate.median, range, ratio);
}

static void tell(const ebb_flags *flags, json_t *rows, const char *name, double rates[KERNELS][EBB_ROUNDS_MOST])
{
  if (!flags->json && json_array_size(rows) == 0)
    printf("\n%-19s  %-15s  %7s %12s %5s\n", "channels", "kernel", "GB/s", "least..most", "/copy");
  for (int k = 0; k < KERNELS; k++) {
    ebb_spread rate = ebb_spread_of(rates[k], flags->rounds);
    double     ratio = of_copy(rates, k, flags->rounds);
    if (!flags->json) print_row(k == 0 ? name : "", kernels[k].name, rate, ratio);
    json_array_append_new(rows, json_pack("{s:s, s:s, s:f, s:f, s:f, s:f}", "name", name, "kernel", kernels[k].name, "gbytes_per_second",
                                          rate.median, "least", rate.least, "most", rate.most, "of_copy", ratio));
  }
}

ebb_status ebb_bench_memory(const ebb_flags *flags, json_t *rows)
{
  double rates[KERNELS][EBB_ROUNDS_MOST];
  for (int i = 0; i < CASES; i++) {
    operands  o;
    ebb_arena arena;
    if (!ebb_bench_wants(flags, cases[i].name)) continue;
    EBB_TRY(create(&o, &arena, cases[i].rows, cases[i].c, cases[i].stride));
    measure(rates, &o, flags->rounds);
    tell(flags, rows, cases[i].name, rates);
    ebb_arena_destroy(&arena);
  }
  return EBB_OK;
}
