/* bench_layers.c -- how long every layer of the table takes, forward and on the way back.
 * Owns: the measuring. A new layer is in it by its row in compose/layers.def. The bytes of the layer's input that are moved
 * per second are a yardstick for layers without arithmetic. */
#include <stdio.h>

#include "base/clock.h"
#include "base/threads.h"
#include "bench.h"
#include "compose/catalogue.h"
#include "compose/plan.h"
#include "compose/sequence.h"
#include "kernels/kernels.h"
#include "layers/layers.h"

static const ebb_shape input = {.rank = 2, .n = 32, .d = 1, .h = 32, .w = 32, .c = 32};

/* [quantise] layer [dequantise]: the doors are timed with the layers that need them. */
static ebb_status build(ebb_model *m, const ebb_layer_ops *ops)
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
  return ebb_model_end(m, &b, ebb_sequence_close(s));
}

typedef struct times { double forward, backward; } times; /* seconds */

/* The first round, -1, is to warm up. */
static times measure(const ebb_model *m, ebb_workspace *w, ebb_view x, ebb_view dx, int rounds)
{
  double   forward[EBB_ROUNDS_MOST], backward[EBB_ROUNDS_MOST];
  ebb_view y;
  w->run.pass = EBB_TRAIN;
  for (int r = -1; r < rounds; r++) {
    double begin = ebb_seconds();
    ebb_forward(&w->run, m, x, &y);
    double   middle = ebb_seconds();
    ebb_view dy = ebb_scratch_view(&w->run, y.s);
    ebbk->fill(ebb_reals(dy), dy.stride, 1, ebb_sites(dy.s), dy.s.c);
    double back = ebb_seconds();
    ebb_backward(&w->run, m, x, dy, dx);
    if (r < 0) continue;
    forward[r] = middle - begin;
    backward[r] = ebb_seconds() - back;
  }
  return (times){ebb_spread_of(forward, rounds).median, ebb_spread_of(backward, rounds).median};
}

static ebb_status time_layer(times *t, const ebb_layer_ops *ops, ebb_view x, ebb_view dx, int rounds)
{
  ebb_pool      pool = {0};
  ebb_model     m;
  ebb_plan      plan;
  ebb_workspace w;
  ebb_status    status = build(&m, ops);
  if (status == EBB_OK) {
    ebb_plan_make(&plan, &m, input, (ebb_plan_options){.training = true, .input_gradient = true}, &pool);
    status = ebb_workspace_create(&w, &m, &plan);
  }
  if (status == EBB_OK) {
    ebb_model_initialise(&m, w.weights, w.state, 1);
    *t = measure(&m, &w, x, dx, rounds);
    ebb_workspace_destroy(&w);
  }
  ebb_model_destroy(&m);
  ebb_pool_clear(&pool);
  return status;
}

static void print_row(const char *name, times t)
{
  double bytes = (double)ebb_bytes(input);
  printf("%-14s %10.3f %10.3f %12.1f %12.1f\n", name, 1e3 * t.forward, 1e3 * t.backward, 1e-9 * bytes / t.forward,
         1e-9 * bytes / t.backward);
}

static void tell(const ebb_flags *flags, json_t *rows, const char *name, times t)
{
  char shape[EBB_SHAPE_TEXT];
  if (!flags->json && json_array_size(rows) == 0)
    printf("input %d of %s\n%-14s %10s %10s %12s %12s\n", input.n, ebb_shape_print(shape, input), "layer", "forward ms", "back ms",
           "forward GB/s", "back GB/s");
  if (!flags->json) print_row(name, t);
  json_array_append_new(rows, json_pack("{s:s, s:f, s:f}", "layer", name, "forward_seconds", t.forward, "backward_seconds", t.backward));
}

ebb_status ebb_bench_layers(const ebb_flags *flags, json_t *rows)
{
  ebb_pool   pool = {0};
  ebb_view   x = ebb_view_of(ebb_pool_take(&pool, ebb_bytes(input)), input), dx = x;
  ebb_status status = EBB_OK;
  dx.p = ebb_pool_take(&pool, ebb_bytes(input));
  for (size_t i = 0; i < ebb_count(input); i++) ebb_reals(x)[i] = (ebb_real)ebb_rng_normal((ebb_rng){1, EBB_RNG_TEST, 0}, i);
  for (size_t i = 0; status == EBB_OK && i < ebb_catalogue_count(); i++) {
    const ebb_layer_ops *ops = ebb_catalogue_at(i);
    times                t;
    if (!ebb_bench_wants(flags, ops->name)) continue;
    status = time_layer(&t, ops, x, dx, flags->rounds);
    if (status == EBB_OK) tell(flags, rows, ops->name, t);
  }
  ebb_pool_clear(&pool);
  return status;
}
