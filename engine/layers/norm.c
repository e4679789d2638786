/* norm.c -- batch, instance and group norm, with the activation that may follow them.
 * Owns: gain and bias, running statistics, and the rule that those move once a step.
 * Statistics of the TRAIN pass are saved (a few values a channel) and reused by replay and backward.
 * Sources: Ioffe & Szegedy 2015 (batch), Ulyanov et al. 2016 (instance), Wu & He 2018 (group). */
#include <math.h>

#include "layers/conv.h"
#include "layers/layers.h"
#include "layers/norm.h"
#include "layers/running.h"

typedef struct norm {
  ebb_layer        base;
  ebb_norm_options o;
  int              groups;              /* 0: batch norm; = channels: instance norm                     */
  const ebb_param *weight, *bias;       /* (channels) gain and bias                                     */
  const ebb_param *running_mean, *running_var; /* (channels), batch norm only                           */
  double           slope;               /* of the activation: 1 none, 0 ReLU, else leaky                */
} norm;

/* Channels of one group share statistics; batch norm takes all samples as one instance. */
typedef struct groups { size_t instances, sites; int c, per; } groups;

static groups grouping(const norm *l, ebb_shape x)
{
  size_t sites = ebb_sites(x) / (size_t)x.n;
  if (l->groups == 0) return (groups){1, ebb_sites(x), x.c, 1};
  return (groups){(size_t)x.n, sites, x.c, x.c / l->groups};
}

static ebb_shape shape(const ebb_layer *layer, ebb_shape x)
{
  const norm *l = (const norm *)layer;
  return x.stream || x.c != l->o.channels ? ebb_shape_none() : x;
}

/* What forward saves: mean and 1/sqrt(var + eps) of every (instance, channel). */
typedef struct statistics { ebb_real *mean, *rstd; } statistics;

size_t ebb_norm_saved(const ebb_layer *layer, ebb_shape x)
{
  groups k = grouping((const norm *)layer, x);
  return 2 * k.instances * (size_t)k.c * sizeof(ebb_real);
}

static statistics statistics_of(void *saved, groups k)
{
  ebb_real *p = saved;
  return (statistics){p, p + k.instances * (size_t)k.c};
}

enum { SCALE, SHIFT, SUM_DZ, SUM_DZX, A, B, E, PARTS }; /* of the scratch, each (instances, c) */

size_t ebb_norm_scratch(const ebb_layer *layer, ebb_shape x)
{
  groups k = grouping((const norm *)layer, x);
  return PARTS * k.instances * (size_t)k.c * sizeof(ebb_real);
}

static ebb_real *part(void *scratch, int which, groups k)
{
  return (ebb_real *)scratch + (size_t)which * k.instances * (size_t)k.c;
}

/* Per-channel mean and variance become those of their group, the latter as 1/sqrt(var + eps). */
static void share_in_groups(statistics s, groups k, double eps)
{
  for (size_t first = 0; first < k.instances * (size_t)k.c; first += (size_t)k.per) {
    double mean = 0, var = 0;
    for (int j = 0; j < k.per; j++) mean += s.mean[first + (size_t)j] / k.per;
    for (int j = 0; j < k.per; j++) {
      double off = s.mean[first + (size_t)j] - mean;
      var += (s.rstd[first + (size_t)j] + off * off) / k.per;
    }
    for (int j = 0; j < k.per; j++) {
      s.mean[first + (size_t)j] = (ebb_real)mean;
      s.rstd[first + (size_t)j] = (ebb_real)(1 / sqrt(var + eps));
    }
  }
}

/* Batch norm goes by its running statistics when nobody trains. */
static bool measures_now(const norm *l, const ebb_run *r)
{
  return r->pass == EBB_TRAIN || (r->pass == EBB_EVAL && l->groups != 0);
}

void ebb_norm_measure_on_the_way(const ebb_layer *layer, ebb_run *r, ebb_shape x, ebbk_output *y)
{
  const norm *l = (const norm *)layer;
  if (!measures_now(l, r)) return;
  statistics s = statistics_of(ebb_saved(r, layer), grouping(l, x));
  y->mean = s.mean, y->var = s.rstd;
  y->per_instance = l->groups != 0;
  r->measured = layer;
}

static void measure(const norm *l, ebb_run *r, ebb_view x, groups k, statistics s)
{
  if (r->measured != &l->base) ebbk->moments(s.mean, s.rstd, ebb_input(x), k.instances, k.sites, k.c);
  r->measured = NULL;
  if (l->groups == 0) ebb_running_move(ebb_states(r, l->running_mean), ebb_states(r, l->running_var), s.mean, s.rstd, l->o.channels, k.sites,
                                    l->o.momentum);
  share_in_groups(s, k, l->o.eps);
}

/* scale = gain rstd, shift = bias - mean scale:  y = act(x scale + shift). */
static ebbk_input affine(const norm *l, const ebb_run *r, ebb_view x, groups k, statistics s, void *scratch)
{
  ebbk_input      read = ebb_input(x);
  const ebb_real *gain = ebb_weights(r, l->weight), *bias = ebb_weights(r, l->bias);
  ebb_real       *scale = part(scratch, SCALE, k), *shift = part(scratch, SHIFT, k);
  for (size_t i = 0; i < k.instances; i++)
    for (int c = 0; c < k.c; c++) {
      size_t at = i * (size_t)k.c + (size_t)c;
      scale[at] = gain[c] * s.rstd[at];
      shift[at] = bias[c] - s.mean[at] * scale[at];
    }
  read.scale = scale, read.shift = shift;
  read.slope = (ebb_real)l->slope;
  read.per_instance = l->groups != 0;
  return read;
}

/* In evaluation, batch norm is an affine map by its running statistics; they take the saved ones' place. */
static void use_running(const norm *l, const ebb_run *r, statistics s)
{
  const ebb_real *mean = ebb_states(r, l->running_mean), *var = ebb_states(r, l->running_var);
  for (int c = 0; c < l->o.channels; c++) {
    s.mean[c] = mean[c];
    s.rstd[c] = (ebb_real)(1 / sqrt((double)var[c] + l->o.eps));
  }
}

ebbk_input ebb_norm_read(const ebb_layer *layer, ebb_run *r, ebb_view x, bool first, void *saved, void *scratch)
{
  const norm *l = (const norm *)layer;
  groups      k = grouping(l, x.s);
  statistics  s = statistics_of(saved, k);
  if (first && measures_now(l, r)) measure(l, r, x, k, s);
  else if (first && r->pass == EBB_EVAL) use_running(l, r, s);
  return affine(l, r, x, k, s, scratch);
}

static void apply(const ebb_layer *layer, ebb_run *r, ebb_view x, ebbk_output y, void *scratch)
{
  groups k = grouping((const norm *)layer, x.s);
  ebbk->affine_act(y, ebb_norm_read(layer, r, x, true, ebb_saved(r, layer), scratch), k.instances, k.sites, k.c);
}

static void forward(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view y, void *scratch)
{
  apply(layer, r, x, ebb_output(y), scratch);
}

static void update(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view z, ebb_sign sign, void *scratch)
{
  ebbk_range range = {0};
  apply(layer, r, x, ebb_stream_output(z, sign, &range), scratch);
  ebb_note_range(r, layer, range.count, range.worst);
}

/* The group's sums, S1 = sum gain dz and S2 = sum gain dz (x - mean), M values in all, give
 *   dx = gain rstd dz - rstd S1 / M - rstd^3 S2 / M (x - mean) = A dz + B (x - mean) + E. */
static void coefficients(const norm *l, const ebb_run *r, groups k, statistics s, void *scratch)
{
  const ebb_real *gain = ebb_weights(r, l->weight), *dz = part(scratch, SUM_DZ, k), *dzx = part(scratch, SUM_DZX, k);
  ebb_real       *a = part(scratch, A, k), *b = part(scratch, B, k), *e = part(scratch, E, k);
  double          m = (double)k.sites * k.per;
  for (size_t first = 0; first < k.instances * (size_t)k.c; first += (size_t)k.per) {
    double s1 = 0, s2 = 0, rstd = s.rstd[first];
    for (size_t at = first; at < first + (size_t)k.per; at++) {
      s1 += (double)gain[at % (size_t)k.c] * dz[at];
      s2 += (double)gain[at % (size_t)k.c] * dzx[at];
    }
    for (size_t at = first; at < first + (size_t)k.per; at++) {
      a[at] = (ebb_real)(gain[at % (size_t)k.c] * rstd);
      b[at] = (ebb_real)(-rstd * rstd * rstd * s2 / m);
      e[at] = (ebb_real)(-rstd * s1 / m);
    }
  }
}

ebb_norm_sums ebb_norm_wants(const ebb_layer *layer, ebb_shape x, void *saved, void *scratch)
{
  groups k = grouping((const norm *)layer, x);
  return (ebb_norm_sums){statistics_of(saved, k).mean, part(scratch, SUM_DZ, k), part(scratch, SUM_DZX, k)};
}

/* y = act(z), z = gain (x - mean) rstd + bias  gives  dz = dy act'(z), dbias = sum dz, dgain = sum dz (x - mean) rstd,
 * and dx as above, since mean and rstd are functions of x. */
void ebb_norm_backward(const ebb_layer *layer, ebb_run *r, ebbk_input read, ebb_view x, ebbk_output z, ebb_view dy, ebb_view dx,
                       void *saved, void *scratch)
{
  const norm *l = (const norm *)layer;
  groups      k = grouping(l, x.s);
  statistics  s = statistics_of(saved, k);
  ebb_real   *dz = part(scratch, SUM_DZ, k), *dzx = part(scratch, SUM_DZX, k);
  ebb_real   *dgain = ebb_grads(r, l->weight), *dbias = ebb_grads(r, l->bias);
  for (size_t i = 0; i < k.instances; i++)
    for (int c = 0; c < k.c; c++) {
      size_t at = i * (size_t)k.c + (size_t)c;
      dbias[c] += dz[at];
      dgain[c] += dzx[at] * s.rstd[at];
    }
  if (!dx.p) return;
  coefficients(l, r, k, s, scratch);
  ebbk->affine_act_grad(ebb_output(dx), z, read, ebb_reals(dy), dy.stride, part(scratch, A, k), part(scratch, B, k),
                        part(scratch, E, k), s.mean, k.instances, k.sites, k.c);
}

static void back(const ebb_layer *layer, ebb_run *r, ebb_view x, ebbk_output z, ebb_view dy, ebb_view dx, void *scratch)
{
  void         *saved = ebb_saved(r, layer);
  groups        k = grouping((const norm *)layer, x.s);
  ebbk_input    read = ebb_norm_read(layer, r, x, false, saved, scratch);
  ebb_norm_sums want = ebb_norm_wants(layer, x.s, saved, scratch);
  ebbk->affine_act_sums(want.dz, want.dzx, read, ebb_reals(dy), dy.stride, want.mean, k.instances, k.sites, k.c);
  ebb_norm_backward(layer, r, read, x, z, dy, dx, saved, scratch);
}

static void backward(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view dy, ebb_view dx, void *scratch)
{
  back(layer, r, x, (ebbk_output){0}, dy, dx, scratch);
}

static void undo(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view z, ebb_view dy, ebb_view dx, void *scratch)
{
  if (!dx.p) update(layer, r, x, z, EBB_MINUS, scratch);
  back(layer, r, x, dx.p ? ebb_stream_output(z, EBB_MINUS, NULL) : (ebbk_output){0}, dy, dx, scratch);
}

static ebb_layer *norm_new(ebb_builder *b, const ebb_layer_ops *ops, const char *name, ebb_norm_options o, int groups_)
{
  norm *l = (norm *)ebb_layer_new(b, ops, name, sizeof *l);
  EBB_ASSERT(groups_ == 0 || o.channels % groups_ == 0, "%d channels in %d groups", o.channels, groups_);
  l->o = o;
  l->groups = groups_;
  l->slope = 1;
  ebb_param p = {.kind = EBB_WEIGHT, .rank = 1, .dims = {o.channels}, .fill = EBB_FILL_ONE};
  l->weight = ebb_param_new(b, &l->base, "weight", p);
  p.fill = EBB_FILL_ZERO;
  l->bias = ebb_param_new(b, &l->base, "bias", p);
  if (groups_) return &l->base;
  p.kind = EBB_STATE;
  l->running_mean = ebb_param_new(b, &l->base, "running_mean", p);
  p.fill = EBB_FILL_ONE;
  l->running_var = ebb_param_new(b, &l->base, "running_var", p);
  return &l->base;
}

static bool absorb(ebb_layer *layer, const ebb_layer *next)
{
  norm  *l = (norm *)layer;
  double slope;
  if (l->slope != 1 || !ebb_act_slope(next, &slope)) return false;
  l->slope = slope;
  return true;
}

static ebb_layer *measures(ebb_layer *l)
{
  return l;
}

int ebb_norm_channels(const ebb_layer *layer)
{
  return ((const norm *)layer)->o.channels;
}

static ebb_layer *fuse(ebb_builder *b, ebb_layer *l, ebb_layer *next)
{
  return ebb_is_conv(next) ? ebb_norm_conv(b, l, next) : NULL;
}

static const ebb_norm_options usual = {.eps = 1e-5, .momentum = 0.1};

static ebb_layer *make_batch(ebb_builder *b, const char *name, ebb_shape x)
{
  ebb_norm_options o = usual;
  o.channels = x.c;
  return ebb_batch_norm(b, name, o);
}

static ebb_layer *make_instance(ebb_builder *b, const char *name, ebb_shape x)
{
  ebb_norm_options o = usual;
  o.channels = x.c;
  return ebb_instance_norm(b, name, o);
}

static ebb_layer *make_group(ebb_builder *b, const char *name, ebb_shape x)
{
  ebb_norm_options o = usual;
  o.channels = x.c;
  o.groups = x.c % 2 ? 1 : 2;
  return ebb_group_norm(b, name, o);
}

#define NORM_OPS(label, text, paper, maker)                                                             \
  {                                                                                                     \
    .name = label, .formula = text, .source = paper, .in_place = true, .shape = shape,                  \
    .scratch = ebb_norm_scratch, .saved = ebb_norm_saved, .forward = forward, .update = update, .backward = backward, .undo = undo, \
    .from_stream = ebb_yes, .absorb = absorb, .fuse = fuse, .measures = measures, .make = maker               \
  }

const ebb_layer_ops ebb_batch_norm_ops = NORM_OPS(
    "batch_norm", "y = act(w (x - mean) / sqrt(var + eps) + b), mean and var over samples and sites",
    "Ioffe & Szegedy 2015, Algorithm 1", make_batch);
const ebb_layer_ops ebb_instance_norm_ops = NORM_OPS("instance_norm", "as batch_norm, mean and var of each sample",
                                                     "Ulyanov et al. 2016", make_instance);
const ebb_layer_ops ebb_group_norm_ops = NORM_OPS("group_norm", "as instance_norm, mean and var of groups of channels",
                                                  "Wu & He 2018", make_group);

ebb_layer *ebb_batch_norm(ebb_builder *b, const char *name, ebb_norm_options o)
{
  return norm_new(b, &ebb_batch_norm_ops, name, o, 0);
}

ebb_layer *ebb_instance_norm(ebb_builder *b, const char *name, ebb_norm_options o)
{
  return norm_new(b, &ebb_instance_norm_ops, name, o, o.channels);
}

ebb_layer *ebb_group_norm(ebb_builder *b, const char *name, ebb_norm_options o)
{
  return norm_new(b, &ebb_group_norm_ops, name, o, o.groups);
}
