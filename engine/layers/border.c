/* border.c -- y = x + the sum of a kernel's weights over the taps beyond the border: a convolution of the channel that is 1 on the
 * padding and 0 on the image, by which convolutions of x in front of it know where they are.
 * Owns: those weights. Must not know: that convolution.
 * Source: Kingma and Dhariwal 2018 (Glow), their code, which appends that channel to the input of every 3x3 convolution. */
#include "kernels/kernels.h"
#include "layers/layers.h"

typedef struct border {
  ebb_layer        base;
  int              channels, kernel, rank;
  const ebb_param *weight;
} border;

static ebb_shape shape(const ebb_layer *layer, ebb_shape x)
{
  return !x.stream && x.c == ((const border *)layer)->channels ? x : ebb_shape_none();
}

static ebbk_border window(const border *l, ebb_shape x)
{
  ebbk_border g = {.n = x.n, .size = {x.d, x.h, x.w}, .c = x.c};
  for (int i = 0; i < 3; i++) g.kernel[i] = i >= 3 - l->rank ? l->kernel : 1;
  return g;
}

static void forward(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view y, void *scratch)
{
  (void)scratch;
  const border *l = (const border *)layer;
  ebbk_border   g = window(l, x.s);
  ebbk->copy(ebb_reals(y), y.stride, ebb_reals(x), x.stride, ebb_sites(x.s), x.s.c);
  ebbk_border_add(ebb_reals(y), y.stride, ebb_weights(r, l->weight), &g);
}

static void backward(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view dy, ebb_view dx, void *scratch)
{
  (void)x, (void)scratch;
  const border *l = (const border *)layer;
  ebbk_border   g = window(l, dy.s);
  ebbk_border_grad(ebb_grads(r, l->weight), ebb_reals(dy), dy.stride, &g);
  if (dx.p) ebbk->copy(ebb_reals(dx), dx.stride, ebb_reals(dy), dy.stride, ebb_sites(dy.s), dy.s.c);
}

static ebb_layer *make(ebb_builder *b, const char *name, ebb_shape x)
{
  return ebb_border(b, name, x.c, 3, 0.1);
}

const ebb_layer_ops ebb_border_ops = {
    .name = "border",
    .formula = "y = x + sum of w over taps outside",
    .source = "Kingma and Dhariwal 2018",
    .in_place = true,
    .ignores_x = true,
    .shape = shape,
    .forward = forward,
    .backward = backward,
    .make = make,
};

ebb_layer *ebb_border(ebb_builder *b, const char *name, int channels, int kernel, double spread)
{
  border *l = (border *)ebb_layer_new(b, &ebb_border_ops, name, sizeof *l);
  EBB_ASSERT(kernel % 2 == 1, "%s: a kernel of %d has no middle", l->base.name, kernel);
  l->channels = channels;
  l->kernel = kernel;
  l->rank = b->rank;
  l->weight = ebb_param_new(b, &l->base, "weight",
                            (ebb_param){.kind = EBB_WEIGHT, .rank = b->rank + 2, .dims = {channels, 1, kernel, kernel, kernel},
                                        .taps_first = true, .decay = true, .fill = spread > 0 ? EBB_FILL_NORMAL : EBB_FILL_ZERO,
                                        .scale = spread});
  return &l->base;
}
