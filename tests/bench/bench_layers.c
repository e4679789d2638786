/* bench_layers.c -- how long every layer of the table takes, forward and on the way back.
 * Owns: the measuring. A new layer is in it by its row in compose/layers.def. Prints a table, or JSON with --json:
 * medians over runs, and the bytes of the layer's input moved per second as a yardstick for layers without arithmetic. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/threads.h"
#include "compose/catalogue.h"
#include "compose/plan.h"
#include "compose/sequence.h"
#include "kernels/kernels.h"
#include "layers/layers.h"

enum { RUNS = 7 };
static const ebb_shape input = {.rank = 2, .n = 32, .d = 1, .h = 32, .w = 32, .c = 32};

static double now(void)
{
  struct timespec s;
  timespec_get(&s, TIME_UTC);
  return (double)s.tv_sec + 1e-9 * (double)s.tv_nsec;
}

static int by_size(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double median(double *values)
{
  qsort(values, RUNS, sizeof *values, by_size);
  return values[RUNS / 2];
}

/* [quantise] layer [dequantise]: the doors are timed with the layers that need them. */
static bool build(ebb_model *m, const ebb_layer_ops *ops)
{
  ebb_builder b;
  ebb_model_begin(m, &b, ops->name, input);
  ebb_sequence *s = ebb_sequence_open(&b, "root", 3);
  ebb_layer    *l = ops->make(&b, "layer", input);
  ebb_shape     in = input;
  in.stream = true;
  in.stream = ebb_layer_shape(l, in).rank != 0;
  if (in.stream) ebb_sequence_add(s, ebb_quantise(&b, "in"));
  ebb_sequence_add(s, l);
  if (ebb_layer_shape(l, in).stream) ebb_sequence_add(s, ebb_dequantise(&b, "out"));
  return ebb_model_end(m, &b, ebb_sequence_close(s)) == EBB_OK;
}

typedef struct result { double forward, backward; } result;

static result measure(const ebb_model *m, ebb_workspace *w, ebb_view x, ebb_view dx)
{
  double   forward[RUNS], backward[RUNS];
  ebb_view y;
  w->run.pass = EBB_TRAIN;
  for (int i = -1; i < RUNS; i++) {
    double begin = now();
    ebb_forward(&w->run, m, x, &y);
    double   middle = now();
    ebb_view dy = ebb_scratch_view(&w->run, y.s);
    ebbk->fill(ebb_reals(dy), dy.stride, 1, ebb_sites(dy.s), dy.s.c);
    double back = now();
    ebb_backward(&w->run, m, x, dy, dx);
    if (i < 0) continue;
    forward[i] = middle - begin;
    backward[i] = now() - back;
  }
  return (result){median(forward), median(backward)};
}

static void print(const ebb_layer_ops *ops, result r, bool json, bool first)
{
  double bytes = (double)ebb_bytes(input);
  if (json)
    printf("%s\n {\"layer\": \"%s\", \"forward_seconds\": %.6g, \"backward_seconds\": %.6g}", first ? "" : ",", ops->name,
           r.forward, r.backward);
  else
    printf("%-14s %10.3f %10.3f %12.1f %12.1f\n", ops->name, 1e3 * r.forward, 1e3 * r.backward, 1e-9 * bytes / r.forward,
           1e-9 * bytes / r.backward);
}

static bool bench(const ebb_layer_ops *ops, bool json, bool first)
{
  ebb_pool      pool = {0};
  ebb_model     m;
  ebb_plan      plan;
  ebb_workspace w;
  ebb_view      x = ebb_view_of(ebb_pool_take(&pool, ebb_bytes(input)), input), dx = x;
  dx.p = ebb_pool_take(&pool, ebb_bytes(input));
  for (size_t i = 0; i < ebb_count(input); i++) ebb_reals(x)[i] = (ebb_real)ebb_rng_normal((ebb_rng){1, EBB_RNG_TEST, 0}, i);
  bool good = build(&m, ops);
  if (good) {
    ebb_plan_make(&plan, &m, input, (ebb_plan_options){.training = true, .input_gradient = true}, &pool);
    good = ebb_workspace_create(&w, &m, &plan) == EBB_OK;
  }
  if (good) {
    ebb_model_initialise(&m, w.weights, w.state, 1);
    print(ops, measure(&m, &w, x, dx), json, first);
    ebb_workspace_destroy(&w);
  }
  ebb_model_destroy(&m);
  ebb_pool_clear(&pool);
  return good;
}

int main(int argc, char **argv)
{
  bool json = argc > 1 && strcmp(argv[1], "--json") == 0, good = ebbk_start() == EBB_OK;
  char shape[EBB_SHAPE_TEXT];
  if (json) printf("[");
  else
    printf("input %d of %s, %s, %d threads\n%-14s %10s %10s %12s %12s\n", input.n, ebb_shape_print(shape, input), ebbk->isa,
           ebb_threads(), "layer", "forward ms", "back ms", "forward GB/s", "back GB/s");
  for (size_t i = 0; good && i < ebb_catalogue_count(); i++) good = bench(ebb_catalogue_at(i), json, i == 0);
  if (json) printf("\n]\n");
  if (!good) fprintf(stderr, "%s\n", ebb_message());
  return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
