/* optim.h -- how weights follow gradients.
 * Owns: update rules and their state's size. */
#pragma once
#include "train/trainer.h"

/* What an optimiser keeps of each weight, by its names in PyTorch and in checkpoints; none for SGD without momentum. In memory
 * one after the other, each as long as the weights. */
typedef struct ebb_moments { int count; const char *name[3]; } ebb_moments;
ebb_moments ebb_optim_moments(const ebb_train_options *o);

/* The moving mean of the weights, the last of the moments; NULL if there is none. */
ebb_real *ebb_optim_ema(const ebb_train_options *o, const ebb_model *m, ebb_real *moments);

size_t ebb_optim_bytes(const ebb_train_options *o, const ebb_model *m);

/* Norm of all gradients together; not finite if any is not. */
double ebb_optim_norm(const ebb_model *m, const ebb_real *grads);

/* Step number `step`, from 0, with rate lr, of the weights of one span: updates them and their moments (ebb_optim_bytes of all; not looked at
 * where there are none) by `grads`, which are the span's alone, and zeroes those. All in PyTorch's form:
 *   SGD      g += decay w; m = momentum m + g; w -= lr m (Nesterov: lr (g + momentum m)); the first m is g
 *   Adam     g += decay w; m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; w -= lr m / c1 / (sqrt(v / c2) + eps), c_i = 1 - b_i^t
 *   AdamW    w *= 1 - lr decay, then as Adam without decay
 *   Adamax   m as Adam; u = max(b2 u, |g| + eps); w -= lr / c1 m / u
 * Then, with o->ema, mean += (1 - d) (w - mean), d = min(ema, (1 + t) / (10 + t)) so that it begins quickly; the first mean is w. */
void ebb_optim_update(const ebb_train_options *o, const ebb_model *m, ebb_span s, ebb_real *weights, ebb_real *grads, ebb_real *moments,
                      double lr, uint64_t step);

/* The same for all weights; before it, the gradients are clipped by their norm if o->clip asks. */
void ebb_optim_step(const ebb_train_options *o, const ebb_model *m, ebb_real *weights, ebb_real *grads, ebb_real *moments,
                    double lr, double norm, uint64_t step);
