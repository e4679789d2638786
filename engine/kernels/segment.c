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

/* ---- what is true ------------------------------------------------------------------------------------------------- */
/* Rows of t for hard labels: label k's has a 1 in its channel. */
static size_t hot_rows(const ebbk_segment *g)
{
  return g->c == 1 ? 2 : (size_t)g->c;
}

static void make_hot(float *hot, const ebbk_segment *g)
{
  memset(hot, 0, hot_rows(g) * (size_t)g->c * sizeof *hot);
  for (int label = g->c == 1; label < (int)hot_rows(g); label++) hot[label * g->c + ebbk_segment_channel(g, label)] = 1;
}

static const float *truth(const float *hot, const ebbk_segment *g, size_t row, int label)
{
  return g->soft ? g->soft + row * (size_t)g->soft_stride : hot + (size_t)label * (size_t)g->c;
}

/* ---- sums ------------------------------------------------------------------------------------------------------------ */
/* q_j = w_j (smoothing/c + t_j (1 - smoothing)) */
static double target(const ebbk_segment *g, const float *t, int j)
{
  return ebbk_segment_weight(g, j) * (g->smoothing / g->c + (double)t[j] * (1 - g->smoothing));
}

/* Returns sum_j q_j (log sum_k e^x_k - x_j). */
static double softmax_row(float *p, ebbk_overlap *sums, const float *x, const float *t, const ebbk_segment *g)
{
  double top = (double)x[0], sum = 0, loss = 0;
  for (int j = 1; j < g->c; j++) top = fmax(top, (double)x[j]);
  for (int j = 0; j < g->c; j++) {
    double e = exp((double)x[j] - top);
    sum += e;
    p[j] = (float)e;
  }
  double scale = 1 / sum, log_sum = log(sum) + top;
  for (int j = 0; j < g->c; j++) {
    double v = (double)p[j] * scale, q = target(g, t, j);
    p[j] = (float)v;
    sums[j].p += v;
    sums[j].both += (double)t[j] * v;
    sums[j].t += (double)t[j];
    if (q != 0) loss += q * (log_sum - (double)x[j]);
  }
  return loss;
}

/* -t log p - (1 - t) log(1 - p) = max(x, 0) - t x + log(1 + e^-|x|) */
static double sigmoid_row(float *p, ebbk_overlap *sums, const float *x, const float *t, const ebbk_segment *g)
{
  double loss = 0;
  for (int j = 0; j < g->c; j++) {
    double v = (double)x[j], e = exp(-fabs(v)), q = (v >= 0 ? 1 : e) / (1 + e);
    p[j] = (float)q;
    sums[j].p += q;
    sums[j].both += (double)t[j] * q;
    sums[j].t += (double)t[j];
    loss += (v < 0 ? 0 : v) + log1p(e);
    if (t[j] != 0) loss -= (double)t[j] * v;
  }
  return loss;
}

static double part_sums(float *p, int ps, ebbk_overlap *sums, const float *x, int xs, const int32_t *label,
                        const float *hot, const ebbk_segment *g, part k)
{
  double loss = 0;
  for (int j = 0; j < g->c; j++) sums[j] = (ebbk_overlap){0};
  for (size_t r = k.first; r < k.last; r++) {
    float       *to = p + r * (size_t)ps;
    const float *from = x + r * (size_t)xs;
    if (label[r] < 0) memset(to, 0, sizeof *to * (size_t)g->c);
    else if (g->sigmoid) loss += sigmoid_row(to, sums, from, truth(hot, g, r, label[r]), g);
    else loss += softmax_row(to, sums, from, truth(hot, g, r, label[r]), g);
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
  return parts * ((size_t)g->c * sizeof(ebbk_overlap) + sizeof(double)) + hot_rows(g) * (size_t)g->c * sizeof(float);
}

double NAME(segment_sums)(float *p, int ps, ebbk_overlap *sums, const float *x, int xs, const int32_t *label,
                          const ebbk_segment *g, void *scratch)
{
  int           chunks = chunks_of(g), parts = g->n * chunks;
  size_t        c = (size_t)g->c;
  ebbk_overlap *partial = scratch;
  double       *losses = (double *)(partial + (size_t)parts * c), loss = 0;
  float        *hot = (float *)(losses + parts);
  make_hot(hot, g);
#pragma omp parallel for if (parts > 1)
  for (int i = 0; i < parts; i++)
    losses[i] = part_sums(p, ps, partial + (size_t)i * c, x, xs, label, hot, g, part_at(g, chunks, i));
  for (size_t j = 0; j < (size_t)g->n * c; j++) sums[j] = (ebbk_overlap){0};
  for (int i = 0; i < parts; i++) {
    add_overlap(sums + (size_t)(i / chunks) * c, partial + (size_t)i * c, g->c);
    loss += losses[i];
  }
  return loss;
}

/* ---- gradients ------------------------------------------------------------------------------------------------------- */
/* dx_j = weight (p_j sum_k q_k - q_j) + p_j (s_j - sum_k p_k s_k),  s_k = slope_k.both t_k + slope_k.p */
static void softmax_grad(float *dx, const float *t, const ebbk_slope *slope, double weight, const ebbk_segment *g)
{
  double pulled = 0, whole = 0;
  for (int j = 0; j < g->c; j++) {
    pulled += (slope[j].p + slope[j].both * (double)t[j]) * (double)dx[j];
    whole += target(g, t, j);
  }
  for (int j = 0; j < g->c; j++) {
    double p = (double)dx[j], s = slope[j].p + slope[j].both * (double)t[j];
    dx[j] = (float)(weight * (p * whole - target(g, t, j)) + p * (s - pulled));
  }
}

/* dx_j = weight (p_j - t_j) + p_j (1 - p_j) s_j */
static void sigmoid_grad(float *dx, const float *t, const ebbk_slope *slope, double weight, const ebbk_segment *g)
{
  for (int j = 0; j < g->c; j++) {
    double p = (double)dx[j], s = slope[j].p + slope[j].both * (double)t[j];
    dx[j] = (float)(weight * (p - (double)t[j]) + p * (1 - p) * s);
  }
}

void NAME(segment_grad)(float *dx, int dxs, const int32_t *label, const ebbk_slope *slope, double weight,
                        const ebbk_segment *g, void *scratch)
{
  int    chunks = chunks_of(g), parts = g->n * chunks;
  float *hot = scratch;
  make_hot(hot, g);
#pragma omp parallel for if (parts > 1)
  for (int i = 0; i < parts; i++) {
    part              k = part_at(g, chunks, i);
    const ebbk_slope *of = slope + (size_t)k.sample * (size_t)g->c;
    for (size_t r = k.first; r < k.last; r++) {
      if (label[r] < 0) continue; /* p is 0 there, and so is dx */
      const float *t = truth(hot, g, r, label[r]);
      if (g->sigmoid) sigmoid_grad(dx + r * (size_t)dxs, t, of, weight, g);
      else softmax_grad(dx + r * (size_t)dxs, t, of, weight, g);
    }
  }
}
