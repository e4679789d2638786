/* bench_operands.c -- the operands of a convolution, and its products on them.
 * Owns: their memory. Must not know: time, references. */
#include "base/rng.h"
#include "base/threads.h"
#include "bench_conv.h"

static size_t volume(const int size[3])
{
  return (size_t)size[0] * (size_t)size[1] * (size_t)size[2];
}

size_t ebb_bench_conv_inputs(const ebbk_conv *g)
{
  return (size_t)g->n * volume(g->in) * (size_t)g->ci;
}

size_t ebb_bench_conv_outputs(const ebbk_conv *g)
{
  return (size_t)g->n * volume(g->out) * (size_t)g->co;
}

size_t ebb_bench_conv_weights(const ebbk_conv *g)
{
  return volume(g->kernel) * (size_t)g->ci * (size_t)g->co;
}

double ebb_bench_conv_flops(const ebbk_conv *g)
{
  return 2.0 * (double)ebb_bench_conv_weights(g) * (double)g->n * (double)volume(g->out);
}

static size_t larger(size_t a, size_t b)
{
  return a > b ? a : b;
}

static size_t scratch_bytes(ebbk_conv g)
{
  size_t bytes = 0;
  for (ebbk_algorithm way = EBBK_DIRECT; way <= EBBK_WINOGRAD; way++) {
    g.algorithm = way;
    bytes = larger(bytes, ebbk->conv_scratch(&g, ebb_threads()));
  }
  return bytes;
}

static ebb_real *normals(ebb_arena *arena, size_t count, uint32_t which)
{
  ebb_real *p = ebb_arena_low(arena, count * sizeof *p, EBB_USE_KEPT);
  for (size_t i = 0; i < count; i++) p[i] = (ebb_real)ebb_rng_normal((ebb_rng){1, EBB_RNG_TEST, which}, i);
  return p;
}

ebb_status ebb_bench_conv_create(ebb_bench_conv *c, const ebbk_conv *g)
{
  size_t inputs = ebb_bench_conv_inputs(g), outputs = ebb_bench_conv_outputs(g), weights = ebb_bench_conv_weights(g);
  size_t results = larger(weights, larger(inputs, outputs)), scratch = scratch_bytes(*g), one = sizeof(ebb_real);
  *c = (ebb_bench_conv){.g = *g};
  EBB_TRY(ebb_arena_create(&c->arena, "bench", ebb_align(inputs * one) + ebb_align(outputs * one) + ebb_align(weights * one) +
                                                 ebb_align(results * one) + ebb_align(scratch)));
  c->x = normals(&c->arena, inputs, 0);
  c->dy = normals(&c->arena, outputs, 1);
  c->w = normals(&c->arena, weights, 2);
  c->result = ebb_arena_low(&c->arena, results * one, EBB_USE_KEPT);
  c->scratch = ebb_arena_low(&c->arena, scratch, EBB_USE_SCRATCH);
  return EBB_OK;
}

void ebb_bench_conv_destroy(ebb_bench_conv *c)
{
  ebb_arena_destroy(&c->arena);
}

void ebb_bench_conv_run(ebb_bench_conv *c, ebbk_product what, ebbk_algorithm way)
{
  ebbk_conv g = c->g;
  g.algorithm = way;
  switch (what) {
  case EBBK_FORWARD: ebbk->conv_forward(ebbk_over(c->result, g.co), ebbk_read(c->x, g.ci), c->w, NULL, &g, c->scratch); break;
  case EBBK_GRAD_DATA: ebbk->conv_grad_data(ebbk_over(c->result, g.ci), c->dy, g.co, c->w, &g, c->scratch); break;
  case EBBK_GRAD_WEIGHT: ebbk->conv_grad_weight(c->result, ebbk_read(c->x, g.ci), c->dy, g.co, &g, c->scratch); break;
  }
}
