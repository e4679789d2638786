/* loss.h -- the loss and its gradient.
 * Owns: cross-entropy, Dice, likelihood and their sums; what they take of the run's memory. Must not know: models, batches. */
#pragma once
#include "base/option.h"
#include "layers/run.h"

typedef enum ebb_loss_kind {     /* in the order of train.loss, but NLL, which goes with the network */
  EBB_LOSS_CROSS_ENTROPY, EBB_LOSS_DICE, EBB_LOSS_CROSS_ENTROPY_DICE, EBB_LOSS_GENERALISED_DICE, EBB_LOSS_BCE, EBB_LOSS_BCE_DICE,
  EBB_LOSS_NLL                   /* of normalizing flows; looks at no labels                      */
} ebb_loss_kind;

typedef struct ebb_loss {        /* {0}: cross-entropy                                        */
  double      smoothing;         /* of cross-entropy                                          */
  int         kind;              /* ebb_loss_kind                                             */
  ebb_numbers class_weights;     /* of cross-entropy; none: all 1                             */
  bool        dice_batch;        /* Dice of the whole batch, not the mean of its samples'     */
  bool        dice_background;   /* class 0 counts in the mean of Dice, too                   */
} ebb_loss;

/* EBB_CONFIG if outputs of `classes` channels and this loss do not go together. */
ebb_status ebb_loss_check(const ebb_loss *loss, int classes);

/* Bytes that the loss takes from the run's arena beside its gradient, which is as large as y, while it is evaluated. */
size_t ebb_loss_scratch(const ebb_loss *loss, ebb_shape y);

/* Mean loss of the logits y (n, d, h, w, c) against labels (n, d, h, w); *dy, in the run's scratch, gets its
 * gradient times `weight` (1 / micro-batches of a step). dy == NULL: no gradient. Labels < 0 are left out. */
double ebb_loss_eval(const ebb_loss *loss, ebb_run *r, ebb_view y, const int32_t *labels, double weight, ebb_view *dy);

/* NLL: -log p(x) of each sample in nats, where z = y is N(0, 1) in each value and log p(x) = log p(z) + log|det dz/dx|, which the
 * run's forward has added up; Dinh et al. 2014, Eq. 3. ebb_loss_eval gives their mean, and the run the derivative by log|det|. */
void ebb_loss_nll(double *nats, const ebb_run *r, ebb_view y);

/* Bits a dimension. */
double ebb_bits(double nats, size_t dimensions);

/* The same against the probabilities soft (n, d, h, w, classes) of sites whose labels are not negative; of rank 0: against labels.
 * An output of one channel is class 1's. The outputs are of more than one site. */
double ebb_loss_eval_soft(const ebb_loss *loss, ebb_run *r, ebb_view y, const int32_t *labels, ebb_view soft, double weight,
                          ebb_view *dy);
