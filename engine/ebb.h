/* ebb.h -- the engine's public face, in the order in which data flows through it.
 *
 * Ebb trains deep reversible networks in constant memory: activations flow forward and ebb back, the backward pass
 * reconstructs every activation from the output instead of keeping it.
 *
 *   ebb_model m;                                         a network is a tree of layers, const while it works
 *   ebb_network_model(&m, ebb_network_find("revnet-38"), options, shape, 10);
 *
 *   ebb_plan plan;                                       everything may fail here: shapes, memory ...
 *   ebb_plan_make(&plan, &m, x, (ebb_plan_options){.policy = EBB_REVERSE, .training = true}, &pool);
 *   EBB_TRY(ebb_workspace_create(&work, &m, &plan));
 *   ebb_model_initialise(&m, work.weights, work.state, seed);
 *
 *   while (source->ops->next(source, &batch) == EBB_OK && batch.x.s.n) {         ... and nothing below
 *     ebb_forward(&work.run, &m, batch.x, &y);           keeps nothing that a layer can reconstruct
 *     loss = ebb_loss_eval(&criterion, &work.run, y, batch.labels, 1, &dy);
 *     ebb_backward(&work.run, &m, batch.x, dy, none);    reconstructs inputs, accumulates gradients
 *     norm = ebb_optim_norm(&m, work.grads);
 *     ebb_optim_step(&o, &m, work.weights, work.grads, work.optimizer, lr, norm, step++ == 0);
 *   }
 *
 * ebb_trainer (train/trainer.h) is this loop with schedules, validation, logs and checkpoints.
 *
 * The laws:
 *  - Memory: planned once, taken once; nothing else in the engine allocates. Views own nothing.
 *  - Exactness: results are the same bytes under every policy and on any number of threads.
 *  - Errors: what can fail returns ebb_status and leaves one message; kernels, forward, backward, inverse and
 *    reverse return nothing, and cannot fail.
 *  - Arguments: object, outputs, what is both, inputs, sizes, flags. Gradients are `d` and the name.
 *  - Shapes: N D H W C, channels last. K kernel, S stride. */
#pragma once

#include "base/status.h"        /* how trouble is told                  */
#include "base/arena.h"         /* where memory comes from              */
#include "base/rng.h"           /* random numbers by counters           */
#include "base/view.h"          /* shapes and views                     */
#include "layers/layer.h"       /* the contract of a layer              */
#include "layers/layers.h"      /* the irreversible ones                */
#include "reversible/reversible.h" /* those with an inverse             */
#include "compose/sequence.h"   /* layers one after the other           */
#include "compose/model.h"      /* a network, and two passes through it */
#include "compose/plan.h"       /* its memory, known beforehand         */
#include "compose/catalogue.h"  /* all layers there are                 */
#include "train/batches.h"      /* where batches come from              */
#include "train/loss.h"
#include "train/optim.h"
#include "train/checkpoint.h"
#include "train/trainer.h"
