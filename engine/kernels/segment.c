/* segment.c -- what losses of segmentation are made of; see kernels.h. In double, a row at a time, as in loss.c: exp is the
 * cost. Each sample's rows fall into chunks that depend on their number only; a chunk's sums stand in scratch until they
 * are added up in its sample's order. */
#include "kernels/fast.h"

#include <math.h>

enum { CHUNKS = 64, CHUNK_LEAST = 2048 };

typedef struct part { size_t first, last; int sample; } part; /* rows of all samples */

static int chunks_of(const ebbk_segment *g)
{
  size_t least = (g->sites + CHUNK_LEAST - 1) / CHUNK_LEAST;
  return least > CHUNKS ? CHUNKS : least ? (int)least : 1;
}

static part part_at(const ebbk_segment *g, int chunks, int i)
{
  size_t length = (g->sites + (size_t)chunks - 1) / (size_t)chunks, base = (size_t)(i / chunks) * g->sites;
  size_t first = (size_t)(i % chunks) * length, last = first + length;
  return (part){base + (first < g->sites ? first : g->sites), base + (last < g->sites ? last : g->sites), i / chunks};
}

static double weight_sum(const ebbk_segment *g)
{
  double sum = 0;
  for (int j = 0; j < g->c; j++) sum += ebbk_segment_weight(g, j);
  return sum;
}

/* q_j = w_j (smoothing/c + (j == label)(1 - smoothing));  returns sum_j q_j (log sum_k e^x_k - x_j). */
static double softmax_row(float *p, ebbk_overlap *sums, const float *x, int label, const ebbk_segment *g, double weights)
{
  double share = g->smoothing / g->c, whole = (1 - g->smoothing) * ebbk_segment_weight(g, label);
  double top = (double)x[0], sum = 0, all = 0;
  for (int j = 1; j < g->c; j++) top = fmax(top, (double)x[j]);
  for (int j = 0; j < g->c; j++) {
    double e = exp((double)x[j] - top);
    sum += e;
    p[j] = (float)e;
  }
  double scale = 1 / sum, log_sum = log(sum) + top;
  for (int j = 0; j < g->c; j++) {
    double v = (double)p[j] * scale;
    p[j] = (float)v;
    sums[j].p += v;
  }
  sums[label].both += (double)p[label];
  sums[label].t += 1;
  if (share == 0) return whole == 0 ? 0 : whole * (log_sum - (double)x[label]);
  for (int j = 0; j < g->c; j++) all += ebbk_segment_weight(g, j) * (double)x[j];
  return whole * (log_sum - (double)x[label]) + share * (weights * log_sum - all);
}

/* -t log p - (1 - t) log(1 - p) = max(x, 0) - t x + log(1 + e^-|x|) */
static double sigmoid_row(float *p, ebbk_overlap *sums, const float *x, int label, const ebbk_segment *g)
{
  int    hot = ebbk_segment_channel(g, label);
  double loss = 0;
  for (int j = 0; j < g->c; j++) {
    double v = (double)x[j], e = exp(-fabs(v)), q = (v >= 0 ? 1 : e) / (1 + e);
    p[j] = (float)q;
    sums[j].p += q;
    loss += (v < 0 ? 0 : v) + log1p(e);
    if (j != hot) continue;
    sums[j].both += q;
    sums[j].t += 1;
    loss -= v;
  }
  return loss;
}

static double part_sums(float *p, int ps, ebbk_overlap *sums, const float *x, int xs, const int32_t *label,
                        const ebbk_segment *g, part k)
{
  double loss = 0, weights = weight_sum(g);
  for (int j = 0; j < g->c; j++) sums[j] = (ebbk_overlap){0};
  for (size_t r = k.first; r < k.last; r++) {
    float       *to = p + r * (size_t)ps;
    const float *from = x + r * (size_t)xs;
    if (label[r] < 0) memset(to, 0, sizeof *to * (size_t)g->c);
    else if (g->sigmoid) loss += sigmoid_row(to, sums, from, label[r], g);
    else loss += softmax_row(to, sums, from, label[r], g, weights);
  }
  return loss;
}

static void add_overlap(ebbk_overlap *to, const ebbk_overlap *from, int c)
{
  for (int j = 0; j < c; j++) {
    to[j].both += from[j].both;
    to[j].p += from[j].p;
    to[j].t += from[j].t;
  }
}

size_t NAME(segment_scratch)(const ebbk_segment *g)
{
  size_t parts = (size_t)g->n * (size_t)chunks_of(g);
  return parts * ((size_t)g->c * sizeof(ebbk_overlap) + sizeof(double));
}

double NAME(segment_sums)(float *p, int ps, ebbk_overlap *sums, const float *x, int xs, const int32_t *label,
                          const ebbk_segment *g, void *scratch)
{
  int           chunks = chunks_of(g), parts = g->n * chunks;
  size_t        c = (size_t)g->c;
  ebbk_overlap *partial = scratch;
  double       *losses = (double *)(partial + (size_t)parts * c), loss = 0;
#pragma omp parallel for if (parts > 1)
  for (int i = 0; i < parts; i++)
    losses[i] = part_sums(p, ps, partial + (size_t)i * c, x, xs, label, g, part_at(g, chunks, i));
  for (size_t j = 0; j < (size_t)g->n * c; j++) sums[j] = (ebbk_overlap){0};
  for (int i = 0; i < parts; i++) {
    add_overlap(sums + (size_t)(i / chunks) * c, partial + (size_t)i * c, g->c);
    loss += losses[i];
  }
  return loss;
}

/* dx_j = weight (p_j sum_k q_k - q_j) + p_j (s_j - sum_k p_k s_k),  s_k = slope_k.both t_k + slope_k.p */
static void softmax_grad(float *dx, int label, const ebbk_slope *slope, double weight, const ebbk_segment *g, double weights)
{
  double share = g->smoothing / g->c, whole = (1 - g->smoothing) * ebbk_segment_weight(g, label);
  double pulled = slope[label].both * (double)dx[label], target = whole + share * weights;
  for (int j = 0; j < g->c; j++) pulled += slope[j].p * (double)dx[j];
  for (int j = 0; j < g->c; j++) {
    double p = (double)dx[j], q = share * ebbk_segment_weight(g, j) + (j == label ? whole : 0);
    double s = slope[j].p + (j == label ? slope[j].both : 0);
    dx[j] = (float)(weight * (p * target - q) + p * (s - pulled));
  }
}

/* dx_j = weight (p_j - t_j) + p_j (1 - p_j) s_j */
static void sigmoid_grad(float *dx, int label, const ebbk_slope *slope, double weight, const ebbk_segment *g)
{
  int hot = ebbk_segment_channel(g, label);
  for (int j = 0; j < g->c; j++) {
    double p = (double)dx[j], s = slope[j].p + (j == hot ? slope[j].both : 0);
    dx[j] = (float)(weight * (p - (j == hot)) + p * (1 - p) * s);
  }
}

void NAME(segment_grad)(float *dx, int dxs, const int32_t *label, const ebbk_slope *slope, double weight,
                        const ebbk_segment *g, void *scratch)
{
  int    chunks = chunks_of(g), parts = g->n * chunks;
  double weights = weight_sum(g);
  (void)scratch;
#pragma omp parallel for if (parts > 1)
  for (int i = 0; i < parts; i++) {
    part              k = part_at(g, chunks, i);
    const ebbk_slope *of = slope + (size_t)k.sample * (size_t)g->c;
    for (size_t r = k.first; r < k.last; r++) {
      if (label[r] < 0) continue; /* p is 0 there, and so is dx */
      if (g->sigmoid) sigmoid_grad(dx + r * (size_t)dxs, label[r], of, weight, g);
      else softmax_grad(dx + r * (size_t)dxs, label[r], of, weight, g, weights);
    }
  }
}
