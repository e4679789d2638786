/* conv_transpose.c -- transposed convolution whose kernel is its stride: every site becomes a patch.
 * Owns: stride and weights. Two products of matrices and a permutation; no sites overlap. */
#include <math.h>
#include <string.h>

#include "kernels/kernels.h"
#include "layers/layers.h"

typedef struct conv_transpose {
  ebb_layer        base;
  int              in, out, stride[3], taps;
  const ebb_param *weight, *bias; /* in memory (taps, out, in) and (out) */
} conv_transpose;

static ebb_shape shape(const ebb_layer *layer, ebb_shape x)
{
  const conv_transpose *l = (const conv_transpose *)layer;
  if (x.stream || x.c != l->in) return ebb_shape_none();
  x.d *= l->stride[0], x.h *= l->stride[1], x.w *= l->stride[2];
  x.c = l->out;
  return x;
}

/* One row of (taps, out) for every site of x. */
static size_t scratch_bytes(const ebb_layer *layer, ebb_shape x)
{
  const conv_transpose *l = (const conv_transpose *)layer;
  return ebb_sites(x) * (size_t)l->taps * (size_t)l->out * sizeof(ebb_real);
}

static size_t row_of(ebb_shape s, int n, int d, int h)
{
  return (((size_t)n * (size_t)s.d + (size_t)d) * (size_t)s.h + (size_t)h) * (size_t)s.w;
}

/* Between y and the rows of patches: for each row of x's sites and each tap, sites of y that are `stride` apart. */
static void exchange(const conv_transpose *l, ebb_view y, ebb_shape x, ebb_real *rows, bool to_y)
{
  int width = l->taps * l->out, ys = y.stride * l->stride[2];
  for (int n = 0; n < x.n; n++)
    for (int d = 0; d < x.d; d++)
      for (int h = 0; h < x.h; h++)
        for (int k = 0; k < l->taps; k++) {
          int       kw = k % l->stride[2], kh = k / l->stride[2] % l->stride[1], kd = k / l->stride[2] / l->stride[1];
          ebb_real *at = ebb_reals(y) + (row_of(y.s, n, d * l->stride[0] + kd, h * l->stride[1] + kh) + (size_t)kw) * (size_t)y.stride;
          ebb_real *row = rows + row_of(x, n, d, h) * (size_t)width + (size_t)k * (size_t)l->out;
          if (to_y) ebbk->copy(at, ys, row, width, (size_t)x.w, l->out);
          else ebbk->copy(row, width, at, ys, (size_t)x.w, l->out);
        }
}

static void add_bias(const conv_transpose *l, const ebb_run *r, ebb_view y)
{
  const ebb_real *b = ebb_weights(r, l->bias);
  if (b) ebbk->add(ebb_reals(y), y.stride, b, 0, ebb_sites(y.s), y.s.c);
}

static void forward(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view y, void *scratch)
{
  const conv_transpose *l = (const conv_transpose *)layer;
  int                   width = l->taps * l->out;
  ebbk->gemm(scratch, width, ebb_reals(x), x.stride, false, ebb_weights(r, l->weight), l->in, true, (int)ebb_sites(x.s), width, l->in,
             false);
  exchange(l, y, x.s, scratch, true);
  add_bias(l, r, y);
}

/* y[q s + k] = b + w[k] x[q]  gives  dw[k] = sum_q dy[q s + k] x[q]^T, db = sum dy, dx[q] = sum_k w[k]^T dy[q s + k]. */
static void backward(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view dy, ebb_view dx, void *scratch)
{
  const conv_transpose *l = (const conv_transpose *)layer;
  int                   width = l->taps * l->out, sites = (int)ebb_sites(x.s);
  exchange(l, dy, x.s, scratch, false);
  ebbk->gemm(ebb_grads(r, l->weight), l->in, scratch, width, true, ebb_reals(x), x.stride, false, width, l->in, sites, true);
  if (l->bias) ebbk->column_sums(ebb_grads(r, l->bias), ebb_reals(dy), dy.stride, ebb_sites(dy.s), dy.s.c);
  if (dx.p)
    ebbk->gemm(ebb_reals(dx), dx.stride, scratch, width, false, ebb_weights(r, l->weight), l->in, false, sites, l->in, width, false);
}

static ebb_layer *make(ebb_builder *b, const char *name, ebb_shape x)
{
  return ebb_conv_transpose(b, name, x.c, x.c + 1, (int[3]){x.rank == 3 ? 2 : 1, x.rank >= 2 ? 2 : 1, 3});
}

const ebb_layer_ops ebb_conv_transpose_ops = {
    .name = "conv_transpose",
    .formula = "y[q s + k] = b + w[k] x[q]",
    .source = "",
    .shape = shape,
    .scratch = scratch_bytes,
    .forward = forward,
    .backward = backward,
    .make = make,
};

ebb_layer *ebb_conv_transpose(ebb_builder *b, const char *name, int in, int out, const int stride[3])
{
  conv_transpose *l = (conv_transpose *)ebb_layer_new(b, &ebb_conv_transpose_ops, name, sizeof *l);
  l->in = in;
  l->out = out;
  memcpy(l->stride, stride, sizeof l->stride);
  l->taps = stride[0] * stride[1] * stride[2];
  ebb_param weight = {.kind = EBB_WEIGHT, .rank = b->rank + 2, .dims = {in, out}, .taps_first = true, .decay = true,
                      .fill = EBB_FILL_UNIFORM, .scale = 1 / sqrt((double)out * l->taps)};
  for (int i = 0; i < b->rank; i++) weight.dims[2 + i] = stride[3 - b->rank + i];
  l->weight = ebb_param_new(b, &l->base, "weight", weight);
  ebb_param bias = {.kind = EBB_WEIGHT, .rank = 1, .dims = {out}, .fill = EBB_FILL_ZERO};
  l->bias = ebb_param_new(b, &l->base, "bias", bias);
  return &l->base;
}
