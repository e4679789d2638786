/* winograd_backward.c -- a convolution's whole backward in one sweep over memory, by Winograd's algorithm: the convolution once
 * more, both gradients, and the sums that a norm in front of it asks for.
 * Owns: the order of these. Must not know: when it is the faster way (conv.c).
 *
 * An item's input, transformed once, serves the results and the weight gradient; its gradient, read once, the weight gradient and
 * that of the input; and both are still there when the norm's sums are taken. The bits are those of the single products. */
#include "kernels/sums.h"
#include "kernels/conv_ways.h"
#include "kernels/deal.h"
#include "kernels/winograd_outer.h"
#include "kernels/winograd_sweep.h"

enum { SWEEP_BYTES = 900 << 10 };       /* of all that a thread computes with, but for the tensors */

typedef struct backward {
  outer_plan   p;
  sweep        forward, back;           /* over p's grid, which all three share                  */
  source       x, dy;
  const float *mean;                    /* of the sums, or NULL                                  */
  bool         results, gradient;       /* wanted                                                */
  double      *sums;                    /* (strip, depth, 2, channels in whole vectors)          */
} backward;

static backward backward_of(const ebbk_conv *g)
{
  backward b = {.p = outer_of(g), .forward = sweep_of(g, false), .back = sweep_of(g, true)};
  b.forward.g = b.back.g = b.p.g;
  return b;
}

/* ---- scratch: partial sums, sums of strips; then one slice a thread: both kinds of weights; transformed input; products of a
 *      block, or the transformed gradient of a panel ------------------------------------------------------------------ */
static size_t input_point(const outer_plan *p)
{
  return point_floats((size_t)(grid_tiles(&p->g, true) + ROWS) * (size_t)most(p->group, p->co));
}

static size_t input_bytes(const outer_plan *p)
{
  return aligned(sizeof(float) * POINTS * input_point(p));
}

static size_t weights_bytes(const backward *b)
{
  return weight_bytes(&b->forward) + weight_bytes(&b->back);
}

static size_t slice_bytes(const backward *b)
{
  size_t gradient = gradient_bytes(&b->p), products = product_bytes();
  return weights_bytes(b) + input_bytes(&b->p) + (gradient > products ? gradient : products);
}

/* Of one of the two sums. */
static size_t strip_channels(const outer_plan *p)
{
  return (size_t)(parts(p->ci, VL) * VL);
}

static size_t strip_doubles(const outer_plan *p)
{
  return 2 * strip_channels(p);
}

static size_t strip_sums_bytes(const outer_plan *p)
{
  return aligned(sizeof(double) * grid_strips(&p->g) * strip_doubles(p));
}

static size_t common_bytes(const backward *b)
{
  return partials_bytes(&b->p) + strip_sums_bytes(&b->p);
}

size_t NAME(winograd_backward_scratch)(const ebbk_conv *g, int threads)
{
  backward b = backward_of(g);
  return common_bytes(&b) + (size_t)threads * slice_bytes(&b);
}

bool NAME(winograd_sweeps)(const ebbk_conv *g)
{
  if (!NAME(winograd_fits)(g) || g->ci > GROUP || g->co > GROUP) return false;
  for (int i = 0; i < 3; i++)
    if (2 * g->pad[i] != g->kernel[i] - 1) return false;
  backward b = backward_of(g);
  return sizeof(float) * sums_floats(&b.p) + slice_bytes(&b) <= SWEEP_BYTES;
}

/* ---- sums of a norm ------------------------------------------------------------------------------------------------- */
/* Row by row of a strip, the channels' vector at v. */
static void sum_strip(const backward *b, double *sum, const strip_results *s, int v)
{
  int          n = least(VL, b->p.ci - v);
  size_t       at = (size_t)s->sample * b->x.instance + (size_t)v, xs = b->x.xs, dys = (size_t)b->back.y.stride;
  act_map      m = {load_tail(b->x.scale + at, n), load_tail(b->x.shift + at, n), load_tail(b->mean + at, n), b->x.slope};
  const float *x = b->x.x + s->pixel * xs + v, *dy = (const float *)b->back.y.y + s->pixel * dys + v;
  double      *to[2] = {sum + v, sum + strip_channels(&b->p) + v};
  for (int r = 0; r < s->rows; r++, x += (size_t)b->p.g.out[2] * xs, dy += (size_t)b->p.g.out[2] * dys) {
    if (b->x.how & FROM_STREAM) add_act_sums(true, to, x, xs, dy, dys, (size_t)s->columns, n, &m, 0);
    else add_act_sums(false, to, x, xs, dy, dys, (size_t)s->columns, n, &m, 0);
  }
}

static void sum_item(const backward *b, const item *k)
{
  for (int d = k->depth; d < k->depth + k->depths; d++)
    for (int j = k->first; j < k->first + k->strips; j++) {
      strip_results s = strip_at(&b->p.g, j, d);
      double       *sum = b->sums + s.number * strip_doubles(&b->p);
      memset(sum, 0, strip_doubles(&b->p) * sizeof *sum);
      for (int v = 0; v < b->p.ci; v += VL) sum_strip(b, sum, &s, v);
    }
}

/* The strips of an instance follow each other. */
static void finish_sums(const backward *b, float *sum_dz, float *sum_dzx)
{
  const grid *g = &b->p.g;
  int         instances = b->x.instance ? g->n : 1;
  size_t      strips = grid_strips(g) / (size_t)instances, c = (size_t)b->p.ci, padded = strip_channels(&b->p);
  for (int i = 0; i < instances; i++) {
    double        total[2 * (GROUP + VL)] = {0};
    const double *from = b->sums + (size_t)i * strips * strip_doubles(&b->p);
    for (size_t s = 0; s < strips; s++, from += 2 * padded)
      for (size_t k = 0; k < 2 * padded; k++) total[k] += from[k];
    for (size_t k = 0; k < c; k++) {
      sum_dz[(size_t)i * c + k] = (float)total[k];
      sum_dzx[(size_t)i * c + k] = (float)total[padded + k];
    }
  }
}

/* ---- a chunk of items ------------------------------------------------------------------------------------------------ */
static void sweep_chunk(const backward *b, float *partial, char *slice, int chunk)
{
  const outer_plan *p = &b->p;
  span              items = chunk_items(p, chunk);
  transformed       x = {(float *)slice, input_point(p), p->group}, dy = {(float *)slice, input_point(p), p->co};
  float            *products = (float *)(slice + input_bytes(p));
  for (int i = items.begin; i < items.end; i++) {
    item  k = item_at(&p->g, i), following = item_at(&p->g, least(i + 1, grid_items(&p->g) - 1));
    int   tiles = k.depths * k.strips * p->g.strip;
    ahead next[2], none = {0}, next_x = input_ahead(&b->x, &p->g, &following, sweep_calls(&b->back, tiles));
    outer_ahead(next, p, &b->x, &following, p->padded);
    if (b->gradient) next[0] = none;
    transform_input(&x, &b->x, &p->g, &k);
    if (b->results) sweep_item(&b->forward, &x, &k, products, &none);
    outer_item(p, partial, i > items.begin, &x, products, &k, p->padded, next);
    if (!b->gradient) continue;
    transform_input(&dy, &b->dy, &p->g, &k);
    sweep_item(&b->back, &dy, &k, products, &next_x);
    if (b->mean) sum_item(b, &k);
  }
}

/* A thread's part of all chunks, with weights of its own. */
static void sweep_thread(backward b, const float *w, char *scratch, deal *chunks)
{
  char  *slice = scratch + common_bytes(&b) + (size_t)omp_get_thread_num() * slice_bytes(&b);
  float *forward = (float *)slice, *back = (float *)(slice + weight_bytes(&b.forward));
  b.forward.u = forward, b.back.u = back;
  if (b.results) transform_weights(&b.forward, forward, w, 0, 1);
  if (b.gradient) transform_weights(&b.back, back, w, 0, 1);
  FOR_DEALT(i, *chunks)
    sweep_chunk(&b, (float *)scratch + (size_t)i * sums_floats(&b.p), slice + weights_bytes(&b), (int)i);
}

void NAME(winograd_backward)(const ebbk_conv_back *k, const ebbk_conv *g, void *scratch)
{
  backward   b = backward_of(g);
  ebbk_input dy = ebbk_read(k->dy, k->dys);
  b.sums = (double *)((char *)scratch + partials_bytes(&b.p));
  b.p.dy = k->dy, b.p.dys = (size_t)k->dys;
  b.x = source_of(&k->x, g->ci, 0, g->ci), b.dy = source_of(&dy, g->co, 0, g->co);
  b.results = k->y.y != NULL, b.gradient = k->dx.y != NULL, b.mean = k->mean;
  b.forward.y = k->y, b.forward.b = k->b;
  b.back.y = k->dx;
  deal chunks = deal_out((size_t)b.p.chunks, omp_get_max_threads());
#pragma omp parallel num_threads(chunks.threads)
  sweep_thread(b, k->w, scratch, &chunks);
  finish_all(&b.p, k->dw, scratch);
  if (b.mean) finish_sums(&b, k->sum_dz, k->sum_dzx);
}
