/* loss.c -- see loss.h. */
#define _DEFAULT_SOURCE
#include "train/loss.h"

#include <math.h>

#include "kernels/kernels.h"

static size_t labelled(const int32_t *labels, size_t rows)
{
  size_t count = 0;
  for (size_t i = 0; i < rows; i++) count += labels[i] >= 0;
  return count ? count : 1;
}

/* ---- which loss ------------------------------------------------------------------------------------------------ */
static bool is_sigmoid(const ebb_loss *loss)
{
  return loss->kind == EBB_LOSS_BCE || loss->kind == EBB_LOSS_BCE_DICE;
}

static bool has_entropy(const ebb_loss *loss)
{
  return loss->kind != EBB_LOSS_DICE && loss->kind != EBB_LOSS_GENERALISED_DICE;
}

static bool has_overlap(const ebb_loss *loss)
{
  return loss->kind != EBB_LOSS_CROSS_ENTROPY && loss->kind != EBB_LOSS_BCE;
}

static bool is_likelihood(const ebb_loss *loss)
{
  return loss->kind == EBB_LOSS_NLL;
}

/* The loss of classification has a kernel of its own, in one pass. */
static bool is_plain(const ebb_loss *loss, ebb_shape y)
{
  return loss->kind == EBB_LOSS_CROSS_ENTROPY && loss->class_weights.count == 0 && ebb_sites(y) == (size_t)y.n;
}

ebb_status ebb_loss_check(const ebb_loss *loss, int classes)
{
  const ebb_numbers *w = &loss->class_weights;
  double             sum = w->count ? 0 : 1;
  if (w->count && w->count != classes)
    return ebb_fail(EBB_CONFIG, "train.class_weights: expected %d numbers, one for each class, found %d\nhint: leave it empty "
                    "to have all 1", classes, w->count);
  for (int i = 0; i < w->count; i++) sum += w->at[i];
  if (is_likelihood(loss)) return EBB_OK;
  if (sum <= 0) return ebb_fail(EBB_CONFIG, "train.class_weights: expected a weight above 0, found none");
  if (classes == 1 && !is_sigmoid(loss))
    return ebb_fail(EBB_CONFIG, "train.loss: expected bce or bce+dice for an output of one channel, found a loss of softmax, which "
                    "is 1 there whatever comes\nhint: train.loss=bce, or a network of two classes");
  return EBB_OK;
}

/* ---- memory ---------------------------------------------------------------------------------------------------- */
static ebbk_segment segment_of(const ebb_loss *loss, ebb_shape y)
{
  return (ebbk_segment){.n = y.n, .c = y.c, .sites = ebb_sites(y) / (size_t)y.n, .sigmoid = is_sigmoid(loss),
                        .smoothing = loss->smoothing, .weights = loss->class_weights.count ? loss->class_weights.at : NULL};
}

static size_t overlap_bytes(ebb_shape y)
{
  return ebb_align((size_t)y.n * (size_t)y.c * sizeof(ebbk_overlap));
}

static size_t slope_bytes(ebb_shape y)
{
  return ebb_align((size_t)y.n * (size_t)y.c * sizeof(ebbk_slope));
}

size_t ebb_loss_scratch(const ebb_loss *loss, ebb_shape y)
{
  ebbk_segment g = segment_of(loss, y);
  return is_plain(loss, y) || is_likelihood(loss) ? 0 : overlap_bytes(y) + slope_bytes(y) + ebb_align(ebbk->segment_scratch(&g));
}

/* ---- cross-entropy of classification ------------------------------------------------------------------------------ */
/* L = mean of -sum_k t_k log softmax(y)_k  gives  dL/dy = weight (softmax(y) - t) / (labelled rows). */
static double plain(const ebb_loss *loss, ebb_view g, ebb_view y, const int32_t *labels, double weight)
{
  size_t rows = ebb_sites(y.s), counted = labelled(labels, rows);
  double sum = ebbk->softmax_xent(ebb_reals(g), g.stride, ebb_reals(y), y.stride, labels, loss->smoothing,
                                  weight / (double)counted, rows, y.s.c);
  return sum / (double)counted;
}

/* ---- Dice -------------------------------------------------------------------------------------------------------- */
/* Mean over classes of D_c = (2 sum p t + e) / (sum p + sum t + e), and in `slope` the derivatives of 1 - that, times
 * `weight`. Milletari et al. 2016 with their squares in the denominator left out, as in Isensee et al. 2018 (nnU-Net). A class
 * that is neither there nor predicted has D_c = 1 and no gradient. */
static double dice(ebbk_slope *slope, const ebbk_overlap *sums, int c, bool background, double weight)
{
  const double e = 1e-5;
  int          first = c > 1 && !background, classes = c - first;
  double       mean = 0;
  for (int j = 0; j < c; j++) {
    double part = 2 * sums[j].both + e, whole = sums[j].p + sums[j].t + e;
    slope[j] = (ebbk_slope){0};
    if (j < first) continue;
    mean += part / whole / classes;
    slope[j] = (ebbk_slope){-2 * weight / (whole * classes), weight * part / (whole * whole * classes)};
  }
  return mean;
}

/* Sudre et al. 2017: D = 2 sum_c w_c sum p t / sum_c w_c (sum p + sum t), w_c = 1 / (sum t)^2, over all classes, the background
 * too. A class without voxels has w_c = 0 here; where nothing is labelled D = 0/0 = 1, without gradient. */
static double generalised_dice(ebbk_slope *slope, const ebbk_overlap *sums, int c, double weight)
{
  double part = 0, whole = 0;
  for (int j = 0; j < c; j++) {
    double w = sums[j].t == 0 ? 0 : 1 / (sums[j].t * sums[j].t);
    part += w * sums[j].both;
    whole += w * (sums[j].p + sums[j].t);
  }
  for (int j = 0; j < c; j++) {
    double w = sums[j].t == 0 ? 0 : 1 / (sums[j].t * sums[j].t);
    slope[j] = (ebbk_slope){0};
    if (w > 0) slope[j] = (ebbk_slope){-2 * w * weight / whole, 2 * w * weight * part / (whole * whole)};
  }
  return whole == 0 ? 1 : 2 * part / whole;
}

static double overlap(const ebb_loss *loss, ebbk_slope *slope, const ebbk_overlap *sums, int c, double weight)
{
  if (loss->kind == EBB_LOSS_GENERALISED_DICE) return generalised_dice(slope, sums, c, weight);
  return dice(slope, sums, c, loss->dice_background, weight);
}

/* The first sample's sums become those of all; then its slopes are all samples'. */
static double batch_overlap(const ebb_loss *loss, ebbk_slope *slope, ebbk_overlap *sums, int n, int c, double weight)
{
  for (int i = c; i < n * c; i++) {
    sums[i % c].both += sums[i].both;
    sums[i % c].p += sums[i].p;
    sums[i % c].t += sums[i].t;
  }
  double d = overlap(loss, slope, sums, c, weight);
  for (int i = c; i < n * c; i++) slope[i] = slope[i % c];
  return 1 - d;
}

static double overlap_loss(const ebb_loss *loss, ebbk_slope *slope, ebbk_overlap *sums, int n, int c, double weight)
{
  double sum = 0;
  if (loss->dice_batch) return batch_overlap(loss, slope, sums, n, c, weight);
  for (int i = 0; i < n; i++) sum += overlap(loss, slope + i * c, sums + i * c, c, weight / n);
  return 1 - sum / n;
}

/* ---- losses of segmentation ---------------------------------------------------------------------------------------- */
/* What the sum of cross-entropy is divided by: PyTorch's weighted mean, sum of the weights of the labels; of sigmoids the
 * number of values. */
static double entropy_count(const ebbk_segment *g, const ebbk_overlap *sums, const int32_t *labels)
{
  double count = 0;
  if (g->sigmoid) return (double)labelled(labels, (size_t)g->n * g->sites) * g->c;
  for (int i = 0; i < g->n * g->c; i++) count += ebbk_segment_weight(g, i % g->c) * sums[i].t;
  return count > 0 ? count : 1;
}

static double segmentation(const ebb_loss *loss, ebb_run *r, ebb_view dy, ebb_view y, const int32_t *labels, ebb_view soft,
                           double weight)
{
  ebbk_segment  g = segment_of(loss, y.s);
  ebbk_overlap *sums = ebb_arena_high(r->arena, overlap_bytes(y.s));
  ebbk_slope   *slope = ebb_arena_high(r->arena, slope_bytes(y.s));
  void         *scratch = ebb_arena_high(r->arena, ebbk->segment_scratch(&g));
  if (soft.s.rank) {
    g.soft = ebb_reals(soft) + (soft.s.c == 2 && y.s.c == 1);
    g.soft_stride = soft.stride;
  }
  double entropy = ebbk->segment_sums(ebb_reals(dy), dy.stride, sums, ebb_reals(y), y.stride, labels, &g, scratch);
  double count = entropy_count(&g, sums, labels), value = has_entropy(loss) ? entropy / count : 0;
  for (int i = 0; i < g.n * g.c; i++) slope[i] = (ebbk_slope){0};
  if (has_overlap(loss)) value += overlap_loss(loss, slope, sums, g.n, g.c, weight);
  ebbk->segment_grad(ebb_reals(dy), dy.stride, labels, slope, has_entropy(loss) ? weight / count : 0, &g, scratch);
  return value;
}

/* ---- likelihood ------------------------------------------------------------------------------------------------------ */
static const double log_two_pi = 1.83787706640934548356;

static double nats_of(const ebb_run *r, ebb_view y, int n)
{
  size_t values = ebb_count(y.s) / (size_t)y.s.n;
  double squares = ebbk->sum_squares(ebb_reals(y) + (size_t)n * values, values);
  return 0.5 * (squares + (double)values * log_two_pi) - (r->logdet ? r->logdet[n] : 0);
}

void ebb_loss_nll(double *nats, const ebb_run *r, ebb_view y)
{
  EBB_ASSERT(y.stride == y.s.c, "a stride of %d, %d channels", y.stride, y.s.c);
  for (int n = 0; n < y.s.n; n++) nats[n] = nats_of(r, y, n);
}

double ebb_bits(double nats, size_t dimensions)
{
  return nats / ((double)dimensions * M_LN2);
}

/* L = mean over n of 1/2 z^2 - log|det| + const  gives  dL/dz = z / n,  dL/dlog|det| = -1 / n. */
static double likelihood(ebb_run *r, ebb_view dy, ebb_view y, double weight)
{
  double sum = 0;
  for (int n = 0; n < y.s.n; n++) sum += nats_of(r, y, n);
  ebbk->copy(ebb_reals(dy), dy.stride, ebb_reals(y), y.stride, ebb_sites(y.s), y.s.c);
  ebbk->scale(ebb_reals(dy), (ebb_real)(weight / y.s.n), ebb_count(y.s));
  r->dlogdet = -weight / y.s.n;
  return sum / y.s.n;
}

double ebb_loss_eval_soft(const ebb_loss *loss, ebb_run *r, ebb_view y, const int32_t *labels, ebb_view soft, double weight,
                          ebb_view *dy)
{
  bool classification = is_plain(loss, y.s);
  EBB_ASSERT(!soft.s.rank || !classification, "soft labels of %d samples of one site", y.s.n);
  ebb_mark mark = ebb_arena_high_mark(r->arena);
  ebb_view g = ebb_scratch_view(r, y.s);
  ebb_mark taken = ebb_arena_high_mark(r->arena);
  double   value = is_likelihood(loss) ? likelihood(r, g, y, weight)
                   : classification    ? plain(loss, g, y, labels, weight)
                                       : segmentation(loss, r, g, y, labels, soft, weight);
  ebb_arena_high_release(r->arena, dy ? taken : mark);
  if (dy) *dy = g;
  return value;
}

double ebb_loss_eval(const ebb_loss *loss, ebb_run *r, ebb_view y, const int32_t *labels, double weight, ebb_view *dy)
{
  return ebb_loss_eval_soft(loss, r, y, labels, (ebb_view){0}, weight, dy);
}
