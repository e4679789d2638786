/* metrics.c -- see metrics.h. */
#include "train/metrics.h"

#include <math.h>

/* How many classes score higher than the label's; of equal scores the lower class goes first, and a score that is no
 * number goes last. */
static int rank_of(const ebb_real *scores, int classes, int label)
{
  int rank = 0;
  if (isnan(scores[label])) return classes;
  for (int k = 0; k < classes; k++) rank += scores[k] > scores[label] || (scores[k] == scores[label] && k < label);
  return rank;
}

void ebb_metrics_add(ebb_metrics *m, ebb_view y, const int32_t *labels, double mean_loss)
{
  size_t rows = ebb_sites(y.s), counted = 0;
  for (size_t i = 0; i < rows; i++) {
    if (labels[i] < 0) continue;
    int rank = rank_of(ebb_reals(y) + i * (size_t)y.stride, y.s.c, labels[i]);
    counted++;
    m->correct += rank < 1;
    m->correct5 += rank < 5;
  }
  m->samples += counted;
  m->loss_sum += mean_loss * (double)counted;
}

static double share(double part, const ebb_metrics *m)
{
  return m->samples ? part / (double)m->samples : NAN;
}

double ebb_metrics_loss(const ebb_metrics *m)
{
  return share(m->loss_sum, m);
}

double ebb_metrics_accuracy(const ebb_metrics *m)
{
  return share((double)m->correct, m);
}

double ebb_metrics_top5(const ebb_metrics *m)
{
  return share((double)m->correct5, m);
}
