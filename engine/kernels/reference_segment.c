/* reference_segment.c -- what losses of segmentation are made of, as plainly as it can be written; see reference.c. */
#include "kernels/tables.h"

#include <math.h>

/* log p_j, and log(1 - p_j) if `not` */
static double log_p(const ebb_real *x, int j, bool not, const ebbk_segment *g)
{
  double v = (double)x[j], most = (double)x[0], sum = 0;
  if (g->sigmoid) return not ? -log1p(exp(-fabs(v))) - fmax(v, 0) : -log1p(exp(-fabs(v))) - fmax(-v, 0);
  for (int k = 1; k < g->c; k++) most = fmax(most, (double)x[k]);
  for (int k = 0; k < g->c; k++) sum += exp((double)x[k] - most);
  return v - most - log(sum);
}

/* t of channel j in a row. */
static double truth(const ebbk_segment *g, size_t row, int label, int j)
{
  return g->soft ? (double)g->soft[row * (size_t)g->soft_stride + (size_t)j] : j == ebbk_segment_channel(g, label);
}

/* What a channel is to be: t, or the smoothed and weighted q. */
static double target(const ebbk_segment *g, double t, int j)
{
  return g->sigmoid ? t : ebbk_segment_weight(g, j) * (g->smoothing / g->c + t * (1 - g->smoothing));
}

static double row_sums(ebb_real *p, ebbk_overlap *sums, const ebb_real *x, size_t row, int label, const ebbk_segment *g)
{
  double loss = 0;
  for (int j = 0; j < g->c; j++) {
    double t = truth(g, row, label, j), q = target(g, t, j), e = exp(log_p(x, j, false, g));
    if (q != 0) loss -= q * log_p(x, j, false, g);
    if (g->sigmoid && q != 1) loss -= (1 - q) * log_p(x, j, true, g);
    sums[j].p += e;
    sums[j].both += t * e;
    sums[j].t += t;
    p[j] = (ebb_real)e;
  }
  return loss;
}

size_t ebbk_segment_scratch(const ebbk_segment *g)
{
  return (size_t)g->c * sizeof(double);
}

double ebbk_segment_sums(ebb_real *p, int ps, ebbk_overlap *sums, const ebb_real *x, int xs, const int32_t *label,
                         const ebbk_segment *g, void *scratch)
{
  double loss = 0;
  (void)scratch;
  for (int i = 0; i < g->n * g->c; i++) sums[i] = (ebbk_overlap){0};
  for (size_t r = 0; r < (size_t)g->n * g->sites; r++) {
    ebb_real *to = p + r * (size_t)ps;
    if (label[r] >= 0) loss += row_sums(to, sums + r / g->sites * (size_t)g->c, x + r * (size_t)xs, r, label[r], g);
    else for (int j = 0; j < g->c; j++) to[j] = 0;
  }
  return loss;
}

/* dp_k / dx_j = p_k ((j == k) - p_j), or, with sigmoid, (j == k) p_k (1 - p_k) */
static void row_grad(ebb_real *dx, double *p, size_t row, int label, const ebbk_slope *slope, double weight, const ebbk_segment *g)
{
  for (int j = 0; j < g->c; j++) p[j] = (double)dx[j];
  for (int j = 0; j < g->c; j++) {
    double sum = 0;
    for (int k = 0; k < g->c; k++) {
      double t = truth(g, row, label, k), s = slope[k].p + t * slope[k].both, q = target(g, t, k);
      if (!g->sigmoid) sum += weight * q * (p[j] - (j == k)) + s * p[k] * ((j == k) - p[j]);
      else if (j == k) sum += weight * (p[k] - q) + s * p[k] * (1 - p[k]);
    }
    dx[j] = (ebb_real)sum;
  }
}

void ebbk_segment_grad(ebb_real *dx, int dxs, const int32_t *label, const ebbk_slope *slope, double weight,
                       const ebbk_segment *g, void *scratch)
{
  for (size_t r = 0; r < (size_t)g->n * g->sites; r++)
    if (label[r] >= 0)
      row_grad(dx + r * (size_t)dxs, scratch, r, label[r], slope + r / g->sites * (size_t)g->c, weight, g);
}
