/* dropout.c -- inverted dropout.
 * Owns: the rate. The mask is a function of (seed, step, layer, element), so backward and replay draw the same one
 * and nothing is kept. Source: Srivastava et al. 2014. */
#include "kernels/kernels.h"
#include "layers/layers.h"

typedef struct dropout {
  ebb_layer base;
  double    rate;
} dropout;

static void mask(const dropout *l, const ebb_run *r, ebb_view y, ebb_view x)
{
  ebbk->dropout(ebb_reals(y), y.stride, ebb_reals(x), x.stride, l->rate, ebb_layer_rng(r, l->base.id), ebb_sites(x.s),
                x.s.c);
}

static void forward(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view y, void *scratch)
{
  (void)scratch;
  if (r->pass != EBB_EVAL) mask((const dropout *)layer, r, y, x);
  else if (y.p != x.p) ebbk->copy(ebb_reals(y), y.stride, ebb_reals(x), x.stride, ebb_sites(x.s), x.s.c);
}

/* y = x m / (1 - rate), m in {0, 1}  gives  dx = dy m / (1 - rate). */
static void backward(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view dy, ebb_view dx, void *scratch)
{
  (void)x, (void)scratch;
  if (dx.p) mask((const dropout *)layer, r, dx, dy);
}

static ebb_layer *make(ebb_builder *b, const char *name, ebb_shape x)
{
  (void)x;
  return ebb_dropout(b, name, 0.3);
}

const ebb_layer_ops ebb_dropout_ops = {
    .name = "dropout",
    .formula = "y = x m / (1 - rate), m = 0 with probability rate, else 1",
    .source = "Srivastava et al. 2014",
    .in_place = true,
    .ignores_x = true,
    .shape = ebb_shape_same,
    .forward = forward,
    .backward = backward,
    .make = make,
};

ebb_layer *ebb_dropout(ebb_builder *b, const char *name, double rate)
{
  dropout *l = (dropout *)ebb_layer_new(b, &ebb_dropout_ops, name, sizeof *l);
  l->rate = rate;
  return &l->base;
}
