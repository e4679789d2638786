/* optim.c -- see optim.h. Source: Sutskever et al. 2013, in PyTorch's form. */
#include "train/optim.h"

#include <math.h>
#include <string.h>

#include "kernels/kernels.h"

size_t ebb_optim_bytes(const ebb_train_options *o, const ebb_model *m)
{
  return o->momentum > 0 ? m->weights * sizeof(ebb_real) : 0;
}

double ebb_optim_norm(const ebb_model *m, const ebb_real *grads)
{
  return sqrt(ebbk->sum_squares(grads, m->weights));
}

void ebb_optim_step(const ebb_train_options *o, const ebb_model *m, ebb_real *weights, ebb_real *grads, ebb_real *momenta,
                    double lr, double norm, bool first)
{
  if (o->clip > 0 && norm > o->clip) ebbk->scale(grads, (ebb_real)(o->clip / norm), m->weights);
  for (const ebb_param *p = m->params; p; p = p->next) {
    if (p->kind != EBB_WEIGHT) continue;
    double    decay = p->decay || o->decay_all ? o->decay : 0;
    ebb_real *gradient = grads + p->offset;
    ebb_real *momentum = o->momentum > 0 ? momenta + p->offset : gradient; /* without momentum m is g, and g is done with */
    ebbk->sgd(weights + p->offset, momentum, gradient, p->count, lr, o->momentum, decay, o->nesterov,
              first || o->momentum == 0);
  }
  memset(grads, 0, m->weights * sizeof *grads);
}
