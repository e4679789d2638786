/* scale.c -- y = x e^s, s learned for each channel: the only layer of NICE that does not keep volumes.
 * Owns: the order in which its way back looks at y. log|det| of a sample is sites sum s. The gradient of s is a sum of dy y, and y is
 * what reversal has at hand: it is the same bytes whether x was kept or is reconstructed, which rounds.
 * Source: Dinh et al. 2014 (NICE), section 3.3. */
#include <math.h>

#include "kernels/kernels.h"
#include "reversible/reversible.h"

typedef struct scale {
  ebb_layer        base;
  int              channels;
  const ebb_param *logs;    /* (channels) */
} scale;

static ebb_shape shape(const ebb_layer *layer, ebb_shape x)
{
  return !x.stream && x.c == ((const scale *)layer)->channels ? x : ebb_shape_none();
}

/* For each channel e^s or its inverse, and a shift of 0; or, of backward, sums. */
static size_t scratch_bytes(const ebb_layer *layer, ebb_shape x)
{
  (void)layer;
  return 2 * ebb_align((size_t)x.c * sizeof(double));
}

static ebb_real *factors(const scale *l, const ebb_run *r, int sign, void *scratch)
{
  ebb_real *e = scratch;
  for (int c = 0; c < l->channels; c++) e[c] = (ebb_real)exp(sign * (double)ebb_weights(r, l->logs)[c]);
  return e;
}

static void map(const scale *l, const ebb_run *r, ebb_view x, int sign, void *scratch)
{
  ebb_real *e = factors(l, r, sign, scratch), *none = e + l->channels;
  for (int c = 0; c < l->channels; c++) none[c] = 0;
  ebbk_input from = {.x = x.p, .stride = x.stride, .scale = e, .shift = none, .slope = 1};
  ebbk->affine_act(ebbk_over(ebb_reals(x), x.stride), from, 1, ebb_sites(x.s), x.s.c);
}

static void forward(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view y, void *scratch)
{
  (void)x;
  const scale *l = (const scale *)layer;
  double       sum = 0, *logdet = ebb_logdet(r), sites = (double)ebb_sites(y.s) / y.s.n;
  for (int c = 0; c < y.s.c; c++) sum += (double)ebb_weights(r, l->logs)[c];
  for (int i = 0; logdet && i < y.s.n; i++) logdet[i] += sites * sum;
  map(l, r, y, 1, scratch);
}

/* ds = sum dy y + n sites dlogdet;  v is y, or x of which `e` makes y. */
static void gradient(const scale *l, const ebb_run *r, ebb_view v, const ebb_real *e, ebb_view dy, double *sum)
{
  ebb_real *dlogs = ebb_grads(r, l->logs);
  for (int c = 0; c < v.s.c; c++) sum[c] = (double)ebb_sites(v.s) * r->dlogdet;
  for (size_t i = 0; i < ebb_sites(v.s); i++)
    for (int c = 0; c < v.s.c; c++) {
      ebb_real y = ebb_reals(v)[i * (size_t)v.stride + (size_t)c];
      if (e) y *= e[c];
      sum[c] += (double)y * (double)ebb_reals(dy)[i * (size_t)dy.stride + (size_t)c];
    }
  for (int c = 0; c < v.s.c; c++) dlogs[c] += (ebb_real)sum[c];
}

static double *sums(const scale *l, void *scratch)
{
  return (double *)(void *)((char *)scratch + ebb_align((size_t)l->channels * sizeof(double)));
}

/* dx = e^s dy, in place. */
static void backward(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view dy, ebb_view dx, void *scratch)
{
  (void)dx;
  const scale *l = (const scale *)layer;
  gradient(l, r, x, factors(l, r, 1, scratch), dy, sums(l, scratch));
  map(l, r, dy, 1, scratch);
}

static void inverse(const ebb_layer *layer, ebb_run *r, ebb_view y)
{
  void *scratch = ebb_arena_high(r->arena, scratch_bytes(layer, y.s));
  if (!r->dry) map((const scale *)layer, r, y, -1, scratch);
}

static void reverse(const ebb_layer *layer, ebb_run *r, ebb_view y, ebb_view dy)
{
  const scale *l = (const scale *)layer;
  void        *scratch = ebb_arena_high(r->arena, scratch_bytes(layer, y.s));
  if (r->dry) return;
  gradient(l, r, y, NULL, dy, sums(l, scratch));
  map(l, r, y, -1, scratch);
  map(l, r, dy, 1, scratch);
}

static ebb_layer *make(ebb_builder *b, const char *name, ebb_shape x)
{
  return ebb_scale(b, name, x.c);
}

const ebb_layer_ops ebb_scale_ops = {
    .name = "scale",
    .formula = "y = x e^s",
    .source = "Dinh et al. 2014, section 3.3",
    .in_place = true,
    .logdet = true,
    .shape = shape,
    .scratch = scratch_bytes,
    .forward = forward,
    .backward = backward,
    .inverse = inverse,
    .reverse = reverse,
    .make = make,
};

ebb_layer *ebb_scale(ebb_builder *b, const char *name, int channels)
{
  scale    *l = (scale *)ebb_layer_new(b, &ebb_scale_ops, name, sizeof *l);
  ebb_param p = {.kind = EBB_WEIGHT, .rank = 1, .dims = {channels}, .fill = EBB_FILL_ZERO};
  l->channels = channels;
  l->logs = ebb_param_new(b, &l->base, "logs", p);
  return &l->base;
}
