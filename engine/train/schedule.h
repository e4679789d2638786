/* schedule.h -- the learning rate as a function of the step.
 * Owns: the formulas. There is no state. */
#pragma once
#include "train/trainer.h"

/* As in the option table. Plateau is constant here; fit.c cuts the trainer's lr_scale. */
typedef enum ebb_schedule { EBB_CONSTANT, EBB_STEP, EBB_COSINE, EBB_POLY, EBB_PLATEAU } ebb_schedule;

/* Of step 0 .. steps - 1. */
double ebb_schedule_lr(const ebb_train_options *o, uint64_t step, uint64_t steps);
