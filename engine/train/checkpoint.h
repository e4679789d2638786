/* checkpoint.h -- a run on disk: HDF5 that h5py reads.
 * Owns: the file format. Weights stand in /model/<name> in PyTorch's names and shapes, what the optimiser
 * keeps in /optim/momentum/<name> and the like, the rest in attributes of / and /train, behind a user block of 512 bytes with the content's SHA-256. Never half-written: image in memory, temporary file, fsync, rename. */
#pragma once
#include "train/trainer.h"

/* EBB_CANTCREAT, EBB_IOERR: the old file stays as it was. */
ebb_status ebb_checkpoint_save(const char *path, const ebb_trainer *t, const char *config);

/* The resolved configuration in a checkpoint, a text in the pool, to build its model from; verifies format and content first. */
ebb_status ebb_checkpoint_config(const char *path, const char **config, ebb_pool *pool);

/* Loads into a trainer of the same architecture. weights_only: for evaluation, or to start anew from them; the moving
 * mean where the trainer's options have one. Nothing is
 * changed unless all is well. EBB_NOINPUT: not there; EBB_DATA: truncated, flipped bits, another architecture. */
ebb_status ebb_checkpoint_load(const char *path, ebb_trainer *t, bool weights_only);
