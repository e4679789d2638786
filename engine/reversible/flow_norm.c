/* flow_norm.c -- y = (x - mean) / sqrt(var + eps) for each channel, mean and variance over samples and sites: the batch norm of
 * normalizing flows.
 * Owns: running statistics. Training goes by the batch's statistics, which are saved, so that
 * the way back of the same pass finds them; evaluation and sampling go by the running ones. log|det| of a sample is
 * -sites/2 sum log(var + eps), whose gradient, like y's, passes through the batch's statistics.
 * Source: Dinh et al. 2017 (RealNVP), section 3.7, without its average over batches in training. */
#include <math.h>

#include "kernels/kernels.h"
#include "layers/running.h"
#include "reversible/reversible.h"

static const double eps = 1e-5, momentum = 0.1;

typedef struct flow_norm {
  ebb_layer        base;
  int              channels;
  const ebb_param *running_mean, *running_var; /* (channels) */
} flow_norm;

static ebb_shape shape(const ebb_layer *layer, ebb_shape x)
{
  return !x.stream && x.c == ((const flow_norm *)layer)->channels ? x : ebb_shape_none();
}

/* ---- statistics: mean and 1/sqrt(var + eps), the batch's as they were saved, or in scratch the running ones -------------- */
enum { MEAN, RSTD, SCALE, SHIFT, SUM, SUMX, A, B, E, ARRAYS };

typedef struct statistics { ebb_real *mean, *rstd; } statistics;

static size_t saved_bytes(const ebb_layer *layer, ebb_shape x)
{
  (void)layer;
  return 2 * (size_t)x.c * sizeof(ebb_real);
}

static size_t scratch_bytes(const ebb_layer *layer, ebb_shape x)
{
  (void)layer;
  return ARRAYS * (size_t)x.c * sizeof(ebb_real);
}

static ebb_real *array(void *scratch, int c, int i)
{
  return (ebb_real *)scratch + (size_t)i * (size_t)c;
}

static ebb_real rstd_of(double var)
{
  return (ebb_real)(1 / sqrt(var + eps));
}

static statistics statistics_of(const flow_norm *l, const ebb_run *r, void *scratch)
{
  int        c = l->channels;
  void      *at = r->pass == EBB_EVAL ? scratch : ebb_saved(r, &l->base);
  statistics s = {array(at, c, MEAN), array(at, c, RSTD)};
  for (int j = 0; r->pass == EBB_EVAL && j < c; j++) {
    s.mean[j] = ebb_states(r, l->running_mean)[j];
    s.rstd[j] = rstd_of((double)ebb_states(r, l->running_var)[j]);
  }
  return s;
}

static void measure(const flow_norm *l, ebb_run *r, ebb_view x)
{
  statistics s = statistics_of(l, r, NULL);
  ebbk->moments(s.mean, s.rstd, ebbk_read(ebb_reals(x), x.stride), 1, ebb_sites(x.s), x.s.c);
  ebb_running_move(ebb_states(r, l->running_mean), ebb_states(r, l->running_var), s.mean, s.rstd, x.s.c, ebb_sites(x.s), momentum);
  for (int j = 0; j < x.s.c; j++) s.rstd[j] = rstd_of((double)s.rstd[j]);
}

/* ---- the layer ------------------------------------------------------------------------------------------------------------ */
/* x scale + shift, forward or back. */
static void map(ebb_view x, statistics s, bool back, void *scratch)
{
  ebb_real *scale = array(scratch, x.s.c, SCALE), *shift = array(scratch, x.s.c, SHIFT);
  for (int j = 0; j < x.s.c; j++) {
    scale[j] = back ? 1 / s.rstd[j] : s.rstd[j];
    shift[j] = back ? s.mean[j] : -s.mean[j] * s.rstd[j];
  }
  ebbk_input from = {.x = x.p, .stride = x.stride, .scale = scale, .shift = shift, .slope = 1};
  ebbk->affine_act(ebbk_over(ebb_reals(x), x.stride), from, 1, ebb_sites(x.s), x.s.c);
}

static void forward(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view y, void *scratch)
{
  (void)x;
  const flow_norm *l = (const flow_norm *)layer;
  double           sum = 0, *logdet = ebb_logdet(r), sites = (double)ebb_sites(y.s) / y.s.n;
  if (r->pass == EBB_TRAIN) measure(l, r, y);
  statistics s = statistics_of(l, r, scratch);
  for (int j = 0; j < y.s.c; j++) sum += log((double)s.rstd[j]);
  for (int i = 0; logdet && i < y.s.n; i++) logdet[i] += sites * sum;
  map(y, s, false, scratch);
}

/* M values of each channel, S1 = sum dy and S2 = sum dy (x - mean) give
 *   dx = rstd dy - rstd S1 / M - (rstd^3 S2 / M + rstd^2 dlogdet) (x - mean) = A dy + B (x - mean) + E, in place. */
static void backward(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view dy, ebb_view dx, void *scratch)
{
  int        c = x.s.c;
  double     m = (double)ebb_sites(x.s);
  statistics s = statistics_of((const flow_norm *)layer, r, scratch);
  ebb_real  *one = array(scratch, c, SCALE), *none = array(scratch, c, SHIFT), *sum = array(scratch, c, SUM), *sumx = array(scratch, c, SUMX);
  ebb_real  *a = array(scratch, c, A), *b = array(scratch, c, B), *e = array(scratch, c, E);
  for (int j = 0; j < c; j++) one[j] = 1, none[j] = 0;
  ebbk_input from = {.x = x.p, .stride = x.stride, .scale = one, .shift = none, .slope = 1};
  ebbk->affine_act_sums(sum, sumx, from, ebb_reals(dy), dy.stride, s.mean, 1, ebb_sites(x.s), c);
  for (int j = 0; j < c; j++) {
    double rstd = (double)s.rstd[j];
    a[j] = s.rstd[j];
    b[j] = (ebb_real)(-rstd * rstd * (rstd * (double)sumx[j] / m + r->dlogdet));
    e[j] = (ebb_real)(-rstd * (double)sum[j] / m);
  }
  ebbk->affine_act_grad(ebbk_over(ebb_reals(dx), dx.stride), (ebbk_output){0}, from, ebb_reals(dy), dy.stride, a, b, e, s.mean, 1,
                        ebb_sites(x.s), c);
}

static void inverse(const ebb_layer *layer, ebb_run *r, ebb_view y)
{
  void *scratch = ebb_arena_high(r->arena, scratch_bytes(layer, y.s));
  if (!r->dry) map(y, statistics_of((const flow_norm *)layer, r, scratch), true, scratch);
}

static ebb_layer *make(ebb_builder *b, const char *name, ebb_shape x)
{
  return ebb_flow_norm(b, name, x.c);
}

const ebb_layer_ops ebb_flow_norm_ops = {
    .name = "flow_norm",
    .formula = "y = (x - mean) / sqrt(var + eps), mean and var over samples and sites",
    .source = "Dinh et al. 2017, section 3.7",
    .in_place = true,
    .logdet = true,
    .shape = shape,
    .scratch = scratch_bytes,
    .saved = saved_bytes,
    .forward = forward,
    .backward = backward,
    .inverse = inverse,
    .make = make,
};

ebb_layer *ebb_flow_norm(ebb_builder *b, const char *name, int channels)
{
  flow_norm *l = (flow_norm *)ebb_layer_new(b, &ebb_flow_norm_ops, name, sizeof *l);
  ebb_param  p = {.kind = EBB_STATE, .rank = 1, .dims = {channels}, .fill = EBB_FILL_ZERO};
  l->channels = channels;
  l->running_mean = ebb_param_new(b, &l->base, "running_mean", p);
  p.fill = EBB_FILL_ONE;
  l->running_var = ebb_param_new(b, &l->base, "running_var", p);
  return &l->base;
}
