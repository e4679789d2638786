/* winograd.c -- convolution with 3x3 kernels in the plane of the last two dimensions, stride 1, and its data gradient, by
 * Winograd's minimal filtering (winograd_parts.h).
 * Owns: how the work is cut, and the moments of the results. Must not know: when it is the faster way (conv.c), the weight gradient (winograd_backward.c).
 *
 * An item's input is transformed once; what is done with it is in winograd_sweep.h. */
#include "kernels/conv_ways.h"
#include "kernels/deal.h"
#include "kernels/winograd_sweep.h"

enum {
  FLAT_BYTES = 112 << 10,                  /* of an item's transformed input: in L2 beside all else    */
  SOLID_BYTES = 320 << 10,                 /* with taps in depth, which share it                       */
  ITEMS_WANTED = 12,
  TILES_LEAST = 24,
  TILES_MOST = 240,
  TAPS_MOST = 7,                           /* in depth                                                 */
  COPIES_BYTES = 16 << 20,                 /* of all copies of transformed weights, unless one is larger */
};

static sweep plan_of(const ebbk_conv *c, bool gradient)
{
  sweep k = sweep_of(c, gradient);
  int   tiles = (int)((k.g.taps > 1 ? SOLID_BYTES : FLAT_BYTES) / (POINTS * sizeof(float) * (size_t)k.ci));
  grid_plan(&k.g, most(TILES_LEAST, least(TILES_MOST, tiles)), ITEMS_WANTED, k.vectors > 1 ? ROWS : ROWS_NARROW);
  return k;
}

/* ---- copies of transformed weights ---------------------------------------------------------------------------------- */
/* Each thread has its own, or where that would be too much memory, a team of neighbours has one: lines that one core writes again
 * after another one read them are slow to write, at 2.4 GB/s where they share no cache. */
typedef struct team { int copy, member, members; } team;

static int copies(const sweep *k, int threads)
{
  return most(1, least(threads, (int)(COPIES_BYTES / weight_bytes(k))));
}

static team team_of(const sweep *k, int threads, int thread)
{
  int count = copies(k, threads), copy = share(count, threads, thread), first = parts(copy * threads, count);
  return (team){copy, thread - first, parts((copy + 1) * threads, count) - first};
}

/* ---- scratch: moments of strips, copies of the weights, then one slice a thread: transformed input, products of a block -- */
static size_t moments_bytes(const sweep *k)
{
  return k->flip ? 0 : aligned(sizeof(double) * grid_strips(&k->g) * moments_doubles(k));
}

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

static size_t common_bytes(const sweep *k, int threads)
{
  return moments_bytes(k) + (size_t)copies(k, threads) * weight_bytes(k);
}

size_t NAME(winograd_scratch)(const ebbk_conv *g, ebbk_product what, int threads)
{
  if (what == EBBK_GRAD_WEIGHT) return NAME(winograd_weight_scratch)(g, threads);
  sweep k = plan_of(g, what == EBBK_GRAD_DATA);
  return common_bytes(&k, threads) + (size_t)threads * slice_bytes(&k);
}

bool NAME(winograd_fits)(const ebbk_conv *g)
{
  bool fits = g->kernel[0] <= TAPS_MOST && g->pad[0] < g->kernel[0];
  for (int i = 0; i < 3; i++) fits &= g->stride[i] == 1;
  for (int i = 1; i < 3; i++) fits &= g->kernel[i] == 3 && g->pad[i] < 3;
  return fits;
}

/* ---- moments of the results ---------------------------------------------------------------------------------------- */
/* Mean and M2 of a strip, in the place of its sums; the number of its values. */
static double spread_strip(const sweep *k, double *moments, size_t strip)
{
  strip_results s = strip_at(&k->g, (int)strip / k->g.out[0], (int)strip % k->g.out[0]);
  double        values = (double)s.rows * s.columns;
  int           channels = k->vectors * VL;
  for (int c = 0; c < VL; c++)
    spread_of(&moments[channels + c], &moments[2 * channels + c], values, moments[c], moments[channels + c], moments[2 * channels + c]);
  return values;
}

/* A vector of channels of an instance, whose strips are `count` from `first` on. */
static void join_strips(const sweep *k, size_t first, size_t count, int v, float *to_mean, float *to_var)
{
  size_t  step = moments_doubles(k);
  int     all = k->vectors * VL, channels = least(VL, k->co - v);
  double  n = 0, mean[VL] = {0}, m2[VL] = {0}, *moments = k->moments + first * step + v;
  for (size_t i = 0; i < count; i++) {
    double values = spread_strip(k, moments + i * step, first + i);
    for (int c = 0; c < VL; c++) mean[c] += values * moments[i * step + (size_t)(all + c)];
    moments[i * step] = values; /* the pivots are of no use any more */
    n += values;
  }
  for (int c = 0; c < VL; c++) mean[c] /= n;
  for (size_t i = 0; i < count; i++, moments += step)
    for (int c = 0; c < VL; c++) m2[c] += moments[2 * all + c] + moments[0] * (moments[all + c] - mean[c]) * (moments[all + c] - mean[c]);
  for (int c = 0; c < channels; c++) to_mean[c] = (float)mean[c], to_var[c] = variance_of(m2[c], n);
}

/* The strips of a sample follow each other. */
static void finish_moments(const sweep *k)
{
  int    instances = k->y.per_instance ? k->g.n : 1;
  size_t count = grid_strips(&k->g) / (size_t)instances;
#pragma omp parallel for collapse(2)
  for (int i = 0; i < instances; i++)
    for (int v = 0; v < k->vectors; v++) {
      size_t at = (size_t)i * (size_t)k->co + (size_t)(v * VL);
      join_strips(k, (size_t)i * count, count, v * VL, k->y.mean + at, k->y.var + at);
    }
}

/* ---- work items ---------------------------------------------------------------------------------------------------- */
static void compute_item(const sweep *k, const source *x, int number, char *slice)
{
  item        it = item_at(&k->g, number), following = item_at(&k->g, least(number + 1, grid_items(&k->g) - 1));
  transformed in = {(float *)slice, input_point(k), k->ci};
  ahead       next = input_ahead(x, &k->g, &following, sweep_calls(k, it.depths * it.strips * k->g.strip));
  transform_input(&in, x, &k->g, &it);
  sweep_item(k, &in, &it, (float *)(slice + input_bytes(k)), &next);
}

/* A thread's part of all items. */
static void run_thread(sweep k, const source *x, const float *w, char *scratch, deal *items)
{
  int    threads = omp_get_num_threads(), thread = omp_get_thread_num();
  team   of = team_of(&k, threads, thread);
  char  *slice = scratch + common_bytes(&k, threads) + (size_t)thread * slice_bytes(&k);
  float *u = (float *)(scratch + moments_bytes(&k) + (size_t)of.copy * weight_bytes(&k));
  k.u = u;
  transform_weights(&k, u, w, of.member, of.members);
  if (copies(&k, threads) < threads) { /* some wait for weights that others transform */
#pragma omp barrier
  }
  FOR_DEALT(i, *items) compute_item(&k, x, (int)i, slice);
}

static void run(sweep *k, const source *x, const float *w, char *scratch)
{
  if (k->y.mean) k->moments = (double *)(void *)scratch;
  deal items = deal_out((size_t)grid_items(&k->g), omp_get_max_threads());
#pragma omp parallel num_threads(items.threads)
  run_thread(*k, x, w, scratch, &items);
  if (k->moments) finish_moments(k);
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
