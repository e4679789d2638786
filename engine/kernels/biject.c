/* biject.c -- bijections of single values, whose parameters another tensor gives: what coupling layers of normalizing flows do.
 * Owns: the walk over sites, and the order of the sums. Must not know: which bijections there are (reversible/bijections.c).
 *
 * Arithmetic is double inside, so that the inverse is off by the rounding of what is stored and not by more. A sample's
 * sites are cut into EBBK_PARTS parts, whose sums are added up in their order: bits do not depend on threads. */
#include "kernels/kernels.h"

/* Part k of all samples' parts: sites [begin, end) of the whole tensor. */
typedef struct stretch { size_t begin, end; } stretch;

static stretch part_of(const ebbk_board *b, int k)
{
  size_t sites = (size_t)b->size[0] * (size_t)b->size[1] * (size_t)b->size[2], first = (size_t)(k / EBBK_PARTS) * sites;
  size_t i = (size_t)(k % EBBK_PARTS);
  return (stretch){first + sites * i / EBBK_PARTS, first + sites * (i + 1) / EBBK_PARTS};
}

static bool active(const ebbk_board *b, size_t site)
{
  if (b->colour == EBBK_ALL) return true;
  size_t w = site % (size_t)b->size[2], h = site / (size_t)b->size[2] % (size_t)b->size[1];
  size_t d = site / (size_t)b->size[2] / (size_t)b->size[1] % (size_t)b->size[0];
  return (d + h + w) % 2 == (size_t)(b->colour == EBBK_BLACK);
}

static void gather(double *to, const ebb_real *p, int count, int c, int channel)
{
  for (int k = 0; k < count; k++) to[k] = (double)p[k * c + channel];
}

static double biject_site(ebb_real *x, const ebb_real *p, const ebbk_bijection *f, int c)
{
  double own[EBBK_PARAMS_MOST], sum = 0, slope;
  for (int j = 0; j < c; j++) {
    gather(own, p, f->params, c, j);
    x[j] = (ebb_real)f->forward(f, (double)x[j], own, &slope);
    sum += slope;
  }
  return sum;
}

void ebbk_biject(ebb_real *x, int xs, double *logdet, const ebb_real *p, int ps, const ebbk_bijection *f, const ebbk_board *b,
                 double *parts)
{
#pragma omp parallel for
  for (int k = 0; k < b->n * EBBK_PARTS; k++) {
    stretch s = part_of(b, k);
    parts[k] = 0;
    for (size_t i = s.begin; i < s.end; i++)
      if (active(b, i)) parts[k] += biject_site(x + i * (size_t)xs, p + i * (size_t)ps, f, b->c);
  }
  for (int k = 0; logdet && k < b->n * EBBK_PARTS; k++) logdet[k / EBBK_PARTS] += parts[k];
}

void ebbk_unbiject(ebb_real *y, int ys, const ebb_real *p, int ps, const ebbk_bijection *f, const ebbk_board *b)
{
#pragma omp parallel for
  for (int k = 0; k < b->n * EBBK_PARTS; k++) {
    stretch s = part_of(b, k);
    for (size_t i = s.begin; i < s.end; i++) {
      double    own[EBBK_PARAMS_MOST];
      ebb_real *at = y + i * (size_t)ys;
      for (int j = 0; active(b, i) && j < b->c; j++) {
        gather(own, p + i * (size_t)ps, f->params, b->c, j);
        at[j] = (ebb_real)f->inverse(f, (double)at[j], own);
      }
    }
  }
}

static void grad_site(ebb_real *dx, ebb_real *p, const ebb_real *x, const ebbk_bijection *f, int c, double dlogdet)
{
  double own[EBBK_PARAMS_MOST], dp[EBBK_PARAMS_MOST];
  for (int j = 0; j < c; j++) {
    gather(own, p, f->params, c, j);
    dx[j] = (ebb_real)f->gradient(f, dp, (double)x[j], own, (double)dx[j], dlogdet);
    for (int k = 0; k < f->params; k++) p[k * c + j] = (ebb_real)dp[k];
  }
}

void ebbk_biject_grad(ebb_real *dx, int dxs, ebb_real *p, int ps, const ebb_real *x, int xs, const ebbk_bijection *f,
                      const ebbk_board *b, double dlogdet)
{
#pragma omp parallel for
  for (int k = 0; k < b->n * EBBK_PARTS; k++) {
    stretch s = part_of(b, k);
    for (size_t i = s.begin; i < s.end; i++) {
      if (active(b, i)) grad_site(dx + i * (size_t)dxs, p + i * (size_t)ps, x + i * (size_t)xs, f, b->c, dlogdet);
      else
        for (int j = 0; j < f->params * b->c; j++) p[i * (size_t)ps + (size_t)j] = 0;
    }
  }
}

void ebbk_mask(ebb_real *y, int ys, const ebb_real *x, int xs, const ebbk_board *b)
{
#pragma omp parallel for
  for (int k = 0; k < b->n * EBBK_PARTS; k++) {
    stretch s = part_of(b, k);
    for (size_t i = s.begin; i < s.end; i++)
      for (int j = 0; j < b->c; j++) y[i * (size_t)ys + (size_t)j] = active(b, i) ? 0 : x[i * (size_t)xs + (size_t)j];
  }
}
