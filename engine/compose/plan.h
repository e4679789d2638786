/* plan.h -- how much memory a run takes, known before it runs.
 * Owns: the plan and the regions made by it. Must not know: datasets, optimisers and losses (whose bytes it is told).
 *
 * The plan is the run itself on a dry arena: the same code takes and gives back the same bytes, and computes
 * nothing. What is planned is therefore what is used, to the byte.
 *
 * Under REVERSE the peak is the least there is, all blocks replayed; late blocks are spared that as far as it costs no byte
 * more. With a budget (EBB_AUTO) as many are spared or stored as it has room for, those first that save the most time for their bytes. */
#pragma once
#include "compose/model.h"

#include <stdio.h>

/* Seconds of a block's forward, of its reverse if it replays what is inside, or finds that kept, and of its backward with all kept. */
typedef struct ebb_cost { double forward, replayed, spared, stored; } ebb_cost;

typedef struct ebb_plan_options {
  ebb_policy policy;          /* not EBB_AUTO, which is ebb_plan_auto's to settle                  */
  size_t     room;            /* REVERSE: bytes that the peak may reach, if they save time; 0: the least that will do */
  bool       training;        /* false: evaluation only, no gradients                              */
  bool       inverse;         /* of a flow: the way back from z to x, too                          */
  bool       input_gradient;  /* the gradient of the model's input is wanted too                   */
  double     drift;           /* run.drift: largest change of what a layer's reverse brings back, of its size; 0: nobody looks */
  bool       spans;           /* gradients are of one span at a time (run.h), else whole           */
  size_t     optimizer;       /* bytes of optimiser state                                          */
  size_t     loss;            /* bytes the loss takes for a moment, beside its gradient             */
  size_t     batches;         /* bytes of batches and the reader's buffers                         */
} ebb_plan_options;

typedef struct ebb_plan {
  ebb_shape  x;               /* a full batch                                                      */
  ebb_plan_options options;
  size_t weights, gradients, optimizer, state; /* the model region: state is running statistics, what layers save
                                                  from forward to backward, and the stack of kept views */
  size_t stream, kept, scratch;                /* the parts of the run region's peak                */
  size_t batches;
  size_t peak;                                 /* the sum of all                                    */
  ebb_tally *tally;                            /* (layers), in the pool                             */
  ebb_span  *spans;                            /* (layers), in the pool: options.spans, else NULL    */
  bool      *spared;                           /* (layers), in the pool: blocks that keep what is inside them */
  bool      *stored;                           /* (layers), in the pool: blocks that keep all, as under STORE */
  ebb_cost  *costs;                            /* (layers), in the pool: of blocks, measured; NULL: not by ebb_plan_auto */
  bool      *held;                             /* (layers), in the pool: those whose input is kept, as it does not come back */
  ebb_kept  *stack;                            /* (most kept views of all plans), in the pool: of rehearsals */
  size_t saved;                                /* part of `state`                                   */
  size_t kept_views;                           /* number of them                                    */
} ebb_plan;

/* Plans for batches like x, of the threads that compute now (ebb_threads_set comes before, and not after). */
void ebb_plan_make(ebb_plan *p, const ebb_model *m, ebb_shape x, ebb_plan_options o, ebb_pool *pool);

/* The fastest plan whose peak is at most `budget` bytes: STORE where that fits, else REVERSE with o.room, by costs that are measured for
 * a moment, within the budget too. Where not even the least plan fits it is that, whose peak is then beyond the budget. EBB_OSERR: the
 * memory to measure is not there. */
ebb_status ebb_plan_auto(ebb_plan *p, const ebb_model *m, ebb_shape x, ebb_plan_options o, size_t budget, ebb_pool *pool);

/* Seconds that the reversible blocks of a plan by ebb_plan_auto take in a step; all replayed; all stored. */
typedef struct ebb_forecast { double planned, least, most; int blocks, spared, stored; } ebb_forecast;
ebb_forecast ebb_plan_forecast(const ebb_plan *p, const ebb_model *m);

/* Holds the input of layer l from now on (options.drift > 0, REVERSE): only the run region changes, to the size that is planned now. Where
 * options.room would not do, other blocks are replayed again, the first of them first. */
void ebb_plan_hold(ebb_plan *p, const ebb_model *m, const ebb_layer *l);

/* The regions of a run and the run in them. */
typedef struct ebb_workspace {
  ebb_arena model, arena;     /* the model region and the run region                               */
  ebb_real *weights, *grads, *state;
  void     *optimizer;        /* p->optimizer bytes, zero                                          */
  bool     *spared, *stored, *held; /* (layers) what p says of them                                */
  ebb_run   run;
} ebb_workspace;

/* Takes exactly the planned bytes. EBB_OSERR with planned and available bytes, and what to change, if they are not
 * there. Weights and states are not initialised; seed, pass and so on are the caller's; of p->spans, which must stay, run.ready, too. */
ebb_status ebb_workspace_create(ebb_workspace *w, const ebb_model *m, const ebb_plan *p);
/* Between two passes: the run region as it is planned now; the model region stays. EBB_OSERR likewise, then there is no run region. */
ebb_status ebb_workspace_resize(ebb_workspace *w, const ebb_model *m, const ebb_plan *p);
void       ebb_workspace_destroy(ebb_workspace *w);
size_t     ebb_workspace_peak(const ebb_workspace *w, size_t batches); /* observed bytes, to compare with p->peak */

/* The tree of layers with shapes, parameters and bytes, as text for people. */
void ebb_plan_print(FILE *out, const ebb_plan *p, const ebb_model *m);
