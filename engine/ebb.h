/* ebb.h -- the engine's public face, in the order in which data flows through it.
 *
 * Ebb trains deep reversible networks in constant memory: activations flow forward and ebb back, the backward pass
 * reconstructs every activation from the output instead of keeping it.
 *
 *   EBB_TRY(ebbk_start());                              kernels for this processor
 *   ebb_model_begin(&m, &b, "small", image);             a network is a tree of layers, const while it works;
 *   ... ebb_sequence_add(s, ebb_conv(&b, "stem", ...));  models/ has a catalogue of networks
 *   EBB_TRY(ebb_model_end(&m, &b, ebb_sequence_close(s)));
 *
 *   options.optimizer = ebb_optim_bytes(&train, &m);
 *   ebb_plan_make(&plan, &m, x, options, &pool);         to the byte, before anything runs
 *   EBB_TRY(ebb_workspace_create(&work, &m, &plan));     everything may fail up to here ...
 *   ebb_model_initialise(&m, work.weights, work.state, seed);
 *
 *   while (step < steps) {                               ... and below only the data
 *     EBB_TRY(source->ops->next(source, &batch));
 *     work.run.pass = EBB_TRAIN;
 *     ebb_forward(&work.run, &m, batch.x, &y);           keeps nothing that a layer can reconstruct
 *     loss = ebb_loss_eval(&criterion, &work.run, y, batch.labels, 1, &dy);
 *     ebb_backward(&work.run, &m, batch.x, dy, none);    reconstructs inputs, accumulates gradients
 *     norm = ebb_optim_norm(&m, work.grads);
 *     ebb_optim_step(&train, &m, work.weights, work.grads, work.optimizer, lr, norm, step++);
 *   }
 *
 * tests/unit/test_train.c has it whole, and running ("the loop of ebb.h").
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
#include "kernels/kernels.h"    /* the arithmetic                       */
#include "layers/layer.h"       /* the contract of a layer              */
#include "layers/layers.h"      /* the irreversible ones                */
#include "reversible/reversible.h" /* those with an inverse             */
#include "compose/sequence.h"   /* layers one after the other           */
#include "compose/model.h"      /* a network, and two passes through it */
#include "compose/plan.h"       /* its memory, known beforehand         */
#include "compose/catalogue.h"  /* all layers there are                 */
#include "train/batches.h"      /* where batches come from              */
#include "train/loss.h"          /* how far from the labels              */
#include "train/optim.h"         /* how weights follow gradients         */
#include "train/checkpoint.h"    /* a run on disk                        */
#include "train/trainer.h"       /* the loop, with all around it         */
