/* loss.h -- the loss and its gradient.
 * Owns: cross-entropy. Must not know: models, batches. */
#pragma once
#include "layers/run.h"

typedef struct ebb_loss { double smoothing; } ebb_loss;

/* Mean cross-entropy of the logits y (n, d, h, w, c) against labels (n, d, h, w); *dy, in the run's scratch, gets its
 * gradient times `weight` (1 / micro-batches of a step). dy == NULL: no gradient. Labels < 0 are left out. */
double ebb_loss_eval(const ebb_loss *loss, ebb_run *r, ebb_view y, const int32_t *labels, double weight, ebb_view *dy);
