/* fit.c -- the whole run: steps, epochs, validation, log, checkpoints.
 * Owns: when each of them happens. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "train/checkpoint.h"
#include "train/log.h"
#include "train/schedule.h"

enum { PATH_SIZE = 4096 };

typedef struct fit {
  ebb_trainer   *t;
  const ebb_fit *with;
  ebb_log        log;
  ebb_metrics    since;       /* the last report */
  double         began;
  uint64_t       began_step;
  int            began_held;
} fit;

static void begin_report(fit *f)
{
  f->since = (ebb_metrics){0};
  f->began = ebb_seconds();
  f->began_step = f->t->step;
  f->began_held = f->t->held;
}

/* Logs and shows what has come since the last report; with the validation's result if there is one. */
static ebb_status report(fit *f, const ebb_metrics *validation)
{
  const ebb_trainer *t = f->t;
  uint64_t           steps = t->step - f->began_step;
  ebb_progress       p = {.epoch = t->epoch, .step = t->step, .steps = t->steps, .lr = t->lr, .grad_norm = t->grad_norm,
                                    .skipped = t->skipped, .held = t->held, .drift = t->drift, .planned = t->plan.peak};
  if (t->held > f->began_held) p.drifted = t->drifted->name;
  if (t->model->flow) p.dimensions = ebb_count(t->model->in);
  p.loss = ebb_metrics_loss(&f->since);
  p.accuracy = ebb_metrics_accuracy(&f->since);
  p.step_seconds = steps ? (ebb_seconds() - f->began) / (double)steps : 0;
  if (validation) {
    p.validated = true;
    p.val_loss = ebb_metrics_loss(validation);
    p.val_accuracy = ebb_metrics_accuracy(validation);
    p.val_top5 = ebb_metrics_top5(validation);
    p.val_dice = validation->classes ? ebb_metrics_mean_dice(validation) : NAN;
    p.score = ebb_metrics_score(validation);
  }
  EBB_TRY(ebb_log_add(&f->log, &p));
  if (f->with->report) f->with->report(&p, f->with->context);
  begin_report(f);
  return EBB_OK;
}

static ebb_status save(const fit *f, const char *name)
{
  char path[PATH_SIZE];
  snprintf(path, sizeof path, "%s/%s", f->with->folder, name);
  return ebb_checkpoint_save(path, f->t, f->with->config);
}

/* Is this the best score so far? If not for too long, the plateau schedule cuts the rate. */
static bool judge(ebb_trainer *t, double score)
{
  const ebb_train_options *o = &t->options;
  bool better = score > t->best;
  if (better) t->best = score;
  t->stale = better ? 0 : t->stale + 1;
  if (o->schedule == EBB_PLATEAU && t->stale > 0 && t->stale % (uint64_t)o->patience == 0) t->lr_scale *= o->gamma;
  return better;
}

/* At the end of an epoch, and of the run. The time it takes does not count as the steps'. */
static ebb_status validate(fit *f)
{
  ebb_metrics m;
  bool        better = false;
  double      began = ebb_seconds();
  if (f->with->val) {
    ebb_trainer_swap_ema(f->t);
    ebb_status status = ebb_trainer_evaluate(f->t, f->with->val, &m);
    ebb_trainer_swap_ema(f->t);
    if (status != EBB_OK) return status;
    better = judge(f->t, ebb_metrics_score(&m));
  }
  f->began += ebb_seconds() - began;
  EBB_TRY(report(f, f->with->val ? &m : NULL));
  if (better) EBB_TRY(save(f, "checkpoint_best.h5")); /* first: the last one says that it is there */
  return save(f, "checkpoint_last.h5");
}

/* Where numbers went astray; what has stopped the run stays the message, whatever becomes of the dump. */
static void dump(const fit *f)
{
  ebb_pool    pool = {0};
  const char *message = ebb_pool_text(&pool, "%s", ebb_message());
  ebb_log_dump(&f->log, f->t);
  ebb_fail(EBB_SOFTWARE, "%s", message);
  ebb_pool_clear(&pool);
}

static bool every(uint64_t step, int interval)
{
  return interval > 0 && step % (uint64_t)interval == 0;
}

static ebb_status run(fit *f)
{
  ebb_trainer *t = f->t;
  while (!ebb_trainer_finished(t)) {
    uint32_t   epoch = t->epoch;
    ebb_status status = ebb_trainer_step(t, f->with->train, &f->since);
    if (status == EBB_SOFTWARE) dump(f);
    if (status != EBB_OK) return status;
    bool ended = t->epoch != epoch || t->step == t->steps;
    if (ended) EBB_TRY(validate(f));
    else if (t->held > f->began_held || every(t->step, t->options.log_every)) EBB_TRY(report(f, NULL));
    if (!ended && every(t->step, t->options.save_every)) EBB_TRY(save(f, "checkpoint_last.h5"));
    if (f->with->stop && *f->with->stop) return ended ? EBB_OK : save(f, "checkpoint_last.h5");
  }
  return EBB_OK;
}

ebb_status ebb_trainer_fit(ebb_trainer *t, const ebb_fit *with)
{
  fit f = {.t = t, .with = with};
  if (!with->val && (t->options.stop_after > 0 || t->options.schedule == EBB_PLATEAU))
    return ebb_fail(EBB_CONFIG, "%s: expected a validation set to judge by, found none\nhint: data.val names one",
                    t->options.stop_after > 0 ? "train.stop_after" : "train.schedule=plateau");
  EBB_TRY(ebb_folder_make(with->folder));
  EBB_TRY(ebb_log_open(&f.log, with->folder, t->step));
  EBB_TRY(ebb_trainer_seek(t, with->train));
  begin_report(&f);
  return run(&f);
}
