/* optim.c -- see optim.h. Sources: Sutskever et al. 2013; Kingma & Ba 2015, Algorithms 1 and 2; Loshchilov & Hutter 2019. */
#include "train/optim.h"

#include <math.h>
#include <string.h>

#include "kernels/kernels.h"

enum { SGD, ADAM, ADAMW, ADAMAX }; /* as in the option table */

static ebb_moments rule_moments(const ebb_train_options *o)
{
  switch (o->optimizer) {
  case ADAM:
  case ADAMW: return (ebb_moments){2, {"exp_avg", "exp_avg_sq"}};
  case ADAMAX: return (ebb_moments){2, {"exp_avg", "exp_inf"}};
  default: return (ebb_moments){o->momentum > 0, {"momentum"}};
  }
}

ebb_moments ebb_optim_moments(const ebb_train_options *o)
{
  ebb_moments k = rule_moments(o);
  if (o->ema > 0) k.name[k.count++] = "ema";
  return k;
}

ebb_real *ebb_optim_ema(const ebb_train_options *o, const ebb_model *m, ebb_real *moments)
{
  return o->ema > 0 && moments ? moments + (size_t)rule_moments(o).count * m->weights : NULL;
}

/* mean of n weights after update number `step`, from 0 */
static void follow(ebb_real *mean, const ebb_real *w, size_t n, double ema, uint64_t step)
{
  double   t = (double)step, d = fmin(ema, (1 + t) / (10 + t));
  ebb_real share = step ? (ebb_real)(1 - d) : 1;
  for (size_t i = 0; i < n; i++) mean[i] += share * (w[i] - mean[i]);
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

static void update(const ebb_train_options *o, const ebb_model *m, const ebb_param *p, ebb_real *weights, ebb_real *g, ebb_real *moments,
                   double lr, uint64_t step)
{
  double    decay = p->decay || o->decay_all ? o->decay : 0;
  ebb_real *w = weights + p->offset;
  if (o->optimizer != SGD) {
    ebbk_adam a = adam_of(o, lr, decay, step);
    ebbk->adam(w, moments + p->offset, moments + m->weights + p->offset, g, p->count, &a);
    return;
  }
  ebb_real *momentum = o->momentum > 0 ? moments + p->offset : g; /* without momentum m is g, and g is done with */
  ebbk->sgd(w, momentum, g, p->count, lr, o->momentum, decay, o->nesterov, step == 0 || o->momentum == 0);
}

void ebb_optim_update(const ebb_train_options *o, const ebb_model *m, ebb_span s, ebb_real *weights, ebb_real *grads, ebb_real *moments,
                      double lr, uint64_t step)
{
  size_t done = 0;
  for (const ebb_param *p = s.first; done < s.count; p = p->next) {
    if (p->kind != EBB_WEIGHT) continue;
    update(o, m, p, weights, grads + (p->offset - s.from), moments, lr, step);
    done += p->count;
  }
  ebb_real *mean = ebb_optim_ema(o, m, moments);
  if (mean) follow(mean + s.from, weights + s.from, s.count, o->ema, step);
  ebbk->fill(grads, 1, 0, s.count, 1);
}

void ebb_optim_step(const ebb_train_options *o, const ebb_model *m, ebb_real *weights, ebb_real *grads, ebb_real *moments,
                    double lr, double norm, uint64_t step)
{
  if (o->clip > 0 && norm > o->clip) ebbk->scale(grads, (ebb_real)(o->clip / norm), m->weights);
  ebb_optim_update(o, m, (ebb_span){m->params, 0, m->weights}, weights, grads, moments, lr, step);
}
