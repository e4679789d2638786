/* metrics.h -- counts over a set of samples, and what is reported of them.
 * Owns: loss and top-k accuracy sums. */
#pragma once
#include "base/view.h"

typedef struct ebb_metrics {
  double   loss_sum;
  uint64_t samples, correct, correct5;
} ebb_metrics;

/* Adds a batch of logits y (n, ..., c). A tie counts as the lower class. */
void ebb_metrics_add(ebb_metrics *m, ebb_view y, const int32_t *labels, double mean_loss);
double ebb_metrics_loss(const ebb_metrics *m);      /* mean; NaN of nothing  */
double ebb_metrics_accuracy(const ebb_metrics *m);  /* top-1, 0 to 1         */
double ebb_metrics_top5(const ebb_metrics *m);
