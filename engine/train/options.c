/* options.c -- the tables behind `train.*` and `run.*`. */
#include <stddef.h>

#include "train/trainer.h"

#define T(field) offsetof(ebb_train_options, field)
const ebb_option ebb_train_option_table[] = {
    {"epochs", EBB_OPTION_REAL, T(epochs), "10", "epochs", "how long to train", NULL, 0, 1e9},
    {"steps", EBB_OPTION_INT, T(steps), "0", "steps", "how long to train instead, if not 0", NULL, 0, 2e9},
    {"batch", EBB_OPTION_INT, T(batch), "100", "samples", "samples that go through the model at once", NULL, 1, 1e6},
    {"accumulate", EBB_OPTION_INT, T(accumulate), "1", "batches", "batches whose gradients make one step", NULL, 1, 1e6},
    {"optimizer", EBB_OPTION_CHOICE, T(optimizer), "sgd", "", "how weights follow gradients", "sgd|adam|adamw|adamax", 0, 0},
    {"beta1", EBB_OPTION_REAL, T(beta1), "0.9", "", "Adam's kin: share of the last mean gradient in the next", NULL, 0, 0.999999},
    {"beta2", EBB_OPTION_REAL, T(beta2), "0.999", "", "Adam's kin: share of the last mean square (Adamax: maximum) in the next", NULL, 0, 0.9999999},
    {"epsilon", EBB_OPTION_REAL, T(epsilon), "1e-8", "", "Adam's kin: added to what is divided by", NULL, 1e-30, 1},
    {"lr", EBB_OPTION_REAL, T(lr), "0.1", "", "learning rate at its highest", NULL, 1e-12, 1e6},
    {"momentum", EBB_OPTION_REAL, T(momentum), "0.9", "", "SGD: share of the last update in the next", NULL, 0, 0.99999},
    {"nesterov", EBB_OPTION_BOOL, T(nesterov), "false", "", "SGD: Nesterov's momentum", NULL, 0, 0},
    {"decay", EBB_OPTION_REAL, T(decay), "2e-4", "", "weight decay, added to gradients, with adamw taken from weights, as in PyTorch", NULL, 0, 1e3},
    {"decay_all", EBB_OPTION_BOOL, T(decay_all), "false", "", "decay also biases and norms' parameters", NULL, 0, 0},
    {"clip", EBB_OPTION_REAL, T(clip), "0", "", "largest norm of all gradients together; 0: no limit", NULL, 0, 1e9},
    {"loss", EBB_OPTION_CHOICE, T(loss), "cross_entropy", "", "what is made small; bce is of each channel for itself",
     "cross_entropy|dice|cross_entropy+dice|generalised_dice|bce|bce+dice", 0, 0},
    {"smoothing", EBB_OPTION_REAL, T(smoothing), "0", "", "label smoothing, of cross_entropy", NULL, 0, 0.99},
    {"class_weights", EBB_OPTION_REALS, T(class_weights), "", "", "of cross_entropy, one for each class; empty: all 1", NULL, 0, 1e6},
    {"ignore", EBB_OPTION_INT, T(ignore), "-1", "", "label that is left out, as negative ones always are", NULL, 0, 0},
    {"dice_batch", EBB_OPTION_BOOL, T(dice_batch), "false", "", "Dice of the whole batch, not the mean of its samples'", NULL, 0, 0},
    {"dice_background", EBB_OPTION_BOOL, T(dice_background), "false", "", "class 0 counts in the mean of Dice", NULL, 0, 0},
    {"schedule", EBB_OPTION_CHOICE, T(schedule), "cosine", "", "how the learning rate falls", "constant|step|cosine|poly|plateau", 0, 0},
    {"warmup", EBB_OPTION_REAL, T(warmup), "0", "of the run", "share of the run in which the rate rises from 0", NULL, 0, 1},
    {"milestones", EBB_OPTION_REALS, T(milestones), "0.5,0.75", "of the run", "schedule step: where the rate is cut", NULL, 0, 1},
    {"gamma", EBB_OPTION_REAL, T(gamma), "0.1", "", "schedules step and plateau: factor of each cut", NULL, 1e-9, 1},
    {"power", EBB_OPTION_REAL, T(power), "0.9", "", "schedule poly: exponent", NULL, 1e-3, 100},
    {"lr_end", EBB_OPTION_REAL, T(lr_end), "0", "", "schedules cosine and poly: rate at the end", NULL, 0, 1e6},
    {"patience", EBB_OPTION_INT, T(patience), "10", "validations", "schedule plateau: without a better score before the rate is cut", NULL, 1, 1e6},
    {"stop_after", EBB_OPTION_INT, T(stop_after), "0", "validations", "without a better score, after which training ends; 0: never", NULL, 0, 1e6},
    {"skip", EBB_OPTION_INT, T(skip), "0", "steps", "in a row that are left out if loss or gradients are not finite, before training stops; flows: 10; run.update=backward: if the loss is not", NULL, 0, 1e6},
    {"ema", EBB_OPTION_REAL, T(ema), "0", "", "moving mean of the weights, which is then validated, evaluated and predicted with: the share that stays in each step, such as 0.999; 0: none", NULL, 0, 0.999999},
    {"seed", EBB_OPTION_SIZE, T(seed), "1", "", "of all random numbers: weights, order, augmentation, dropout", NULL, 0, 0},
    {"threads", EBB_OPTION_INT, T(threads), "0", "threads", "0: one per core; results do not depend on it", NULL, 0, 256},
    {"log_every", EBB_OPTION_INT, T(log_every), "50", "steps", "between two lines of the log", NULL, 1, 2e9},
    {"save_every", EBB_OPTION_INT, T(save_every), "0", "steps", "between two checkpoints; 0: each epoch", NULL, 0, 2e9},
    {0},
};

#define R(field) offsetof(ebb_run_options, field)
const ebb_option ebb_run_option_table[] = {
    {"backward", EBB_OPTION_CHOICE, R(backward), "reverse", "",
     "where backward gets activations: reconstruct, keep, recompute, or whatever is fastest within run.memory; the results are the same bytes, but for rounding in flows of real values",
     "reverse|store|checkpoint|auto", 0, 0},
    {"update", EBB_OPTION_CHOICE, R(update), "step", "",
     "when weights follow their gradients: after the backward pass, or within it, layer by layer, so that only one layer's are in memory; the results are the same bytes, but nothing can be clipped, nor left out if gradients are not finite",
     "step|backward", 0, 0},
    {"drift", EBB_OPTION_REAL, R(drift), "1e-5", "", "reverse, of real values such as a flow's: how far off the mean and deviation of each channel of a layer's input may come back, of the largest channel's size; beyond, the step is left out and the input kept from then on; 0: nobody looks", NULL, 0, 1},
    {"memory", EBB_OPTION_SIZE, R(memory), "0", "", "most memory the plan may need; 0: what the machine has free, for backward=auto less a tenth", NULL, 0, 0},
    {0},
};
