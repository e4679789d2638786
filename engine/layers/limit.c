/* limit.c -- keeps the first half of the channels, the logarithms s of an affine coupling's scales, within bounds; the second
 * half, the shifts t, passes.
 * Owns: the laws. TANH s = g tanh x, g learned for each channel (Dinh et al. 2017, section 4.1); SIGMOID s = log(1 / (1 + e^-(x + 2))),
 * which only shrinks (Kingma and Dhariwal 2018, their code); CLAMP s = 4/pi atan(x / 2) (Ardizzone et al. 2019, Eq. 4, bound 2). */
#include <math.h>

#include "kernels/kernels.h"
#include "layers/layers.h"

typedef struct limit {
  ebb_layer        base;
  int              channels;
  ebb_limit_law    law;
  const ebb_param *scale;    /* (channels / 2) of TANH */
} limit;

static double log_sigmoid(double x)
{
  return -fmax(-x - 2, 0) - log1p(exp(-fabs(x + 2)));
}

static double log_sigmoid_slope(double x)
{
  return 1 / (1 + exp(x + 2));
}

static const double pi = 3.14159265358979323846;

static double clamp(double x)
{
  return 4 / pi * atan(x / 2);
}

static double clamp_slope(double x)
{
  return 2 / pi / (1 + x * x / 4);
}

/* 1 - t^2, by t = tanh x */
static double tanh_slope(double t)
{
  return 1 - t * t;
}

static ebb_shape shape(const ebb_layer *layer, ebb_shape x)
{
  return !x.stream && x.c == ((const limit *)layer)->channels && x.c % 2 == 0 ? x : ebb_shape_none();
}

/* TANH: four arrays of channels, and tanh x. */
static size_t scratch_bytes(const ebb_layer *layer, ebb_shape x)
{
  const limit *l = (const limit *)layer;
  size_t       half = (size_t)x.c / 2;
  return l->law == EBB_LIMIT_TANH ? (ebb_sites(x) + 4) * half * sizeof(ebb_real) : 0;
}

static void pass_shifts(ebb_view to, ebb_view from)
{
  int      half = from.s.c / 2;
  ebb_view t = ebb_view_channels(to, half, half), f = ebb_view_channels(from, half, half);
  ebbk->copy(ebb_reals(t), t.stride, ebb_reals(f), f.stride, ebb_sites(f.s), half);
}

/* v *= g, channel by channel; none: (c) of zeros. */
static void scale_channels(ebb_view v, const ebb_real *g, ebb_real *none)
{
  for (int c = 0; c < v.s.c; c++) none[c] = 0;
  ebbk_input from = {.x = v.p, .stride = v.stride, .scale = g, .shift = none, .slope = 1};
  ebbk->affine_act(ebbk_over(ebb_reals(v), v.stride), from, 1, ebb_sites(v.s), v.s.c);
}

static void forward(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view y, void *scratch)
{
  const limit *l = (const limit *)layer;
  ebb_view     s = ebb_view_channels(x, 0, x.s.c / 2), to = ebb_view_channels(y, 0, x.s.c / 2);
  double     (*law)(double) = l->law == EBB_LIMIT_TANH ? tanh : l->law == EBB_LIMIT_SIGMOID ? log_sigmoid : clamp;
  ebbk->map(ebb_reals(to), to.stride, ebb_reals(s), s.stride, law, ebb_sites(s.s), s.s.c);
  if (l->law == EBB_LIMIT_TANH) scale_channels(to, ebb_weights(r, l->scale), scratch);
  pass_shifts(y, x);
}

/* s = g t, t = tanh x:  dg = sum of ds t;  dx = ds g (1 - t^2). */
static void backward_tanh(const limit *l, ebb_run *r, ebb_view x, ebb_view ds, ebb_view dx, void *scratch)
{
  int       c = x.s.c;
  ebb_real *one = scratch, *zero = one + c, *sum = zero + c, *sumt = sum + c, *t = sumt + c, *dg = ebb_grads(r, l->scale);
  size_t    sites = ebb_sites(x.s);
  ebbk->map(t, c, ebb_reals(x), x.stride, tanh, sites, c);
  for (int j = 0; j < c; j++) one[j] = 1, zero[j] = 0;
  ebbk_input from = {.x = t, .stride = c, .scale = one, .shift = zero, .slope = 1};
  ebbk->affine_act_sums(sum, sumt, from, ebb_reals(ds), ds.stride, zero, 1, sites, c);
  for (int j = 0; j < c; j++) dg[j] += sumt[j];
  if (!dx.p) return;
  ebbk->map_grad(ebb_reals(dx), dx.stride, t, c, ebb_reals(ds), ds.stride, tanh_slope, sites, c);
  scale_channels(dx, ebb_weights(r, l->scale), scratch);
}

static void backward(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view dy, ebb_view dx, void *scratch)
{
  const limit *l = (const limit *)layer;
  int          half = x.s.c / 2;
  ebb_view     s = ebb_view_channels(x, 0, half), ds = ebb_view_channels(dy, 0, half), to = dx;
  if (dx.p) to = ebb_view_channels(dx, 0, half);
  if (l->law == EBB_LIMIT_TANH) backward_tanh(l, r, s, ds, to, scratch);
  else if (dx.p)
    ebbk->map_grad(ebb_reals(to), to.stride, ebb_reals(s), s.stride, ebb_reals(ds), ds.stride,
                   l->law == EBB_LIMIT_SIGMOID ? log_sigmoid_slope : clamp_slope, ebb_sites(s.s), half);
  if (dx.p) pass_shifts(dx, dy);
}

static ebb_layer *make(ebb_builder *b, const char *name, ebb_shape x)
{
  return ebb_limit(b, name, x.c, x.h > 5 ? EBB_LIMIT_SIGMOID : x.h > 3 ? EBB_LIMIT_CLAMP : EBB_LIMIT_TANH);
}

const ebb_layer_ops ebb_limit_ops = {
    .name = "limit",
    .formula = "y = [law(x1) | x2]",
    .source = "Dinh et al. 2017; Kingma and Dhariwal 2018; Ardizzone et al. 2019",
    .shape = shape,
    .scratch = scratch_bytes,
    .forward = forward,
    .backward = backward,
    .make = make,
};

ebb_layer *ebb_limit(ebb_builder *b, const char *name, int channels, ebb_limit_law law)
{
  limit *l = (limit *)ebb_layer_new(b, &ebb_limit_ops, name, sizeof *l);
  l->channels = channels;
  l->law = law;
  if (law == EBB_LIMIT_TANH)
    l->scale = ebb_param_new(b, &l->base, "weight", (ebb_param){.kind = EBB_WEIGHT, .rank = 1, .dims = {channels / 2}, .fill = EBB_FILL_ONE});
  return &l->base;
}
