/* trainer.h -- training: batches in, better weights out.
 * Owns: the loop, its options, its state. Must not know: files of users, command lines, networks. */
#pragma once
#include <signal.h>

#include "base/option.h"
#include "compose/plan.h"
#include "train/batches.h"
#include "train/loss.h"
#include "train/metrics.h"

/* ---- options: `train.*` and `run.*` ---------------------------------------------------------------------- */
typedef struct ebb_train_options {
  int         batch, accumulate, steps, threads, log_every, save_every;
  double      epochs;
  size_t      seed;
  int         optimizer;      /* sgd|adam|adamw|adamax                    */
  double      beta1, beta2, epsilon;
  double      lr, momentum, decay, clip, smoothing;
  bool        nesterov, decay_all;
  int         loss, ignore;   /* ebb_loss_kind; a label                   */
  ebb_numbers class_weights;
  bool        dice_batch, dice_background;
  int         schedule;       /* constant|step|cosine|poly|plateau        */
  ebb_numbers milestones;     /* step: fractions of the run               */
  double      gamma, power, warmup, lr_end;
  int         patience, stop_after; /* validations                        */
  int         skip;           /* steps in a row that are not finite and left out, at most */
  double      ema;            /* share of the mean of weights that stays in each step, 0: none */
} ebb_train_options;
extern const ebb_option ebb_train_option_table[];

/* When weights follow their gradients: after the backward pass, or within it, each layer's when its gradients are ready (compose/spans.h; known as
 * an optimiser fused into the backward pass). */
typedef enum ebb_update { EBB_UPDATE_STEP, EBB_UPDATE_BACKWARD } ebb_update;

typedef struct ebb_run_options {
  int    backward;            /* ebb_policy, or EBB_AUTO                  */
  int    update;              /* ebb_update                               */
  size_t memory;              /* limit in bytes, 0: what is available     */
  double drift;               /* of what reverse brings back, of its size, before a layer's input is kept; 0: never is */
} ebb_run_options;
extern const ebb_option ebb_run_option_table[];

/* The loss that the options name; a flow's is its likelihood, whatever they name. */
ebb_loss ebb_train_loss(const ebb_train_options *o, const ebb_model *m);

/* The plan of a training, with `batches` bytes of the sources. EBB_CONFIG: options that do not go together, or a loss that does not fit the
 * network. EBB_OSERR: backward=auto, and not even the least memory is within run.memory. */
ebb_status ebb_train_plan(ebb_plan *p, const ebb_model *m, ebb_shape x, const ebb_train_options *o, const ebb_run_options *run, size_t batches,
                          ebb_pool *pool);

/* ---- the trainer --------------------------------------------------------------------------------------- */
typedef struct ebb_progress {  /* what is logged and shown                */
  uint32_t epoch;              /* from 0; after its last step the next one */
  uint64_t step, steps;        /* optimiser steps done, of                */
  double   lr, loss, accuracy; /* loss and accuracy of the batches since the last report */
  double   grad_norm;          /* of the last step, before clipping       */
  int      held;               /* layers whose input is kept, as reverse did not bring it back */
  const char *drifted;         /* the last of them, if it is new since the last report; else NULL */
  double   drift;              /* how far off it was, of its size         */
  size_t   planned;            /* bytes, now                              */
  uint64_t skipped;            /* steps left out as they were not finite, since the run began or was resumed */
  size_t   dimensions;         /* of a flow, whose losses are nats a sample and which has no accuracy; else 0 */
  double   step_seconds;       /* mean since the last report              */
  bool     validated;          /* what follows is new                     */
  double   val_loss, val_accuracy, val_top5;
  double   val_dice;           /* mean over classes from 1 on; NaN: no label maps */
  double   score;              /* what the best checkpoint is best by     */
} ebb_progress;

typedef struct ebb_trainer {
  const ebb_model  *model;
  ebb_train_options options;
  ebb_policy        policy;
  ebb_plan          plan;
  ebb_workspace     work;
  ebb_loss          loss;
  ebb_pool          pool;
  double            lr, grad_norm; /* of the last step                    */
  double            squares;   /* run.update=backward: of the gradients that were ready in this step, summed up */
  bool              halted;    /* and these are not finite, so that weights have followed only in part */
  const char       *astray;    /* by the gradient of this parameter, the first on the way back; NULL: by none alone */
  uint64_t          skipped, skipped_last; /* steps left out; of them those since the last that was not */
  size_t            budget;    /* of bytes, 0: none                        */
  int               held;      /* layers whose input is kept, as it did not come back */
  const ebb_layer  *drifted;   /* the last of them, and by how much it was off, of its size */
  double            drift;
  double           *nats;      /* NULL or, of a flow: where an evaluation puts -log p(x) of each sample, in their order */
  /* all that a checkpoint holds besides weights, state and momenta: */
  uint64_t          step;      /* optimiser steps done                    */
  uint32_t          epoch;
  uint64_t          cursor;    /* samples of this epoch done              */
  uint64_t          steps;     /* in the whole run                        */
  double            best;      /* validation score (metrics.h) of the best epoch so far, -infinity: none */
  uint64_t          stale;     /* validations since then                  */
  double            lr_scale;  /* schedule plateau: what it has cut the rate to, 1 in the beginning */
} ebb_trainer;

/* Plans, checks the plan against the memory there is, takes the regions, draws initial weights. `x` is a full
 * micro-batch, `epoch_samples` the samples of one epoch (for epochs -> steps; 0 where steps are given), `batches` the
 * bytes of the sources. Errors: EBB_OSERR (does not fit: planned, available, what to change), EBB_CONFIG (steps, or those of
 * ebb_train_plan). */
ebb_status ebb_trainer_create(ebb_trainer *t, const ebb_model *m, ebb_shape x, const ebb_train_options *o,
                              const ebb_run_options *run, uint64_t epoch_samples, size_t batches);
/* The same for ebb_trainer_evaluate alone: no gradients, no optimiser state. Of a flow metrics.reconstruction is measured, too. */
ebb_status ebb_trainer_create_eval(ebb_trainer *t, const ebb_model *m, ebb_shape x, const ebb_train_options *o,
                                   const ebb_run_options *run, size_t batches);
/* And for ebb_trainer_predict alone: no loss either. */
ebb_status ebb_trainer_create_predict(ebb_trainer *t, const ebb_model *m, ebb_shape x, const ebb_train_options *o,
                                      const ebb_run_options *run, size_t batches);
/* And for ebb_trainer_predict, ebb_trainer_sample and ebb_trainer_reconstruct of a flow. */
ebb_status ebb_trainer_create_sample(ebb_trainer *t, const ebb_model *m, ebb_shape x, const ebb_train_options *o,
                                     const ebb_run_options *run, size_t batches);
void ebb_trainer_destroy(ebb_trainer *t);

/* One optimiser step: `accumulate` batches from `source`, whose metrics are added to m. Moves on to the next epoch.
 * Loss or gradients that are not finite change no weight; after options.skip such steps in a row, or if the stream left its range, it is
 * EBB_SOFTWARE: the message says where. (Within the backward pass, run.update, weights have followed by the time that a gradient is not finite:
 * it is EBB_SOFTWARE at once.) Nor does a step by reversal change any whose activations did not come back to within run.drift:
 * the input of the layer where that began is kept from then on, for which the plan grows. EBB_OSERR: it may not. */
ebb_status ebb_trainer_step(ebb_trainer *t, ebb_source *source, ebb_metrics *m);

/* Keeps the input of a layer from now on. EBB_OSERR: the plan may not grow so far. */
ebb_status ebb_trainer_hold(ebb_trainer *t, const ebb_layer *l);

/* Puts the source where the trainer stands; in the next epoch, if this one has no whole batch left. */
ebb_status ebb_trainer_seek(ebb_trainer *t, ebb_source *source);

/* All steps are done, or options.stop_after validations brought nothing better. */
bool ebb_trainer_finished(const ebb_trainer *t);

/* Exchanges the weights and their moving mean (options.ema > 0): for an evaluation, and back. */
void ebb_trainer_swap_ema(ebb_trainer *t);

/* Evaluates in the file's order, with running statistics. */
ebb_status ebb_trainer_evaluate(ebb_trainer *t, ebb_source *source, ebb_metrics *m);

/* x -> *y with running statistics; x is as planned, y stands until ebb_release(&t->work.run). EBB_SOFTWARE: the stream left its
 * range. */
ebb_status ebb_trainer_predict(ebb_trainer *t, ebb_view x, ebb_view *y);

/* z -> *x, the other way, of a flow; both as x is planned, *x stands until ebb_release(&t->work.run). EBB_SOFTWARE: a matrix has no
 * inverse, the stream left its range, or values are not finite. */
ebb_status ebb_trainer_sample(ebb_trainer *t, ebb_view z, ebb_view *x);
/* The *y of an ebb_trainer_predict, in its place: x again, but for rounding. */
void ebb_trainer_reconstruct(ebb_trainer *t, ebb_view *y);

/* The whole run: from where the trainer stands to `steps`, validating (val may be NULL) at the end of each epoch,
 * logging to FOLDER/log.csv and FOLDER/log.jsonl, saving FOLDER/checkpoint_last.h5 each epoch (and every save_every steps),
 * and after each validation of the highest score so far FOLDER/checkpoint_best.h5. `report` (may be NULL) is called every log_every steps and after each validation. `*stop` is
 * looked at after each step: if set, saves and returns EBB_OK with t->step < t->steps. */
typedef struct ebb_fit {
  ebb_source *train, *val;
  const char *folder;
  const char *config;          /* resolved configuration, kept in the checkpoint                  */
  void      (*report)(const ebb_progress *p, void *context);
  void       *context;
  const volatile sig_atomic_t *stop; /* may be NULL */
} ebb_fit;
ebb_status ebb_trainer_fit(ebb_trainer *t, const ebb_fit *fit);
