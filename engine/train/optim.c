/* optim.c -- see optim.h. Sources: Sutskever et al. 2013; Kingma & Ba 2015, Algorithms 1 and 2; Loshchilov & Hutter 2019. */
#include "train/optim.h"

#include <math.h>
#include <string.h>

#include "kernels/kernels.h"

enum { SGD, ADAM, ADAMW, ADAMAX }; /* as in the option table */

ebb_moments ebb_optim_moments(const ebb_train_options *o)
{
  switch (o->optimizer) {
  case ADAM:
  case ADAMW: return (ebb_moments){2, {"exp_avg", "exp_avg_sq"}};
  case ADAMAX: return (ebb_moments){2, {"exp_avg", "exp_inf"}};
  default: return (ebb_moments){o->momentum > 0, {"momentum"}};
  }
}

size_t ebb_optim_bytes(const ebb_train_options *o, const ebb_model *m)
{
  return (size_t)ebb_optim_moments(o).count * m->weights * sizeof(ebb_real);
}

double ebb_optim_norm(const ebb_model *m, const ebb_real *grads)
{
  return sqrt(ebbk->sum_squares(grads, m->weights));
}

static ebbk_adam adam_of(const ebb_train_options *o, double lr, double decay, uint64_t step)
{
  return (ebbk_adam){.lr = lr, .beta1 = o->beta1, .beta2 = o->beta2, .epsilon = o->epsilon, .decay = decay,
                     .decoupled = o->optimizer == ADAMW, .largest = o->optimizer == ADAMAX, .step = step + 1};
}

void ebb_optim_step(const ebb_train_options *o, const ebb_model *m, ebb_real *weights, ebb_real *grads, ebb_real *moments,
                    double lr, double norm, uint64_t step)
{
  if (o->clip > 0 && norm > o->clip) ebbk->scale(grads, (ebb_real)(o->clip / norm), m->weights);
  for (const ebb_param *p = m->params; p; p = p->next) {
    if (p->kind != EBB_WEIGHT) continue;
    double    decay = p->decay || o->decay_all ? o->decay : 0;
    ebb_real *w = weights + p->offset, *g = grads + p->offset;
    if (o->optimizer != SGD) {
      ebbk_adam a = adam_of(o, lr, decay, step);
      ebbk->adam(w, moments + p->offset, moments + m->weights + p->offset, g, p->count, &a);
      continue;
    }
    ebb_real *momentum = o->momentum > 0 ? moments + p->offset : g; /* without momentum m is g, and g is done with */
    ebbk->sgd(w, momentum, g, p->count, lr, o->momentum, decay, o->nesterov, step == 0 || o->momentum == 0);
  }
  memset(grads, 0, m->weights * sizeof *grads);
}
