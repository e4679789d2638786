/* optim.h -- how weights follow gradients.
 * Owns: update rules and their state's size. */
#pragma once
#include "train/trainer.h"

/* Bytes of momenta: one value a weight; 0 without momentum. */
size_t ebb_optim_bytes(const ebb_train_options *o, const ebb_model *m);

/* Norm of all gradients together; not finite if any is not. */
double ebb_optim_norm(const ebb_model *m, const ebb_real *grads);

/* One step with rate lr (momenta: ebb_optim_bytes, not looked at where that is 0): clips by `norm` if o->clip asks, updates weights and momenta, zeroes the gradients.
 * SGD in PyTorch's form: g += decay w; m = momentum m + g; w -= lr m (Nesterov: lr (g + momentum m)); the first m is g. */
void ebb_optim_step(const ebb_train_options *o, const ebb_model *m, ebb_real *weights, ebb_real *grads, ebb_real *momenta,
                    double lr, double norm, bool first);
