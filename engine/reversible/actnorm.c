/* actnorm.c -- y = (x + b) e^(3 s), b and s learned for each channel: what normalizing flows have for a norm.
 * Owns: its first values, by which the first batch comes out with mean 0 and mean square 1 (ebb_run.first).
 * log|det| of a sample is 3 sites sum s. Source: Kingma and Dhariwal 2018 (Glow), section 3.1; the factor 3, which speeds up the
 * learning of s, and the first values from their code. */
#include <math.h>

#include "kernels/kernels.h"
#include "reversible/reversible.h"

static const double faster = 3, least_spread = 1e-6;

typedef struct actnorm {
  ebb_layer        base;
  int              channels;
  bool             from_data; /* the first batch decides, or both begin at 0 */
  const ebb_param *bias, *logs;
} actnorm;

static ebb_shape shape(const ebb_layer *layer, ebb_shape x)
{
  return !x.stream && x.c == ((const actnorm *)layer)->channels ? x : ebb_shape_none();
}

/* Arrays of `channels` values: e^(3 s) or its inverse, the shift of the map, and two to work with. */
enum { ARRAYS = 4 };

static size_t scratch_bytes(const ebb_layer *layer, ebb_shape x)
{
  (void)layer;
  return ARRAYS * (size_t)x.c * sizeof(ebb_real);
}

static ebb_real *array(void *scratch, int c, int i)
{
  return (ebb_real *)scratch + (size_t)i * (size_t)c;
}

/* The first batch decides. */
static void decide(const actnorm *l, ebb_run *r, ebb_view x, void *scratch)
{
  ebb_real *mean = array(scratch, x.s.c, 0), *var = array(scratch, x.s.c, 1);
  ebb_real *bias = r->first + l->bias->offset, *logs = r->first + l->logs->offset;
  ebbk->moments(mean, var, ebbk_read(ebb_reals(x), x.stride), 1, ebb_sites(x.s), x.s.c);
  for (int c = 0; c < x.s.c; c++) {
    bias[c] = -mean[c];
    logs[c] = (ebb_real)(-log(sqrt((double)var[c]) + least_spread) / faster);
  }
}

/* y = x scale + shift, forward or back. */
static void map(const actnorm *l, const ebb_run *r, ebb_view x, bool back, void *scratch)
{
  const ebb_real *bias = ebb_weights(r, l->bias), *logs = ebb_weights(r, l->logs);
  ebb_real       *scale = array(scratch, x.s.c, 0), *shift = array(scratch, x.s.c, 1);
  for (int c = 0; c < x.s.c; c++) {
    scale[c] = (ebb_real)exp((back ? -faster : faster) * (double)logs[c]);
    shift[c] = back ? -bias[c] : bias[c] * scale[c];
  }
  ebbk_input from = {.x = x.p, .stride = x.stride, .scale = scale, .shift = shift, .slope = 1};
  ebbk->affine_act(ebbk_over(ebb_reals(x), x.stride), from, 1, ebb_sites(x.s), x.s.c);
}

static size_t sites_of(ebb_shape s)
{
  return ebb_sites(s) / (size_t)s.n;
}

static void forward(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view y, void *scratch)
{
  (void)x;
  const actnorm *l = (const actnorm *)layer;
  double         sum = 0, *logdet = ebb_logdet(r);
  if (r->first && l->from_data) decide(l, r, y, scratch);
  map(l, r, y, false, scratch);
  for (int c = 0; c < y.s.c; c++) sum += (double)ebb_weights(r, l->logs)[c];
  for (int i = 0; logdet && i < y.s.n; i++) logdet[i] += faster * (double)sites_of(y.s) * sum;
}

/* db = e^(3 s) sum dy;  ds = 3 (e^(3 s) sum dy (x + b) + n sites dlogdet);  dx = e^(3 s) dy, in place. */
static void backward(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view dy, ebb_view dx, void *scratch)
{
  const actnorm  *l = (const actnorm *)layer;
  int             c = x.s.c;
  const ebb_real *bias = ebb_weights(r, l->bias), *logs = ebb_weights(r, l->logs);
  ebb_real       *scale = array(scratch, c, 0), *none = array(scratch, c, 1), *sum = array(scratch, c, 2), *sumx = array(scratch, c, 3);
  ebb_real       *dbias = ebb_grads(r, l->bias), *dlogs = ebb_grads(r, l->logs);
  for (int j = 0; j < c; j++) scale[j] = 1, none[j] = -bias[j];
  ebbk_input from = {.x = x.p, .stride = x.stride, .scale = scale, .shift = none, .slope = 1};
  ebbk->affine_act_sums(sum, sumx, from, ebb_reals(dy), dy.stride, none, 1, ebb_sites(x.s), c);
  for (int j = 0; j < c; j++) {
    scale[j] = (ebb_real)exp(faster * (double)logs[j]);
    none[j] = 0;
    dbias[j] += scale[j] * sum[j];
    dlogs[j] += (ebb_real)(faster * ((double)scale[j] * (double)sumx[j] + (double)ebb_sites(x.s) * r->dlogdet));
  }
  from = (ebbk_input){.x = dy.p, .stride = dy.stride, .scale = scale, .shift = none, .slope = 1};
  ebbk->affine_act(ebbk_over(ebb_reals(dx), dx.stride), from, 1, ebb_sites(x.s), c);
}

static void inverse(const ebb_layer *layer, ebb_run *r, ebb_view y)
{
  void *scratch = ebb_arena_high(r->arena, scratch_bytes(layer, y.s));
  if (!r->dry) map((const actnorm *)layer, r, y, true, scratch);
}

static ebb_layer *make(ebb_builder *b, const char *name, ebb_shape x)
{
  return ebb_actnorm(b, name, x.c, true);
}

const ebb_layer_ops ebb_actnorm_ops = {
    .name = "actnorm",
    .formula = "y = (x + b) e^(3 s)",
    .source = "Kingma and Dhariwal 2018, section 3.1",
    .in_place = true,
    .logdet = true,
    .shape = shape,
    .scratch = scratch_bytes,
    .forward = forward,
    .backward = backward,
    .inverse = inverse,
    .make = make,
};

ebb_layer *ebb_actnorm(ebb_builder *b, const char *name, int channels, bool from_data)
{
  actnorm  *l = (actnorm *)ebb_layer_new(b, &ebb_actnorm_ops, name, sizeof *l);
  ebb_param p = {.kind = EBB_WEIGHT, .rank = 1, .dims = {channels}, .fill = EBB_FILL_ZERO};
  l->channels = channels;
  l->from_data = from_data;
  l->bias = ebb_param_new(b, &l->base, "bias", p);
  l->logs = ebb_param_new(b, &l->base, "logs", p);
  return &l->base;
}
