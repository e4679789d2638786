/* upsample.c -- twice the sites along every spatial dimension, by linear interpolation. Has no options. */
#include "kernels/kernels.h"
#include "layers/layers.h"

static ebb_shape shape(const ebb_layer *layer, ebb_shape x)
{
  (void)layer;
  if (x.stream) return ebb_shape_none();
  return (ebb_shape){.rank = x.rank, .n = x.n, .d = x.rank >= 3 ? 2 * x.d : x.d, .h = x.rank >= 2 ? 2 * x.h : x.h, .w = 2 * x.w, .c = x.c};
}

static ebbk_pool geometry(ebb_shape x)
{
  ebb_shape y = shape(NULL, x);
  return (ebbk_pool){.n = x.n, .in = {x.d, x.h, x.w}, .out = {y.d, y.h, y.w}, .stride = {y.d / x.d, y.h / x.h, y.w / x.w}, .ci = x.c, .co = x.c};
}

static void forward(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view y, void *scratch)
{
  (void)layer, (void)r, (void)scratch;
  ebbk_pool g = geometry(x.s);
  ebbk->upsample(ebb_reals(y), y.stride, ebb_reals(x), x.stride, &g);
}

/* y = U x, linear  gives  dx = U^T dy */
static void backward(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view dy, ebb_view dx, void *scratch)
{
  (void)layer, (void)r, (void)scratch;
  ebbk_pool g = geometry(x.s);
  if (dx.p) ebbk->upsample_grad(ebb_reals(dx), dx.stride, ebb_reals(dy), dy.stride, &g);
}

static ebb_layer *make(ebb_builder *b, const char *name, ebb_shape x)
{
  (void)x;
  return ebb_upsample(b, name);
}

const ebb_layer_ops ebb_upsample_ops = {
    .name = "upsample", .formula = "y = x at twice the sites, linearly interpolated", .source = "", .ignores_x = true, .shape = shape,
    .forward = forward, .backward = backward, .make = make,
};

ebb_layer *ebb_upsample(ebb_builder *b, const char *name)
{
  return ebb_layer_new(b, &ebb_upsample_ops, name, sizeof(ebb_layer));
}
