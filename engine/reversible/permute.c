/* permute.c -- the channels in another order, which stays as it is: y[j] = x[order[j]], on the stream and on real values.
 * Owns: the order, a state, so that a file of weights holds it: drawn at random, by the model's seed, or given.
 * Source: Kingma and Dhariwal 2018 (Glow), section 3.2, where it is what the invertible 1x1 convolution is compared with. */
#include "base/threads.h"
#include "kernels/kernels.h"
#include "reversible/reversible.h"

typedef struct permute {
  ebb_layer        base;
  int              channels;
  const ebb_param *order;   /* (channels) */
} permute;

static ebb_shape shape(const ebb_layer *layer, ebb_shape x)
{
  return x.c == ((const permute *)layer)->channels ? x : ebb_shape_none();
}

/* The order as integers, and what the kernel takes. */
static size_t order_bytes(int c)
{
  return ebb_align((size_t)c * sizeof(int));
}

static size_t scratch_bytes(const ebb_layer *layer, ebb_shape x)
{
  (void)layer;
  return order_bytes(x.c) + ebbk_permute_scratch(x.c, ebb_threads());
}

static void move(const permute *l, const ebb_run *r, ebb_view v, bool undo, void *scratch)
{
  const ebb_real *from = ebb_states(r, l->order);
  int            *order = scratch;
  for (int j = 0; j < l->channels; j++) order[j] = (int)from[j];
  ebbk_permute(v.p, v.stride, order, undo, ebb_sites(v.s), v.s.c, (char *)scratch + order_bytes(v.s.c));
}

static void forward(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view y, void *scratch)
{
  (void)x;
  move((const permute *)layer, r, y, false, scratch);
}

static void backward(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view dy, ebb_view dx, void *scratch)
{
  (void)x, (void)dx;
  move((const permute *)layer, r, dy, true, scratch);
}

static void inverse(const ebb_layer *layer, ebb_run *r, ebb_view y)
{
  void *scratch = ebb_arena_high(r->arena, scratch_bytes(layer, y.s));
  if (!r->dry) move((const permute *)layer, r, y, true, scratch);
}

static void reverse(const ebb_layer *layer, ebb_run *r, ebb_view y, ebb_view dy)
{
  ebb_inverse_layer(layer, r, y);
  ebb_inverse_layer(layer, r, dy);
}

static ebb_layer *make(ebb_builder *b, const char *name, ebb_shape x)
{
  return ebb_permute(b, name, x.c, NULL);
}

const ebb_layer_ops ebb_permute_ops = {
    .name = "permute",
    .formula = "y[j] = x[order[j]]",
    .source = "Kingma and Dhariwal 2018, section 3.2",
    .in_place = true,
    .ignores_x = true,
    .shape = shape,
    .scratch = scratch_bytes,
    .forward = forward,
    .backward = backward,
    .inverse = inverse,
    .reverse = reverse,
    .make = make,
};

ebb_layer *ebb_permute(ebb_builder *b, const char *name, int channels, const double *order)
{
  permute  *l = (permute *)ebb_layer_new(b, &ebb_permute_ops, name, sizeof *l);
  ebb_param p = {.kind = EBB_STATE, .rank = 1, .dims = {channels}, .places = true, .fill = EBB_FILL_PERMUTATION};
  if (order) {
    p.fill = EBB_FILL_TABLE;
    p.values = order;
    p.period = (size_t)channels;
  }
  l->channels = channels;
  l->order = ebb_param_new(b, &l->base, "order", p);
  return &l->base;
}

ebb_layer *ebb_flip(ebb_builder *b, const char *name, int channels)
{
  double *order = ebb_pool_take(b->pool, (size_t)channels * sizeof *order);
  for (int j = 0; j < channels; j++) order[j] = channels - 1 - j;
  return ebb_permute(b, name, channels, order);
}
