/* softplus.c -- y = log(1 + e^x), element by element.
 * Owns nothing. In float y equals x from 17 on, and dx is 0 below -104, where e^x underflows.
 * Source: Dugas et al. 2001. */
#include <math.h>

#include "kernels/kernels.h"
#include "layers/layer.h"

static double softplus(double x)
{
  return fmax(x, 0) + log1p(exp(-fabs(x))); /* no overflow for large x */
}

static double logistic(double x)
{
  return 1 / (1 + exp(-x));
}

static void forward(const ebb_layer *l, ebb_run *r, ebb_view x, ebb_view y, void *scratch)
{
  (void)l, (void)r, (void)scratch;
  ebbk->map(ebb_reals(y), y.stride, ebb_reals(x), x.stride, softplus, ebb_sites(x.s), x.s.c);
}

/* y = log(1 + e^x)  gives  dx = dy / (1 + e^-x). */
static void backward(const ebb_layer *l, ebb_run *r, ebb_view x, ebb_view dy, ebb_view dx, void *scratch)
{
  (void)l, (void)r, (void)scratch;
  if (!dx.p) return;
  ebbk->map_grad(ebb_reals(dx), dx.stride, ebb_reals(x), x.stride, ebb_reals(dy), dy.stride, logistic, ebb_sites(x.s),
                 x.s.c);
}

extern const ebb_layer_ops ebb_softplus_ops;

static ebb_layer *make(ebb_builder *b, const char *name, ebb_shape x)
{
  (void)x;
  return ebb_layer_new(b, &ebb_softplus_ops, name, sizeof(ebb_layer));
}

const ebb_layer_ops ebb_softplus_ops = {
    .name = "softplus",
    .formula = "y = log(1 + e^x)",
    .source = "Dugas et al. 2001",
    .in_place = true,
    .shape = ebb_shape_same,
    .forward = forward,
    .backward = backward,
    .make = make,
};
