/* trainer.c -- one step, one evaluation, one prediction. See trainer.h; making a trainer is in create.c, the whole run in fit.c. */
#include "train/trainer.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "kernels/kernels.h"
#include "train/optim.h"
#include "train/schedule.h"

/* ---- numbers that went astray -------------------------------------------------------------------------------- */
/* "step 12: ", or nothing where nobody trains; and what to do about it. */
static const char *when(const ebb_trainer *t, char text[32])
{
  snprintf(text, 32, "step %" PRIu64 ": ", t->step);
  return t->plan.options.training ? text : "";
}

static const char *remedy(const ebb_trainer *t)
{
  return t->plan.options.training ? "a lower train.lr, a longer train.warmup, or train.clip; the last checkpoint is unharmed"
                                  : "the weights have gone astray; take a checkpoint from before";
}

static ebb_status check_events(const ebb_trainer *t)
{
  const ebb_events *e = &t->work.run.events;
  char              step[32];
  if (e->singular)
    return ebb_fail(EBB_SOFTWARE, "%sthe matrix of layer %s has no inverse any more\nhint: %s", when(t, step), e->singular, remedy(t));
  if (e->not_whole)
    return ebb_fail(EBB_DATA, "layer %s: expected whole numbers 0 .. %d, found %.9g\nhint: data.mean=0 data.std=1 leave the file's values as they "
                    "are; model.grey_levels says how many levels they have", e->not_whole, e->levels - 1, e->odd);
  if (e->out_of_range == 0) return EBB_OK;
  return ebb_fail(EBB_SOFTWARE, "%s%" PRIu64 " values left the stream's range of +-%.0f in layer %s, the largest %.4g\nhint: %s", when(t, step),
                  e->out_of_range, (double)EBB_FIXED_RANGE, e->where, e->worst,
                  t->plan.options.training ? remedy(t) : "are the data scaled as those of the training (data.mean, data.std)?");
}

/* The first parameter of a span, in the order of the network, whose gradient is not finite; NULL: none. */
static const char *first_nonfinite(const ebb_real *grads, ebb_span s)
{
  size_t done = 0;
  for (const ebb_param *p = s.first; done < s.count; p = p->next) {
    if (p->kind != EBB_WEIGHT) continue;
    for (size_t i = 0; i < p->count; i++)
      if (!isfinite(grads[done + i])) return p->name;
    done += p->count;
  }
  return NULL;
}

static ebb_span all_weights(const ebb_trainer *t)
{
  return (ebb_span){t->model->params, 0, t->model->weights};
}

/* Weights that follow within the backward pass: there are no gradients of such a loss, and those that are not finite came too late. */
static ebb_status check_finite_within(const ebb_trainer *t, double loss, double norm)
{
  if (!isfinite(loss))
    return ebb_fail(EBB_SOFTWARE, "step %" PRIu64 " (epoch %" PRIu32 ", sample %" PRIu64 "): the loss is %g; no weight has followed\n"
                    "hint: a lower train.lr or a longer train.warmup; the last checkpoint is unharmed", t->step, t->epoch, t->cursor, loss);
  return ebb_fail(EBB_SOFTWARE,
                  "step %" PRIu64 " (epoch %" PRIu32 ", sample %" PRIu64 "): the norm of the gradients is %g, first on the way back by that of %s, when "
                  "others had been followed\nhint: a lower train.lr, or run.update=step, which can leave such a step out (train.skip) and clip "
                  "(train.clip); the last checkpoint is unharmed", t->step, t->epoch, t->cursor, norm, t->astray ? t->astray : "all together");
}

static ebb_status check_finite(const ebb_trainer *t, double loss, double norm)
{
  if (isfinite(loss) && isfinite(norm)) return EBB_OK;
  if (t->plan.spans) return check_finite_within(t, loss, norm);
  const char *first = first_nonfinite(t->work.grads, all_weights(t));
  char        before[64] = "";
  if (t->skipped_last) snprintf(before, sizeof before, "; the %" PRIu64 " steps before it were left out", t->skipped_last);
  return ebb_fail(EBB_SOFTWARE,
                  "step %" PRIu64 " (epoch %" PRIu32 ", sample %" PRIu64 "): the loss is %g, the norm of the gradients %g; "
                  "the first gradient that is not finite belongs to %s%s\nhint: %s",
                  t->step, t->epoch, t->cursor, loss, norm, first ? first : "none", before, remedy(t));
}

/* ---- weights that follow ----------------------------------------------------------------------------------------- */
/* Within the backward pass: the weights whose gradients are ready; unless one in this step was not finite. */
static void follow(ebb_run *r)
{
  ebb_trainer   *t = r->updater;
  ebb_workspace *w = &t->work;
  ebb_span       s = r->span;
  t->squares += ebbk->sum_squares(w->grads, s.count);
  if (isfinite(t->squares)) {
    ebb_optim_update(&t->options, t->model, s, w->weights, w->grads, w->optimizer, t->lr, t->step);
    return;
  }
  if (!t->halted) t->astray = first_nonfinite(w->grads, s);
  t->halted = true;
  ebbk->fill(w->grads, 1, 0, s.count, 1);
}

static double gradient_norm(const ebb_trainer *t)
{
  return t->plan.spans ? sqrt(t->squares) : ebb_optim_norm(t->model, t->work.grads);
}

static void forget_gradients(ebb_trainer *t)
{
  memset(t->work.grads, 0, t->plan.gradients);
}

/* ---- one step ------------------------------------------------------------------------------------------------- */
/* The next batch; labels that are to be left out become negative, which loss and metrics know. */
static ebb_status next_batch(ebb_trainer *t, ebb_source *source, ebb_batch *batch)
{
  EBB_TRY(source->ops->next(source, batch));
  if (t->model->conditional) t->work.run.labels = batch->labels;
  if (t->options.ignore < 0 || t->model->flow) return EBB_OK;
  size_t labels = (size_t)batch->x.s.n * ebb_sites(t->model->out);
  for (size_t i = 0; i < labels; i++)
    if (batch->labels[i] == t->options.ignore) batch->labels[i] = -1;
  return EBB_OK;
}

static void count(const ebb_trainer *t, ebb_metrics *m, ebb_view y, const ebb_batch *batch, double loss)
{
  if (t->model->flow) ebb_metrics_add_likelihood(m, y.s.n, loss);
  else ebb_metrics_add(m, y, batch->labels, loss);
}

/* Layers whose first values the data decide, such as actnorm, see the first batch before the first step. */
static void begin_by_data(ebb_trainer *t, ebb_view x)
{
  ebb_run *r = &t->work.run;
  ebb_view y;
  r->first = t->work.weights;
  r->pass = EBB_EVAL;
  ebb_forward(r, t->model, x, &y);
  ebb_release(r);
  r->first = NULL;
}

/* What forward says must be heard before weights follow; of a loss that is not finite none does. */
static ebb_status backward(ebb_trainer *t, ebb_view x, ebb_view dy, double loss)
{
  ebb_run   *r = &t->work.run;
  ebb_view   none = {0};
  bool       go = isfinite(loss) || !t->plan.spans;
  ebb_status status = check_events(t);
  if (status == EBB_OK && go) {
    ebb_backward(r, t->model, x, dy, none);
    return check_events(t);
  }
  if (!go) t->squares = NAN;
  ebb_release(r);
  return status;
}

/* dataset -> batch -> model -> loss -> reconstructing backward */
static ebb_status micro_batch(ebb_trainer *t, ebb_source *source, ebb_metrics *m, double *loss)
{
  ebb_run  *r = &t->work.run;
  ebb_batch batch;
  ebb_view  y, dy;
  EBB_TRY(next_batch(t, source, &batch));
  EBB_ASSERT(batch.x.s.n == t->plan.x.n, "a batch of %d, planned %d", batch.x.s.n, t->plan.x.n);
  if (t->model->flow && t->step == 0 && r->step == 0) begin_by_data(t, batch.x);
  r->pass = EBB_TRAIN;
  ebb_forward(r, t->model, batch.x, &y);
  *loss = ebb_loss_eval_soft(&t->loss, r, y, batch.labels, batch.soft, 1.0 / t->options.accumulate, &dy);
  if (isfinite(*loss)) count(t, m, y, &batch, *loss);
  t->cursor += (uint64_t)batch.x.s.n;
  return backward(t, batch.x, dy, *loss);
}

/* An epoch ends where no whole batch is left. */
static ebb_status advance_epoch(ebb_trainer *t, ebb_source *source)
{
  if (t->cursor + (uint64_t)t->plan.x.n <= source->samples) return EBB_OK;
  t->epoch++;
  t->cursor = 0;
  return source->ops->seek(source, t->epoch, 0);
}

ebb_status ebb_trainer_seek(ebb_trainer *t, ebb_source *source)
{
  EBB_TRY(advance_epoch(t, source));
  return source->ops->seek(source, t->epoch, t->cursor);
}

static bool may_skip(const ebb_trainer *t)
{
  return t->skipped_last < (uint64_t)t->options.skip && !t->halted;
}

/* A step that is not finite leaves the weights as they are. */
static void leave_out(ebb_trainer *t)
{
  t->skipped++, t->skipped_last++;
  forget_gradients(t);
}

/* ---- what does not come back ------------------------------------------------------------------------------- */
/* Its gradients are of other activations than the step's: they change no weight, and from now on the layer's input is kept. */
static ebb_status hold_drifted(ebb_trainer *t)
{
  t->drifted = t->work.run.events.drifted;
  t->drift = t->work.run.events.drift;
  forget_gradients(t);
  return ebb_trainer_hold(t, t->drifted);
}

ebb_status ebb_trainer_step(ebb_trainer *t, ebb_source *source, ebb_metrics *m)
{
  ebb_workspace *w = &t->work;
  bool           finite = true;
  double         loss = 0;
  w->run.events.drifted = NULL;
  t->squares = 0;
  t->halted = false;
  w->run.ready = follow;
  w->run.updater = t;
  t->lr = t->lr_scale * ebb_schedule_lr(&t->options, t->step, t->steps);
  for (int i = 0; i < t->options.accumulate; i++) {
    EBB_TRY(micro_batch(t, source, m, &loss));
    if (!isfinite(loss) && !may_skip(t)) return check_finite(t, loss, gradient_norm(t));
    finite &= isfinite(loss) != 0;
    EBB_TRY(advance_epoch(t, source));
  }
  double norm = gradient_norm(t);
  if (finite && w->run.events.drifted) EBB_TRY(hold_drifted(t));
  else if (finite && isfinite(norm)) {
    if (!t->plan.spans) ebb_optim_step(&t->options, t->model, w->weights, w->grads, w->optimizer, t->lr, norm, t->step);
    t->skipped_last = 0;
  } else if (may_skip(t)) leave_out(t);
  else return check_finite(t, loss, norm);
  t->grad_norm = norm;
  t->step++;
  return EBB_OK;
}

bool ebb_trainer_finished(const ebb_trainer *t)
{
  return t->step >= t->steps || (t->options.stop_after > 0 && t->stale >= (uint64_t)t->options.stop_after);
}

void ebb_trainer_swap_ema(ebb_trainer *t)
{
  ebb_real *mean = ebb_optim_ema(&t->options, t->model, t->work.optimizer);
  for (size_t i = 0; mean && i < t->model->weights; i++) {
    ebb_real w = t->work.weights[i];
    t->work.weights[i] = mean[i];
    mean[i] = w;
  }
}

/* ---- prediction and evaluation --------------------------------------------------------------------------------------------- */
ebb_status ebb_trainer_predict(ebb_trainer *t, ebb_view x, ebb_view *y)
{
  t->work.run.pass = EBB_EVAL;
  ebb_forward(&t->work.run, t->model, x, y);
  ebb_status status = check_events(t);
  if (status != EBB_OK) ebb_release(&t->work.run);
  return status;
}

static ebb_status check_sample(const ebb_trainer *t, ebb_view x)
{
  EBB_TRY(check_events(t));
  for (size_t i = 0; i < ebb_count(x.s); i++)
    if (!isfinite(ebb_reals(x)[i]))
      return ebb_fail(EBB_SOFTWARE, "%s: expected finite values in a sample, found %g\n"
                      "hint: a lower temperature; or the network was not trained long enough", t->model->name, (double)ebb_reals(x)[i]);
  return EBB_OK;
}

ebb_status ebb_trainer_sample(ebb_trainer *t, ebb_view z, ebb_view *x)
{
  t->work.run.drawn = true;
  ebb_inverse(&t->work.run, t->model, z, x);
  ebb_status status = check_sample(t, *x);
  if (status != EBB_OK) ebb_release(&t->work.run);
  return status;
}

void ebb_trainer_reconstruct(ebb_trainer *t, ebb_view *y)
{
  t->work.run.drawn = false;
  ebb_invert(&t->work.run, t->model, y);
}

/* max |y - x|; NaN if one of them is */
static double distance(ebb_view y, ebb_view x)
{
  double most = 0;
  for (size_t i = 0; i < ebb_count(x.s); i++) most = ebb_worse(most, fabs((double)ebb_reals(y)[i] - (double)ebb_reals(x)[i]));
  return most;
}

/* Of a flow, with y, which is no more then. */
static void measure_likelihood(ebb_trainer *t, ebb_metrics *m, ebb_view y, ebb_view x)
{
  if (t->nats) ebb_loss_nll(t->nats + m->samples, &t->work.run, y);
  if (m->samples || !t->plan.options.inverse) return;
  ebb_trainer_reconstruct(t, &y);
  m->reconstruction = distance(y, x);
}

ebb_status ebb_trainer_evaluate(ebb_trainer *t, ebb_source *source, ebb_metrics *m)
{
  ebb_run  *r = &t->work.run;
  ebb_batch batch;
  ebb_view  y;
  *m = (ebb_metrics){0};
  EBB_TRY(source->ops->seek(source, 0, 0));
  for (;;) {
    EBB_TRY(next_batch(t, source, &batch));
    if (batch.x.s.n == 0) {
      ebb_metrics_finish(m);
      r->place = 0;
      return check_events(t);
    }
    r->pass = EBB_EVAL;
    r->place = m->samples;
    ebb_forward(r, t->model, batch.x, &y);
    double loss = ebb_loss_eval_soft(&t->loss, r, y, batch.labels, batch.soft, 1, NULL);
    if (t->model->flow) measure_likelihood(t, m, y, batch.x);
    count(t, m, y, &batch, loss);
    if (!t->model->flow && ebb_sites(t->model->out) > 1) ebb_metrics_add_maps(m, y, batch.labels, batch.index);
    ebb_release(r);
  }
}
