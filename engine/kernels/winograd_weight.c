/* winograd_weight.c -- the weight gradient of convolutions with 3x3 kernels by Winograd's algorithm (winograd_outer.h), alone.
 * Owns: how the work is shared. Must not know: when it is the faster way (conv.c). */
#include "kernels/conv_ways.h"
#include "kernels/deal.h"
#include "kernels/winograd_outer.h"

/* ---- scratch: the partial sums, then one slice a thread: transformed input, transformed gradient of a panel ------ */
static size_t input_point(const outer_plan *p)
{
  return point_floats((size_t)grid_tiles(&p->g, true) * (size_t)p->group);
}

static size_t input_bytes(const outer_plan *p)
{
  return aligned(sizeof(float) * POINTS * input_point(p));
}

static size_t slice_bytes(const outer_plan *p)
{
  return input_bytes(p) + gradient_bytes(p);
}

size_t NAME(winograd_weight_scratch)(const ebbk_conv *g, int threads)
{
  outer_plan p = outer_of(g);
  return partials_bytes(&p) + (size_t)threads * slice_bytes(&p);
}

/* A group of channels in a chunk. */
static void add_unit(const outer_plan *p, const ebbk_input *from, float *partial, char *slice, int chunk, int group)
{
  int         channel = group * p->group, channels = least(p->group, p->padded - channel);
  span        items = chunk_items(p, chunk);
  float      *sum = partial + (size_t)channel * sums_row(p);
  source      x = source_of(from, p->ci, channel, least(channels, p->ci - channel));
  transformed in = {(float *)slice, input_point(p), p->group};
  for (int i = items.begin; i < items.end; i++) {
    item  k = item_at(&p->g, i), following = item_at(&p->g, least(i + 1, grid_items(&p->g) - 1));
    ahead next[2];
    outer_ahead(next, p, &x, &following, channels);
    transform_input(&in, &x, &p->g, &k);
    outer_item(p, sum, i > items.begin, &in, (float *)(slice + input_bytes(p)), &k, channels, next);
  }
}

void NAME(winograd_grad_weight)(float *dw, ebbk_input x, const float *dy, int dys, const ebbk_conv *g, void *scratch)
{
  outer_plan p = outer_of(g);
  float     *partials = scratch;
  char      *slices = (char *)scratch + partials_bytes(&p);
  p.dy = dy, p.dys = (size_t)dys;
  deal units = deal_out((size_t)(p.chunks * p.channel_groups), omp_get_max_threads());
#pragma omp parallel num_threads(units.threads)
  FOR_DEALT(u, units)
  {
    int chunk = (int)u / p.channel_groups, group = (int)u % p.channel_groups;
    add_unit(&p, &x, partials + (size_t)chunk * sums_floats(&p), slices + (size_t)omp_get_thread_num() * slice_bytes(&p), chunk, group);
  }
  finish_all(&p, dw, partials);
}
