/* schedule.h -- the learning rate as a function of the step.
 * Owns: the formulas. There is no state. */
#pragma once
#include "train/trainer.h"

/* Of step 0 .. steps - 1. */
double ebb_schedule_lr(const ebb_train_options *o, uint64_t step, uint64_t steps);
