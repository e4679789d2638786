/* linear.c -- a linear map of the channels, the same at every site.
 * Owns: weight and bias. The arithmetic is ebbk->gemm. */
#include <math.h>

#include "kernels/kernels.h"
#include "layers/layers.h"

typedef struct linear {
  ebb_layer        base;
  int              in, out;
  const ebb_param *weight, *bias; /* (out, in), (out) */
} linear;

static ebb_shape shape(const ebb_layer *layer, ebb_shape x)
{
  const linear *l = (const linear *)layer;
  return x.stream || x.c != l->in ? ebb_shape_none() : ebb_shape_channels(x, l->out);
}

static void forward(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view y, void *scratch)
{
  (void)scratch;
  const linear *l = (const linear *)layer;
  size_t        rows = ebb_sites(x.s);
  ebbk->copy(ebb_reals(y), y.stride, ebb_weights(r, l->bias), 0, rows, l->out); /* row stride 0: b in every row */
  ebbk->gemm(ebb_reals(y), y.stride, ebb_reals(x), x.stride, false, ebb_weights(r, l->weight), l->in, true, (int)rows,
             l->out, l->in, true);
}

/* y = x W^T + b  gives  dW = dy^T x,  db = sum of rows of dy,  dx = dy W. */
static void backward(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view dy, ebb_view dx, void *scratch)
{
  (void)scratch;
  const linear *l = (const linear *)layer;
  int           rows = (int)ebb_sites(x.s);
  ebbk->gemm(ebb_grads(r, l->weight), l->in, ebb_reals(dy), dy.stride, true, ebb_reals(x), x.stride, false, l->out,
             l->in, rows, true);
  ebbk->column_sums(ebb_grads(r, l->bias), ebb_reals(dy), dy.stride, (size_t)rows, l->out);
  if (dx.p)
    ebbk->gemm(ebb_reals(dx), dx.stride, ebb_reals(dy), dy.stride, false, ebb_weights(r, l->weight), l->in, false, rows,
               l->in, l->out, false);
}

static ebb_layer *make(ebb_builder *b, const char *name, ebb_shape x)
{
  return ebb_linear(b, name, x.c, 10);
}

const ebb_layer_ops ebb_linear_ops = {
    .name = "linear",
    .formula = "y = W x + b",
    .source = "",
    .shape = shape,
    .forward = forward,
    .backward = backward,
    .make = make,
};

ebb_layer *ebb_linear(ebb_builder *b, const char *name, int in, int out)
{
  linear *l = (linear *)ebb_layer_new(b, &ebb_linear_ops, name, sizeof *l);
  double  bound = 1 / sqrt(in);
  l->in = in;
  l->out = out;
  ebb_param weight = {.kind = EBB_WEIGHT, .rank = 2, .dims = {out, in}, .decay = true, .fill = EBB_FILL_UNIFORM, .scale = bound};
  ebb_param bias = {.kind = EBB_WEIGHT, .rank = 1, .dims = {out}, .fill = EBB_FILL_UNIFORM, .scale = bound};
  l->weight = ebb_param_new(b, &l->base, "weight", weight);
  l->bias = ebb_param_new(b, &l->base, "bias", bias);
  return &l->base;
}
