/* act.c -- activations with a kink at zero.
 * Owns: the slope. Backward looks at the sign of x; at exactly 0 the derivative is the slope, as in PyTorch. */
#include "kernels/kernels.h"
#include "layers/layers.h"

typedef struct act {
  ebb_layer base;
  double    slope;
} act;

static void forward(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view y, void *scratch)
{
  (void)r, (void)scratch;
  ebbk->leaky(ebb_reals(y), y.stride, ebb_reals(x), x.stride, (ebb_real)((const act *)layer)->slope, ebb_sites(x.s), x.s.c);
}

/* y = x > 0 ? x : slope x  gives  dx = dy (x > 0 ? 1 : slope). */
static void backward(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view dy, ebb_view dx, void *scratch)
{
  (void)r, (void)scratch;
  if (!dx.p) return;
  ebbk->leaky_grad(ebb_reals(dx), dx.stride, ebb_reals(x), x.stride, ebb_reals(dy), dy.stride,
                   (ebb_real)((const act *)layer)->slope, ebb_sites(x.s), x.s.c);
}

static ebb_layer *make_relu(ebb_builder *b, const char *name, ebb_shape x)
{
  (void)x;
  return ebb_relu(b, name);
}

static ebb_layer *make_leaky(ebb_builder *b, const char *name, ebb_shape x)
{
  (void)x;
  return ebb_leaky_relu(b, name, 0.01);
}

const ebb_layer_ops ebb_relu_ops = {
    .name = "relu", .formula = "y = max(x, 0)", .source = "", .in_place = true,
    .shape = ebb_shape_same, .forward = forward, .backward = backward, .make = make_relu,
};

const ebb_layer_ops ebb_leaky_relu_ops = {
    .name = "leaky_relu", .formula = "y = x > 0 ? x : slope x", .source = "", .in_place = true,
    .shape = ebb_shape_same, .forward = forward, .backward = backward, .make = make_leaky,
};

static ebb_layer *act_new(ebb_builder *b, const ebb_layer_ops *ops, const char *name, double slope)
{
  act *l = (act *)ebb_layer_new(b, ops, name, sizeof *l);
  l->slope = slope;
  return &l->base;
}

ebb_layer *ebb_relu(ebb_builder *b, const char *name)
{
  return act_new(b, &ebb_relu_ops, name, 0);
}

ebb_layer *ebb_leaky_relu(ebb_builder *b, const char *name, double slope)
{
  return act_new(b, &ebb_leaky_relu_ops, name, slope);
}

bool ebb_act_slope(const ebb_layer *l, double *slope)
{
  if (l->ops != &ebb_relu_ops && l->ops != &ebb_leaky_relu_ops) return false;
  *slope = ((const act *)l)->slope;
  return true;
}
