/* metrics.h -- counts over a set of samples, and what is reported of them.
 * Owns: loss and top-k accuracy sums; for label maps the confusion of all sites, and each volume's Dice. */
#pragma once
#include "base/view.h"

enum { EBB_METRIC_CLASSES = 128 };

typedef struct ebb_metrics {
  double   loss_sum;
  uint64_t samples, correct, correct5;   /* sites, where labels are maps */
  bool     likelihood;                   /* of a flow: there is nothing to be correct              */
  double   reconstruction;               /* of a flow: how far off its inverse brings back a value of the first batch, at most */
  /* label maps only: */
  int      classes;                      /* 0: none were added                                  */
  uint64_t volume;                       /* the one whose counts are open                       */
  uint64_t both[EBB_METRIC_CLASSES], predicted[EBB_METRIC_CLASSES], labelled[EBB_METRIC_CLASSES]; /* of that volume */
  double   dice_sum[EBB_METRIC_CLASSES]; /* over the volumes that have the class, in label or prediction */
  uint64_t dice_count[EBB_METRIC_CLASSES];
  uint64_t confusion[EBB_METRIC_CLASSES][EBB_METRIC_CLASSES]; /* [label][prediction], sites     */
} ebb_metrics;

/* Adds a batch of logits y (n, ..., c). A tie counts as the lower class. */
void ebb_metrics_add(ebb_metrics *m, ebb_view y, const int32_t *labels, double mean_loss);

/* Adds `samples` samples' mean negative log-likelihood. */
void ebb_metrics_add_likelihood(ebb_metrics *m, int samples, double mean_loss);

/* Adds predictions of label maps: y (n, d, h, w, c), labels (n, sites), index (n) the volume that a sample is of; samples of a
 * volume follow each other. c == 1: class 1 where y > 0. More than EBB_METRIC_CLASSES classes: nothing is counted. */
void ebb_metrics_add_maps(ebb_metrics *m, ebb_view y, const int32_t *labels, const uint32_t *index);
/* The same of predicted classes, `sites` sites of one volume; accuracy counts them, too. */
void ebb_metrics_add_classes(ebb_metrics *m, int classes, uint64_t volume, const uint16_t *predicted, const int32_t *labels, size_t sites);
void ebb_metrics_finish(ebb_metrics *m);                    /* the last volume is whole */
/* Dice = 2 |P and L| / (|P| + |L|), mean over volumes; NaN where no volume has the class. IoU over all sites. */
double ebb_metrics_dice(const ebb_metrics *m, int class);
double ebb_metrics_iou(const ebb_metrics *m, int class);
double ebb_metrics_mean_dice(const ebb_metrics *m);         /* over classes from 1 on that have one; NaN: none */

/* What the best checkpoint is best by, the more the better: mean Dice of label maps, a flow's log-likelihood, else accuracy. */
double ebb_metrics_score(const ebb_metrics *m);
double ebb_metrics_loss(const ebb_metrics *m);      /* mean; NaN of nothing  */
double ebb_metrics_accuracy(const ebb_metrics *m);  /* top-1, 0 to 1; NaN of a flow */
double ebb_metrics_top5(const ebb_metrics *m);
