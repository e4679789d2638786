/* conv.c -- convolution with learned kernels, 1-D to 3-D, any stride, zero padding.
 * Owns: weight and bias. The arithmetic is ebbk->conv_*. */
#include <math.h>

#include "base/threads.h"
#include "layers/conv.h"
#include "layers/layers.h"
#include "layers/norm.h"

typedef struct conv {
  ebb_layer        base;
  ebb_conv_options o;
  int              rank;
  const ebb_param *weight, *bias; /* in memory (K..., in, out) and (out) */
  const ebb_layer *norm;          /* that reads the result, or NULL      */
} conv;

ebbk_conv ebb_conv_geometry(const ebb_layer *layer, ebb_shape x)
{
  const conv *l = (const conv *)layer;
  ebbk_conv   g = {.n = x.n, .in = {x.d, x.h, x.w}, .ci = l->o.in, .co = l->o.out};
  for (int i = 0; i < 3; i++) {
    bool spatial = i >= 3 - l->rank;
    g.kernel[i] = spatial ? l->o.kernel : 1;
    g.stride[i] = spatial ? l->o.stride : 1;
    g.pad[i] = spatial ? l->o.pad : 0;
    g.out[i] = (g.in[i] + 2 * g.pad[i] - g.kernel[i]) / g.stride[i] + 1;
  }
  return g;
}

static ebb_shape shape(const ebb_layer *layer, ebb_shape x)
{
  const conv *l = (const conv *)layer;
  if (x.stream || x.rank != l->rank || x.c != l->o.in) return ebb_shape_none();
  ebbk_conv g = ebb_conv_geometry(layer, x);
  for (int i = 0; i < 3; i++)
    if (g.in[i] + 2 * g.pad[i] < g.kernel[i]) return ebb_shape_none();
  return (ebb_shape){.rank = x.rank, .n = x.n, .d = g.out[0], .h = g.out[1], .w = g.out[2], .c = g.co};
}

static size_t scratch_bytes(const ebb_layer *layer, ebb_shape x)
{
  ebbk_conv g = ebb_conv_geometry(layer, x);
  return ebbk->conv_scratch(&g, ebb_threads());
}

void ebb_conv_apply(const ebb_layer *layer, ebb_run *r, ebbk_input x, ebb_shape s, ebbk_output y, void *scratch)
{
  const conv *l = (const conv *)layer;
  ebbk_conv   g = ebb_conv_geometry(layer, s);
  if (l->norm && y.how != EBBK_STREAM_SUBTRACT) ebb_norm_measure_on_the_way(l->norm, r, ebb_shape_read(layer, s), &y);
  ebbk->conv_forward(y, x, ebb_weights(r, l->weight), ebb_weights(r, l->bias), &g, scratch);
}

/* y[q] = b + sum_k w[k] x[q s + k - p]  gives  dw[k] = sum_q x[q s + k - p] dy[q],  db = sum_q dy[q],
 * dx[i] = sum over (q, k) with q s + k - p = i of w[k]^T dy[q]. */
void ebb_conv_backward(const ebb_layer *layer, ebb_run *r, ebbk_conv_back k, ebb_shape s, ebb_view dy, void *scratch)
{
  const conv *l = (const conv *)layer;
  ebbk_conv   g = ebb_conv_geometry(layer, s);
  k.w = ebb_weights(r, l->weight), k.b = ebb_weights(r, l->bias);
  k.dw = ebb_grads(r, l->weight);
  k.dy = ebb_reals(dy), k.dys = dy.stride;
  ebbk->conv_backward(&k, &g, scratch);
  if (l->bias) ebbk->column_sums(ebb_grads(r, l->bias), ebb_reals(dy), dy.stride, ebb_sites(dy.s), dy.s.c);
}

static void forward(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view y, void *scratch)
{
  ebb_conv_apply(layer, r, ebb_input(x), x.s, ebb_output(y), scratch);
}

static void update(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view z, ebb_sign sign, void *scratch)
{
  ebbk_range range = {0};
  ebb_conv_apply(layer, r, ebb_input(x), x.s, ebb_stream_output(z, sign, &range), scratch);
  ebb_note_range(r, layer, range.count, range.worst);
}

static void backward(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view dy, ebb_view dx, void *scratch)
{
  ebb_conv_backward(layer, r, (ebbk_conv_back){.x = ebb_input(x), .dx = ebb_output(dx)}, x.s, dy, scratch);
}

static void undo(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view z, ebb_view dy, ebb_view dx, void *scratch)
{
  ebbk_conv_back k = {.x = ebb_input(x), .dx = ebb_output(dx), .y = ebb_stream_output(z, EBB_MINUS, NULL)};
  ebb_conv_backward(layer, r, k, x.s, dy, scratch);
}

static void precedes(ebb_layer *layer, const ebb_layer *norm)
{
  conv *l = (conv *)layer;
  if (ebb_norm_channels(norm) == l->o.out) l->norm = norm;
}

static ebb_layer *make(ebb_builder *b, const char *name, ebb_shape x)
{
  return ebb_conv(b, name, (ebb_conv_options){.in = x.c, .out = x.c, .kernel = 3, .pad = 1, .bias = true});
}

const ebb_layer_ops ebb_conv_ops = {
    .name = "conv",
    .formula = "y[q] = b + sum over k of w[k] x[q s + k - p]",
    .source = "",
    .shape = shape,
    .scratch = scratch_bytes,
    .forward = forward,
    .update = update,
    .backward = backward,
    .undo = undo,
    .from_stream = ebb_yes,
    .precedes = precedes,
    .make = make,
};

bool ebb_is_conv(const ebb_layer *l)
{
  return l->ops == &ebb_conv_ops;
}

/* How weights begin: fill and scale. */
static void begin(ebb_param *weight, const ebb_conv_options *o, double fan_out)
{
  weight->fill = o->truncated ? EBB_FILL_TRUNCATED_NORMAL : EBB_FILL_NORMAL;
  weight->scale = o->spread > 0 ? o->spread : sqrt(2 / fan_out);
  if (o->uniform) weight->fill = EBB_FILL_UNIFORM, weight->scale = sqrt(6 / (1 + 1e-4) / fan_out);
  if (o->zero) weight->fill = EBB_FILL_ZERO;
}

ebb_layer *ebb_conv(ebb_builder *b, const char *name, ebb_conv_options o)
{
  if (o.stride == 0) o.stride = 1;
  conv *l = (conv *)ebb_layer_new(b, &ebb_conv_ops, name, sizeof *l);
  l->o = o;
  l->rank = b->rank;
  ebb_param weight = {.kind = EBB_WEIGHT,
                      .rank = b->rank + 2,
                      .dims = {o.out, o.in, o.kernel, o.kernel, o.kernel},
                      .taps_first = true,
                      .decay = true};
  begin(&weight, &o, pow(o.kernel, b->rank) * o.out);
  l->weight = ebb_param_new(b, &l->base, "weight", weight);
  if (o.bias) {
    ebb_param bias = {.kind = EBB_WEIGHT, .rank = 1, .dims = {o.out}, .fill = EBB_FILL_ZERO};
    l->bias = ebb_param_new(b, &l->base, "bias", bias);
  }
  return &l->base;
}
