/* pool.c -- mean and max pooling over windows side by side, and the mean over all sites.
 * Owns: window sizes. Sites beyond the last whole window are left out, as in PyTorch. */
#include "kernels/kernels.h"
#include "layers/layers.h"

typedef struct pool {
  ebb_layer base;
  int       size; /* of the window in every spatial dimension; 0: all sites */
} pool;

static ebbk_pool geometry(const pool *l, ebb_shape x)
{
  ebbk_pool g = {.n = x.n, .in = {x.d, x.h, x.w}, .ci = x.c, .co = x.c};
  for (int i = 0; i < 3; i++) {
    int spatial = i >= 3 - x.rank;
    int size = l->size == 0 ? g.in[i] : spatial ? l->size : 1;
    g.kernel[i] = g.stride[i] = size;
    g.out[i] = g.in[i] / size;
  }
  return g;
}

static ebb_shape shape(const ebb_layer *layer, ebb_shape x)
{
  if (x.stream) return ebb_shape_none();
  ebbk_pool g = geometry((const pool *)layer, x);
  if (!g.out[0] || !g.out[1] || !g.out[2]) return ebb_shape_none();
  return (ebb_shape){.rank = x.rank, .n = x.n, .d = g.out[0], .h = g.out[1], .w = g.out[2], .c = x.c};
}

static void mean_forward(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view y, void *scratch)
{
  (void)r, (void)scratch;
  ebbk_pool g = geometry((const pool *)layer, x.s);
  ebbk->pool_mean(ebb_reals(y), y.stride, ebb_reals(x), x.stride, &g);
}

/* y = mean of the window's x  gives  dx = dy / (sites of the window). */
static void mean_backward(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view dy, ebb_view dx, void *scratch)
{
  (void)r, (void)scratch;
  ebbk_pool g = geometry((const pool *)layer, x.s);
  if (dx.p) ebbk->pool_mean_grad(ebb_reals(dx), dx.stride, ebb_reals(dy), dy.stride, &g);
}

static void max_forward(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view y, void *scratch)
{
  (void)r, (void)scratch;
  ebbk_pool g = geometry((const pool *)layer, x.s);
  ebbk->pool_max(ebb_reals(y), y.stride, ebb_reals(x), x.stride, &g);
}

/* y = x at the window's first maximum  gives  dx = dy there, 0 elsewhere. */
static void max_backward(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view dy, ebb_view dx, void *scratch)
{
  (void)r, (void)scratch;
  ebbk_pool g = geometry((const pool *)layer, x.s);
  if (dx.p) ebbk->pool_max_grad(ebb_reals(dx), dx.stride, ebb_reals(x), x.stride, ebb_reals(dy), dy.stride, &g);
}

static ebb_layer *make_mean(ebb_builder *b, const char *name, ebb_shape x)
{
  (void)x;
  return ebb_mean_pool(b, name, 2);
}

static ebb_layer *make_max(ebb_builder *b, const char *name, ebb_shape x)
{
  (void)x;
  return ebb_max_pool(b, name, 2);
}

static ebb_layer *make_global(ebb_builder *b, const char *name, ebb_shape x)
{
  (void)x;
  return ebb_global_mean(b, name);
}

const ebb_layer_ops ebb_mean_pool_ops = {
    .name = "mean_pool", .formula = "y = mean of each window", .source = "", .ignores_x = true, .shape = shape,
    .forward = mean_forward, .backward = mean_backward, .make = make_mean,
};

const ebb_layer_ops ebb_max_pool_ops = {
    .name = "max_pool", .formula = "y = max of each window", .source = "", .dx_place = EBB_DX_FRESH, .shape = shape,
    .forward = max_forward, .backward = max_backward, .make = make_max,
};

const ebb_layer_ops ebb_global_mean_ops = {
    .name = "global_mean", .formula = "y = mean over all sites", .source = "", .ignores_x = true, .shape = shape,
    .forward = mean_forward, .backward = mean_backward, .make = make_global,
};

static ebb_layer *pool_new(ebb_builder *b, const ebb_layer_ops *ops, const char *name, int size)
{
  pool *l = (pool *)ebb_layer_new(b, ops, name, sizeof *l);
  l->size = size;
  return &l->base;
}

ebb_layer *ebb_mean_pool(ebb_builder *b, const char *name, int size)
{
  return pool_new(b, &ebb_mean_pool_ops, name, size);
}

ebb_layer *ebb_max_pool(ebb_builder *b, const char *name, int size)
{
  return pool_new(b, &ebb_max_pool_ops, name, size);
}

ebb_layer *ebb_global_mean(ebb_builder *b, const char *name)
{
  return pool_new(b, &ebb_global_mean_ops, name, 0);
}
