/* winograd.c -- convolution with 3x3 kernels in the plane of the last two dimensions, stride 1, and its data gradient, by
 * Winograd's minimal filtering (winograd_parts.h).
 * Owns: how the work is cut. Must not know: when it is the faster way (conv.c), the weight gradient (winograd_backward.c).
 *
 * An item's input is transformed once; what is done with it is in winograd_sweep.h. */
#include "kernels/conv_ways.h"
#include "kernels/winograd_sweep.h"

#include <omp.h>

enum {
  FLAT_BYTES = 112 << 10,                  /* of an item's transformed input: in L2 beside all else    */
  SOLID_BYTES = 320 << 10,                 /* with taps in depth, which share it                       */
  ITEMS_WANTED = 12,
  TILES_LEAST = 24,
  TILES_MOST = 240,
  TAPS_MOST = 7,                           /* in depth                                                 */
};

static sweep plan_of(const ebbk_conv *c, bool gradient)
{
  sweep k = sweep_of(c, gradient);
  int   tiles = (int)((k.g.taps > 1 ? SOLID_BYTES : FLAT_BYTES) / (POINTS * sizeof(float) * (size_t)k.ci));
  grid_plan(&k.g, most(TILES_LEAST, least(TILES_MOST, tiles)), ITEMS_WANTED, k.vectors > 1 ? ROWS : ROWS_NARROW);
  return k;
}

/* ---- scratch: weights, then one slice a thread: transformed input, products of a block ----------------------------- */
static size_t input_point(const sweep *k)
{
  return point_floats((size_t)(grid_tiles(&k->g, true) + ROWS) * (size_t)k->ci);
}

static size_t input_bytes(const sweep *k)
{
  return aligned(sizeof(float) * POINTS * input_point(k));
}

static size_t slice_bytes(const sweep *k)
{
  return input_bytes(k) + product_bytes();
}

size_t NAME(winograd_scratch)(const ebbk_conv *g, ebbk_product what, int threads)
{
  if (what == EBBK_GRAD_WEIGHT) return NAME(winograd_weight_scratch)(g, threads);
  sweep k = plan_of(g, what == EBBK_GRAD_DATA);
  return weight_bytes(&k) + (size_t)threads * slice_bytes(&k);
}

bool NAME(winograd_fits)(const ebbk_conv *g)
{
  bool fits = g->kernel[0] <= TAPS_MOST && g->pad[0] < g->kernel[0];
  for (int i = 0; i < 3; i++) fits &= g->stride[i] == 1;
  for (int i = 1; i < 3; i++) fits &= g->kernel[i] == 3 && g->pad[i] < 3;
  return fits;
}

/* ---- work items ---------------------------------------------------------------------------------------------------- */
static void compute_item(const sweep *k, const source *x, int number, int threads, char *slice)
{
  item        it = item_at(&k->g, number), following = item_at(&k->g, least(number + threads, grid_items(&k->g) - 1));
  transformed in = {(float *)slice, input_point(k), k->ci};
  ahead       next = input_ahead(x, &k->g, &following, sweep_calls(k, it.depths * it.strips * k->g.strip));
  transform_input(&in, x, &k->g, &it);
  sweep_item(k, &in, &it, (float *)(slice + input_bytes(k)), &next);
}

static void run(sweep *k, const source *x, const float *w, char *scratch)
{
  char *slices = scratch + weight_bytes(k);
  int   items = grid_items(&k->g);
  transform_weights(k, (float *)scratch, w);
  k->u = (float *)scratch;
#pragma omp parallel for schedule(dynamic)
  for (int i = 0; i < items; i++)
    compute_item(k, x, i, omp_get_num_threads(), slices + (size_t)omp_get_thread_num() * slice_bytes(k));
}

void NAME(winograd_forward)(ebbk_output y, ebbk_input x, const float *w, const float *b, const ebbk_conv *g, void *scratch)
{
  sweep  k = plan_of(g, false);
  source from = source_of(&x, g->ci, 0, g->ci);
  k.y = y, k.b = b;
  run(&k, &from, w, scratch);
}

void NAME(winograd_grad_data)(ebbk_output dx, const float *dy, int dys, const float *w, const ebbk_conv *g, void *scratch)
{
  sweep      k = plan_of(g, true);
  ebbk_input read = ebbk_read(dy, dys);
  source     from = source_of(&read, g->co, 0, g->co);
  k.y = dx;
  run(&k, &from, w, scratch);
}
