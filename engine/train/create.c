/* create.c -- making a trainer: its plan, checked against the options and the memory there is, and the regions. See trainer.h.
 * Owns: what a run plans for. */
#include <inttypes.h>
#include <math.h>

#include "base/threads.h"
#include "train/optim.h"
#include "train/trainer.h"

/* ---- options ---------------------------------------------------------------------------------------------------- */
static ebb_status count_steps(ebb_trainer *t, uint64_t epoch_samples)
{
  const ebb_train_options *o = &t->options;
  uint64_t batches = epoch_samples / (uint64_t)o->batch;
  if (epoch_samples > 0 && batches == 0)
    return ebb_fail(EBB_CONFIG, "train.batch: expected at most the %" PRIu64 " samples of the training set, found %d\nhint: "
                    "a smaller train.batch", epoch_samples, o->batch);
  t->steps = o->steps > 0 ? (uint64_t)o->steps
                          : (uint64_t)llround(o->epochs * (double)batches / o->accumulate);
  if (t->steps == 0 && epoch_samples > 0)
    return ebb_fail(EBB_CONFIG, "train.epochs: %g epochs of %" PRIu64 " batches are less than one step", o->epochs, batches);
  return EBB_OK;
}

static ebb_status check_budget(const ebb_plan *p, size_t budget)
{
  if (budget == 0 || p->peak <= budget) return EBB_OK;
  return ebb_fail(EBB_OSERR,
                  "run.memory: the plan needs %.1f MiB (%zu bytes), allowed are %.1f MiB\nhint: a smaller train.batch%s; "
                  "`ebb plan` shows where the memory goes",
                  (double)p->peak / 1048576, p->peak, (double)budget / 1048576,
                  p->options.policy == EBB_REVERSE ? "" : ", or run.backward=reverse");
}

ebb_loss ebb_train_loss(const ebb_train_options *o, const ebb_model *m)
{
  if (m->flow) return (ebb_loss){.kind = EBB_LOSS_NLL};
  return (ebb_loss){.smoothing = o->smoothing, .kind = o->loss, .class_weights = o->class_weights, .dice_batch = o->dice_batch,
                    .dice_background = o->dice_background};
}

static void begin(ebb_trainer *t, const ebb_model *m, const ebb_train_options *o, const ebb_run_options *run)
{
  *t = (ebb_trainer){.model = m, .options = *o, .budget = run->memory, .loss = ebb_train_loss(o, m), .best = -INFINITY, .lr_scale = 1};
  ebb_threads_set(o->threads);
}

/* ---- the plan --------------------------------------------------------------------------------------------------- */
/* Of what the machine has, a tenth stays for others. */
static size_t budget_of(const ebb_run_options *run)
{
  return run->memory ? run->memory : ebb_memory_available() / 10 * 9;
}

static ebb_status plan_run(ebb_plan *p, const ebb_model *m, ebb_shape x, const ebb_run_options *run, ebb_plan_options o, ebb_pool *pool)
{
  o.policy = (ebb_policy)run->backward;
  o.drift = run->drift;
  if (o.policy == EBB_AUTO && o.training) {
    EBB_TRY(ebb_plan_auto(p, m, x, o, budget_of(run), pool));
    return check_budget(p, budget_of(run));
  }
  if (o.policy == EBB_AUTO) o.policy = EBB_REVERSE;
  ebb_plan_make(p, m, x, o, pool);
  return EBB_OK;
}

/* What is known after the backward pass only is too late for weights that follow within it. */
static ebb_status check_update(const ebb_train_options *o, const ebb_run_options *run, const ebb_model *m)
{
  bool reverses = run->backward == EBB_REVERSE || run->backward == EBB_AUTO;
  if (run->update == EBB_UPDATE_STEP) return EBB_OK;
  if (o->clip > 0)
    return ebb_fail(EBB_CONFIG, "run.update=backward: expected train.clip=0, found %g: weights follow before the norm of all gradients is known\n"
                    "hint: train.clip=0, or run.update=step", o->clip);
  if (o->accumulate > 1)
    return ebb_fail(EBB_CONFIG, "run.update=backward: expected train.accumulate=1, found %d: weights follow before the sum of gradients is known\n"
                    "hint: train.accumulate=1, or run.update=step", o->accumulate);
  if (m->logdet && reverses && run->drift > 0)
    return ebb_fail(EBB_CONFIG, "run.update=backward: expected run.drift=0 for %s, found %g: a step could not be left out any more when a layer's "
                    "input does not come back\nhint: run.drift=0, run.backward=store or checkpoint, or run.update=step", m->name, run->drift);
  return EBB_OK;
}

static size_t loss_bytes(const ebb_loss *loss, const ebb_model *m, ebb_shape x)
{
  ebb_shape y = m->out;
  y.n = x.n;
  return ebb_loss_scratch(loss, y);
}

ebb_status ebb_train_plan(ebb_plan *p, const ebb_model *m, ebb_shape x, const ebb_train_options *o, const ebb_run_options *run, size_t batches,
                          ebb_pool *pool)
{
  ebb_loss loss = ebb_train_loss(o, m);
  EBB_TRY(ebb_loss_check(&loss, m->out.c));
  EBB_TRY(check_update(o, run, m));
  return plan_run(p, m, x, run, (ebb_plan_options){.training = true, .spans = run->update == EBB_UPDATE_BACKWARD, .batches = batches,
                                                   .optimizer = ebb_optim_bytes(o, m), .loss = loss_bytes(&loss, m, x)}, pool);
}

/* ---- memory ----------------------------------------------------------------------------------------------------- */
/* By t->plan, if that came about: checks it, takes the regions. */
static ebb_status take_memory(ebb_trainer *t, ebb_status planned)
{
  ebb_status status = planned;
  t->policy = t->plan.options.policy;
  if (status == EBB_OK) status = check_budget(&t->plan, t->budget);
  if (status == EBB_OK) status = ebb_workspace_create(&t->work, t->model, &t->plan);
  if (status != EBB_OK) {
    ebb_pool_clear(&t->pool);
    return status;
  }
  t->work.run.seed = t->options.seed;
  ebb_model_initialise(t->model, t->work.weights, t->work.state, t->options.seed);
  return EBB_OK;
}

/* Not for training. */
static ebb_status take_for(ebb_trainer *t, ebb_shape x, const ebb_run_options *run, ebb_plan_options plan)
{
  return take_memory(t, plan_run(&t->plan, t->model, x, run, plan, &t->pool));
}

ebb_status ebb_trainer_create(ebb_trainer *t, const ebb_model *m, ebb_shape x, const ebb_train_options *o,
                              const ebb_run_options *run, uint64_t epoch_samples, size_t batches)
{
  begin(t, m, o, run);
  EBB_TRY(count_steps(t, epoch_samples));
  return take_memory(t, ebb_train_plan(&t->plan, m, x, o, run, batches, &t->pool));
}

ebb_status ebb_trainer_create_eval(ebb_trainer *t, const ebb_model *m, ebb_shape x, const ebb_train_options *o,
                                   const ebb_run_options *run, size_t batches)
{
  begin(t, m, o, run);
  EBB_TRY(ebb_loss_check(&t->loss, m->out.c));
  return take_for(t, x, run, (ebb_plan_options){.batches = batches, .loss = loss_bytes(&t->loss, m, x), .inverse = m->flow});
}

ebb_status ebb_trainer_create_predict(ebb_trainer *t, const ebb_model *m, ebb_shape x, const ebb_train_options *o,
                                      const ebb_run_options *run, size_t batches)
{
  begin(t, m, o, run);
  return take_for(t, x, run, (ebb_plan_options){.batches = batches});
}

ebb_status ebb_trainer_create_sample(ebb_trainer *t, const ebb_model *m, ebb_shape x, const ebb_train_options *o,
                                     const ebb_run_options *run, size_t batches)
{
  begin(t, m, o, run);
  return take_for(t, x, run, (ebb_plan_options){.inverse = true, .batches = batches});
}

void ebb_trainer_destroy(ebb_trainer *t)
{
  ebb_workspace_destroy(&t->work);
  ebb_pool_clear(&t->pool);
}

ebb_status ebb_trainer_hold(ebb_trainer *t, const ebb_layer *l)
{
  t->held++;
  ebb_plan_hold(&t->plan, t->model, l);
  EBB_TRY(check_budget(&t->plan, t->budget));
  return ebb_workspace_resize(&t->work, t->model, &t->plan);
}
